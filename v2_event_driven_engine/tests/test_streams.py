"""Readers that are slow or do not read at all: lines are written whole, or not at all."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from v2_event_driven_engine.cli import files
from v2_event_driven_engine.cli.signals import wait_for
from v2_event_driven_engine.main import main

from .test_machine import DEADLINE, eventually

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, str(Path(__file__).resolve().parents[1] / "main.py")]
PIPE_BYTES = 4096
FLOW = b'{"command":"cancel","order_id":1,"participant":8}\n' * 2000


@contextmanager
def a_pipe() -> Iterator[tuple[int, int]]:
    """A small pipe whose end to write does not block."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(writer, False)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def waiting_bytes(descriptor: int) -> int:
    """How much can be read at once."""
    answer = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def read_to_the_end(descriptor: int) -> bytes:
    """All that is read until the last writer has closed."""
    return b"".join(iter(lambda: os.read(descriptor, 65536), b""))


Start = Callable[[Path], tuple[subprocess.Popen[bytes], int]]


def stdio(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """`stdio` into a pipe; the process and the end to read from."""
    (folder / "flow").write_bytes(FLOW)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(writer, False)
    with (folder / "flow").open("rb") as flow:
        process = subprocess.Popen(
            [*PROGRAM, "stdio", "--data-dir", str(folder / "data")], stdin=flow, stdout=writer
        )
    os.close(writer)
    return process, reader


def run_with_events(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """`run --events` into a FIFO; the process and the end to read from."""
    (folder / "flow").write_bytes(FLOW)
    os.mkfifo(folder / "events")
    reader = os.open(folder / "events", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(reader, True)
    process = subprocess.Popen(
        [*PROGRAM, "run", str(folder / "flow"), "--events", str(folder / "events"),
         "--data-dir", str(folder / "data")],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return process, reader


@pytest.mark.parametrize("start", [stdio, run_with_events])
@pytest.mark.parametrize("reads_again", [True, False], ids=["reads again", "never reads"])
def test_a_signal_while_the_reader_is_waited_for_cuts_no_line(
    tmp_path: Path, start: Start, reads_again: bool
) -> None:
    process, reader = start(tmp_path)
    try:
        eventually(lambda: waiting_bytes(reader) == PIPE_BYTES, "the pipe is full")
        process.send_signal(signal.SIGTERM)
        if not reads_again:
            assert process.wait(DEADLINE) == 128 + signal.SIGTERM
        said = read_to_the_end(reader)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
        os.close(reader)
    *lines, rest = said.split(b"\n")
    if reads_again:
        assert rest == b"", "the line that was begun is written to its end"
    assert len(lines) > 10
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    verify = [*PROGRAM, "verify", "--data-dir", str(tmp_path / "data")]
    assert subprocess.run(verify, stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_the_tour_waits_for_a_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[bytes] = []
    with a_pipe() as (reader, writer):
        os.write(writer, bytes(PIPE_BYTES))

        def read_first(*arguments: Any, **options: Any) -> bool:
            said.append(os.read(reader, PIPE_BYTES))
            return wait_for(*arguments, **options)

        monkeypatch.setattr(files, "wait_for", read_first)
        kept = os.dup(1)
        os.dup2(writer, 1)
        try:
            status = main([])
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        os.set_blocking(reader, False)
        with suppress(BlockingIOError):
            said.append(os.read(reader, PIPE_BYTES))
    assert status == 0
    assert len(said) > 1, "it had to wait"
    assert b"Next: " in b"".join(said)
