"""Where the engine meets the machine: directories, descriptors, processes, signals, other files."""

import fcntl
import gc
import io
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from v2_event_driven_engine import (
    CancelOrder,
    DirectoryInUse,
    DirectoryUnusable,
    EngineClosed,
    EngineStopped,
    Event,
    EventDrivenMatchingEngine,
    ListInstrument,
    MalformedCommand,
    StoreError,
    WriterBlocked,
)
from v2_event_driven_engine.engine import subscribers
from v2_event_driven_engine.engine.audit import process
from v2_event_driven_engine.engine.audit.trail import (
    AUDIT_LOG,
    end_of_trail,
    verify_against_log,
)
from v2_event_driven_engine.engine.event_log import Place
from v2_event_driven_engine.engine.log.reader import position_of, segment_name, segment_numbers
from v2_event_driven_engine.engine.log.snapshot import Snapshot, Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage, open_descriptor, reason
from v2_event_driven_engine.engine.market.matcher import is_above_zero
from v2_event_driven_engine.engine.receipt import Receipt
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.main import main

from .faults import proves
from .logs import recover, take_snapshot
from .subcommands import READERS
from .test_log import run_engine

DEADLINE = 60.0
PROJECT = Path(__file__).resolve().parents[2]
INSTRUMENT = ListInstrument("ACME", "0.01", "1")


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def cancels(engine: EventDrivenMatchingEngine, first: int, last: int) -> list[int]:
    """Some commands, one after the other; the sequences that were answered."""
    return [
        engine.submit(CancelOrder(number, 1)).result(DEADLINE)[0].sequence
        for number in range(first, last)
    ]


# -- The directory is held, not named ----------------------------------------------------------


@proves("another directory")
def test_a_relative_directory_is_the_one_that_was_opened_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with EventDrivenMatchingEngine.open("data", segment_bytes=4096) as engine:
        monkeypatch.chdir(tmp_path / "elsewhere")
        answered = cancels(engine, 1, 60)
    assert list((tmp_path / "elsewhere" / "data").iterdir()) == []
    assert recover(tmp_path / "data").matcher.sequence == answered[-1] == 59
    assert end_of_trail(DirectoryStorage(tmp_path / "data")).sequence == 59


@proves("another directory")
def test_a_directory_that_is_renamed_keeps_its_engine_and_its_name_is_free(tmp_path: Path) -> None:
    first = EventDrivenMatchingEngine.open(tmp_path / "data", segment_bytes=4096)
    cancels(first, 1, 5)
    (tmp_path / "data").rename(tmp_path / "old")
    second = EventDrivenMatchingEngine.open(tmp_path / "data", segment_bytes=4096)
    for start in range(5, 65, 20):
        cancels(first, start, start + 20)
        cancels(second, start, start + 20)
    with pytest.raises(DirectoryInUse):
        EventDrivenMatchingEngine.open(tmp_path / "old")
    first.close()
    second.close()
    assert recover(tmp_path / "old").matcher.sequence == 64
    assert recover(tmp_path / "data").matcher.sequence == 60
    for name, last in (("old", 64), ("data", 60)):
        assert end_of_trail(DirectoryStorage(tmp_path / name)).sequence == last


@proves("segment gone")
@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_a_segment_that_loses_its_name_stops_the_engine_before_an_answer(
    tmp_path: Path, how: str
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path, audit=False)
    cancels(engine, 1, 3)
    segment = tmp_path / segment_name(1)
    if how == "removed":
        segment.unlink()
    elif how == "renamed":
        segment.rename(tmp_path / "another name")
    else:
        shutil.copy(segment, tmp_path / "copy")
        (tmp_path / "copy").replace(segment)
    with pytest.raises(EngineStopped, match=r"No such file|another file"):
        cancels(engine, 3, 4)
    with pytest.raises(EngineStopped):
        engine.close()


@proves("segment gone")
def test_a_finished_segment_that_loses_its_name_stops_the_engine_before_an_answer(
    tmp_path: Path,
) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        cancels(engine, 1, 10)
    engine = EventDrivenMatchingEngine.open(tmp_path, audit=False)
    (tmp_path / segment_name(1)).unlink()  # it still gets its mark of continuation
    with pytest.raises(EngineStopped, match="No such file"):
        cancels(engine, 10, 11)
    with pytest.raises(EngineStopped):
        engine.close()


@proves("segment gone")
def test_a_directory_that_is_removed_stops_the_engine_before_an_answer(tmp_path: Path) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path / "data", audit=False)
    cancels(engine, 1, 3)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(EngineStopped, match="No such file"):
        cancels(engine, 3, 4)
    with pytest.raises(EngineStopped):
        engine.close()
    assert list(tmp_path.iterdir()) == []


@proves("failed start")
@pytest.mark.parametrize("fault", ["full", "full later", "damaged", "trail ahead", "in use"])
def test_a_start_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """No file, no thread, no descriptor and no lock; and what was there is as it was."""
    holder = DirectoryStorage(tmp_path)
    if fault != "full":
        run_engine(tmp_path, 20)
    segment = tmp_path / segment_name(1)
    if fault == "damaged":
        whole = segment.read_bytes()
        segment.write_bytes(whole[:600] + b"x" + whole[601:])
    elif fault == "trail ahead":
        EventDrivenMatchingEngine.open(tmp_path).close()
        (tmp_path / segment_name(2)).unlink()
        segment.write_bytes(segment.read_bytes()[:512].ljust(64 * 1024, b"\0"))
    elif fault == "in use":
        holder.lock()
    room = 3 * 1024 * 1024 if fault == "full later" else 1024
    written = 0
    pwrite = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        nonlocal written
        written += len(data)
        if written > room:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, data, offset)

    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened, threads = set(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208
    with monkeypatch.context() as patched:
        if fault.startswith("full"):
            patched.setattr(os, "pwrite", full)
        with pytest.raises(StoreError):
            EventDrivenMatchingEngine.open(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(os.listdir("/proc/self/fd")) == opened  # noqa: PTH208
    assert threading.active_count() == threads
    if fault == "in use":
        holder.unlock()
    assert is_free(holder)
    if fault not in ("damaged", "trail ahead"):
        EventDrivenMatchingEngine.open(tmp_path, audit=False).close()


def test_a_directory_without_a_name_is_refused() -> None:
    with pytest.raises(DirectoryUnusable, match="empty name"):
        EventDrivenMatchingEngine.open("")
    with pytest.raises(DirectoryUnusable, match="null byte"):
        EventDrivenMatchingEngine.open("a\0b")


@proves("output onto input")
def test_the_events_are_not_written_into_a_segment_that_the_run_has_just_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A link that leads nowhere until the engine has made its log."""
    flow, link, segment = (tmp_path / name for name in ("flow", "link", "data/events.wal.000001"))
    flow.write_text("")
    link.symlink_to(segment)
    status = main(["run", str(flow), "--events", str(link), "--data-dir", str(segment.parent)])
    assert status == 2
    assert "a file of the data directory" in capfd.readouterr().err
    assert main(["verify", "--data-dir", str(segment.parent)]) == 0


@proves("privacy")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_new_files_are_not_for_everybody(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        data_dir = tmp_path / "engines" / "data"
        run_engine(data_dir, 20)
        EventDrivenMatchingEngine.open(data_dir).close()
        take_snapshot(data_dir)
    finally:
        os.umask(before)
    for made in (data_dir, data_dir.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o750 & ~mask
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert set(modes.values()) == {0o640 & ~mask}, modes


# -- Who owns a descriptor ---------------------------------------------------------------------


@contextmanager
def without(*descriptors: int) -> Iterator[None]:
    """These descriptors are closed, and put back afterwards."""
    kept = {number: os.dup(number) for number in descriptors}
    for number in descriptors:
        os.close(number)
    try:
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


@proves("standard descriptors")
def test_nothing_of_the_log_is_ever_standard_input_output_or_error(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.closerange(0, 3)\n"
        "import v2_event_driven_engine as v2\n"
        "e = v2.MatchingEngine.open(sys.argv[1], segment_bytes=4096)\n"
        "for n in range(1, 40): e.cancel(n, 1).result(30)\n"
        "taken = [n for n in range(3) if os.path.exists(f'/proc/self/fd/{n}')\n"
        "         and sys.argv[1] in os.readlink(f'/proc/self/fd/{n}')]\n"
        "e.close(); os._exit(len(taken))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, timeout=60, check=False
    )
    assert finished.returncode == 0
    assert recover(tmp_path).matcher.sequence == 39


def test_a_descriptor_is_never_a_standard_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with without(0):
        descriptor = open_descriptor(str(tmp_path / "file"), os.O_RDONLY)
        assert descriptor > 2
        os.close(descriptor)


@proves("rotation")
def test_a_rotation_that_fails_closes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=4096)
    closed: list[int] = []
    close = os.close

    def counted(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "close", counted)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EngineStopped, match="No space left"):
        cancels(engine, 1, 60)
    with pytest.raises(EngineStopped):
        engine.close()
    assert len(closed) == len(set(closed)), "a number may be somebody else's by the second time"
    monkeypatch.undo()
    assert "events.wal.new" not in os.listdir(tmp_path)  # noqa: PTH208
    answered = recover(tmp_path).matcher.sequence
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        assert cancels(engine, 1, 3) == [answered + 1, answered + 2]


def in_a_fork(work: Callable[[], None]) -> int:
    """Do the work in a forked process, at most some seconds; its exit status."""
    child = os.fork()
    if not child:
        status = 1
        with suppress(BaseException):
            signal.alarm(20)
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@proves("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_a_forked_process_the_engine_is_closed_and_the_parents_is_unharmed(
    tmp_path: Path,
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path, instruments=[INSTRUMENT])
    memory = EventDrivenMatchingEngine.in_memory()
    waiting = engine.submit(CancelOrder(1, 1))

    def child() -> None:
        for each in (engine, memory):
            with pytest.raises(EngineClosed):
                each.submit(CancelOrder(2, 1))
            with pytest.raises(EngineClosed):
                each.state()
            each.close()
        with suppress(EngineClosed):
            waiting.result(5)
        paths = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        assert not any(str(tmp_path) in path for path in paths)

    assert in_a_fork(child) == 0
    assert waiting.result(DEADLINE)[0].sequence == 2
    with pytest.raises(DirectoryInUse):
        EventDrivenMatchingEngine.open(tmp_path)
    cancels(engine, 3, 6)
    child_lives = os.fork()
    if not child_lives:
        time.sleep(60)
        os._exit(0)
    try:
        engine.close()  # the audit process ends although a copy of its lifeline lives
        assert end_of_trail(DirectoryStorage(tmp_path)).sequence == 5
        EventDrivenMatchingEngine.open(tmp_path, audit=False).close()
    finally:
        os.kill(child_lives, signal.SIGKILL)
        os.waitpid(child_lives, 0)
    memory.close()


@proves("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("moment", ["recovery", "listing"])
def test_a_process_forked_while_an_engine_is_opened_holds_nothing_of_it(
    tmp_path: Path, moment: str
) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        cancels(engine, 1, 3)
    children: list[int] = []

    def fork(*_: int) -> int:
        if not children:
            child = os.fork()
            if not child:
                time.sleep(60)
                os._exit(0)
            children.append(child)
        return time.time_ns()

    options: dict[str, Any] = {"progress": fork} if moment == "recovery" else {"clock": fork}
    engine = EventDrivenMatchingEngine.open(tmp_path, instruments=[INSTRUMENT], **options)
    try:
        (child,) = children
        held = {os.path.realpath(path) for path in Path(f"/proc/{child}/fd").iterdir()}
        assert not any(path.startswith(str(tmp_path)) for path in held)
        began = time.monotonic()
        engine.close()  # the audit process ends, of whose lifeline nobody has a copy
        assert time.monotonic() - began < process.FINISH_SECONDS / 2
        assert not engine.audit_is_behind
        EventDrivenMatchingEngine.open(tmp_path, audit=False).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@proves("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_nobody_forks_while_the_audit_process_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies of its pipes that a child had would keep it, and its engine, from ending."""
    moments: list[str] = []

    def fork() -> None:
        if in_a_fork(lambda: None) == 0:
            moments.append("forked")

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            thread.start()
            thread.join(0.2)
            super().__init__(*arguments, **options)
            moments.append("started")

    thread = threading.Thread(target=fork)
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", Slow)
        engine = EventDrivenMatchingEngine.open(tmp_path)
    thread.join()
    engine.close()
    assert moments == ["started", "forked"]


@proves("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_may_have_an_engine_of_its_own_whoever_waited_at_the_fork() -> None:
    entered, forked = threading.Event(), threading.Event()

    def enter() -> None:
        with Receipt._entering:
            entered.set()
            forked.wait(DEADLINE)

    thread = threading.Thread(target=enter)
    thread.start()
    entered.wait(DEADLINE)

    def child() -> None:
        with EventDrivenMatchingEngine.in_memory() as engine:
            engine.ask(lambda _: time.sleep(0.01)).result()

    assert in_a_fork(child) == 0
    forked.set()
    thread.join()


@proves("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_forked_by_the_writer_can_close_its_engine() -> None:
    statuses: list[int] = []
    with EventDrivenMatchingEngine.in_memory() as engine:
        engine.subscribers.subscribe(lambda _: statuses.append(in_a_fork(engine.close)))
        cancels(engine, 1, 2)
    assert statuses == [0]


# -- Nobody's mistake is everybody's -----------------------------------------------------------


@proves("consumer")
@pytest.mark.parametrize("trouble", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_subscriber_may_raise_anything_at_all(
    trouble: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Sequence[Event]) -> None:
        raise trouble("the consumer's own")

    seen: list[Sequence[Event]] = []
    with EventDrivenMatchingEngine.in_memory() as engine:
        engine.subscribers.subscribe(broken)
        engine.subscribers.subscribe(seen.append)
        assert cancels(engine, 1, 4) == [1, 2, 3]
        assert [type(error) for _, error in engine.subscribers.failures] == [trouble]
    assert len(seen) == 3
    assert "a subscriber was dropped" in caplog.text


class Unspeakable(BaseException):
    """An exception of somebody's own."""

    def __str__(self) -> str:
        raise SystemExit("it cannot even say what it is about")


class Strange:
    """A consumer that is equal to nobody, and says why."""

    def __call__(self, _: Sequence[Event]) -> None:
        raise Unspeakable

    def __eq__(self, other: object) -> bool:
        raise Unspeakable

    __hash__ = None  # type: ignore[assignment]


class Refusing(logging.Handler):
    """Of an application that cannot log at the moment."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise Unspeakable


@proves("consumer")
def test_a_subscriber_may_be_as_strange_as_it_likes() -> None:
    seen: list[Sequence[Event]] = []
    handler = Refusing()
    logging.getLogger(subscribers.__name__).addHandler(handler)
    try:
        with EventDrivenMatchingEngine.in_memory() as engine:
            engine.subscribers.subscribe(seen.append)
            engine.subscribers.subscribe(Strange())
            assert cancels(engine, 1, 4) == [1, 2, 3]
    finally:
        logging.getLogger(subscribers.__name__).removeHandler(handler)
    assert len(seen) == 3


@proves("consumer")
def test_what_becomes_of_the_events_that_were_given_out_is_nobodys_business(
    tmp_path: Path,
) -> None:
    def greedy(events: Sequence[Event]) -> None:
        events.clear()  # type: ignore[attr-defined]

    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        engine.subscribers.subscribe(greedy)
        for number in range(1, 4):
            events = engine.submit(CancelOrder(number, 1)).result(DEADLINE)
            assert [event.sequence for event in events] == [number]
            events.append("something else")  # type: ignore[arg-type]
        many = engine.submit_many([CancelOrder(number, 1) for number in range(4, 6)])
        for events in many.result(DEADLINE):
            events.clear()
    assert recover(tmp_path).matcher.sequence == 5


@pytest.mark.parametrize(
    "clock", [lambda: True, lambda: 1.5, lambda: None, lambda: (_ for _ in ()).throw(Unspeakable())]
)
def test_a_clock_that_gives_no_time_stops_the_engine_before_anything_is_written(
    tmp_path: Path, clock: Callable[[], Any]
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path, audit=False, clock=clock)
    with pytest.raises(EngineStopped):
        engine.submit(CancelOrder(1, 1)).result(DEADLINE)
    with pytest.raises(EngineStopped):
        engine.close()
    assert recover(tmp_path).matcher.sequence == 0


def test_a_question_that_answers_that_there_is_no_answer_has_failed() -> None:
    with EventDrivenMatchingEngine.in_memory() as engine:
        asked = engine.ask(lambda _: msgspec.UNSET)
        for _ in range(2):
            with pytest.raises(ValueError, match="UNSET"):
                asked.result(DEADLINE)


def test_who_gives_up_waiting_does_not_disturb_the_writer_that_wakes_the_others() -> None:
    patient = threading.Lock()
    receipt: Receipt[int] = Receipt(waiters=[patient])
    gone_through = receipt.waiters
    assert gone_through is not None
    assert not receipt.wait(0.0)
    assert receipt.waiters == [patient]
    assert len(gone_through) == 2, "in a list that gets shorter the writer would miss the next one"


@proves("waits for itself")
@pytest.mark.parametrize(
    "wait",
    [
        lambda engine: engine.state(),
        lambda engine: engine.submit(CancelOrder(9, 1)).result(),
        lambda engine: engine.close(),
    ],
    ids=["a question", "an answer", "the end"],
)
def test_a_subscriber_that_waits_for_the_writer_gets_an_error_and_no_deadlock(
    wait: Callable[[EventDrivenMatchingEngine], object],
) -> None:
    errors: list[BaseException] = []

    def waits(_: Sequence[Event]) -> None:
        try:
            wait(engine)
        except BaseException as error:
            errors.append(error)
            raise

    with EventDrivenMatchingEngine.in_memory() as engine:
        engine.subscribers.subscribe(waits)
        cancels(engine, 1, 3)
        with pytest.raises(WriterBlocked):
            engine.ask(lambda _: engine.state()).result(DEADLINE)
    assert [type(error) for error in errors] == [WriterBlocked]


def test_a_signal_handler_may_submit_and_wait_wherever_it_interrupts() -> None:
    code = (
        "import signal, sys\n"
        "import v2_event_driven_engine as v2\n"
        "e = v2.MatchingEngine.in_memory()\n"
        "done = []\n"
        "def handler(*_):\n"
        "    done.append(e.cancel(1, 1).result(20)[0].sequence)\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "while len(done) < 300:\n"
        "    e.cancel(2, 1).result(20)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "e.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 0


def test_waiting_in_vain_leaves_nothing_behind() -> None:
    with EventDrivenMatchingEngine.in_memory() as engine:
        gate = threading.Event()
        blocked = engine.ask(lambda _: gate.wait(DEADLINE))
        receipt = engine.submit(CancelOrder(1, 1))
        for _ in range(100):
            with pytest.raises(TimeoutError):
                receipt.result(0.0)
        assert receipt.waiters == []
        gate.set()
        assert blocked.result(DEADLINE)
        assert receipt.result(DEADLINE)[0].sequence == 1


def test_a_stopped_engine_does_not_grow() -> None:
    engine = EventDrivenMatchingEngine.in_memory()

    def fail(_: Any) -> None:
        raise OSError(5, "Input/output error")

    engine._log.append = fail  # type: ignore[method-assign, assignment]
    receipt = engine.submit(CancelOrder(1, 1))

    def ask_in_vain() -> None:
        for call in (lambda: receipt.result(DEADLINE), lambda: engine.cancel(1, 1), engine.close):
            with pytest.raises(EngineStopped):
                call()

    ask_in_vain()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(300):
        ask_in_vain()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 50_000


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_batch", 0), ("max_batch", 1.5), ("queue_capacity", -1), ("segment_bytes", None),
     ("clock", 5), ("progress", 5), ("queue_capacity", 2**63)],
)  # fmt: skip
def test_a_wrong_argument_is_refused_at_the_door_by_its_name(
    tmp_path: Path, name: str, value: object
) -> None:
    with pytest.raises(MalformedCommand, match=f"^{name}: "):
        EventDrivenMatchingEngine.open(tmp_path / "data", **{name: value})  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("log", [5, None, b"data"])
def test_what_is_neither_a_directory_nor_a_log_is_refused_at_the_door(log: Any) -> None:
    with pytest.raises(MalformedCommand, match=r"^log: "):
        EventDrivenMatchingEngine.open(log)


def test_half_a_character_names_no_directory() -> None:
    with pytest.raises(DirectoryUnusable, match=r"\\ud800"):
        EventDrivenMatchingEngine.open("\ud800")


def test_a_signal_handler_may_close_the_engine_that_is_being_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FINISH_SECONDS", 1.0)
    monkeypatch.setattr(process.AuditProcess, "_command", program("import signal; signal.pause()"))
    engine = EventDrivenMatchingEngine.open(tmp_path)
    closed: list[bool] = []

    def close(*_: object) -> None:
        engine.close()
        closed.append(True)

    before = signal.signal(signal.SIGALRM, close)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        engine.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert closed == [True]


# -- The audit process -------------------------------------------------------------------------


def children(of: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{of}/task").iterdir():  # each thread has its own
        with suppress(FileNotFoundError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


@proves("audit process")
def test_the_audit_process_is_started_again_and_its_death_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path)
    for death in range(2):
        [child] = children(os.getpid())
        os.kill(child, signal.SIGKILL)
        eventually(lambda: children(os.getpid()) not in ([], [child]), "it is started again")  # noqa: B023
        cancels(engine, death * 10 + 1, death * 10 + 11)
    engine.close()
    assert not engine.audit_is_behind
    assert end_of_trail(DirectoryStorage(tmp_path)).sequence == 20
    assert caplog.text.count("the audit process ended with status -9") == 2


@proves("audit process")
def test_an_audit_process_that_does_not_finish_is_ended_after_the_directory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path)
    eventually(lambda: children(os.getpid()), "the audit process is there")
    [child] = children(os.getpid())
    os.kill(child, signal.SIGSTOP)
    cancels(engine, 1, 4)
    with monkeypatch.context() as patched:
        patched.setattr(process, "FINISH_SECONDS", 0.5)
        closing = threading.Thread(target=engine.close)
        closing.start()
        storage = DirectoryStorage(tmp_path)
        eventually(lambda: is_free(storage), "the directory is unlocked first")
        closing.join(DEADLINE)
    assert engine.audit_is_behind
    assert "has not caught up" in caplog.text
    monkeypatch.undo()
    EventDrivenMatchingEngine.open(tmp_path).close()
    assert end_of_trail(DirectoryStorage(tmp_path)).sequence == 3


def program(code: str) -> Callable[[process.AuditProcess], list[str]]:
    """Another program in the place of the audit process's."""
    return lambda _: [sys.executable, "-c", code]


@proves("audit process")
def test_an_audit_process_that_always_ends_is_given_up_and_the_next_start_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(process, "RESTART_SECONDS", 0.001)
        patched.setattr(process.AuditProcess, "_command", program("raise SystemExit(7)"))
        engine = EventDrivenMatchingEngine.open(tmp_path)
        eventually(lambda: "is not started again" in caplog.text, "it is given up")
        assert cancels(engine, 1, 4) == [1, 2, 3]
        engine.close()
    assert engine.audit_is_behind
    assert caplog.text.count("the audit process ended with status 7") == 1 + process.RESTARTS
    EventDrivenMatchingEngine.open(tmp_path).close()
    assert end_of_trail(DirectoryStorage(tmp_path)).sequence == 3


@proves("audit process")
def test_its_failure_is_known_where_nobody_is_told_of_children_that_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.AuditProcess, "_command", program("raise SystemExit(7)"))
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        engine = EventDrivenMatchingEngine.open(tmp_path)
        engine.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert engine.audit_is_behind


@proves("audit process")
def test_a_run_whose_trail_was_not_completed_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow").write_text('{"command":"cancel","order_id":1,"participant":1}\n')
    run = ["run", str(tmp_path / "flow"), "--data-dir", str(tmp_path / "data")]
    with monkeypatch.context() as patched:
        patched.setattr(process, "FINISH_SECONDS", 0.1)
        patched.setattr(process.AuditProcess, "_command", program("import signal; signal.pause()"))
        assert main(run) == 1
    assert main(run) == 0
    assert end_of_trail(DirectoryStorage(tmp_path / "data")).sequence == 2


FULL = """\
import os
real = os.pwrite
def pwrite(descriptor, data, offset):
    room = max(0, 1000 - offset)  # in the middle of a line
    if not room:
        raise OSError(28, "No space left on device")
    return real(descriptor, bytes(data)[:room], offset)
def fdatasync(descriptor):
    raise OSError(28, "No space left on device")
os.{call} = {call}
"""
"""What fails the audit process alone: it writes nothing but the trail."""


@proves("audit full")
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_disk_that_is_full_for_the_trail_alone_stops_the_trail_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], call: str
) -> None:
    (tmp_path / "flow").write_text(
        "".join(f'{{"command":"cancel","order_id":{n},"participant":1}}\n' for n in range(1, 31))
    )
    data_dir = ["--data-dir", str(tmp_path / "data")]
    run = ["run", str(tmp_path / "flow"), *data_dir]
    with monkeypatch.context() as patched:
        patched.setattr(process, "BOOT", FULL.format(call=call) + process.BOOT)
        assert main(run) == 1
    output, errors = capfd.readouterr()
    assert "commands             30" in output
    assert errors.count("No space left on device; once that is mended, the next start") == 1
    assert recover(tmp_path / "data").matcher.sequence == 30
    assert main(run) == 0
    assert main(["verify", *data_dir]) == 0
    assert end_of_trail(DirectoryStorage(tmp_path / "data")).sequence == 60


@proves("audit full")
def test_an_engine_whose_trail_has_no_room_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(process, "RESTART_SECONDS", 0.001)
        patched.setattr(process, "RESTARTS", 1)
        patched.setattr(process, "BOOT", FULL.format(call="pwrite") + process.BOOT)
        engine = EventDrivenMatchingEngine.open(tmp_path)
        assert cancels(engine, 1, 31) == list(range(1, 31))
        eventually(lambda: "is not started again" in caplog.text, "it is given up")
        assert cancels(engine, 31, 41) == list(range(31, 41))
        engine.close()
    assert engine.audit_is_behind
    assert caplog.text.count("the audit process ended with status 1") == 2
    EventDrivenMatchingEngine.open(tmp_path).close()
    storage = DirectoryStorage(tmp_path)
    assert end_of_trail(storage).sequence == 40
    assert verify_against_log(storage, WalEventStore(storage))[1] is None


def is_free(storage: DirectoryStorage) -> bool:
    try:
        storage.lock()
    except DirectoryInUse:
        return False
    storage.unlock()
    return True


@proves("audit process")
def test_the_audit_process_runs_nothing_from_the_working_directory_and_ignores_stop_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hashlib", "fcntl", "msgspec", "re", "sitecustomize", "v2_event_driven_engine"):
        (tmp_path / f"{name}.py").write_text("open('RAN', 'w').close()\nraise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = EventDrivenMatchingEngine.open("data")
    cancels(engine, 1, 4)
    trail = tmp_path / "data" / AUDIT_LOG
    eventually(lambda: trail.exists() and trail.stat().st_size, "the trail is begun")
    for number in (signal.SIGINT, signal.SIGTERM):
        [child] = children(os.getpid())
        os.kill(child, number)
    cancels(engine, 4, 8)
    engine.close()
    assert not (tmp_path / "RAN").exists()
    assert end_of_trail(DirectoryStorage(tmp_path / "data")).sequence == 7


# -- Snapshots ---------------------------------------------------------------------------------


@proves("snapshot name")
def test_a_snapshot_under_another_name_is_not_believed(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    _, name = take_snapshot(tmp_path)
    (tmp_path / name).rename(tmp_path / "snapshot.00000000000000000025")
    state = recover(tmp_path, until=25)
    assert (state.matcher.sequence, state.commands_replayed) == (25, 25)
    assert ["this is the snapshot of sequence 60" in text for text in state.warnings] == [True]


@proves("snapshot damage")
def test_the_newest_two_snapshots_that_can_be_read_are_kept(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    _, name = take_snapshot(tmp_path)
    newest = (tmp_path / name).read_bytes()
    snapshots = Snapshots(DirectoryStorage(tmp_path))
    taken = snapshots.read(name)

    def of(sequence: int) -> Snapshot:
        place = position_of(Place(taken.place))._replace(next_sequence=sequence + 1).place
        return msgspec.structs.replace(taken, sequence=sequence, place=place)

    for sequence in (10, 20, 30, 40):
        snapshots.write(of(sequence))
    (tmp_path / name).write_bytes(newest[:-1])  # cannot be read: the two before it stay
    snapshots.write(of(50))
    assert [int(each[-3:]) for each in snapshots.names()] == [60, 50, 40]


@proves("two snapshots")
def test_two_snapshots_at_once_are_both_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 60)
    rename = DirectoryStorage.rename
    names = []

    def slow(storage: DirectoryStorage, old: str, new: str) -> None:
        """While this one is not renamed yet, another is taken from its beginning to its end."""
        monkeypatch.undo()
        names.append(take_snapshot(tmp_path)[1])
        rename(storage, old, new)

    monkeypatch.setattr(DirectoryStorage, "rename", slow)
    names.append(take_snapshot(tmp_path)[1])
    assert names[0] == names[1]
    state = recover(tmp_path)
    assert (state.snapshot_sequence, state.commands_replayed, state.warnings) == (60, 0, [])
    assert [name for name in os.listdir(tmp_path) if "new" in name] == []  # noqa: PTH208


@proves("two snapshots")
def test_what_an_unfinished_snapshot_left_is_removed_and_one_in_the_making_is_not(
    tmp_path: Path,
) -> None:
    run_engine(tmp_path, 20)
    storage = DirectoryStorage(tmp_path)
    (tmp_path / "snapshot.new.dead").write_bytes(bytes(100))
    being_made = storage.create("snapshot.new.alive")
    take_snapshot(tmp_path)
    assert [name for name in storage.names() if "new" in name] == ["snapshot.new.alive"]
    being_made.close()
    take_snapshot(tmp_path)
    assert [name for name in storage.names() if "new" in name] == []


def keep_archive_elsewhere(patched: pytest.MonkeyPatch) -> None:
    """As if the archive were on another file system: nothing can be renamed into it."""
    rename = os.rename

    def elsewhere(source: str, target: str, **options: Any) -> None:
        if options["src_dir_fd"] != options["dst_dir_fd"]:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target, **options)

    patched.setattr(os, "rename", elsewhere)


@proves("archive elsewhere")
def test_a_segment_is_archived_to_another_file_system_by_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 60)
    whole = (tmp_path / segment_name(1)).read_bytes()
    keep_archive_elsewhere(monkeypatch)
    storage = DirectoryStorage(tmp_path)
    assert storage.archive(segment_name(1))
    assert not (tmp_path / segment_name(1)).exists()
    assert (tmp_path / "archive" / segment_name(1)).read_bytes() == whole
    assert segment_numbers(storage) == [1]
    assert not storage.archive(segment_name(1))


def whole_log(directory: Path) -> bytes:
    """The bytes of its first segment."""
    run_engine(directory, 60)
    return (directory / segment_name(1)).read_bytes()


@proves("archive elsewhere")
def test_only_one_moves_segments_into_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who copy to one unfinished file would each take the other's for whole."""
    run_engine(tmp_path, 60)
    refused: list[bool] = []
    copy = DirectoryStorage._copy_to

    def beside(self: DirectoryStorage, *arguments: Any) -> None:
        another = os.open(tmp_path / "archive", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(another)
        refused.append(True)
        copy(self, *arguments)

    def elsewhere(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(DirectoryStorage, "_copy_to", beside)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", elsewhere)
        with pytest.raises(OSError, match="cross-device"):  # of the finished copy, too
            DirectoryStorage(tmp_path).archive(segment_name(1))
    assert refused == [True]


@proves("archive elsewhere")
@pytest.mark.parametrize("same", [True, False], ids=["copied before", "of another directory"])
def test_what_is_in_an_archive_already_is_not_overwritten(tmp_path: Path, same: bool) -> None:
    whole = whole_log(tmp_path)
    there = tmp_path / "archive" / segment_name(1)
    there.parent.mkdir()
    there.write_bytes(whole if same else whole[:-1] + b"x")
    storage = DirectoryStorage(tmp_path)
    if same:
        assert storage.archive(segment_name(1))
        assert there.read_bytes() == whole
        assert not (tmp_path / segment_name(1)).exists()
    else:
        with pytest.raises(DirectoryUnusable, match="another file has this name"):
            storage.archive(segment_name(1))
        assert there.read_bytes() == whole[:-1] + b"x"
        assert (tmp_path / segment_name(1)).read_bytes() == whole


def test_an_archive_that_is_full_gets_nothing_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = whole_log(tmp_path)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        keep_archive_elsewhere(patched)
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match=rf"No space.*archive/{segment_name(1)}"):
            DirectoryStorage(tmp_path).archive(segment_name(1))
    assert list((tmp_path / "archive").iterdir()) == []
    assert (tmp_path / segment_name(1)).read_bytes() == whole


def test_what_is_no_file_and_no_folder_harms_nobody(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "archive").write_text("not a folder")
    assert main(["verify", "--data-dir", str(tmp_path)]) == 0
    (tmp_path / "archive").unlink()
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "circle").symlink_to("circle")
    DirectoryStorage(tmp_path).archive(segment_name(1))
    assert recover(tmp_path).matcher.sequence == 60


# -- Hostile or merely large -------------------------------------------------------------------


@proves("long size")
def test_a_size_of_any_length_is_looked_at_once() -> None:
    digits = 200_000
    began = time.perf_counter()
    for size in ("0" * digits, "0" * digits + "x", "1" * digits + "." + "1" * digits + "x"):
        assert not is_above_zero(size)
    assert is_above_zero("0" * digits + ".1")
    assert time.perf_counter() - began < DEADLINE, "a pattern that looks back takes minutes"


@proves("other kind of file")
@pytest.mark.parametrize("name", [segment_name(1), AUDIT_LOG])
@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_a_file_of_another_kind_is_never_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    run_engine(tmp_path, 10)
    (tmp_path / name).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).mkdir()
    began = time.monotonic()
    for arguments in READERS:
        assert main([*arguments, "--data-dir", str(tmp_path)]) in (0, 3)
    with suppress(StoreError):
        EventDrivenMatchingEngine.open(tmp_path, audit=False).close()
    assert time.monotonic() - began < DEADLINE


@proves("readers")
def test_verify_finds_nothing_wrong_beside_an_engine_that_writes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = EventDrivenMatchingEngine.open(tmp_path, segment_bytes=4096)
    enough = threading.Event()
    number = 0

    def write() -> None:
        nonlocal number
        while not enough.is_set():
            number += 1
            engine.submit(CancelOrder(number, 1)).result(DEADLINE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            before = number
            eventually(lambda before=before: number > before + 30, "it writes")  # type: ignore[misc]
            assert main(["verify", "--data-dir", str(tmp_path)]) == 0, capfd.readouterr().out
    finally:
        enough.set()
        writer.join(DEADLINE)
        engine.close()
    assert len(segment_numbers(DirectoryStorage(tmp_path))) > 5
    assert recover(tmp_path).matcher.sequence == number


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "a"), "No such file or directory"),
        (OSError("no number and no words of the system"), "no number and no words of the system"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
def test_the_reason_of_an_error_is_never_none(error: Exception, text: str) -> None:
    assert reason(error) == text


def test_terminal_escapes_in_a_trail_are_shown_and_not_obeyed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_engine(tmp_path, 10)
    EventDrivenMatchingEngine.open(tmp_path).close()
    trail = (tmp_path / AUDIT_LOG).read_text()
    (tmp_path / AUDIT_LOG).write_text(trail.replace("ACME", "\\u001b[2J", 1))
    assert main(["audit", "--data-dir", str(tmp_path)]) == 0
    said = capfd.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[2J" in said


def test_logging_is_what_the_library_complains_by(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("v2_event_driven_engine").addHandler(handler)
    try:
        with EventDrivenMatchingEngine.in_memory() as engine:
            engine.subscribers.subscribe(lambda _: 1 / 0)  # type: ignore[arg-type]
            cancels(engine, 1, 2)
    finally:
        logging.getLogger("v2_event_driven_engine").removeHandler(handler)
    assert "ZeroDivisionError" in stream.getvalue()
