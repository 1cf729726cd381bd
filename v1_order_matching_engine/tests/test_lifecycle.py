"""The lifecycle table, and the engine that stops before it breaks it."""

from collections.abc import Callable
from itertools import product

import pytest

from ..engine.matching_engine import MatchingEngine
from ..engine.register import OrderRegister
from ..errors import EngineStopped, IllegalTransition
from ..models.commands import NewOrder
from ..models.enums import OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from ..models.order import TERMINAL, TRANSITIONS, Order, transition

STATUSES = [status for status in OrderStatus if status is not OrderStatus.UNKNOWN]

# Written out once more on purpose: the table is checked against the rulebook, not against itself.
LEGAL = {
    ("PENDING_NEW", "NEW"),
    ("PENDING_NEW", "REJECTED"),
    ("NEW", "PARTIALLY_FILLED"),
    ("NEW", "FILLED"),
    ("NEW", "CANCELED"),
    ("NEW", "EXPIRED"),
    ("PARTIALLY_FILLED", "PARTIALLY_FILLED"),
    ("PARTIALLY_FILLED", "FILLED"),
    ("PARTIALLY_FILLED", "CANCELED"),
    ("PARTIALLY_FILLED", "EXPIRED"),
}


def new_order(order_id: int, side: Side, time_in_force: TimeInForce = TimeInForce.GTC) -> NewOrder:
    return NewOrder(
        order_id=order_id,
        participant=7,
        symbol="ACME",
        side=side,
        type=OrderType.LIMIT,
        price=100,
        quantity=5,
        time_in_force=time_in_force,
    )


@pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
def test_the_table_allows_exactly_the_steps_of_the_rulebook(
    before: OrderStatus, after: OrderStatus
) -> None:
    order = Order(1, 7, "ACME", Side.BUY, 100, 5, SelfTradePrevention.NONE, False, before)
    if (before, after) in LEGAL:
        assert transition(before, after) is after
        order.move_to(after)
        assert order.status is after
    else:
        with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
            transition(before, after)
        with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
            order.move_to(after)
        assert order.status is before


def test_four_statuses_are_terminal() -> None:
    assert {"FILLED", "CANCELED", "EXPIRED", "REJECTED"} == TERMINAL
    assert set(TRANSITIONS) == set(STATUSES)


@pytest.fixture
def broken() -> MatchingEngine:
    """An engine with a bug: order 1 rests in the book and is FILLED."""
    engine = MatchingEngine(clock=lambda: 0, record=True)
    engine.list_instrument("ACME", "0.01", "1")
    engine.submit(new_order(1, Side.SELL))
    engine._matcher.register.live[1].status = OrderStatus.FILLED
    return engine


def test_an_illegal_transition_stops_the_engine_before_anything_is_published(
    broken: MatchingEngine,
) -> None:
    with pytest.raises(EngineStopped, match=r"FILLED -> FILLED.*at sequence 3") as caught:
        broken.submit(new_order(2, Side.BUY))
    assert isinstance(caught.value.__cause__, IllegalTransition)


EVERY_CALL: dict[str, Callable[[MatchingEngine], object]] = {
    "submit": lambda engine: engine.submit(new_order(3, Side.BUY)),
    "submit_many": lambda engine: engine.submit_many([new_order(3, Side.BUY)]),
    "list_instrument": lambda engine: engine.list_instrument("B", "1", "1"),
    "cancel": lambda engine: engine.cancel(1, 7),
    "reduce": lambda engine: engine.reduce(1, 7, 1),
    "replace": lambda engine: engine.replace(1, 7, price=5),
    "mass_cancel": lambda engine: engine.mass_cancel(7),
    "order": lambda engine: engine.order(1),
    "order_with_sequence": lambda engine: engine.order_with_sequence(1),
    "book": lambda engine: engine.book("ACME"),
    "depth_with_sequence": lambda engine: engine.depth_with_sequence("ACME", 1),
    "state": lambda engine: engine.state(),
    "state_hash": lambda engine: engine.state_hash(),
    "sequence": lambda engine: engine.sequence,
    "resting_orders": lambda engine: engine.resting_orders,
    "trades": lambda engine: engine.trades,
    "history": lambda engine: engine.history,
    "lock_statistics": lambda engine: engine.lock_statistics,
    "check_invariants": lambda engine: engine.check_invariants(),
}


def test_everything_that_looks_at_the_state_is_in_the_list_above() -> None:
    public = {name for name in dir(MatchingEngine) if not name.startswith("_")}
    assert set(EVERY_CALL) == public - {"in_memory", "close"}


@pytest.mark.parametrize("name", EVERY_CALL)
def test_a_stopped_engine_answers_every_call_with_the_same_error(
    broken: MatchingEngine, name: str
) -> None:
    with pytest.raises(EngineStopped) as first:
        broken.cancel(1, 7)
    with pytest.raises(EngineStopped) as later:
        EVERY_CALL[name](broken)
    assert str(later.value) == str(first.value)


def test_a_view_of_a_book_stops_with_its_engine(broken: MatchingEngine) -> None:
    view = broken.book("ACME")
    with pytest.raises(EngineStopped):
        broken.cancel(1, 7)
    with pytest.raises(EngineStopped):
        view.depth()


def test_an_interrupt_in_the_middle_of_a_command_stops_the_engine_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = MatchingEngine()
    engine.list_instrument("ACME", "0.01", "1")

    def interrupt(register: OrderRegister, order: Order) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OrderRegister, "fill", interrupt)
    engine.submit(new_order(1, Side.SELL))
    with pytest.raises(KeyboardInterrupt):
        engine.submit(new_order(2, Side.BUY))
    with pytest.raises(EngineStopped, match="KeyboardInterrupt"):
        engine.state()
