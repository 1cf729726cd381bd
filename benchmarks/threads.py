"""What removing V1's lock buys under the interpreter's own lock (the GIL), and what it does not.

**Producers.** The same commands from one thread or shared out between several. V1's producers call
and have their answer. V2's either wait for each answer, which is the same contract, or have many
commands on their way. More threads make neither faster: matching is a sequence by nature, and one
thread at a time runs Python anyway. V2's producers that wait pay for being woken: in memory V1 wins
by far. Where they need not wait, V2's batches make up for it, with a log or without, and V2 loses
far less than V1 by switching threads. The wait of a V2 producer with many on their way is no
figure of its own: it is as long as the window that it chose.

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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from v2_event_driven_engine.cli.session import IN_FLIGHT
from v2_event_driven_engine.engine.sequencer import MAX_BATCH
from v2_event_driven_engine.main import SWITCH_INTERVAL_SECONDS

from .engines import SYMBOL, V1_LISTING, pipelined, v2_engine
from .findings import Options, Plot, Point, Row, Section, Series, Table
from .measure import Loop, interleaved, percentile, wait_percentiles

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


def at_once(producer: Producer, flows: Sequence[Sequence[Any]]) -> Loop:
    """A thread for each flow, all at once, until the last has ended."""
    waits: list[int] = []
    threads = [
        threading.Thread(target=lambda flow: waits.extend(producer(flow)), args=(flow,))
        for flow in flows
    ]
    started = time.perf_counter_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Loop.of(sum(map(len, flows)), time.perf_counter_ns() - started, waits)


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


def through_the_lock(producers: int, count: int) -> Loop:
    """V1."""
    engine = v1.MatchingEngine()
    engine.submit(V1_LISTING)
    flows = [orders(v1, 1 + number, count // producers) for number in range(producers)]
    return at_once(one_by_one(engine.submit), flows)


def through_the_queue(
    producers: int, count: int, *, durable: bool, waiting: bool, max_batch: int = MAX_BATCH
) -> Loop:
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
    queue = partial(through_the_queue, count=most, waiting=False)
    waiting = partial(through_the_queue, count=few, waiting=True)
    runs: dict[str, Callable[[int], Loop]] = {
        "V1": partial(through_the_lock, count=most),
        "V2 in memory, waiting": partial(waiting, durable=False),
        "V2 in memory, many on their way": partial(queue, durable=False),
        "V2 durable, waiting": partial(waiting, durable=True),
        "V2 durable, many on their way": partial(queue, durable=True),
    }
    rows: dict[str, list[Row]] = {name: [] for name in runs}
    curves: dict[str, list[Point]] = {name: [] for name in runs}
    for producers in PRODUCERS:
        builds = {name: partial(run, producers) for name, run in runs.items()}
        for name, loops in interleaved(builds, options.repetitions, options.status).items():
            rates = Series.of(loop.rate for loop in loops)
            timed = all(loop.waits for loop in loops)
            waits = wait_percentiles(loops, (0.5, 0.99)) if timed else ["-", "-"]
            rows[name].append(Row(f"{name}, threads: {producers}", [rates, *waits]))
            curves[name].append(Point(producers, rates))
    table = Table(
        "Producers",
        f"{most:,} orders, {few:,} where V2's producers wait; about every second one trades. Up to "
        f"{IN_FLIGHT:,} on their way, shared out between the threads.",
        ["commands a second", "p50, µs", "p99, µs"],
        [row for part in rows.values() for row in part],
    )
    return table, Plot(
        "threads", "Producers", "threads", "commands a second", curves, x_scale="linear"
    )


def _batches(options: Options) -> Table:
    count = options.pick(8_000, 800)

    builds = {
        f"at most {size:,}": partial(
            through_the_queue, 1, count, durable=True, waiting=False, max_batch=size
        )
        for size in BATCHES
    }
    found = interleaved(builds, options.repetitions, options.status)
    rows = [Row(name, [Series.of(loop.rate for loop in loops)]) for name, loops in found.items()]
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
        loop = at_once(
            one_by_one(lambda command: engine.submit(command).result()), [orders(v2, 1, count)]
        )
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    return percentile(loop.waits, 0.5)
