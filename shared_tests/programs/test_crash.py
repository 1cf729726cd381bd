"""kill -9 in the middle of everything, then a restart.

V2 promises: whatever was answered is there after a restart, once, in order, and the state is
exactly that of a prefix of what was sent. V1 promises nothing of the kind, and says so: what it
answered was right, and after a restart it is empty.

SIGKILL leaves the operating system's memory alone, so this finds a command that is answered before
it is written, not one that is written but never synced; that is what the tests of the log with a
simulated disk are for.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from order_flow import synthetic

from ..engines.adapters import V1
from ..engines.engine import Event, encode, timeless
from .program import PROGRAMS, Program, answers, assert_quiet

COMMANDS = [encode(command) for command in synthetic.commands(12_000, seed=20120621)]
IN_A_LIFE = 3_000
STATE = b'{"query":"state"}'


def talk_until_killed(
    program: Program, lines: list[bytes], kill_after: int
) -> tuple[list[Event], int]:
    """Send lines without waiting, kill the program after so many answers; what it had said."""
    with program.started("stdio") as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def send(process: subprocess.Popen[bytes] = process) -> None:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(b"\n".join(lines) + b"\n")
                if kill_after > len(lines):
                    process.stdin.close()  # it ends by itself; otherwise it waits for more

        sender = threading.Thread(target=send)
        sender.start()
        said = list(itertools.islice(process.stdout, kill_after))
        process.kill()
        said += process.stdout  # written before the kill: answered
        status = process.wait()
        sender.join()
        whole = b"".join(line for line in said if line.endswith(b"\n"))
        return answers(whole), status


def state_of(program: Program) -> Event:
    """Start the program again, and ask."""
    finished = program.run("stdio", given=STATE + b"\n")
    assert_quiet(finished.stderr)
    assert finished.returncode == 0, finished.stderr
    return answers(finished.stdout)[-1]


@pytest.fixture
def v2(tmp_path: Path) -> Program:
    return Program("v2", PROGRAMS["v2"], tmp_path)


@pytest.mark.proves("kill")
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.once)])
def test_v2_killed_again_and_again_loses_nothing_that_it_answered(v2: Program, seed: int) -> None:
    choose = random.Random(seed)
    truth = V1()
    expected: list[Event] = []
    done = 0
    kills = 0
    while done < len(COMMANDS):
        some = COMMANDS[done : done + IN_A_LIFE]
        last = done + IN_A_LIFE >= len(COMMANDS)
        kill_after = len(some) + 1 if last else choose.choice((1, 3, 100, 1000))
        said, status = talk_until_killed(v2, some, kill_after)
        kills += status == -9
        state = state_of(v2)
        there = state["sequence"]
        answered = max((event["sequence"] for event in said), default=0)
        assert there >= answered, "an answered command is gone"
        new = [event for line in COMMANDS[done:there] for event in truth.execute_line(line)]
        assert state["state_hash"] == truth.state_hash(), (
            "not the state of a prefix of what was sent"
        )
        assert timeless(said) == timeless(new)[: len(said)], "an answer that recovery contradicts"
        expected += new
        done = there
    assert kills >= 3
    verified = v2.run("verify", "--json")
    assert verified.returncode == 0, verified.stderr
    report = answers(verified.stdout)[-1]
    assert (report["ok"], report["sequence"]) == (True, len(COMMANDS))
    trades = sum(event["event"] == "trade_executed" for event in expected)
    seals = (len(COMMANDS) - 1) // 10_000
    assert report["audit_lines"] == len(expected) + trades + seals, "one an event, two a trade"


def test_v1_killed_has_answered_rightly_and_starts_empty(tmp_path: Path) -> None:
    program = Program("v1", PROGRAMS["v1"], tmp_path)
    said, status = talk_until_killed(program, COMMANDS, 2000)
    assert status == -9
    truth = V1()
    expected = [event for line in COMMANDS for event in truth.execute_line(line)]
    assert len(said) >= 2000
    assert timeless(said) == timeless(expected)[: len(said)]
    assert state_of(program)["sequence"] == 0
