"""Immutable commands (imperative, what somebody wants) and events (past tense, what happened).

Both are frozen ``msgspec`` structures. In the log each is a MessagePack array ``[tag, field, …]``
with the fields in the order written here, so tags and field orders are part of the log format. In
JSON they are objects with the same names: see ``ndjson.py``.
"""

import msgspec

from ..models.enums import (
    CancelReason,
    CancelRequest,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from .trade import Event, TradeExecuted


class CommandBase(
    msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="command", tag=0
):
    """What the commands share: they are frozen, and arrays in the log."""


class ListInstrument(CommandBase, frozen=True, tag=1):
    """Open a book for ``symbol``. Sizes are decimal strings; the engine counts in integers."""

    symbol: str
    tick_size: str
    lot_size: str


class NewOrder(CommandBase, frozen=True, tag=2):
    """Enter an order. ``price`` in ticks (None for MARKET), ``quantity`` in lots.

    ``time_in_force`` None means GTC for a LIMIT and IOC for a MARKET.
    """

    order_id: int
    participant: int
    symbol: str
    side: Side
    type: OrderType
    price: int | None
    quantity: int
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE


class CancelOrder(CommandBase, frozen=True, tag=3):
    """Take the rest of an order out of the book."""

    order_id: int
    participant: int


class ReduceOrder(CommandBase, frozen=True, tag=4):
    """Make an order smaller by ``by`` lots; it keeps its place."""

    order_id: int
    participant: int
    by: int


class ReplaceOrder(CommandBase, frozen=True, tag=5):
    """Give an order a new price (ticks) and open quantity (lots); None keeps what it has.

    It leaves its place and joins the tail.
    """

    order_id: int
    participant: int
    price: int | None = None
    quantity: int | None = None


class MassCancel(CommandBase, frozen=True, tag=6):
    """Cancel all of a participant's orders in ``symbol``, or everywhere if that is None."""

    participant: int
    symbol: str | None


Command = ListInstrument | NewOrder | CancelOrder | ReduceOrder | ReplaceOrder | MassCancel


class InstrumentListed(Event, frozen=True, tag=1):
    """A book is open; sizes as they were sent."""

    symbol: str
    tick_size: str
    lot_size: str


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


class OrderCanceled(Event, frozen=True, tag=4):
    """An order left the book, or a taker lost its rest; ``remaining`` lots were taken out."""

    order_id: int
    participant: int
    reason: CancelReason
    remaining: int


class OrderExpired(Event, frozen=True, tag=5):
    """``remaining`` lots of an IOC, FOK or MARKET did not trade and are gone."""

    order_id: int
    participant: int
    remaining: int


class OrderReduced(Event, frozen=True, tag=6):
    """An order is smaller now and kept its place; ``remaining`` lots are open."""

    order_id: int
    participant: int
    remaining: int


class OrderReplaced(Event, frozen=True, tag=7):
    """An order left its place to enter again with this price and open quantity."""

    order_id: int
    participant: int
    price: int
    remaining: int


class MassCanceled(Event, frozen=True, tag=8):
    """A mass cancel is done: ``count`` orders were canceled before this event."""

    participant: int
    symbol: str | None
    count: int


class OrderRejected(Event, frozen=True, tag=9):
    """An invalid NEW."""

    order_id: int
    participant: int
    reason: RejectReason


class CancelRejected(Event, frozen=True, tag=10):
    """A cancel, reduce or replace was refused (FIX 35=9); nothing changed."""

    order_id: int
    participant: int
    request: CancelRequest
    reason: RejectReason


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
