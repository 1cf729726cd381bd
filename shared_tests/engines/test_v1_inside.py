"""Inside V1: complaints about commands name the field, and the checks of the state can fail.

No scenario can show these things, because they are about checks that never fail, and complaints
that are never read, while the engine is right. Mutation testing found them: see `docs/mutation.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import v1_order_matching_engine as v1
from v1_order_matching_engine.engine.matcher import Matcher as Rules
from v1_order_matching_engine.engine.order_book import OrderBook as V1Book
from v1_order_matching_engine.errors import InvariantBroken, MalformedCommand
from v1_order_matching_engine.models.enums import OrderStatus as V1Status

from .adapters import V1
from .examples import a_market

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


@pytest.mark.parametrize(("field", "example"), [("tick_size", "0.01"), ("lot_size", "100")])
def test_v1_shows_a_size_as_it_should_be(field: str, example: str) -> None:
    sizes: dict[str, Any] = {"symbol": "ABC", "tick_size": "1", "lot_size": "1", field: 1}
    with pytest.raises(MalformedCommand) as caught:
        v1.ListInstrument(**sizes)
    assert str(caught.value) == f"{field}: 1; expected a string, such as '{example}'"


# -- The checks of V1's state say where and what ----------------------------------------------


@pytest.fixture
def rules() -> Rules:
    engine = V1()
    a_market(engine)
    engine.check_invariants()
    return engine.engine._matcher


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


def v1_terminal_in_the_book(rules: Rules) -> None:
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
        (v1_terminal_in_the_book, "a terminal order rests in a book"),
    ],
)
def test_v1_notices_every_kind_of_damage_and_names_it(
    rules: Rules, damage: Callable[[Rules], None], complaint: str
) -> None:
    damage(rules)
    with pytest.raises(InvariantBroken, match=f"^{complaint}$"):
        rules.check_invariants()
