"""`main.py cluster up` as tests use it: a process, what it prints, and the nodes that it has."""

import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from v2_event_driven_engine.cluster import connect, protocol
from v2_event_driven_engine.cluster.jetstream import Connection

MAIN = Path(__file__).resolve().parents[2] / "main.py"
WAIT_SECONDS = 60.0
AGAIN_SECONDS = 0.05


def main_py(
    *arguments: str | Path, timeout: float = WAIT_SECONDS
) -> "subprocess.CompletedProcess[str]":
    """Run `main.py cluster` to its end."""
    command = [sys.executable, str(MAIN), "cluster", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


class Up:
    """`cluster up` in a directory. Whatever happens to a test, its processes end."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        command = [sys.executable, str(MAIN), "cluster", "up", "--data-dir", str(directory)]
        self.process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def line(self, pattern: str) -> str:
        """The next line with a pattern that it prints, from where the last call has got to."""
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                line = self._coming.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line {pattern!r} in:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if re.search(pattern, line):
                return line

    def __enter__(self) -> Self:
        self.line("all started")
        self.connection = Connection(self.described()["urls"], name="tests")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        self.connection.close()
        self.process.send_signal(how)
        status = self.process.wait(WAIT_SECONDS)
        assert self.process.stdout is not None
        self._reader.join()
        self.process.stdout.close()
        return status

    def described(self) -> dict[str, Any]:
        """What it has written down."""
        content: dict[str, Any] = json.loads((self.directory / "cluster.json").read_bytes())
        return content

    def pids(self) -> list[int]:
        """Of everything that it runs."""
        described = self.described()
        return [each["pid"] for each in (*described["servers"], *described["nodes"])]

    def answer(self, request: protocol.Request, subject: str = "cmd.0") -> protocol.Reply:
        """The answer to a request, which is repeated until there is one."""
        give_up = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < give_up:
            data = protocol.encode(request)
            for reply in self.connection.collect(subject, data, AGAIN_SECONDS, 1):
                return protocol.decode_reply(reply)
        raise AssertionError(f"no answer to {request}")

    def statuses(self, count: int, partition: int = 0) -> list[protocol.Status]:
        """What so many nodes say of themselves, once they all have got equally far."""
        give_up = time.monotonic() + WAIT_SECONDS
        said: list[protocol.Status] = []
        while time.monotonic() < give_up:
            said = connect.statuses(self.connection, partition, 1.0, count)
            actives = [node for node in said if node.role == "active"]
            if len(said) == count and len({node.entries for node in said}) == len(actives) == 1:
                return said
        raise AssertionError(f"the nodes do not get level: {said}")
