"""What every log promises, whatever it keeps its batches in."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from v2_event_driven_engine import (
    Batch,
    Command,
    EventDrivenMatchingEngine,
    EventLog,
    LogDamaged,
    MemoryEventLog,
    ReplayDivergence,
    StoreError,
    UnsupportedFormat,
)
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.stream import SystemClock
from v2_event_driven_engine.engine import wal_event_store
from v2_event_driven_engine.engine.event_log import START, Place
from v2_event_driven_engine.engine.log.memory import NoEventLog
from v2_event_driven_engine.engine.log.recovery import recover, take_snapshot
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.errors import BatchTooLarge, Fenced
from v2_event_driven_engine.models.commands import ListInstrument

from .cluster.memory_stream import MemoryStream, no_clock
from .cluster.real_servers import WANTED, new_stream, real_servers
from .flow import commands
from .logs import batch_of, process, sequencer_on
from .memory_storage import MemoryStorage

Reopen = Callable[[], EventLog]


def memory_log() -> Reopen:
    log = MemoryEventLog()
    return lambda: log


def file_log() -> Reopen:
    storage = MemoryStorage()
    return lambda: WalEventStore(storage, segment_bytes=8192)


def replicated_log() -> Reopen:
    stream = MemoryStream("LOG_0")
    nonces = itertools.count(1)
    return lambda: ReplicatedEventLog(stream, no_clock, "a", next(nonces))


def jetstream_log(servers: int) -> Reopen:
    stream = new_stream(servers)
    nonces = itertools.count(1)
    return lambda: ReplicatedEventLog(stream, SystemClock(), "a", next(nonces))


LOGS = {"memory": memory_log, "files": file_log, "replicated": replicated_log}
"""For each kind, what makes an empty log: a function that opens it, again and again."""
REAL_LOGS = {
    "one server": lambda: jetstream_log(1),
    "three servers": lambda: jetstream_log(3),
}
"""The same on real servers."""
REPLICATED = ("replicated", *REAL_LOGS)


@pytest.fixture(params=[*LOGS, *(pytest.param(kind, marks=real_servers) for kind in REAL_LOGS)])
def kind(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
def reopen(kind: str) -> Reopen:
    return (LOGS | REAL_LOGS)[kind]()


Content = dict[str, Any]
OUTCOMES = {"outcomes_first", "outcomes"}
"""They may come back with another batch."""
ADDED_BY_THE_LOG = {"durable_sequence", "place", "file", "offset"}
CALLERS = [
    field for field in Batch.__struct_fields__ if field not in OUTCOMES | ADDED_BY_THE_LOG
]  # fmt: skip


def written(batch: Batch) -> Content:
    """What must come back with the batch."""
    return {field: getattr(batch, field) for field in CALLERS} | {"commands": list(batch.commands)}


def content(log: EventLog, after: Place = START) -> list[Content]:
    """What was appended, as it is read back, but for batches that only bring outcomes."""
    return [
        written(batch)
        for batch in log.read(after)
        if batch.commands or batch.closed or batch.tag or not batch.outcomes
    ]


def last_place(log: EventLog) -> Place:
    place = START
    for batch in log.read():
        place = batch.place
    return place


def started(log: EventLog) -> EventLog:
    log.start(last_place(log))
    return log


FLOW = list(commands(60, seed=3))


def test_what_was_appended_is_read_back_in_order_after_any_reopening(reopen: Reopen) -> None:
    log = started(reopen())
    batches = [
        batch_of(1, *FLOW[:1], timestamp_ns=5),
        batch_of(2, *FLOW[1:40], timestamp_ns=6, tag=b"of the caller"),
        batch_of(41, *FLOW[40:41], timestamp_ns=6),
        batch_of(42, timestamp_ns=7),
    ]
    for number, batch in enumerate(batches, 1):
        log.append(batch)
        assert content(log) == list(map(written, batches[:number])), "also beside the writer"
    log.close()
    log = reopen()
    assert content(log) == list(map(written, batches))
    assert (log.first_sequence(), log.torn) == (1, None)


def test_every_field_that_the_caller_gives_is_given_back(reopen: Reopen) -> None:
    values: Content = {
        "first_sequence": 1,
        "timestamp_ns": 5,
        "commands": FLOW[:3],
        "closed": True,
        "tag": b"of the caller",
    }
    assert set(values) == set(CALLERS), "a new field of a batch: give it a value here"
    log = started(reopen())
    log.append(Batch(**values, outcomes_first=1, outcomes=()))
    log.close()
    assert content(reopen()) == [values]


def test_reading_goes_on_after_any_place(reopen: Reopen) -> None:
    log = started(reopen())
    batches = [batch_of(n, FLOW[n - 1]) for n in range(1, 20)]
    for batch in batches:
        log.append(batch)
    places = [START, *(batch.place for batch in log.read())]
    assert len(set(places)) == 20
    for number, place in enumerate(places):
        assert content(log, place) == list(map(written, batches[number:]))
        assert log.may_have_grown(place) or number == 19


def test_a_place_of_another_kind_of_log_is_refused() -> None:
    places = {}
    for kind in ("files", "replicated"):
        log = started(LOGS[kind]()())
        log.append(batch_of(1, FLOW[0]))
        places[kind] = last_place(log)
    for kind, other in (("files", "replicated"), ("replicated", "files")):
        with pytest.raises(UnsupportedFormat, match="not a place in"):
            list(LOGS[kind]()().read(places[other]))


def test_an_empty_log_reads_as_nothing(reopen: Reopen) -> None:
    log = reopen()
    assert (content(log), log.first_sequence(), log.torn) == ([], 1, None)
    assert recover(log).matcher.sequence == 0


def test_the_batch_that_closes_the_log_is_marked_and_a_crash_is_not(reopen: Reopen) -> None:
    log = started(reopen())
    log.append(batch_of(1, FLOW[0]))
    log.close()
    assert not recover(reopen()).closed
    log = started(reopen())
    state = recover(log)
    log.append(batch_of(2, outcomes=state.unrecorded, closed=True))
    log.close()
    assert recover(reopen()).closed
    log = started(reopen())
    log.append(batch_of(2, FLOW[1]))
    assert (recover(reopen()).closed, recover(reopen()).matcher.sequence) == (False, 2)


def test_a_batch_out_of_turn_is_refused_and_nothing_is_written(reopen: Reopen) -> None:
    log = started(reopen())
    log.append(batch_of(1, FLOW[0]))
    before = content(log)
    for first in (1, 3):
        with pytest.raises(StoreError, match=rf"sequence {first} .*next one is 2"):
            log.append(batch_of(first, FLOW[1]))
    assert content(log) == before


def test_a_log_that_was_not_started_takes_nothing(reopen: Reopen) -> None:
    with pytest.raises(StoreError):
        reopen().append(batch_of(1, FLOW[0]))


def test_a_start_that_is_not_at_the_end_changes_nothing(reopen: Reopen) -> None:
    log = started(reopen())
    log.append(batch_of(1, FLOW[0]))
    log.close()
    with pytest.raises(StoreError, match="goes on after this place"):
        reopen().start(START)
    assert len(content(reopen())) == 1


def test_a_log_that_ends_before_what_somebody_knows_is_damaged(reopen: Reopen) -> None:
    log = started(reopen())
    log.append(batch_of(1, *FLOW[:5]))
    log.close()
    with pytest.raises(LogDamaged, match="sequence 6 is known to have been durable") as caught:
        reopen().start(last_place(log), witnessed=6)
    assert caught.value.sequence == 6
    reopen().start(last_place(log), witnessed=5)


def test_of_two_who_start_it_at_most_one_goes_on(kind: str, reopen: Reopen) -> None:
    if kind == "files":
        pytest.skip("the lock of the directory lets only one start: see test_machine")
    older = started(reopen())
    older.append(batch_of(1, FLOW[0]))
    newer = started(reopen())
    if kind in REPLICATED:  # from then on, whether the newer one has appended or not
        with pytest.raises(Fenced, match="message 3 is another node's"):
            older.append(batch_of(2, FLOW[1]))
    newer.append(batch_of(2, FLOW[2]))
    with pytest.raises(StoreError):
        older.append(batch_of(2, FLOW[3]))
    newer.append(batch_of(3, FLOW[4]))
    assert content(reopen()) == [
        written(batch_of(1, FLOW[0])), written(batch_of(2, FLOW[2])), written(batch_of(3, FLOW[4])),
    ]  # fmt: skip


def test_changed_outcomes_are_found(reopen: Reopen) -> None:
    log = started(reopen())
    log.append(batch_of(1, *FLOW[:2]))
    right = recover(log).unrecorded
    log.append(batch_of(3, outcomes=[right[0], []]))
    with pytest.raises(ReplayDivergence, match="sequence 2, event 0: the log recorded no event"):
        recover(log)


@pytest.mark.parametrize("size", [1, 2048])
def test_an_engine_recovers_from_it_what_it_answered(reopen: Reopen, size: int) -> None:
    flow = list(commands(2500, seed=8))
    answered = []
    for part in (flow[:size], flow[size:]):
        with EventDrivenMatchingEngine.open(reopen(), max_batch=2048) as engine:
            receipts = [engine.submit(command) for command in part]
            answered += [receipt.result(30.0) for receipt in receipts]
            state = engine.state()
    recorded: list[object] = []
    logged: list[Command] = []
    for batch in reopen().read():
        logged += batch.commands
        recorded += [list(events) for events in batch.outcomes]
    assert (logged, recorded) == (flow, answered)
    recovered = recover(reopen())
    assert (recovered.matcher.state(), recovered.closed) == (state, True)
    assert recover(reopen(), until=1000).matcher.sequence == 1000


def test_a_snapshot_and_the_log_after_it_are_the_whole_log(reopen: Reopen) -> None:
    snapshots = Snapshots(MemoryStorage())
    for part in (FLOW[:30], FLOW[30:]):
        state = recover(reopen(), snapshots)
        log = reopen()
        log.start(state.place)
        sequencer = sequencer_on(state, log)
        for command in part:
            process(sequencer, command)
        sequencer.close()
        log.close()
        take_snapshot(reopen(), snapshots)
    assert len(snapshots.names()) == 2
    whole = recover(reopen()).matcher
    assert [recover(reopen(), snapshots).commands_replayed, whole.sequence] == [0, 60]
    assert recover(reopen(), snapshots).matcher.state() == whole.state()
    assert (
        recover(reopen(), snapshots, until=45).matcher.state()
        == recover(reopen(), until=45).matcher.state()
    )


def test_commands_of_more_bytes_than_a_batch_takes_are_logged_in_several(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_event_store, "MAX_BATCH_BYTES", 10_000)
    large = [ListInstrument(f"S{n}", "0" * (n % 7 * 1000) + "1", "1") for n in range(100)]
    with EventDrivenMatchingEngine.open(reopen(), instruments=large, max_batch=64) as engine:
        many = [engine.submit(command) for command in (*large, *FLOW)]
        engine.ask(lambda _: None).result(30.0)
        assert [r.result(30.0)[0].sequence for r in many] == list(range(101, 261))
    state = recover(reopen())
    assert (state.matcher.sequence, len(state.matcher.instruments)) == (260, 101)


def test_a_file_log_refuses_a_batch_that_can_be_divided_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wal_event_store, "MAX_BATCH_BYTES", 2000)
    log = started(file_log()())
    huge = ListInstrument("A", "1" * 3000, "1")
    with pytest.raises(BatchTooLarge, match=r"\d+ bytes; 2000 are allowed"):
        log.append(batch_of(1, huge, FLOW[0]))
    assert content(log) == []
    log.append(batch_of(1, huge))  # one command cannot be divided
    assert len(content(log)) == 1


def test_a_log_for_those_who_forget_takes_everything_and_keeps_nothing() -> None:
    log = NoEventLog()
    with EventDrivenMatchingEngine.open(log) as engine:
        for command in FLOW:
            engine.submit(command)
        assert engine.state().sequence == 60
    assert content(log) == []


Steps = list[tuple[str, int]]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from([*LOGS, "one server"] if WANTED else [*LOGS]),
    steps=st.lists(st.tuples(st.sampled_from(["append", "events", "close", "crash"]),
                             st.integers(1, 9)), max_size=30),
)  # fmt: skip
def test_any_life_of_a_log_equals_a_list_in_memory(kind: str, steps: Steps) -> None:
    reopen = (LOGS | REAL_LOGS)[kind]()
    flow = itertools.cycle(commands(200, seed=5))
    expected: list[Command] = []

    def life() -> Iterator[None]:
        """One start, to be ended at any step."""
        log = reopen()
        state = recover(log)
        assert state.matcher.sequence == len(expected)
        log.start(state.place)
        sequencer = sequencer_on(state, log)
        for step, count in remaining:
            if step == "append":
                batch = list(itertools.islice(flow, count))
                process(sequencer, *batch)
                expected.extend(batch)
            elif step == "events":
                sequencer.idle()
            else:
                if step == "close":
                    sequencer.close()
                log.close()
                return
            yield

    remaining = iter([*steps, ("close", 1)])
    for _ in range(len(steps) + 1):
        for _ in life():
            pass
    read = [command for batch in reopen().read() for command in batch.commands]
    assert read == expected
