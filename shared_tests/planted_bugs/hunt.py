"""Plant a bug in a copy of the project and run the tests there until one of them fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..programs.program import PROGRAMS, ROOT
from .patch import Bug, plant

STORIES = ROOT / "shared_tests" / "scenarios" / "stories"
SCENARIOS = sorted(path.stem for path in STORIES.glob("*.txt"))
BUILDS = {"v1": ["v1"], "v2": ["v2-matcher", "v2-memory"]}
"""The builds of a version that the scenarios run against, the quickest first."""

AGREEMENT = [
    "shared_tests/engines/test_agreement.py::test_all_engines_agree_over_a_long_session",
    "shared_tests/engines/test_agreement.py::test_all_engines_agree_on_every_event_and_every_state",
    "shared_tests/engines/test_time.py",
]
OWN_TESTS = {
    "v1": ["test_order_book.py", "test_lifecycle.py", "test_engine.py"],
    "v2": ["test_order_book.py", "test_engine.py", "test_log.py"],
}
DEADLINE_SECONDS = 1200.0
"""Endless tests have found their bug. With less time a busy machine would look like one."""
NO_BUG = "no bug at all"

NOT_COPIED = shutil.ignore_patterns(
    ".*", "data", "site", "results", "benchmarks", "docs", "order_flow"
)


@dataclass(frozen=True)
class Verdict:
    """What became of one bug in one version. `killed_by` is a test's id, empty if none failed."""

    bug: str
    version: str
    killed_by: str


class HuntFailed(Exception):
    """The tests did not run at all, so nothing is known; the message has their output."""


def order_of_tests(version: str, section: str) -> list[str]:
    """The tests that are to find a bug in this version, those that find most of them first.

    Scenarios say in words what went wrong and take a second together, and those of the section
    that the bug offends against say it best; random sessions find what was not thought of; the
    version's own tests know what cannot be seen from outside.
    """
    story = "shared_tests/scenarios/test_scenarios.py::test_every_engine_follows_the_scenario"
    folder = PROGRAMS[version].name
    scenarios = sorted(SCENARIOS, key=lambda name: not name.startswith(f"{section[:1]}_"))
    return [
        *(f"{story}[{build}-{name}]" for build in BUILDS[version] for name in scenarios),
        *AGREEMENT,
        f"shared_tests/engines/test_{version}_inside.py",
        *(f"{folder}/tests/{name}" for name in OWN_TESTS[version]),
    ]


@contextmanager
def copy_of_the_project() -> Iterator[Path]:
    """Copy what the tests need to a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="planted_bug_") as directory:
        copy = Path(directory) / "project"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        yield copy


def hunt(bug: Bug | None, version: str) -> Verdict:
    """Plant the bug and run the tests; None plants nothing, and then no test may fail."""
    with copy_of_the_project() as copy:
        if bug is not None:
            plant(bug, version, copy)
        killed_by = first_failure(copy, order_of_tests(version, bug.section if bug else ""))
        return Verdict(bug.name if bug else NO_BUG, version, killed_by)


def first_failure(project: Path, tests: list[str]) -> str:
    """The id of the first of these tests that fails, or nothing."""
    options = ["-x", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "quick", "COLUMNS": "1000"}
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {DEADLINE_SECONDS:.0f} s"
    if run.returncode == 0:
        return ""
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    if run.returncode != 1 or failed is None:  # a bug that cannot be imported is no bug
        raise HuntFailed(run.stdout[-3000:] + run.stderr[-3000:])
    return failed[1]


def hunt_all(bugs: Sequence[Bug], jobs: int = 2) -> Iterator[Verdict]:
    """Hunt every bug in both versions, and first none at all: whole versions must pass."""
    tasks = [(bug, version) for bug in (None, *bugs) for version in PROGRAMS]
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda task: hunt(*task), tasks)
