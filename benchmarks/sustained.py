"""What becomes of V2 under load that does not end: does anything fall behind, or grow?

V2 whole, with its log on the disk and the audit beside it. First its maximum is measured: one
producer, many commands on their way. Then the producer offers a share of that for a long time, in
steady work on a book that stays as large as it was.

The audit *lags* by the commands that have been answered and have no line in the trail yet. It looks
at the log every 50 ms, so it is up to that late even where it keeps up. At the end the engine is
closed, which takes until the trail is whole. The memory is what each process has resident, after a
third of the time and at the end of it. V2's engine keeps the status of each order id for ever, so
it must grow by as much for each order that was entered; the audit process knows resting orders
only, and must not grow.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import v2_event_driven_engine as v2
from v2_event_driven_engine.engine.audit.trail import AUDIT_LOG

from .durable import wait_for_audit
from .engines import V2_LISTING, pipelined, v2_commands
from .findings import Options, Row, Section, Series, Table, Target
from .measure import directory, seconds
from .workload import resting, steady

ORDERS, LEVELS = 10_000, 100
"""The book, at the beginning and for ever."""
SHARE = 0.7
"""Of the maximum that is offered."""
TICK = 64
"""The producer looks at the clock after so many commands."""
BYTES_PER_MEGABYTE = 1e6
TAIL_BYTES = 4096
"""More than two lines of the trail take."""


class Resident(NamedTuple):
    """Resident memory of both processes, in bytes, and how many orders were entered until then."""

    engine: int
    audit: int
    orders: int


class Load(NamedTuple):
    """What a long run found."""

    commands: int
    taken: float
    lag: int
    closing: float
    third: Resident
    end: Resident


def measure(options: Options) -> Section:
    """Measure the maximum, then offer a share of it for a minute."""
    duration = options.pick(60, 5)
    sample = options.pick(300_000, 30_000)
    options.status("the maximum")
    maximum = Series.of(_maximum(sample) for _ in range(options.pick(3, 1)))
    offered = SHARE * maximum.median
    options.status(f"{offered:,.0f} commands a second for {duration} s")
    load = _offer(offered, duration)
    behind = load.lag * load.taken / load.commands
    entered = load.end.orders - load.third.orders
    growth = (load.end.engine - load.third.engine) / entered
    table = Table(
        "Sustained load",
        f"{offered:,.0f} commands a second, {SHARE:.0%} of the maximum, for {duration} s; a book "
        f"of {ORDERS:,} orders.",
        ["the whole run", "after a third", "at the end"],
        [
            Row("the maximum, commands a second", [maximum, "-", "-"]),
            Row("commands answered", [f"{load.commands:,}", "-", "-"]),
            Row("the same, a second", [_one(load.commands / load.taken), "-", "-"]),
            Row("the audit lags, commands", ["-", "-", f"{load.lag:,}"]),
            Row("the audit lags, s", ["-", "-", _one(behind)]),
            Row("until the trail is whole after closing, s", ["-", "-", _one(load.closing)]),
            Row("memory of the engine, MB", ["-", *_megabytes(load.third.engine, load.end.engine)]),
            Row("the same, bytes for each order entered since", ["-", "-", _one(growth)]),
            Row(
                "memory of the audit process, MB",
                ["-", *_megabytes(load.third.audit, load.end.audit)],
            ),
        ],
    )
    run = f"sustained load, {duration} s"
    obstacle = "The audit's process had no processor to itself."
    targets = [
        Target(f"{run}: lag of the audit at the end, s (no ratio to a peer)", _one(behind), 1.0,
               at_least=False, obstacle=obstacle),
        Target(f"{run}: until the trail is whole after closing, s (no ratio to a peer)",
               _one(load.closing), 2.0, at_least=False, obstacle=obstacle),
        Target(f"{run}: memory of the audit process, the end to a third (no ratio to a peer)",
               _one(load.end.audit / load.third.audit), 1.1, at_least=False),
    ]  # fmt: skip
    return Section("Sustained load", __doc__ or "", [table], targets=targets)


def _one(figure: float) -> Series:
    return Series.of([figure])


def _megabytes(*sizes: int) -> list[Series | str]:
    return [_one(size / BYTES_PER_MEGABYTE) for size in sizes]


def _opened(data_dir: Path) -> v2.MatchingEngine:
    """An engine with its book filled, and its audit process at work."""
    engine = v2.MatchingEngine.open(data_dir, instruments=[V2_LISTING])
    wait_for_audit(data_dir)
    deque(pipelined(engine, v2_commands(resting(ORDERS, LEVELS))), maxlen=0)
    return engine


def _maximum(count: int) -> float:
    """Commands a second, as fast as they are answered."""
    with directory() as data_dir, _opened(data_dir) as engine:
        commands = v2_commands(islice(steady(ORDERS, LEVELS), count))
        return count / seconds(lambda: deque(pipelined(engine, commands), maxlen=0))


def _offer(rate: float, duration: float) -> Load:
    """One long run at a rate of commands a second."""
    with directory() as data_dir:
        engine = _opened(data_dir)
        [audit] = _children()
        started = time.perf_counter()
        count = 0
        orders = 0
        third: Resident | None = None

        def offered() -> Iterator[Any]:
            nonlocal count, orders, third
            for command in v2_commands(steady(ORDERS, LEVELS)):
                if count % TICK == 0:
                    elapsed = time.perf_counter() - started
                    if elapsed >= duration:
                        return
                    if third is None and elapsed >= duration / 3:
                        third = Resident(_resident(os.getpid()), _resident(audit), orders)
                    if (ahead := count / rate - elapsed) > 0:
                        time.sleep(ahead)
                count += 1
                orders += type(command) is v2.NewOrder
                yield command

        deque(pipelined(engine, offered()), maxlen=0)
        taken = time.perf_counter() - started
        audited = _audited(data_dir / AUDIT_LOG)
        lag = 1 + ORDERS + count - audited
        end = Resident(_resident(os.getpid()), _resident(audit), orders)
        assert third is not None
        closing = seconds(engine.close)
        assert not engine.audit_is_behind
        return Load(count, taken, lag, closing, third, end)


def _audited(trail: Path) -> int:
    """The sequence of the last whole line of a trail that is being written."""
    with trail.open("rb") as file:
        file.seek(-min(TAIL_BYTES, trail.stat().st_size), os.SEEK_END)
        *_, line, _ = file.read().split(b"\n")
    sequence: int = json.loads(line)["sequence"]
    return sequence


def _children() -> list[int]:
    """The processes that this one has started; each thread has a list of its own."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _resident(process: int) -> int:
    """Bytes of memory that a process has resident."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
