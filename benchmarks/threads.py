"""What removing V1's lock buys under the interpreter's own lock (the GIL), and what it does not.

**Producers.** The same commands from one thread or shared out between several. V1's producers call
and have their answer. V2's either wait for each answer, which is the same contract, or have many
commands on their way. More threads make neither faster: matching is a sequence by nature, and one
thread at a time runs Python anyway. V2's producers that wait pay for being woken: in memory V1 wins
by far. Where they need not wait, and with a log, V2's batches make up for it. The wait of a V2
producer with many on their way is not a figure of its own: it is as long as the window that it
chose.

**Batches.** A sync costs the same for one command and for a thousand. A batch is what came in while
the last one was being synced; here it is bounded.

**The convoy.** The writer gives the GIL up for each sync and must get it back afterwards. If
another thread computes, that takes a whole switch interval, once to begin, once after the sync, and
once more for the producer to read the answer. Removing the lock does not help with that; a shorter
switch interval does, or computing in another process.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2

from .engines import IN_FLIGHT, SYMBOL, V1_LISTING, V2_LISTING, pipelined
from .findings import Options, Plot, Point, Row, Section, Series, Table
from .measure import SWITCH_INTERVAL_SECONDS, directory, interleaved, percentile, still_collector

PRODUCERS = (1, 2, 4, 8, 16)
BATCHES = (1, 8, 64, 512, 4096)
BUSY = (0, 1, 2)
PYTHONS_SWITCH_INTERVAL_SECONDS = 0.005
MID = 10_000

Producer = Callable[[Sequence[Any]], list[int]]
"""Sends commands and returns how long each took, in ns; nothing where that is not asked."""


def measure(options: Options) -> Section:
    """Measure the three tables."""
    producers, plot = _producers(options)
    return Section(
        "Threads", __doc__ or "", [producers, _batches(options), _convoy(options)], [plot]
    )


def orders(version: Any, participant: int, count: int) -> list[Any]:
    """Buys and sells of one lot around one price: about every second one trades."""
    first = participant * 1_000_000
    return [
        version.NewOrder(
            order_id=first + number,
            participant=participant,
            symbol=SYMBOL,
            side=version.Side.BUY if number % 2 else version.Side.SELL,
            type=version.OrderType.LIMIT,
            price=MID + number % 5 * (-1 if number % 2 else 1),
            quantity=1,
        )
        for number in range(1, count + 1)
    ]


def at_once(producer: Producer, flows: Sequence[Sequence[Any]]) -> tuple[float, list[int]]:
    """A thread for each flow, all at once: seconds until the last has ended, and all waits."""
    waits: list[int] = []
    threads = [
        threading.Thread(target=lambda flow: waits.extend(producer(flow)), args=(flow,))
        for flow in flows
    ]
    with still_collector():
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started, waits


def one_by_one(execute: Callable[[Any], object]) -> Producer:
    """A producer that has each answer before it sends the next command."""
    clock = time.perf_counter_ns

    def producer(commands: Sequence[Any]) -> list[int]:
        waits = []
        for command in commands:
            sent = clock()
            execute(command)
            waits.append(clock() - sent)
        return waits

    return producer


@contextmanager
def v2_engine(*, durable: bool, max_batch: int = 1024) -> Iterator[v2.EventDrivenMatchingEngine]:
    """V2 with the instrument listed; the audit is off."""
    listed = [V2_LISTING]
    if not durable:
        with v2.EventDrivenMatchingEngine.in_memory(instruments=listed) as engine:
            yield engine
        return
    with (
        directory() as data_dir,
        v2.EventDrivenMatchingEngine.open(
            data_dir, instruments=listed, max_batch=max_batch, audit=False
        ) as engine,
    ):
        yield engine


def through_the_lock(producers: int, count: int) -> tuple[float, list[int]]:
    """V1."""
    engine = v1.MatchingEngine()
    engine.submit(V1_LISTING)
    flows = [orders(v1, 1 + number, count // producers) for number in range(producers)]
    return at_once(one_by_one(engine.submit), flows)


def through_the_queue(
    producers: int, count: int, *, durable: bool, waiting: bool, max_batch: int = 1024
) -> tuple[float, list[int]]:
    """V2."""
    flows = [orders(v2, 1 + number, count // producers) for number in range(producers)]
    with v2_engine(durable=durable, max_batch=max_batch) as engine:

        def many(commands: Sequence[Any]) -> list[int]:
            deque(pipelined(engine, commands, IN_FLIGHT // producers), maxlen=0)
            return []

        waits = one_by_one(lambda command: engine.submit(command).result())
        return at_once(waits if waiting else many, flows)


def _producers(options: Options) -> tuple[Table, Plot]:
    most = options.pick(40_000, 4_000)
    few = options.pick(8_000, 800)
    runs: dict[str, Callable[[int], tuple[float, list[int]]]] = {
        "V1": partial(through_the_lock, count=most),
        "V2 in memory, waiting": partial(through_the_queue, count=few, durable=False, waiting=True),
        "V2 in memory, many on their way": partial(
            through_the_queue, count=most, durable=False, waiting=False
        ),
        "V2 durable, waiting": partial(through_the_queue, count=few, durable=True, waiting=True),
        "V2 durable, many on their way": partial(
            through_the_queue, count=most, durable=True, waiting=False
        ),
    }
    counts = {name: few if name.endswith("waiting") else most for name in runs}
    rows: dict[tuple[str, int], Row] = {}
    curves: dict[str, list[Point]] = {name: [] for name in runs}
    for producers in PRODUCERS:
        waits: dict[str, list[list[int]]] = {name: [] for name in runs}

        def rate(name: str, producers: int, waits: dict[str, list[list[int]]]) -> float:
            taken, found = runs[name](producers)
            waits[name].append(sorted(found))
            return counts[name] / taken

        builds = {name: partial(rate, name, producers, waits) for name in runs}
        for name, rates in interleaved(builds, options.repetitions, options.status).items():
            series = Series.of(rates)
            percentiles: list[Series | str] = [
                Series.of(percentile(found, share) / 1e3 for found in waits[name])
                if waits[name][0]
                else "-"
                for share in (0.5, 0.99)
            ]
            rows[name, producers] = Row(f"{name}, threads: {producers}", [series, *percentiles])
            curves[name].append(Point(producers, series))
    table = Table(
        "Producers",
        f"{most:,} orders, {few:,} where V2's producers wait; about every second one trades. Up to "
        f"{IN_FLIGHT:,} on their way, shared out between the threads.",
        ["commands a second", "p50, µs", "p99, µs"],
        [rows[name, producers] for name in runs for producers in PRODUCERS],
    )
    return table, Plot("threads", "Producer threads", "threads", "commands a second", curves)


def _batches(options: Options) -> Table:
    count = options.pick(8_000, 800)

    def rate(size: int) -> float:
        taken, _ = through_the_queue(1, count, durable=True, waiting=False, max_batch=size)
        return count / taken

    builds = {f"at most {size:,}": partial(rate, size) for size in BATCHES}
    found = interleaved(builds, options.repetitions, options.status)
    rows = [Row(name, [Series.of(rates)]) for name, rates in found.items()]
    work = f"{count:,} orders from one thread with many on their way."
    return Table("V2 durable, by commands a batch", work, ["commands a second"], rows)


def _convoy(options: Options) -> Table:
    count = options.pick(150, 30)
    intervals = (PYTHONS_SWITCH_INTERVAL_SECONDS, SWITCH_INTERVAL_SECONDS)
    builds = {
        f"busy threads: {busy}, switch interval {interval * 1e3:g} ms": partial(
            lone_wait_us, busy, interval, count
        )
        for interval in intervals
        for busy in BUSY
    }
    found = interleaved(builds, options.repetitions, options.status)
    rows = [Row(name, [Series.of(waits)]) for name, waits in found.items()]
    work = (
        f"{count} orders, one at a time, beside threads that only compute; the median wait of each "
        "repetition."
    )
    return Table("V2 durable, beside threads that compute", work, ["µs to the answer"], rows)


def lone_wait_us(busy: int, switch_interval: float, count: int) -> float:
    """The median wait for a durable answer, one command at a time."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(200))

    threads = [threading.Thread(target=compute) for _ in range(busy)]
    with v2_engine(durable=True) as engine:
        sys.setswitchinterval(switch_interval)
        for thread in threads:
            thread.start()
        _, waits = at_once(
            one_by_one(lambda command: engine.submit(command).result()), [orders(v2, 1, count)]
        )
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    return percentile(sorted(waits), 0.5) / 1e3
