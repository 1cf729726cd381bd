"""The log: what is written is read back, damage is found, restarts keep one history."""

import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import pytest
from crc32c import crc32c
from msgspec.structs import replace

from v2_event_driven_engine import (
    Batch,
    CancelOrder,
    Command,
    DirectoryUnusable,
    EngineError,
    EventDrivenMatchingEngine,
    LogDamaged,
    MatcherBug,
    Place,
    ReplayDivergence,
    UnsupportedFormat,
)
from v2_event_driven_engine.engine import wal_event_store
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log import format as wal_format
from v2_event_driven_engine.engine.log.format import (
    BATCH_HEADER,
    DECODERS,
    FORMAT_VERSION,
    RULEBOOK_VERSION,
    SECTOR,
    SEGMENT_CRC_AT,
    SEGMENT_HEADER,
    decode_segment_header,
)
from v2_event_driven_engine.engine.log.reader import (
    LogReader,
    position_of,
    segment_name,
    segment_numbers,
)
from v2_event_driven_engine.engine.log.snapshot import Snapshots, name_of
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.engine.market.market_state import MarketState
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.errors import InvariantBroken
from v2_event_driven_engine.main import main

from .faults import proves
from .flow import commands, state_hashes
from .logs import (
    end_of,
    log_in,
    open_log,
    process,
    recover,
    replay,
    sequencer_on,
    take_snapshot,
)
from .memory_storage import MemoryStorage

SMALL_SEGMENT = 64 * 1024


def run_engine(
    data_dir: Path, count: int, seed: int = 1, max_batch: int = 16
) -> list[list[AnyEvent]]:
    """Submit a flow to an engine on ``data_dir`` and close it; the events of each command."""
    with EventDrivenMatchingEngine.open(
        data_dir, audit=False, segment_bytes=SMALL_SEGMENT, max_batch=max_batch
    ) as engine:
        receipts = [engine.submit(command) for command in commands(count, seed)]
        return [receipt.result(30.0) for receipt in receipts]


def crashed_copy(data_dir: Path, copy: Path) -> Path:
    """The directory as a crash just before the clean shutdown would have left it."""
    copy.mkdir()
    for path in data_dir.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    storage = DirectoryStorage(copy)
    last = segment_name(segment_numbers(storage)[-1])
    *_, seal = LogReader(storage)
    assert seal.closed
    data = (copy / last).read_bytes()[: seal.offset]
    size = SEGMENT_HEADER.unpack_from(data)[7]
    (copy / last).write_bytes(data.ljust(size, b"\0"))
    return copy


def test_recovery_gives_the_same_state_and_the_same_events(tmp_path: Path) -> None:
    answered = run_engine(tmp_path, 500)
    live = Matcher()
    for sequence, command in enumerate(commands(500, 1), 1):
        live.apply(sequence, 0, [command])
    state = recover(tmp_path)
    assert state.matcher.state_hash() == live.state_hash()
    assert state.closed
    recorded: list[list[AnyEvent]] = []
    logged: list[Command] = []
    for batch in LogReader(DirectoryStorage(tmp_path)):
        logged += batch.commands
        recorded += [list(events) for events in batch.outcomes]
    assert logged == list(commands(500, 1))
    assert recorded == answered


def test_segments_rotate_and_make_one_history(tmp_path: Path) -> None:
    run_engine(tmp_path, 3000)
    numbers = segment_numbers(DirectoryStorage(tmp_path))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 3
    assert recover(tmp_path).matcher.sequence == 3000


def test_a_batch_larger_than_a_segment_gets_a_segment_of_its_size(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(
        tmp_path, audit=False, segment_bytes=256, max_batch=1024
    ) as engine:
        receipts = [engine.submit(command) for command in commands(600, 1)]
        for receipt in receipts:
            receipt.result(30.0)
    assert recover(tmp_path).matcher.sequence == 600


def test_restarts_continue_the_sequence_in_a_new_segment_each(tmp_path: Path) -> None:
    flow = list(commands(90, 3))
    for part in (flow[:30], flow[30:60], flow[60:]):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in part:
                engine.submit(command).result(30.0)
    once = Matcher()
    for sequence, command in enumerate(flow, 1):
        once.apply(sequence, 0, [command])
    state = recover(tmp_path)
    assert state.matcher.state_hash() == once.state_hash()
    assert segment_numbers(DirectoryStorage(tmp_path)) == [1, 2, 3]


@pytest.mark.once
@proves("cut")
def test_every_truncation_of_a_sealed_log_is_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 60, max_batch=4)
    storage = MemoryStorage.copy_of(tmp_path)
    name = segment_name(1)
    assert storage.names() == [name]
    while storage.files[name]:
        del storage.files[name][-1]
        with pytest.raises(LogDamaged):
            recover(storage)


@pytest.mark.once
@proves("bit flip")
def test_every_flipped_bit_before_the_seal_is_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 12, max_batch=3)
    storage = MemoryStorage.copy_of(tmp_path)
    *_, seal = LogReader(storage)
    content = storage.files[segment_name(1)]
    for position in range(seal.offset):
        for bit in range(8):
            content[position] ^= 1 << bit
            with pytest.raises(EngineError):
                recover(storage)
            content[position] ^= 1 << bit


@pytest.mark.once
@proves("torn write")
def test_a_torn_last_batch_is_dropped_reported_and_kept_aside(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 60, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = crashed / segment_name(1)
    whole = path.read_bytes()
    last = [batch for batch in LogReader(DirectoryStorage(crashed)) if batch.commands][-1]
    end = end_of(last)
    for torn_at in range(last.offset + 1, end):
        path.write_bytes(whole[:torn_at].ljust(len(whole), b"\0"))
        state = recover(crashed)
        if path.read_bytes()[:end] == whole[:end]:
            continue  # only zeros were torn off: nothing is missing
        assert state.matcher.sequence == last.first_sequence - 1
        assert state.torn is not None
        assert (state.torn.file, state.torn.offset) == (segment_name(1), last.offset)
    torn_at = (last.offset + BATCH_HEADER.size + len(whole[:end].rstrip(b"\0"))) // 2
    path.write_bytes(whole[:torn_at].ljust(len(whole), b"\0"))
    with EventDrivenMatchingEngine.open(
        crashed, audit=False, segment_bytes=SMALL_SEGMENT
    ) as engine:
        assert engine.recovered.torn is not None
        sequence = engine.state()[0]
    again = recover(crashed)
    assert again.torn is None
    aside = (crashed / f"{segment_name(1)}.torn").read_bytes()
    assert aside == whole[last.offset : torn_at].rstrip(b"\0")
    assert again.matcher.sequence == sequence == last.first_sequence - 1


@proves("power")
def test_a_hole_that_a_later_batch_vouches_for_is_damage(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 60, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = crashed / segment_name(1)
    whole = path.read_bytes()
    batches = [batch for batch in LogReader(DirectoryStorage(crashed)) if batch.commands]
    for batch in batches[:-1]:
        damaged = bytearray(whole)
        damaged[batch.offset : end_of(batch)] = bytes(end_of(batch) - batch.offset)
        path.write_bytes(damaged)
        with pytest.raises(LogDamaged, match=r"vouches") as caught:
            recover(crashed)
        assert caught.value.offset == batch.offset
        assert caught.value.sequence == batch.first_sequence


@proves("zeros")
def test_zeros_after_the_last_batch_are_a_clean_end(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 60)
    state = recover(DirectoryStorage(crashed_copy(tmp_path / "whole", tmp_path / "crashed")))
    assert state.torn is None
    assert not state.closed
    assert state.matcher.sequence == 60


@proves("missing segment")
def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 2000)
    numbers = segment_numbers(DirectoryStorage(tmp_path))
    for missing in numbers[:-1]:
        hidden = tmp_path / "hidden"
        (tmp_path / segment_name(missing)).rename(hidden)
        with pytest.raises(LogDamaged, match=r"missing|follow"):
            recover(tmp_path)
        hidden.rename(tmp_path / segment_name(missing))


def many_segments(data_dir: Path, count: int = 400) -> MemoryStorage:
    """A log of some segments, sealed, in memory."""
    with EventDrivenMatchingEngine.open(
        data_dir, audit=False, segment_bytes=4096, max_batch=8
    ) as engine:
        for command in commands(count, 1):
            engine.submit(command)
    return MemoryStorage.copy_of(data_dir)


@proves("last segments")
def test_a_log_whose_last_segments_are_missing_is_refused(tmp_path: Path) -> None:
    storage = many_segments(tmp_path)
    numbers = segment_numbers(storage)
    assert len(numbers) > 5
    for count in range(1, len(numbers)):
        del storage.files[segment_name(numbers[-count])]
        first_missing = numbers[-count]
        with pytest.raises(LogDamaged, match=r"goes on there") as caught:
            recover(storage)
        assert caught.value.file == segment_name(first_missing)


@proves("last segments")
def test_the_last_segment_of_every_life_is_marked_before_the_next_life_writes(
    tmp_path: Path,
) -> None:
    for part in range(3):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in list(commands(30, 3))[part * 10 : part * 10 + 10]:
                engine.submit(command).result(30.0)
    storage = MemoryStorage.copy_of(tmp_path)
    del storage.files[segment_name(3)]
    with pytest.raises(LogDamaged, match=r"events.wal.000002 says that the log goes on there"):
        recover(storage)


@proves("foreign segment")
def test_a_segment_of_a_copied_directory_is_refused(tmp_path: Path) -> None:
    flow = list(commands(60, 3))
    with EventDrivenMatchingEngine.open(tmp_path / "one", audit=False) as engine:
        for command in flow[:20]:
            engine.submit(command)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):  # the same commands, so that nothing but the log can tell
        with EventDrivenMatchingEngine.open(
            tmp_path / name, audit=False, clock=lambda: 2**62
        ) as engine:
            for command in flow[20:]:
                engine.submit(command)
    foreign = (tmp_path / "two" / segment_name(2)).read_bytes()
    (tmp_path / "one" / segment_name(2)).write_bytes(foreign)
    with pytest.raises(LogDamaged, match=r"is it from a copy\?"):
        recover(tmp_path / "one")


@pytest.mark.once
@proves("bit flip")
def test_a_flipped_bit_anywhere_in_finished_segments_is_refused(tmp_path: Path) -> None:
    storage = many_segments(tmp_path, 120)
    numbers = segment_numbers(storage)
    assert len(numbers) > 2
    for number in numbers[:-1]:
        content = storage.files[segment_name(number)]
        for at in range(0, len(content), 7):
            content[at] ^= 1 << at % 8
            with pytest.raises(EngineError):
                recover(storage)
            content[at] ^= 1 << at % 8
    assert recover(storage).matcher.sequence == 120


@proves("before a snapshot")
def test_damage_before_the_snapshots_place_is_refused_by_a_start(tmp_path: Path) -> None:
    storage = many_segments(tmp_path)
    take_snapshot(storage)
    many = segment_numbers(storage)
    last = storage.files[segment_name(many[-1])]
    place = Snapshots(storage).read(Snapshots(storage).names()[0])
    assert position_of(Place(place.place)).segment == many[-1]
    for at in range(0, len(last) - 520, 97):
        last[at] ^= 8
        with pytest.raises(EngineError):
            recover(storage)
        last[at] ^= 8
    assert recover(storage).commands_replayed == 0
    for number in many[:-1]:  # of older segments a start checks existence, size, row of headers
        name = segment_name(number)
        whole = storage.files.pop(name)
        if number != many[0]:  # the oldest may have been taken away
            with pytest.raises(LogDamaged, match="missing"):
                recover(storage)
        for spoiled in (whole[:-1024], bytes(512) + whole[512:], b""):
            storage.files[name] = bytearray(spoiled)
            with pytest.raises(LogDamaged):
                recover(storage)
        storage.files[name] = whole
    assert recover(storage).commands_replayed == 0


def test_a_follower_takes_zeros_for_the_end_only_where_no_segment_follows() -> None:
    storage = MemoryStorage()
    sequencer = sequencer_on(*open_log(storage, segment_bytes=SMALL_SEGMENT))
    flow = commands(400, 1)
    process(sequencer, *islice(flow, 10))
    follower = log_in(storage)
    *_, last = follower.read()
    at = end_of(last)
    assert list(follower.read(last.place)) == []
    for command in flow:
        process(sequencer, command)
    assert len(segment_numbers(storage)) > 1
    storage.files[segment_name(1)][at : at + SECTOR] = bytes(SECTOR)
    with pytest.raises(LogDamaged, match=rf"byte {at}, sequence 11: a batch is damaged"):
        list(follower.read(last.place))


@proves("events alone")
def test_a_damaged_batch_of_events_alone_is_never_taken_for_the_end(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(
        tmp_path, audit=False, segment_bytes=SMALL_SEGMENT
    ) as engine:
        for command in commands(3, 1):
            engine.submit(command).result(30.0)
        log = log_in(tmp_path)
        alone = wait_for_events_alone(log)
        engine.submit(CancelOrder(999, 1)).result(30.0)
        image = MemoryStorage.copy_of(tmp_path)
    content = image.files[segment_name(1)]
    for at in range(alone.offset, end_of(alone), 5):
        content[at] ^= 2
        with pytest.raises(LogDamaged, match="vouches"):
            recover(image)
        content[at] ^= 2
    assert recover(image).matcher.sequence == 4


@proves("events alone at the end")
def test_a_damaged_batch_of_events_alone_at_the_end_costs_nothing_answered(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(
        tmp_path, audit=False, segment_bytes=SMALL_SEGMENT
    ) as engine:
        events = [engine.submit(command).result(30.0) for command in commands(3, 1)]
        alone = wait_for_events_alone(log_in(tmp_path))
        image = MemoryStorage.copy_of(tmp_path)
    content = image.files[segment_name(1)]
    for at in range(alone.offset, end_of(alone), 5):
        content[at] ^= 2
        state = recover(image)
        assert (state.matcher.sequence, state.unrecorded) == (3, events[-len(state.unrecorded) :])
        assert state.torn is not None
        assert state.torn.offset == alone.offset
        content[at] ^= 2
    assert recover(image).unrecorded == []


@proves("end of zeros")
def test_an_end_that_became_zeros_is_refused_if_attested_else_taken_for_the_end(
    tmp_path: Path,
) -> None:
    with EventDrivenMatchingEngine.open(
        tmp_path, audit=False, segment_bytes=SMALL_SEGMENT
    ) as engine:
        for command in commands(9, 1):
            engine.submit(command).result(30.0)
        wait_for_events_alone(log_in(tmp_path))
        image = MemoryStorage.copy_of(tmp_path)
    content = image.files[segment_name(1)]
    batches = [batch for batch in log_in(image).read() if batch.commands]
    witness = MemoryStorage()
    witness.files = {name: bytearray(data) for name, data in image.files.items()}
    take_snapshot(witness)
    [snapshot] = Snapshots(witness).names()
    for batch in batches:
        content[batch.offset :] = bytes(len(content) - batch.offset)
        state = recover(image)
        assert (state.matcher.sequence, state.torn) == (batch.first_sequence - 1, None)
        with pytest.raises(LogDamaged, match="known to have been durable"):
            log_in(image).start(state.place, witnessed=9)
        both = MemoryStorage()
        both.files = {**image.files, snapshot: witness.files[snapshot]}
        with pytest.raises(LogDamaged, match="a snapshot"):
            recover(both)
        content[:] = witness.files[segment_name(1)]


def wait_for_events_alone(log: WalEventStore) -> Batch:
    """The batch that an idle engine writes after its last command."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        *_, last = log.read()
        if not last.commands:
            return last
    pytest.fail("the engine wrote no events")


@proves("crash loop")
def test_starts_that_come_to_nothing_take_no_room(tmp_path: Path) -> None:
    run_engine(tmp_path, 20)
    sizes = []
    for _ in range(5):  # killed before a command came
        engine = EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=SMALL_SEGMENT)
        image = MemoryStorage.copy_of(tmp_path)
        engine.close()
        for path in tmp_path.iterdir():
            path.unlink()
        for name, content in image.files.items():
            (tmp_path / name).write_bytes(content)
        sizes.append((segment_numbers(image), sum(map(len, image.files.values()))))
    assert sizes == [sizes[0]] * 5
    assert sizes[0][0] == [1, 2]
    assert recover(tmp_path).matcher.sequence == 20


def test_a_finished_segment_gives_its_unused_room_back(tmp_path: Path) -> None:
    many_segments(tmp_path)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert all(size < 4096 + 2048 for size in sizes)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=1 << 20) as engine:
        engine.submit(CancelOrder(999, 1)).result(30.0)
        image = MemoryStorage.copy_of(tmp_path)  # a crash: one segment of full size
    for path in tmp_path.iterdir():
        path.unlink()
    for name, content in image.files.items():
        (tmp_path / name).write_bytes(content)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=4096) as engine:
        engine.submit(CancelOrder(999, 1)).result(30.0)
    assert all(path.stat().st_size < 8192 for path in tmp_path.iterdir())


@proves("order of batches")
def test_swapped_and_doubled_batches_are_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 60, max_batch=4)
    path = tmp_path / segment_name(1)
    whole = path.read_bytes()
    batches = [batch for batch in LogReader(DirectoryStorage(tmp_path)) if batch.commands]
    pieces = [whole[batch.offset : end_of(batch)] for batch in batches]
    first = batches[0].offset
    for order in ([1, 0], [0, 0], [1]):
        body = b"".join(pieces[n] for n in order)
        path.write_bytes(whole[:first] + body + whole[batches[1].offset + len(pieces[1]) :])
        with pytest.raises(LogDamaged):
            recover(tmp_path)


def with_version(segment: Path, offset: int, version: int) -> None:
    """Write a version into the header of a segment, and the checksum that belongs to it."""
    data = bytearray(segment.read_bytes())
    struct.pack_into("<H", data, offset, version)
    struct.pack_into("<I", data, SEGMENT_CRC_AT, crc32c(bytes(data[:SEGMENT_CRC_AT])))
    segment.write_bytes(data)


@proves("unknown")
def test_a_newer_format_is_refused_with_a_word_on_what_to_do(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    with_version(tmp_path / segment_name(1), 8, FORMAT_VERSION + 1)
    known = ", ".join(map(str, DECODERS))
    with pytest.raises(
        UnsupportedFormat, match=rf"with format {FORMAT_VERSION + 1};.*knows format {known}:"
    ):
        recover(tmp_path)


@proves("unknown")
@pytest.mark.parametrize("version", [0, RULEBOOK_VERSION + 1, 65535])
def test_another_rulebook_is_refused_with_a_word_on_which_program_is_needed(
    tmp_path: Path, version: int
) -> None:
    run_engine(tmp_path, 10)
    with_version(tmp_path / segment_name(1), 10, version)
    with pytest.raises(
        UnsupportedFormat,
        match=rf"under rulebook {version};.*open it with a program that replays rulebook {version}",
    ):
        recover(tmp_path)


@proves("unknown", "snapshot damage")
def test_a_snapshot_of_another_rulebook_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    _, name = take_snapshot(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    struct.pack_into("<H", data, 10, RULEBOOK_VERSION + 1)
    (tmp_path / name).write_bytes(data)
    state = recover(tmp_path)
    assert (state.matcher.sequence, state.snapshot_sequence) == (10, 0)
    assert f"{name}: written under rulebook {RULEBOOK_VERSION + 1};" in state.warnings[0]


def test_an_empty_segment_of_another_rulebook_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = MemoryStorage()
    for _ in range(2):  # the second start takes up the segment of the first
        log = WalEventStore(storage, segment_bytes=SMALL_SEGMENT)
        log.start(START)
    assert segment_numbers(storage) == [1]
    newer = RULEBOOK_VERSION + 1
    for module in (wal_format, wal_event_store):
        monkeypatch.setattr(module, "RULEBOOK_VERSION", newer)
    log = WalEventStore(storage, segment_bytes=SMALL_SEGMENT)
    log.start(START)
    last = decode_segment_header(storage.read(segment_name(segment_numbers(storage)[-1])))
    assert last is not None
    assert last.rulebook_version == newer


def meddle(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[list[AnyEvent], int], list[AnyEvent]]
) -> None:
    """From now on the events that a matcher derives for each sequence go through `change`."""

    apply = Matcher.apply

    def meddled(
        self: Matcher, first: int, timestamp_ns: int, commands: Iterable[Command]
    ) -> list[list[AnyEvent]]:
        return [
            change(apply(self, sequence, timestamp_ns, [command])[0], sequence)
            for sequence, command in enumerate(commands, first)
        ]

    monkeypatch.setattr(Matcher, "apply", meddled)


@proves("divergence")
def test_replay_that_gives_other_events_is_refused_at_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = run_engine(tmp_path, 100, max_batch=4)
    last = len(answered[16]) - 1
    meddle(monkeypatch, lambda events, sequence: events[:-1] if sequence == 17 else events)
    with pytest.raises(
        ReplayDivergence, match=rf"sequence 17, event {last}:.*replay gives no event"
    ):
        recover(tmp_path)


def test_replay_with_diff_shows_every_difference_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_engine(tmp_path, 100, max_batch=1)
    arguments = ["replay", "--diff", "--json", "--data-dir", str(tmp_path)]
    assert main(arguments) == 0
    meddle(monkeypatch, lambda events, sequence: events[:-1] if sequence in {17, 40} else events)
    assert main(arguments) == 1
    report = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [difference["sequence"] for difference in report["differences"]] == [17, 40]
    assert {difference["derived"] for difference in report["differences"]} == {"no event"}


@proves("poison")
def test_a_command_that_makes_the_matcher_fail_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 100, max_batch=4)

    def poisoned(events: list[AnyEvent], sequence: int) -> list[AnyEvent]:
        if sequence == 23:
            raise KeyError("poison")
        return events

    meddle(monkeypatch, poisoned)
    with pytest.raises(MatcherBug, match=r"sequence 23 .*KeyError"):
        recover(tmp_path)
    assert main(["verify", "--data-dir", str(tmp_path)]) == 3


def test_recovery_from_a_snapshot_and_the_tail_equals_recovery_from_the_start(
    tmp_path: Path,
) -> None:
    flow = list(commands(300, 5))
    for part in (flow[:200], flow[200:]):
        with EventDrivenMatchingEngine.open(
            tmp_path, audit=False, segment_bytes=SMALL_SEGMENT
        ) as engine:
            for command in part:
                engine.submit(command)
        storage = DirectoryStorage(tmp_path)
        take_snapshot(storage)
    for name in Snapshots(storage).names()[:1]:
        storage.remove(name)
    with_snapshot = recover(storage)
    without = replay(storage)
    assert with_snapshot.snapshot_sequence == 200
    assert with_snapshot.commands_replayed == 100
    assert with_snapshot.matcher.state_hash() == without.matcher.state_hash()
    assert with_snapshot.matcher.last_trade_id == without.matcher.last_trade_id
    with_snapshot.matcher.check_invariants()
    for order_id in range(310):
        assert with_snapshot.matcher.order(order_id) == without.matcher.order(order_id)


@proves("snapshot damage")
def test_a_damaged_snapshot_means_a_longer_replay_and_a_warning(tmp_path: Path) -> None:
    run_engine(tmp_path, 200)
    storage = DirectoryStorage(tmp_path)
    _, name = take_snapshot(storage)
    data = bytearray((tmp_path / name).read_bytes())
    data[-5] ^= 1
    (tmp_path / name).write_bytes(data)
    again = recover(storage)
    assert again.commands_replayed == 200
    assert [name in warning for warning in again.warnings] == [True]


def test_a_snapshot_beside_a_live_engine_is_of_what_is_durable_and_keeps_two(
    tmp_path: Path,
) -> None:
    storage = DirectoryStorage(tmp_path)
    live = Matcher()
    hashes = [live.state_hash()]
    taken = []
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        for sequence, command in enumerate(commands(40, 1), 1):
            live.apply(sequence, 0, [command])
            hashes.append(live.state_hash())
            engine.submit(command).result(30.0)
            if sequence % 10 == 0:
                state, name = take_snapshot(storage)
                # The writer says that a batch is durable in the next one, or when it falls idle.
                assert state.matcher.sequence in (sequence - 1, sequence)
                assert state.matcher.state_hash() == hashes[state.matcher.sequence]
                taken.append(name)
    assert Snapshots(storage).names() == taken[:-3:-1]


def test_a_second_snapshot_of_the_same_sequence_is_of_the_same_place(tmp_path: Path) -> None:
    flow = list(commands(60, 2))
    storage = DirectoryStorage(tmp_path)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        for command in flow[:30]:
            engine.submit(command).result(30.0)
    first, name = take_snapshot(storage)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        second, again = take_snapshot(storage)
        assert (again, second.place) == (name, first.place)
        for command in flow[30:]:
            engine.submit(command).result(30.0)
    whole = replay(storage)
    assert recover(storage).matcher.state_hash() == whole.matcher.state_hash()
    assert whole.matcher.sequence == 60


def test_verify_replays_each_command_once_however_many_snapshots_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for part in range(2):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in list(commands(100, 5))[part * 50 : part * 50 + 50]:
                engine.submit(command).result(30.0)
        take_snapshot(tmp_path)
    assert len(Snapshots(DirectoryStorage(tmp_path)).names()) == 2
    replayed: list[int] = []

    def counted(events: list[AnyEvent], sequence: int) -> list[AnyEvent]:
        replayed.append(sequence)
        return events

    meddle(monkeypatch, counted)
    assert main(["verify", "--json", "--data-dir", str(tmp_path)]) == 0
    assert replayed == list(range(1, 101))
    assert json.loads(capfd.readouterr().out)["commands_verified"] == 100


def test_verify_begins_with_the_oldest_snapshot_where_the_log_lost_its_beginning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state, log = open_log(DirectoryStorage(tmp_path), segment_bytes=4096)
    sequencer = sequencer_on(state, log)
    flow = list(commands(100, 1))
    for first in range(0, 100, 10):
        process(sequencer, *flow[first : first + 10])
    log.close()  # as a crash leaves it: its last batch vouches for those before
    assert main(["snapshot", "--archive", "--data-dir", str(tmp_path)]) == 0
    shutil.rmtree(tmp_path / "archive")
    capfd.readouterr()
    assert main(["verify", "--json", "--data-dir", str(tmp_path)]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["sequence"], report["commands_verified"]) == (100, 10)


def test_verify_names_a_damaged_snapshot_where_the_log_lost_its_beginning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        run_engine(tmp_path, 40)
        assert main(["snapshot", "--archive", "--data-dir", str(tmp_path)]) == 0
    shutil.rmtree(tmp_path / "archive")
    oldest = DirectoryStorage(tmp_path).names()
    (name,) = [name for name in oldest if name.startswith("snapshot.")][:1]
    with (tmp_path / name).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    capfd.readouterr()
    assert main(["verify", "--json", "--data-dir", str(tmp_path)]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["sequence"] == 120, "it goes on from the next one"
    assert report["error"].startswith(name)


@pytest.mark.parametrize("place", [512, 513, 1024, -1])
def test_something_in_a_segment_without_batches_does_not_break_the_row(
    tmp_path: Path, place: int
) -> None:
    """The one before it gets its mark with the first batch: whatever happens until then."""
    run_engine(tmp_path / "data", 20)
    with EventDrivenMatchingEngine.open(tmp_path / "data", audit=False, segment_bytes=4096):
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    last = segment_numbers(DirectoryStorage(tmp_path / "crashed"))[-1]
    with (tmp_path / "crashed" / segment_name(last)).open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        file.write(b"x")
    for life in range(3):
        with EventDrivenMatchingEngine.open(tmp_path / "crashed", audit=False) as engine:
            (event, *_) = engine.submit(CancelOrder(1, 1)).result(30.0)
            assert event.sequence == 21 + life
    assert recover(tmp_path / "crashed").matcher.sequence == 23


def test_what_follows_a_seal_is_the_mark_of_a_segment_that_is_missing(tmp_path: Path) -> None:
    run_engine(tmp_path, 20)
    last = segment_numbers(DirectoryStorage(tmp_path))[-1]
    end = (tmp_path / segment_name(last)).stat().st_size
    run_engine(tmp_path, 20)
    for number in segment_numbers(DirectoryStorage(tmp_path)):
        if number > last:
            (tmp_path / segment_name(number)).unlink()
    with (tmp_path / segment_name(last)).open("r+b") as file:
        file.seek(end + 20)
        (byte,) = file.read(1)
        file.seek(end + 20)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(LogDamaged, match="missing"):
        recover(tmp_path)


@pytest.mark.parametrize("sequence", [1, 30, 49, 50, 70, 99])
def test_verify_finds_a_snapshot_that_is_not_the_state_of_its_sequence(
    tmp_path: Path, sequence: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is whole, and its state hash is that of what is in it; only replay can tell."""
    flow = list(commands(100, 5))
    run_engine(tmp_path, 100, seed=5, max_batch=7)
    storage = DirectoryStorage(tmp_path)
    take_snapshot(storage)
    good = Snapshots(storage).read(Snapshots(storage).names()[0])
    assert state_hashes(flow)[sequence] != good.state_hash
    place = position_of(Place(good.place))._replace(next_sequence=sequence + 1).place
    Snapshots(storage).write(replace(good, sequence=sequence, place=place))
    assert main(["verify", "--json", "--data-dir", str(tmp_path)]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["error"] == f"{name_of(sequence)}: not the state of that sequence"


def test_a_snapshot_never_loses_a_live_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would lose one that waits outside of the books: a stop order, say."""
    run_engine(tmp_path, 100)
    resting = MarketState.resting_orders
    monkeypatch.setattr(MarketState, "resting_orders", lambda self: islice(resting(self), 1, None))
    with pytest.raises(InvariantBroken, match="rests in a book"):
        take_snapshot(tmp_path)
    assert Snapshots(DirectoryStorage(tmp_path)).names() == []


def test_a_snapshot_of_a_log_without_commands_is_refused(tmp_path: Path) -> None:
    EventDrivenMatchingEngine.open(tmp_path, audit=False).close()
    with pytest.raises(DirectoryUnusable, match=r"no command yet"):
        take_snapshot(tmp_path)


def test_archived_segments_are_found_and_missing_ones_are_reported(
    tmp_path: Path,
) -> None:
    flow = list(commands(400, 9))
    for part in (flow[:100], flow[100:200], flow[200:300], flow[300:]):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in part:
                engine.submit(command)
        take_snapshot(tmp_path)
    storage = DirectoryStorage(tmp_path)
    expected = replay(storage)
    for number in (1, 2):
        storage.archive(segment_name(number))
        assert not (tmp_path / segment_name(number)).exists()
    again = replay(storage)
    assert (again.commands_replayed, again.warnings) == (400, [])
    for number in (1, 2):
        (tmp_path / "archive" / segment_name(number)).unlink()
    without = replay(storage)
    assert without.commands_replayed == 100
    assert ["the log begins at sequence 201" in warning for warning in without.warnings] == [True]
    assert without.matcher.state_hash() == again.matcher.state_hash()
    assert again.matcher.state_hash() == expected.matcher.state_hash()
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        assert engine.state()[0] == 400


def test_replay_until_a_sequence_shows_the_state_of_that_moment(tmp_path: Path) -> None:
    run_engine(tmp_path, 120)
    live = Matcher()
    storage = DirectoryStorage(tmp_path)
    assert recover(storage, until=0).matcher.state_hash() == live.state_hash()
    for sequence, command in enumerate(commands(120, 1), 1):
        live.apply(sequence, 0, [command])
        state = recover(storage, until=sequence)
        assert (state.matcher.sequence, state.matcher.state_hash()) == (sequence, live.state_hash())


@proves("readers")
def test_reading_changes_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path, 100)
    before = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()
    }
    recover(tmp_path)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert before == after


def test_a_batch_header_is_as_large_as_it_is_drawn() -> None:
    assert (SEGMENT_HEADER.size, BATCH_HEADER.size) == (512, 48)
