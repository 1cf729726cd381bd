"""Questions that the matcher asks before it acts. Nothing here changes anything.

Where several checks can fail, the first failure in the rulebook's order is the answer.
"""

import re

from ..models.commands import NewOrder
from ..models.enums import (
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from ..models.order import Order
from .order_book import BookSide, OrderBook

# There is one way to match it, so it takes O(length) for any text.
_is_decimal = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+").fullmatch


def why_not_new(
    command: NewOrder, time_in_force: TimeInForce, book: OrderBook
) -> RejectReason | None:
    """Why a NEW with a listed symbol and an unused id is refused; None if it is not."""
    is_limit = command.type is OrderType.LIMIT
    price = command.price
    if (price is not None and price < 1) if is_limit else (price is not None):
        return RejectReason.INVALID_PRICE
    if command.quantity < 1:
        return RejectReason.INVALID_QUANTITY
    if not is_limit and time_in_force is TimeInForce.GTC:
        return RejectReason.INVALID_TIME_IN_FORCE
    if command.post_only:
        if not is_limit or time_in_force is not TimeInForce.GTC:
            return RejectReason.INVALID_TIME_IN_FORCE
        if price is not None and would_trade(command.side, price, book):
            return RejectReason.POST_ONLY_WOULD_TRADE
    return None


def why_not_replace(
    order: Order, price: int, quantity: int, book: OrderBook
) -> RejectReason | None:
    """Why a live order cannot have this price and open quantity; None if it can."""
    if price < 1:
        return RejectReason.INVALID_PRICE
    if quantity < 1:
        return RejectReason.INVALID_QUANTITY
    if order.post_only and would_trade(order.side, price, book):
        return RejectReason.POST_ONLY_WOULD_TRADE
    return None


def is_above_zero(size: str) -> bool:
    """Whether a text is ASCII digits with an optional point, and above 0. O(length).

    >>> [is_above_zero(size) for size in ("1", "0.01", "5.", ".5")]
    [True, True, True, True]
    >>> [is_above_zero(size) for size in ("", ".", "0", "0.00", "1e-2", "+1", " 1", "1\\n")]
    [False, False, False, False, False, False, False, False]
    """
    return _is_decimal(size) is not None and size.strip("0.") != ""


def would_trade(side: Side, price: int, book: OrderBook) -> bool:
    """Whether the opposite best price is at or through this price. O(1)."""
    best = book.opposite(side).best
    if best is None:
        return False
    return best.price <= price if side is Side.BUY else best.price >= price


def can_fill(taker: Order, opposite: BookSide) -> bool:
    """Whether a FOK would be filled in full, its self-trade prevention included.

    O(orders from the best price to the last one that it needs).
    """
    needed = taker.remaining
    preventing = taker.self_trade_prevention is not SelfTradePrevention.NONE
    for level in opposite.best_first():
        if level.price > taker.price if taker.side is Side.BUY else level.price < taker.price:
            return False
        for maker in level.orders.values():
            if preventing and maker.participant == taker.participant:
                if taker.self_trade_prevention is not SelfTradePrevention.CANCEL_MAKER:
                    return False
                continue
            needed -= maker.remaining
            if needed <= 0:
                return True
    return False
