"""Inside V2: the lifecycle, the matcher's own answers, and checks that can fail.

No scenario can show these things, because they are about checks that never fail, and complaints
that are never read, while the engine is right. Mutation testing found them: see `docs/mutation.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from v2_event_driven_engine import (
    CancelOrder,
    CancelRejected,
    Command,
    IllegalTransition,
    InvariantBroken,
    ListInstrument,
    MassCancel,
    MassCanceled,
    NewOrder,
    OrderCanceled,
    OrderStatus,
    OrderType,
    Side,
)
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.order_book import BookSide, Order, OrderBook
from v2_event_driven_engine.errors import SequenceGap
from v2_event_driven_engine.models import order as lifecycle
from v2_event_driven_engine.models.order import Transitions

from .adapters import V2Matcher
from .examples import a_market

# -- The lifecycle of V2: every step of rulebook 6, and no other ------------------------------

STEPS = {
    ("ACCEPT", "PENDING_NEW"): "NEW",
    ("REJECT", "PENDING_NEW"): "REJECTED",
    ("PARTIAL_FILL", "NEW"): "PARTIALLY_FILLED",
    ("PARTIAL_FILL", "PARTIALLY_FILLED"): "PARTIALLY_FILLED",
    ("FILL", "NEW"): "FILLED",
    ("FILL", "PARTIALLY_FILLED"): "FILLED",
    ("CANCEL", "NEW"): "CANCELED",
    ("CANCEL", "PARTIALLY_FILLED"): "CANCELED",
    ("EXPIRE", "NEW"): "EXPIRED",
    ("EXPIRE", "PARTIALLY_FILLED"): "EXPIRED",
}
HAPPENINGS = ["ACCEPT", "REJECT", "PARTIAL_FILL", "FILL", "CANCEL", "EXPIRE"]


@pytest.mark.parametrize(("happening", "before"), list(product(HAPPENINGS, OrderStatus)))
def test_v2_takes_exactly_the_steps_of_the_rulebook(happening: str, before: OrderStatus) -> None:
    table: Transitions = getattr(lifecycle, happening)
    step = table.get(before)
    assert (step and step.name) == STEPS.get((happening, before.name))


@pytest.mark.parametrize("status", [OrderStatus.CANCELED, OrderStatus.PENDING_NEW])
def test_v2_refuses_a_step_that_is_not_in_the_table(status: OrderStatus) -> None:
    matcher = Matcher()
    matcher.apply(1, 0, [ListInstrument("ABC", "1", "1")])
    matcher.apply(2, 0, [NewOrder(1, 1, "ABC", Side.BUY, OrderType.LIMIT, 1, 1)])
    matcher.orders[1].status = status
    with pytest.raises(
        IllegalTransition, match=f"^a step that leads nowhere out of {status.name}$"
    ):
        matcher.apply(3, 0, [CancelOrder(1, 1)])
    assert matcher.sequence == 3


# -- What V2 keeps and refuses beside the rules -----------------------------------------------


@pytest.fixture
def matcher() -> Matcher:
    engine = V2Matcher()
    a_market(engine)
    engine.check_invariants()
    return engine.matcher


def test_v2_remembers_the_sizes_of_an_instrument(matcher: Matcher) -> None:
    assert matcher.instruments == {"ABC": ("0.01", "10")}


def test_v2_says_which_sequence_is_out_of_turn(matcher: Matcher) -> None:
    with pytest.raises(SequenceGap, match=r"^sequence 9 after 6$"):
        matcher.apply(9, 0, [])


def test_v2_does_to_many_commands_what_it_does_to_each(matcher: Matcher) -> None:
    other = V2Matcher()
    a_market(other)
    commands: list[Command] = [CancelOrder(4, 7), CancelOrder(4, 7), MassCancel(7, None)]
    happened = matcher.apply(7, 99, commands)
    assert happened == [
        other.matcher.apply(7 + n, 99, [each])[0] for n, each in enumerate(commands)
    ]
    assert [type(events[-1]) for events in happened] == [
        OrderCanceled,
        CancelRejected,
        MassCanceled,
    ]
    assert [events[0].sequence for events in happened] == [7, 8, 9]
    assert {event.timestamp_ns for events in happened for event in events} == {99}
    assert matcher.sequence == 9


def test_v2_knows_at_which_of_many_commands_it_failed(matcher: Matcher) -> None:
    with pytest.raises(KeyError):
        matcher.apply(7, 99, [CancelOrder(4, 7), None, CancelOrder(1, 7)])  # type: ignore[list-item]
    assert matcher.sequence == 8
    assert matcher.order(4) == (OrderStatus.CANCELED, 0)
    assert matcher.order(1) == (OrderStatus.NEW, 5)


def test_v2_gives_each_side_of_its_book() -> None:
    book = OrderBook("ABC")
    assert book.side(Side.BUY) is book.bids
    assert book.side(Side.SELL) is book.asks


def test_v2_gives_a_symbol_that_is_not_listed_an_empty_book_and_does_not_keep_it(
    matcher: Matcher,
) -> None:
    book = matcher.book("DEF")
    assert (book.symbol, list(book.bids), list(book.asks)) == ("DEF", [], [])
    assert list(matcher.books) == ["ABC"]


# -- The checks of V2's state can fail --------------------------------------------------------


def v2_order(matcher: Matcher, order_id: int) -> Order:
    return matcher.orders[order_id]


def v2_bids(matcher: Matcher) -> BookSide:
    return matcher.books["ABC"].bids


def v2_unsorted(matcher: Matcher) -> None:
    prices: Any = v2_bids(matcher).levels
    prices._list._lists[0].reverse()


def v2_stale_best(matcher: Matcher) -> None:
    v2_bids(matcher).best = v2_order(matcher, 3).level


def v2_empty_best(matcher: Matcher) -> None:
    v2_bids(matcher).best = v2_bids(matcher).level(101)


def v2_no_next_level(matcher: Matcher) -> None:
    v2_order(matcher, 1).level.worse = None


def v2_a_level_after_the_last(matcher: Matcher) -> None:
    v2_order(matcher, 3).level.worse = v2_order(matcher, 1).level


def v2_wrong_rank(matcher: Matcher) -> None:
    v2_order(matcher, 1).level.rank = 100


def v2_wrong_price(matcher: Matcher) -> None:
    v2_order(matcher, 1).level.price = 101


def v2_foreign_level(matcher: Matcher) -> None:
    v2_order(matcher, 1).level.side = matcher.books["ABC"].asks


def v2_empty_level_with_a_tail(matcher: Matcher) -> None:
    v2_order(matcher, 3).level.head = None


def v2_something_before_the_head(matcher: Matcher) -> None:
    v2_order(matcher, 1).previous = v2_order(matcher, 2)


def v2_wrong_level(matcher: Matcher) -> None:
    v2_order(matcher, 1).level = v2_order(matcher, 3).level


def v2_nothing_left(matcher: Matcher) -> None:
    v2_order(matcher, 1).remaining = 0


def v2_terminal_in_the_book(matcher: Matcher) -> None:
    v2_order(matcher, 1).status = OrderStatus.FILLED


def v2_short_tail(matcher: Matcher) -> None:
    level = v2_order(matcher, 1).level
    level.tail = level.head


def v2_one_way_neighbours(matcher: Matcher) -> None:
    v2_order(matcher, 2).previous = None


def v2_locked(matcher: Matcher) -> None:
    asks = matcher.books["ABC"].asks
    order = v2_order(matcher, 4)
    asks.remove(order)
    order.level = asks.level(100)
    asks.append(order)


def v2_wrong_symbol(matcher: Matcher) -> None:
    matcher.books["ABC"].symbol = "DEF"


def v2_no_instrument(matcher: Matcher) -> None:
    del matcher.instruments["ABC"]


def v2_in_two_books(matcher: Matcher) -> None:
    matcher.open_book("DEF", "1", "1")
    matcher.books["DEF"].bids = matcher.books["ABC"].bids


def v2_forgotten(matcher: Matcher) -> None:
    del matcher.orders[1]


def v2_two_ends(matcher: Matcher) -> None:
    matcher.finished.add(1, OrderStatus.FILLED)


def v2_unknown_highest_id(matcher: Matcher) -> None:
    matcher.highest_id = 3


def v2_live_nowhere(matcher: Matcher) -> None:
    v2_bids(matcher).remove(v2_order(matcher, 1))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (v2_unsorted, "levels are sorted"),
        (v2_stale_best, "the cached best level is the best level"),
        (v2_empty_best, "the cached best level is the best level"),
        (v2_no_next_level, "a level knows the next"),
        (v2_a_level_after_the_last, "a level knows the next"),
        (v2_wrong_rank, "rank is the signed price"),
        (v2_wrong_price, "rank is the signed price"),
        (v2_foreign_level, "a level knows its side"),
        (v2_empty_level_with_a_tail, "an empty level has no tail"),
        (v2_something_before_the_head, "nothing is older than the head"),
        (v2_wrong_level, "an order knows its level"),
        (v2_nothing_left, "nothing without quantity rests"),
        (v2_terminal_in_the_book, "a resting order is not terminal"),
        (v2_short_tail, "the tail is the last order"),
        (v2_one_way_neighbours, "neighbours know each other"),
        (v2_locked, "the spread is positive"),
        (v2_no_instrument, "every book is of an instrument"),
        (v2_wrong_symbol, "a book knows its symbol"),
        (v2_in_two_books, "an order is in one place"),
        (v2_forgotten, "a resting order is known by its id"),
        (v2_live_nowhere, "an order that is not terminal rests"),
        (v2_two_ends, "an order that rests is not terminal"),
        (v2_unknown_highest_id, "the highest id is known"),
    ],
)
def test_v2_notices_every_kind_of_damage_and_names_it(
    matcher: Matcher, damage: Callable[[Matcher], None], complaint: str
) -> None:
    damage(matcher)
    with pytest.raises(InvariantBroken, match=f"^this does not hold: {complaint}$"):
        matcher.check_invariants()
