"""The engine around the matcher: queue, writer, receipts, shutdown, failure."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from v2_event_driven_engine import (
    CancelOrder,
    EventDrivenMatchingEngine,
    ListInstrument,
    NewOrder,
    OrderStatus,
    OrderType,
    Side,
)
from v2_event_driven_engine.engine.event_log import EventLog
from v2_event_driven_engine.engine.events import AnyEvent, Command, OrderAccepted
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.engine.recovery import Recovered
from v2_event_driven_engine.engine.sequencer import Request, Sequencer
from v2_event_driven_engine.engine.wal_event_store import MemoryEventStore, Outcomes
from v2_event_driven_engine.engine.wal_reader import START
from v2_event_driven_engine.errors import (
    DirectoryInUse,
    EngineBusy,
    EngineClosed,
    EngineStopped,
    IllegalTransition,
    MalformedCommand,
    SequenceGap,
)

from .faults import proves
from .flow import SYMBOL, commands

INSTRUMENT = ListInstrument(SYMBOL, "0.01", "1")
DEADLINE = 30.0
"""Seconds after which a test that waits has failed; nothing here takes a tenth of one."""


def order(order_id: int, side: Side = Side.BUY, price: int = 100, quantity: int = 1) -> NewOrder:
    return NewOrder(order_id, 1, SYMBOL, side, OrderType.LIMIT, price, quantity)


class GatedStore(MemoryEventStore):
    """A store whose syncs wait until the test lets them through."""

    def __init__(self) -> None:
        self.syncing = threading.Semaphore(0)
        """Released once for every append that has begun."""
        self.gate = threading.Semaphore(0)
        self.batches: list[int] = []

    def append(self, timestamp_ns: int, commands: Sequence[Command], outcomes: Outcomes) -> None:
        self.batches.append(len(commands))
        self.syncing.release()
        assert self.gate.acquire(timeout=DEADLINE)


class FailingStore(MemoryEventStore):
    """A store whose N-th append fails."""

    def __init__(self, failing: int) -> None:
        self.appends = 0
        self._failing = failing

    def append(self, timestamp_ns: int, commands: Sequence[Command], outcomes: Outcomes) -> None:
        self.appends += 1
        if self.appends == self._failing:
            raise OSError(28, "No space left on device")


class RecordingStore(MemoryEventStore):
    """A store that remembers what it was given."""

    def __init__(self) -> None:
        self.writes: list[tuple[list[Command], list[Sequence[AnyEvent]]]] = []

    def append(self, timestamp_ns: int, commands: Sequence[Command], outcomes: Outcomes) -> None:
        self.writes.append((list(commands), list(outcomes)))

    def append_outcomes(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        self.writes.append(([], list(outcomes)))


def engine_on(store: MemoryEventStore, **options: int) -> EventDrivenMatchingEngine:
    return EventDrivenMatchingEngine(Recovered(Matcher(), START), store, **options)  # type: ignore[arg-type]


def test_a_receipt_resolves_with_the_events_of_its_command() -> None:
    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        events = engine.submit(order(1)).result(DEADLINE)
        assert [type(event) for event in events] == [OrderAccepted]
        assert events[0].sequence == 2
        assert engine.order(1) == (OrderStatus.NEW, 1)
        assert engine.order(2) == (None, 0)


def test_nothing_is_answered_before_the_sync_returns() -> None:
    store = GatedStore()
    engine = engine_on(store)
    receipt = engine.submit(INSTRUMENT)
    assert store.syncing.acquire(timeout=DEADLINE)
    assert not receipt.done
    with pytest.raises(TimeoutError):
        receipt.result(timeout=0.0)
    store.gate.release()
    assert receipt.result(DEADLINE)[0].sequence == 1
    engine.close()


def test_what_gathers_during_one_sync_is_the_next_batch() -> None:
    store = GatedStore()
    engine = engine_on(store)
    receipts = [engine.submit(INSTRUMENT)]
    assert store.syncing.acquire(timeout=DEADLINE)
    receipts += [engine.submit(order(order_id)) for order_id in range(1, 8)]
    store.gate.release(2)
    for receipt in receipts:
        receipt.result(DEADLINE)
    assert store.batches == [1, 7]
    engine.close()


def test_a_batch_is_never_larger_than_max_batch() -> None:
    store = GatedStore()
    engine = engine_on(store, max_batch=3)
    receipts = [engine.submit(INSTRUMENT)]
    assert store.syncing.acquire(timeout=DEADLINE)
    receipts += [engine.submit(order(order_id)) for order_id in range(1, 8)]
    store.gate.release(4)
    for receipt in receipts:
        receipt.result(DEADLINE)
    assert store.batches == [1, 3, 3, 1]
    engine.close()


@proves("queue full")
def test_a_full_queue_is_busy_before_a_sequence_exists_and_drops_nothing() -> None:
    store = GatedStore()
    engine = engine_on(store, queue_capacity=3)
    receipts = [engine.submit(INSTRUMENT)]
    assert store.syncing.acquire(timeout=DEADLINE)  # in the writer's hands: its place is free again
    receipts += [engine.submit(order(order_id)) for order_id in range(1, 4)]
    with pytest.raises(EngineBusy):
        engine.submit(order(4))
    store.gate.release(2)
    assert [receipt.result(DEADLINE)[0].sequence for receipt in receipts] == [1, 2, 3, 4]
    store.gate.release()
    assert engine.submit(order(4)).result(DEADLINE)[0].sequence == 5
    engine.close()


def test_many_producers_get_dense_sequences_and_all_their_answers() -> None:
    producers, each = 8, 300
    answers: list[list[int]] = [[] for _ in range(producers)]

    def produce(producer: int) -> None:
        receipts = [engine.submit(order(producer * each + n + 1)) for n in range(each)]
        answers[producer] = [receipt.result(DEADLINE)[0].sequence for receipt in receipts]

    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        threads = [threading.Thread(target=produce, args=(n,)) for n in range(producers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert all(one == sorted(one) for one in answers), "a producer's commands keep their order"
    assert sorted(sequence for one in answers for sequence in one) == list(
        range(2, 2 + producers * each)
    )


def test_closing_answers_what_is_queued_and_refuses_what_comes_later() -> None:
    store = GatedStore()
    engine = engine_on(store)
    receipts = [engine.submit(INSTRUMENT), engine.submit(order(1))]
    store.gate.release(2)
    engine.close()
    assert [receipt.result(0)[0].sequence for receipt in receipts] == [1, 2]
    with pytest.raises(EngineClosed):
        engine.submit(order(2))
    engine.close()


def test_every_receipt_resolves_although_the_engine_closes_meanwhile() -> None:
    for _ in range(50):
        engine = EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT])
        started = threading.Barrier(3)
        outcomes: list[str] = []

        def produce(
            engine: EventDrivenMatchingEngine = engine,
            started: threading.Barrier = started,
            outcomes: list[str] = outcomes,
        ) -> None:
            started.wait(DEADLINE)
            try:
                for n in range(100):
                    receipt = engine.submit(CancelOrder(n + 1, 1))
                    receipt.result(DEADLINE)
            except EngineClosed:
                pass
            outcomes.append("resolved")

        threads = [threading.Thread(target=produce) for _ in range(2)]
        for thread in threads:
            thread.start()
        started.wait(DEADLINE)
        engine.close()
        for thread in threads:
            thread.join(DEADLINE)
        assert outcomes == ["resolved", "resolved"]


def test_a_malformed_command_gets_no_sequence() -> None:
    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        with pytest.raises(MalformedCommand, match=r"^order_id: "):
            engine.submit(order(0))
        with pytest.raises(MalformedCommand, match=r"^price: "):
            engine.submit(order(1, price=2**63))
        with pytest.raises(MalformedCommand, match=r"^command: "):
            engine.submit("new")  # type: ignore[arg-type]
        assert engine.submit(order(1)).result(DEADLINE)[0].sequence == 2


@proves("failed call")
def test_a_store_that_fails_stops_the_engine_before_any_answer() -> None:
    engine = engine_on(FailingStore(2))
    assert engine.submit(INSTRUMENT).result(DEADLINE)[0].sequence == 1
    receipt = engine.submit(order(1))
    with pytest.raises(
        EngineStopped, match=r"behind sequence 1: OSError: .*No space left"
    ) as caught:
        receipt.result(DEADLINE)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(EngineStopped):
        engine.submit(order(2))
    with pytest.raises(EngineStopped):
        engine.close()


@proves("poison")
def test_an_illegal_transition_stops_the_engine_before_anything_is_published() -> None:
    engine = EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT])
    engine.submit(order(1)).result(DEADLINE)
    seen: list[Sequence[AnyEvent]] = []
    engine.event_log.subscribe(seen.append)

    def break_it(matcher: Matcher) -> str:
        broken = matcher.orders[1]
        assert not isinstance(broken, OrderStatus)
        broken.status = OrderStatus.FILLED
        return "broken"

    engine.ask(break_it).result(DEADLINE)
    with pytest.raises(EngineStopped) as caught:
        engine.submit(CancelOrder(1, 1)).result(DEADLINE)
    assert isinstance(caught.value.__cause__, IllegalTransition)
    assert seen == []
    with pytest.raises(EngineStopped):
        engine.close()


def test_subscribers_get_every_event_once_and_in_order_whatever_is_asked_between() -> None:
    seen: list[AnyEvent] = []
    with EventDrivenMatchingEngine.in_memory() as engine:
        engine.event_log.subscribe(seen.extend)
        answered: list[AnyEvent] = []
        for command in commands(300, seed=1):
            answered += engine.submit(command).result(DEADLINE)
            engine.book(SYMBOL).depth(1)
    assert seen == answered


def resting(matcher: Matcher) -> tuple[int, int]:
    """A question: up to where has the matcher come, and how many orders rest there?"""
    return matcher.sequence, matcher.resting_order_count()


def test_a_question_sees_exactly_what_stands_before_it_in_its_batch() -> None:
    store, event_log, seen = RecordingStore(), EventLog(), list[AnyEvent]()
    event_log.subscribe(seen.extend)
    sequencer = Sequencer(Recovered(Matcher(), START), store, event_log, lambda: 7)
    commands: list[Command] = [INSTRUMENT, order(1), order(2), order(3, Side.SELL)]
    requests: list[Request] = [resting, commands[0], resting, resting]
    requests += [*commands[1:3], resting, commands[3]]
    answers = sequencer.process(requests)
    assert [answers[place] for place in (0, 2, 3, 6)] == [(0, 0), (1, 0), (1, 0), (3, 2)]
    happened = [answers[place] for place in (1, 4, 5, 7)]
    assert [events[0].sequence for events in happened] == [1, 2, 3, 4]
    assert store.writes == [(commands, [])]
    assert seen == [event for events in happened for event in events]


def test_questions_alone_write_nothing_and_publish_nothing() -> None:
    store, event_log, seen = RecordingStore(), EventLog(), list[AnyEvent]()
    sequencer = Sequencer(Recovered(Matcher(), START), store, event_log, iter([1, 2]).__next__)
    [listed] = sequencer.process([INSTRUMENT])
    event_log.subscribe(seen.extend)
    assert sequencer.process([resting, resting]) == [(1, 0), (1, 0)]
    assert (len(store.writes), seen) == (1, [])
    [accepted] = sequencer.process([order(1)])
    sequencer.process([resting])
    assert (accepted[0].sequence, accepted[0].timestamp_ns, seen) == (2, 2, accepted)
    sequencer.idle()
    sequencer.idle()
    assert store.writes == [([INSTRUMENT], []), ([order(1)], [listed]), ([], [accepted])]


@proves("consumer")
def test_a_subscriber_that_raises_is_dropped_and_harms_nobody() -> None:
    seen: list[Sequence[AnyEvent]] = []

    def broken(events: Sequence[AnyEvent]) -> None:
        raise ValueError("consumer's own trouble")

    with EventDrivenMatchingEngine.in_memory() as engine:
        engine.event_log.subscribe(broken)
        engine.event_log.subscribe(seen.append)
        engine.submit(INSTRUMENT).result(DEADLINE)
        engine.submit(order(1)).result(DEADLINE)
        assert [str(error) for _, error in engine.event_log.failures] == ["consumer's own trouble"]
    assert len(seen) == 2


@proves("clock")
def test_time_never_goes_backwards() -> None:
    clock = iter([100, 50, 200])
    with EventDrivenMatchingEngine.in_memory(clock=lambda: next(clock)) as engine:
        stamps = [
            engine.submit(command).result(DEADLINE)[0].timestamp_ns
            for command in (INSTRUMENT, order(1), order(2))
        ]
    assert stamps == [100, 100, 200]


@proves("two engines")
def test_a_directory_has_one_engine_at_a_time(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=4096) as engine:
        with pytest.raises(DirectoryInUse, match=r"another engine"):
            EventDrivenMatchingEngine.open(tmp_path, audit=False)
        assert engine.submit(INSTRUMENT).result(DEADLINE)
    EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=4096).close()


def test_an_engine_that_cannot_be_opened_gives_the_directory_back(tmp_path: Path) -> None:
    with pytest.raises(MalformedCommand):
        EventDrivenMatchingEngine.open(
            tmp_path, instruments=[ListInstrument("lower case", "1", "1")], audit=False
        )
    EventDrivenMatchingEngine.open(tmp_path, audit=False).close()


def test_instruments_are_listed_once_however_often_the_engine_is_opened(tmp_path: Path) -> None:
    for _ in range(3):
        with EventDrivenMatchingEngine.open(
            tmp_path, instruments=[INSTRUMENT], audit=False, segment_bytes=4096
        ) as engine:
            assert engine.state()[0] == 1


def test_a_producer_that_comes_after_the_writer_has_gone_is_refused_too() -> None:
    engine = EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT])
    engine.close()
    engine._closing = False  # what a producer saw that was interrupted just before it enqueued
    receipt = engine.submit(order(1))
    with pytest.raises(EngineClosed):
        receipt.result(0)


def test_leaving_a_block_raises_the_failure_unless_something_else_is_on_its_way() -> None:
    def fail_inside(trouble: Exception | None) -> None:
        with engine_on(FailingStore(1)) as engine:
            with pytest.raises(EngineStopped):
                engine.submit(INSTRUMENT).result(DEADLINE)
            if trouble is not None:
                raise trouble

    with pytest.raises(EngineStopped):
        fail_inside(None)
    with pytest.raises(KeyError):
        fail_inside(KeyError("the caller's own"))


def test_every_way_to_change_an_order_has_a_method() -> None:
    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        engine.submit(order(1, quantity=10))
        engine.submit(order(2, quantity=10))
        for receipt, name in (
            (engine.reduce(1, 1, 4), "OrderReduced"),
            (engine.replace(1, 1, 99, None), "OrderReplaced"),
            (engine.cancel(1, 1), "OrderCanceled"),
            (engine.mass_cancel(1, None), "OrderCanceled"),
        ):
            assert type(receipt.result(DEADLINE)[0]).__name__ == name
        assert engine.state()[1] == 0


def test_a_command_out_of_turn_is_a_bug_and_changes_nothing() -> None:
    matcher = Matcher()
    matcher.apply(1, 0, INSTRUMENT)
    for sequence in (1, 3):
        with pytest.raises(SequenceGap):
            matcher.apply(sequence, 0, order(1))
    assert (matcher.sequence, matcher.order(1)) == (1, (None, 0))


def test_a_receipt_may_be_waited_for_by_many_and_asked_again() -> None:
    store = GatedStore()
    engine = engine_on(store)
    receipt = engine.submit(INSTRUMENT)
    assert store.syncing.acquire(timeout=DEADLINE)
    heard: list[int] = []
    threads = [
        threading.Thread(target=lambda: heard.append(receipt.result(DEADLINE)[0].sequence))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    store.gate.release()
    for thread in threads:
        thread.join(DEADLINE)
    assert heard == [1, 1, 1]
    assert receipt.result(0)[0].sequence == 1
    receipt.fail(EngineStopped("too late"))
    assert receipt.result(0)[0].sequence == 1
    engine.close()
