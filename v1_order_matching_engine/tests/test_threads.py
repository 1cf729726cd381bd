"""Many threads, one engine: what they did is what one thread does in the recorded order."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from ..engine.events import OrderAccepted, TradeExecuted
from ..engine.matching_engine import MatchingEngine, replay
from ..models.commands import NewOrder
from ..models.enums import OrderType, Side
from ..utils.tour import SYMBOL, make_flow, send_from_threads

TIMEOUT_SECONDS = 30


@pytest.fixture(autouse=True)
def short_turns() -> Iterator[None]:
    """Let threads lose their turn far more often than usual, so that races are seen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def listed_engine() -> MatchingEngine:
    engine = MatchingEngine(record=True)
    engine.list_instrument(SYMBOL, tick_size="0.01", lot_size="1")
    return engine


def limit(order_id: int, side: Side, price: int, quantity: int) -> NewOrder:
    return NewOrder(
        order_id=order_id,
        participant=1,
        symbol=SYMBOL,
        side=side,
        type=OrderType.LIMIT,
        price=price,
        quantity=quantity,
    )


@pytest.mark.parametrize("seed", range(3))
def test_replaying_the_recorded_order_gives_the_same_events_and_state(seed: int) -> None:
    engine = listed_engine()
    result = send_from_threads(
        engine, [make_flow(seed, participant, 1_500) for participant in range(1, 7)]
    )
    engine.check_invariants()

    replayed, events = replay(engine.history)
    assert events[1:] == result.events
    assert replayed.state() == engine.state()
    assert replayed.trades == engine.trades > 0


def test_every_sequence_is_given_once_and_none_is_left_out() -> None:
    engine = listed_engine()
    result = send_from_threads(
        engine, [make_flow(9, participant, 500) for participant in range(1, 5)]
    )
    sequences = [events[0].sequence for events in result.events]
    assert sequences == list(range(2, 2 + 4 * 500))
    for events in result.events:
        assert [event.index for event in events] == list(range(len(events)))
        assert {event.sequence for event in events} == {events[0].sequence}


def test_many_commands_are_sequenced_without_a_gap() -> None:
    engine = listed_engine()
    batches = [make_flow(4, participant, 1_500) for participant in range(1, 5)]
    with ThreadPoolExecutor(len(batches)) as threads:
        for answers in threads.map(engine.submit_many, batches, timeout=TIMEOUT_SECONDS):
            sequences = [events[0].sequence for events in answers]
            assert sequences == list(range(sequences[0], sequences[0] + 1_500))


def test_time_never_goes_backwards_from_one_sequence_to_the_next() -> None:
    engine = listed_engine()
    result = send_from_threads(
        engine, [make_flow(5, participant, 500) for participant in range(1, 5)]
    )
    times = [events[0].timestamp_ns for events in result.events]
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_orders_of_many_threads_fill_in_the_order_in_which_they_arrived() -> None:
    engine = listed_engine()
    makers = [
        [limit(1_000 * thread + count, Side.SELL, 100, 1) for count in range(200)]
        for thread in range(1, 6)
    ]
    result = send_from_threads(engine, makers)
    accepted = [events[0] for events in result.events]
    arrived = [event.order_id for event in accepted if isinstance(event, OrderAccepted)]

    _, *trades = engine.submit(limit(1, Side.BUY, 100, 5 * 200))
    filled = [event.maker_order_id for event in trades if isinstance(event, TradeExecuted)]
    assert filled == arrived
    assert len(filled) == 5 * 200


def test_questions_between_commands_see_whole_commands_only() -> None:
    engine = listed_engine()
    engine.submit(limit(1, Side.SELL, 100, 10))
    finished = threading.Event()
    seen: list[tuple[int, int]] = []

    def watch() -> None:
        while not finished.is_set():
            sequence, depth = engine.depth_with_sequence(SYMBOL, 10)
            seen.append((sequence, sum(level.quantity for level in depth.asks)))
            engine.check_invariants()

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(500):  # it leaves its price and takes its new one within a single command
        engine.replace(1, 1, price=101)
        engine.replace(1, 1, price=100)
    finished.set()
    watcher.join(TIMEOUT_SECONDS)
    assert seen
    assert {quantity for _, quantity in seen} == {10}
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(seen))
