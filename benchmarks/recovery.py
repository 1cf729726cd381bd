"""How fast a log is turned back into its state.

The first table has both logs of the same operations: replayed from the first command, and after a
snapshot at nine tenths. V2 replays, derives every event again and compares it with the one that the
log has; `matching-engine` logs commands only, and replays them.

The second is V2's: the synthetic flow of `order_flow`, with every instruction of the rulebook, and
resting orders restored from a snapshot alone. So recovery takes as long as the log after the last
snapshot, not as long as the log.

Bytes on the disk are counted without the unused part of the last segment, which a clean shutdown
gives back.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import v2_event_driven_engine as v2
from order_flow import line, synthetic
from v2_event_driven_engine.cli.ndjson import parse
from v2_event_driven_engine.engine.log.recovery import (
    Recovered,
    earliest_start,
    follow,
    recover,
    take_snapshot,
)
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.engine.sequencer import MAX_BATCH
from v2_event_driven_engine.engine.wal_event_store import WalEventStore

from .durable import peer_end, v2_end
from .engines import V2_LISTING, MatchingEngine, batches, pipelined, v2_commands
from .findings import Options, Row, Section, Series, Table, Target, ratios
from .measure import directory, interleaved, seconds
from .peers.adapters import load
from .workload import Operation, mixed, resting

SEED = 5
LEVELS = 800
FROM_THE_START = "from the first command"
FROM_A_SNAPSHOT = "from a snapshot at nine tenths"


def measure(options: Options) -> Section:
    """Measure both tables."""
    options.status("making operations")
    operations = mixed(options.pick(200_000, 20_000)).operations
    missing = MatchingEngine.missing()
    shared, targets = _beside(operations, missing, options)
    return Section(
        "Recovery",
        __doc__ or "",
        [shared, _alone(options)],
        targets=targets,
        notes=[f"`{MatchingEngine.name}` did not run: {missing}."] if missing else [],
    )


def _beside(
    operations: list[Operation], missing: str | None, options: Options
) -> tuple[Table, list[Target]]:
    """Both logs of the same operations."""
    tail = len(operations) * 9 // 10
    with directory() as ours, directory() as theirs:
        options.status("writing the logs")
        log(ours, [V2_LISTING, *v2_commands(operations)], tail)
        bytes_each = log_bytes(ours) / len(operations)
        builds: dict[str, Callable[[], object]] = {
            f"V2, {FROM_THE_START}": partial(from_the_start, ours),
            f"V2, {FROM_A_SNAPSHOT}": partial(from_a_snapshot, ours),
        }
        if missing is None:
            whole, cut = theirs / "whole", theirs / "cut"
            peer_log(whole, operations, None)
            peer_log(cut, operations, tail)
            journal = load("matching_engine.journal").Journal
            builds[f"{MatchingEngine.name}, {FROM_THE_START}"] = journal(whole).recover
            builds[f"{MatchingEngine.name}, {FROM_A_SNAPSHOT}"] = journal(cut).recover
            engine, _ = journal(whole).recover()
            assert peer_end(engine) == v2_end(from_a_snapshot(ours).matcher)
            peer_bytes = sum(path.stat().st_size for path in whole.rglob("*.wal"))
        taken = _timed(builds, options)
    rows = []
    for name, times in taken.items():
        rates = Series.of(len(operations) / time for time in times)
        rows.append(Row(name, [Series.of(times), rates if FROM_THE_START in name else "-"]))
    rows.append(Row("V2, bytes of log a command, events included", [f"{bytes_each:.1f}", "-"]))
    replay = None
    if missing is None:
        each = f"{peer_bytes / len(operations):.1f}"
        rows.append(Row(f"{MatchingEngine.name}, bytes of log a command", [each, "-"]))
        pair = (taken[f"{name}, {FROM_THE_START}"] for name in (MatchingEngine.name, "V2"))
        replay = ratios(*pair)  # of times: theirs by ours
    targets = [
        Target(
            "replay from the first command",
            replay,
            2.5,
            reason=missing or "",
            obstacle="See [Anatomy](#anatomy): the matcher is most of it, and V2 derives and "
            "compares all events besides.",
        ),
        Target(
            "V2's bytes of log a command, events included (no ratio)",
            Series.of([bytes_each]),
            48,
            at_least=False,
            obstacle="Shorter symbols and calmer markets make it less: see the second table.",
        ),
    ]
    work = f"{len(operations):,} operations, the same for both."
    return Table("Replay", work, ["seconds", "commands a second"], rows), targets


def _alone(options: Options) -> Table:
    """V2: a long log of everything there is, and a large book."""
    count = options.pick(1_000_000, 50_000)
    orders = options.pick(100_000, 10_000)
    with directory() as long, directory() as large:
        options.status(f"writing a log of {count:,} commands")
        flow = (parse(line(each).strip()) for each in synthetic.commands(count, SEED))
        log(long, flow, count * 9 // 10)
        options.status(f"writing a log of {orders:,} resting orders")
        log(large, [V2_LISTING, *v2_commands(resting(orders, LEVELS))], orders + 1)
        bytes_each = log_bytes(long) / count
        taken = _timed(
            {
                FROM_THE_START: partial(from_the_start, long),
                FROM_A_SNAPSHOT: partial(from_a_snapshot, long),
                f"{orders:,} resting orders, from a snapshot": partial(from_a_snapshot, large),
            },
            Options(options.quick, min(options.repetitions, 5), options.status),
        )
    rows = [Row(name, [Series.of(times), "-"]) for name, times in taken.items()]
    rate = Series.of(count / time for time in taken[FROM_THE_START])
    rows[0] = Row(FROM_THE_START, [rows[0].cells[0], rate])
    rows.append(Row("bytes of log a command, events included", [f"{bytes_each:.1f}", "-"]))
    work = f"{count:,} commands of `order_flow synthetic --seed {SEED}`."
    return Table("V2, a long log", work, ["seconds", "commands a second"], rows)


def _timed(builds: Mapping[str, Callable[[], object]], options: Options) -> dict[str, list[float]]:
    timed = {name: partial(seconds, action) for name, action in builds.items()}
    return interleaved(timed, options.repetitions, options.status)


def log(data_dir: Path, commands: Iterable[Any], snapshot_after: int) -> None:
    """Put commands through V2, and write a snapshot down on the way."""
    flow = iter(commands)
    for part in (itertools.islice(flow, snapshot_after), flow):
        with v2.MatchingEngine.open(data_dir, audit=False) as engine:
            deque(pipelined(engine, part), maxlen=0)
        if part is not flow:
            take_snapshot(*v2_files(data_dir))


def v2_files(data_dir: Path) -> tuple[WalEventStore, Snapshots]:
    """V2's log and its snapshots, to be read."""
    storage = DirectoryStorage(data_dir)
    return WalEventStore(storage), Snapshots(storage)


def from_the_start(data_dir: Path) -> Recovered:
    """V2's state, replayed from the first command, whatever snapshots there are."""
    written, _ = v2_files(data_dir)
    return follow(written, earliest_start(written))


def from_a_snapshot(data_dir: Path) -> Recovered:
    """V2's state, as an engine recovers it."""
    return recover(*v2_files(data_dir))


def log_bytes(data_dir: Path) -> int:
    """How long V2's whole log is."""
    written, _ = v2_files(data_dir)
    return sum(written.files().values())


def peer_log(data_dir: Path, operations: list[Operation], checkpoint_after: int | None) -> None:
    """The same through `matching-engine`'s journal."""
    journal = load("matching_engine.journal").Journal(data_dir)
    engine, _ = journal.recover()
    sequencer = load("matching_engine.sequencer").Sequencer()
    journal.open(1)
    snapshot = load("matching_engine.snapshot")
    flow = iter(operations)
    for part in (itertools.islice(flow, checkpoint_after or 0), flow):
        for commands in batches(MatchingEngine.commands(part), MAX_BATCH):
            for command in map(sequencer.stamp, commands):
                journal.append(command)
                engine.process(command)
            journal.sync()
        if checkpoint_after is not None and part is not flow:
            blob = snapshot.encode_snapshot(engine, sequencer.last_ts)
            journal.checkpoint(blob, engine.last_seq)
    journal.close()
