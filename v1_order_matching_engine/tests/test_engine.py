"""The engine as a library: its methods, its clock and its answers to questions."""

import hashlib
from typing import Any

import pytest

from .. import (
    CancelOrder,
    CancelRejected,
    Depth,
    InstrumentRefused,
    InvariantBroken,
    Level,
    ListInstrument,
    MalformedCommand,
    MassCancel,
    MassCanceled,
    MatchingEngine,
    NewOrder,
    OrderCanceled,
    OrderReduced,
    OrderReplaced,
    OrderStatus,
    OrderType,
    ReduceOrder,
    RejectReason,
    ReplaceOrder,
    SelfTradePrevention,
    Side,
    TradeExecuted,
    replay,
)


@pytest.fixture
def engine() -> MatchingEngine:
    engine = MatchingEngine(clock=lambda: 1_000, record=True)
    engine.list_instrument("ACME", tick_size="0.01", lot_size="1")
    return engine


def limit(order_id: int, side: Side, price: int, quantity: int, **more: Any) -> NewOrder:
    fields = {"participant": 7, "symbol": "ACME", "type": OrderType.LIMIT, **more}
    return NewOrder(order_id=order_id, side=side, price=price, quantity=quantity, **fields)


def test_each_convenience_method_submits_the_command_of_its_name(engine: MatchingEngine) -> None:
    engine.submit(limit(1, Side.BUY, 100, 5))
    engine.reduce(1, 7, by=1)
    engine.replace(1, 7, price=101, quantity=3)
    engine.cancel(1, 7)
    engine.mass_cancel(7)
    engine.mass_cancel(7, "ACME")
    assert [recorded.command for recorded in engine.history] == [
        ListInstrument("ACME", "0.01", "1"),
        limit(1, Side.BUY, 100, 5),
        ReduceOrder(1, 7, 1),
        ReplaceOrder(1, 7, 101, 3),
        CancelOrder(1, 7),
        MassCancel(7, None),
        MassCancel(7, "ACME"),
    ]


def test_the_life_of_an_order_can_be_followed_by_events_and_by_asking(
    engine: MatchingEngine,
) -> None:
    def ask(order_id: int) -> tuple[OrderStatus, int]:
        view = engine.order(order_id)
        return view.status, view.remaining

    assert ask(1) == (OrderStatus.UNKNOWN, 0)
    engine.submit(limit(1, Side.SELL, 100, 9))
    assert ask(1) == (OrderStatus.NEW, 9)
    assert isinstance(engine.reduce(1, 7, 2)[0], OrderReduced)
    assert ask(1) == (OrderStatus.NEW, 7)
    _, trade = engine.submit(limit(2, Side.BUY, 100, 3, participant=8))
    assert isinstance(trade, TradeExecuted)
    assert (ask(1), ask(2)) == ((OrderStatus.PARTIALLY_FILLED, 4), (OrderStatus.FILLED, 0))
    assert isinstance(engine.replace(1, 7, price=99)[0], OrderReplaced)
    assert ask(1) == (OrderStatus.PARTIALLY_FILLED, 4)
    *canceled, counted = engine.mass_cancel(7)
    assert [type(event) for event in canceled] == [OrderCanceled]
    assert isinstance(counted, MassCanceled)
    assert ask(1) == (OrderStatus.CANCELED, 0)
    [refused] = engine.cancel(1, 7)
    assert isinstance(refused, CancelRejected)
    assert refused.reason is RejectReason.TOO_LATE
    engine.submit(limit(3, Side.BUY, 0, 3))
    assert ask(3) == (OrderStatus.REJECTED, 0)


def test_a_replaced_order_prevents_self_trades_as_a_taker_but_never_meets_its_old_entry(
    engine: MatchingEngine,
) -> None:
    cancel_taker = {"self_trade_prevention": SelfTradePrevention.CANCEL_TAKER}
    engine.submit(limit(1, Side.BUY, 100, 5, **cancel_taker))
    engine.submit(limit(2, Side.SELL, 105, 5))
    moved = engine.replace(1, 7, price=101)
    assert [type(event) for event in moved] == [OrderReplaced]
    through = engine.replace(1, 7, price=105)
    assert [type(event) for event in through] == [OrderReplaced, OrderCanceled]
    assert engine.order(1).status is OrderStatus.CANCELED
    assert engine.order(2).status is OrderStatus.NEW


def test_a_book_is_copied_when_it_is_looked_at(engine: MatchingEngine) -> None:
    engine.submit(limit(1, Side.BUY, 100, 5))
    view = engine.book("ACME")
    before = view.depth(1)
    engine.submit(limit(2, Side.BUY, 100, 4))
    assert before.bids == (Level(100, 5, 1),)
    assert view.depth(1).bids == (Level(100, 9, 2),)


def test_an_answer_comes_with_its_sequence_for_those_who_need_both(engine: MatchingEngine) -> None:
    engine.submit(limit(1, Side.BUY, 100, 5))
    assert engine.order_with_sequence(1) == (2, engine.order(1))
    assert engine.depth_with_sequence("ACME", 1) == (2, engine.book("ACME").depth(1))
    assert engine.depth_with_sequence("NONE", 1) == (2, ((), ()))


def test_a_symbol_never_listed_has_an_empty_book(engine: MatchingEngine) -> None:
    assert engine.book("NONE").depth() == Depth(bids=(), asks=())


@pytest.mark.parametrize("levels", [0, -1, True, 1.0, "1", None, 2**63])
def test_a_depth_is_an_integer_of_at_least_one(engine: MatchingEngine, levels: Any) -> None:
    with pytest.raises(MalformedCommand) as caught:
        engine.book("ACME").depth(levels)
    assert caught.value.field == "depth"


@pytest.mark.parametrize("order_id", [0, -1, 2**63, True, 1.0, "1", None])
def test_what_cannot_be_an_order_id_is_refused_by_its_name(
    engine: MatchingEngine, order_id: Any
) -> None:
    with pytest.raises(MalformedCommand) as caught:
        engine.order(order_id)
    assert caught.value.field == "order_id"


@pytest.mark.parametrize("symbol", ["", "acme", "ACME\n", "\ud800", None, 7])
def test_what_cannot_be_a_symbol_is_refused_by_its_name(
    engine: MatchingEngine, symbol: Any
) -> None:
    with pytest.raises(MalformedCommand) as caught:
        engine.book(symbol)
    assert caught.value.field == "symbol"


@pytest.mark.parametrize("field", ["symbol", "tick_size", "lot_size"])
def test_half_a_surrogate_pair_is_malformed_in_every_text(
    engine: MatchingEngine, field: str
) -> None:
    good = {"symbol": "AB", "tick_size": "1", "lot_size": "1"}
    with pytest.raises(MalformedCommand) as caught:
        engine.list_instrument(**{**good, field: "\ud800"})
    assert caught.value.field == field
    assert str(caught.value).isascii()
    assert engine.sequence == 1


def test_an_engine_in_memory_begins_with_its_instruments() -> None:
    aapl, amzn = (ListInstrument(symbol, "0.01", "1") for symbol in ("AAPL", "AMZN"))
    with MatchingEngine.in_memory(instruments=[aapl, amzn], clock=lambda: 7) as engine:
        assert engine.sequence == 2
        [accepted] = engine.submit(limit(1, Side.BUY, 100, 5, symbol="AMZN"))
        assert accepted.timestamp_ns == 7
    engine.close()
    assert engine.order(1).status is OrderStatus.NEW


def test_an_instrument_that_is_refused_leaves_no_engine() -> None:
    good, bad = ListInstrument("AAPL", "0.01", "1"), ListInstrument("AMZN", "0", "1")
    with pytest.raises(InstrumentRefused, match=r"AMZN.*INVALID_TICK_SIZE"):
        MatchingEngine.in_memory(instruments=[good, bad])
    with pytest.raises(InstrumentRefused, match=r"AAPL.*DUPLICATE_SYMBOL"):
        MatchingEngine.in_memory(instruments=[good, good])
    with pytest.raises(MalformedCommand, match="CancelOrder"):
        MatchingEngine.in_memory(instruments=[CancelOrder(1, 7)])  # type: ignore[list-item]


def test_many_commands_are_answered_one_by_one(engine: MatchingEngine) -> None:
    answers = engine.submit_many(limit(number, Side.BUY, 100, 5) for number in (1, 2))
    assert [[event.sequence for event in events] for events in answers] == [[2], [3]]
    assert engine.submit_many([]) == []


def test_of_many_commands_none_is_sequenced_if_one_is_malformed(engine: MatchingEngine) -> None:
    with pytest.raises(
        MalformedCommand, match=r"NoneType is not a command \(at index 1\)"
    ) as caught:
        engine.submit_many([CancelOrder(1, 7), None])  # type: ignore[list-item]
    assert caught.value.field == "command"
    assert engine.sequence == 1


def test_the_state_hash_is_that_of_the_canonical_text(engine: MatchingEngine) -> None:
    assert engine.state_hash() == hashlib.sha256(b"").hexdigest()
    engine.list_instrument("AB", "1", "1")
    for command in (
        limit(1, Side.SELL, 102, 1),
        limit(2, Side.SELL, 101, 2),
        limit(3, Side.BUY, 99, 3),
        limit(4, Side.BUY, 100, 4),
        limit(5, Side.BUY, 100, 5),
        limit(6, Side.BUY, 7, 6, symbol="AB"),
    ):
        engine.submit(command)
    text = (
        "AB,BUY,7,6,7,6\n"
        "ACME,BUY,100,4,7,4\nACME,BUY,100,5,7,5\nACME,BUY,99,3,7,3\n"
        "ACME,SELL,101,2,7,2\nACME,SELL,102,1,7,1\n"
    )
    assert engine.state_hash() == hashlib.sha256(text.encode()).hexdigest()
    assert engine.state().state_hash == engine.state_hash()
    assert engine.resting_orders == engine.state().resting_orders == 6


def test_time_does_not_go_back_when_the_clock_does() -> None:
    readings = iter([50, 40, 60, 10])
    engine = MatchingEngine(clock=lambda: next(readings), record=True)
    times = [engine.mass_cancel(1)[0].timestamp_ns for _ in range(4)]
    assert times == [50, 50, 60, 60]
    assert [recorded.timestamp_ns for recorded in engine.history] == times
    _, events = replay(engine.history)
    assert [group[0].timestamp_ns for group in events] == times


def test_the_clock_is_read_once_a_command_and_never_for_a_question() -> None:
    readings: list[int] = []

    def clock() -> int:
        readings.append(len(readings))
        return readings[-1]

    engine = MatchingEngine(clock)
    engine.list_instrument("ACME", "1", "1")
    for order_id in range(1, 6):
        engine.submit(limit(order_id, Side.SELL, 100, 1))
    engine.submit(limit(9, Side.BUY, 100, 5))
    engine.state()
    engine.book("ACME").depth()
    assert len(readings) == 7


def test_a_clock_that_fails_leaves_the_engine_as_it_was() -> None:
    readings = iter([1, 2])
    engine = MatchingEngine(clock=lambda: next(readings))
    engine.mass_cancel(1)
    engine.mass_cancel(1)
    with pytest.raises(StopIteration):
        engine.mass_cancel(1)
    assert engine.sequence == 2


@pytest.mark.parametrize("thing", [None, "cancel", {"command": "cancel"}, CancelOrder])
def test_what_is_no_command_is_refused_and_gets_no_sequence(
    engine: MatchingEngine, thing: Any
) -> None:
    with pytest.raises(MalformedCommand, match=r"^command: .* is not a command$") as caught:
        engine.submit(thing)
    assert caught.value.field == "command"
    assert engine.sequence == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_id", 0),
        ("order_id", 2**63),
        ("participant", 2**32),
        ("participant", 7.0),
        ("symbol", "acme"),
        ("symbol", "ACME\n"),
        ("side", "BUY"),
        ("type", None),
        ("price", 2**63),
        ("price", None),
        ("quantity", True),
        ("time_in_force", "GTC"),
        ("post_only", 1),
        ("self_trade_prevention", None),
    ],
)
def test_a_malformed_command_cannot_even_be_made(field: str, value: Any) -> None:
    good: dict[str, Any] = {
        "order_id": 1,
        "participant": 7,
        "symbol": "ACME",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "price": 100,
        "quantity": 5,
    }
    NewOrder(**good)
    with pytest.raises(MalformedCommand) as caught:
        NewOrder(**{**good, field: value})
    assert caught.value.field == field


def test_without_record_there_is_no_history() -> None:
    with pytest.raises(ValueError, match="record"):
        _ = MatchingEngine().history


def test_the_history_handed_out_is_a_copy(engine: MatchingEngine) -> None:
    engine.history.clear()
    assert len(engine.history) == 1


def test_the_check_notices_an_order_that_is_lost_or_counted_twice(engine: MatchingEngine) -> None:
    engine.submit(limit(1, Side.BUY, 100, 5))
    engine.check_invariants()
    lost = engine._matcher.register.live.pop(1)
    with pytest.raises(InvariantBroken, match="differ"):
        engine.check_invariants()
    engine._matcher.register.live[1] = lost
    engine._matcher.register.closed[1] = OrderStatus.FILLED
    with pytest.raises(InvariantBroken, match="both"):
        engine.check_invariants()
    engine._matcher.register.closed[1] = OrderStatus.NEW
    del engine._matcher.register.live[1]
    engine._matcher.books["ACME"].bids.remove(lost)
    with pytest.raises(InvariantBroken, match="not terminal"):
        engine.check_invariants()


def test_the_check_notices_a_terminal_order_in_a_book(engine: MatchingEngine) -> None:
    engine.submit(limit(1, Side.BUY, 100, 5))
    engine._matcher.register.live[1].status = OrderStatus.FILLED
    with pytest.raises(InvariantBroken, match="a terminal order rests"):
        engine.check_invariants()


def test_the_lock_counts_every_call_also_the_one_that_asks(engine: MatchingEngine) -> None:
    before = engine.lock_statistics
    engine.submit(limit(1, Side.BUY, 100, 5))
    after = engine.lock_statistics
    assert after.acquisitions - before.acquisitions == 2
    assert (after.contended, after.waited_ns) == (before.contended, before.waited_ns)


def test_the_check_notices_a_crossed_book(engine: MatchingEngine) -> None:
    engine.submit(limit(1, Side.BUY, 100, 5))
    engine.submit(limit(2, Side.SELL, 101, 5))
    ask = engine._matcher.register.live[2]
    asks = engine._matcher.books["ACME"].asks
    asks.remove(ask)
    ask.price = 100
    asks.add(ask)
    with pytest.raises(InvariantBroken, match="bid 100 meets ask 100"):
        engine.check_invariants()
