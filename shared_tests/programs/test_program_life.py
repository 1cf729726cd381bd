"""How the programs start and end: the tour, signals, closed pipes, other places (rulebook 8)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ..engines.engine import timeless
from ..engines.examples import LIST, STATE, order
from ..reference.stream import expected_answers
from .program import (
    DEADLINE_SECONDS,
    PROGRAMS,
    ROOT,
    Dialogue,
    Program,
    answers,
    assert_quiet,
    lines_of,
    until,
)

LONG_FLOW = lines_of([LIST, *(order(number, price=1 + number % 9) for number in range(1, 40_000))])
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


# -- Anywhere ---------------------------------------------------------------------------------


def copy_of(program: Program, name: str) -> Program:
    """Copy a version's folder, and nothing else, to another place under another name."""
    leave = shutil.ignore_patterns("data", "__pycache__", "tests")
    folder = shutil.copytree(program.folder, program.directory / "elsewhere" / name, ignore=leave)
    return Program(program.name, folder, program.directory)


def test_the_tour_of_a_copied_and_renamed_folder_runs_alone_and_ends_by_itself(
    program: Program,
) -> None:
    copy = copy_of(program, "renamed_engine")
    finished = copy.run()
    assert finished.returncode == 0, finished.stderr.decode()
    assert_quiet(finished.stderr)
    assert len(finished.stdout.splitlines()) >= 10, "it shows something"
    assert b"\x1b" not in finished.stdout, "colours only on a terminal"


@pytest.mark.once
@pytest.mark.parametrize("name", ["argparse", "msgspec"])
def test_ctrl_c_at_an_import_ends_it_without_a_traceback(program: Program, name: str) -> None:
    (program.directory / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {name!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    finished = subprocess.run(
        program.arguments("run", "--help"),
        env=program.full_environment() | {"PYTHONPATH": str(program.directory)},
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (-signal.SIGINT, b"")


def test_a_copied_and_renamed_folder_talks_like_the_original(program: Program) -> None:
    copy = copy_of(program, "v9_copied")
    lines = [*lines_of([LIST, order(1), order(2, "SELL")]), STATE]
    assert timeless(copy.converse(lines)) == expected_answers(lines)


def test_it_starts_as_a_module_too(program: Program) -> None:
    data = ["--data-dir", str(program.directory / "data")] if program.keeps_a_log else []
    finished = subprocess.run(
        [sys.executable, "-m", f"{program.folder.name}.main", "stdio", *data],
        input=STATE,
        capture_output=True,
        cwd=ROOT,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    assert answers(finished.stdout)[0]["event"] == "state"


def test_help_is_given(program: Program) -> None:
    finished = program.run("--help")
    assert finished.returncode == 0
    for subcommand in (b"run", b"stdio"):
        assert subcommand in finished.stdout


# -- Signals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_waiting_stdio_cleanly(
    program: Program, number: signal.Signals, status: int
) -> None:
    with Dialogue(program) as dialogue:
        assert dialogue.ask(LIST)["event"] == "instrument_listed"
        dialogue.process.send_signal(number)
        assert dialogue.process.wait(timeout=DEADLINE_SECONDS) == status
        assert dialogue.process.stderr is not None
        assert_quiet(dialogue.process.stderr.read())


@pytest.mark.parametrize(("number", "status"), SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_busy_stdio_with_whole_answers(
    program: Program, number: signal.Signals, status: int
) -> None:
    """What was printed is a beginning of what would have been printed, cut between two lines."""
    with program.started("stdio") as process, feeding(process, LONG_FLOW):
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.readline()
        process.send_signal(number)
        output += process.stdout.read()
        assert process.wait(timeout=DEADLINE_SECONDS) == status
        assert_quiet(process.stderr.read())
    assert_is_a_beginning(output)


@pytest.mark.parametrize(("number", "status"), SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_run_with_whole_events(
    program: Program, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """The events go to a pipe that is not emptied at first, so the run cannot be over too soon."""
    flow, events = tmp_path / "flow.ndjson", tmp_path / "events.fifo"
    flow.write_bytes(b"\n".join(LONG_FLOW) + b"\n")
    os.mkfifo(events)
    with program.started("run", str(flow), "--events", str(events)) as process:
        with events.open("rb") as pipe:
            output = pipe.readline()
            process.send_signal(number)
            output += pipe.read()
        assert process.wait(timeout=DEADLINE_SECONDS) == status
        assert process.stderr is not None
        assert_quiet(process.stderr.read())
    assert_is_a_beginning(output)


@contextmanager
def feeding(process: subprocess.Popen[bytes], lines: list[bytes]) -> Iterator[None]:
    """Write lines from a thread and then keep the input open, so that only the test ends it."""

    def feed() -> None:
        assert process.stdin is not None
        with suppress(OSError):  # the program ends early: that is what the tests are about
            process.stdin.writelines(line + b"\n" for line in lines)
            process.stdin.flush()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    yield
    process.wait(timeout=DEADLINE_SECONDS)
    feeder.join()


def assert_is_a_beginning(output: bytes) -> None:
    given = timeless(answers(output))
    assert 1 <= len(given) <= len(LONG_FLOW)
    assert [event["sequence"] for event in given] == [*range(1, len(given) + 1)]


# -- Closed pipes -----------------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_stdio_quietly(program: Program) -> None:
    """As in `stdio < flow | head -1`."""
    with program.started("stdio") as process, feeding(process, LONG_FLOW):
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"instrument_listed" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=DEADLINE_SECONDS) == 0


@pytest.mark.parametrize("arguments", [("run", "-", "--json"), ("run", "-"), ("stdio",), ()])
def test_nobody_reading_from_the_start_is_no_drama(
    program: Program, arguments: tuple[str, ...]
) -> None:
    """As in `run flow --json | true`."""
    if not arguments:
        program = copy_of(program, "toured")
    reading, writing = os.pipe()
    os.close(reading)
    with program.started(*arguments, stdout=writing) as process:
        os.close(writing)
        given = b"\n".join(LONG_FLOW[:50]) + b"\n"
        _, stderr = process.communicate(given, timeout=DEADLINE_SECONDS)
    assert (process.returncode, stderr) == (0, b"")


def test_a_reader_that_goes_away_does_not_turn_a_failure_into_success(program: Program) -> None:
    """As in `run flow | true`, where the flow has a malformed line."""
    reading, writing = os.pipe()
    os.close(reading)
    with program.started("run", "-", stdout=writing) as process:
        os.close(writing)
        _, stderr = process.communicate(b"{}\n", timeout=DEADLINE_SECONDS)
    assert (process.returncode, stderr) == (1, b"")


@pytest.mark.once
def test_a_terminal_without_columns_gets_the_whole_tour(program: Program) -> None:
    narrow = Program(program.name, program.folder, program.directory, {"COLUMNS": "0"})
    finished = narrow.run()
    assert finished.returncode == 0
    assert len(finished.stdout.splitlines()) >= 10


# -- The tour, interrupted --------------------------------------------------------------------


@contextmanager
def touring(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A tour of V2 while the process works that it is going to kill; from now on it must be quiet.

    Standard error ends only when every process of the tour has ended.
    """
    program = Program("v2", PROGRAMS["v2"], directory, {"TMPDIR": str(directory)})
    with program.started() as process:
        assert process.stdout is not None
        assert process.stderr is not None
        until(lambda: any(directory.glob("*/events.wal.*")))
        yield process
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("send", "number", "status"),
    [(os.kill, *SIGNALS[0]), (os.killpg, *SIGNALS[0]), (os.kill, *SIGNALS[1])],
    ids=["SIGINT", "Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_the_tour_of_v2_and_leaves_nothing(
    tmp_path: Path, send: Callable[[int, int], None], number: signal.Signals, status: int
) -> None:
    """As a program sends it, and as a terminal does: to every process of the group."""
    with touring(tmp_path) as process:
        send(process.pid, number)
        assert process.wait(timeout=DEADLINE_SECONDS) == status
    assert [*tmp_path.iterdir()] == []


def test_a_reader_that_goes_away_ends_the_tour_of_v2_quietly(tmp_path: Path) -> None:
    """As in `main.py | head -1`."""
    with touring(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=DEADLINE_SECONDS) == 0
    assert [*tmp_path.iterdir()] == []


def test_where_the_tour_of_v2_is_killed_its_other_processes_end_quietly(tmp_path: Path) -> None:
    with touring(tmp_path) as process:
        process.kill()


# -- V2's log ---------------------------------------------------------------------------------


def test_v2_goes_on_from_its_log(tmp_path: Path) -> None:
    program = Program("v2", PROGRAMS["v2"], tmp_path)
    first = [*lines_of([LIST, order(1), order(2, "SELL", quantity=2)]), STATE]
    second = [STATE, *lines_of([order(1), order(3, "SELL")]), STATE]
    output = timeless(program.converse(first) + program.converse(second))
    assert output == expected_answers([*first, *second])


def test_v1_forgets_when_it_ends(tmp_path: Path) -> None:
    program = Program("v1", PROGRAMS["v1"], tmp_path)
    assert program.converse(lines_of([LIST]))[0]["event"] == "instrument_listed"
    assert program.converse(lines_of([LIST]))[0]["event"] == "instrument_listed"
    assert [*tmp_path.iterdir()] == [], "and leaves no file"
