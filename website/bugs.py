"""Plant one of the listed bugs in a copy of V2 and see which scenarios notice it."""

import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared_tests.planted_bugs.patch import Bug, plant, read_bugs
from shared_tests.programs.program import ROOT
from shared_tests.scenarios.runner import ScenarioFailed, ScenarioRunner
from shared_tests.scenarios.scenario import parse_scenario, read_scenario

VERSION = "v2"
PACKAGE = "v2_event_driven_engine"
ADAPTERS = "shared_tests.engines.adapters"
STORIES = ROOT / "shared_tests" / "scenarios" / "stories"


def outcome(name: str) -> dict[str, Any]:
    """The bug as a diff, and every scenario that fails with it, in the words of its failure.

    Raises:
        KeyError: there is no bug of this name.
    """
    bug = {bug.name: bug for bug in read_bugs()}[name]
    stories = [read_scenario(path) for path in sorted(STORIES.glob("*.txt"))]
    killed = []
    with _planted(bug) as adapters:
        for story in stories:
            try:
                ScenarioRunner(adapters.V2Matcher()).run(story)
            except ScenarioFailed as failure:
                killed.append({"story": story.name, "problem": str(failure)})
            except Exception as failure:  # a planted bug may raise anything
                killed.append({"story": story.name, "problem": repr(failure)})
    return {
        "name": bug.name,
        "section": bug.section,
        "diff": "".join(
            f"{sign}{line}\n"
            for edit in bug.edits[VERSION]
            for sign, text in (("-", edit.old), ("+", edit.new))
            for line in text.splitlines()
        ),
        "stories": len(stories),
        "killed": killed,
    }


def fails_with(name: str, story: str) -> bool:
    """Whether a story fails on a V2 that has the bug of this name."""
    bug = {bug.name: bug for bug in read_bugs()}[name]
    with _planted(bug) as adapters:
        try:
            ScenarioRunner(adapters.V2Matcher()).run(parse_scenario(story, "story"))
        except ScenarioFailed:
            return True
    return False


@contextmanager
def _planted(bug: Bug) -> Iterator[Any]:
    """The adapters of the shared tests over a V2 that has the bug; afterwards all is as before."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_concerned(name)}
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(
            ROOT / PACKAGE, Path(directory) / PACKAGE, ignore=shutil.ignore_patterns("data", "__*_")
        )
        plant(bug, VERSION, Path(directory))
        sys.path.insert(0, directory)
        importlib.invalidate_caches()
        try:
            yield importlib.import_module(ADAPTERS)
        finally:
            sys.path.remove(directory)
            for name in list(sys.modules):
                if _is_concerned(name):
                    del sys.modules[name]
            sys.modules.update(before)


def _is_concerned(name: str) -> bool:
    return name in {ADAPTERS, PACKAGE} or name.startswith(f"{PACKAGE}.")


def page_bug(name: str) -> str:
    """The outcome as JSON text."""
    return json.dumps(outcome(name))
