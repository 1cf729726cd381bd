"""The book: priority, no empty levels, and checks that can fail."""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..engine.order_book import BookSide, OrderBook
from ..engine.views import Level
from ..errors import InvariantBroken
from ..models.enums import SelfTradePrevention, Side
from ..models.order import Order


def order(order_id: int, price: int, quantity: int = 5, side: Side = Side.BUY) -> Order:
    return Order(order_id, 7, "ACME", side, price, quantity, SelfTradePrevention.NONE, False)


@pytest.mark.parametrize(
    ("side", "best_first"), [(Side.BUY, [102, 101, 100]), (Side.SELL, [100, 101, 102])]
)
def test_levels_come_best_price_first(side: Side, best_first: list[int]) -> None:
    book_side = BookSide(side)
    for order_id, price in enumerate((101, 100, 102), start=1):
        book_side.add(order(order_id, price, side=side))
    assert [level.price for level in book_side.best_first()] == best_first
    assert [level.price for level in book_side.depth(2)] == best_first[:2]
    assert book_side.best is not None
    assert book_side.best.price == best_first[0]


def test_inside_a_price_the_oldest_comes_first_and_a_partial_fill_keeps_its_place() -> None:
    book_side = BookSide(Side.BUY)
    first, second, third = (order(order_id, 100) for order_id in (3, 1, 2))
    for each in (first, second, third):
        book_side.add(each)
    book_side.take(first, 4)
    level = book_side.best
    assert level is not None
    assert level.oldest is first
    assert level.quantity == 1 + 5 + 5
    book_side.take(first, 1)
    assert level.oldest is second
    book_side.remove(second)
    assert level.oldest is third


def test_the_last_order_takes_its_level_with_it() -> None:
    book_side = BookSide(Side.BUY)
    only, worse = order(1, 100), order(2, 99)
    book_side.add(only)
    book_side.add(worse)
    book_side.remove(only)
    assert book_side.depth(10) == (Level(price=99, quantity=5, orders=1),)
    assert book_side.best is not None
    assert book_side.best.price == 99
    book_side.remove(worse)
    assert book_side.best is None
    assert not book_side.levels


def test_an_order_that_is_not_there_cannot_be_removed() -> None:
    book_side = BookSide(Side.BUY)
    book_side.add(order(1, 100))
    with pytest.raises(KeyError):
        book_side.remove(order(2, 100))
    with pytest.raises(KeyError):
        book_side.remove(order(1, 101))
    book_side.check_invariants()


actions = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "take"]), st.integers(1, 6), st.integers(1, 9)),
    max_size=60,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(side=st.sampled_from(list(Side)), actions=actions)
def test_invariants_hold_after_anything_that_is_done(
    side: Side, actions: list[tuple[str, int, int]]
) -> None:
    book_side = BookSide(side)
    resting: list[Order] = []
    for order_id, (action, price, quantity) in enumerate(actions):
        if action == "add":
            resting.append(order(order_id, price, quantity, side))
            book_side.add(resting[-1])
        elif resting and action == "remove":
            book_side.remove(resting.pop(quantity % len(resting)))
        elif resting:
            taken = resting[price % len(resting)]
            book_side.take(taken, min(quantity, taken.remaining))
            resting = [each for each in resting if each.remaining]
        book_side.check_invariants()

        by_price: dict[int, list[int]] = {}
        for each in resting:
            by_price.setdefault(each.price, []).append(each.order_id)
        expected = sorted(by_price.items(), reverse=side is Side.BUY)
        assert [(level.price, list(level.orders)) for level in book_side.best_first()] == expected


def _total(book: OrderBook) -> None:
    book.bids.levels[100].quantity += 1


def _empty_level(book: OrderBook) -> None:
    book.bids.levels[100].orders.clear()


def _nothing_left(book: OrderBook) -> None:
    book.bids.levels[100].orders[1].remaining = 0


def _wrong_best(book: OrderBook) -> None:
    book.bids.best = book.bids.levels[99]


def _no_best(book: OrderBook) -> None:
    book.bids.best = None


def _wrong_price(book: OrderBook) -> None:
    book.bids.levels[100].orders[1].price = 101


def _wrong_side(book: OrderBook) -> None:
    book.bids.levels[100].orders[1].side = Side.SELL


def _wrong_id(book: OrderBook) -> None:
    book.bids.levels[100].orders[1].order_id = 9


def _wrong_level(book: OrderBook) -> None:
    book.bids.levels[100].price = 98


def _wrong_symbol(book: OrderBook) -> None:
    book.bids.levels[100].orders[1].symbol = "OTHER"


@pytest.mark.parametrize(
    "damage",
    [
        _total,
        _empty_level,
        _nothing_left,
        _wrong_best,
        _no_best,
        _wrong_price,
        _wrong_side,
        _wrong_id,
        _wrong_level,
        _wrong_symbol,
    ],
)
def test_the_check_notices_every_kind_of_damage(damage: Callable[[OrderBook], None]) -> None:
    book = OrderBook("ACME")
    book.bids.add(order(1, 100))
    book.bids.add(order(2, 99))
    book.check_invariants()
    damage(book)
    with pytest.raises(InvariantBroken):
        book.check_invariants()


def _seconds_to_empty_from_the_front(orders: int) -> float:
    book_side = BookSide(Side.BUY)
    for order_id in range(orders):
        book_side.add(order(order_id, 100))
    started = time.thread_time()
    while book_side.best is not None:
        book_side.remove(book_side.best.oldest)
    return time.thread_time() - started


def test_emptying_a_long_queue_from_its_front_takes_linear_time() -> None:
    # Quadratic, as with a plain dict, 16 times the orders would take 256 times as long.
    short = min(_seconds_to_empty_from_the_front(2_500) for _ in range(5))
    long = min(_seconds_to_empty_from_the_front(40_000) for _ in range(2))
    assert long < 80 * short
