"""What a person or a pipe at the other end sees."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import WriteCsv

COMMAND = [sys.executable, "-m", "order_flow"]
MESSAGES = "XYZ_message.csv"
SYNTHETIC = ["synthetic", "--seed", "1", "--commands"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_lobster_prints_one_json_object_a_line(write_csv: WriteCsv) -> None:
    finished = run("lobster", write_csv(MESSAGES, "34200.1,1,11,20,101,-1"))
    commands = [json.loads(row) for row in finished.stdout.splitlines()]
    assert [command["command"] for command in commands] == ["list_instrument", "new"]
    assert (finished.returncode, finished.stderr) == (0, "")


def test_lobster_takes_a_symbol_and_a_book(write_csv: WriteCsv) -> None:
    messages = write_csv("messages.csv", "34200.1,1,11,20,101,-1")
    book = write_csv("book.csv", "101,60,99,50")
    finished = run("lobster", messages, "--book", book, "--symbol", "ABC")
    assert finished.returncode == 0
    assert finished.stdout.count('"symbol":"ABC"') == 4


def test_synthetic_prints_as_many_lines_as_asked_for() -> None:
    finished = run(*SYNTHETIC, "123", "--plain")
    assert (finished.returncode, finished.stdout.count("\n")) == (0, 123)


def test_match_rate_prints_a_report(write_csv: WriteCsv) -> None:
    rows = "34200.1,1,11,20,101,-1\n34200.2,4,11,20,101,-1\n34200.3,4,12,20,101,-1"
    finished = run("match-rate", write_csv(MESSAGES, rows))
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[0] == "XYZ: 2 executions by 2 aggressors"
    assert finished.stdout.count("50.00%") == 2


@pytest.mark.parametrize("command", ["lobster", "match-rate", "synthetic"])
def test_help_teaches_with_an_example(command: str) -> None:
    assert f"python -m order_flow {command}" in run("--help").stdout + run(command, "--help").stdout
    assert "example" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["synthetic", "--commands", "0", "--seed", "1"], "--commands"),
        (["synthetic", "--commands", "1.5", "--seed", "1"], "'1.5'"),
        (["synthetic", "--commands", "1", "--seed", "-1"], "--seed"),
        (["synthetic"], "--commands"),
        (["lobster"], "MESSAGES"),
        (["lobster", ""], "MESSAGES"),
        (["lobster", "nowhere", "--book", ""], "--book"),
        (["lobster", "a", "\x1b[2J"], r"\x1b[2J"),
        (["lobster", "\x1b[2J"], r"\x1b[2J: cannot be opened"),
        ([], "COMMAND"),
        (["lobster", "nowhere/XYZ_message.csv"], "nowhere/XYZ_message.csv: cannot be opened"),
    ],
)
def test_wrong_usage_and_missing_files_exit_with_2_and_say_which(
    arguments: list[str], named: str
) -> None:
    finished = run(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert named in finished.stderr
    assert "\x1b" not in finished.stderr, "a terminal shows it and does not obey"
    assert "Traceback" not in finished.stderr


def test_a_missing_book_is_noticed_before_anything_is_written(write_csv: WriteCsv) -> None:
    finished = run("lobster", write_csv(MESSAGES, "34200.1,1,11,20,101,-1"), "--book", "nowhere")
    assert (finished.returncode, finished.stdout) == (2, "")


def test_a_malformed_row_exits_with_1_after_the_lines_before_it(write_csv: WriteCsv) -> None:
    path = write_csv(MESSAGES, "34200.1,1,11,20,101,-1\n34200.2,1,12,none,101,-1")
    finished = run("lobster", path)
    assert finished.returncode == 1
    assert finished.stdout.count("\n") == 2
    assert f"{path}, line 2: size: " in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_closed_output_pipe_ends_quietly() -> None:
    with subprocess.Popen(
        [*COMMAND, *SYNTHETIC, "100000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_flow_after_a_whole_line(
    number: signal.Signals, status: int, unbuffered: str
) -> None:
    with subprocess.Popen(
        [*COMMAND, *SYNTHETIC, "100000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (status, b"")
    assert output.endswith(b"}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_named_and_exits_with_2() -> None:
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [*COMMAND, *SYNTHETIC, "10"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert finished.returncode == 2
    assert finished.stderr == f"order_flow: standard output: {os.strerror(28)}.\n".encode()


def test_a_closed_standard_output_is_named_and_exits_with_2() -> None:
    command = subprocess.list2cmdline([*COMMAND, *SYNTHETIC, "10"])
    finished = subprocess.run(
        f"{command} >&-", shell=True, stderr=subprocess.PIPE, text=True, check=False
    )
    assert finished.returncode == 2
    assert "standard output is closed" in finished.stderr


def test_no_progress_bar_is_drawn_where_there_is_no_terminal() -> None:
    assert run(*SYNTHETIC, "50000").stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_progress_bar_is_drawn_on_a_terminal() -> None:
    leader, terminal = os.openpty()
    with subprocess.Popen(
        [*COMMAND, *SYNTHETIC, "50000"],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm"},
    ) as process:
        os.close(terminal)
        drawn = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while chunk := os.read(leader, 1_000):
                drawn += chunk
        assert process.wait(timeout=30) == 0
    os.close(leader)
    assert b"order flow" in drawn


def test_standard_input_is_asked_for_by_its_own_name() -> None:
    finished = run("lobster", "-")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "/dev/stdin" in finished.stderr


def test_at_a_terminal_it_says_what_it_waits_for_and_a_signal_ends_the_waiting(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / MESSAGES)
    keyboard, screen = os.openpty()
    with subprocess.Popen(
        [*COMMAND, "lobster", str(tmp_path / MESSAGES)], stdout=subprocess.PIPE, stderr=screen
    ) as process:
        os.close(screen)
        seen = b""
        while b"waiting for its rows" not in seen:
            seen += os.read(keyboard, 1000)
        with open(tmp_path / MESSAGES, "wb"):  # noqa: PTH123  # returns once it is read
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
    os.close(keyboard)


def test_every_line_arrives_at_a_pipe_that_is_non_blocking() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen([*COMMAND, *SYNTHETIC, "5000"], stdout=writing) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            rows = pipe.read().splitlines()
    assert (process.returncode, len(rows)) == (0, 5000)


def test_a_closed_standard_error_gets_nothing_into_the_flow() -> None:
    finished = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "lobster", "nowhere_message.csv"],
        stdout=subprocess.PIPE,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (2, b"")


@pytest.mark.parametrize("command", ["lobster", "match-rate"])
@pytest.mark.parametrize("own", ["messages", "book"])
def test_a_flow_is_not_written_to_a_file_that_it_is_made_from(
    write_csv: WriteCsv, command: str, own: str
) -> None:
    """As in `lobster file >> file`, which would never come to an end."""
    paths = {
        "messages": write_csv(MESSAGES, "34200.1,1,11,20,101,-1"),
        "book": write_csv("book.csv", "101,60,99,50"),
    }
    before = paths[own].read_bytes()
    with paths[own].open("ab") as output:
        finished = subprocess.run(
            [*COMMAND, command, str(paths["messages"]), "--book", str(paths["book"])],
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert finished.returncode == 2
    assert f"{paths[own]}: standard output goes to the same file" in finished.stderr.decode()
    assert paths[own].read_bytes() == before


def test_a_name_in_a_zip_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "market.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\x1b[2J_message_1.csv", "none")
        archive.writestr("\x1b[2J_orderbook_1.csv", "1,1,1,1")
    finished = run("lobster", path, "--symbol", "XYZ")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert r"\x1b[2J_message_1.csv), line 1: " in finished.stderr
    assert "\x1b" not in finished.stderr
