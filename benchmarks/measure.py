"""How a time is taken so that it can be believed, and what machine it was taken on."""

from __future__ import annotations

import gc
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from v2_event_driven_engine.main import SWITCH_INTERVAL_SECONDS

from .findings import Series

Measured = TypeVar("Measured")

RESULTS = Path(__file__).resolve().parent / "results"
"""Logs of durable benchmarks lie here too: a temporary directory is often kept in memory, where
syncing costs nothing."""


@contextmanager
def still_collector() -> Iterator[None]:
    """No garbage collection in here, and none of what was there before at the next one.

    The same for every engine, as V2's `main.py` has it. Otherwise the collector would walk over
    the workload again and again, and would be most of what is measured.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def interleaved(
    builds: Mapping[str, Callable[[], Measured]], repetitions: int, status: Callable[[str], None]
) -> dict[str, list[Measured]]:
    """Measure A, B, C, A, B, C …: a slow minute of the machine hits all of them alike."""
    found: dict[str, list[Measured]] = {name: [] for name in builds}
    for repetition in range(repetitions):
        for name, measure in builds.items():
            status(f"{name}, {repetition + 1} of {repetitions}")
            with still_collector():
                found[name].append(measure())
    return found


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed (nearest rank).

    >>> percentile([10, 20, 30, 40], 0.5), percentile([10, 20, 30, 40], 0.99)
    (20, 40)
    """
    rank = -(-len(ascending) * share // 1)  # rounded up
    return ascending[max(int(rank), 1) - 1]


class Loop(NamedTuple):
    """One run of clients: operations a second, and the wait of each in ascending order, in µs."""

    rate: float
    waits: list[float]

    @classmethod
    def of(cls, operations: int, taken_ns: int, waits_ns: list[int]) -> Loop:
        """From differences of the clock; the waits may be left out."""
        return cls(operations / taken_ns * 1e9, sorted(wait / 1e3 for wait in waits_ns))


def wait_percentiles(loops: Sequence[Loop], shares: Sequence[float]) -> list[Series]:
    """One series for each share."""
    return [Series.of(percentile(loop.waits, share) for loop in loops) for share in shares]


@contextmanager
def directory() -> Iterator[Path]:
    """An empty directory on the disk that is measured, gone afterwards."""
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as name:
        yield Path(name)


def machine() -> dict[str, str]:
    """What all figures depend on, to be asked before anything is measured."""
    return {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "file system of the logs": _file_system(),
        "interpreter": f"{platform.python_implementation()} {platform.python_version()}",
        "load at the start": f"{os.getloadavg()[0]:.1f}: whoever else works takes a processor",
        "switch interval": f"{SWITCH_INTERVAL_SECONDS * 1e3:g} ms",
        "garbage collector": "off while the clock runs, for every engine alike",
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def _file_system() -> str:
    if sys.platform != "linux":
        return "unknown"
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [mount for mount in mounts if RESULTS.is_relative_to(mount[1])]
    return max(under, key=lambda mount: len(mount[1]))[2] if under else "unknown"
