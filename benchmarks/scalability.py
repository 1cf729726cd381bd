"""What threads, batches and the interpreter's lock do: `python -m benchmarks.scalability`.

Three tables, each of them the median of several runs with the smallest and the largest:

1. the same commands from 1, 2, 4 and 8 producer threads, through V1's lock and V2's queue;
2. V2's log with at most 1, 8, 64, 512 and 4096 commands a batch: what a group commit saves;
3. the time from submit to durable answer of a lone command, beside 0, 1 and 2 threads that compute,
   with Python's own switch interval (5 ms) and with the one that V2's main.py sets (0.5 ms).

docs/scalability.md says how to read them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2

from .throughput import IN_FLIGHT, RESULTS, SWITCH_INTERVAL_SECONDS

COMMANDS = 40_000
COMMANDS_FOR_BATCHES = 8_000
LONE_COMMANDS = 150
MID = 10_000


def orders(version: Any, participant: int, count: int) -> list[Any]:
    """Buys and sells of one lot around one price: about every second one trades."""
    first = participant * 1_000_000
    return [
        version.NewOrder(
            order_id=first + number,
            participant=participant,
            symbol="ACME",
            side=version.Side.BUY if number % 2 else version.Side.SELL,
            type=version.OrderType.LIMIT,
            price=MID + number % 5 * (-1 if number % 2 else 1),
            quantity=1,
        )
        for number in range(1, count + 1)
    ]


def at_once(works: Sequence[Callable[[], None]]) -> float:
    """Run each work in a thread of its own, all at once; the seconds until the last has ended."""
    threads = [threading.Thread(target=work) for work in works]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def through_the_lock(producers: int) -> float:
    """Commands a second through V1."""
    engine = v1.MatchingEngine()
    engine.list_instrument("ACME", "0.01", "1")

    def work(commands: list[Any]) -> None:
        for command in commands:
            engine.submit(command)

    flows = [orders(v1, 1 + number, COMMANDS // producers) for number in range(producers)]
    return COMMANDS / at_once([partial(work, flow) for flow in flows])


def through_the_queue(producers: int, engine: v2.EventDrivenMatchingEngine, count: int) -> float:
    """Commands a second through V2."""

    def work(commands: list[Any]) -> None:
        receipts: list[Any] = []
        for number, command in enumerate(commands):
            if number >= IN_FLIGHT // producers:
                receipts[number - IN_FLIGHT // producers].result()
            receipts.append(engine.submit(command))
        for receipt in receipts[-IN_FLIGHT // producers :]:
            receipt.result()

    flows = [orders(v2, 1 + number, count // producers) for number in range(producers)]
    with engine:
        return count / at_once([partial(work, flow) for flow in flows])


INSTRUMENTS = [v2.ListInstrument("ACME", "0.01", "1")]


def in_memory(producers: int) -> float:
    """Commands a second through V2 without a log."""
    engine = v2.EventDrivenMatchingEngine.in_memory(instruments=INSTRUMENTS)
    return through_the_queue(producers, engine, COMMANDS)


def durable(max_batch: int, count: int, producers: int = 1) -> float:
    """Commands a second through V2 and its log on the disk."""
    with tempfile.TemporaryDirectory(dir=RESULTS) as data_dir:
        engine = v2.EventDrivenMatchingEngine.open(
            data_dir, instruments=INSTRUMENTS, max_batch=max_batch, audit=False
        )
        return through_the_queue(producers, engine, count)


def lone_latency_us(busy_threads: int, switch_interval: float) -> float:
    """The median microseconds from submit to durable answer, one command at a time."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(200))

    sys.setswitchinterval(switch_interval)
    threads = [threading.Thread(target=compute) for _ in range(busy_threads)]
    taken = []
    with (
        tempfile.TemporaryDirectory(dir=RESULTS) as data_dir,
        v2.EventDrivenMatchingEngine.open(data_dir, instruments=INSTRUMENTS, audit=False) as engine,
    ):
        for thread in threads:
            thread.start()
        for command in orders(v2, 1, LONE_COMMANDS):
            started = time.perf_counter()
            engine.submit(command).result()
            taken.append((time.perf_counter() - started) * 1e6)
        stop.set()
        for thread in threads:
            thread.join()
    return statistics.median(taken)


def row(label: str, runs: int, measure: Callable[[], float]) -> None:
    """Measure some times and print one line of a table."""
    found = [measure() for _ in range(runs)]
    print(f"{label:<34}{statistics.median(found):>10,.0f}{min(found):>10,.0f}{max(found):>10,.0f}")


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scalability")
    parser.add_argument("--runs", type=int, default=5, help="of each line (default: 5)")
    runs = parser.parse_args().runs
    RESULTS.mkdir(exist_ok=True)
    heading = f"{'median':>10}{'min':>10}{'max':>10}"
    default_interval = sys.getswitchinterval()

    print(f"{'1. commands a second, by threads':<34}{heading}")
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    for count in (1, 2, 4, 8):
        row(f"V1, threads: {count}", runs, partial(through_the_lock, count))
    for count in (1, 2, 4, 8):
        row(f"V2 in memory, threads: {count}", runs, partial(in_memory, count))
    for count in (1, 2, 4, 8):
        row(f"V2 durable, threads: {count}", runs, partial(durable, 1024, COMMANDS, count))

    print(f"\n{'2. commands a second, by batch':<34}{heading}")
    for size in (1, 8, 64, 512, 4096):
        row(f"at most {size} a batch", runs, partial(durable, size, COMMANDS_FOR_BATCHES))

    print(f"\n{'3. us to a durable answer':<34}{heading}")
    for interval in (default_interval, SWITCH_INTERVAL_SECONDS):
        for busy in (0, 1, 2):
            label = f"{busy} busy threads, switch {interval * 1e3:g} ms"
            row(label, runs, partial(lone_latency_us, busy, interval))
    sys.setswitchinterval(default_interval)


if __name__ == "__main__":
    main()
