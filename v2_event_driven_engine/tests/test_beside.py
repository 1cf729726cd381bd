"""Looking at a directory beside those who change it: no false alarm, whatever is moved meanwhile.

What a reader has listed or opened may be gone, archived, finished or mended a moment later.
`BESIDE_ROUNDS` in the environment says how often the last test is made, each time in a directory of
its own (default 1).
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from v2_event_driven_engine import Batch, EventDrivenMatchingEngine, Place
from v2_event_driven_engine.engine.audit.trail import (
    AUDIT_LOG,
    end_of_trail,
    read_lines,
    recorded_lines,
    verify_against_log,
    verify_chain,
    whole_lines,
)
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.log.reader import segment_name, segment_numbers
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.engine.wal_event_store import Finished, WalEventStore
from v2_event_driven_engine.main import main

from .faults import proves
from .flow import commands
from .logs import (
    log_in,
    logger_on,
    open_log,
    process,
    recover,
    sequencer_on,
    take_snapshot,
)
from .memory_storage import MemoryStorage
from .test_log import run_engine

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("BESIDE_ROUNDS", "1"))
RUNS_A_ROUND = 12
DEADLINE = 30.0

SNAPSHOTS = """\
import sys
from v2_event_driven_engine.main import main
while main(["snapshot", "--archive", "--data-dir", sys.argv[1]]) == 0:
    pass
sys.exit(1)
"""


def with_trail(data_dir: Path, count: int = 120) -> DirectoryStorage:
    """A directory with a log and its whole trail."""
    run_engine(data_dir, count)
    storage = DirectoryStorage(data_dir)
    logger = logger_on(storage)
    logger.catch_up()
    logger.close()
    return storage


# -- Snapshots ---------------------------------------------------------------------------------


@proves("beside others")
@pytest.mark.parametrize("vanish", [1, 2])
def test_a_snapshot_that_is_removed_while_it_is_looked_for_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vanish: int
) -> None:
    """Somebody takes newer ones, so that the older are removed after their names were listed."""
    storage = with_trail(tmp_path)
    snapshots = Snapshots(storage)
    older: dict[str, bytes] = {}
    for until in (40, 80):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for number in range(until):
                engine.cancel(number + 1, 9).result(DEADLINE)
        take_snapshot(storage)
    logger_on(storage).catch_up()
    newest, oldest = snapshots.names()
    older = {name: (tmp_path / name).read_bytes() for name in (newest, oldest)}
    listed = Snapshots.names

    def names(self: Snapshots) -> list[str]:
        found = listed(self)
        for name in (oldest, newest)[:vanish]:
            (tmp_path / name).unlink(missing_ok=True)
        return found

    looks: tuple[Callable[[], bool], ...] = (
        lambda: recover(storage).warnings == [],
        lambda: len(list(snapshots.readable())) == 2 - vanish,
        lambda: main(["verify", "--data-dir", str(tmp_path)]) == 0,
        lambda: main(["status", "--data-dir", str(tmp_path)]) == 0,
    )
    for look in looks:
        with monkeypatch.context() as patched:
            patched.setattr(Snapshots, "names", names)
            assert look()
        for name, content in older.items():
            (tmp_path / name).write_bytes(content)


@proves("beside others")
def test_where_all_listed_snapshots_are_gone_the_newer_ones_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are needed where the beginning of the log was taken away."""
    flow = list(commands(300, 9))
    for part in (flow[:100], flow[100:200], flow[200:]):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in part:
                engine.submit(command)
        take_snapshot(tmp_path)
    storage = DirectoryStorage(tmp_path)
    (tmp_path / segment_name(1)).unlink()
    listed = Snapshots.names
    outdated = ["snapshot.00000000000000000050"]
    monkeypatch.setattr(
        Snapshots, "names", lambda self: [outdated.pop()] if outdated else listed(self)
    )
    assert recover(storage).matcher.sequence == 300


@proves("beside others")
def test_a_snapshot_that_another_one_took_for_abandoned_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 20)
    storage = DirectoryStorage(tmp_path)
    create = DirectoryStorage.create
    removed: list[str] = []

    def created(self: DirectoryStorage, name: str) -> Any:
        file = create(self, name)
        if name.startswith("snapshot.new.") and not removed:
            removed.append(name)
            (tmp_path / name).unlink()
        return file

    monkeypatch.setattr(DirectoryStorage, "create", created)
    _, name = take_snapshot(storage)
    assert removed
    assert Snapshots(storage).names() == [name]


# -- Segments ----------------------------------------------------------------------------------


@proves("beside others")
def test_a_segment_that_is_archived_by_two_at_once_is_archived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 20)
    storage = DirectoryStorage(tmp_path)
    rename = os.rename

    def second(*names: str, **options: Any) -> None:
        rename(*names, **options)  # the other one
        rename(*names, **options)

    monkeypatch.setattr(os, "rename", second)
    assert not storage.archive(segment_name(1))
    assert recover(storage).matcher.sequence == 20


@proves("beside others")
def test_a_listing_that_missed_a_segment_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is listed piece by piece: of two new names the later one may be seen alone."""
    run_engine(tmp_path, 2000)
    storage = DirectoryStorage(tmp_path)
    assert len(segment_numbers(storage)) > 2
    listed = DirectoryStorage.names
    missed = [segment_name(2)]

    def names(self: DirectoryStorage) -> list[str]:
        found = listed(self)
        if missed:
            found.remove(missed.pop())
        return found

    monkeypatch.setattr(DirectoryStorage, "names", names)
    assert recover(storage).matcher.sequence == 2000


@proves("beside others", "audit behind")
def test_a_reader_that_comes_between_a_new_segment_and_the_mark_of_the_old_one_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = MemoryStorage()
    sequencer = sequencer_on(*open_log(storage, segment_bytes=2048))
    logger = logger_on(storage)
    mark = WalEventStore._mark
    looks = []

    def marked(self: WalEventStore, finished: Finished, batch: Batch) -> Batch:
        looks.append(logger.catch_up())
        return mark(self, finished, batch)

    monkeypatch.setattr(WalEventStore, "_mark", marked)
    for command in commands(60, 1):
        process(sequencer, command)
        logger.catch_up()
    sequencer.idle()
    logger.catch_up()
    assert len(looks) > 5
    lines, bad = verify_against_log(storage, log_in(storage))
    assert bad is None
    assert end_of_trail(storage).sequence == 60
    assert lines == sum(1 for _ in recorded_lines(log_in(storage)))


# -- The trail ---------------------------------------------------------------------------------


def nothing() -> object:
    """What usually happens."""
    return None


class Meanwhile(DirectoryStorage):
    """A directory in which something happens just before or after the trail is opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.before: Callable[[], object] = nothing
        self.after: Callable[[], object] = nothing

    def stream(self, name: str) -> BinaryIO:
        if name == AUDIT_LOG:
            self.before()
        stream = super().stream(name)
        if name == AUDIT_LOG:
            self.after()
        return stream


@proves("beside others")
def test_a_trail_that_is_replaced_and_grows_is_read_as_far_as_it_was_when_it_was_opened(
    tmp_path: Path,
) -> None:
    with_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)

    def replace() -> None:
        path.unlink()
        path.write_bytes(b"".join(lines[:10]) + lines[10][:7])

    def grow() -> None:
        with path.open("ab") as trail:
            trail.write(b"of an event that is not in the log yet\n" * 10)

    storage = Meanwhile(tmp_path)
    storage.before = replace
    reading = whole_lines(storage)
    read = [next(reading)[1]]
    grow()
    read += [text for _, text in reading]
    assert read == lines[:10]

    class Growing(WalEventStore):
        def read(self, after: Place = START) -> Iterator[Batch]:
            grow()
            return super().read(after)

    path.write_bytes(whole)
    assert verify_against_log(storage, Growing(storage)) == (10, None)


@proves("beside others")
def test_a_trail_that_is_moved_away_is_read_from_where_it_is_or_is_none(tmp_path: Path) -> None:
    with_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    whole = path.read_bytes()
    storage = Meanwhile(tmp_path)
    storage.after = path.unlink
    assert verify_chain(storage) == (whole.count(b"\n"), None)
    storage.after = nothing
    storage.before = lambda: path.unlink(missing_ok=True)
    looks: tuple[Callable[[], bool], ...] = (
        lambda: verify_chain(storage) == (0, None),
        lambda: verify_against_log(storage, log_in(storage)) == (0, None),
        lambda: list(read_lines(storage)) == [],
        lambda: end_of_trail(storage).sequence == 0,
    )
    for look in looks:
        path.write_bytes(whole)
        assert look()


@proves("beside others")
def test_what_is_mended_while_it_is_looked_at_is_no_false_alarm(tmp_path: Path) -> None:
    with_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    whole = path.read_bytes()
    damaged = whole[:-9] + b"x" + whole[-8:]
    storage = Meanwhile(tmp_path)
    looks: tuple[Callable[[], bool], ...] = (
        lambda: verify_chain(storage)[1] is None,
        lambda: verify_against_log(storage, log_in(storage))[1] is None,
        lambda: not end_of_trail(storage).problem,
    )
    for look in looks:
        path.write_bytes(damaged)
        mended = iter([damaged, whole])
        storage.before = lambda: path.write_bytes(next(mended))  # noqa: B023
        assert look()
    storage.before = nothing
    path.write_bytes(damaged)
    assert not any(look() for look in looks), "damage that stays is found"


# -- All at once -------------------------------------------------------------------------------


def lives(data_dir: Path, stop: threading.Event, begun: threading.Event) -> Iterator[str]:
    """An engine on small segments, opened again and again; its trail is torn or taken away."""
    flow = commands(10**9, 3)
    for life in cycle(range(3)):
        trail = data_dir / AUDIT_LOG
        if life == 1 and trail.exists():
            trail.rename(data_dir.parent / "old")
        if life == 2 and trail.exists():
            with trail.open("ab") as file:
                file.write(b'{"sequence":')
        with EventDrivenMatchingEngine.open(data_dir, segment_bytes=4096) as engine:
            for _ in range(20):
                for receipt in [engine.submit(next(flow)) for _ in range(5)]:
                    receipt.result(DEADLINE)
                begun.set()
                if stop.is_set():
                    return
        yield "one more"


@proves("beside others", "readers")
@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_no_program_gives_a_false_alarm_beside_engines_snapshots_and_archives(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    data_dir = tmp_path / f"data-{number}"
    data_dir.mkdir()
    stop, begun = threading.Event(), threading.Event()
    live = threading.Thread(target=lambda: list(lives(data_dir, stop, begun)))
    live.start()
    assert begun.wait(DEADLINE)
    arguments = [sys.executable, "-c", SNAPSHOTS, str(data_dir)]
    taking = [
        subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for _ in range(RUNS_A_ROUND):
            for program in (["verify"], ["audit", "--verify"], ["status"], ["replay"]):
                status = main([*program, "--json", "--data-dir", str(data_dir)])
                said = capfd.readouterr()
                assert (status, said.err) == (0, ""), (program, said.out[-1000:], said.err)
                assert "audit_problem" not in said.out
                assert '"warnings"' not in said.out
        assert live.is_alive()
        assert [each.poll() for each in taking] == [None, None]
    finally:
        stop.set()
        for each in taking:
            each.kill()
        complaints = [each.communicate()[1].decode() for each in taking]
        live.join()
    assert complaints == ["", ""]
