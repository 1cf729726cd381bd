"""The simulation is tested: each bug planted in the cluster must be found by it, and quickly."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1]
BUGS = HERE / "planted_bugs.txt"
DEADLINE_SECONDS = 300.0


class Edit(NamedTuple):
    """Some consecutive lines of a module of `cluster`, and what replaces them."""

    module: str
    old: str
    new: str


class Bug(NamedTuple):
    """One mistake, and what finds it: so many histories, or a module of tests."""

    found_by: str
    name: str
    edits: list[Edit]


def read_bugs() -> list[Bug]:
    _, *parts = re.split(r"^== ", BUGS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bugs = []
    for part in parts:
        title, *lines = part.rstrip("\n").split("\n")
        found_by, _, name = title.partition(" ")
        bug = Bug(found_by, name, [])
        for line in lines:
            if line[:1] not in ("-", "+", " "):
                bug.edits.append(Edit(line, "", ""))
                continue
            module, old, new = bug.edits.pop()
            old += "" if line[0] == "+" else line[1:] + "\n"
            new += "" if line[0] == "-" else line[1:] + "\n"
            bug.edits.append(Edit(module, old, new))
        bugs.append(bug)
    return bugs


def plant(bug: Bug, cluster: Path) -> None:
    """Apply the edits of a bug to a copy of the folder."""
    for module, old, new in bug.edits:
        path = cluster / f"{module}.py"
        source = path.read_text(encoding="utf-8")
        places = [found.start() for found in re.finditer(f"^{re.escape(old)}", source, re.M)]
        assert len(places) == 1, f"{bug.name}: these lines are there {len(places)} times:\n{old}"
        source = source[: places[0]] + new + source[places[0] + len(old) :]
        ast.parse(source)
        path.write_text(source, encoding="utf-8")


def test_every_planted_bug_still_fits_the_source(tmp_path: Path) -> None:
    for number, bug in enumerate(read_bugs()):
        shutil.copytree(PACKAGE / "cluster", tmp_path / str(number))
        plant(bug, tmp_path / str(number))


@pytest.mark.skipif("HISTORIES" not in os.environ, reason="HISTORIES is not set: takes a minute")
@pytest.mark.parametrize("bug", read_bugs(), ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    copy = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("data", "golden", "__pycache__"))
    plant(bug, copy / "cluster")
    tests = f"{PACKAGE.name}.tests.cluster"
    program = (
        [f"{tests}.histories", bug.found_by]
        if bug.found_by.isdecimal()
        else ["pytest", "-q", "-x", "--import-mode=importlib", "-p", "no:cacheprovider",
              f"{tests.replace('.', '/')}/{bug.found_by}.py"]
    )  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", *program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found = re.search(r"^(SEED=\d+: .*|FAILED .*)", run.stderr + run.stdout, re.MULTILINE)
    assert found, run.stderr
    print(f"{bug.name}: {found[1]}")
