"""Both `main.py` where things are not as usual: each environment against each subcommand.

A row is an environment, a column a subcommand. Every cell is one process: it must end with the
status that is written here, and never with a traceback.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from v2_event_driven_engine.tests.subcommands import READING

from ..engines.examples import LIST, order
from .program import (
    DEADLINE_SECONDS,
    PROGRAMS,
    Program,
    answers,
    assert_quiet,
    lines_of,
    until,
)

COMMANDS = ("tour", "run", "stdio", *READING)
CLEAN = b"\n".join(lines_of([LIST, order(1), order(2, "SELL", quantity=2)])) + b"\n"
OPEN_DESCRIPTORS = 1_100
FILE_BYTES = 100
"""So small that neither the events of the flow nor one batch of the log fits."""

Expected = Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """An environment: what is different from a usual start, and what each command makes of it.

    A command that is not in `expected` must end with 0; one that is in `without` is not started.
    """

    name: str
    expected: Expected = field(default_factory=dict)
    without: tuple[str, ...] = ()
    v1_only: Expected = field(default_factory=dict)
    """What V1 expects, where it differs."""
    closed: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    python: tuple[str, ...] = ()
    """Options of the interpreter."""
    descriptors: int = 0
    """How many more files are open already."""
    python_refuses: bool = False
    """Whether it is Python itself that does not start; it says so in lines of its own."""
    limit: int | None = None
    """RLIMIT_FSIZE."""
    stdin: str = "flow"
    flow: bytes = b"flow.ndjson"
    """The name of the flow's file, and with an ending that of V2's data directory."""
    events: bool = False
    """Whether the run writes its events beside the flow, under a like name."""


def every(status: int, *commands: str) -> dict[str, int]:
    return dict.fromkeys(commands or COMMANDS, status)


NO_TOUR = ("tour",)
"""The tour takes seconds, so it goes only where it has something to lose, on one interpreter."""
ONLY_LINES = ("tour", *READING)
"""What reads no lines has nothing to do with standard input."""

ROWS = [
    Row("standard input is closed", closed=(0,), expected={"stdio": 2}, without=NO_TOUR),
    Row("standard output is closed", closed=(1,), expected=every(2)),
    Row("standard error is closed", closed=(2,), without=NO_TOUR),
    Row("only standard output is open", closed=(0, 2), expected={"stdio": 2}),
    Row("all three are closed", closed=(0, 1, 2), expected=every(2)),
    Row("an ASCII terminal", variables={"PYTHONIOENCODING": "ascii"}),
    Row(
        "the POSIX locale",
        variables={"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        flow="flöw.ndjson".encode(),
        without=NO_TOUR,
    ),
    Row("many descriptors", descriptors=OPEN_DESCRIPTORS, without=NO_TOUR),
    Row(
        "no room for files",
        limit=FILE_BYTES,
        events=True,
        expected={"run": 3, "stdio": 3},
        v1_only={"run": 2, "stdio": 0},
        without=NO_TOUR,
    ),
    Row("nothing to read", stdin="/dev/null", without=ONLY_LINES),
    Row("standard input is a FIFO", stdin="fifo", without=ONLY_LINES),
    Row(
        "standard input can only be written",
        stdin="write-only",
        expected={"stdio": 2},
        without=ONLY_LINES,
    ),
    Row("standard input is a directory", stdin="/", expected=every(1), python_refuses=True),
    Row("brackets in a name", flow=b"[bold]f[1][ndjson", events=True, without=NO_TOUR),
    Row("blanks in a name", flow=b" a flow .ndjson", events=True, without=NO_TOUR),
    Row("a line feed in a name", flow=b"a\n\x1b[1mflow", events=True, without=NO_TOUR),
    Row("a name that is no UTF-8", flow=b"\xff\xfe.ndjson", events=True, without=NO_TOUR),
    Row(
        "a name that is no UTF-8, on an ASCII terminal",
        flow=b"\xff\xfe.ndjson",
        variables={"PYTHONIOENCODING": "ascii:strict"},
        without=NO_TOUR,
    ),
    Row("without assertions and docstrings", python=("-OO",)),
    Row("isolated", python=("-I",), without=NO_TOUR),
    Row("with warnings as errors", python=("-W", "error", "-b", "-b"), without=ONLY_LINES),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of V2, for the commands that read one."""
    directory = tmp_path_factory.mktemp("log")
    finished = Program("v2", PROGRAMS["v2"], directory).run("stdio", given=CLEAN)
    assert finished.returncode == 0
    return directory / "data"


def command_line(program: Program, row: Row, command: str, log: Path) -> list[bytes]:
    """The whole command line of a cell. Names may be no text, so all of it is bytes."""
    flow = os.fsencode(program.directory) + b"/" + row.flow
    parts: list[str | bytes] = [sys.executable, *row.python, str(program.folder / "main.py")]
    if command != "tour":
        parts.append(command)
    if command == "run":
        parts.append(flow)
        if row.events:
            parts += ["--events", flow + b".events"]
    if program.keeps_a_log and command != "tour":
        data_dir = flow + b".data"
        if command in READING:
            shutil.copytree(log, os.fsdecode(data_dir))
        parts += ["--data-dir", data_dir]
    return [os.fsencode(part) for part in parts]


def prepared(row: Row) -> Callable[[], None]:
    """What happens in the child before the program starts."""

    def prepare() -> None:
        if row.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (row.limit, row.limit))
        for descriptor in row.closed:
            os.close(descriptor)

    return prepare


def compiles_nothing(row: Row) -> dict[str, str]:
    """Where files may not grow, Python would leave others a compiled module that is cut short."""
    return {} if row.limit is None else {"PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def standard_input(row: Row, directory: Path) -> Iterator[int]:
    """Descriptor 0 of the program: the flow, unless the row says what else."""
    with ExitStack() as stack:
        if row.stdin == "/dev/null":
            descriptor = os.open(os.devnull, os.O_RDONLY)
        elif row.stdin == "/":
            descriptor = os.open(directory, os.O_RDONLY)
        elif row.stdin == "write-only":
            descriptor = os.open(os.devnull, os.O_WRONLY)
        elif row.stdin == "fifo":
            os.mkfifo(directory / "fifo")
            descriptor = os.open(directory / "fifo", os.O_RDONLY | os.O_NONBLOCK)
            writer = os.open(directory / "fifo", os.O_WRONLY)
            os.write(writer, CLEAN)
            os.close(writer)
        else:
            descriptor = os.open(os.fsencode(directory) + b"/" + row.flow, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        yield descriptor


@contextmanager
def many_descriptors(count: int) -> Iterator[list[int]]:
    """Open files to be handed on, more than `select` can count."""
    if not count:
        yield []
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count
    if hard not in (resource.RLIM_INFINITY,) and hard < wanted:
        pytest.skip("not enough descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    try:
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


CELLS = [
    pytest.param(
        row,
        version,
        command,
        id=f"{version} {command}: {row.name}",
        marks=[pytest.mark.once] if command == "tour" else [],
    )
    for row in ROWS
    for version in PROGRAMS
    for command in COMMANDS
    if command not in row.without and (version == "v2" or command not in READING)
]


@pytest.mark.proves("names and limits", "standard descriptors", "streams")
@pytest.mark.parametrize(("row", "version", "command"), CELLS)
def test_an_environment_ends_with_its_status(
    row: Row, version: str, command: str, tmp_path: Path, log: Path
) -> None:
    program = Program(version, PROGRAMS[version], tmp_path)
    flow = tmp_path / os.fsdecode(row.flow)
    flow.write_bytes(CLEAN)
    with standard_input(row, program.directory) as stdin, many_descriptors(row.descriptors) as more:
        finished = subprocess.run(
            command_line(program, row, command, log),
            stdin=stdin,
            capture_output=True,
            pass_fds=more,
            cwd=program.directory,
            env={**program.full_environment(), **row.variables, **compiles_nothing(row)},
            preexec_fn=prepared(row),  # no thread is running here
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    expected = {**row.expected, **({} if program.keeps_a_log else row.v1_only)}.get(command, 0)
    assert finished.returncode == expected, finished.stderr.decode(errors="replace")
    assert b"Traceback" not in finished.stderr + finished.stdout
    assert flow.read_bytes() == CLEAN
    if row.python_refuses:
        return
    assert_quiet(finished.stderr)
    if expected:
        assert 2 in row.closed or finished.stderr.count(b"\n") == 1, "one sentence"
    elif not row.stdin.startswith("/dev") or command != "stdio":
        assert finished.stdout, "what was asked for is there"


# -- Waiting, and a signal ------------------------------------------------------------------------

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
SMALLEST_PIPE_BYTES = 4096
LONG_FLOW = b"\n".join(lines_of([LIST, *(order(number) for number in range(1, 2_000))])) + b"\n"


def catches_signals(process: subprocess.Popen[bytes]) -> bool:
    """Whether the program has come so far that SIGTERM does not just kill it."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def bytes_in(pipe: int) -> int:
    """How much was written to a pipe and not read yet."""
    count = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


@pytest.mark.proves("signals", "streams")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux about a process")
@pytest.mark.parametrize(("number", "status"), SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("source", "command"),
    [
        ("pipe", "run -"),
        ("pipe", "stdio"),
        ("FIFO", "run"),
        ("FIFO", "stdio"),
        ("FIFO without a writer", "run"),
        ("FIFO without a writer", "run -"),
        ("FIFO without a writer", "stdio"),
    ],
)
def test_a_signal_ends_the_waiting_for_input(
    program: Program, source: str, command: str, number: signal.Signals, status: int
) -> None:
    name = program.directory / "fifo"
    os.mkfifo(name)
    with ExitStack() as stack:
        if source == "pipe":
            reading, writing = os.pipe()
        else:
            reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        if source == "FIFO":
            writing = os.open(name, os.O_WRONLY)
        if source != "FIFO without a writer":
            stack.callback(os.close, writing)
            os.write(writing, CLEAN)
        arguments = ["run", str(name)] if command == "run" else command.split()
        process = stack.enter_context(
            subprocess.Popen(
                program.arguments(*arguments),
                stdin=subprocess.DEVNULL if command == "run" else reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=program.directory,
                env=program.full_environment(),
            )
        )
        stack.callback(process.kill)
        until(lambda: catches_signals(process) and bytes_in(reading) == 0)
        os.close(reading)
        process.send_signal(number)
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, errors) == (status, b"")
    if source != "FIFO without a writer":
        assert output, "what came before the signal is answered"


@pytest.mark.proves("signals", "streams")
@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes have one size here")
@pytest.mark.parametrize(("number", "status"), SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("command", ["run", "stdio"])
def test_a_signal_while_a_reader_is_slow_leaves_whole_answers(
    program: Program, command: str, number: signal.Signals, status: int
) -> None:
    (program.directory / "flow").write_bytes(LONG_FLOW)
    name = program.directory / "events"
    os.mkfifo(name)
    with ExitStack() as stack:
        reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, reading)
        size = fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
        events = stack.enter_context(name.open("wb"))
        arguments = ["run", "flow", "--events", str(name)] if command == "run" else ["stdio"]
        process = stack.enter_context(
            subprocess.Popen(
                program.arguments(*arguments),
                stdin=stack.enter_context((program.directory / "flow").open("rb")),
                stdout=subprocess.PIPE if command == "run" else events,
                stderr=subprocess.PIPE,
                cwd=program.directory,
                env=program.full_environment(),
            )
        )
        stack.callback(process.kill)
        until(lambda: bytes_in(reading) > size - 1024)  # V2 answers in writes that fit or wait
        events.close()
        process.send_signal(number)
        os.set_blocking(reading, True)
        output = b"".join(iter(lambda: os.read(reading, 1000), b""))
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, errors) == (status, b"")
    assert 1 < len(answers(output)) <= LONG_FLOW.count(b"\n")


EVENTS_TO_STANDARD_OUTPUT = {"v1": "-", "v2": "/dev/stdout"}


@pytest.mark.proves("signals", "streams")
@pytest.mark.once
@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes have one size here")
@pytest.mark.parametrize(("number", "status"), SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("command", ["run", "run --json", "stdio"])
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_signal_ends_it_though_nobody_reads(
    program: Program, command: str, blocking: bool, number: signal.Signals, status: int
) -> None:
    """One signal is enough, also where the pipe is an ordinary one, on which a write would wait."""
    (program.directory / "flow").write_bytes(LONG_FLOW)
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
    os.set_blocking(writing, blocking)
    arguments = command.split()
    if arguments[0] == "run":
        arguments += ["flow", "--events", EVENTS_TO_STANDARD_OUTPUT[program.name]]
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        process = stack.enter_context(
            subprocess.Popen(
                program.arguments(*arguments),
                stdin=stack.enter_context((program.directory / "flow").open("rb")),
                stdout=writing,
                stderr=subprocess.PIPE,
                cwd=program.directory,
                env=program.full_environment(),
            )
        )
        stack.callback(process.kill)
        os.close(writing)
        until(lambda: bytes_in(reading) > size - 1024)
        process.send_signal(number)
        assert process.wait(timeout=DEADLINE_SECONDS) == status
        output = b"".join(iter(lambda: os.read(reading, 1000), b""))
        assert process.stderr is not None
        assert_quiet(process.stderr.read())
    assert answers(output[: output.rindex(b"\n") + 1])
    if program.keeps_a_log:
        assert program.run("verify").returncode == 0


@pytest.mark.proves("output onto input")
@pytest.mark.parametrize("command", ["run flow", "run -", "stdio"])
def test_an_output_that_is_its_own_input_is_refused(program: Program, command: str) -> None:
    """As in `stdio < flow >> flow`, which would never come to an end."""
    flow = program.directory / "flow"
    flow.write_bytes(CLEAN)
    with flow.open("rb") as stdin, flow.open("ab") as stdout:
        finished = subprocess.run(
            program.arguments(*command.split()),
            stdin=subprocess.DEVNULL if command == "run flow" else stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=program.directory,
            env=program.full_environment(),
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert finished.returncode == 2
    assert finished.stderr.endswith(
        b"standard output goes to the same file; send it to another one\n"
    )
    assert flow.read_bytes() == CLEAN


@pytest.mark.proves("streams")
def test_every_answer_arrives_at_a_pipe_that_is_non_blocking(program: Program) -> None:
    (program.directory / "flow").write_bytes(LONG_FLOW)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (program.directory / "flow").open("rb") as flow:
        process = subprocess.Popen(
            program.arguments("stdio"),
            stdin=flow,
            stdout=writing,
            cwd=program.directory,
            env=program.full_environment(),
        )
    until(lambda: bytes_in(reading) > 4096)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        output = pipe.read()
    assert process.wait(DEADLINE_SECONDS) == 0
    assert len(answers(output)) == LONG_FLOW.count(b"\n")


@pytest.mark.proves("output onto input")
def test_the_events_are_never_written_over_what_is_in_use(program: Program) -> None:
    """And an old file of events stays as it is when the run cannot begin."""
    flow, other = program.directory / "flow", program.directory / "other"
    flow.write_bytes(CLEAN)
    other.write_bytes(CLEAN)
    os.link(flow, program.directory / "link")
    (program.directory / "kept").write_bytes(CLEAN)
    for arguments in (
        ("flow", "link"), (str(program.directory), "other"), ("flow", "other"), ("flow", "kept"),
    ):  # fmt: skip
        with other.open("rb") as stdin, (program.directory / "kept").open("ab") as inherited:
            finished = subprocess.run(
                program.arguments("run", arguments[0], "--events", arguments[1]),
                stdin=stdin,
                pass_fds=[inherited.fileno()],
                capture_output=True,
                cwd=program.directory,
                env=program.full_environment(),
                timeout=DEADLINE_SECONDS,
                check=False,
            )
        assert finished.returncode == 2
        assert finished.stderr.count(b"\n") == 1
        assert flow.read_bytes() == other.read_bytes() == CLEAN
        assert (program.directory / "kept").read_bytes() == CLEAN
