"""Where V2's time goes, and with it why it is not faster still.

The first table takes the matcher's run apart by kind of operation, beside `matching-engine`. Every
operation is timed by itself, less what reading the clock takes, so the figures are larger than a
whole run's: V2's matcher, which is made for batches, gets batches of one here.

The second asks what is left for a matcher to be quick at: the same commands built and not carried
out, and the same commands and the same events built again by a loop that knows them beforehand. No
engine that builds these objects can go below that, whatever its rules cost.

The third takes a replay apart. V2 reads (checksums, decoding), applies, then encodes the events
that it has derived to compare them with the log's. `matching-engine` reads and applies.

What the rules cost is spread thin. Taken out of the matcher one at a time, the event that repeats
an accepted order is worth 55 of 790 ns, the checks of a new order 25, the sequence that every
command moves on 20; without all three the matcher would still not be twice as fast as
`matching-engine`. Under CPython 3.12 three fifths of the time are the interpreter's own loop
(`perf`), and about half of that is waiting for a reference count that it has just written; CPython
3.11 runs the same matcher a sixth faster.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from v2_event_driven_engine.engine.log.format import encode_outcomes
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.wal_event_store import WalEventStore

from .engines import V2_LISTING, Engine, MatchingEngine, V2Matcher, V2MatcherOneByOne, v2_commands
from .findings import Options, Row, Section, Series, Table
from .measure import directory, interleaved, seconds, still_collector
from .peers.adapters import load
from .recovery import log, peer_log
from .workload import CANCEL, Fill, Flow, Operation, expected, mixed

KINDS = (
    "passive order",
    "cancel",
    "marketable order, 1 fill",
    "marketable order, 2 fills or more",
)


def measure(options: Options) -> Section:
    """Measure the three tables."""
    options.status("making operations")
    flow = mixed(options.pick(200_000, 20_000))
    missing = MatchingEngine.missing()
    return Section(
        "Anatomy",
        __doc__ or "",
        [
            _by_kind(flow, missing, options),
            _floor(flow, options),
            _replay(flow.operations, missing, options),
        ],
        notes=[f"`{MatchingEngine.name}` did not run: {missing}."] if missing else [],
    )


# -- By kind of operation --------------------------------------------------------------------------


def _by_kind(flow: Flow, missing: str | None, options: Options) -> Table:
    kinds = [
        kind_of(operation, fills)
        for operation, fills in zip(flow.operations, expected(flow).fills, strict=True)
    ][flow.preload :]
    engines: list[type[Engine]] = [V2MatcherOneByOne, *([] if missing else [MatchingEngine])]
    found: dict[str, list[dict[str, float]]] = {engine.name: [] for engine in engines}
    for repetition in range(options.repetitions):
        for engine in engines:
            options.status(f"{engine.name} by kind, {repetition + 1} of {options.repetitions}")
            found[engine.name].append(one_by_one(engine, flow, kinds))
    counts = Counter(kinds)
    rows = [
        Row(
            kind,
            [
                f"{counts[kind] / len(kinds):.0%}",
                *(Series.of(run[kind] for run in runs) for runs in found.values()),
            ],
        )
        for kind in KINDS
    ]
    columns = ["share of the operations", *(f"{name}, ns" for name in found)]
    return Table(
        "By kind of operation", "The synthetic operations of the section above.", columns, rows
    )


def kind_of(operation: Operation, fills: list[Fill]) -> str:
    """One of `KINDS`."""
    if operation[0] == CANCEL:
        return KINDS[1]
    return (KINDS[0], KINDS[2], KINDS[3])[min(len(fills), 2)]


def one_by_one(engine: type[Engine], flow: Flow, kinds: list[str]) -> dict[str, float]:
    """The mean nanoseconds of an operation of each kind, after the preload."""
    clock = time.perf_counter_ns
    book = engine()
    book.run(flow.operations[: flow.preload])
    answers = book.answers(flow.operations[flow.preload :])
    taken: dict[str, int] = dict.fromkeys(KINDS, 0)
    with still_collector():
        reading = min(-clock() + clock() for _ in range(1000))
        for kind in kinds:
            started = clock()
            next(answers)
            taken[kind] += clock() - started - reading
    book.close()
    counts = Counter(kinds)
    return {kind: taken[kind] / max(counts[kind], 1) for kind in KINDS}


# -- The floor -------------------------------------------------------------------------------------


def _floor(flow: Flow, options: Options) -> Table:
    operations = flow.operations
    made = [
        [(type(event), msgspec.structs.astuple(event)) for event in answer]
        for answer in V2Matcher().answers(operations)
    ]

    def commands() -> None:
        deque(v2_commands(operations), maxlen=0)

    def commands_and_events() -> None:
        for _, parts in zip(v2_commands(operations), made, strict=True):
            [make(*values) for make, values in parts]

    def everything() -> None:
        V2Matcher().run(operations)

    builds: dict[str, Callable[[], object]] = {
        "building the commands": commands,
        "building the commands and the events": commands_and_events,
        "building the commands, and V2's matcher": everything,
    }
    found = _each(builds, len(operations), options)
    rows = [Row(name, [Series.of(times)]) for name, times in found.items()]
    work = f"{len(operations):,} operations, the preload among them."
    return Table("The floor", work, ["ns an operation"], rows)


# -- Replay ----------------------------------------------------------------------------------------


def _replay(operations: list[Operation], missing: str | None, options: Options) -> Table:
    with directory() as ours, directory() as theirs:
        log(ours, [V2_LISTING, *v2_commands(operations)], len(operations))
        written = WalEventStore(DirectoryStorage(ours))
        batches = [(b.first_sequence, b.timestamp_ns, b.commands) for b in written.read()]
        matcher = Matcher()
        derived = [matcher.apply(*batch) for batch in batches]
        builds: dict[str, Callable[[], object]] = {
            "V2, reading": lambda: deque(written.read(), maxlen=0),
            "V2, applying": partial(_applies, batches),
            "V2, encoding the events": lambda: deque(map(encode_outcomes, derived), maxlen=0),
        }
        if missing is None:
            peer_log(theirs, operations, None)
            paths = sorted(theirs.rglob("*.wal"))
            reader = load("matching_engine.wal").SegmentReader
            commands = [command for path in paths for command in reader(path)]
            builds[f"{MatchingEngine.name}, reading"] = lambda: [
                deque(reader(path), maxlen=0) for path in paths
            ]
            builds[f"{MatchingEngine.name}, applying"] = partial(_peer_applies, commands)
        found = _each(builds, len(operations), options)
    rows = [Row(name, [Series.of(times)]) for name, times in found.items()]
    work = f"{len(operations):,} operations; each step alone, from what the step before gave."
    return Table("A replay, step by step", work, ["ns a command"], rows)


def _applies(batches: Iterable[tuple[int, int, Iterable[Any]]]) -> None:
    matcher = Matcher()
    for batch in batches:
        matcher.apply(*batch)


def _peer_applies(commands: Iterable[Any]) -> None:
    process = load("matching_engine.engine").MatchingEngine().process
    for command in commands:
        process(command)


def _each(
    builds: dict[str, Callable[[], object]], count: int, options: Options
) -> dict[str, list[float]]:
    """Nanoseconds for each of `count` pieces of work."""
    timed = {
        name: partial(lambda work: seconds(work) / count * 1e9, build)
        for name, build in builds.items()
    }
    return interleaved(timed, options.repetitions, options.status)
