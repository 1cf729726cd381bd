"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from rich.console import Console

from .apart import measure_apart
from .findings import Section
from .measure import RESULTS, machine
from .report import Findings, write

BENCHMARKS = (
    "matching",
    "anatomy",
    "durable",
    "sustained",
    "latency",
    "recovery",
    "growth",
    "threads",
    "end_to_end",
    "cluster",
)
DOCS = Path(__file__).resolve().parents[1] / "docs"
REPETITIONS = 7
QUICK_REPETITIONS = 1

DESCRIPTION = """\
Measure both versions, and other people's engines beside them on the same operations.
What is not installed is left out, and the report says so; `nox -s bench` installs all.
"""
EPILOG = """\
benchmarks:
  matching     in memory: every engine, synthetic and real order flow
  anatomy      where V2's time goes, and why it is not faster still
  durable      with a log that is synced: small, middle and full batches, audit off and on
  sustained    a minute at 70 % of the maximum, audit on: what lags, what grows
  latency      how long a client waits: closed loop, and against offered rates
  recovery     replay from the log, with and without a snapshot; bytes on the disk
  growth       books of 1,000 to 1,000,000 orders; bytes of memory
  threads      V1's lock against V2's queue, 1 to 16 threads; batches; the convoy
  end_to_end   main.py run and main.py stdio as programs, parsing included
  cluster      the replicated log on this machine: replicas, partitions, latency

examples:
  python -m benchmarks quick                       does everything run? (under two minutes)
  python -m benchmarks                             the whole (some 17 minutes)
  python -m benchmarks --only matching growth      two of them
  python -m benchmarks --publish                   as docs/benchmarks.md, to be committed

results: benchmarks/results/benchmarks.md, benchmarks.json, plots/
exit status: 0 all measured; 1 a benchmark failed, the others are reported; 2 usage;
             130 stopped by Ctrl-C, with nothing written
"""


def main() -> int:
    """Run the benchmarks one after another and write the report."""
    options = _options()
    quick = options.mode == "quick"
    repetitions = options.repetitions or (QUICK_REPETITIONS if quick else REPETITIONS)
    console = Console(stderr=True)
    on = machine()
    sections: list[Section] = []
    failed: list[str] = []
    for name in options.only or BENCHMARKS:
        started = time.perf_counter()
        with console.status(name) as status:
            section = measure_apart(name, quick, repetitions, status.update)
        taken = time.perf_counter() - started
        console.print(f"{name}: {'failed' if section is None else 'done'}, {taken:.0f} s")
        if section is None:
            failed.append(name)
        else:
            sections.append(section)
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    findings = Findings(command, quick, repetitions, on, sections, failed)
    console.print(f"report: {write(findings, DOCS if options.publish else RESULTS)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("mode", nargs="?", choices=["full", "quick"], default="full", help="full")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME")
    parser.add_argument("--repetitions", type=int, metavar="N", help=f"default: {REPETITIONS}")
    parser.add_argument("--publish", action="store_true", help="write to docs/ instead")
    options = parser.parse_args()
    if options.repetitions is not None and options.repetitions < 1:
        parser.error("--repetitions: choose 1 or more")
    if options.publish and (options.only or options.mode == "quick"):
        parser.error("--publish: only a whole run is published")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
