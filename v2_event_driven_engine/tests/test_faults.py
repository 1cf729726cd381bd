"""Faults that need no process of their own; other rows are proved in the modules beside."""

import os
import re
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c

from v2_event_driven_engine import CancelOrder, EventDrivenMatchingEngine
from v2_event_driven_engine.engine import recovery, snapshot, wal_event_store, wal_format
from v2_event_driven_engine.engine.audit_logger import AUDIT_LOG, AuditLogger
from v2_event_driven_engine.engine.event_log import EventLog
from v2_event_driven_engine.engine.events import AnyEvent, OrderCanceled
from v2_event_driven_engine.engine.recovery import open_log, recover, take_snapshot
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.storage import DirectoryStorage
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.engine.wal_format import Body
from v2_event_driven_engine.engine.wal_reader import (
    START,
    LogReader,
    Position,
    segment_name,
    segment_numbers,
)
from v2_event_driven_engine.errors import (
    DirectoryUnusable,
    EngineError,
    LogDamaged,
    ReplayDivergence,
    StoreError,
    UnsupportedFormat,
)
from v2_event_driven_engine.main import main
from v2_event_driven_engine.models.enums import CancelReason

from . import faults
from .faults import proves
from .flow import commands
from .memory_storage import MemoryStorage
from .simulated_disk import SimulatedDisk
from .test_log import crashed_copy, run_engine

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_HASH = "9cbe04e267cf741b7f11000b890a4a43cfdee995d368a48fe0ff723faa27a417"


# -- The table itself --------------------------------------------------------------------------


def test_every_row_of_the_table_has_a_proof() -> None:
    assert [row for row, tests in faults.proofs().items() if not tests] == []


def test_the_published_table_is_the_generated_one() -> None:
    if not faults.TABLE.parent.is_dir():
        pytest.skip("this folder stands alone: there is no documentation beside it")
    assert faults.TABLE.read_text() == faults.table()


# -- Writing -----------------------------------------------------------------------------------


@proves("short write")
def test_a_short_write_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    shortened = []

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        shortened.append(len(data))
        return real(descriptor, bytes(data)[: max(1, len(data) // 3)], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    run_engine(tmp_path, 60)
    monkeypatch.undo()
    assert len(shortened) > 100
    assert recover(DirectoryStorage(tmp_path)).matcher.sequence == 60


@proves("directory")
def test_the_directory_is_synced_before_a_new_name_is_relied_on() -> None:
    disk = SimulatedDisk()
    state, store = open_log(disk, segment_bytes=4096)
    sequencer = Sequencer(state, store, EventLog(), lambda: 1)
    for command in commands(60, 1):
        sequencer.process([command])
    take_snapshot(disk)
    renames = [number for number, call in enumerate(disk.calls) if call == "rename"]
    assert len(renames) > 5
    assert {disk.calls[number - 1 : number + 2][-1] for number in renames} == {"sync_directory"}
    assert {disk.calls[number - 1] for number in renames} == {"sync"}


@proves("power")
def test_a_batch_is_answered_only_behind_its_sync() -> None:
    disk = SimulatedDisk()
    state, store = open_log(disk, segment_bytes=4096)
    sequencer = Sequencer(state, store, EventLog(), lambda: 1)
    for command in commands(60, 1):
        sequencer.process([command])
        assert disk.calls[-1] == "sync"
        sequencer.idle()


def test_recovery_publishes_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        seen: list[object] = []
        engine.event_log.subscribe(seen.append)
        assert engine.state()[0] == 60
    assert seen == []


# -- Reading -----------------------------------------------------------------------------------


@proves("old generation")
def test_bytes_of_another_generation_never_validate(tmp_path: Path) -> None:
    for name in ("old", "new"):
        run_engine(tmp_path / name, 40, max_batch=4)
    crashed = crashed_copy(tmp_path / "new", tmp_path / "crashed")
    *_, last = (b for b in LogReader(DirectoryStorage(crashed)) if b.body.commands)
    old = [b for b in LogReader(DirectoryStorage(tmp_path / "old")) if b.body.commands]
    old_bytes = (tmp_path / "old" / segment_name(1)).read_bytes()
    data = bytearray((crashed / segment_name(1)).read_bytes())
    for batch in old:
        whole = old_bytes[batch.offset : batch.offset + batch.header.size]
        damaged = data[: last.offset] + whole
        (crashed / segment_name(1)).write_bytes(damaged.ljust(len(data), b"\0"))
        state = recover(DirectoryStorage(crashed))
        assert state.matcher.sequence == last.header.first_sequence - 1
        assert state.torn is not None


class Forger:
    """Writes batches with good checksums that no engine would write, behind a log in memory."""

    def __init__(self, tmp_path: Path, count: int = 20) -> None:
        run_engine(tmp_path, count)
        self.storage = MemoryStorage.copy_of(tmp_path)
        self.state = recover(self.storage)
        self.position = self.state.position

    def store(self, position: Position) -> WalEventStore:
        return WalEventStore(self.storage, position, segment_bytes=4096)

    def write(self, payload: bytes) -> None:
        """A batch whose body is ``payload``, in a new segment."""
        store = self.store(self.position)

        class Fixed:
            """Stands in for the encoder: whatever the body, these are its bytes."""

            def encode_into(self, body: Body, into: bytearray, at: int) -> None:
                into[:] = bytes(at) + payload

        original = wal_format._encoder
        wal_format._encoder = Fixed()  # type: ignore[assignment]
        try:
            store.append_outcomes(2**62, ())
        finally:
            wal_format._encoder = original

    def refused(self, problem: str, kind: type[EngineError] = LogDamaged) -> None:
        with pytest.raises(kind, match=problem):
            recover(self.storage, from_the_start=True)


COMMAND = CancelOrder(1, 1)
LATE = 2**62


@proves("order of batches", "missing segment")
def test_segments_and_batches_that_do_not_follow_each_other_are_refused(tmp_path: Path) -> None:
    forger = Forger(tmp_path / "base")
    forger.store(forger.position._replace(next_sequence=22))
    forger.refused("the segment begins at sequence 22")

    forger = Forger(tmp_path / "link")
    forger.store(forger.position._replace(link=1))
    forger.refused("the next segment does not follow")

    forger = Forger(tmp_path / "first")
    forger.storage.files.clear()
    forger.store(START._replace(link=1))
    forger.refused("the segment does not follow the one before it")

    forger = Forger(tmp_path / "sequence")
    store = forger.store(forger.position)
    store._next_sequence += 1
    store.append(LATE, [COMMAND], ())
    forger.refused("a batch begins at sequence 22")

    forger = Forger(tmp_path / "sealed")
    store = forger.store(forger.position)
    store.seal(LATE, ())
    store.append(LATE, [COMMAND], ())
    forger.refused("a batch follows the seal")

    forger = Forger(tmp_path / "events")
    store = forger.store(forger.position)
    store.append(LATE, [COMMAND], ())
    store.append(LATE, [COMMAND], ())
    forger.refused("recorded events are missing")


@proves("clock")
def test_a_log_in_which_time_goes_backwards_is_refused(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    forger.store(forger.position).append(1, [COMMAND], ())
    forger.refused("time goes backwards")


def test_a_batch_with_another_number_of_commands_than_it_says_is_refused(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    forger.write(msgspec.msgpack.encode([[COMMAND], 21, [], False]))
    forger.refused("another number of commands")


@proves("divergence")
def test_recorded_events_that_are_not_those_of_the_replay_are_shown(tmp_path: Path) -> None:
    other = OrderCanceled(21, 0, LATE, 1, 1, CancelReason.USER, 5)
    cases: list[tuple[list[list[AnyEvent]], str]] = [
        ([[other]], r"sequence 21, event 0: the log recorded OrderCanceled"),
        ([[]], r"sequence 21, event 0: the log recorded nothing"),
        ([], r"sequence 21, event 0: the log recorded 0 commands' events"),
    ]
    for number, (recorded, problem) in enumerate(cases):
        forger = Forger(tmp_path / str(number))
        store = forger.store(forger.position)
        store.append(LATE, [COMMAND], ())
        store._write(LATE, Body((), 21, recorded))
        forger.refused(problem, ReplayDivergence)


@proves("divergence")
def test_a_difference_behind_equal_events_is_found_at_its_place(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    right = recover(forger.storage).matcher.apply(21, LATE, COMMAND)
    store = forger.store(forger.position)
    store.append(LATE, [COMMAND, COMMAND], ())
    store._write(LATE, Body((), 21, [right, []]))
    forger.refused("sequence 22, event 0: the log recorded nothing", ReplayDivergence)


def test_bytes_that_only_look_like_a_later_batch_vouch_for_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 20)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    reader = LogReader(DirectoryStorage(crashed))
    list(reader)
    path = crashed / segment_name(1)
    data = bytearray(path.read_bytes())
    salt = wal_format.SEGMENT_HEADER.unpack_from(data)[4] & 0xFFFFFFFF
    magic = (wal_format.BATCH_MAGIC ^ salt).to_bytes(4, "little")
    for offset in (512 + 8, 1024):  # not where a batch may begin; where one may, but no batch
        at = reader.position.offset + offset
        data[at : at + 4] = magic
    path.write_bytes(data)
    state = recover(DirectoryStorage(crashed))
    assert (state.matcher.sequence, state.torn is not None) == (20, True)


@proves("unknown")
def test_an_unknown_event_is_refused_by_replay_and_by_the_audit(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    store = forger.store(forger.position)
    store.append(LATE, [COMMAND], ())
    store._write(LATE, Body((), 21, [[[99, 21, 0, LATE]]]))  # type: ignore[list-item]
    forger.refused("unknown event", UnsupportedFormat)
    with pytest.raises(UnsupportedFormat, match=r"unknown event"):
        AuditLogger(forger.storage).catch_up()


@proves("unknown")
@pytest.mark.parametrize(
    "payload",
    [
        msgspec.msgpack.encode([[[99, 1, 2]], 1, [], False]),  # a command with an unknown tag
        msgspec.msgpack.encode([[], 1, [], False, "more"])[:-3],  # not MessagePack
        msgspec.msgpack.encode({"another": "record"}),
        b"",
    ],
)
def test_an_unknown_record_with_a_good_checksum_is_refused(tmp_path: Path, payload: bytes) -> None:
    forger = Forger(tmp_path)
    forger.write(payload)
    forger.refused(r"byte \d+, sequence 21: .*open it with the version", UnsupportedFormat)


@proves("bit flip in the last batch")
def test_a_flipped_bit_in_the_last_batch_is_refused_if_attested_else_dropped(
    tmp_path: Path,
) -> None:
    run_engine(tmp_path / "whole", 40, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = crashed / segment_name(1)
    whole = path.read_bytes()
    *_, last = (b for b in LogReader(DirectoryStorage(crashed)) if b.body.commands)
    # Nothing stands behind it: the crash came before the writer fell idle.
    damaged = bytearray(whole[: last.offset + last.header.size].ljust(len(whole), b"\0"))
    damaged[last.offset + 60] ^= 4
    path.write_bytes(damaged)
    state = recover(DirectoryStorage(crashed))
    assert state.matcher.sequence == last.header.first_sequence - 1
    assert state.torn is not None

    path.write_bytes(whole)
    logger = AuditLogger(DirectoryStorage(tmp_path / "whole"))
    logger.catch_up()
    (crashed / AUDIT_LOG).write_bytes((tmp_path / "whole" / AUDIT_LOG).read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(LogDamaged, match=r"audit\.log knows of sequence 40"):
        EventDrivenMatchingEngine.open(crashed, audit=False)

    sealed = tmp_path / "whole" / segment_name(1)
    damaged = bytearray(sealed.read_bytes())
    damaged[last.offset + 60] ^= 4
    sealed.write_bytes(damaged)
    with pytest.raises(LogDamaged, match=r"vouches"):
        recover(DirectoryStorage(tmp_path / "whole"))


def test_a_reader_that_sees_half_of_a_write_looks_again(tmp_path: Path) -> None:
    """A live engine may write two batches while a reader reads: the later half is seen alone."""
    run_engine(tmp_path / "whole", 40, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")

    class Racing(MemoryStorage):
        """The first look at the batches finds the third of them not written yet."""

        looked = False

        def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
            data = super().read(name, offset, limit)
            if limit < 0 and not self.looked:
                self.looked = True
                batch = batches[2]
                begin, end = batch.offset - offset, batch.offset - offset + batch.header.size
                data = data[:begin] + bytes(end - begin) + data[end:]
            return data

    batches = list(LogReader(DirectoryStorage(crashed)))
    racing = Racing.copy_of(crashed)
    assert recover(racing).matcher.sequence == 40


@proves("snapshot gap")
def test_a_log_that_does_not_reach_its_snapshot_is_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 60, max_batch=4)
    storage = DirectoryStorage(tmp_path)
    take_snapshot(storage)
    name = segment_name(1)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogDamaged, match=r"ends before this place"):
        recover(storage)
    (tmp_path / name).unlink()
    with pytest.raises(LogDamaged, match=r"missing"):
        recover(storage)
    run_engine(tmp_path / "other", 60, max_batch=4)
    (tmp_path / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(LogDamaged, match=r"not the segment that the snapshot"):
        recover(storage)


@proves("snapshot damage")
def test_a_snapshot_that_is_cut_altered_or_too_new_is_passed_over(tmp_path: Path) -> None:
    run_engine(tmp_path, 30)
    storage = DirectoryStorage(tmp_path)
    _, name = take_snapshot(storage)
    whole = (tmp_path / name).read_bytes()
    newer = bytearray(whole)
    newer[8] += 1
    unknown = snapshot.HEADER.pack(snapshot.MAGIC, 1, 1, crc32c(b"\x90")) + b"\x90"
    for content in (b"", whole[:10], whole[:-1], bytes(newer), whole[:-1] + b"\xff", unknown):
        (tmp_path / name).write_bytes(content)
        state = recover(storage)
        assert (state.matcher.sequence, state.commands_replayed) == (30, 30)
        assert len(state.warnings) == 1
        assert name in state.warnings[0]
    (tmp_path / name).write_bytes(whole)
    assert recover(storage).commands_replayed == 0
    assert recover(storage, until=20).commands_replayed == 20


def test_a_snapshot_whose_state_is_not_its_hash_is_passed_over(tmp_path: Path) -> None:
    run_engine(tmp_path, 30)
    storage = DirectoryStorage(tmp_path)
    state, _ = take_snapshot(storage)
    taken = snapshot.take(state.matcher, state.position, state.unrecorded)
    name = snapshot.write(storage, msgspec.structs.replace(taken, state_hash="0" * 64))
    assert ["the state hash differs" in warning for warning in recover(storage).warnings] == [True]
    with pytest.raises(StoreError, match=name):
        snapshot.restore(snapshot.read(storage, name))


# -- The directory -----------------------------------------------------------------------------


@proves("permission")
def test_a_forbidden_directory_is_refused_and_nothing_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 10)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    for call in ("listdir", "open"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, forbidden)
            with pytest.raises(DirectoryUnusable, match=r"Permission denied"):
                EventDrivenMatchingEngine.open(tmp_path, audit=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    EventDrivenMatchingEngine.open(tmp_path, audit=False).close()


def test_a_file_where_the_directory_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(DirectoryUnusable, match=r"data: "):
        EventDrivenMatchingEngine.open(tmp_path / "data", audit=False)


def test_a_link_to_a_directory_is_that_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    run_engine(tmp_path / "link", 10)
    assert recover(DirectoryStorage(tmp_path / "real")).matcher.sequence == 10
    engine = EventDrivenMatchingEngine.open(tmp_path / "real", audit=False)
    with pytest.raises(EngineError, match=r"another engine"):
        EventDrivenMatchingEngine.open(tmp_path / "link", audit=False)
    engine.close()


@proves("readers")
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["verify"],
        ["replay"],
        ["replay", "--until", "7"],
        ["audit"],
        ["audit", "--verify"],
    ],
    ids=" ".join,
)
def test_looking_at_a_directory_opens_nothing_for_writing(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 30)
    AuditLogger(DirectoryStorage(tmp_path)).catch_up()
    real = os.open
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def read_only(path: str, flags: int, *rest: object, **options: object) -> int:
        assert not (str(path).startswith(str(tmp_path)) and flags & writing), path
        return real(path, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", read_only)
    assert main([*arguments, "--data-dir", str(tmp_path), "--json"]) == 0


# -- Versions ----------------------------------------------------------------------------------


def test_the_golden_log_of_this_format_stays_readable(tmp_path: Path) -> None:
    """Made once by the version that introduced format 1; see ``golden/README.md``."""
    storage = DirectoryStorage(GOLDEN)
    state = recover(storage, from_the_start=True)
    assert (state.matcher.sequence, state.matcher.state_hash()) == (300, GOLDEN_HASH)
    assert recover(storage).snapshot_sequence == 200
    assert segment_numbers(storage) == [1, 2]


# -- The tests are tested: bugs in the store that must be caught --------------------------------


def caught_by_power_failures(monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the power-failure test in small; what it complains of, or nothing."""
    from . import test_power_failure  # noqa: PLC0415

    monkeypatch.setattr(test_power_failure, "IMAGES", 4000)
    try:
        test_power_failure.test_whatever_the_disk_loses_nothing_answered_is_lost()
        test_power_failure.test_the_nth_call_fails_for_every_n_and_nothing_answered_is_lost(
            5, False
        )
    except (AssertionError, EngineError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_without_a_planted_bug_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert caught_by_power_failures(monkeypatch) == ""


def test_an_answer_before_the_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(
        self: wal_event_store.WalEventStore, ns: int, cmds: list[object], out: list[object]
    ) -> None:
        self._write(ns, Body(cmds, self._next_sequence - len(out), out))  # type: ignore[arg-type]
        self._next_sequence += len(cmds)
        self.durable_sequence = self._next_sequence - 1

    monkeypatch.setattr(wal_event_store.WalEventStore, "append", append)
    assert caught_by_power_failures(monkeypatch)


def test_a_retried_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(
        self: wal_event_store.WalEventStore, ns: int, cmds: list[object], out: list[object]
    ) -> None:
        self._write(ns, Body(cmds, self._next_sequence - len(out), out))  # type: ignore[arg-type]
        try:
            self._file.sync()
        except OSError:
            self._file.sync()
        self._next_sequence += len(cmds)
        self.durable_sequence = self._next_sequence - 1

    monkeypatch.setattr(wal_event_store.WalEventStore, "append", append)
    assert caught_by_power_failures(monkeypatch)


def test_a_forgotten_directory_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDisk, "sync_directory", lambda self: None)
    assert caught_by_power_failures(monkeypatch)


def test_a_durable_sequence_that_claims_too_much_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = wal_format.encode_batch

    def claims_too_much(
        buffer: bytearray, salt: int, first: int, durable: int, *rest: object
    ) -> int:
        return real(buffer, salt, first, durable + 1, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(wal_event_store, "encode_batch", claims_too_much)
    assert "vouches for itself" in caught_by_power_failures(monkeypatch)


def test_a_silent_truncation_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import test_log  # noqa: PLC0415

    monkeypatch.setattr(LogReader, "_end_of_log", lambda self, rest, header: None)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_log.test_a_hole_that_a_later_batch_vouches_for_is_damage(tmp_path)


def test_trusting_the_page_cache_after_a_failed_sync_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_rewrite_last_segment", lambda storage, state: None)
    assert caught_by_power_failures(monkeypatch)


def test_an_error_names_file_offset_and_sequence(tmp_path: Path) -> None:
    run_engine(tmp_path, 30, max_batch=4)
    data = bytearray((tmp_path / segment_name(1)).read_bytes())
    data[600] ^= 1
    (tmp_path / segment_name(1)).write_bytes(data)
    with pytest.raises(LogDamaged) as caught:
        recover(DirectoryStorage(tmp_path))
    assert re.match(r"events\.wal\.000001: byte 512, sequence 1: .*restore", str(caught.value))
