"""The log: what is written is read back, damage is found, restarts keep one history."""

import json
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from v2_event_driven_engine import EventDrivenMatchingEngine
from v2_event_driven_engine.engine import snapshot
from v2_event_driven_engine.engine.events import AnyEvent, Command
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.engine.recovery import recover, take_snapshot
from v2_event_driven_engine.engine.storage import DirectoryStorage
from v2_event_driven_engine.engine.wal_format import BATCH_HEADER, SEGMENT_HEADER, decode_outcomes
from v2_event_driven_engine.engine.wal_reader import LogReader, segment_name, segment_numbers
from v2_event_driven_engine.errors import (
    DirectoryUnusable,
    EngineError,
    LogDamaged,
    MatcherBug,
    ReplayDivergence,
    UnsupportedFormat,
)
from v2_event_driven_engine.main import main

from .faults import proves
from .flow import commands
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
    assert seal.body.closed
    data = (copy / last).read_bytes()[: seal.offset]
    size = SEGMENT_HEADER.unpack_from(data)[7]
    (copy / last).write_bytes(data.ljust(size, b"\0"))
    return copy


def test_recovery_gives_the_same_state_and_the_same_events(tmp_path: Path) -> None:
    answered = run_engine(tmp_path, 500)
    live = Matcher()
    for sequence, command in enumerate(commands(500, 1), 1):
        live.apply(sequence, 0, command)
    state = recover(DirectoryStorage(tmp_path))
    assert state.matcher.state_hash() == live.state_hash()
    assert state.position.closed
    recorded: list[list[AnyEvent]] = []
    logged = []
    for batch in LogReader(DirectoryStorage(tmp_path)):
        logged += batch.body.commands
        recorded += decode_outcomes(batch.body.outcomes)
    assert logged == list(commands(500, 1))
    assert recorded == answered


def test_segments_rotate_and_make_one_history(tmp_path: Path) -> None:
    run_engine(tmp_path, 3000)
    numbers = segment_numbers(DirectoryStorage(tmp_path))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 3
    assert recover(DirectoryStorage(tmp_path)).matcher.sequence == 3000


def test_a_batch_larger_than_a_segment_gets_a_segment_of_its_size(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(
        tmp_path, audit=False, segment_bytes=256, max_batch=1024
    ) as engine:
        receipts = [engine.submit(command) for command in commands(600, 1)]
        for receipt in receipts:
            receipt.result(30.0)
    assert recover(DirectoryStorage(tmp_path)).matcher.sequence == 600


def test_restarts_continue_the_sequence_in_a_new_segment_each(tmp_path: Path) -> None:
    flow = list(commands(90, 3))
    for part in (flow[:30], flow[30:60], flow[60:]):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in part:
                engine.submit(command).result(30.0)
    once = Matcher()
    for sequence, command in enumerate(flow, 1):
        once.apply(sequence, 0, command)
    state = recover(DirectoryStorage(tmp_path))
    assert state.matcher.state_hash() == once.state_hash()
    assert segment_numbers(DirectoryStorage(tmp_path)) == [1, 2, 3]


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


@proves("torn write")
def test_a_torn_last_batch_is_dropped_reported_and_left_behind(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 60, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = crashed / segment_name(1)
    whole = path.read_bytes()
    last = [batch for batch in LogReader(DirectoryStorage(crashed)) if batch.body.commands][-1]
    end = last.offset + last.header.size
    for torn_at in range(last.offset + 1, end):
        path.write_bytes(whole[:torn_at].ljust(len(whole), b"\0"))
        state = recover(DirectoryStorage(crashed))
        if path.read_bytes()[:end] == whole[:end]:
            continue  # only zeros were torn off: nothing is missing
        assert state.matcher.sequence == last.header.first_sequence - 1
        assert state.torn is not None
        assert (state.torn.file, state.torn.offset) == (segment_name(1), last.offset)
    torn_at = last.offset + BATCH_HEADER.size + last.header.body_length // 2
    path.write_bytes(whole[:torn_at].ljust(len(whole), b"\0"))
    with EventDrivenMatchingEngine.open(
        crashed, audit=False, segment_bytes=SMALL_SEGMENT
    ) as engine:
        assert engine.recovered.torn is not None
        sequence = engine.state()[0]
    again = recover(DirectoryStorage(crashed))
    assert again.torn is None
    aside = (crashed / f"{segment_name(1)}.torn").read_bytes()
    assert aside == whole[last.offset : torn_at].rstrip(b"\0")
    assert again.matcher.sequence == sequence == last.header.first_sequence - 1


@proves("power")
def test_a_hole_that_a_later_batch_vouches_for_is_damage(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 60, max_batch=4)
    crashed = crashed_copy(tmp_path / "whole", tmp_path / "crashed")
    path = crashed / segment_name(1)
    whole = path.read_bytes()
    batches = [batch for batch in LogReader(DirectoryStorage(crashed)) if batch.body.commands]
    for batch in batches[:-1]:
        damaged = bytearray(whole)
        damaged[batch.offset : batch.offset + batch.header.size] = bytes(batch.header.size)
        path.write_bytes(damaged)
        with pytest.raises(LogDamaged, match=r"vouches") as caught:
            recover(DirectoryStorage(crashed))
        assert caught.value.offset == batch.offset
        assert caught.value.sequence == batch.header.first_sequence


@proves("zeros")
def test_zeros_behind_the_last_batch_are_a_clean_end(tmp_path: Path) -> None:
    run_engine(tmp_path / "whole", 60)
    state = recover(DirectoryStorage(crashed_copy(tmp_path / "whole", tmp_path / "crashed")))
    assert state.torn is None
    assert not state.position.closed
    assert state.matcher.sequence == 60


@proves("missing segment")
def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 2000)
    numbers = segment_numbers(DirectoryStorage(tmp_path))
    for missing in numbers[:-1]:
        hidden = tmp_path / "hidden"
        (tmp_path / segment_name(missing)).rename(hidden)
        with pytest.raises(LogDamaged, match=r"missing|follow"):
            recover(DirectoryStorage(tmp_path))
        hidden.rename(tmp_path / segment_name(missing))


@proves("order of batches")
def test_swapped_and_doubled_batches_are_refused(tmp_path: Path) -> None:
    run_engine(tmp_path, 60, max_batch=4)
    path = tmp_path / segment_name(1)
    whole = path.read_bytes()
    batches = [batch for batch in LogReader(DirectoryStorage(tmp_path)) if batch.body.commands]
    pieces = [whole[batch.offset : batch.offset + batch.header.size] for batch in batches]
    first = batches[0].offset
    for order in ([1, 0], [0, 0], [1]):
        body = b"".join(pieces[n] for n in order)
        path.write_bytes(whole[:first] + body + whole[batches[1].offset + len(pieces[1]) :])
        with pytest.raises(LogDamaged):
            recover(DirectoryStorage(tmp_path))


@proves("unknown")
def test_a_newer_format_is_refused_with_a_word_on_what_to_do(tmp_path: Path) -> None:
    from crc32c import crc32c  # noqa: PLC0415

    run_engine(tmp_path, 10)
    path = tmp_path / segment_name(1)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, 8, 2)
    struct.pack_into("<I", data, 508, crc32c(bytes(data[:508])))
    path.write_bytes(data)
    with pytest.raises(UnsupportedFormat, match=r"format 2.*knows format 1"):
        recover(DirectoryStorage(tmp_path))


def meddle(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[list[AnyEvent], int], list[AnyEvent]]
) -> None:
    """From now on the events that a matcher derives for each sequence go through ``change``."""

    def apply_all(
        self: Matcher, timestamp_ns: int, commands: Iterable[Command]
    ) -> list[list[AnyEvent]]:
        return [
            change(self.apply(self.sequence + 1, timestamp_ns, command), self.sequence)
            for command in commands
        ]

    monkeypatch.setattr(Matcher, "apply_all", apply_all)


@proves("divergence")
def test_replay_that_gives_other_events_is_refused_at_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = run_engine(tmp_path, 100, max_batch=4)
    last = len(answered[16]) - 1
    meddle(monkeypatch, lambda events, sequence: events[:-1] if sequence == 17 else events)
    with pytest.raises(
        ReplayDivergence, match=rf"sequence 17, event {last}:.*replay gives nothing"
    ):
        recover(DirectoryStorage(tmp_path))


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
    assert {difference["derived"] for difference in report["differences"]} == {"nothing"}


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
        recover(DirectoryStorage(tmp_path))
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
    for name in snapshot.newest_first(storage)[:1]:
        storage.remove(name)
    with_snapshot = recover(storage)
    without = recover(storage, from_the_start=True)
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
            live.apply(sequence, 0, command)
            hashes.append(live.state_hash())
            engine.submit(command).result(30.0)
            if sequence % 10 == 0:
                state, name = take_snapshot(storage)
                # The writer says that a batch is durable in the next one, or when it falls idle.
                assert state.matcher.sequence in (sequence - 1, sequence)
                assert state.matcher.state_hash() == hashes[state.matcher.sequence]
                taken.append(name)
    assert snapshot.newest_first(storage) == taken[:-3:-1]


def test_a_second_snapshot_of_the_same_sequence_is_of_the_same_place(tmp_path: Path) -> None:
    flow = list(commands(60, 2))
    storage = DirectoryStorage(tmp_path)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        for command in flow[:30]:
            engine.submit(command).result(30.0)
    first, name = take_snapshot(storage)
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        second, again = take_snapshot(storage)
        assert (again, second.position) == (name, first.position)
        for command in flow[30:]:
            engine.submit(command).result(30.0)
    whole = recover(storage, from_the_start=True)
    assert recover(storage).matcher.state_hash() == whole.matcher.state_hash()
    assert whole.matcher.sequence == 60


def test_a_snapshot_of_a_log_without_commands_is_refused(tmp_path: Path) -> None:
    EventDrivenMatchingEngine.open(tmp_path, audit=False).close()
    with pytest.raises(DirectoryUnusable, match=r"no command yet"):
        take_snapshot(DirectoryStorage(tmp_path))


def test_archived_segments_are_found_and_segments_that_are_gone_are_told(tmp_path: Path) -> None:
    flow = list(commands(400, 9))
    for part in (flow[:100], flow[100:200], flow[200:300], flow[300:]):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in part:
                engine.submit(command)
        take_snapshot(DirectoryStorage(tmp_path))
    storage = DirectoryStorage(tmp_path)
    expected = recover(storage, from_the_start=True)
    for number in (1, 2):
        storage.archive(segment_name(number))
        assert not (tmp_path / segment_name(number)).exists()
    again = recover(storage, from_the_start=True)
    assert (again.commands_replayed, again.warnings) == (400, [])
    for number in (1, 2):
        (tmp_path / "archive" / segment_name(number)).unlink()
    without = recover(storage, from_the_start=True)
    assert without.commands_replayed == 100
    assert ["segments before 3 are not here" in warning for warning in without.warnings] == [True]
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
        live.apply(sequence, 0, command)
        state = recover(storage, until=sequence)
        assert (state.matcher.sequence, state.matcher.state_hash()) == (sequence, live.state_hash())


@proves("readers")
def test_reading_changes_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path, 100)
    before = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()
    }
    recover(DirectoryStorage(tmp_path))
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert before == after


def test_a_batch_header_is_as_large_as_it_is_drawn() -> None:
    assert (SEGMENT_HEADER.size, BATCH_HEADER.size) == (512, 48)
