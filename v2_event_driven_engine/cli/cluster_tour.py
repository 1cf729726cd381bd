"""`cluster tour`: three replicas under load, the active killed, then the leader of the log.

Everything is real (three servers, three nodes, a client, SIGKILL), in a temporary directory.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..cluster.protocol import Status
from ..cluster.replica import Replica
from ..engine.events import AnyEvent
from ..engine.log.format import encode_outcomes
from ..engine.receipt import Receipt
from ..errors import EngineBusy, EngineError, LogUnavailable
from ..models.commands import Command, ListInstrument
from .cluster_options import STATUS_SECONDS
from .exits import CHECK_FAILED, OK, SIGNALED
from .output import say
from .signals import StopSignals
from .tour import SYMBOL, producer_flow

if TYPE_CHECKING:
    from ..cluster.client import ClusterClient
    from ..cluster.local import LocalCluster

COMMANDS_TOGETHER = 100
IN_FLIGHT = 8
STEADY_SECONDS = 3.0
"""Of load before the first fault, and after each one has been overcome."""
DEADLINE_SECONDS = 60.0

INTRODUCTION = """\
V2 on three replicas. Three servers keep the log, three nodes carry out what it says: one is the
active, which writes, the others follow. A client submits without a pause. In the middle the
active is killed, and then the server that leads the log. No warning, no clean-up.
"""


NodeCommand = Callable[[Path, int, Sequence[str], int, str], list[str]]
"""The command line of a node, from the data directory and the number of partitions on."""


class Answered(NamedTuple):
    """Some commands that were carried out."""

    at: float
    commands: list[Command]
    events: list[list[AnyEvent]]


class Load:
    """A client that submits until it is stopped, in a thread of its own."""

    def __init__(self, client: ClusterClient) -> None:
        self.answered: list[Answered] = []
        self.failure: EngineError | None = None
        self._client = client
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        flow = producer_flow(1)
        waiting: list[tuple[list[Command], Receipt[list[list[AnyEvent]]]]] = []
        try:
            while not self._stopped.is_set() or waiting:
                while len(waiting) < IN_FLIGHT and not self._stopped.is_set():
                    some = list(islice(flow, COMMANDS_TOGETHER))
                    with suppress(EngineBusy):
                        waiting.append((some, self._client.submit_many(some)))
                some, receipt = waiting.pop(0)
                events = receipt.result()
                self.answered.append(Answered(time.monotonic(), some, events))
        except EngineError as error:
            self.failure = error

    def stop(self) -> None:
        """Submit no more, and wait for what is open."""
        self._stopped.set()
        self._thread.join()

    def longest_gap(self, since: float) -> float:
        """Seconds without an answer, at most, from some time on."""
        times = [since, *(each.at for each in self.answered if each.at > since)]
        return max((b - a for a, b in pairwise(times)), default=0.0)


def tour(options: argparse.Namespace, command: NodeCommand) -> int:
    """The whole tour. It takes half a minute and leaves nothing on the disk."""
    from ..cluster.local import LocalCluster  # noqa: PLC0415

    for line in INTRODUCTION.splitlines():
        say(line)
    with tempfile.TemporaryDirectory(prefix="matching-engine-") as name, StopSignals() as stop:
        nodes = partial(command, Path(name), 1)
        cluster = LocalCluster(Path(name), nodes, lambda line: say(f"   {line}"))
        story = _Story(cluster, options.run_by)
        try:
            _title("1. Started")
            cluster.start()
            story.start()
            while story.is_alive() and stop.received is None:
                cluster.look(stop.fileno())
        finally:
            cluster.stop()
    if stop.received is not None:
        return SIGNALED + stop.received
    if story.failure is not None:
        raise story.failure
    return OK if story.proved else CHECK_FAILED


def _title(text: str) -> None:
    say("")
    say(text)


class _Story(threading.Thread):
    """What happens, told as it happens. The thread that looks after the processes is another."""

    def __init__(self, cluster: LocalCluster, run_by: str) -> None:
        super().__init__(name="tour", daemon=True)
        self.proved = False
        self.failure: Exception | None = None
        self._cluster = cluster
        self._run_by = run_by

    def run(self) -> None:
        """Tell it."""
        try:
            self._tell()
        except (EngineError, OSError) as error:
            self.failure = error

    def _tell(self) -> None:
        from ..cluster.client import ClusterClient  # noqa: PLC0415
        from ..cluster.connect import table_of  # noqa: PLC0415
        from ..cluster.jetstream import Connection  # noqa: PLC0415

        self._connection = Connection(self._cluster.servers.urls, name="tour")
        active = self._active(after_epoch=0)
        instrument = ListInstrument(SYMBOL, "0.01", "1")
        table = table_of(self._connection)
        with ClusterClient(self._connection, table=table, instruments=[instrument]) as client:
            load = Load(client)
            time.sleep(STEADY_SECONDS)
            _title(
                f"2. The active, {active.node}, gets SIGKILL after {len(load.answered):,} answers"
            )
            began = time.monotonic()
            os.kill(active.pid, signal.SIGKILL)
            successor = self._active(active.epoch)
            self._goes_on(load, began)
            say(
                f"   {successor.node} has taken over as epoch {successor.epoch}; for "
                f"{load.longest_gap(began):.2f} s nobody was answered"
            )
            leader = self._connection.leader("LOG_0")
            _title(f"3. The server that leads the log, {leader}, gets SIGKILL")
            began = time.monotonic()
            for number, machine in enumerate(self._cluster.servers.machines):
                if machine.name == leader:
                    self._cluster.servers.signal(number, signal.SIGKILL)
            self._goes_on(load, began)
            say(
                f"   {self._connection.leader('LOG_0')} leads now; for "
                f"{load.longest_gap(began):.2f} s nobody was answered: the servers' election"
            )
            load.stop()
        if load.failure is not None:
            raise load.failure
        self._prove(load.answered)
        self._connection.close()
        _title(f"Next: {self._run_by} cluster up, and then in another terminal cluster status,")
        say(f"cluster submit FLOW, cluster kill active. {self._run_by} cluster --help says more.")

    def _status(self) -> list[Status]:
        from ..cluster.connect import statuses  # noqa: PLC0415

        return statuses(self._connection, 0, STATUS_SECONDS, 3)

    def _active(self, after_epoch: int) -> Status:
        """The active of a later epoch, once there is one."""
        give_up = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < give_up:
            for node in self._status():
                if node.role == "active" and node.epoch > after_epoch:
                    return node
        raise LogUnavailable(f"no node became the active within {DEADLINE_SECONDS:.0f} s")

    def _goes_on(self, load: Load, began: float) -> None:
        """Wait until there have been answers for some seconds since the first one."""
        give_up = began + DEADLINE_SECONDS
        first = None
        while time.monotonic() < give_up and load.failure is None:
            first = first or next((a.at for a in load.answered[::-1] if a.at > began + 0.5), None)
            if first is not None and time.monotonic() > first + STEADY_SECONDS:
                return
            time.sleep(0.1)
        raise load.failure or LogUnavailable("the market did not go on")

    def _prove(self, answered: list[Answered]) -> None:
        """Read the log from its beginning, and hold everything against it."""
        from ..cluster.jetstream import JetStreamStream  # noqa: PLC0415
        from ..cluster.replicated_log import ReplicatedEventLog  # noqa: PLC0415
        from ..cluster.stream import SystemClock  # noqa: PLC0415

        stream = JetStreamStream(self._connection, "LOG_0", "log.0")
        log = ReplicatedEventLog(stream, SystemClock(), "tour", 0)
        fresh = Replica()
        found: list[tuple[Command, bytes]] = []
        for batch in log.read():
            fresh.apply(batch)
            happened = [encode_outcomes([events]) for events in fresh.state.unrecorded]
            found += zip(batch.commands, happened, strict=True)
        stream.close()
        told = same = 0
        for each in answered:
            for command, events in zip(each.commands, each.events, strict=True):
                there = found[events[0].sequence - 1]
                told += 1
                same += there == (command, encode_outcomes([events]))
        wanted = fresh.state.matcher.state_hash(), fresh.sessions.hash()
        nodes = self._equal(fresh.sequence)
        equal = sum((node.state_hash, node.sessions_hash) == wanted for node in nodes)
        others = len(found) - 1 - told  # the first one listed the instrument
        _title("4. Proof: the log, read from its beginning, and replayed")
        for label, number in (
            ("commands that the client was told of", told),
            ("found in the log once, with the same events", same),
            ("in the log besides: lost answers, or twice", others),
            ("nodes with the books and sessions of the replay", equal),
        ):
            say(f"   {label:<50} {number:>9,}")
        self.proved = told == same and not others and equal == len(nodes) == 3

    def _equal(self, sequence: int) -> list[Status]:
        """The nodes, once all of them have got so far."""
        give_up = time.monotonic() + DEADLINE_SECONDS
        while True:
            nodes = self._status()
            if len(nodes) == 3 and all(node.sequence == sequence for node in nodes):
                return nodes
            if time.monotonic() > give_up:
                return nodes
