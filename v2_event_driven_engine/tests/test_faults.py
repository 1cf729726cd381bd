"""Faults that need no process of their own; the other modules prove the other rows."""

import os
import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c

from v2_event_driven_engine import (
    Batch,
    CancelOrder,
    CancelReason,
    DirectoryUnusable,
    EngineError,
    EventDrivenMatchingEngine,
    LogDamaged,
    OrderCanceled,
    ReplayDivergence,
    StoreError,
    UnsupportedFormat,
)
from v2_event_driven_engine.engine import wal_event_store
from v2_event_driven_engine.engine.audit.trail import AUDIT_LOG
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log import format as wal_format
from v2_event_driven_engine.engine.log import snapshot
from v2_event_driven_engine.engine.log.format import Body
from v2_event_driven_engine.engine.log.reader import WINDOW_BYTES, LogReader, segment_name
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.main import main

from . import faults
from .faults import proves
from .flow import commands
from .logs import (
    batch_of,
    end_of,
    log_in,
    logger_on,
    open_log,
    process,
    recover,
    replay,
    sequencer_on,
    take_snapshot,
)
from .memory_storage import MemoryStorage
from .simulated_disk import SimulatedDisk, SimulatedFile
from .subcommands import READERS
from .test_log import crashed_copy, run_engine

# -- The table itself --------------------------------------------------------------------------


def test_every_row_of_the_table_has_a_proof() -> None:
    if faults.STANDS_ALONE:
        pytest.skip("this folder stands alone: the tests of the program are not beside it")
    assert [row for row, tests in faults.proofs().items() if not tests] == []


def test_the_published_table_is_the_generated_one() -> None:
    if faults.STANDS_ALONE:
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
    assert recover(tmp_path).matcher.sequence == 60


@proves("directory")
def test_the_directory_is_synced_before_a_new_name_is_relied_on() -> None:
    disk = SimulatedDisk()
    sequencer = sequencer_on(*open_log(disk, segment_bytes=4096))
    for command in commands(60, 1):
        process(sequencer, command)
    take_snapshot(disk)
    renames = [number for number, call in enumerate(disk.calls) if call == "rename"]
    assert len(renames) > 5
    assert {disk.calls[number - 1 : number + 2][-1] for number in renames} == {"sync_directory"}
    assert {disk.calls[number - 1] for number in renames} == {"sync"}


@proves("power")
def test_a_batch_is_answered_only_after_its_sync() -> None:
    disk = SimulatedDisk()
    sequencer = sequencer_on(*open_log(disk, segment_bytes=4096))
    for command in commands(60, 1):
        process(sequencer, command)
        assert disk.calls[-1] == "sync"
        sequencer.idle()


def test_recovery_publishes_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        seen: list[object] = []
        engine.subscribers.subscribe(seen.append)
        assert engine.state().sequence == 60
    assert seen == []


# -- Reading -----------------------------------------------------------------------------------


@proves("old generation")
def test_bytes_of_another_generation_never_validate(tmp_path: Path) -> None:
    for name in ("old", "new"):
        run_engine(tmp_path / name, 40, max_batch=4)
    crashed = crashed_copy(tmp_path / "new", tmp_path / "crashed")
    *_, last = (b for b in LogReader(DirectoryStorage(crashed)) if b.commands)
    old = [b for b in LogReader(DirectoryStorage(tmp_path / "old")) if b.commands]
    old_bytes = (tmp_path / "old" / segment_name(1)).read_bytes()
    data = bytearray((crashed / segment_name(1)).read_bytes())
    for batch in old:
        whole = old_bytes[batch.offset : end_of(batch)]
        damaged = data[: last.offset] + whole
        (crashed / segment_name(1)).write_bytes(damaged.ljust(len(data), b"\0"))
        state = recover(crashed)
        assert state.matcher.sequence == last.first_sequence - 1
        assert state.torn is not None


class Forger:
    """Writes batches with good checksums that no engine would write, after a log in memory."""

    def __init__(self, tmp_path: Path, count: int = 20) -> None:
        run_engine(tmp_path, count)
        self.storage = MemoryStorage.copy_of(tmp_path)
        reader = LogReader(self.storage)
        list(reader)
        self.position = reader.position

    def store(self, **changed: int) -> WalEventStore:
        """The log, in a new segment that follows the position, or a changed one."""
        position = self.position._replace(**changed)  # type: ignore[arg-type]
        log = WalEventStore(self.storage, segment_bytes=4096)
        log._number = position.segment
        log._next_sequence = position.next_sequence
        log.durable_sequence = position.next_sequence - 1
        header = LogReader(self.storage).segment_header(position.segment)
        file = self.storage.open(segment_name(position.segment))
        log._open_segment(wal_event_store.Finished(file, header, position.offset, position.link))
        return log

    def write(self, payload: bytes) -> None:
        """A batch whose body is `payload`, in a new segment."""
        store = self.store()

        class Fixed:
            """Takes the encoder's place: whatever the body, these are its bytes."""

            def encode_into(self, body: Body, into: bytearray, at: int) -> None:
                into[:] = bytes(at) + payload

        original = wal_format._encoder
        wal_format._encoder = Fixed()  # type: ignore[assignment]
        try:
            store.append(batch_of(self.position.next_sequence, timestamp_ns=LATE))
        finally:
            wal_format._encoder = original

    def refused(self, problem: str, kind: type[EngineError] = LogDamaged) -> None:
        with pytest.raises(kind, match=problem):
            replay(self.storage)


COMMAND = CancelOrder(1, 1)
LATE = 2**62


def late(first: int, *commands: CancelOrder, outcomes: list[list[AnyEvent]] | None = None) -> Batch:
    return batch_of(first, *commands, timestamp_ns=LATE, outcomes=outcomes or [])


@proves("order of batches", "missing segment")
def test_segments_and_batches_that_do_not_follow_each_other_are_refused(tmp_path: Path) -> None:
    forger = Forger(tmp_path / "base")
    forger.store(next_sequence=22)
    forger.refused("the segment begins at sequence 22")

    forger = Forger(tmp_path / "link")
    forger.store(link=1)
    forger.refused("the next segment does not follow")

    forger = Forger(tmp_path / "first")
    forger.storage.files.clear()
    header = wal_format.encode_segment_header(1, 7, 1, 1, 4096, 0)
    forger.storage.files[segment_name(1)] = bytearray(header.ljust(4096, b"\0"))
    forger.refused("the segment does not follow the one before it")

    forger = Forger(tmp_path / "sequence")
    store = forger.store()
    store._next_sequence += 1
    store.append(late(22, COMMAND))
    forger.refused("a batch begins at sequence 22")

    forger = Forger(tmp_path / "sealed")
    store = forger.store()
    store.append(batch_of(21, timestamp_ns=LATE, closed=True))
    store.append(late(21, COMMAND))
    forger.refused("a batch follows the seal")

    forger = Forger(tmp_path / "events")
    store = forger.store()
    store.append(late(21, COMMAND))
    store.append(late(22, COMMAND))
    forger.refused("recorded events are missing")


@proves("clock")
def test_a_log_in_which_time_goes_backwards_is_refused(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    forger.store().append(batch_of(21, COMMAND, timestamp_ns=1))
    forger.refused("time goes backwards")


def test_a_batch_with_another_number_of_commands_than_it_says_is_refused(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    forger.write(msgspec.msgpack.encode([[COMMAND], 21, [], False, 0, b""]))
    forger.refused("another number of commands")


@proves("divergence")
def test_recorded_events_that_are_not_those_of_the_replay_are_shown(tmp_path: Path) -> None:
    other = OrderCanceled(21, 0, LATE, 1, 1, CancelReason.USER, 5)
    right = recover(Forger(tmp_path).storage).matcher.apply(21, LATE, [COMMAND])[0]
    [rejected] = right
    cases: list[tuple[list[list[AnyEvent]], str]] = [
        ([[other]], r"sequence 21, event 0: the log recorded OrderCanceled"),
        ([[]], r"sequence 21, event 0: the log recorded no event, replay gives CancelRejected"),
        ([[rejected, other]], r"sequence 21, event 1: .*OrderCanceled.*replay gives no event"),
        (
            [[msgspec.structs.replace(rejected, participant=7)]],
            r"event 0, field CancelRejected.participant: the log recorded 7, replay gives 1\.",
        ),
    ]
    for number, (recorded, problem) in enumerate(cases):
        forger = Forger(tmp_path / str(number))
        store = forger.store()
        store.append(late(21, COMMAND))
        store.append(late(22, outcomes=recorded))
        forger.refused(problem, ReplayDivergence)


@proves("divergence")
def test_a_difference_after_equal_events_is_found_at_its_place(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    right = recover(forger.storage).matcher.apply(21, LATE, [COMMAND])[0]
    store = forger.store()
    store.append(late(21, COMMAND, COMMAND))
    store.append(late(23, outcomes=[right, []]))
    forger.refused("sequence 22, event 0: the log recorded no event", ReplayDivergence)


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
    state = recover(crashed)
    assert (state.matcher.sequence, state.torn is not None) == (20, True)


@proves("unknown")
def test_an_unknown_event_is_refused_by_replay_and_by_the_audit(tmp_path: Path) -> None:
    forger = Forger(tmp_path)
    store = forger.store()
    store.append(late(21, COMMAND))
    store.append(late(22, outcomes=[[[99, 21, 0, LATE]]]))  # type: ignore[list-item]
    forger.refused("unknown event", UnsupportedFormat)
    with pytest.raises(UnsupportedFormat, match=r"unknown event"):
        logger_on(forger.storage).catch_up()


@proves("unknown")
@pytest.mark.parametrize(
    "payload",
    [
        msgspec.msgpack.encode(
            [[[99, 1, 2]], 1, [], False, 0, b""]
        ),  # a command with an unknown tag
        msgspec.msgpack.encode([[], 1, [], False, 0, b"", "more"])[:-3],  # not MessagePack
        msgspec.msgpack.encode({"another": "record"}),
        b"",
    ],
)
def test_an_unknown_record_with_a_good_checksum_is_refused(tmp_path: Path, payload: bytes) -> None:
    forger = Forger(tmp_path)
    forger.write(payload)
    forger.refused(r"byte \d+, sequence 21: .*open it with the version", UnsupportedFormat)


MISLEADING = (
    b"\xdd\xff\xff\xff\xff",  # four thousand million items
    b"\xc6\xff\xff\xff\xff",  # as many bytes
    b"\xdf\xff\xff\xff\xff" + bytes(100),
    b"\x96\xdd\xff\xff\xff\xff" + bytes(100),
    b"\x91" * 200_000,  # an array in an array in an array …
    b"\x96\x90\x01" + b"\x91" * 200_000,  # there, where any value may be
    b"\x96\x91\x94\x01\xa4\xff\xfe\xfd\xfc\xa11\xa11\x01\x90\xc2\x00\xc4\x00",  # no UTF-8
    bytes(100_000),
)
"""Bodies that say more than they have, or more than anybody should believe."""


@proves("hostile bytes")
@pytest.mark.parametrize("payload", MISLEADING, ids=range(len(MISLEADING)))
def test_bytes_that_lie_about_themselves_are_refused_without_time_or_memory(
    tmp_path: Path, payload: bytes
) -> None:
    forger = Forger(tmp_path / "log")
    _, name = take_snapshot(forger.storage)
    whole = forger.storage.files[name]
    header = snapshot.HEADER.pack(snapshot.MAGIC, 2, 1, crc32c(payload))
    forger.storage.files[name] = bytearray(header + payload)
    tracemalloc.start()
    try:
        state = recover(forger.storage)
        assert (state.snapshot_sequence, len(state.warnings)) == (0, 1)
        forger.storage.files[name] = whole
        forger.write(payload)
        forger.refused(r"byte \d+, sequence 21: .*open it with the version", UnsupportedFormat)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


@proves("hostile bytes")
def test_headers_that_lie_about_sizes_are_damage(tmp_path: Path) -> None:
    """With good checksums: a length beyond the file, a segment larger than any file."""
    forger = Forger(tmp_path)
    position = forger.position
    generation = LogReader(forger.storage).segment_header(1).generation
    segment = wal_format.encode_segment_header(
        2, generation, 21, position.end, 2**64 - 1, position.offset
    )
    forger.storage.files[segment_name(2)] = bytearray(segment.ljust(4096, b"\0"))
    forger.refused(r"the file was cut to 4096 of 18446744073709551615 bytes")

    forger = Forger(tmp_path / "batch")
    forger.store().append(late(21, COMMAND))
    content = forger.storage.files[segment_name(2)]
    salt = LogReader(forger.storage).segment_header(2).salt
    for length in (4096, 2**31, 2**32 - 1):
        content[516:520] = length.to_bytes(4, "little")
        content[552:556] = crc32c(bytes(content[512:552]), salt).to_bytes(4, "little")
        state = replay(forger.storage)
        assert state.matcher.sequence == 20
        assert state.torn is not None


@proves("bit flip in the last batch")
def test_a_flipped_bit_in_the_last_batch_is_refused_if_attested_else_dropped(
    tmp_path: Path,
) -> None:
    run_engine(tmp_path / "whole", 40, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = crashed / segment_name(1)
    whole = path.read_bytes()
    *_, last = (b for b in LogReader(DirectoryStorage(crashed)) if b.commands)
    # Nothing comes after it: the crash came before the writer fell idle.
    damaged = bytearray(whole[: end_of(last)].ljust(len(whole), b"\0"))
    damaged[last.offset + 60] ^= 4
    path.write_bytes(damaged)
    state = recover(crashed)
    assert state.matcher.sequence == last.first_sequence - 1
    assert state.torn is not None

    path.write_bytes(whole)
    logger = logger_on(DirectoryStorage(tmp_path / "whole"))
    logger.catch_up()
    (crashed / AUDIT_LOG).write_bytes((tmp_path / "whole" / AUDIT_LOG).read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(LogDamaged, match=r"sequence 40 is known to have been durable"):
        EventDrivenMatchingEngine.open(crashed, audit=False)

    sealed = tmp_path / "whole" / segment_name(1)
    damaged = bytearray(sealed.read_bytes())
    damaged[last.offset + 60] ^= 4
    sealed.write_bytes(damaged)
    with pytest.raises(LogDamaged, match=r"vouches"):
        recover(tmp_path / "whole")


@proves("readers")
def test_a_reader_that_sees_half_of_a_write_looks_again(tmp_path: Path) -> None:
    """A live engine may write two batches while a reader reads: the later half is seen alone."""
    run_engine(tmp_path / "whole", 40, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")

    class Racing(MemoryStorage):
        """The first look at the batches finds the third of them not written yet."""

        looked = False

        def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
            data = super().read(name, offset, limit)
            if limit == WINDOW_BYTES and not self.looked:
                self.looked = True
                batch = batches[2]
                begin, end = batch.offset - offset, end_of(batch) - offset
                data = data[:begin] + bytes(end - begin) + data[end:]
            return data

    batches = list(LogReader(DirectoryStorage(crashed)))
    racing = Racing.copy_of(crashed)
    assert recover(racing).matcher.sequence == 40


class Recording(SimulatedDisk):
    """Keeps what its files are after each call that changes them."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[dict[str, bytes]] = []

    def after_call(self) -> None:
        self.moments.append({name: bytes(i.content) for name, i in self.names_now.items()})


class Unfolding(MemoryStorage):
    """The files while an engine writes: after some looks of its reader they are those of later."""

    def __init__(self, moments: list[dict[str, bytes]], moment: int, looks: int) -> None:
        """Begin with the moment of this number, and go on by one after every `looks` looks."""
        super().__init__()
        self._moments = moments
        self._looks = looks
        self._looked = moment * looks

    @property
    def moment(self) -> int:
        return min(self._looked // self._looks, len(self._moments) - 1)

    def _look(self) -> None:
        self.files = self._moments[self.moment]  # type: ignore[assignment]  # nobody writes here
        self._looked += 1

    def names(self) -> list[str]:
        self._look()
        return super().names()

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        self._look()
        return super().read(name, offset, limit)

    def size(self, name: str) -> int:
        self._look()
        return super().size(name)


@proves("readers")
@pytest.mark.parametrize("looks", [1, 3, 8])
def test_a_reader_beside_an_engine_misses_nothing_whenever_it_looks(looks: int) -> None:
    """A segment that is there but empty, a mark that is there a moment later, a file that shrinks.

    The reader follows, as the audit process does; and at every end of the log that it finds it
    reads all again, as `verify` does.
    """
    disk = Recording()
    sequencer = sequencer_on(*open_log(disk, segment_bytes=4096))
    for number, command in enumerate(commands(40, 1)):
        process(sequencer, command)
        if number % 7 == 0:
            sequencer.idle()
    sequencer.close()
    begun = next(n for n, moment in enumerate(disk.moments) if segment_name(1) in moment)
    expected = [events for batch in log_in(disk).read() for events in batch.outcomes]
    assert len(expected) == 40
    for begin in range(begun, len(disk.moments), 5):
        storage = Unfolding(disk.moments, begin, looks)
        log = log_in(storage)
        place = START
        found: list[Sequence[AnyEvent]] = []
        while storage.moment < len(disk.moments) - 1:
            if log.may_have_grown(place):
                for batch in log.read(place):
                    assert batch.outcomes_first == len(found) + 1
                    found += list(batch.outcomes)
                    place = batch.place
                seen = replay(Unfolding(disk.moments, storage.moment, looks)).matcher.sequence
                assert seen >= len(found)
        found += [events for batch in log.read(place) for events in batch.outcomes]
        assert found == expected


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
    unknown = snapshot.HEADER.pack(snapshot.MAGIC, 2, 1, crc32c(b"\x90")) + b"\x90"
    for content in (b"", whole[:10], whole[:-1], bytes(newer), whole[:-1] + b"\xff", unknown):
        (tmp_path / name).write_bytes(content)
        state = recover(storage)
        assert (state.matcher.sequence, state.commands_replayed) == (30, 30)
        assert len(state.warnings) == 1
        assert name in state.warnings[0]
    (tmp_path / name).write_bytes(whole)
    assert recover(storage).commands_replayed == 0
    assert recover(storage, until=20).commands_replayed == 20


@proves("snapshot damage")
def test_a_snapshot_whose_state_is_not_its_hash_is_passed_over(tmp_path: Path) -> None:
    run_engine(tmp_path, 30)
    storage = DirectoryStorage(tmp_path)
    take_snapshot(storage)
    snapshots = Snapshots(storage)
    taken = snapshots.read(snapshots.names()[0])
    name = snapshots.write(msgspec.structs.replace(taken, state_hash="0" * 64))
    assert ["the state hash differs" in warning for warning in recover(storage).warnings] == [True]
    with pytest.raises(StoreError, match=name):
        snapshot.restore(snapshots.read(name))


# -- The directory -----------------------------------------------------------------------------


@proves("permission")
def test_a_forbidden_directory_is_refused_and_nothing_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 10)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    for call in ("scandir", "open"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, forbidden)
            with pytest.raises(DirectoryUnusable, match=r"Permission denied"):
                EventDrivenMatchingEngine.open(tmp_path, audit=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    EventDrivenMatchingEngine.open(tmp_path, audit=False).close()


@proves("other kind of file")
def test_a_file_where_the_directory_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(DirectoryUnusable, match=r"data: "):
        EventDrivenMatchingEngine.open(tmp_path / "data", audit=False)


@proves("two engines")
def test_a_link_to_a_directory_is_that_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    run_engine(tmp_path / "link", 10)
    assert recover(tmp_path / "real").matcher.sequence == 10
    engine = EventDrivenMatchingEngine.open(tmp_path / "real", audit=False)
    with pytest.raises(EngineError, match=r"another engine"):
        EventDrivenMatchingEngine.open(tmp_path / "link", audit=False)
    engine.close()


@proves("readers")
@pytest.mark.parametrize(
    "arguments",
    [*READERS, ("replay", "--until", "7")],
    ids=" ".join,
)
def test_looking_at_a_directory_opens_nothing_for_writing(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 30)
    logger_on(DirectoryStorage(tmp_path)).catch_up()
    real = os.open
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def read_only(path: str, flags: int, *rest: object, **options: object) -> int:
        assert not (str(path).startswith(str(tmp_path)) and flags & writing), path
        return real(path, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", read_only)
    assert main([*arguments, "--data-dir", str(tmp_path), "--json"]) == 0


# -- The tests are tested: bugs in the store that must be caught --------------------------------


def caught_by_power_failures(monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the power-failure test in small; what it complains of, or nothing."""
    from . import test_power_failure  # noqa: PLC0415

    monkeypatch.setattr(test_power_failure, "IMAGES", 8000)
    try:
        test_power_failure.test_whatever_the_disk_loses_nothing_answered_is_lost(0)
        test_power_failure.test_the_nth_call_fails_for_every_n_and_nothing_answered_is_lost(False)
    except (AssertionError, EngineError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.once
def test_without_a_planted_bug_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert caught_by_power_failures(monkeypatch) == ""


@pytest.mark.once
def test_an_answer_before_the_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedFile, "sync", lambda self: None)
    assert caught_by_power_failures(monkeypatch)


@pytest.mark.once
def test_a_retried_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    sync = SimulatedFile.sync

    def retried(self: SimulatedFile) -> None:
        try:
            sync(self)
        except OSError:
            sync(self)

    monkeypatch.setattr(SimulatedFile, "sync", retried)
    assert caught_by_power_failures(monkeypatch)


@pytest.mark.once
def test_a_forgotten_directory_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDisk, "sync_directory", lambda self: None)
    assert caught_by_power_failures(monkeypatch)


@pytest.mark.once
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

    monkeypatch.setattr(LogReader, "_end_of_log", lambda self, header: None)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_log.test_a_hole_that_a_later_batch_vouches_for_is_damage(tmp_path)


@pytest.mark.once
def test_trusting_the_page_cache_after_a_failed_sync_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WalEventStore, "_rewrite_last_segment", lambda self, position, size: None)
    assert caught_by_power_failures(monkeypatch)


def test_an_error_names_file_offset_and_sequence(tmp_path: Path) -> None:
    run_engine(tmp_path, 30, max_batch=4)
    data = bytearray((tmp_path / segment_name(1)).read_bytes())
    data[600] ^= 1
    (tmp_path / segment_name(1)).write_bytes(data)
    with pytest.raises(LogDamaged) as caught:
        recover(tmp_path)
    assert re.match(r"events\.wal\.000001: byte 512, sequence 1: .*restore", str(caught.value))
