"""A cluster of real servers and nodes under load, the faults that befall it, and the judge."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from v2_event_driven_engine import Command, ListInstrument
from v2_event_driven_engine.cluster import protocol
from v2_event_driven_engine.cluster.connect import CONTROL, log_of, out_of, statuses
from v2_event_driven_engine.cluster.jetstream import LEASE_BUCKET, PASSING, Connection
from v2_event_driven_engine.cluster.local import main_program
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.servers import Servers, end, start_tied
from v2_event_driven_engine.cluster.sessions import origins_in
from v2_event_driven_engine.cluster.stream import SystemClock
from v2_event_driven_engine.engine.event_log import START, Batch
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log.format import encode_outcomes
from v2_event_driven_engine.errors import LogUnavailable

from ..resources import Resources, resources_of
from ..test_machine import eventually
from .load import SYMBOLS, Report, flow

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 60.0
ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
LISTING_CLIENT = 1 << 50


class NodeProcess:
    """A node as a process that is started again whenever it ends in a doubt."""

    def __init__(self, cluster: "RealCluster", number: int) -> None:
        self.number = number
        self.name = "abc"[number]
        self.lives = 0
        self.kept_down = False
        self._cluster = cluster
        # One of them always begins with an empty memory; but not where the log becomes so long that
        # it would read all of it while the others use the processors.
        keeps = number or ROUNDS > 3
        self._snapshots = ["--snapshots", str(cluster.directory / self.name)] if keeps else []
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Begin a life."""
        cluster = self._cluster
        command = [
            *cluster.inside(self.number), *main_program(), "cluster", "node",
            "--partition", str(cluster.partition), "--name", self.name, *self._snapshots,
            *(word for url in cluster.servers.urls for word in ("--url", url)),
        ]  # fmt: skip
        self.lives += 1
        self.process = start_tied(command, cluster.directory / f"{self.name}.log")

    def look(self) -> None:
        """Start it again if it has ended, and may."""
        status = self.process.poll()
        if status is not None and not self.kept_down:
            assert status in (3, -signal.SIGKILL, 0), f"{self.name} ended with {status}"
            self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


class RealCluster:
    """Three servers, some nodes of one partition, all under one directory."""

    def __init__(
        self,
        directory: Path,
        servers: Servers,
        *,
        nodes: int = 3,
        partition: int = 0,
        inside: Callable[[int], list[str]] = lambda _: [],
    ) -> None:
        """`inside` gives what a command begins with to run on the machine of that number."""
        self.directory = directory
        self.partition = partition
        self.servers = servers
        self.connection = Connection(servers.urls, name="test")
        self.inside = inside
        self.nodes = [NodeProcess(self, number) for number in range(nodes)]
        self.problems: list[str] = []
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def _supervise(self) -> None:
        while not self._ended.wait(0.1):
            for node in self.nodes:
                try:
                    node.look()
                except AssertionError as error:
                    self.problems.append(str(error))
                    node.kept_down = True

    def close(self) -> None:
        """End everything."""
        self._ended.set()
        self._supervisor.join()
        self.connection.close()
        end([node.process for node in self.nodes])

    # -- Who is what ----------------------------------------------------------------------------

    def status(self) -> list[protocol.Status]:
        """What the nodes say of themselves."""
        said = statuses(self.connection, self.partition, 0.5, len(self.nodes))
        if len(said) == len(self.nodes):
            self.connection.answered()
        else:
            self.connection.unanswered()
        return said

    def active(self) -> NodeProcess:
        """The node that is the active, once there is one."""
        found: list[NodeProcess] = []

        def look() -> bool:
            newest = max(self.status(), key=lambda each: each.epoch, default=None)
            if newest is not None and newest.role == "active":
                found.extend(node for node in self.nodes if node.name == newest.node)
            return bool(found)

        eventually(look, "some node is the active")
        return found[0]

    def standby(self) -> NodeProcess:
        """A node that is not."""
        active = self.active()
        return next(node for node in self.nodes if node is not active)

    def leader(self) -> int:
        """The number of the server that leads LOG."""
        found: list[int] = []

        def look() -> bool:
            name = self.connection.leader(f"LOG_{self.partition}")
            found.extend(
                number
                for number, machine in enumerate(self.servers.machines)
                if machine.name == name
            )
            return bool(found)

        eventually(look, "LOG has a leader")
        return found[0]

    def follower(self) -> int:
        """The number of a server that does not."""
        return (self.leader() + 1) % len(self.servers.machines)

    # -- Load -----------------------------------------------------------------------------------

    def list_instruments(self) -> None:
        """List the symbols of the flow, as a client of its own."""
        commands: list[Command] = [ListInstrument(symbol, "0.01", "1") for symbol in SYMBOLS]
        request = protocol.encode(protocol.Submit(LISTING_CLIENT, 1, commands))

        def answered() -> bool:
            replies = self.connection.collect(f"cmd.{self.partition}", request, 0.5, 1)
            return any(isinstance(protocol.decode_reply(r), protocol.Answered) for r in replies)

        eventually(answered, "the instruments are listed")

    @contextmanager
    def load(
        self, clients: int = 2, commands_each: int = 20, window: int = 4, pause: float = 0.005
    ) -> Iterator["Load"]:
        """Clients that send until the block ends; then their reports are there."""
        load = Load(self, clients, commands_each, window, pause)
        try:
            yield load
        finally:
            load.stop()


class Load:
    """Some processes of clients."""

    def __init__(
        self, cluster: RealCluster, clients: int, commands_each: int, window: int, pause: float
    ) -> None:
        self.reports: list[Report] = []
        self._files = [cluster.directory / f"client-{n}.report" for n in range(clients)]
        self._processes = []
        for number, file in enumerate(self._files):
            options = {
                "urls": cluster.servers.urls, "partition": cluster.partition,
                "client": number + 1, "commands_each": commands_each, "window": window,
                "pause": pause, "report": str(file),
            }  # fmt: skip
            command = [sys.executable, "-m", f"{__package__}.load", json.dumps(options)]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT))

    def stop(self) -> None:
        """Let the clients finish, and read what they wrote down."""
        for process in self._processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(b"\n")
                process.stdin.close()
        for process, file in zip(self._processes, self._files, strict=True):
            assert process.wait(2 * DEADLINE_SECONDS) == 0
            self.reports.append(msgspec.msgpack.decode(file.read_bytes(), type=Report))


def goes_on(cluster: RealCluster, more: int = 200) -> None:
    """Wait until some more commands have been carried out."""

    def sequence() -> int:
        return max((each.sequence for each in cluster.status()), default=0)

    now = sequence()
    eventually(lambda: sequence() > now + more, "the market goes on")


def is_whole(cluster: RealCluster, lag: int = 2000) -> bool:
    """Whether every node is there and follows closely, and every server has all of every stream."""
    connection, others = cluster.connection, len(cluster.servers.machines) - 1
    said = [each.sequence for each in cluster.status()]
    if len(said) < len(cluster.nodes) or max(said) - min(said) > lag:
        return False
    partition = cluster.partition
    for name in (f"LOG_{partition}", f"OUT_{partition}", f"KV_{LEASE_BUCKET}", CONTROL):
        try:
            kept = connection.call(connection.streams.stream_info(name)).cluster
        except PASSING:
            return False
        if kept is None or not kept.leader or len(kept.replicas or []) < others:
            return False
        if not all(replica.current for replica in kept.replicas or []):
            return False
    return True


def repaired(cluster: RealCluster) -> None:
    """Wait until it is whole, as long as every node is there and the slowest one gets on.

    A node without snapshots reads the whole log, which takes the longer the longer a history is.
    """
    before, give_up = -1, time.monotonic() + DEADLINE_SECONDS
    while not is_whole(cluster):
        said = [each.sequence for each in cluster.status()]
        if len(said) == len(cluster.nodes) and min(said) != before:
            before, give_up = min(said), time.monotonic() + DEADLINE_SECONDS
        assert time.monotonic() < give_up, f"it is not repaired: {cluster.status()}"


@contextmanager
def running(
    directory: Path, servers: Servers, inside: Callable[[int], list[str]] = lambda _: []
) -> Iterator[RealCluster]:
    """Servers and nodes, until the block ends; two instruments are listed."""
    try:
        servers.start_all()
        cluster = RealCluster(directory, servers, inside=inside)
        try:
            cluster.list_instruments()
            yield cluster
        finally:
            cluster.close()
    finally:
        servers.stop_all()


def most_resources(cluster: RealCluster) -> Resources:
    """The most that any node or server takes, of each resource by itself."""
    found = [Resources(0, 0)]
    processes = [node.process for node in cluster.nodes]
    processes += [process for process in cluster.servers.processes if process is not None]
    for process in processes:
        with suppress(OSError):  # it has just ended
            found.append(resources_of(process.pid))
    return Resources(*map(max, zip(*found, strict=True)))


# -- The judge ----------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What a history was, when nothing is wrong with it."""

    commands: int
    """In the log."""
    acknowledged: int
    epochs: int
    state_hash: str


def judge(cluster: RealCluster, reports: Sequence[Report]) -> Verdict:
    """Hold what clients were told against LOG, OUT and every node.

    LOG is read from the start, and replayed, once everything is repaired. Acknowledged and lost,
    applied twice, out of order, answered otherwise, another state anywhere: an assertion fails.
    """
    repaired(cluster)
    assert cluster.problems == []
    log = log_in(cluster)
    fresh = Replica()
    clients = {report.client: JudgedClient(report) for report in reports}
    for batch in batches(log):
        fresh.apply(batch)
        outcomes = fresh.state.unrecorded
        at = 0
        for origin in origins_in(batch.tag) if batch.commands else ():
            if client := clients.get(origin.client):
                for place in range(at, at + origin.commands):
                    client.logged(
                        batch.first_sequence + place, batch.commands[place], outcomes[place]
                    )
            at += origin.commands
    for client in clients.values():
        client.end()
    calls = [call for client in clients.values() for call in client.calls]
    acknowledged = sum(len(each.told) * each.commands_each for each in reports)
    linearizable(calls)
    out(cluster, fresh)
    replicas(cluster, fresh)
    return Verdict(
        fresh.sequence, acknowledged, log.position.epoch, fresh.state.matcher.state_hash()
    )


def log_in(cluster: RealCluster) -> ReplicatedEventLog:
    """The log, to be read by whoever judges it."""
    stream = log_of(cluster.connection, cluster.partition)
    return ReplicatedEventLog(stream, SystemClock(), "judge", 0)


def batches(log: ReplicatedEventLog) -> Iterator[Batch]:
    """Every batch; a leader that does not answer just now is asked again, while the log gets on."""
    place, give_up = START, time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            for batch in log.read(place):
                place, give_up = batch.place, time.monotonic() + DEADLINE_SECONDS
                yield batch
        except LogUnavailable:
            if time.monotonic() > give_up:
                raise
        else:
            return


class JudgedClient:
    """One client's commands in the order of the log, held against what it was told."""

    def __init__(self, report: Report) -> None:
        self.calls: list[tuple[int, int, int]] = []
        """Of each answer: when it was asked for, when it came (ns), and its last sequence."""
        self._report = report
        self._flow = flow(report.client)
        self._count = 0
        self._first_sequence = 0
        self._outcomes: list[Sequence[AnyEvent]] = []
        """Of those that were submitted together, so far."""

    def logged(self, sequence: int, command: Command, events: Sequence[AnyEvent]) -> None:
        """The next of its commands."""
        report = self._report
        assert command == next(self._flow), f"client {report.client}: not what it sent"
        if not self._outcomes:
            self._first_sequence = sequence
        self._outcomes.append(events)
        self._count += 1
        if len(self._outcomes) < report.commands_each:
            return
        if len(self.calls) < len(report.told):
            told = report.told[len(self.calls)]
            assert self._first_sequence == told.first_sequence, "another place than it was told"
            events_of_all = encode_outcomes(self._outcomes)
            assert crc32c(events_of_all) == told.checksum, "other events than it was told"
            self.calls.append((told.sent_ns, told.told_ns, sequence))
        self._outcomes.clear()

    def end(self) -> None:
        """There are no more."""
        report = self._report
        assert report.failure == "", f"client {report.client}: {report.failure}"
        assert self._count <= report.sent * report.commands_each, "applied twice"
        assert len(self.calls) == len(report.told), "acknowledged and lost"


def linearizable(calls: list[tuple[int, int, int]]) -> None:
    """Whoever began after another one had been told comes behind it. O(n log n)."""
    highest = 0
    by_end = sorted(calls, key=lambda call: call[1])
    at = 0
    for sent, _, last in sorted(calls):
        while at < len(by_end) and by_end[at][1] < sent:
            highest = max(highest, by_end[at][2])
            at += 1
        assert last > highest, f"sequence {last} was sent after {highest} had been told"


def out(cluster: RealCluster, fresh: Replica) -> None:
    """OUT is made of LOG, all of it, once the active had the time."""
    stream = out_of(cluster.connection, cluster.partition)

    def last() -> int:
        with suppress(LogUnavailable):  # its leader is just another one
            return stream.last()
        return -1

    eventually(lambda: last() >= fresh.batches, "OUT has everything")
    number = 0
    expected = iter(fresh.unpublished)
    while number < fresh.batches:
        messages = stream.after(number, 1.0)
        for message in messages:
            number += 1
            assert next(expected).encoded == message, f"OUT {number} is not made of LOG"
    assert number == fresh.batches
    eventually(lambda: last() == number, "OUT has nothing more")
    stream.close()


def replicas(cluster: RealCluster, fresh: Replica) -> None:
    """Every node comes to the state of a fresh replay."""
    wanted = (
        fresh.sequence, fresh.state.matcher.state_hash(), fresh.sessions.hash()
    )  # fmt: skip

    def agree() -> bool:
        return [
            (each.sequence, each.state_hash, each.sessions_hash) for each in cluster.status()
        ] == [wanted] * len(cluster.nodes)

    eventually(agree, f"every node is at {wanted}")


def longest_gap(reports: Sequence[Report], began: int, ended: int) -> float:
    """Seconds without an answer to anybody, at most, between two times in ns."""
    times = sorted(
        told.told_ns for report in reports for told in report.told if began <= told.told_ns <= ended
    )
    return max((b - a for a, b in pairwise([began, *times, ended])), default=0) / 1e9


def answers(reports: Sequence[Report]) -> int:
    """How many there were."""
    return sum(len(report.told) for report in reports)
