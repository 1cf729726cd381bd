"""`main.py` as a program: start, parse, match, answer, end; nothing is subtracted.

`run` reads a file of commands and ends with a summary, whose own figure counts from the first
command to the last answer. `stdio` answers every command with its events as JSON, which here go to
a file. V1 keeps nothing; V2's log is synced before each answer, and its audit log is complete when
the program ends, unless it was told to leave that to later (`--no-audit`).

So V2 does more than V1 in this table. All runs ended in the same state hash.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from order_flow import synthetic, write_lines

from .findings import Options, Row, Section, Series, Table
from .measure import directory, interleaved
from .workload import flow_path

PROJECT = Path(__file__).resolve().parents[1]
SYMBOL = "AAPL"
SEED = 7


def measure(options: Options) -> Section:
    """Run both programs, both ways."""
    hashes: set[str] = set()
    with directory() as folder:
        flow = folder / "flow.ndjson"
        name, count = _write(flow, options)
        own: dict[str, list[float]] = {}
        builds: dict[str, Callable[[], float]] = {
            "V1, run": partial(_run, "v1", flow, [], own.setdefault("V1, run", []), hashes),
            "V1, stdio": partial(_stdio, "v1", flow, []),
        }
        for label, more in (("audit on", []), ("audit off", ["--no-audit"])):
            run = f"V2, run, {label}"
            builds[run] = partial(_run, "v2", flow, more, own.setdefault(run, []), hashes)
            builds[f"V2, stdio, {label}"] = partial(_stdio, "v2", flow, more)
        few = min(options.repetitions, 5)
        taken = interleaved(builds, few, options.status)
    assert len(hashes) == 1, f"the programs do not end in the same state: {hashes}"
    rows = [
        Row(
            label,
            [
                Series.of(times),
                Series.of(count / each for each in times),
                Series.of(own[label]) if label in own else "-",
            ],
        )
        for label, times in taken.items()
    ]
    columns = ["seconds", "commands a second", "the program's own figure"]
    work = f"{name}, {count:,} commands, {few} repetitions."
    return Section("End to end", __doc__ or "", [Table("Programs", work, columns, rows)])


def _write(path: Path, options: Options) -> tuple[str, int]:
    """Write the flow; what it is, and how many commands it has."""
    source = flow_path(SYMBOL)
    limit = options.pick(200_000, 20_000)
    if source.exists():
        lines = lzma.decompress(source.read_bytes()).splitlines(keepends=True)[:limit]
        path.write_bytes(b"".join(lines))
        return f"NASDAQ's order flow in {SYMBOL}", len(lines)
    count = limit // 2
    with path.open("wb") as stream:
        write_lines(synthetic.commands(count, SEED), stream)
    return f"`order_flow synthetic --seed {SEED}`", count


def _program(version: str, data_dir: Path, *arguments: str) -> list[str]:
    """A command line; only V2 has a data directory."""
    (main,) = PROJECT.glob(f"{version}_*/main.py")
    where = ["--data-dir", str(data_dir)] if version == "v2" else []
    return [sys.executable, str(main), *arguments, *where]


def _run(version: str, flow: Path, more: list[str], own: list[float], hashes: set[str]) -> float:
    """Seconds of the whole program; its own commands a second and its state are added to."""
    with directory() as data_dir:
        command = _program(version, data_dir, "run", str(flow), "--json", *more)
        started = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        taken = time.perf_counter() - started
    summary: dict[str, Any] = json.loads(done.stdout)
    own.append(summary["commands_per_second"])
    hashes.add(summary["state_hash"])
    return taken


def _stdio(version: str, flow: Path, more: list[str]) -> float:
    """Seconds of the whole program."""
    with (
        directory() as data_dir,
        flow.open("rb") as commands,
        flow.with_name("answers.ndjson").open("wb") as answers,
    ):
        command = _program(version, data_dir, "stdio", *more)
        started = time.perf_counter()
        subprocess.run(command, check=True, stdin=commands, stdout=answers)
        return time.perf_counter() - started
