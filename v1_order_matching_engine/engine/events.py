"""Events: what has happened, in the past tense.

Every event starts with the same three fields:

    sequence      of the command that it answers: 1, 2, 3 ... in the order the lock was won
    index         0, 1, 2 ... within that command
    timestamp_ns  when the command was sequenced, nanoseconds since the epoch; never goes back

A class says its name in NDJSON once, as its `tag`, and its fields in their order there. Events are
immutable and hold plain values, so a caller may keep them and pass them to any thread.
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


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="event"):
    """What all events have in common."""

    sequence: int
    index: int
    timestamp_ns: int


class InstrumentListed(Event, frozen=True, gc=False, tag="instrument_listed"):
    """A symbol can be traded from now on; the sizes as they were sent."""

    symbol: str
    tick_size: str
    lot_size: str


class InstrumentRejected(Event, frozen=True, gc=False, tag="instrument_rejected"):
    """A `list_instrument` changed nothing."""

    symbol: str
    reason: RejectReason


class OrderAccepted(Event, frozen=True, gc=False, tag="order_accepted"):
    """A valid `new`, before any trade it causes. All its fields, with their defaults."""

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
    """A `new` was refused; its order will never trade."""

    order_id: int
    participant: int
    reason: RejectReason


class TradeExecuted(Event, frozen=True, gc=False, tag="trade_executed"):
    """One fill, at the maker's price. `trade_id` is 1, 2, 3 ... over all symbols."""

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
    """An order ended; `remaining` is the quantity that did not trade."""

    order_id: int
    participant: int
    remaining: int
    reason: CancelReason


class OrderExpired(Event, frozen=True, gc=False, tag="order_expired"):
    """The unfilled remainder of an IOC, FOK or MARKET ended at once."""

    order_id: int
    participant: int
    remaining: int


class OrderReduced(Event, frozen=True, gc=False, tag="order_reduced"):
    """An order got smaller and kept its place; `remaining` is what is open now."""

    order_id: int
    participant: int
    remaining: int


class OrderReplaced(Event, frozen=True, gc=False, tag="order_replaced"):
    """An order got a new price or quantity and lost its place; before any trade it causes."""

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
    reason: RejectReason
