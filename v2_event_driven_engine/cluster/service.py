"""The process of one node: the node in the main thread, its publisher, its connection, its end.

It prints one JSON object a line whenever its role changes, and ends with the status

    0  it was told to stop: everything that it had taken is answered, and the lease is free
    3  it was fenced, had no majority for too long, or was in any other doubt: start it again
    4  what it derives is not what the log recorded, or the log is damaged: do not start it again
"""

import gc
import json
import os
import secrets
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..engine.log.storage import DirectoryStorage
from ..errors import (
    EngineError,
    Fenced,
    LogDamaged,
    LogUnavailable,
    MatcherBug,
    ReplayDivergence,
    UnsupportedFormat,
)
from .connect import log_of, make_streams, make_table, out_of
from .jetstream import (
    OPEN,
    Connection,
    JetStreamLease,
    NatsNetwork,
    Security,
)
from .node import Node, publish
from .replica import Replica
from .replicated_log import ReplicatedEventLog
from .snapshots import NodeSnapshots
from .stream import SystemClock
from .table import OtherPartitions

STOPPED = 0
START_AGAIN = 3
DIVERGED = 4
DAMAGE = (ReplayDivergence, LogDamaged, MatcherBug, UnsupportedFormat)
PUBLISHED_SECONDS = 1.0
"""How often a standby looks at what OUT has."""
PUBLISH_SECONDS = 0.01
"""How long an active with nothing to publish waits before it looks again."""
STOP_SECONDS = 1.0
"""How long the end waits for what is being published; the next active publishes it, too."""


class Service:
    """One life of a node."""

    def __init__(
        self,
        urls: Sequence[str],
        partition: int,
        name: str,
        *,
        security: Security = OPEN,
        replicas: int = 3,
        partitions: int = 1,
        snapshots: Path | None = None,
    ) -> None:
        """Connect, make what is missing on the servers, and get ready.

        `partitions` is how many the cluster has. In the directory `snapshots`, if one is named,
        the node keeps its own.

        Raises:
            StoreError, OSError: the servers cannot be reached or used, or the directory.
        """
        self._partition = partition
        self._name = name
        self._clock = SystemClock()
        self._failing = threading.Lock()
        self._opened = threading.Event()
        self._stopped = threading.Event()
        """The node has ended as planned: nothing is published any more."""
        self._connection = Connection(urls, name=f"{name} of {partition}", security=security)
        table = make_table(self._connection, partitions, replicas)
        make_streams(self._connection, partition, replicas)
        self._out = out_of(self._connection, partition)
        replica, followed = self._start(snapshots)
        lease = JetStreamLease(self._connection, partition, name, replicas)
        network = _ToldNetwork(self._connection, partition, name, self.stop)
        network.opened = self._tell_active
        self._network = network
        self.node = Node(
            replica,
            ReplicatedEventLog(
                log_of(self._connection, partition),
                self._clock,
                name,
                secrets.randbits(63),
            ),
            lease,
            network,
            self._clock,
            table=OtherPartitions(table, self._clock, partition),
            followed=followed,
            name=name,
            partition=partition,
        )
        self._connection.lost = self._lost

    def _start(self, directory: Path | None) -> tuple[Replica, Callable[[Replica], None]]:
        """What the node begins with, and what it calls when it has followed the log."""
        if directory is None:
            return Replica(), lambda _: None
        storage = DirectoryStorage(directory, create=True)
        storage.lock()
        snapshots = NodeSnapshots(storage, out_of(self._connection, self._partition))
        replica = snapshots.newest(log_of(self._connection, self._partition))
        for warning in snapshots.warnings:
            print(warning, file=sys.stderr, flush=True)
        return replica, snapshots.followed

    def run(self) -> int:
        """Live; the exit status of the process."""
        self._say("standby")
        publisher = threading.Thread(target=self._publish, name="publisher", daemon=True)
        publisher.start()
        try:
            self.node.run()
        except Exception as error:
            self._fail(error)
        self._stopped.set()
        self._opened.set()  # a standby's publisher waits for it
        publisher.join(STOP_SECONDS)
        self._say("stopped")
        self._connection.close()
        return STOPPED

    def stop(self) -> None:
        """End soon, from any thread."""
        self.node.stopping = True
        self._network.wake()

    # -- The publisher's thread -----------------------------------------------------------------

    def _publish(self) -> None:
        """Keep OUT complete while this is the active; else forget what it has."""
        replica, active = self.node.replica, False
        try:
            while not active:
                active = self._opened.wait(PUBLISHED_SECONDS)
                with suppress(LogUnavailable):
                    replica.published(self._out.last())
            while not self._stopped.is_set():
                if not publish(replica, self._out, self._clock):
                    time.sleep(PUBLISH_SECONDS)
        except Fenced as error:
            self._fail(ReplayDivergence(replica.sequence, 0, "", f"others ({error})", "these"))
        except Exception as error:
            if not self._stopped.is_set():  # else it is the connection that ends
                self._fail(error)

    # -- Telling --------------------------------------------------------------------------------

    def _lost(self, problem: str) -> None:
        self._fail(LogUnavailable(f"a server ended the connection: {problem}"))

    def _tell_active(self) -> None:
        self._opened.set()
        self._say("active", epoch=self.node.epoch)

    def _say(self, role: str, **more: object) -> None:
        position = self.node.replica.sequence
        line = {"node": self._name, "partition": self._partition, "pid": os.getpid(), "role": role,
                "sequence": position, "time_ns": self._clock.time_ns(), **more}  # fmt: skip
        say(line)

    def _fail(self, error: BaseException) -> None:
        """End the process, at once: after a failure nothing may be answered."""
        with self._failing:
            if not isinstance(error, (EngineError, OSError)):  # a mistake of ours: where is it?
                traceback.print_exception(error)
            status = DIVERGED if isinstance(error, DAMAGE) else START_AGAIN
            self._say("failed", error=f"{type(error).__name__}: {error}", exit_status=status)
            os._exit(status)


class _ToldNetwork(NatsNetwork):
    """A network that tells when it is opened."""

    opened: Callable[[], None]

    def open(self) -> None:
        super().open()
        self.opened()


def say(line: dict[str, object]) -> None:
    """Print one JSON object; quiet if nobody reads it."""
    with suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def serve(begin: Callable[[], Service]) -> int:
    """The whole life of a node's process; its exit status. SIGTERM and SIGINT stop it.

    Raises:
        StoreError, OSError: the node, which `begin` makes, cannot begin.
    """
    stopping = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # also in the threads to come
    begun: list[Service] = []

    def wait_for_signal() -> None:
        signal.sigwait(stopping)
        if not begun:
            os._exit(STOPPED)
        begun[0].stop()

    threading.Thread(target=wait_for_signal, name="signals", daemon=True).start()
    service = begin()
    begun.append(service)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)  # as for one machine: see cli/opening.py
    gc.enable()
    return service.run()
