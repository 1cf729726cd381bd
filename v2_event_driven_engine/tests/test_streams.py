"""What answers are written to: readers that are slow or do not read, and files that are in use."""

import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from v2_event_driven_engine.cli import files
from v2_event_driven_engine.cli.signals import Stopped, StopSignals, wait_for
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


def stdio(folder: Path, *, blocking: bool = False) -> tuple[subprocess.Popen[bytes], int]:
    """`stdio` into a pipe; the process and the end to read from."""
    (folder / "flow").write_bytes(FLOW)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(writer, blocking)
    with (folder / "flow").open("rb") as flow:
        process = subprocess.Popen(
            [*PROGRAM, "stdio", "--data-dir", str(folder / "data")], stdin=flow, stdout=writer
        )
    os.close(writer)
    return process, reader


def stdio_into_a_blocking_pipe(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """As a shell starts it."""
    return stdio(folder, blocking=True)


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


@pytest.mark.once
@pytest.mark.parametrize("start", [stdio, stdio_into_a_blocking_pipe, run_with_events])
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


def a_socketpair() -> tuple[int, int]:
    """As `os.pipe`, with sockets: so node starts its children."""
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def unavailable(*_arguments: object) -> NoReturn:
    raise PermissionError


MAKERS: dict[str, Callable[[], tuple[int, int]]] = {
    "pipe": os.pipe,
    "terminal": os.openpty,
    "socket": a_socketpair,
    "pipe of another user": os.pipe,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_signal_ends_the_waiting_for_a_reader_where_a_write_would_block(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = MAKERS[kind]()
    if kind == "pipe of another user":
        monkeypatch.setattr(files, "open_descriptor", unavailable)
    try:
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 256)
        os.set_blocking(writer, True)
        with StopSignals() as stop:
            output = files.Output(writer, "output", stop)
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Stopped):
                output.write(FLOW)
        assert os.get_blocking(writer), "others who write there rely on it"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("kind", ["socket", "pipe of another user"])
def test_all_is_written_where_a_write_would_block(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = MAKERS[kind]()
    monkeypatch.setattr(files, "open_descriptor", unavailable)
    said: list[bytes] = []
    reads = threading.Thread(target=lambda: said.append(read_to_the_end(reader)))
    reads.start()
    with StopSignals() as stop:
        files.Output(writer, "output", stop).write(FLOW)
    os.close(writer)
    reads.join()
    os.close(reader)
    assert said == [FLOW]


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


# -- Where `run` writes its events ------------------------------------------------------------


def dangling_link(data: Path) -> Path:
    link = data.parent / "link"
    link.symlink_to(data / "events.wal.000009")
    return link


def past_the_parent(data: Path) -> Path:
    return data / ".." / data.name / "audit.log.damaged-1"


def folder_of_an_archive_elsewhere(data: Path) -> Path:
    elsewhere = data.parent / "elsewhere"
    elsewhere.mkdir()
    (data / "archive").symlink_to(elsewhere)
    return elsewhere / "events.wal.000009"


def folder_below(data: Path) -> Path:
    (data / "kept").mkdir()
    return data / "kept" / "new"


def file_below(data: Path) -> Path:
    (data / "kept").mkdir()
    (data / "kept" / "old").write_text("kept")
    return data / "kept" / "old"


def working_directory(data: Path) -> Path:
    (data.parent / "here").symlink_to(data)
    return data.parent / "here" / "new"


def inherited(data: Path) -> Path:
    (data.parent / "open").write_text("kept")
    return data.parent / "open"


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its content."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "audit.log"
    }


@pytest.mark.parametrize(
    "place",
    [
        dangling_link, past_the_parent, folder_of_an_archive_elsewhere, folder_below, file_below,
        working_directory, inherited,
    ],
)  # fmt: skip
def test_events_do_not_go_where_something_is_kept_and_nothing_is_made_there(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    flow, data = tmp_path / "flow", tmp_path / "data"
    flow.write_bytes(FLOW)
    run = [*PROGRAM, "run", str(flow), "--no-audit", "--data-dir", str(data)]
    assert subprocess.run(run, stdout=subprocess.DEVNULL, check=False).returncode == 0
    events = place(data)
    with (tmp_path / "other").open("wb") if place is not inherited else events.open("ab") as other:
        before = everything(tmp_path)
        refused = subprocess.run(
            [*run, "--events", str(events)],
            pass_fds=[other.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"main.py: {events}: this is a file ")
    assert everything(tmp_path) == before


def test_events_do_not_go_into_a_data_directory_that_is_mounted_elsewhere(tmp_path: Path) -> None:
    flow, data, elsewhere = tmp_path / "flow", tmp_path / "data", tmp_path / "elsewhere"
    flow.write_bytes(FLOW)
    for directory in (data, elsewhere):
        directory.mkdir()
    options = ["--events", str(elsewhere / "new"), "--data-dir", str(data)]
    program = [*PROGRAM, "run", str(flow), *options]
    mount = f"mount --bind {shlex.quote(str(data))} {shlex.quote(str(elsewhere))} || exit 77\n"
    refused = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{mount}exec "$@"', "sh", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    if refused.returncode in {1, 77} and "this is" not in refused.stderr:
        pytest.skip("nothing may be mounted here")
    assert refused.returncode == 2
    assert "this is a file of the data directory" in refused.stderr
    assert [*data.iterdir()] == []


def test_events_go_through_a_dangling_link_to_another_place(tmp_path: Path) -> None:
    flow, link = tmp_path / "flow", tmp_path / "link"
    flow.write_bytes(FLOW)
    link.symlink_to("new")
    run = [*PROGRAM, "run", str(flow), "--events", str(link), "--data-dir", str(tmp_path / "data")]
    assert subprocess.run(run, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert (tmp_path / "new").read_bytes().count(b"\n") == FLOW.count(b"\n")
    assert link.is_symlink()


@pytest.mark.parametrize("option", ["--events", "--data-dir"])
@pytest.mark.parametrize("name", ["loop", "loop/below"])
def test_a_link_to_itself_is_named(
    tmp_path: Path, option: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = tmp_path / "flow"
    flow.write_bytes(FLOW)
    (tmp_path / "loop").symlink_to("loop")
    paths = {"--events": "events", "--data-dir": "data", option: name}
    options = [part for key, value in paths.items() for part in (key, str(tmp_path / value))]
    assert main(["run", str(flow), *options]) == (2 if option == "--events" else 3)
    assert f"{tmp_path / name}: " in capfd.readouterr().err
