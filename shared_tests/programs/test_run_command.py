"""`python main.py run FLOW`: a file of commands through the engine (rulebook 8)."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ..engines.engine import Command, encode
from ..engines.examples import LIST, STATE, order
from ..reference.strategies import random_commands
from ..reference.stream import comparable, expected_answers
from .program import DEADLINE_SECONDS, Program, answers, assert_quiet, lines_of

FLOW = b"\n".join(lines_of(random_commands(11, 800))) + b"\n"
EXPECTED = expected_answers(FLOW.splitlines())
MALFORMED_LINES = sum(answer["event"] == "malformed" for answer in EXPECTED)
CLEAN = b"\n".join(lines_of([LIST, order(1), order(2, "SELL", quantity=2)])) + b"\n"


def summary(output: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(output.splitlines()[-1])
    return parsed


def expected_summary() -> dict[str, Any]:
    state = expected_answers([*FLOW.splitlines(), STATE])[-1]
    return {
        "commands": state["sequence"],
        "events": len(EXPECTED) - MALFORMED_LINES,
        "trades": sum(answer["event"] == "trade_executed" for answer in EXPECTED),
        "resting_orders": state["resting_orders"],
        "state_hash": state["state_hash"],
        "malformed": MALFORMED_LINES,
    }


@pytest.mark.parametrize("packing", ["plain", "gz", "xz", "standard input"])
def test_a_flow_is_read_plain_packed_or_from_standard_input(
    program: Program, tmp_path: Path, packing: str
) -> None:
    flow, given = tmp_path / "flow.ndjson", b""
    if packing == "plain":
        flow.write_bytes(FLOW)
    elif packing == "gz":
        flow = flow.with_suffix(".ndjson.gz")
        flow.write_bytes(gzip.compress(FLOW))
    elif packing == "xz":
        flow = flow.with_suffix(".ndjson.xz")
        flow.write_bytes(lzma.compress(FLOW))
    else:
        flow, given = Path("-"), FLOW
    finished = program.run("run", str(flow), "--json", given=given)
    assert_quiet(finished.stderr)
    assert finished.returncode == 1, "there were malformed lines"
    numbers = summary(finished.stdout)
    expected = expected_summary()
    assert {name: numbers.get(name) for name in expected} == expected
    assert numbers.keys() >= {"seconds", "commands_per_second"}
    assert numbers["seconds"] > 0
    assert numbers["commands_per_second"] > 0


@pytest.mark.proves("streams")
def test_a_flow_may_come_out_of_a_named_pipe(program: Program, tmp_path: Path) -> None:
    """As in `run <(zcat flow.gz)`: there is no size to show progress against."""
    flow = tmp_path / "flow.fifo"
    os.mkfifo(flow)
    writer = threading.Thread(target=flow.write_bytes, args=(CLEAN,), daemon=True)
    writer.start()
    finished = program.run("run", str(flow), "--json")
    writer.join()
    assert_quiet(finished.stderr)
    assert finished.returncode == 0, finished.stderr.decode()
    assert summary(finished.stdout)["commands"] == 3


def test_events_writes_exactly_what_stdio_would_print(program: Program, tmp_path: Path) -> None:
    flow, events = tmp_path / "flow.ndjson", tmp_path / "events.ndjson"
    lines = FLOW.splitlines()
    lines[50:50] = [STATE, b"", b'{"query":"book","symbol":"ABC"}', b"{]"]
    flow.write_bytes(b"\n".join(lines))
    finished = program.run("run", str(flow), "--events", str(events))
    assert_quiet(finished.stderr)
    assert finished.returncode == 1
    assert comparable(answers(events.read_bytes())) == expected_answers(lines)


def test_a_clean_flow_ends_with_status_0_and_a_summary_for_people(
    program: Program, tmp_path: Path
) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(CLEAN)
    finished = program.run("run", str(flow))
    assert finished.returncode == 0
    assert_quiet(finished.stderr)
    assert finished.stdout.strip(), "a summary at the end"
    assert b"\x1b" not in finished.stdout + finished.stderr, "colours only on a terminal"
    assert b"\r" not in finished.stdout + finished.stderr, "a progress bar only on a terminal"


def test_on_a_terminal_a_run_shows_a_progress_bar(program: Program, tmp_path: Path) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(FLOW)
    keyboard, screen = os.openpty()
    seen: list[bytes] = []

    def watch() -> None:
        with suppress(OSError):  # the terminal is gone when the program is
            while data := os.read(keyboard, 4096):
                seen.append(data)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    at_a_terminal = Program(program.name, program.folder, program.directory, {"TERM": "xterm"})
    finished = at_a_terminal.run("run", str(flow), "--json", stderr=screen)
    os.close(screen)
    watcher.join()
    os.close(keyboard)
    assert finished.returncode == 1
    assert summary(finished.stdout)["state_hash"] == expected_summary()["state_hash"]
    assert b"\x1b[" in b"".join(seen), "a bar moves the cursor"


def test_an_empty_flow_is_a_flow(program: Program, tmp_path: Path) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(b"")
    finished = program.run("run", str(flow), "--json")
    assert finished.returncode == 0
    numbers = summary(finished.stdout)
    assert (numbers["commands"], numbers["events"], numbers["trades"]) == (0, 0, 0)
    assert (numbers["resting_orders"], numbers["malformed"]) == (0, 0)


def test_the_state_hash_of_a_run_is_that_of_stdio(program: Program, tmp_path: Path) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(CLEAN)
    numbers = summary(program.run("run", str(flow), "--json").stdout)
    assert numbers["state_hash"] == expected_answers([*CLEAN.splitlines(), STATE])[-1]["state_hash"]


# -- Usage: status 2 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",), ("run",), ("run", "a", "b"), ("run", "-", "--quickly"), ("stdio", "more"),
        ("run", ""), ("run", "-", "--events", ""), ("stdio", "\x1b[2J\n"), ("\udcff\x1b",),
    ],
    ids=repr,
)  # fmt: skip
def test_a_usage_error_ends_with_status_2(program: Program, arguments: tuple[str, ...]) -> None:
    finished = program.run(*arguments)
    assert finished.returncode == 2
    assert finished.stdout == b""
    assert b"error: " in finished.stderr.splitlines()[-1], "it says what is wrong"
    assert b"\x1b" not in finished.stderr, "a terminal shows it and does not obey"
    assert_quiet(finished.stderr)


@pytest.mark.parametrize("name", ["missing.ndjson", "missing.ndjson.gz", "missing.ndjson.xz"])
def test_a_flow_that_is_not_there_is_named(program: Program, tmp_path: Path, name: str) -> None:
    finished = program.run("run", str(tmp_path / name))
    assert finished.returncode == 2
    assert name in finished.stderr.decode()
    assert_quiet(finished.stderr)


def test_a_flow_that_is_a_directory_is_named(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a_directory").mkdir()
    finished = program.run("run", str(tmp_path / "a_directory"))
    assert finished.returncode == 2
    assert b"a_directory" in finished.stderr
    assert_quiet(finished.stderr)


def test_an_events_file_that_cannot_be_made_is_named(program: Program, tmp_path: Path) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(CLEAN)
    finished = program.run("run", str(flow), "--events", str(tmp_path / "nowhere" / "out.ndjson"))
    assert finished.returncode == 2
    assert b"out.ndjson" in finished.stderr
    assert_quiet(finished.stderr)


@pytest.mark.proves("output onto input")
def test_a_flow_is_not_destroyed_by_writing_the_events_over_it(
    program: Program, tmp_path: Path
) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(CLEAN)
    finished = program.run("run", str(flow), "--events", str(flow))
    assert flow.read_bytes() == CLEAN
    assert finished.returncode == 2
    assert_quiet(finished.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [("run", "-", "--json"), ("run", "-"), ("stdio",)])
def test_standard_output_to_a_full_disk_is_reported_in_one_line(
    program: Program, arguments: tuple[str, ...]
) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        program.started(*arguments, stdout=full.fileno()) as process,
    ):
        _, stderr = process.communicate(CLEAN, timeout=DEADLINE_SECONDS)
    assert process.returncode not in (0, 1)
    assert_quiet(stderr)
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_packed_flow_that_is_damaged_is_named(
    program: Program, tmp_path: Path, suffix: str
) -> None:
    flow = tmp_path / f"flow.ndjson.{suffix}"
    flow.write_bytes(b"this is not packed at all")
    finished = program.run("run", str(flow))
    assert finished.returncode != 0
    assert flow.name in finished.stderr.decode()
    assert_quiet(finished.stderr)


@pytest.mark.parametrize("end", [1, 0, -1], ids=["one byte less", "garbage after it", "padding"])
def test_what_follows_in_an_xz_file_is_read_or_refused(
    program: Program, tmp_path: Path, end: int
) -> None:
    """Several streams and the zeros between them are one file; anything else is damage."""
    flow = tmp_path / "flow.ndjson.xz"
    first, second = CLEAN.splitlines(keepends=True)[:2], CLEAN.splitlines(keepends=True)[2:]
    packed = lzma.compress(b"".join(first)) + bytes(8) + lzma.compress(b"".join(second))
    flow.write_bytes({1: packed[:-1], 0: packed + b"more", -1: packed + bytes(4)}[end])
    finished = program.run("run", str(flow), "--json")
    assert_quiet(finished.stderr)
    if end == -1:
        assert finished.returncode == 0
        assert summary(finished.stdout)["commands"] == 3
    else:
        assert finished.returncode == 2
        assert flow.name in finished.stderr.decode()


def test_a_packed_flow_that_asks_for_too_much_memory_is_refused(
    program: Program, tmp_path: Path
) -> None:
    """Half a megabyte may ask for gigabytes: here its header asks for a window of 1.5 GiB."""
    flow = tmp_path / "flow.ndjson.xz"
    flow.write_bytes(with_a_window_of_one_and_a_half_gib(lzma.compress(CLEAN)))
    finished = program.run("run", str(flow))
    assert finished.returncode == 2
    assert b"more memory than the 256 MiB that are allowed" in finished.stderr
    assert_quiet(finished.stderr)


def with_a_window_of_one_and_a_half_gib(packed: bytes) -> bytes:
    """The same .xz, with another dictionary size in the header of its one block."""
    changed = bytearray(packed)
    start, window = 12, 37
    length = (changed[start] + 1) * 4
    assert changed[start + 2] == 0x21, "LZMA2 is its one filter"
    changed[start + 4] = window
    end = start + length - 4
    changed[end : end + 4] = zlib.crc32(changed[start:end]).to_bytes(4, "little")
    return bytes(changed)


# -- The same again: no dependence on hash seeds ----------------------------------------------


def test_hash_seeds_change_nothing_but_the_timestamps(program: Program, tmp_path: Path) -> None:
    """Iterating over a set of strings somewhere would show here, and nowhere else."""
    commands: list[Command] = [*random_commands(12, 1000)]
    for number in range(30):
        commands.insert(0, {**LIST, "symbol": f"S{number}"})
        deal = {**order(10_000 + number), "symbol": f"S{number}", "participant": 7}
        commands.append(deal)
    commands.append({"command": "mass_cancel", "participant": 7, "symbol": None})
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(b"\n".join(encode(command) for command in commands))
    seen = set()
    for seed in ("0", "1", "4242"):
        directory = tmp_path / seed
        directory.mkdir()
        seeded = Program(program.name, program.folder, directory, {"PYTHONHASHSEED": seed})
        events = directory / "events.ndjson"
        finished = seeded.run("run", str(flow), "--events", str(events), "--json")
        text = re.sub(rb'"timestamp_ns": ?\d+', b'"timestamp_ns":0', events.read_bytes())
        seen.add((text, summary(finished.stdout)["state_hash"]))
    assert len(seen) == 1
