"""The real thing: a child process whose real system calls are killed or made to fail by strace.

`strace` (Debian package of that name) has to be there and allowed to trace; without it these
tests are skipped, and say so. `REAL_CALLS=all` tries every call instead of a sample.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .faults import proves
from .flow import commands, state_hashes
from .logs import recover, replay

ROOT = Path(__file__).resolve().parents[2]
COUNT, SEED = 40, 4
DEADLINE_SECONDS = 60.0
KILLS = int(os.environ.get("KILLS", "15"))
WRITES = ("pwrite64", "fdatasync", "fsync", "renameat", "ftruncate", "openat", "flock")


def strace_works() -> str:
    """Why strace cannot be used here, or nothing."""
    if shutil.which("strace") is None:
        return "strace is not installed: apt-get install strace"
    tried = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", "trace=none", "true"],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.decode()}"


WHY_NOT = strace_works()
needs_strace = pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT)


HASHES = state_hashes(commands(COUNT, SEED))
pytestmark = pytest.mark.once


def answered_in(said: bytes) -> list[int]:
    """The sequences of the answers that a victim gave."""
    return [int(line.split()[0]) for line in said.split(b"\n")[:-1]]


def run_victim(data_dir: Path, *strace: str) -> tuple[int, int, str]:
    """Exit status, the last sequence that was answered, and what was said on standard error."""
    command = [sys.executable, "-m", f"{__package__}.victim", str(data_dir), str(COUNT), str(SEED)]
    if strace:
        # Only calls on the data directory count: a path filter keeps Python's own out.
        command = ["strace", "-f", "-qq", "-P", str(data_dir), *strace, *command]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, timeout=DEADLINE_SECONDS, check=False
    )
    answers = answered_in(finished.stdout)
    assert answers == list(range(answers[0], answers[-1] + 1)) if answers else True
    return finished.returncode, max(answers, default=0), finished.stderr.decode()


def check_recovers(data_dir: Path, answered: int) -> None:
    state = replay(data_dir)
    sequence = state.matcher.sequence
    assert answered <= sequence <= COUNT
    assert state.matcher.state_hash() == HASHES[sequence]


def paths_of(data_dir: Path) -> list[str]:
    """The files that the victim will write: strace wants to know their names beforehand."""
    names = ["events.wal.new", *(f"events.wal.{number:06}" for number in range(1, 9))]
    return [part for name in names for part in ("-P", str(data_dir / name))]


def moments(call: str) -> list[int]:
    """Which of the calls of one kind to hurt."""
    everything = list(range(1, 60))
    if os.environ.get("REAL_CALLS") == "all":
        return everything
    return {"pwrite64": [1, 3, 4, 9, 16], "fdatasync": [1, 2, 5, 12]}.get(call, [1, 2])


@needs_strace
@proves("kill")
@pytest.mark.parametrize("call", WRITES)
def test_killed_at_a_system_call_loses_nothing_answered(tmp_path: Path, call: str) -> None:
    for number in moments(call):
        data_dir = tmp_path / f"{call}-{number}"
        data_dir.mkdir()
        inject = f"inject={call}:signal=KILL:when={number}"
        status, answered, _ = run_victim(
            data_dir, *paths_of(data_dir), "-o", "/dev/null", "-e", f"trace={call}", "-e", inject
        )
        check_recovers(data_dir, answered)
        if status == 0:
            assert number > 1, "the call is made at all"
            break
        status, again, _ = run_victim(
            data_dir, *paths_of(data_dir), "-o", "/dev/null", "-e", f"trace={call}", "-e", inject
        )  # killed once more, now perhaps during recovery
        check_recovers(data_dir, max(answered, again))
        status, _, said = run_victim(data_dir)
        assert status == 0, said
        check_recovers(data_dir, COUNT)


@proves("kill")
def test_killed_at_any_moment_loses_nothing_answered(tmp_path: Path) -> None:
    """`KILLS` in the environment says how often (default 15); each moment is drawn by lot."""
    choose = random.Random(20121)
    done = kills = answered = life = 0
    while kills < KILLS:
        if done == COUNT:
            life, answered = life + 1, 0
        data_dir = tmp_path / str(life)
        command = [sys.executable, "-m", f"{__package__}.victim", str(data_dir), str(COUNT), "4"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            timer = threading.Timer(choose.uniform(0.03, 0.3), process.kill)
            timer.start()
            said = process.stdout.read()
            timer.cancel()
            status = process.wait()
        kills += status == -9
        answered = max([answered, *answered_in(said)])
        if data_dir.exists():
            check_recovers(data_dir, answered)
            done = recover(data_dir).matcher.sequence
        assert status in (0, -9)
        done = COUNT if status == 0 else done


@needs_strace
@proves("failed call", "failed sync")
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "fsync", "renameat"])
def test_a_failing_system_call_stops_the_engine_before_any_answer(
    tmp_path: Path, call: str, error: str
) -> None:
    for number in moments(call):
        data_dir = tmp_path / f"{call}-{number}"
        data_dir.mkdir()
        status, answered, said = run_victim(
            data_dir, *paths_of(data_dir), "-o", "/dev/null", "-e", f"trace={call}",
            "-e", f"inject={call}:error={error}:when={number}",
        )  # fmt: skip
        check_recovers(data_dir, answered)
        if status == 0:
            assert number > 1, "the call is made at all"
            break
        assert status == 3
        assert "Traceback" not in said
        status, _, said = run_victim(data_dir)
        assert status == 0, said
        check_recovers(data_dir, COUNT)


@needs_strace
@proves("power")
def test_no_answer_is_given_while_a_command_is_written_and_not_synced(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    record = tmp_path / "calls"
    status, answered, _ = run_victim(
        data_dir, *paths_of(data_dir), "-P", "/dev/stdout", "-o", str(record), "-xx", "-s", "64",
        "-e", "trace=pwrite64,fdatasync",
    )  # fmt: skip
    assert (status, answered) == (0, COUNT)
    assert_commands_are_synced_at_once(record.read_text())


def assert_commands_are_synced_at_once(record: str) -> None:
    """After a write that holds commands, the next call on the log is its sync.

    The answer comes from the same thread behind it: it cannot come between the two.
    """
    holds_commands = False
    synced = 0
    for line in record.splitlines():
        if "resumed" in line:
            continue
        if "fdatasync(" in line:
            synced += holds_commands
            holds_commands = False
            continue
        assert not holds_commands, f"written on before the sync: {line}"
        data = bytes.fromhex("".join(re.findall(r"\\x([0-9a-f]{2})", line)))
        is_batch = len(data) >= 48 and data[:8] != b"OMEWAL\r\n" and any(data[:48])
        holds_commands = is_batch and int.from_bytes(data[32:36], "little") > 0
    assert not holds_commands
    assert synced >= COUNT // 3


@proves("failed call")
def test_a_file_size_limit_stops_the_engine_and_nothing_answered_is_lost(tmp_path: Path) -> None:
    code = (
        "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
        f"sys.argv = ['victim', {str(tmp_path)!r}, '{COUNT}', '{SEED}'];"
        f"runpy.run_module('{__package__}.victim', run_name='__main__')"
    )
    finished = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert finished.returncode == 3
    assert b"File too large" in finished.stderr
    assert b"Traceback" not in finished.stderr
    assert recover(tmp_path).matcher.sequence == 0
    assert run_victim(tmp_path)[0] == 0
    check_recovers(tmp_path, COUNT)
