"""Trades and the other events: what the engine says has happened, always in the past tense.

Every event starts with the same three fields:

    sequence      which command it answers: 1, 2, 3 ... in the order the lock was won
    index         0, 1, 2 ... within that command
    timestamp_ns  when the command was sequenced, nanoseconds since the epoch; never goes back

The order of fields is the order in NDJSON, and `tag` is the name there. Events are immutable and
hold plain values, so they may be kept and handed to any thread.
"""

import msgspec

from ..models.enums import (
    CancelReason,
    CancelRejectReason,
    CancelRequest,
    InstrumentRejectReason,
    OrderRejectReason,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="event"):
    """What all events have in common."""

    sequence: int
    index: int
    timestamp_ns: int


class InstrumentListed(Event, frozen=True, gc=False, tag="instrument_listed"):
    """A symbol can be traded from here on; sizes as they were sent."""

    symbol: str
    tick_size: str
    lot_size: str


class InstrumentRejected(Event, frozen=True, gc=False, tag="instrument_rejected"):
    """A `list_instrument` changed nothing."""

    symbol: str
    reason: InstrumentRejectReason


class OrderAccepted(Event, frozen=True, gc=False, tag="order_accepted"):
    """A valid `new`, before any trade it causes. All its fields, defaults filled in."""

    order_id: int
    participant: int
    symbol: str
    side: Side
    type: OrderType
    price: int | None  # None for a MARKET
    quantity: int
    time_in_force: TimeInForce
    post_only: bool
    self_trade_prevention: SelfTradePrevention


class OrderRejected(Event, frozen=True, gc=False, tag="order_rejected"):
    """A `new` that will never trade."""

    order_id: int
    participant: int
    reason: OrderRejectReason


class TradeExecuted(Event, frozen=True, gc=False, tag="trade_executed"):
    """One fill, at the maker's price. `trade_id` counts 1, 2, 3 ... engine-wide."""

    trade_id: int
    symbol: str
    price: int
    quantity: int
    maker_order_id: int
    taker_order_id: int
    maker_participant: int
    taker_participant: int
    taker_side: Side
    maker_remaining: int
    taker_remaining: int


class OrderCanceled(Event, frozen=True, gc=False, tag="order_canceled"):
    """An order ended without trading `remaining`, the quantity taken out."""

    order_id: int
    participant: int
    remaining: int
    reason: CancelReason


class OrderExpired(Event, frozen=True, gc=False, tag="order_expired"):
    """The unfilled part of an IOC, FOK or MARKET ended at once."""

    order_id: int
    participant: int
    remaining: int


class OrderReduced(Event, frozen=True, gc=False, tag="order_reduced"):
    """An order got smaller and kept its place; `remaining` is what is open now."""

    order_id: int
    participant: int
    remaining: int


class OrderReplaced(Event, frozen=True, gc=False, tag="order_replaced"):
    """An order has a new price or quantity and lost its place; before any trade it causes."""

    order_id: int
    participant: int
    price: int
    remaining: int


class MassCanceled(Event, frozen=True, gc=False, tag="mass_canceled"):
    """The end of a `mass_cancel`, after the `order_canceled` of each of its `count` orders."""

    participant: int
    symbol: str | None
    count: int


class CancelRejected(Event, frozen=True, gc=False, tag="cancel_rejected"):
    """A cancel, reduce or replace changed nothing (FIX 35=9)."""

    order_id: int
    participant: int
    request: CancelRequest
    reason: CancelRejectReason
