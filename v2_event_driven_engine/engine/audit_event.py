"""What one line of the audit trail says.

The trail is for people: one JSON object a line, one line for each order that an event concerns,
so a trade has two, the taker's and then the maker's. The fields follow the order records that
MiFID II RTS 24 asks of trading venues and that the Consolidated Audit Trail collects in the
United States::

    sequence, index       the command, and the event within it
    event                 the event's name in the rulebook; trail_sealed: see audit_logger.py
    time                  UTC with nanoseconds
    instrument, order_id, participant, side, type, validity, price
    initial_quantity      as entered, on acceptance only
    remaining_quantity    open after the event
    traded_quantity       in this event
    trade_id, liquidity   of a trade; MAKER or TAKER
    counterparty_order_id of a trade: the order on the other side
    reason, request       of a refusal or a cancellation
    canceled_orders       of a mass cancel
    chain                 see audit_logger.py

Fields that do not apply are left out. An event names only an order's id; what else a line says of
the order (side, price …) is remembered from its acceptance, or from a snapshot, for as long as the
order lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from .events import (
    AnyEvent,
    CancelRejected,
    InstrumentListed,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
)
from .trade import TradeExecuted

NANOSECONDS = 1_000_000_000
SEAL_INDEX = 2**63 - 1
"""A seal stands behind every event of its sequence. It has no index of its own in the file."""
SEAL_EVERY = 10_000
"""Commands between two seals."""


class AuditLine(msgspec.Struct, omit_defaults=True):
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


class Known(NamedTuple):
    """What later lines say of a live order besides its id."""

    instrument: str
    participant: int
    side: str
    type: str
    validity: str
    price: int | None


class Auditor:
    """Turns events, in order and without a gap, into lines.

    Invariant: ``_orders`` has exactly the orders that are live after the last event.
    """

    def __init__(self, orders: dict[int, Known] | None = None) -> None:
        """Begin where ``orders`` are live: at the very beginning, or at a snapshot."""
        self._orders = orders or {}
        self._second = -1
        self._second_text = ""

    def lines(self, events: list[AnyEvent]) -> Iterator[AuditLine]:
        """The lines of one command's events. O(events)."""
        for event in events:
            yield from self._lines_of(event)

    def _lines_of(self, event: AnyEvent) -> Iterator[AuditLine]:
        match event:
            case TradeExecuted():
                yield self._trade_line(event, taker=True)
                yield self._trade_line(event, taker=False)
            case OrderAccepted():
                self._orders[event.order_id] = Known(
                    event.symbol, event.participant, event.side.name, event.type.name,
                    event.time_in_force.name, event.price,
                )  # fmt: skip
                line = self._order_line(event, "order_accepted", event.order_id, event.quantity)
                line.initial_quantity = event.quantity
                yield line
            case OrderCanceled():
                line = self._order_line(event, "order_canceled", event.order_id, 0)
                line.reason = event.reason.name
                del self._orders[event.order_id]
                yield line
            case OrderExpired():
                yield self._order_line(event, "order_expired", event.order_id, 0)
                del self._orders[event.order_id]
            case OrderReduced():
                yield self._order_line(event, "order_reduced", event.order_id, event.remaining)
            case OrderReplaced():
                known = self._orders[event.order_id]
                self._orders[event.order_id] = known._replace(price=event.price)
                yield self._order_line(event, "order_replaced", event.order_id, event.remaining)
            case OrderRejected():
                line = self._line(event, "order_rejected")
                line.order_id, line.participant = event.order_id, event.participant
                line.reason = event.reason.name
                yield line
            case CancelRejected():
                line = self._line(event, "cancel_rejected")
                line.order_id, line.participant = event.order_id, event.participant
                line.reason, line.request = event.reason.name, event.request.name
                yield line
            case MassCanceled():
                line = self._line(event, "mass_canceled")
                line.participant, line.instrument = event.participant, event.symbol
                line.canceled_orders = event.count
                yield line
            case InstrumentListed():
                line = self._line(event, "instrument_listed")
                line.instrument = event.symbol
                line.tick_size, line.lot_size = event.tick_size, event.lot_size
                yield line
            case _:  # InstrumentRejected
                line = self._line(event, "instrument_rejected")
                line.instrument, line.reason = event.symbol, event.reason.name
                yield line

    def _line(self, event: AnyEvent, name: str) -> AuditLine:
        return AuditLine(event.sequence, name, event.index, self._time(event.timestamp_ns))

    def _time(self, timestamp_ns: int) -> str:
        second, nanosecond = divmod(timestamp_ns, NANOSECONDS)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{nanosecond:09}Z"

    def _order_line(self, event: AnyEvent, name: str, order_id: int, remaining: int) -> AuditLine:
        known = self._orders[order_id]
        return AuditLine(
            event.sequence, name, event.index, self._time(event.timestamp_ns), known.instrument,
            order_id, known.participant, known.side, known.type, known.validity, known.price,
            None, remaining,
        )  # fmt: skip

    def _trade_line(self, event: TradeExecuted, *, taker: bool) -> AuditLine:
        if taker:
            order_id, other, remaining = (
                event.taker_order_id, event.maker_order_id, event.taker_remaining
            )  # fmt: skip
        else:
            order_id, other, remaining = (
                event.maker_order_id, event.taker_order_id, event.maker_remaining
            )  # fmt: skip
        line = self._order_line(event, "trade_executed", order_id, remaining)
        line.price, line.traded_quantity, line.trade_id = (
            event.price,
            event.quantity,
            event.trade_id,
        )
        line.liquidity = "TAKER" if taker else "MAKER"
        line.counterparty_order_id = other
        if remaining == 0:
            del self._orders[order_id]
        return line
