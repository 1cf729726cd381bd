"""The engine around the matcher: queue, writer, receipts, shutdown, failure."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from v2_event_driven_engine import (
    Batch,
    CancelOrder,
    Command,
    DirectoryInUse,
    EngineBusy,
    EngineClosed,
    EngineError,
    EngineStopped,
    EventDrivenMatchingEngine,
    EventLog,
    IllegalTransition,
    InstrumentRefused,
    ListInstrument,
    MalformedCommand,
    NewOrder,
    OrderAccepted,
    OrderStatus,
    OrderType,
    Side,
)
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log.memory import MemoryEventLog, NoEventLog
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.receipt import Asked, Submitted
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.subscribers import Subscribers
from v2_event_driven_engine.errors import SequenceGap

from .faults import proves
from .flow import SYMBOL, commands

INSTRUMENT = ListInstrument(SYMBOL, "0.01", "1")
DEADLINE = 30.0
"""Seconds after which a test that waits has failed; nothing here takes a tenth of one."""


def order(order_id: int, side: Side = Side.BUY, price: int = 100, quantity: int = 1) -> NewOrder:
    return NewOrder(order_id, 1, SYMBOL, side, OrderType.LIMIT, price, quantity)


class GatedLog(NoEventLog):
    """A log whose syncs wait until the test lets them through."""

    def __init__(self) -> None:
        super().__init__()
        self.syncing = threading.Semaphore(0)
        """Released once for every append of commands that has begun."""
        self.gate = threading.Semaphore(0)
        self.batches: list[int] = []

    def append(self, batch: Batch) -> None:
        if batch.commands:
            self.batches.append(len(batch.commands))
            self.syncing.release()
            assert self.gate.acquire(timeout=DEADLINE)


class FailingLog(NoEventLog):
    """A log whose N-th append of commands fails."""

    def __init__(self, failing: int) -> None:
        super().__init__()
        self.appends = 0
        self._failing = failing

    def append(self, batch: Batch) -> None:
        self.appends += bool(batch.commands)
        if self.appends == self._failing:
            raise OSError(28, "No space left on device")


def engine_on(log: EventLog, **options: int) -> EventDrivenMatchingEngine:
    return EventDrivenMatchingEngine.open(log, **options)  # type: ignore[arg-type]


def test_a_receipt_resolves_with_the_events_of_its_command() -> None:
    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        events = engine.submit(order(1)).result(DEADLINE)
        assert [type(event) for event in events] == [OrderAccepted]
        assert events[0].sequence == 2
        assert engine.order(1) == (OrderStatus.NEW, 1)
        assert engine.order(2) == (OrderStatus.UNKNOWN, 0)


def test_nothing_is_answered_before_the_sync_returns() -> None:
    log = GatedLog()
    engine = engine_on(log)
    receipt = engine.submit(INSTRUMENT)
    assert log.syncing.acquire(timeout=DEADLINE)
    assert not receipt.done
    with pytest.raises(TimeoutError):
        receipt.result(timeout=0.0)
    log.gate.release()
    assert receipt.result(DEADLINE)[0].sequence == 1
    engine.close()


def test_what_gathers_during_one_sync_is_the_next_batch() -> None:
    log = GatedLog()
    engine = engine_on(log)
    receipts = [engine.submit(INSTRUMENT)]
    assert log.syncing.acquire(timeout=DEADLINE)
    receipts += [engine.submit(order(order_id)) for order_id in range(1, 8)]
    log.gate.release(2)
    for receipt in receipts:
        receipt.result(DEADLINE)
    assert log.batches == [1, 7]
    engine.close()


def test_a_batch_is_never_larger_than_max_batch() -> None:
    log = GatedLog()
    engine = engine_on(log, max_batch=3)
    receipts = [engine.submit(INSTRUMENT)]
    assert log.syncing.acquire(timeout=DEADLINE)
    receipts += [engine.submit(order(order_id)) for order_id in range(1, 8)]
    log.gate.release(4)
    for receipt in receipts:
        receipt.result(DEADLINE)
    assert log.batches == [1, 3, 3, 1]
    engine.close()


@proves("queue full")
def test_a_full_queue_is_busy_before_a_sequence_exists_and_drops_nothing() -> None:
    log = GatedLog()
    engine = engine_on(log, queue_capacity=3)
    receipts = [engine.submit(INSTRUMENT)]
    assert log.syncing.acquire(timeout=DEADLINE)  # the writer has it: its place is free again
    receipts += [engine.submit(order(order_id)) for order_id in range(1, 4)]
    with pytest.raises(EngineBusy):
        engine.submit(order(4))
    log.gate.release(2)
    assert [receipt.result(DEADLINE)[0].sequence for receipt in receipts] == [1, 2, 3, 4]
    log.gate.release()
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
    log = GatedLog()
    engine = engine_on(log)
    receipts = [engine.submit(INSTRUMENT), engine.submit(order(1))]
    log.gate.release(2)
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
def test_a_log_that_fails_stops_the_engine_before_any_answer() -> None:
    engine = engine_on(FailingLog(2))
    assert engine.submit(INSTRUMENT).result(DEADLINE)[0].sequence == 1
    receipt = engine.submit(order(1))
    with pytest.raises(
        EngineStopped, match=r"after sequence 1: OSError: .*No space left"
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
    engine.subscribers.subscribe(seen.append)

    def break_it(matcher: Matcher) -> str:
        matcher.orders[1].status = OrderStatus.FILLED
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
        engine.subscribers.subscribe(seen.extend)
        answered: list[AnyEvent] = []
        for command in commands(300, seed=1):
            answered += engine.submit(command).result(DEADLINE)
            engine.book(SYMBOL).depth(1)
    assert seen == answered


def resting(matcher: Matcher) -> tuple[int, int]:
    """A question: the last sequence, and how many orders rest after it."""
    return matcher.sequence, matcher.resting_order_count()


def recording_sequencer(
    clock: Callable[[], int],
) -> tuple[Sequencer, MemoryEventLog, list[AnyEvent]]:
    """A sequencer on a log that keeps its batches, and all events that are published."""
    log, subscribers, seen = MemoryEventLog(), Subscribers(), list[AnyEvent]()
    log.start(START)
    subscribers.subscribe(seen.extend)
    return Sequencer(Matcher(), log, subscribers, clock), log, seen


def written(log: MemoryEventLog) -> list[tuple[list[Command], list[Sequence[AnyEvent]]]]:
    return [(list(batch.commands), list(batch.outcomes)) for batch in log.read()]


def test_a_question_sees_exactly_what_comes_before_it_in_its_batch() -> None:
    sequencer, log, seen = recording_sequencer(lambda: 7)
    commands: list[Command] = [INSTRUMENT, order(1), order(2), order(3, Side.SELL)]
    first, *others = [Submitted[Any](command) for command in commands]
    ask = Asked[Any](resting)
    answers = sequencer.process([ask, first, ask, ask, *others[:2], ask, others[2]])
    assert [answers[place] for place in (0, 2, 3, 6)] == [(0, 0), (1, 0), (1, 0), (3, 2)]
    happened = [answers[place] for place in (1, 4, 5, 7)]
    assert [events[0].sequence for events in happened] == [1, 2, 3, 4]
    assert written(log) == [(commands, [])]
    assert seen == [event for events in happened for event in events]


def test_questions_alone_write_nothing_and_publish_nothing() -> None:
    sequencer, log, seen = recording_sequencer(iter([1, 2]).__next__)
    [listed] = sequencer.process([Submitted(INSTRUMENT)])
    seen.clear()
    assert sequencer.process([Asked(resting), Asked(resting)]) == [(1, 0), (1, 0)]
    assert (len(written(log)), seen) == (1, [])
    [accepted] = sequencer.process([Submitted(order(1))])
    sequencer.process([Asked(resting)])
    assert (accepted[0].sequence, accepted[0].timestamp_ns, seen) == (2, 2, accepted)
    sequencer.idle()
    sequencer.idle()
    assert written(log) == [([INSTRUMENT], []), ([order(1)], [listed]), ([], [accepted])]


@proves("question")
def test_a_question_that_fails_is_only_its_askers_trouble() -> None:
    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        for trouble in (ZeroDivisionError("1/0"), SystemExit(3), KeyboardInterrupt()):

            def fail(_: Matcher, trouble: BaseException = trouble) -> None:
                raise trouble

            receipt = engine.ask(fail)
            with pytest.raises(type(trouble)):
                receipt.result(DEADLINE)
        assert engine.submit(order(1)).result(DEADLINE)[0].sequence == 2


def test_a_question_may_answer_none() -> None:
    with EventDrivenMatchingEngine.in_memory() as engine:
        receipt = engine.ask(lambda _: None)
        assert receipt.wait(DEADLINE)
        assert receipt.done
        assert receipt.result(0) is None


@proves("question")
@pytest.mark.parametrize("no_question", [5, None, "state", CancelOrder(1, 1)])
def test_what_is_no_question_is_refused_at_the_door(no_question: Any) -> None:
    log = MemoryEventLog()
    with EventDrivenMatchingEngine.open(log) as engine:
        with pytest.raises(MalformedCommand, match=r"^question: "):
            engine.ask(no_question)
        assert engine.state().sequence == 0
    assert [batch.commands for batch in log.read()] == [()]


def test_a_question_with_a_wrong_argument_names_it_and_harms_nothing() -> None:
    with EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT]) as engine:
        for wrong in (-1, 0, 1.0, True, "a", None, [1], 2**63):
            with pytest.raises(MalformedCommand, match=r"^order_id: "):
                engine.order(wrong)  # type: ignore[arg-type]
            with pytest.raises(MalformedCommand, match=r"^depth: "):
                engine.book(SYMBOL).depth(wrong)  # type: ignore[arg-type]
            with pytest.raises(MalformedCommand, match=r"^symbol: "):
                engine.book(wrong)  # type: ignore[arg-type]
        assert engine.submit(order(1)).result(DEADLINE)[0].sequence == 2


def test_who_finds_the_queue_full_can_wait_for_room_without_a_receipt() -> None:
    log = GatedLog()
    engine = engine_on(log, queue_capacity=1)
    others = [engine.submit(INSTRUMENT)]
    assert log.syncing.acquire(timeout=DEADLINE)
    others.append(engine.submit(order(1)))
    with pytest.raises(EngineBusy):
        engine.submit(order(2))
    waited = threading.Event()

    def wait() -> None:
        engine.wait_for_room()
        waited.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not waited.wait(0.05), "the queue is full until the writer goes on"
    log.gate.release(3)
    assert waited.wait(DEADLINE)
    thread.join(DEADLINE)
    assert engine.submit(order(2)).result(DEADLINE)[0].sequence == 3
    engine.wait_for_room()  # at once: the queue is empty
    engine.close()


@proves("consumer")
def test_a_subscriber_that_raises_is_dropped_and_harms_nothing_else() -> None:
    seen: list[Sequence[AnyEvent]] = []

    def broken(events: Sequence[AnyEvent]) -> None:
        raise ValueError("the consumer's own")

    with EventDrivenMatchingEngine.in_memory() as engine:
        engine.subscribers.subscribe(broken)
        engine.subscribers.subscribe(seen.append)
        engine.submit(INSTRUMENT).result(DEADLINE)
        engine.submit(order(1)).result(DEADLINE)
        assert [str(error) for _, error in engine.subscribers.failures] == ["the consumer's own"]
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


def writers() -> list[threading.Thread]:
    """The writer threads that are alive."""
    return [each for each in threading.enumerate() if each.name == "matching-engine-writer"]


@pytest.mark.parametrize(
    ("instruments", "error", "said"),
    [
        ([ListInstrument("lower case", "1", "1")], MalformedCommand, r"^symbol: "),
        ([5], MalformedCommand, r"^instruments: int"),
        ([INSTRUMENT, ListInstrument("B", "0", "1")], InstrumentRefused, r"B: .*INVALID_TICK_SIZE"),
        ([INSTRUMENT, ListInstrument(SYMBOL, "2", "1")], InstrumentRefused, r"DUPLICATE_SYMBOL"),
    ],
)
def test_an_engine_that_cannot_be_opened_gives_everything_back(
    tmp_path: Path, instruments: Any, error: type[EngineError], said: str
) -> None:
    for number in range(2):
        with pytest.raises(error, match=said):
            EventDrivenMatchingEngine.open(
                tmp_path / str(number), instruments=instruments, segment_bytes=4096
            )
        assert writers() == [], "no thread is left"
        EventDrivenMatchingEngine.open(tmp_path / str(number), audit=False).close()
        with pytest.raises(error, match=said):
            EventDrivenMatchingEngine.in_memory(instruments=instruments)
        assert writers() == []


def test_more_instruments_than_the_queue_has_places_are_listed(tmp_path: Path) -> None:
    names = [ListInstrument(f"S{number}", "0.01", "1") for number in range(400)]
    with EventDrivenMatchingEngine.open(
        tmp_path, instruments=names, queue_capacity=4, max_batch=7, audit=False
    ) as engine:
        assert engine.state().sequence == 400
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        assert engine.state().sequence == 400


def test_instruments_are_listed_once_however_often_the_engine_is_opened(tmp_path: Path) -> None:
    for _ in range(3):
        with EventDrivenMatchingEngine.open(
            tmp_path, instruments=[INSTRUMENT], audit=False, segment_bytes=4096
        ) as engine:
            assert engine.state().sequence == 1


def test_a_producer_that_comes_after_the_writer_has_gone_is_refused_too() -> None:
    engine = EventDrivenMatchingEngine.in_memory(instruments=[INSTRUMENT])
    engine.close()
    engine._closing = False  # what a producer saw that was interrupted just before it enqueued
    receipt = engine.submit(order(1))
    with pytest.raises(EngineClosed):
        receipt.result(0)


def test_leaving_a_block_raises_the_failure_unless_something_else_is_on_its_way() -> None:
    def fail_inside(trouble: Exception | None) -> None:
        with engine_on(FailingLog(1)) as engine:
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
        assert engine.state().resting_orders == 0


def test_a_command_out_of_turn_is_a_bug_and_changes_nothing() -> None:
    matcher = Matcher()
    matcher.apply(1, 0, [INSTRUMENT])
    for sequence in (1, 3):
        with pytest.raises(SequenceGap):
            matcher.apply(sequence, 0, [order(1)])
    assert (matcher.sequence, matcher.order(1)) == (1, (OrderStatus.UNKNOWN, 0))


def test_a_receipt_may_be_waited_for_by_many_and_asked_again() -> None:
    log = GatedLog()
    engine = engine_on(log)
    receipt = engine.submit(INSTRUMENT)
    assert log.syncing.acquire(timeout=DEADLINE)
    heard: list[int] = []
    threads = [
        threading.Thread(target=lambda: heard.append(receipt.result(DEADLINE)[0].sequence))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    log.gate.release()
    for thread in threads:
        thread.join(DEADLINE)
    assert heard == [1, 1, 1]
    assert receipt.result(0)[0].sequence == 1
    receipt.fail(EngineStopped("too late"))
    assert receipt.result(0)[0].sequence == 1
    engine.close()
