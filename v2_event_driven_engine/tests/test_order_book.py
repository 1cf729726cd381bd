"""The levels of a book: they stay when they empty, and yet there are never many of them."""

import random

import pytest

from v2_event_driven_engine import (
    CancelOrder,
    ListInstrument,
    NewOrder,
    OrderType,
    ReplaceOrder,
    Side,
    TimeInForce,
)
from v2_event_driven_engine.engine import order_book
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.order_book import BookSide, Order, PriceLevel
from v2_event_driven_engine.engine.trade import TradeExecuted
from v2_event_driven_engine.models.commands import Command

SYMBOL = "ACME"
FIRST, SECOND = 1, 2
"""Participants: one whose orders rest, one who takes them."""


class Market:
    """One side of a book, and what is done to it. Prices are ranks: 1 is the best of all."""

    def __init__(self, side: Side) -> None:
        self.matcher = Matcher()
        self.matcher.apply(1, 0, [ListInstrument(SYMBOL, "0.01", "1")])
        self.side = side
        self.book_side: BookSide = self.matcher.book(SYMBOL).side(side)
        self.next_id = 1

    def price(self, rank: int) -> int:
        return rank if self.side is Side.SELL else 1_000_000 - rank

    def send(self, command: Command) -> list[AnyEvent]:
        [events] = self.matcher.apply(self.matcher.sequence + 1, 0, [command])
        self.matcher.check_invariants()
        return events

    def rest(self, rank: int) -> int:
        """Let an order of one lot rest, and return its id."""
        order_id = self.next_id
        self.next_id += 1
        price = self.price(rank)
        self.send(NewOrder(order_id, FIRST, SYMBOL, self.side, OrderType.LIMIT, price, 1))
        return order_id

    def cancel(self, order_id: int) -> None:
        self.send(CancelOrder(order_id, FIRST))

    def move(self, order_id: int, rank: int) -> None:
        self.send(ReplaceOrder(order_id, FIRST, self.price(rank)))

    def take(self, lots: int, rank: int | None, time_in_force: TimeInForce) -> list[int]:
        """Trade against the side, and return the ids of the orders that were filled."""
        price = None if rank is None else self.price(rank)
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        side = Side.SELL if self.side is Side.BUY else Side.BUY
        order_id = self.next_id
        self.next_id += 1
        events = self.send(
            NewOrder(order_id, SECOND, SYMBOL, side, kind, price, lots, time_in_force)
        )
        return [event.maker_order_id for event in events if isinstance(event, TradeExecuted)]

    def leave_empty(self, *ranks: int) -> None:
        """Let each of these prices be used, and left again."""
        for rank in ranks:
            self.cancel(self.rest(rank))

    def order(self, order_id: int) -> Order:
        return self.matcher.orders[order_id]

    def queue(self) -> list[int]:
        return [order.order_id for order in self.book_side]

    def ranks(self) -> list[int]:
        """The prices that have a level, empty or not, best first."""
        return [abs(level.price - self.price(0)) for level in self.book_side.levels.values()]


@pytest.fixture(params=list(Side), ids=lambda side: side.name)
def market(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Market:
    """A side that may have four empty levels to spare, and walks over three of them at most."""
    monkeypatch.setattr(order_book, "SPARE_LEVELS", 4)
    monkeypatch.setattr(order_book, "LONG_WALK", 3)
    return Market(request.param)


# -- Empty levels stay ------------------------------------------------------------------------


def test_a_level_that_has_lost_its_last_order_stays_and_is_used_again(market: Market) -> None:
    level = market.order(left := market.rest(5)).level
    market.cancel(left)
    assert market.ranks() == [5]
    assert (market.book_side.best, market.queue()) == (None, [])
    assert market.order(market.rest(5)).level is level
    assert market.book_side.best is level


def test_a_level_that_lingers_empty_before_the_best_becomes_the_best_again(market: Market) -> None:
    behind = market.rest(7)
    market.leave_empty(5)
    assert market.book_side.best is market.order(behind).level
    new = market.rest(5)
    assert market.book_side.best is market.order(new).level
    assert market.queue() == [new, behind]
    assert market.take(1, None, TimeInForce.IOC) == [new]


def test_an_order_replaced_to_a_level_that_lingers_empty_becomes_the_best(market: Market) -> None:
    behind, moved = market.rest(7), market.rest(7)
    market.leave_empty(5)
    market.move(moved, 5)
    assert market.book_side.best is market.order(moved).level
    assert market.queue() == [moved, behind]


def test_an_empty_level_is_neither_shown_nor_in_the_way(market: Market) -> None:
    best, worst = market.rest(4), market.rest(8)
    market.leave_empty(3, 6)
    assert market.ranks() == [3, 4, 6, 8]
    assert market.queue() == [best, worst]
    assert market.book_side.depth(2) == [(market.price(4), 1, 1), (market.price(8), 1, 1)]
    assert market.book_side.depth(1) == [(market.price(4), 1, 1)]
    assert market.take(3, 8, TimeInForce.FOK) == []
    assert market.take(2, 7, TimeInForce.FOK) == []
    assert market.take(2, 8, TimeInForce.FOK) == [best, worst]


# -- ... and are not many ---------------------------------------------------------------------


@pytest.mark.parametrize("something_behind", [True, False])
@pytest.mark.parametrize("row", [0, 1, 3, 4, 9])
def test_a_long_row_of_empty_levels_is_walked_over_once(
    market: Market, row: int, something_behind: bool
) -> None:
    market.book_side.sweep_at = 100  # nothing but the walk takes a level away
    best = market.rest(1)
    behind = [market.rest(50)] if something_behind else []
    market.leave_empty(*range(2, 2 + row))
    market.cancel(best)
    kept = range(2, 2 + row) if row <= 3 else []
    assert market.ranks() == [1, *kept, *(50 for _ in behind)]
    assert market.queue() == behind
    market.leave_empty(1)
    assert market.ranks() == [1, *kept, *(50 for _ in behind)]


@pytest.mark.parametrize("look", ["depth", "fill or kill"])
def test_whoever_looks_over_a_long_row_of_empty_levels_spares_it_to_the_next(
    market: Market, look: str
) -> None:
    market.book_side.sweep_at = 100
    market.rest(1)
    market.rest(50)
    market.leave_empty(*range(2, 11))
    if look == "depth":
        assert len(market.book_side.depth(2)) == 2
    else:
        assert market.take(3, 50, TimeInForce.FOK) == []
    assert market.ranks() == [1, 50]


def churn(market: Market, ranks: range) -> list[int]:
    """Use and leave prices one after the other; how many levels there were each time."""
    counts = []
    for rank in ranks:
        market.leave_empty(rank)
        counts.append(len(market.book_side.levels))
    return counts


def test_there_are_at_most_twice_the_levels_in_use_and_the_spare_ones(market: Market) -> None:
    resting = [market.rest(rank) for rank in (10, 20, 30)]
    counts = churn(market, range(31, 80))
    assert counts[:9] == [4, 4, 5, 6, 7, 8, 9, 10, 4]  # swept at the spare 4, then at 2 · 3 + 4
    assert max(counts) == 10
    for order_id in resting:
        market.cancel(order_id)
    assert churn(market, range(80, 95))[-9:] == [10, 1, 2, 3, 4, 1, 2, 3, 4]  # with none in use


def test_a_sweep_leaves_orders_their_levels_and_a_book_that_works(market: Market) -> None:
    resting = [market.rest(rank) for rank in (10, 20, 20)]
    levels: list[PriceLevel] = [market.order(order_id).level for order_id in resting]
    market.leave_empty(5, 15, 25)
    assert market.ranks() == [10, 20, 25]  # 25 came when there were four
    assert [market.order(order_id).level for order_id in resting] == levels
    assert list(market.book_side.levels.values())[:2] == [levels[0], levels[1]]
    assert market.book_side.best is levels[0]
    better = market.rest(5)
    between = market.rest(15)
    assert market.queue() == [better, resting[0], between, *resting[1:]]
    assert market.take(5, None, TimeInForce.IOC) == [
        better, resting[0], between, *resting[1:]
    ]  # fmt: skip


# -- A queue that goes ------------------------------------------------------------------------


@pytest.mark.parametrize("orders", [0, 1, 3])
def test_a_queue_that_is_taken_apart_leaves_no_order_with_a_neighbour(
    market: Market, orders: int
) -> None:
    market.rest(1)
    level = market.book_side.level(market.price(2))
    queue = [market.order(market.rest(2)) for _ in range(orders)]
    level.take_apart()
    assert (level.head, level.tail) == (None, None)
    assert [(order.previous, order.next) for order in queue] == [(None, None)] * orders


# -- All of it, at random ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_book_is_what_a_sorted_list_would_be_whatever_is_done_to_it(
    market: Market, seed: int
) -> None:
    choose = random.Random(seed)
    resting: list[tuple[int, int]] = []  # rank and id, in the order of arrival
    most_in_use, walks, sweeps = 0, 0, 0
    for _ in range(1_000):
        before = market.ranks()
        roll = choose.random()
        rank = choose.randrange(1, 40)
        if roll < 0.45:
            resting.append((rank, market.rest(rank)))
        elif roll < 0.55:
            lots = choose.randrange(1, 5)
            filled = sorted(resting, key=lambda order: order[0])[:lots]
            assert market.take(lots, None, TimeInForce.IOC) == [order_id for _, order_id in filled]
            resting = [order for order in resting if order not in filled]
        elif resting:
            _, order_id = resting.pop(choose.randrange(len(resting)))
            if roll < 0.85:
                market.cancel(order_id)
            else:
                market.move(order_id, rank)
                resting.append((rank, order_id))
        resting_best_first = sorted(resting, key=lambda order: order[0])
        assert market.queue() == [order_id for _, order_id in resting_best_first]
        most_in_use = max(most_in_use, len({rank for rank, _ in resting}))
        after = market.ranks()
        assert len(after) <= 2 * most_in_use + 4
        if len(after) < len(before):  # who makes a level sweeps, who leaves one walks
            made = rank in after and rank not in before
            sweeps += made
            walks += not made
    assert walks > 5
    assert sweeps > 5
