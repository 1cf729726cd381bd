"""How long a client waits for an answer that is durable.

**Closed loop.** A client sends its next command when it has the answer to its last. The clients of
V2 are slots of one thread's window: it waits for the oldest answer and sends that client's next
command. The clients of `matching-engine` are asyncio tasks that await its `MarketWorker`, as its
gateway has them; snapshots are off. Real threads come last: there every answer wakes a thread, and
under the interpreter's lock that costs more than the command.

**Open loop.** Commands are due at fixed times, whatever becomes of those before, as it is with
strangers who do not wait for each other. Latency counts from the time a command was *due*: an
engine that cannot keep up cannot hide it by making its clients late (no coordinated omission).
Rates are shares of what each engine reached in the closed loop with the most clients, so each
column of rates is its own. Where a rate is not kept up with, latency grows with the length of the
run and says only that. An answer is taken by a second thread (V2) or by a task of its own
(`matching-engine`), which is work that the closed loops do not have.

The log is synced, batches are as large as V2 makes them at most, the audit is off:
`matching-engine` has none.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any

from v2_event_driven_engine import Receipt
from v2_event_driven_engine.engine.sequencer import MAX_BATCH

from .engines import SYMBOL, MatchingEngine, v2_commands, v2_engine
from .findings import Options, Plot, Point, Row, Section, Series, Table, Target, ratios
from .measure import Loop, directory, interleaved, wait_percentiles
from .peers.adapters import load
from .threads import at_once, one_by_one
from .workload import Operation, mixed

CLIENTS = (1, 64, 1024)
THREADS = (1, 64)
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
PERCENTILES = (0.5, 0.99, 0.999)
COLUMNS = ["p50, µs", "p99, µs", "p99.9, µs"]


Run = Callable[[], Loop]


def measure(options: Options) -> Section:
    """Measure the closed loop, then the curve."""
    options.status("making operations")
    operations = mixed(options.pick(200_000, 10_000)).operations
    many = operations[: options.pick(60_000, 6_000)]
    missing = MatchingEngine.missing() or _gateway_missing()
    closed: dict[str, list[Loop]] = {}
    for clients in CLIENTS:
        part = operations[: options.pick(5_000, 500)] if clients == 1 else many
        builds: dict[str, Run] = {f"V2, clients: {clients:,}": partial(v2_closed, part, clients)}
        if missing is None:
            builds[f"{MatchingEngine.name}, clients: {clients:,}"] = partial(
                peer_closed, part, clients
            )
        closed |= interleaved(builds, options.repetitions, options.status)
    for threads in THREADS:
        part = operations[: options.pick(10_000, 1_000)]
        build = {f"V2, threads: {threads}": partial(v2_threads, part, threads)}
        closed |= interleaved(build, options.repetitions, options.status)
    rows = [
        Row(name, [Series.of(loop.rate for loop in loops), *wait_percentiles(loops, PERCENTILES)])
        for name, loops in closed.items()
    ]
    work = (
        f"{len(many):,} operations; {options.pick(5_000, 500):,} with 1 client, "
        f"{options.pick(10_000, 1_000):,} with threads."
    )
    closed_table = Table("Closed loop", work, ["operations a second", *COLUMNS], rows)
    open_table, plot = _curve(operations, closed, missing, options)
    figure = "64 closed-loop clients, durable"
    if missing is None:
        pair = [[loop.rate for loop in closed[f"{n}, clients: 64"]] for n in _names(missing)]
        target = Target(figure, ratios(*pair), 1.5)
    else:
        target = Target(figure, None, 1.5, reason=f"`{MatchingEngine.name}`: {missing}")
    return Section(
        "Latency",
        __doc__ or "",
        [closed_table, open_table],
        [plot],
        [target],
        [f"`{MatchingEngine.name}` did not run: {missing}."] if missing else [],
    )


def _names(missing: str | None) -> list[str]:
    return ["V2"] if missing else ["V2", MatchingEngine.name]


def _curve(
    operations: list[Operation],
    closed: dict[str, list[Loop]],
    missing: str | None,
    options: Options,
) -> tuple[Table, Plot]:
    """Latency against offered rate, each engine at shares of its own maximum."""
    opened: dict[str, Callable[[list[Operation], float], Loop]] = {
        "V2": v2_open,
        MatchingEngine.name: peer_open,
    }
    limit_seconds = options.pick(20, 3) / 10
    most = {
        name: Series.of(loop.rate for loop in closed[f"{name}, clients: {CLIENTS[-1]:,}"]).median
        for name in _names(missing)
    }
    rows: list[Row] = []
    curves: dict[str, list[Point]] = {}
    repetitions = min(options.repetitions, 3)
    for share in SHARES:
        builds: dict[str, Run] = {
            name: partial(
                opened[name], operations[: int(maximum * share * limit_seconds)], maximum * share
            )
            for name, maximum in most.items()
        }
        for name, loops in interleaved(builds, repetitions, options.status).items():
            waits = wait_percentiles(loops, PERCENTILES)
            rate = most[name] * share
            rows.append(Row(f"{name}, {share:.0%}", [f"{rate:,.0f}", *waits]))
            for label, wait in (("p50", waits[0]), ("p99", waits[1])):
                curves.setdefault(f"{name}, {label}", []).append(Point(rate, wait))
    work = f"At most {limit_seconds:g} s and {len(operations):,} operations; {repetitions} times."
    table = Table("Open loop", work, ["offered, operations a second", *COLUMNS], rows)
    plot = Plot(
        "latency", "Wait against offered rate", "offered, operations a second", "µs", curves
    )
    return table, plot


# -- V2 --------------------------------------------------------------------------------------------


def v2_closed(operations: list[Operation], clients: int) -> Loop:
    """Clients as slots of one thread's window."""
    clock = time.perf_counter_ns
    waits: list[int] = []
    window: deque[tuple[int, Receipt[Any]]] = deque()
    with v2_engine(durable=True) as engine:
        submit = engine.submit
        started = clock()
        for command in v2_commands(operations):
            if len(window) == clients:
                sent, receipt = window.popleft()
                receipt.result()
                waits.append(clock() - sent)
            window.append((clock(), submit(command)))
        for sent, receipt in window:
            receipt.result()
            waits.append(clock() - sent)
        return Loop.of(len(waits), clock() - started, waits)


def v2_threads(operations: list[Operation], threads: int) -> Loop:
    """Each client a thread; they share the operations out, and so change their order.

    A cancel may come before its order and be refused: what is measured is the waiting.
    """
    commands = list(v2_commands(operations))
    with v2_engine(durable=True) as engine:
        client = one_by_one(lambda command: engine.submit(command).result())
        return at_once(client, [commands[number::threads] for number in range(threads)])


def v2_open(operations: list[Operation], rate: float) -> Loop:
    """One thread sends what is due, another takes the answers."""
    clock = time.perf_counter_ns
    waits: list[int] = []
    sent: SimpleQueue[tuple[int, Receipt[Any]] | None] = SimpleQueue()
    commands = list(v2_commands(operations))
    gap = 1e9 / rate

    def take() -> None:
        while (next_one := sent.get()) is not None:
            due, receipt = next_one
            receipt.result()
            waits.append(clock() - due)

    with v2_engine(durable=True) as engine:
        taker = threading.Thread(target=take)
        taker.start()
        started = clock()
        for number, command in enumerate(commands):
            due = started + int(number * gap)
            if (early := due - clock()) > 0:
                time.sleep(early / 1e9)
            sent.put((due, engine.submit(command)))
        sent.put(None)
        taker.join()
        return Loop.of(len(waits), clock() - started, waits)


# -- matching-engine -------------------------------------------------------------------------------


GATEWAY = "matching_engine.gateway"


def _gateway_missing() -> str | None:
    """Why its gateway, which is an extra of the distribution, cannot run here."""
    try:
        load(f"{GATEWAY}.worker")
    except ImportError as error:
        return f"its extra `gateway` is not installed ({error})"
    return None


@asynccontextmanager
async def _worker() -> Any:
    """Its worker over a journal on the disk; yields what submits one command of ours."""
    with directory() as data_dir:
        journal = load("matching_engine.journal").Journal(data_dir)
        engine, report = journal.recover()
        spec = load("matching_engine.market").MarketSpec.parse(f"{SYMBOL}:1:1")
        hub = load(f"{GATEWAY}.marketdata").MarketDataHub(
            spec, depth_levels=20, subscriber_queue=1000
        )
        worker = load(f"{GATEWAY}.worker").MarketWorker(
            spec, journal, engine, report, hub,
            batch_max=MAX_BATCH, queue_max=1_000_000, snapshot_every=10**12,
        )  # fmt: skip
        worker.start()
        yield lambda command: worker.submit(lambda _sequence: command)
        await worker.stop()


def peer_closed(operations: list[Operation], clients: int) -> Loop:
    """Each client a task."""
    clock = time.perf_counter_ns
    waits: list[int] = []

    async def go() -> Loop:
        async with _worker() as submit:
            commands = MatchingEngine.commands(operations)

            async def client() -> None:
                for command in commands:
                    sent = clock()
                    await submit(command)
                    waits.append(clock() - sent)

            started = clock()
            await asyncio.gather(*(client() for _ in range(clients)))
            return Loop.of(len(waits), clock() - started, waits)

    return asyncio.run(go())


def peer_open(operations: list[Operation], rate: float) -> Loop:
    """One task sends what is due, and each command waits in a task of its own."""
    clock = time.perf_counter_ns
    waits: list[int] = []
    gap = 1e9 / rate

    async def go() -> Loop:
        async with _worker() as submit:

            async def client(due: int, command: Any) -> None:
                await submit(command)
                waits.append(clock() - due)

            commands = list(MatchingEngine.commands(operations))
            tasks: set[asyncio.Task[None]] = set()
            started = clock()
            for number, command in enumerate(commands):
                due = started + int(number * gap)
                if (early := due - clock()) > 0:
                    await asyncio.sleep(early / 1e9)
                elif number % 64 == 0:
                    await asyncio.sleep(0)  # late: let the worker in all the same
                task = asyncio.create_task(client(due, command))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
            return Loop.of(len(waits), clock() - started, waits)

    return asyncio.run(go())
