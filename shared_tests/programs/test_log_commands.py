"""What V2 says to other programs about its log: `status`, `verify`, `replay` … (rulebook 8).

Only the contract is held here. What happens to a damaged log is tested where the log is made.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from v2_event_driven_engine.tests.subcommands import READERS

from ..engines.engine import timeless
from ..engines.examples import LIST, STATE, order
from ..reference.strategies import random_commands
from ..reference.stream import expected_answers
from .program import DEADLINE_SECONDS, PROGRAMS, Dialogue, Program, assert_quiet, lines_of

LINES = lines_of(random_commands(21, 300))


@pytest.fixture
def v2(tmp_path: Path) -> Program:
    return Program("v2", PROGRAMS["v2"], tmp_path)


def report(program: Program, *arguments: str) -> dict[str, Any]:
    finished = program.run(*arguments, "--json")
    assert_quiet(finished.stderr)
    assert finished.returncode == 0, finished.stderr.decode()
    parsed: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return parsed


def state_after(lines: list[bytes]) -> dict[str, Any]:
    state = expected_answers([*lines, STATE])[-1]
    return {"sequence": state["sequence"], "state_hash": state["state_hash"], "ok": True}


def files_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("arguments", [*READERS, ("snapshot",)], ids=" ".join)
def test_every_view_of_a_log_gives_its_sequence_and_hash(
    v2: Program, arguments: tuple[str, ...]
) -> None:
    v2.converse(LINES)
    shown = report(v2, *arguments)
    expected = state_after(LINES)
    assert {name: shown.get(name) for name in expected} == expected


def test_a_replay_until_a_sequence_shows_the_state_at_that_point(v2: Program) -> None:
    v2.converse(LINES)
    sequenced = [line for line in LINES if expected_answers([line])[0]["event"] != "malformed"]
    for until in (0, 1, 7, 100, len(sequenced)):
        shown = report(v2, "replay", "--until", str(until))
        expected = state_after(sequenced[:until])
        assert {name: shown.get(name) for name in expected} == expected


@pytest.mark.proves("readers")
@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_looking_at_a_log_changes_nothing(v2: Program, arguments: tuple[str, ...]) -> None:
    v2.converse(LINES)
    before = files_of(v2.directory / "data")
    report(v2, *arguments)
    assert files_of(v2.directory / "data") == before


@pytest.mark.parametrize("arguments", [*READERS, ("snapshot",)], ids=" ".join)
def test_looking_at_a_directory_that_is_not_there_does_not_make_it(
    v2: Program, arguments: tuple[str, ...]
) -> None:
    finished = v2.run(*arguments, "--json")
    assert finished.returncode == 3
    assert "data" in finished.stderr.decode() + finished.stdout.decode()
    assert_quiet(finished.stderr)
    assert not (v2.directory / "data").exists()


@pytest.mark.proves("two engines")
def test_a_directory_that_is_in_use_is_refused_with_status_3(v2: Program) -> None:
    with Dialogue(v2) as dialogue:
        dialogue.ask(LIST)
        finished = v2.run("stdio", given=STATE)
        assert finished.returncode == 3
        assert finished.stdout == b""
        assert str(v2.directory / "data") in finished.stderr.decode()
        assert_quiet(finished.stderr)
        assert dialogue.ask(STATE)["sequence"] == 1
        assert dialogue.end() == 0


@pytest.mark.proves("readers")
def test_a_log_can_be_looked_at_while_it_is_written(v2: Program) -> None:
    with Dialogue(v2) as dialogue:
        dialogue.ask(LIST)
        for number in range(1, 4):
            dialogue.ask(order(number))
            assert report(v2, "status")["sequence"] == number + 1
        assert dialogue.end() == 0


@pytest.mark.proves("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_log_cleanly_and_the_next_start_goes_on(
    v2: Program, number: signal.Signals
) -> None:
    with Dialogue(v2) as dialogue:
        dialogue.ask(LIST)
        dialogue.ask(order(1))
        dialogue.process.send_signal(number)
        assert dialogue.process.wait(timeout=DEADLINE_SECONDS) == 128 + number
    assert report(v2, "verify")["sequence"] == 2
    goes_on = lines_of([LIST, order(1), order(2, "SELL")])
    assert timeless(v2.converse(goes_on[2:])) == expected_answers(goes_on)[-2:]


@pytest.mark.proves("streams")
def test_a_reader_that_goes_away_leaves_a_clean_log(v2: Program) -> None:
    with v2.started("run", "-", "--events", "/dev/stdout") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.communicate(b"\n".join(LINES), timeout=DEADLINE_SECONDS)
    shown = report(v2, "verify")
    assert shown["ok"] is True


def test_a_run_counts_only_its_own_commands(v2: Program, tmp_path: Path) -> None:
    flow = tmp_path / "flow.ndjson"
    flow.write_bytes(b"\n".join(lines_of([LIST, order(1), order(2)])))
    assert report(v2, "run", str(flow))["commands"] == 3
    flow.write_bytes(b"\n".join(lines_of([order(3, "SELL"), order(1)])))
    again = report(v2, "run", str(flow))
    assert (again["commands"], again["events"], again["trades"]) == (2, 3, 1)
    assert again["resting_orders"] == 1


@pytest.mark.once
@pytest.mark.parametrize(
    "options", [(), ("--since", "2020-01-01"), ("--order", "1"), ("--until", "9998-01-01")]
)
def test_a_trail_with_fields_of_other_kinds_is_shown_or_refused(
    v2: Program, options: tuple[str, ...]
) -> None:
    """A trail is a text file, which somebody may have changed with an editor."""
    v2.converse(lines_of([LIST, order(1), order(2, "SELL")]))
    trail = v2.directory / "data" / "audit.log"
    lines = trail.read_bytes().splitlines()
    changed = {name: None for line in lines for name in json.loads(line)} | {"time": 7}
    for name, value in [*changed.items(), ("time", None)]:
        trail.write_bytes(
            b"".join(
                json.dumps({**json.loads(line), name: value}).encode() + b"\n" for line in lines
            )
        )
        finished = v2.run("audit", *options)
        assert_quiet(finished.stderr)
        assert finished.returncode in (0, 3), name
        if name == "time" and value is None:
            assert finished.returncode == 3
            assert b"its time is no text" in finished.stderr


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("day", ["9999-12-31", "9999-12-31T23:59:59", "0000-01-01", "9999-99-99"])
def test_a_time_outside_the_calendar_is_refused_in_a_sentence(
    v2: Program, option: str, day: str
) -> None:
    finished = v2.run("audit", option, day)
    assert finished.returncode == 2
    assert f"argument {option}: {day!r} " in finished.stderr.decode()


def test_a_failed_check_stays_one_though_nobody_reads_the_report(v2: Program) -> None:
    """As in `verify | true`."""
    v2.converse(lines_of([LIST, order(1)]))
    trail = v2.directory / "data" / "audit.log"
    trail.write_bytes(trail.read_bytes().replace(b"BUY", b"SEL"))
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (("verify",), ("verify", "--json"), ("audit", "--verify")):
        with v2.started(*arguments, stdout=writing) as process:
            _, stderr = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, stderr) == (1, b"")
    os.close(writing)
