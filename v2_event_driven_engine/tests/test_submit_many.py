"""Many commands with one receipt: all are taken or none, and all are answered whatever happens."""

import gc
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from v2_event_driven_engine import (
    Batch,
    CancelOrder,
    Command,
    EngineBusy,
    EngineClosed,
    EngineStopped,
    EventDrivenMatchingEngine,
    MalformedCommand,
    Receipt,
)
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log.memory import MemoryEventLog, NoEventLog
from v2_event_driven_engine.engine.log.recovery import recover
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.receipt import Asked, Submitted, SubmittedMany
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.subscribers import Subscribers
from v2_event_driven_engine.errors import BatchTooLarge

from .faults import proves
from .test_engine import DEADLINE, INSTRUMENT, FailingLog, GatedLog, engine_on, order


def cancels(count: int, first: int = 1) -> list[Command]:
    return [CancelOrder(order_id, 1) for order_id in range(first, first + count)]


def sequences(answers: list[list[AnyEvent]]) -> list[int]:
    return [events[0].sequence for events in answers]


def test_many_are_answered_in_order_by_one_receipt_and_nothing_comes_between() -> None:
    answered: list[list[int]] = []

    def produce(engine: EventDrivenMatchingEngine) -> None:
        for count in (1, 7, 100, 0, 40):
            answers = engine.submit_many(cancels(count)).result(DEADLINE)
            assert [events[0].order_id for events in answers] == [*range(1, count + 1)]  # type: ignore[union-attr]
            answered.append(sequences(answers))

    with EventDrivenMatchingEngine.in_memory(max_batch=16) as engine:
        threads = [threading.Thread(target=produce, args=(engine,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert all(one == [*range(one[0], one[0] + len(one))] for one in answered if one)
    assert sorted(sequence for one in answered for sequence in one) == [*range(1, 6 * 148 + 1)]


def test_one_that_is_malformed_is_named_and_none_is_taken() -> None:
    log = MemoryEventLog()
    with EventDrivenMatchingEngine.open(log) as engine:
        with pytest.raises(MalformedCommand, match=r"^order_id: .*\(in commands\[2\]\)$") as caught:
            engine.submit_many([*cancels(2), CancelOrder(0, 1), "x"])  # type: ignore[list-item]
        assert caught.value.field == "order_id"
        with pytest.raises(MalformedCommand, match=r"^command: str .*\(in commands\[0\]\)$"):
            engine.submit_many("new")  # type: ignore[arg-type]
        assert engine.state().sequence == 0
    assert [batch.commands for batch in log.read()] == [()]


def test_what_the_caller_does_to_the_list_afterwards_changes_nothing() -> None:
    log = GatedLog()
    engine = engine_on(log)
    commands: list[Command] = [INSTRUMENT, order(1)]
    receipt = engine.submit_many(commands)
    commands.clear()
    log.gate.release(2)
    assert sequences(receipt.result(DEADLINE)) == [1, 2]
    engine.close()


@proves("queue full")
def test_each_takes_a_place_in_the_queue_and_all_are_taken_or_none() -> None:
    log = GatedLog()
    engine = engine_on(log, queue_capacity=4)
    receipts: list[Receipt[Any]] = [engine.submit(INSTRUMENT)]
    assert log.syncing.acquire(timeout=DEADLINE)  # the writer has it: its place is free again
    receipts.append(engine.submit_many(cancels(3)))
    for _ in range(3):  # to be refused takes no place
        with pytest.raises(EngineBusy):
            engine.submit_many(cancels(2))
    receipts.append(engine.submit(order(1)))
    with pytest.raises(EngineBusy):
        engine.submit(order(2))
    assert engine.submit_many([]).result(0) == []
    with pytest.raises(MalformedCommand, match=r"^commands: 5; the queue has 4 places$"):
        engine.submit_many(cancels(5))
    log.gate.release(2)
    assert receipts[0].result(DEADLINE)[0].sequence == 1
    assert sequences(receipts[1].result(DEADLINE)) == [2, 3, 4]
    assert receipts[2].result(DEADLINE)[0].sequence == 5
    log.gate.release()
    assert sequences(engine.submit_many(cancels(4)).result(DEADLINE)) == [6, 7, 8, 9]
    engine.close()


def test_a_refusal_for_want_of_places_comes_and_goes_under_many_producers() -> None:
    def produce(engine: EventDrivenMatchingEngine, taken: list[int]) -> None:
        for count in (5, 1, 3, 8) * 50:
            while True:
                try:
                    receipt = engine.submit_many(cancels(count))
                    break
                except EngineBusy:
                    engine.wait_for_room()
            taken += sequences(receipt.result(DEADLINE))

    with EventDrivenMatchingEngine.in_memory(queue_capacity=8, max_batch=4) as engine:
        taken: list[int] = []
        threads = [threading.Thread(target=produce, args=(engine, taken)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert sorted(taken) == [*range(1, 5 * 50 * 17 + 1)]
        assert len(engine._permits) == 8


def test_more_than_a_batch_are_several_batches_and_one_answer() -> None:
    log = GatedLog()
    engine = engine_on(log, max_batch=4)
    receipts: list[Receipt[Any]] = [engine.submit(INSTRUMENT)]
    assert log.syncing.acquire(timeout=DEADLINE)
    receipts += [engine.submit_many(cancels(n)) for n in (3, 2, 11)]
    asked = engine.ask(lambda matcher: matcher.sequence)
    receipts.append(engine.submit(order(1)))
    log.gate.release(100)
    assert [sequences(receipt.result(DEADLINE)) for receipt in receipts[1:4]] == [
        [2, 3, 4], [5, 6], [*range(7, 18)],
    ]  # fmt: skip
    assert asked.result(DEADLINE) == 17
    assert receipts[4].result(DEADLINE)[0].sequence == 18
    assert sum(log.batches) == 18
    assert max(log.batches) <= 4
    engine.close()


class SmallLog(MemoryEventLog):
    """A log that takes a few commands at once."""

    def append(self, batch: Batch) -> None:
        if len(batch.commands) > 3:
            raise BatchTooLarge("too many")
        super().append(batch)


def test_questions_and_commands_in_any_order_are_answered_in_order() -> None:
    log = SmallLog()
    log.start(START)
    sequencer = Sequencer(Matcher(), log, Subscribers(), lambda: 1, max_batch=5)

    def last() -> Asked[Any]:
        return Asked(lambda matcher: matcher.sequence)

    answers = sequencer.process(
        [last(), SubmittedMany(cancels(2)), last(), Submitted(order(1)), SubmittedMany([]),
         SubmittedMany(cancels(9)), last(), SubmittedMany(cancels(1)), last(), last()]
    )  # fmt: skip
    assert [answers[place] for place in (0, 2, 6, 8, 9)] == [0, 2, 12, 13, 13]
    assert [sequences(answers[place]) for place in (1, 4, 5, 7)] == [
        [1, 2],
        [],
        [*range(4, 13)],
        [13],
    ]
    assert answers[3][0].sequence == 3
    logged = [command for batch in log.read() for command in batch.commands]
    assert logged == [*cancels(2), order(1), *cancels(9), *cancels(1)]


@proves("failed call")
def test_a_failure_between_two_batches_stops_the_receipt_and_all_after_it() -> None:
    engine = engine_on(FailingLog(3), max_batch=2)
    assert sequences(engine.submit_many(cancels(2)).result(DEADLINE)) == [1, 2]
    receipts: list[Receipt[Any]] = [engine.submit_many(cancels(6))]
    try:
        receipts.append(engine.submit_many(cancels(2)))
        receipts.append(engine.submit(order(1)))
    except EngineStopped:
        pass  # it has failed already
    for receipt in receipts:
        with pytest.raises(EngineStopped, match=r"after sequence \d+: OSError"):
            receipt.result(DEADLINE)
    with pytest.raises(EngineStopped):
        engine.submit_many(cancels(1))
    with pytest.raises(EngineStopped):
        engine.close()


def test_closing_answers_many_and_refuses_many() -> None:
    log = GatedLog()
    engine = engine_on(log, max_batch=2)
    receipts = [engine.submit_many(cancels(5)), engine.submit_many(cancels(1))]
    log.gate.release(100)
    engine.close()
    assert [sequences(receipt.result(0)) for receipt in receipts] == [[1, 2, 3, 4, 5], [6]]
    for count in (0, 1, 5):
        with pytest.raises(EngineClosed):
            engine.submit_many(cancels(count))
    engine._closing = False  # what a producer saw that was interrupted just before it enqueued
    with pytest.raises(EngineClosed):
        engine.submit_many(cancels(3)).result(0)


@proves("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_a_forked_process_many_are_refused_wherever_they_were() -> None:
    log = GatedLog()
    engine = engine_on(log, max_batch=2)
    in_hand, queued = engine.submit_many(cancels(3)), engine.submit_many(cancels(2))
    assert log.syncing.acquire(timeout=DEADLINE)
    child = os.fork()
    if not child:
        signal.alarm(20)
        refused = 0
        for receipt in (in_hand, queued):
            try:
                receipt.result(5)
            except EngineClosed:
                refused += 1
        os._exit(0 if refused == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.gate.release(100)
    assert sequences(in_hand.result(DEADLINE)) == [1, 2, 3]
    assert sequences(queued.result(DEADLINE)) == [4, 5]
    engine.close()


class Interrupted(deque[Any]):
    """A queue or its permits. A signal comes right after a change, as it may after any call."""

    armed = False

    def _then_interrupt(self, _result: object = None) -> Any:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt
        return _result

    def pop(self) -> Any:  # type: ignore[override]
        return self._then_interrupt(super().pop())

    def append(self, item: Any) -> None:
        super().append(item)
        self._then_interrupt()


@pytest.mark.parametrize(
    "submit",
    [lambda engine: engine.submit(order(1)), lambda engine: engine.submit_many(cancels(1))],
    ids=["submit", "submit_many"],
)
def test_an_interrupt_costs_no_place_and_what_is_in_the_queue_has_its_turn(
    submit: Callable[[EventDrivenMatchingEngine], Receipt[Any]],
) -> None:
    log = NoEventLog()
    recovered = recover(log)
    log.start(recovered.place)
    engine = EventDrivenMatchingEngine(recovered, log, queue_capacity=3)
    queue = engine._queue = Interrupted()
    carried_out = threading.Semaphore(0)
    engine.subscribers.subscribe(lambda _: carried_out.release())
    engine._writer.start()
    try:
        for number in range(1, 20):
            queue.armed = True
            with pytest.raises(KeyboardInterrupt):
                submit(engine)
            # It was enqueued, and is carried out, although nobody has its receipt.
            assert carried_out.acquire(timeout=DEADLINE)
            assert engine.state().sequence == number
        assert len(engine._permits) == 3
    finally:
        engine.close()


def test_signals_while_many_are_submitted_lose_no_place() -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    with EventDrivenMatchingEngine.in_memory(queue_capacity=50) as engine:
        commands = cancels(10)
        gc.collect()
        gc.disable()  # an exception that a signal raises amid what the collector calls is lost
        before = signal.signal(signal.SIGALRM, ring)
        interrupted = 0
        try:
            while interrupted < 100:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0003)
                    while True:
                        try:
                            engine.submit_many(commands)
                        except EngineBusy:
                            engine.wait_for_room()
                except Alarm:
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            gc.enable()
    assert engine.recovered.matcher.sequence > 0
    assert len(engine._permits) == 50
