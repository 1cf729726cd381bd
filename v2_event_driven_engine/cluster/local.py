"""A whole cluster on one machine, for trying: three servers, and some replicas of each partition.

One thread starts them, prints what they say and starts again what has ended. What it has started
ends with it, whatever ends it (`servers.start_tied`).
"""

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from ..engine.log.storage import reason
from ..errors import DirectoryInUse, DirectoryUnusable, LogUnavailable
from .connect import make_table
from .jetstream import SET_UP_SECONDS, Connection
from .servers import Servers, end, start_tied
from .service import DIVERGED

DESCRIPTION = "cluster.json"
"""In the data directory: where the servers are, and which processes there are."""
LOCK = "cluster.lock"
LOOK_SECONDS = 0.2
PAUSE_SECONDS = 0.2
PAUSE_SECONDS_MAX = 5.0
"""Before what has ended is started again; it doubles from one to the other."""
LONG_LIFE_SECONDS = 10.0
"""Whatever lived longer is started again after the shortest pause."""
SERVER_PAUSE_SECONDS = 3.0

Command = Callable[[Sequence[str], int, str], list[str]]
"""The command line of a node: from the servers' addresses, its partition and its name."""


class Child(NamedTuple):
    """A node as `cluster.json` has it."""

    partition: int
    name: str
    pid: int


class _Node:
    """One replica of one partition, over all of its lives."""

    def __init__(self, partition: int, name: str) -> None:
        self.partition = partition
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.due = 0.0
        """When it is to be started next."""
        self.pause = PAUSE_SECONDS
        self.unfinished = b""

    def __str__(self) -> str:
        return f"node {self.name} of partition {self.partition}"


class LocalCluster:
    """Servers and nodes on loopback, under one data directory. Call it from one thread only."""

    def __init__(
        self,
        directory: Path,
        command: Command,
        say: Callable[[str], None],
        *,
        partitions: int = 1,
        replicas: int = 3,
    ) -> None:
        """Get ready, and start nothing.

        Raises:
            DirectoryInUse: there is a cluster in this directory, and it runs.
            DirectoryUnusable: nothing can be written there.
            StoreError: no server is installed.
        """
        self.directory = directory
        self._say = say
        self._command = command
        self._held = ExitStack()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock()
        except OSError as error:
            raise DirectoryUnusable(f"{directory}: {reason(error)}") from None
        self.servers = Servers(directory / "servers")
        self._server_due = [0.0] * len(self.servers.machines)
        self._partitions = partitions
        self._nodes = [
            _Node(partition, chr(ord("a") + number))
            for partition in range(partitions)
            for number in range(replicas)
        ]
        self._poll = select.poll()
        self._readers: dict[int, _Node] = {}

    def _lock(self) -> None:
        file = self._held.enter_context((self.directory / LOCK).open("w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._held.close()
            raise DirectoryInUse(
                f"{self.directory}: a cluster runs here; name another --data-dir"
            ) from None

    def start(self) -> None:
        """Start everything.

        Raises:
            StoreError: a server does not start, or the directory was made with another number of
                partitions.
        """
        self.servers.start_all()
        for number in range(len(self.servers.machines)):
            self._tell_server(number)
        self._make_table()
        for node in self._nodes:
            self._start(node)
        self._describe()

    def _make_table(self) -> None:
        """See that the table of symbols is there, once the servers have elected its leader."""
        connection = Connection(self.servers.urls, name="up")
        give_up = time.monotonic() + SET_UP_SECONDS
        try:
            while True:
                try:
                    make_table(connection, self._partitions)
                except LogUnavailable:
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(LOOK_SECONDS)
                else:
                    return
        finally:
            connection.close()

    def _tell_server(self, number: int) -> None:
        machine, process = self.servers.machines[number], self.servers.processes[number]
        assert process is not None
        self._say(f"server {machine.name}: process {process.pid}, {machine.url}")

    def _start(self, node: _Node) -> None:
        reader, writer = os.pipe()
        log = self.directory / f"node-{node.partition}-{node.name}.log"
        command = self._command(self.servers.urls, node.partition, node.name)
        node.process = start_tied(command, log, writer)
        os.close(writer)
        node.started = time.monotonic()
        self._readers[reader] = node
        self._poll.register(reader, select.POLLIN)
        self._say(f"{node}: process {node.process.pid}")

    def _describe(self) -> None:
        """Write down which processes there are. Whoever reads it sees all or nothing."""
        content: dict[str, Any] = {
            "urls": self.servers.urls,
            "partitions": self._partitions,
            "pid": os.getpid(),
            "servers": [
                {"name": machine.name, "pid": process.pid}
                for machine, process in zip(
                    self.servers.machines, self.servers.processes, strict=True
                )
                if process is not None and process.poll() is None
            ],
            "nodes": [
                Child(node.partition, node.name, node.process.pid)._asdict()
                for node in self._nodes
                if node.process is not None
            ],
        }
        new = self.directory / (DESCRIPTION + ".new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(self.directory / DESCRIPTION)

    def look(self, wakeup: int) -> None:
        """Print what was said, start again what has ended; wait for that a little.

        `wakeup` is a descriptor that ends the waiting.
        """
        self._poll.register(wakeup, select.POLLIN)
        for descriptor, _ in self._poll.poll(LOOK_SECONDS * 1000):
            if descriptor != wakeup:
                self._read(descriptor)
        changed = self._look_at_servers()
        for node in self._nodes:
            if node.process is None and 0 < node.due <= time.monotonic():
                self._start(node)
                changed = True
        if changed:
            self._describe()

    def _read(self, descriptor: int) -> None:
        node = self._readers[descriptor]
        data = os.read(descriptor, 65536)
        *lines, node.unfinished = (node.unfinished + data).split(b"\n")
        for line in lines:
            self._say(_told(node, line))
        if not data:
            self._poll.unregister(descriptor)
            os.close(descriptor)
            del self._readers[descriptor]
            self._ended(node)

    def _ended(self, node: _Node) -> None:
        assert node.process is not None
        status = node.process.wait()
        node.process = None
        if status == DIVERGED:
            node.due = 0.0
            self._say(f"{node}: ended with {status} and is NOT started again: see its log")
            return
        long = time.monotonic() - node.started > LONG_LIFE_SECONDS
        node.pause = PAUSE_SECONDS if long else min(2 * node.pause, PAUSE_SECONDS_MAX)
        node.due = time.monotonic() + node.pause
        self._say(f"{node}: ended with {status}; it is started again")

    def _look_at_servers(self) -> bool:
        changed = False
        for number, machine in enumerate(self.servers.machines):
            if self.servers.runs(number):
                continue
            if not self._server_due[number]:
                self._server_due[number] = time.monotonic() + SERVER_PAUSE_SECONDS
                self._say(f"server {machine.name}: ended; it is started again")
                changed = True
            elif time.monotonic() >= self._server_due[number]:
                self._server_due[number] = 0.0
                self.servers.start(number)
                self._tell_server(number)
                changed = True
        return changed

    def stop(self) -> None:
        """End everything that was started: first the nodes, then the servers."""
        end([node.process for node in self._nodes if node.process is not None])
        self.servers.stop_all()
        for descriptor in self._readers:
            os.close(descriptor)
        self._readers.clear()
        (self.directory / DESCRIPTION).unlink(missing_ok=True)
        self._held.close()


def _told(node: _Node, line: bytes) -> str:
    """What a node has printed, for people."""
    try:
        told = json.loads(line)
        role, sequence = told["role"], told["sequence"]
    except (ValueError, TypeError, KeyError):
        return f"{node}: {line.decode(errors='replace')}"
    epoch = f", epoch {told['epoch']}" if "epoch" in told else ""
    error = f": {told['error']}" if "error" in told else ""
    return f"{node}: {role} at sequence {sequence}{epoch}{error}"


def main_program() -> list[str]:
    """How the command line of this package is started."""
    package = Path(__file__).resolve().parents[1]
    return [sys.executable, str(package / "main.py")]
