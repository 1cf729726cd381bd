"""The table of events: what happened, in the past tense. Immutable.

A class says its tag and its name once, here. `EVENT_NAMES` derives the name in the rulebook from
the class; NDJSON, the audit trail and the documentation take it from there. The order of fields,
and the tag, are part of the log format: a field may be added at the end, with a default, under a
new version of the format (`log/format.py`). The classes are final: then a type checker knows which
are left where `type(event) is` has told some, as the audit trail does.
"""

import re
from typing import Final, final, get_args

from ..models.commands import NewOrder
from ..models.enums import (
    CancelReason,
    CancelRequest,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from ..models.event import Event
from .trade import TradeExecuted


@final
class InstrumentListed(Event, frozen=True, tag=1):
    """A book is open; sizes as they were sent."""

    symbol: str
    tick_size: str
    lot_size: str


@final
class OrderAccepted(Event, frozen=True, tag=2):
    """A valid NEW, before any trade: its ten fields with the defaults filled in."""

    order_id: int
    participant: int
    symbol: str
    side: Side
    type: OrderType
    price: int | None
    quantity: int
    time_in_force: TimeInForce
    post_only: bool
    self_trade_prevention: SelfTradePrevention


# Tag 3 is TradeExecuted, in trade.py.


@final
class OrderCanceled(Event, frozen=True, tag=4):
    """An order, or the unfilled remainder of a taker, was canceled: `remaining` lots."""

    order_id: int
    participant: int
    reason: CancelReason
    remaining: int


@final
class OrderExpired(Event, frozen=True, tag=5):
    """`remaining` lots of an IOC, FOK or MARKET did not trade and are gone."""

    order_id: int
    participant: int
    remaining: int


@final
class OrderReduced(Event, frozen=True, tag=6):
    """An order is smaller now and kept its place; `remaining` lots are open."""

    order_id: int
    participant: int
    remaining: int


@final
class OrderReplaced(Event, frozen=True, tag=7):
    """An order left its place to enter again with this price and open quantity."""

    order_id: int
    participant: int
    price: int
    remaining: int


@final
class MassCanceled(Event, frozen=True, tag=8):
    """A mass cancel is done: `count` orders were canceled before this event."""

    participant: int
    symbol: str | None
    count: int


@final
class OrderRejected(Event, frozen=True, tag=9):
    """An invalid NEW."""

    order_id: int
    participant: int
    reason: RejectReason


@final
class CancelRejected(Event, frozen=True, tag=10):
    """A cancel, reduce or replace was refused (FIX 35=9); nothing changed."""

    order_id: int
    participant: int
    request: CancelRequest
    reason: RejectReason


@final
class InstrumentRejected(Event, frozen=True, tag=11):
    """A list_instrument was refused."""

    symbol: str
    reason: RejectReason


AnyEvent = (
    InstrumentListed
    | InstrumentRejected
    | OrderAccepted
    | OrderRejected
    | TradeExecuted
    | OrderCanceled
    | OrderExpired
    | OrderReduced
    | OrderReplaced
    | MassCanceled
    | CancelRejected
)


LIMIT, GTC, IOC = OrderType.LIMIT, TimeInForce.GTC, TimeInForce.IOC
"""To ask a class for its member takes as long as to make an event."""


def accepted(command: NewOrder, sequence: int, timestamp_ns: int) -> OrderAccepted:
    """The event of an accepted order: what its command says, defaults filled in."""
    time_in_force = command.time_in_force
    if time_in_force is None:
        time_in_force = GTC if command.type is LIMIT else IOC
    return OrderAccepted(
        sequence, 0, timestamp_ns, command.order_id, command.participant, command.symbol,
        command.side, command.type, command.price, command.quantity, time_in_force,
        command.post_only, command.self_trade_prevention,
    )  # fmt: skip


EVENT_NAMES: Final[dict[type[Event], str]] = {
    event: re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower() for event in get_args(AnyEvent)
}
"""The name of each event in the rulebook: `TradeExecuted` is `trade_executed`."""
