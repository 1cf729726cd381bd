"""How many commands a second each version takes: `python -m benchmarks.throughput`.

The flow is parsed before the clock starts, so no figure includes JSON. The clock runs from the
first command to the last answer. One producer thread; for V2 it keeps up to `IN_FLIGHT` commands on
their way. The builds take turns, so that a slow minute of the machine hits all of them. Every run
must end in the same state hash, or nothing is reported.

The log is written beside this file, because a temporary directory is often kept in memory, where
syncing costs nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from order_flow import line, synthetic
from v1_order_matching_engine.ndjson import parse as v1_parse
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.ndjson import parse as v2_parse

RESULTS = Path(__file__).resolve().parent / "results"
AAPL = Path(__file__).resolve().parents[2] / "shared/data/lobster/AAPL_2012-06-21.flow.ndjson.xz"
SYNTHETIC_COMMANDS = 100_000
IN_FLIGHT = 8192
SWITCH_INTERVAL_SECONDS = 0.0005
"""As V2's main.py sets it: see docs/scalability.md. Python's own default is 0.005."""


class Run(NamedTuple):
    """One measurement."""

    seconds: float
    state_hash: str


def v1_in_memory(commands: list[Any]) -> Run:
    """V1: submit from one thread; the answer is the return value."""
    engine = v1.MatchingEngine()
    started = time.perf_counter()
    for command in commands:
        engine.submit(command)
    return Run(time.perf_counter() - started, engine.state_hash())


def v2_matcher(commands: list[Any]) -> Run:
    """V2's rules alone: no queue, no thread, no log."""
    matcher = Matcher()
    started = time.perf_counter()
    for sequence, command in enumerate(commands, 1):
        matcher.apply(sequence, sequence, command)
    return Run(time.perf_counter() - started, matcher.state_hash())


def v2_engine(commands: list[Any], engine: v2.EventDrivenMatchingEngine) -> Run:
    """V2 whole: submit from one thread, wait for the last receipt."""
    with engine:
        started = time.perf_counter()
        receipts: list[Any] = []
        for number, command in enumerate(commands):
            if number >= IN_FLIGHT:
                receipts[number - IN_FLIGHT].result()
            receipts.append(engine.submit(command))
        for receipt in receipts[-IN_FLIGHT:]:
            receipt.result()
        return Run(time.perf_counter() - started, engine.state()[2])


def v2_durable(commands: list[Any], *, audit: bool) -> Run:
    """V2 whole, with its log on the disk: every answer is durable."""
    with tempfile.TemporaryDirectory(dir=RESULTS) as data_dir:
        return v2_engine(
            commands, v2.EventDrivenMatchingEngine.open(data_dir, max_batch=1024, audit=audit)
        )


def main() -> None:
    """Measure, and print a table and then one line of JSON."""
    options = _options()
    RESULTS.mkdir(exist_ok=True)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    name, lines = _flow(options.flow)
    v1_commands = [v1_parse(text) for text in lines]
    v2_commands = [v2_parse(text) for text in lines]
    builds: dict[str, Callable[[], Run]] = {
        "V1, in memory": lambda: v1_in_memory(v1_commands),
        "V2, matcher alone": lambda: v2_matcher(v2_commands),
        "V2, engine in memory": lambda: v2_engine(
            v2_commands, v2.EventDrivenMatchingEngine.in_memory()
        ),
        "V2, durable, audit off": lambda: v2_durable(v2_commands, audit=False),
        "V2, durable, audit on": lambda: v2_durable(v2_commands, audit=True),
    }
    rates: dict[str, list[float]] = {build: [] for build in builds}
    hashes = set()
    gc.collect()
    gc.freeze()  # the parsed flow is no garbage: the collector need not look at it
    for _ in range(options.runs):
        for build, measure in builds.items():
            gc.collect()
            run = measure()
            hashes.add(run.state_hash)
            rates[build].append(len(lines) / run.seconds)
    assert len(hashes) == 1, f"the builds do not end in the same state: {hashes}"
    print(f"{name}: {len(lines):,} commands, {options.runs} runs. {_machine()}\n")
    print(f"{'commands a second':<24}{'median':>10}{'min':>10}{'max':>10}")
    for build, found in rates.items():
        print(
            f"{build:<24}{statistics.median(found):>10,.0f}{min(found):>10,.0f}{max(found):>10,.0f}"
        )
    print(json.dumps({"flow": name, "machine": _machine(), "commands_per_second": rates}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each build (default: 5)")
    parser.add_argument("--flow", type=Path, help="NDJSON commands, .xz or plain")
    return parser.parse_args()


def _flow(path: Path | None) -> tuple[str, list[bytes]]:
    if path is None and not AAPL.exists():
        commands = synthetic.commands(SYNTHETIC_COMMANDS, seed=7)
        return "synthetic, seed 7", [line(command).rstrip() for command in commands]
    path = path or AAPL
    data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return path.name, data.splitlines()


def _machine() -> str:
    processors = os.cpu_count()
    model = platform.processor() or platform.machine()
    mounts: list[list[str]] = []
    if sys.platform == "linux":
        cpu = Path("/proc/cpuinfo").read_text()
        model = next((t.partition(": ")[2] for t in cpu.splitlines() if "model name" in t), model)
        mounts = [text.split() for text in Path("/proc/mounts").read_text().splitlines()]
    under = [mount for mount in mounts if RESULTS.is_relative_to(mount[1])]
    file_system = max(under, key=lambda mount: len(mount[1]))[2] if under else "file system unknown"
    return (
        f"{processors} x {model}, {platform.system()} {platform.release()}, {file_system}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
