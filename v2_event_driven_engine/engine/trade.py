"""What every event carries, and the event of a trade."""

import msgspec

from ..models.enums import Side


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="event", tag=0):
    """Something that happened. Written once, never changed.

    ``sequence`` is that of the command which caused it, ``index`` counts 0, 1, 2 … within the
    command, ``timestamp_ns`` is the command's (nanoseconds since 1970, UTC).

    In the log an event is the MessagePack array of its tag and its fields in the order written
    here: tags and field orders are part of the log format.
    """

    sequence: int
    index: int
    timestamp_ns: int


class TradeExecuted(Event, frozen=True, tag=3):
    """One fill: one taker, one maker, at the maker's price.

    ``price`` in ticks, ``quantity`` and both ``remaining`` in lots; ``trade_id`` counts 1, 2, 3 …
    engine-wide.
    """

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
