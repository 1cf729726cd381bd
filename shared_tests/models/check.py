"""One model, or one planted mistake in it, checked by Spin over all its states."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..programs.program import ROOT

MODELS = ROOT / "docs" / "models"
DEPTH_MAX = 20_000
"""Steps of the longest run. Where it is not enough, the check fails; it never passes by it."""
DEADLINE_SECONDS = 900


class Setting(NamedTuple):
    """What is checked: a model, and which of its macros are set."""

    name: str
    model: str
    macros: tuple[str, ...] = ()
    offends: int = 0
    """The claim that a planted mistake offends against; 0: nothing is planted."""
    endless: bool = False
    """Whether to look for runs that never end, instead of states that break a claim."""


SETTINGS = (
    Setting("handover", "handover"),
    Setting("handover, endless runs", "handover", endless=True),
    Setting("commit", "commit"),
    Setting("takeover, commands", "takeover"),
    Setting("takeover, a question", "takeover", ("QUESTION",)),
)
MISTAKES = (
    Setting("the writer does not look again before it sleeps", "handover", ("NO_SECOND_LOOK",), 1),
    Setting("the bound is the queue's length, looked at", "handover", ("BOUND_BY_LENGTH",), 3),
    Setting("nobody refuses what comes after the end", "handover", ("LEFTOVERS_FORGOTTEN",), 1),
    Setting("a waiter does not look again", "handover", ("NO_LOOK_AFTER_ADDING",), 1),
    Setting("an answer before the sync", "commit", ("ANSWER_BEFORE_SYNC",), 1),
    Setting("recovery trusts what a read shows", "commit", ("MEMORY_TRUSTED",), 4),
    Setting("recovery forgets outcomes not recorded yet", "commit", ("OUTCOMES_FORGOTTEN",), 4),
    Setting("a snapshot of what is not synced", "commit", ("SNAPSHOT_AHEAD",), 4),
    Setting(
        "an answer before the append is known", "takeover", ("ANSWER_BEFORE_APPEND", "CERTAIN"), 1
    ),
    Setting("the lease alone is the fence", "takeover", ("LEASE_ALONE", "CERTAIN"), 3),
    Setting("refused counts as failed: no bytes are compared", "takeover", ("NO_COMPARISON",), 2),
    Setting(
        "sessions are not replicated", "takeover", ("SESSIONS_NOT_REPLICATED", "CERTAIN"), 2
    ),
    Setting(
        "a zombie answers without a barrier", "takeover", ("NO_BARRIER", "QUESTION", "CERTAIN"), 5
    ),
)  # fmt: skip


class Outcome(NamedTuple):
    """What Spin found. Two runs of one version of Spin differ only in `seconds`."""

    states: int
    depth: int
    """Steps of the longest run that was looked at."""
    megabytes: int
    seconds: float
    """Processor time of the search; not that of the compiler."""
    unreached: tuple[str, ...] = ()
    """Statements of the model that no run reaches."""
    claim: int = 0
    """The claim that is broken; 0: none is."""
    steps: int = 0
    """How many steps the shortest run has that breaks it."""
    story: tuple[tuple[str, str], ...] = ()
    """That run, told: who does what."""


class ModelUnchecked(Exception):
    """Spin or the compiler did not do its work, or the search was not complete."""


def missing() -> str:
    """Why nothing can be checked here; "" if it can."""
    gone = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    return f"not installed: {' and '.join(gone)}" if gone else ""


def version() -> str:
    """Of Spin."""
    return _run(Path.cwd(), "spin", "-V").partition("--")[0].strip()


def check(setting: Setting, folder: Path, progress: Callable[[int], None] | None = None) -> Outcome:
    """Look at every state that this setting has; a planted mistake by its shortest run.

    `folder` is empty, and keeps the checker that Spin generates. `progress` is called with the
    number of states, about once a million.

    Raises:
        ModelUnchecked: there is no answer; its message has what Spin or the compiler said.
    """
    name = f"{setting.model}.pml"
    shutil.copy(MODELS / name, folder / name)
    macros = [f"-D{macro}" for macro in setting.macros]
    # Merged statements would count as reached: -o3 merges none.
    _run(folder, "spin", "-a", *([] if setting.offends else ["-o3"]), *macros, name)
    way = ["-DNP"] if setting.endless else ["-DSAFETY"]
    if setting.offends:
        way.append("-DBFS")  # breadth first: the first run that it finds is a shortest one
    _run(folder, "gcc", "-O2", "-w", *way, "-o", "pan", "pan.c")
    flags = ["-l"] if setting.endless else []
    said, seconds = _search(folder, [f"-m{DEPTH_MAX}", *flags], progress)
    outcome = _outcome(said, seconds, setting)
    if not _number(r"errors: (\d+)", said):
        return outcome
    trail = _run(folder, "spin", "-t", "-T", *macros, name, may_fail=True)
    return outcome._replace(
        claim=_claim(name, trail),
        steps=int(_number(r"trail ends after (\d+) steps", trail)),
        story=tuple(_story(trail)),
    )


def _outcome(said: str, seconds: float, setting: Setting) -> Outcome:
    doubts = ["max search depth too small", "Bit statespace", "hash-compact", "out of memory"]
    if not setting.offends:
        doubts += ["Search not completed", "error:"]
    for doubt in doubts:
        if doubt in said:
            raise ModelUnchecked(f"{setting.name}: {doubt}\n{said}")
    unreached = re.findall(r'^\t\S+\.pml:(\d+), state \d+, "(.*)"$', said, re.MULTILINE)
    return Outcome(
        states=int(_number(r"(\S+) states, stored", said)),
        depth=int(_number(r"depth reached (\d+)", said)),
        megabytes=round(_number(r"(\S+)\s+total actual memory usage", said)),
        seconds=seconds,
        unreached=tuple(f"line {line}: {what}" for line, what in unreached if what != "-end-"),
    )


def _number(pattern: str, said: str) -> float:
    found = re.search(pattern, said)
    if found is None:
        raise ModelUnchecked(f"Spin does not say {pattern!r}:\n{said}")
    return float(found[1])


def _claim(name: str, trail: str) -> int:
    """The claim that the line names at which the run ends."""
    place = re.search(rf"{re.escape(name)}:(\d+), Error: assertion violated", trail)
    if place is None:
        raise ModelUnchecked(f"{name}: the run does not end at an assertion\n{trail}")
    line = (MODELS / name).read_text(encoding="utf-8").splitlines()[int(place[1]) - 1]
    return int(_number(r"/\* claim (\d+) \*/", line))


def _story(trail: str) -> list[tuple[str, str]]:
    lines = (line.partition(" | ") for line in trail.splitlines())
    return [(who.strip(), what.strip()) for who, bar, what in lines if bar]


def _search(
    folder: Path, flags: list[str], progress: Callable[[int], None] | None
) -> tuple[str, float]:
    """Run the checker; what it said, and its processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    said = []
    with subprocess.Popen(
        ["./pan", *flags], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as checker:
        assert checker.stdout is not None
        try:
            for line in checker.stdout:
                said.append(line)
                states = re.search(r"States=\s*(\S+)", line)
                if states and progress is not None:
                    progress(int(float(states[1])))
        except BaseException:
            checker.kill()
            raise
    return "".join(said), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def _run(folder: Path, *command: str, may_fail: bool = False) -> str:
    """What a program prints. It fails by its status, and Spin by what it prints."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )
    said = done.stdout + done.stderr
    if not may_fail and (done.returncode or "Error:" in said):
        raise ModelUnchecked(f"{' '.join(command)}: status {done.returncode}\n{said}")
    return said
