"""What a log costs that is synced before anything is answered.

First the writer's work alone, in one thread: build a batch of commands, stamp it, write it, sync
it, apply it. `matching-engine` does the same with the same parts: stamp, append, sync, process. The
two logs do not hold the same: V2's has the events, too, so that a replay can be compared with what
was answered, and V2 feeds an audit log from it. That log is written by a process beside the engine,
which with a second processor costs the writer little; with one processor it would not be free.
How much later than the writer the audit had ended is a column, and how many commands a second its
process worked off, as a share of the writer's rate: from the first batch to the last line of the
trail. V2's writer takes requests, commands with a place for their answer; here it is one request a
batch, as `submit_many` makes it in the engine, and making it is timed.

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
from pathlib import Path
from typing import Any, NamedTuple

import v2_event_driven_engine as v2
from v2_event_driven_engine.engine.audit.process import AuditProcess
from v2_event_driven_engine.engine.audit.trail import AUDIT_LOG
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.receipt import SubmittedMany
from v2_event_driven_engine.engine.sequencer import MAX_BATCH, Sequencer
from v2_event_driven_engine.engine.subscribers import Subscribers
from v2_event_driven_engine.engine.wal_event_store import WalEventStore

from .engines import SYMBOL, V2_LISTING, MatchingEngine, batches, pipelined, v2_commands
from .findings import Options, Row, Section, Series, Table, Target, ratios
from .measure import directory, interleaved, seconds
from .peers.adapters import load
from .workload import Operation, mixed

BATCHES = (1, 64, MAX_BATCH)


class Audited(NamedTuple):
    """How the audit of one run ended."""

    later: float
    """Seconds after the writer, until its process had ended."""
    share: float
    """Its commands a second, until the last line was written, to the writer's."""


class End(NamedTuple):
    """The end of a run; two engines that took the same operations must agree in it."""

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
        MAX_BATCH: len(operations),
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
    columns = [
        "operations a second",
        "ratio to `matching-engine`",
        "audit later, s",
        "audit's rate to the writer's",
    ]
    tables = [
        Table("The writer's work alone", f"{work}.", columns, writer_rows),
        Table(
            "V2 whole, one producer",
            f"{work} at most.",
            ["operations a second", "audit later, s"],
            engine_rows,
        ),
    ]
    notes = [f"`matching-engine` did not run: {missing}."] if missing else []
    return Section("Durable", __doc__ or "", tables, targets=targets, notes=notes)


def _writers(
    operations: list[Operation], batch: int, missing: str | None, options: Options
) -> tuple[list[Row], list[Target]]:
    """One batch size, in turns: the peer, V2 with the audit off and with the audit on."""
    audited: list[Audited] = []
    ends: set[End] = set()
    builds: dict[str, Callable[[], float]] = {
        "V2, audit off": partial(v2_writer, operations, batch, ends),
        "V2, audit on": partial(v2_writer, operations, batch, ends, audited),
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
                Series.of(each.later for each in audited) if name == "V2, audit on" else "-",
                Series.of(each.share for each in audited) if name == "V2, audit on" else "-",
            ],
        )
        for name, found in rates.items()
    ]
    targets = []
    if batch == BATCHES[-1]:
        for build in ("V2, audit off", "V2, audit on"):
            against = ratios(rates[build], theirs) if theirs else None
            figure = f"durable, batches of {batch:,}, {build.removeprefix('V2, ')}"
            obstacle = "See [Anatomy](#anatomy): matching is most of the writer's work."
            targets.append(Target(figure, against, 2.2, reason=missing or "", obstacle=obstacle))
        pairs = zip(rates["V2, audit off"], rates["V2, audit on"], strict=True)
        cost = Series.of(1 - on / off for off, on in pairs)
        figure = "share of the writer's rate that the audit costs (no ratio to a peer)"
        obstacle = "The audit's process had no processor to itself."
        targets.append(Target(figure, cost, 0.15, at_least=False, obstacle=obstacle))
        figure = "commands a second of the audit process, to the durable writer's in the same run"
        share = Series.of(each.share for each in audited)
        obstacle = "It hashes each line, and there are 1.6 lines for a command."
        targets.append(Target(figure, share, 0.5, obstacle=obstacle))
    return rows, targets


def v2_writer(
    operations: Sequence[Operation],
    batch: int,
    ends: set[End],
    audited: list[Audited] | None = None,
) -> float:
    """Operations a second through V2's sequencer; with `audited` the audit runs beside it."""
    with directory() as data_dir:
        storage = DirectoryStorage(data_dir, create=True)
        log = WalEventStore(storage)
        log.start(START)
        matcher = Matcher()
        sequencer = Sequencer(matcher, log, Subscribers(), time.time_ns)
        sequencer.process([SubmittedMany([V2_LISTING])])
        sequencer.idle()
        audit = AuditProcess(storage)
        if audited is not None:
            audit.start()
            wait_for_audit(data_dir)
        commands = v2_commands(operations)
        work = (sequencer.process([SubmittedMany(each)]) for each in batches(commands, batch))
        begun = time.time()
        taken = seconds(lambda: deque(work, maxlen=0))
        sequencer.close()
        if audited is not None:
            later = seconds(audit.finish)
            assert not audit.is_behind
            last_line = (data_dir / AUDIT_LOG).stat().st_mtime
            audited.append(Audited(later, taken / (last_line - begun)))
        log.close()
        ends.add(v2_end(matcher))
        return len(operations) / taken


def wait_for_audit(data_dir: Path) -> None:
    """Return once the audit process has started up and written what there was."""
    path = data_dir / AUDIT_LOG
    while not (path.exists() and path.stat().st_size):
        time.sleep(0.01)


def v2_end(matcher: Matcher) -> End:
    """V2's end."""
    bids, asks = matcher.depth(SYMBOL, 1)
    return End(
        matcher.last_trade_id, bids[0].price if bids else None, asks[0].price if asks else None
    )


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
    """The end of `matching-engine`."""
    bid, ask = engine.book.bids.best(), engine.book.asks.best()
    return End(engine.next_trade_id - 1, bid and bid.price, ask and ask.price)


def _engines(operations: list[Operation], batch: int, options: Options) -> list[Row]:
    """V2 whole at one batch size."""
    delays: list[float] = []
    builds = {
        "audit off": partial(v2_whole, operations, batch, None),
        "audit on": partial(v2_whole, operations, batch, delays),
    }
    rates = interleaved(builds, options.repetitions, options.status)
    return [
        Row(
            f"{name}, batches of at most {batch:,}",
            [Series.of(found), Series.of(delays) if name == "audit on" else "-"],
        )
        for name, found in rates.items()
    ]


def v2_whole(operations: list[Operation], batch: int, delays: list[float] | None) -> float:
    """Operations a second from the first submit to the last answer."""
    with directory() as data_dir:
        engine = v2.MatchingEngine.open(
            data_dir, instruments=[V2_LISTING], max_batch=batch, audit=delays is not None
        )
        if delays is not None:
            wait_for_audit(data_dir)
        taken = seconds(lambda: deque(pipelined(engine, v2_commands(operations)), maxlen=0))
        closing = seconds(engine.close)
        if delays is not None:
            delays.append(closing)
        return len(operations) / taken
