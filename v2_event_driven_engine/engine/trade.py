"""The event of a trade."""

from typing import final

from ..models.enums import Side
from ..models.event import Event


@final
class TradeExecuted(Event, frozen=True, tag=3):
    """One fill: one taker, one maker, at the maker's price.

    `price` in ticks, `quantity` and both `remaining` in lots; `trade_id` counts 1, 2, 3 …
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
