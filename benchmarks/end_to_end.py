"""`main.py` as a program: start, parse, match, answer, end; nothing is subtracted.

`run` reads a file of commands and ends with a summary, whose own figure counts from the first
command to the last answer. `stdio` answers every command with its events as JSON, which here go to
a file. V1 keeps nothing; V2's log is synced before each answer, and its audit log is complete when
the program ends, unless that is left to later (`--no-audit`).

So V2 does more than V1 in this table. All runs ended in the same state hash. Each program was
started once before, so Python has its modules compiled, as a user has from the second start on.

The row that is no program is V1's `submit` alone, called with the same commands, which were read
before the clock starts. What V1's `run` takes more is the reading of the file.

The row of V2's matcher alone gets the same orders without any text: what is around it is what the
targets of V2 are about.
"""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from order_flow import synthetic, write_lines
from v1_order_matching_engine import Command, MatchingEngine
from v1_order_matching_engine.utils.ndjson import parse

from .engines import V2Matcher
from .findings import Options, Row, Section, Series, Table, Target, ratios
from .matching import rate
from .measure import directory, interleaved
from .workload import Flow, flow_path, real

PROJECT = Path(__file__).resolve().parents[1]
SYMBOL = "AAPL"
SEED = 7


def measure(options: Options) -> Section:
    """Run both programs, both ways."""
    hashes: set[str] = set()
    with directory() as folder:
        flow = folder / "flow.ndjson"
        name, count = _write(flow, options)
        options.status("starting each program once")
        _start_once(folder)
        own: dict[str, list[float]] = {}
        builds: dict[str, Callable[[], float]] = {
            "V1, run": partial(_run, "v1", flow, [], own.setdefault("V1, run", []), hashes),
            "V1, submit alone": partial(_submit, flow),
            "V1, stdio": partial(_stdio, "v1", flow, []),
        }
        for label, more in (("audit on", []), ("audit off", ["--no-audit"])):
            run = f"V2, run, {label}"
            builds[run] = partial(_run, "v2", flow, more, own.setdefault(run, []), hashes)
            builds[f"V2, stdio, {label}"] = partial(_stdio, "v2", flow, more)
        matched = None if name.startswith("`") else real(SYMBOL)
        if matched is not None:
            part = Flow(matched.name, matched.operations[: count - 1])
            builds[V2Matcher.name] = lambda: count / rate(V2Matcher, part)
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
    submit = [count / each for each in taken["V1, submit alone"]]
    v1 = Target(
        "V1, `run` to `submit` alone", ratios(own["V1, run"], submit), 0.7,
        obstacle="To read a line takes half as long as to carry its command out.",
    )  # fmt: skip
    return Section(
        "End to end", __doc__ or "", [Table("Programs", work, columns, rows)],
        targets=[v1, *_targets(taken, own, count)],
    )  # fmt: skip


def _targets(
    taken: dict[str, list[float]], own: dict[str, list[float]], count: int
) -> list[Target]:
    """What is left of the matcher's rate when text goes in, and text or a summary comes out."""
    run, stdio = "V2, run, audit off", "V2, stdio, audit off"
    rates = {run: own[run], stdio: [count / each for each in taken[stdio]]}
    alone = [count / each for each in taken.get(V2Matcher.name, [])]
    obstacle = (
        "All of it is on one interpreter: to read a line and check it takes over half as long as "
        "to match its command, and so do writing its JSON, and the log."
    )
    start = " The start of the program is a quarter of the whole."
    return [
        Target(
            figure,
            ratios(rates[label], alone) if alone else None,
            bound,
            reason="NASDAQ's order flow is not on this machine",
            obstacle=obstacle + start * (label == stdio),
        )
        for figure, label, bound in (
            ("`run`, audit off, its own figure, to V2's matcher", run, 0.45),
            ("`stdio`, audit off, the whole program, to V2's matcher", stdio, 0.3),
        )
    ]


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


def _start_once(folder: Path) -> None:
    """Start both programs, so that what Python has compiled of them is there from now on."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    for version in ("v1", "v2"):
        command = _program(version, folder / "data", "stdio")
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


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


def _submit(flow: Path) -> float:
    """Seconds in `submit`; the commands are read before."""
    with flow.open("rb") as lines:
        commands = [command for command in map(parse, lines) if isinstance(command, Command)]
    engine = MatchingEngine()
    started = time.perf_counter()
    for command in commands:
        engine.submit(command)
    return time.perf_counter() - started


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
