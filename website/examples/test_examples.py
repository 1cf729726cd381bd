"""Every shell session, Python example and exercise of README and pages, run and compared.

A session is a fence of `console`: lines that begin with `$` are run by bash in the project's
folder, the others are what they print. Times and rates are not compared.
"""

import doctest
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from website import tours

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [
    PROJECT / "README.md",
    *sorted(
        page
        for folder in ("learn", "use", "reference")
        for page in (PROJECT / "docs" / folder).glob("*.md")
    ),
]
SESSION = re.compile(r"^ *```console\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
VARIES = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"), "TIME"),
    (re.compile(r'"timestamp_ns":\d+'), '"timestamp_ns":N'),
    (re.compile(r"^( *seconds +)[\d.,].*$", re.MULTILINE), r"\1S"),
    (re.compile(r"^( *commands per second +)[\d.,]+$", re.MULTILINE), r"\1R"),
]
EXERCISES = sorted((PROJECT / "exercises").glob("test_*.py"))
DEADLINE_SECONDS = 120


def sessions(page: Path) -> list[str]:
    return SESSION.findall(page.read_text(encoding="utf-8"))


def timeless(text: str) -> str:
    for pattern, name in VARIES:
        text = pattern.sub(name, text)
    return text.strip()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if sessions(page)], ids=lambda page: page.stem
)
def test_every_session_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    # `/tmp` of the page is this test's own folder, and `python` this interpreter.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for session in sessions(page):
        commands = [part.partition("\n") for part in re.split(r"^\$ ", session, flags=re.M)[1:]]
        for command, _, expected in commands:
            done = subprocess.run(
                ["bash", "-c", command.replace("/tmp/", f"{tmp_path}/")],
                cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
                timeout=DEADLINE_SECONDS,
            )  # fmt: skip
            printed = done.stdout.replace(f"{tmp_path}/", "/tmp/")
            assert timeless(printed) == timeless(expected), f"{command}\n{done.stderr}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if ">>>" in page.read_text("utf-8")], ids=lambda page: page.stem
)
def test_every_python_example_gives_what_the_page_shows(page: Path) -> None:
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 0
    assert result.failed == 0


def run_exercises(folder: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "exercises"],
        cwd=PROJECT, env={**os.environ, "EXERCISES": folder}, capture_output=True, text=True,
        check=False, timeout=DEADLINE_SECONDS,
    )  # fmt: skip


def test_every_solution_passes() -> None:
    done = run_exercises("solutions")
    assert done.returncode == 0, done.stdout


def test_every_starter_fails() -> None:
    done = run_exercises("exercises")
    failed = set(re.findall(r"^(?:FAILED|ERROR) (exercises/\w+\.py)", done.stdout, re.MULTILINE))
    assert failed == {f"exercises/{test.name}" for test in EXERCISES}, done.stdout


@pytest.mark.parametrize("test", EXERCISES, ids=lambda test: test.stem)
def test_a_page_shows_every_exercise_and_its_solution(test: Path) -> None:
    name = test.name.replace("test_", "ex_")
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for shown in (f'--8<-- "exercises/{name}"', f'--8<-- "exercises/solutions/{name}"'):
        assert text.count(shown) == 1
    assert f"python -m pytest exercises/{test.name}" in text


@pytest.mark.parametrize("name", tours.COMMANDS)
def test_a_tour_still_has_the_parts_that_were_recorded(name: str) -> None:
    command = tours.COMMANDS[name].split()[1:]
    done = subprocess.run(
        [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=True,
        timeout=DEADLINE_SECONDS,
    )  # fmt: skip
    there = (tours.TOURS / f"{name}.txt").read_text(encoding="utf-8")
    assert parts(done.stdout) == parts(there) != []


@pytest.mark.parametrize("name", tours.COMMANDS)
def test_the_text_beside_a_recorded_tour_is_that_of_the_recording(name: str) -> None:
    recording = json.loads((tours.TOURS / f"{name}.json").read_text(encoding="utf-8"))
    assert recording["command"] == tours.COMMANDS[name]
    assert tours.plain(recording["moments"]) == (tours.TOURS / f"{name}.txt").read_text("utf-8")
    times = [milliseconds for milliseconds, _ in recording["moments"]]
    assert times == sorted(times)
    assert len(times) > 2


def parts(tour: str) -> list[str]:
    """The beginnings of the numbered parts, without figures."""
    return [re.sub(r"[\d,.]+", "N", line)[:24] for line in re.findall(r"^\d\. .*$", tour, re.M)]
