"""What mutation testing found untested, tested: see `docs/mutation.md`.

Scenarios cannot tell these things, because they are about checks that never fail and complaints
that nobody ever gets to read while the engines are right.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

import v1_order_matching_engine as v1
from v1_order_matching_engine.engine.order_book import OrderBook as V1Book
from v1_order_matching_engine.engine.rules import Rules
from v1_order_matching_engine.errors import InvariantBroken, MalformedCommand
from v1_order_matching_engine.models.enums import OrderStatus as V1Status
from v2_event_driven_engine.engine.events import (
    CancelOrder,
    CancelRejected,
    Command,
    MassCancel,
    MassCanceled,
    OrderCanceled,
)
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.engine.order_book import BookSide, OrderBook
from v2_event_driven_engine.errors import IllegalTransition, SequenceGap
from v2_event_driven_engine.models import order as lifecycle
from v2_event_driven_engine.models.enums import OrderStatus, Side
from v2_event_driven_engine.models.order import Order, Transitions

from ..adapters import V1, V2Matcher
from ..engine import Engine

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
    if (happening, before.name) in STEPS:
        assert table[before].name == STEPS[happening, before.name]
    else:
        with pytest.raises(IllegalTransition, match=f"^no {happening} out of {before.name}$"):
            table[before]


def test_a_table_of_transitions_has_the_name_and_the_steps_it_was_given() -> None:
    table = Transitions("WAKE", {OrderStatus.NEW: OrderStatus.FILLED})
    assert table == {OrderStatus.NEW: OrderStatus.FILLED}
    with pytest.raises(IllegalTransition, match=r"^no WAKE out of EXPIRED$"):
        table[OrderStatus.EXPIRED]


# -- What V2 keeps and refuses beside the rules -----------------------------------------------


def a_market(engine: Engine) -> None:
    """Two bids at 100, one at 99, an offer at 102; and an order that is FILLED."""
    sizes = {"tick_size": "0.01", "lot_size": "10"}
    engine.execute({"command": "list_instrument", "symbol": "ABC", **sizes})
    rows = [(1, "BUY", 100), (2, "BUY", 100), (3, "BUY", 99), (4, "SELL", 102), (5, "BUY", 102)]
    for order_id, side, price in rows:
        order = {"order_id": order_id, "participant": 7, "symbol": "ABC", "side": side}
        quantity = 1 if order_id == 5 else 5
        terms = {"type": "LIMIT", "price": price, "quantity": quantity}
        engine.execute({"command": "new", **order, **terms})


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
        matcher.apply(9, 0, None)  # type: ignore[arg-type]


def test_v2_does_to_many_commands_what_it_does_to_each(matcher: Matcher) -> None:
    other = V2Matcher()
    a_market(other)
    commands: list[Command] = [CancelOrder(4, 7), CancelOrder(4, 7), MassCancel(7, None)]
    happened = matcher.apply_all(99, commands)
    assert happened == [other.matcher.apply(7 + n, 99, each) for n, each in enumerate(commands)]
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
        matcher.apply_all(99, [CancelOrder(4, 7), None, CancelOrder(1, 7)])  # type: ignore[list-item]
    assert matcher.sequence == 8
    assert matcher.order(4) == (OrderStatus.CANCELED, 0)
    assert matcher.order(1) == (OrderStatus.NEW, 5)


def test_v2_gives_each_side_of_its_book() -> None:
    book = OrderBook("ABC")
    assert book.side(Side.BUY) is book.bids
    assert book.side(Side.SELL) is book.asks


# -- The checks of V2's state can fail --------------------------------------------------------


def v2_order(matcher: Matcher, order_id: int) -> Order:
    order = matcher.orders[order_id]
    assert isinstance(order, Order)
    return order


def v2_bids(matcher: Matcher) -> BookSide:
    return matcher.books["ABC"].bids


def v2_stale_best(matcher: Matcher) -> None:
    v2_bids(matcher).best = v2_order(matcher, 3).level


def v2_empty_best(matcher: Matcher) -> None:
    v2_bids(matcher).best = v2_bids(matcher).level(101)


def v2_no_next_level(matcher: Matcher) -> None:
    v2_order(matcher, 1).level.worse = None


def v2_a_level_behind_the_last(matcher: Matcher) -> None:
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


def v2_terminal_at_rest(matcher: Matcher) -> None:
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


def v2_forgotten(matcher: Matcher) -> None:
    del matcher.orders[1]


def v2_live_nowhere(matcher: Matcher) -> None:
    v2_bids(matcher).remove(v2_order(matcher, 1))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (v2_stale_best, "the cached best level is the best level"),
        (v2_empty_best, "the cached best level is the best level"),
        (v2_no_next_level, "a level knows the next"),
        (v2_a_level_behind_the_last, "a level knows the next"),
        (v2_wrong_rank, "rank is the signed price"),
        (v2_wrong_price, "rank is the signed price"),
        (v2_foreign_level, "a level knows its side"),
        (v2_empty_level_with_a_tail, "an empty level has no tail"),
        (v2_something_before_the_head, "nothing is older than the head"),
        (v2_wrong_level, "an order knows its level"),
        (v2_nothing_left, "nothing without quantity rests"),
        (v2_terminal_at_rest, None),
        (v2_short_tail, "the tail is the last order"),
        (v2_one_way_neighbours, "neighbours know each other"),
        (v2_locked, "the spread is positive"),
        (v2_wrong_symbol, None),
        (v2_forgotten, "a resting order is known by its id"),
        (v2_live_nowhere, "a live order rests"),
    ],
)
def test_v2_notices_every_kind_of_damage_and_names_it(
    matcher: Matcher, damage: Callable[[Matcher], None], complaint: str | None
) -> None:
    damage(matcher)
    with pytest.raises(AssertionError, match=complaint and f"^{complaint}$"):
        matcher.check_invariants()


# -- A command of V1 that cannot be made names its field exactly ------------------------------

LIMIT_ORDER = {
    "order_id": 1,
    "participant": 7,
    "symbol": "ABC",
    "side": v1.Side.BUY,
    "type": v1.OrderType.LIMIT,
    "price": 100,
    "quantity": 5,
    "time_in_force": v1.TimeInForce.GTC,
    "post_only": False,
    "self_trade_prevention": v1.SelfTradePrevention.NONE,
}
COMMANDS: list[tuple[type[Any], dict[str, object]]] = [
    (v1.ListInstrument, {"symbol": "ABC", "tick_size": "1", "lot_size": "1"}),
    (v1.NewOrder, LIMIT_ORDER),
    (v1.CancelOrder, {"order_id": 1, "participant": 7}),
    (v1.ReduceOrder, {"order_id": 1, "participant": 7, "by": 1}),
    (v1.ReplaceOrder, {"order_id": 1, "participant": 7, "price": 100, "quantity": 5}),
    (v1.MassCancel, {"participant": 7, "symbol": "ABC"}),
]


@pytest.mark.parametrize(
    ("command", "fields", "wrong"),
    [(command, fields, wrong) for command, fields in COMMANDS for wrong in fields],
)
def test_v1_names_the_field_that_is_of_the_wrong_type(
    command: type[Any], fields: dict[str, object], wrong: str
) -> None:
    command(**fields)
    with pytest.raises(MalformedCommand, match=f"^{wrong}: 1.5; expected ") as caught:
        command(**{**fields, wrong: 1.5})
    assert caught.value.field == wrong


def test_v1_names_the_field_that_is_missing() -> None:
    with pytest.raises(MalformedCommand) as caught:
        v1.NewOrder(**{**LIMIT_ORDER, "price": None})  # type: ignore[arg-type]
    assert str(caught.value) == "price: missing; a LIMIT needs one"
    with pytest.raises(MalformedCommand) as caught:
        v1.ReplaceOrder(1, 7)
    assert str(caught.value) == "price: missing, and so is quantity; expected at least one"


# -- The checks of V1's state say where and what ----------------------------------------------


@pytest.fixture
def rules() -> Rules:
    engine = V1()
    a_market(engine)
    engine.check_invariants()
    return engine.engine._rules


def v1_book(rules: Rules) -> V1Book:
    return rules.books["ABC"]


def v1_stale_best(rules: Rules) -> None:
    v1_book(rules).bids.best = v1_book(rules).bids.levels[99]


def v1_empty_level(rules: Rules) -> None:
    v1_book(rules).bids.levels[99].orders.clear()


def v1_nothing_left(rules: Rules) -> None:
    rules.register.live[1].remaining = 0


def v1_wrong_total(rules: Rules) -> None:
    v1_book(rules).bids.levels[100].quantity += 1


def v1_wrong_level(rules: Rules) -> None:
    v1_book(rules).bids.levels[100].price = 98


def v1_wrong_id(rules: Rules) -> None:
    rules.register.live[1].order_id = 9


def v1_wrong_price(rules: Rules) -> None:
    rules.register.live[1].price = 101


def v1_wrong_side(rules: Rules) -> None:
    rules.register.live[4].side = rules.register.live[1].side


def v1_wrong_symbol(rules: Rules) -> None:
    rules.register.live[1].symbol = "DEF"


def v1_locked(rules: Rules) -> None:
    order = rules.register.live[4]
    v1_book(rules).asks.remove(order)
    order.price = 100
    v1_book(rules).asks.add(order)


def v1_forgotten(rules: Rules) -> None:
    del rules.register.live[1]


def v1_live_and_closed(rules: Rules) -> None:
    rules.register.closed[1] = V1Status.CANCELED


def v1_closed_but_new(rules: Rules) -> None:
    rules.register.closed[5] = V1Status.NEW


def v1_terminal_at_rest(rules: Rules) -> None:
    rules.register.live[1].status = V1Status.FILLED


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (v1_stale_best, "BUY: best is not the best level"),
        (v1_empty_level, "BUY 99: an empty level stayed"),
        (v1_nothing_left, "BUY 100: an order with nothing left stayed"),
        (v1_wrong_total, "BUY 100: total is not the sum"),
        (v1_wrong_level, "BUY 100: level believes to be at 98"),
        (v1_wrong_id, "BUY 100: #1 is filed wrongly"),
        (v1_wrong_price, "BUY 100: #1 is at the wrong price"),
        (v1_wrong_side, "SELL 102: #4 is on the wrong side"),
        (v1_wrong_symbol, "#1: not of ABC"),
        (v1_locked, "ABC: bid 100 meets ask 100"),
        (v1_forgotten, "the books and the register of live orders differ"),
        (v1_live_and_closed, "an order is both live and closed"),
        (v1_closed_but_new, "a closed order is not terminal"),
        (v1_terminal_at_rest, "a terminal order rests in a book"),
    ],
)
def test_v1_notices_every_kind_of_damage_and_names_it(
    rules: Rules, damage: Callable[[Rules], None], complaint: str
) -> None:
    damage(rules)
    with pytest.raises(InvariantBroken, match=f"^{complaint}$"):
        rules.check_invariants()
