"""What a log costs that is synced before anything is answered.

First the writer's work alone, in one thread: build a batch of commands, stamp it, write it, sync
it, apply it. `matching-engine` does the same with the same parts: stamp, append, sync, process. The
two logs do not hold the same: V2's has the events, too, so that a replay can be compared with what
was answered, and V2 feeds an audit log from it. That log is written by a process beside the engine,
which with a second processor costs the writer little; with one processor it would not be free.
How far the audit was behind when the writer had ended is the last column.

Then V2 whole: commands submitted by one thread with many on their way, queued, and answered by
the writer's thread. Against the first table it shows what queue, receipts and threads cost.

A batch of 1 pays one sync for each command, and measures the disk. Trades and best levels at the
end of each run were compared.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import v2_event_driven_engine as v2
from shared_tests.peers.adapters import load
from v2_event_driven_engine.engine import recovery
from v2_event_driven_engine.engine.audit_logger import AUDIT_LOG
from v2_event_driven_engine.engine.audit_process import AuditProcess
from v2_event_driven_engine.engine.event_log import EventLog
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.storage import DirectoryStorage

from .engines import SYMBOL, V2_LISTING, MatchingEngine, pipelined, v2_commands
from .findings import Options, Row, Section, Series, Table, Target, ratios
from .measure import directory, interleaved, seconds
from .workload import Operation, mixed

BATCHES = (1, 64, 1024)


class End(NamedTuple):
    """Where a book stands; two engines that took the same operations must agree in it."""

    trades: int
    best_bid: int | None
    best_ask: int | None


def measure(options: Options) -> Section:
    """Measure both tables."""
    options.status("making operations")
    operations = mixed(options.pick(200_000, 30_000)).operations
    sizes = {
        1: options.pick(3_000, 300),
        64: options.pick(60_000, 6_000),
        1024: len(operations),
    }
    missing = MatchingEngine.missing()
    writer_rows: list[Row] = []
    engine_rows: list[Row] = []
    targets: list[Target] = []
    for batch in BATCHES:
        part = operations[: sizes[batch]]
        rows, batch_targets = _writers(part, batch, missing, options)
        writer_rows += rows
        targets += batch_targets
        engine_rows += _engines(part, batch, options)
    work = "; ".join(f"{sizes[batch]:,} operations in batches of {batch:,}" for batch in BATCHES)
    columns = ["operations a second", "ratio to `matching-engine`", "audit behind, s"]
    tables = [
        Table("The writer's work alone", f"{work}.", columns, writer_rows),
        Table(
            "V2 whole, one producer",
            f"{work} at most.",
            ["operations a second", "audit behind, s"],
            engine_rows,
        ),
    ]
    notes = [f"`matching-engine` did not run: {missing}."] if missing else []
    return Section("Durable", __doc__ or "", tables, targets=targets, notes=notes)


def _writers(
    operations: list[Operation], batch: int, missing: str | None, options: Options
) -> tuple[list[Row], list[Target]]:
    """One batch size, in turns: the peer, V2 with the audit off and with the audit on."""
    behind: list[float] = []
    ends: set[End] = set()
    builds: dict[str, Callable[[], float]] = {
        "V2, audit off": partial(v2_writer, operations, batch, ends),
        "V2, audit on": partial(v2_writer, operations, batch, ends, behind),
    }
    if missing is None:
        builds[MatchingEngine.name] = partial(peer_writer, operations, batch, ends)
    rates = interleaved(builds, options.repetitions, options.status)
    assert len(ends) == 1, f"the engines do not end in the same state: {ends}"
    theirs = rates.get(MatchingEngine.name)
    rows = [
        Row(
            f"{name}, batch {batch:,}",
            [
                Series.of(found),
                ratios(found, theirs) if theirs else "-",
                Series.of(behind) if name == "V2, audit on" else "-",
            ],
        )
        for name, found in rates.items()
    ]
    targets = []
    if batch == BATCHES[-1]:
        for build, bound in (("V2, audit off", 1.75), ("V2, audit on", 1.25)):
            against = ratios(rates[build], theirs) if theirs else None
            figure = f"durable, batches of {batch:,}, {build.removeprefix('V2, ')}"
            targets.append(Target(figure, against, bound, reason=missing or ""))
        pairs = zip(rates["V2, audit off"], rates["V2, audit on"], strict=True)
        cost = Series.of(1 - on / off for off, on in pairs)
        figure = "share of the writer's rate that the audit costs (no ratio to a peer)"
        obstacle = "The audit's process had no processor to itself."
        targets.append(Target(figure, cost, 0.15, at_least=False, obstacle=obstacle))
    return rows, targets


def batches(commands: Any, size: int) -> Any:
    """Lists of commands, built as they are asked for."""
    while batch := list(islice(commands, size)):
        yield batch


def v2_writer(
    operations: Sequence[Operation],
    batch: int,
    ends: set[End],
    behind: list[float] | None = None,
) -> float:
    """Operations a second through V2's sequencer; with `behind` the audit runs beside it."""
    with directory() as data_dir:
        storage = DirectoryStorage(data_dir, create=True)
        state, store = recovery.open_log(storage)
        sequencer = Sequencer(state, store, EventLog(), time.time_ns)
        sequencer.process([V2_LISTING])
        sequencer.idle()
        audit = None if behind is None else AuditProcess(data_dir)
        if audit is not None:
            wait_for_audit(data_dir)
        commands = v2_commands(operations)
        work = (sequencer.process(each) for each in batches(commands, batch))
        taken = seconds(lambda: deque(work, maxlen=0))
        sequencer.seal()
        if audit is not None and behind is not None:
            started = time.perf_counter()
            assert audit.finish() == 0
            behind.append(time.perf_counter() - started)
        store.close()
        ends.add(v2_end(state.matcher))
        return len(operations) / taken


def wait_for_audit(data_dir: Path) -> None:
    """Return once the audit process has started up and written what there was."""
    path = data_dir / AUDIT_LOG
    while not (path.exists() and path.stat().st_size):
        time.sleep(0.01)


def v2_end(matcher: Matcher) -> End:
    """Where V2's book stands."""
    book = matcher.books[SYMBOL]
    bid, ask = book.bids.depth(1), book.asks.depth(1)
    return End(matcher.last_trade_id, bid[0][0] if bid else None, ask[0][0] if ask else None)


def peer_writer(operations: Sequence[Operation], batch: int, ends: set[End]) -> float:
    """Operations a second through `matching-engine`'s own steps, as its worker has them."""
    with directory() as data_dir:
        journal = load("matching_engine.journal").Journal(data_dir)
        engine, _ = journal.recover()
        stamp = load("matching_engine.sequencer").Sequencer().stamp
        journal.open(1)

        def work() -> None:
            append, process = journal.append, engine.process
            for commands in batches(MatchingEngine.commands(operations), batch):
                stamped = [stamp(command) for command in commands]
                for command in stamped:
                    append(command)
                journal.sync()
                for command in stamped:
                    process(command)

        taken = seconds(work)
        journal.close()
        ends.add(peer_end(engine))
        return len(operations) / taken


def peer_end(engine: Any) -> End:
    """Where the book of `matching-engine` stands."""
    bid, ask = engine.book.bids.best(), engine.book.asks.best()
    return End(engine.next_trade_id - 1, bid and bid.price, ask and ask.price)


def _engines(operations: list[Operation], batch: int, options: Options) -> list[Row]:
    """V2 whole at one batch size."""
    behind: list[float] = []
    builds = {
        "audit off": partial(v2_whole, operations, batch, None),
        "audit on": partial(v2_whole, operations, batch, behind),
    }
    rates = interleaved(builds, options.repetitions, options.status)
    return [
        Row(
            f"{name}, batches of at most {batch:,}",
            [Series.of(found), Series.of(behind) if name == "audit on" else "-"],
        )
        for name, found in rates.items()
    ]


def v2_whole(operations: list[Operation], batch: int, behind: list[float] | None) -> float:
    """Operations a second from the first submit to the last answer."""
    with directory() as data_dir:
        engine = v2.EventDrivenMatchingEngine.open(
            data_dir, instruments=[V2_LISTING], max_batch=batch, audit=behind is not None
        )
        engine.state()  # answered behind the listing
        if behind is not None:
            wait_for_audit(data_dir)
        taken = seconds(lambda: deque(pipelined(engine, v2_commands(operations)), maxlen=0))
        closing = seconds(engine.close)
        if behind is not None:
            behind.append(closing)
        return len(operations) / taken
