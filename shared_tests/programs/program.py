"""Both `main.py` as programs: started, talked to, interrupted; never imported."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..engines.engine import Command, Event, encode

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"v1": ROOT / "v1_order_matching_engine", "v2": ROOT / "v2_event_driven_engine"}
DEADLINE_SECONDS = 60.0
"""Far beyond what anything here takes: reaching it means that the program hangs."""


@dataclass(frozen=True)
class Program:
    """One version's `main.py`, and the directory that it may use."""

    name: str
    folder: Path
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def keeps_a_log(self) -> bool:
        return self.name == "v2"

    def arguments(self, *arguments: str) -> list[str]:
        """The whole command line; for V2 with the place of its log."""
        data_dir = ["--data-dir", str(self.directory / "data")] if self.keeps_a_log else []
        if not arguments or arguments[0].startswith("-"):
            data_dir = []
        return [sys.executable, str(self.folder / "main.py"), *arguments, *data_dir]

    @contextmanager
    def started(
        self, *arguments: str, stdout: int = subprocess.PIPE
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start the program with pipes at its ends; at the end of the block none is left open."""
        process = subprocess.Popen(
            self.arguments(*arguments),
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env=self.full_environment(),
            process_group=0,  # so that a test can signal all its processes, as a terminal does
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError):  # what is still buffered has no reader
                    if pipe is not None:
                        pipe.close()

    def run(
        self, *arguments: str, given: bytes = b"", stderr: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the program to its end."""
        return subprocess.run(
            self.arguments(*arguments),
            input=given,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.directory,
            env=self.full_environment(),
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def full_environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return kept | dict(self.environment)

    def converse(self, lines: Iterable[bytes]) -> list[Event]:
        """Send lines to `stdio`, all at once; return its answers."""
        finished = self.run("stdio", given=b"".join(line + b"\n" for line in lines))
        assert_quiet(finished.stderr)
        return answers(finished.stdout)


class Dialogue:
    """A conversation with a running `stdio`, in which every answer is awaited, but not for ever."""

    def __init__(self, program: Program) -> None:
        self._resources = ExitStack()
        self.process = self._resources.enter_context(program.started("stdio"))
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reader.join()
        self._resources.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def say(self, line: bytes) -> None:
        """Send one line, at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Event:
        """Wait for the next answer; fail if there is none within the deadline."""
        try:
            line = self._lines.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            raise AssertionError("no answer: stdio does not flush what it has answered") from None
        assert line.endswith(b"\n"), f"an answer is a whole line: {line!r}"
        return parse_answer(line)

    def ask(self, line: bytes | Command) -> Event:
        """Send one line and return the first answer to it."""
        self.say(line if isinstance(line, bytes) else encode(line))
        return self.hear()

    def end(self) -> int:
        """Close the program's input and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=DEADLINE_SECONDS)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something in another process of which nobody tells."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def parse_answer(line: bytes) -> Event:
    """Read one line of output strictly: one JSON object."""
    answer: Any = json.loads(line)
    assert isinstance(answer, dict)
    return answer


def answers(output: bytes) -> list[Event]:
    """Read all lines of output."""
    assert output == b"" or output.endswith(b"\n"), f"cut off: {output[-80:]!r}"
    return [parse_answer(line) for line in output.splitlines()]


def assert_quiet(stderr: bytes) -> None:
    """Fail if Python's own complaints reach the user."""
    text = stderr.decode(errors="replace")
    for complaint in ("Traceback", "Exception ignored", "Error in atexit", "Fatal Python"):
        assert complaint not in text, text


def lines_of(commands: Iterable[Command]) -> list[bytes]:
    """The commands as lines of NDJSON."""
    return [encode(command) for command in commands]
