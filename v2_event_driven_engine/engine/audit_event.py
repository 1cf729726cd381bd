"""The audit event: what one line of the audit trail says.

The trail is for people: one JSON object a line, one line for each order that an event concerns,
so a trade has two, the taker's and then the maker's. The fields follow the order records that
MiFID II RTS 24 asks of trading venues and that the Consolidated Audit Trail collects in the
United States::

    sequence, index       the command, and the event within it
    event                 the event's name in the rulebook; trail_sealed: see audit/trail.py
    time                  UTC with nanoseconds
    instrument, order_id, participant, side, type, validity, price
    initial_quantity      as entered, on acceptance only
    remaining_quantity    open after the event
    traded_quantity       in this event
    trade_id, liquidity   of a trade; MAKER or TAKER
    counterparty_order_id of a trade: the order on the other side
    reason, request       of a refusal or a cancellation
    canceled_orders       of a mass cancel
    chain                 see audit/trail.py

Fields that do not apply are left out. An event names only an order's id; what else a line says of
the order (side, price …) is remembered from its acceptance, or from a snapshot, until the order is
terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from typing import assert_never

import msgspec

from ..errors import LogDamaged
from ..models.enums import CancelReason, OrderType, Side, TimeInForce
from .event_log import Batch
from .events import (
    EVENT_NAMES,
    CancelRejected,
    InstrumentListed,
    InstrumentRejected,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
)
from .trade import TradeExecuted

RareEvent = (
    OrderExpired
    | OrderReduced
    | OrderReplaced
    | OrderRejected
    | CancelRejected
    | MassCanceled
    | InstrumentListed
    | InstrumentRejected
)
"""All but the events that most lines are about."""
NANOSECONDS = 1_000_000_000
SEAL_INDEX = 2**63 - 1
"""A seal comes after every event of its sequence. In the file it has no index."""
SEAL_EVERY = 10_000
"""Commands between two seals."""
TRAIL_SEALED = "trail_sealed"


class AuditEvent(msgspec.Struct, omit_defaults=True):
    """One line of the trail without its chain; see the module's table."""

    sequence: int
    event: str
    index: int = SEAL_INDEX
    time: str | None = None
    instrument: str | None = None
    order_id: int | None = None
    participant: int | None = None
    side: str | None = None
    type: str | None = None
    validity: str | None = None
    price: int | None = None
    initial_quantity: int | None = None
    remaining_quantity: int | None = None
    traded_quantity: int | None = None
    trade_id: int | None = None
    liquidity: str | None = None
    counterparty_order_id: int | None = None
    reason: str | None = None
    request: str | None = None
    canceled_orders: int | None = None
    tick_size: str | None = None
    lot_size: str | None = None


def time_text(timestamp_ns: int) -> str:
    """A time as lines have it: texts of one length, which compare as the times do."""
    second, nanosecond = divmod(timestamp_ns, NANOSECONDS)
    return f"{_second_text(second)}.{nanosecond:09}Z"


@lru_cache(maxsize=1)  # the events of a second come one after the other
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _names(kind: type[IntEnum]) -> tuple[str, ...]:
    """The names of an enumeration, each at its number: much quicker than to ask a member."""
    names = {int(member): member.name for member in kind}
    return tuple(names.get(number, "") for number in range(max(names) + 1))


TERMS = tuple(
    tuple(
        tuple(
            f',"side":"{side}","type":"{kind}","validity":"{validity}"'
            for validity in _names(TimeInForce)
        )
        for kind in _names(OrderType)
    )
    for side in _names(Side)
)
"""By the side, the type and the validity of an order: what a line says of them."""
CANCEL_REASONS = _names(CancelReason)
PRICE = ',"price":'
NAMES = {kind: f',"event":"{name}","index":' for kind, name in EVENT_NAMES.items()}


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def known_of(
    instrument: str,
    order_id: int,
    participant: int,
    side: Side,
    type: OrderType,
    validity: TimeInForce,
    price: int | None,
) -> str:
    """What every line says of an order, as its part of the line; the price comes last."""
    known = (
        f',"instrument":{_quoted(instrument)},"order_id":{order_id},"participant":{participant}'
        f"{TERMS[side][type][validity]}"
    )
    return known if price is None else f"{known}{PRICE}{price}"


class Auditor:
    """Turns the events of successive batches into lines.

    A line is a text without its end: its chain and its closing brace follow, see `audit/trail.py`.
    It is put together by hand, which takes less than half of the time of encoding an `AuditEvent`;
    the tests compare the two for every kind of event.

    Invariant: `_orders` has exactly the orders that are not terminal after the last event.
    """

    def __init__(self, orders: dict[int, str] | None = None, known: int = 0) -> None:
        """Begin after the sequence `known`, where `orders` rest, each with its `known_of`."""
        self._orders = orders or {}
        self._known = known
        self.seals = max(known - 1, 0) // SEAL_EVERY
        """How many seals there are up to here."""

    def lines(self, batch: Batch) -> Iterator[str]:
        """The lines, seals included, of the events that a batch records. O(events).

        Those of commands up to `known` are passed over. The hot loop of the audit process.

        Raises:
            LogDamaged: the events of a command before them are missing.
        """
        first = batch.outcomes_first
        if first > self._known + 1:
            raise LogDamaged(batch.file, batch.offset, first, "recorded events are missing")
        orders, known_before = self._orders, self._known
        seal = (self.seals + 1) * SEAL_EVERY
        at, time = -1, ""
        for sequence, events in enumerate(batch.outcomes, first):
            if sequence <= known_before:
                continue
            if sequence > seal:
                self.seals += 1
                yield f'{{"sequence":{seal},"event":"{TRAIL_SEALED}"'
                seal += SEAL_EVERY
            for event in events:
                if event.timestamp_ns != at:  # the commands of a batch have the same
                    at = event.timestamp_ns
                    time = f',"time":"{time_text(at)}"'
                head = f'{{"sequence":{sequence}{NAMES[type(event)]}{event.index}{time}'
                if type(event) is OrderAccepted:
                    order_id = event.order_id
                    orders[order_id] = known = known_of(
                        event.symbol, order_id, event.participant, event.side, event.type,
                        event.time_in_force, event.price,
                    )  # fmt: skip
                    lots = str(event.quantity)
                    yield f'{head}{known},"initial_quantity":{lots},"remaining_quantity":{lots}'
                elif type(event) is TradeExecuted:
                    taker, maker = event.taker_order_id, event.maker_order_id
                    price = f'{PRICE}{event.price},"remaining_quantity":'
                    rest = (
                        f',"traded_quantity":{event.quantity},"trade_id":{event.trade_id}'
                        f',"liquidity":"'
                    )
                    remaining = event.taker_remaining
                    known = orders[taker] if remaining else orders.pop(taker)
                    yield (
                        f'{head}{known.rpartition(PRICE)[0] or known}{price}{remaining}{rest}TAKER"'
                        f',"counterparty_order_id":{maker}'
                    )
                    remaining = event.maker_remaining
                    known = orders[maker] if remaining else orders.pop(maker)
                    yield (
                        f'{head}{known.rpartition(PRICE)[0] or known}{price}{remaining}{rest}MAKER"'
                        f',"counterparty_order_id":{taker}'
                    )
                elif type(event) is OrderCanceled:
                    yield (
                        f'{head}{orders.pop(event.order_id)},"remaining_quantity":0'
                        f',"reason":"{CANCEL_REASONS[event.reason]}"'
                    )
                else:
                    yield head + self._rest(event)
        self._known = max(known_before, first + len(batch.outcomes) - 1)

    def _rest(self, event: RareEvent) -> str:
        """What follows in the line of such an event."""
        if type(event) is OrderExpired:
            return f'{self._orders.pop(event.order_id)},"remaining_quantity":0'
        if type(event) is OrderReduced:
            return f'{self._orders[event.order_id]},"remaining_quantity":{event.remaining}'
        if type(event) is OrderReplaced:
            known = f"{self._orders[event.order_id].rpartition(PRICE)[0]}{PRICE}{event.price}"
            self._orders[event.order_id] = known
            return f'{known},"remaining_quantity":{event.remaining}'
        if type(event) is OrderRejected:
            return (
                f',"order_id":{event.order_id},"participant":{event.participant}'
                f',"reason":"{event.reason.name}"'
            )
        if type(event) is CancelRejected:
            return (
                f',"order_id":{event.order_id},"participant":{event.participant}'
                f',"reason":"{event.reason.name}","request":"{event.request.name}"'
            )
        if type(event) is MassCanceled:
            where = "" if event.symbol is None else f',"instrument":{_quoted(event.symbol)}'
            return f'{where},"participant":{event.participant},"canceled_orders":{event.count}'
        if type(event) is InstrumentListed:
            return (
                f',"instrument":{_quoted(event.symbol)},"tick_size":{_quoted(event.tick_size)}'
                f',"lot_size":{_quoted(event.lot_size)}'
            )
        if type(event) is InstrumentRejected:
            return f',"instrument":{_quoted(event.symbol)},"reason":"{event.reason.name}"'
        assert_never(event)
