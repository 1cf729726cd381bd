"""A cluster in this process: a node for each partition in a thread, and a network between them.

The network loses what a test tells it to lose; the streams are in memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from v2_event_driven_engine.cluster.client import ClusterClient, Wire
from v2_event_driven_engine.cluster.node import Delivered, Lease, Network, Node, Replies, publish
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.stream import SystemClock
from v2_event_driven_engine.cluster.table import OtherPartitions, SymbolTable

from .memory_stream import MemoryStream


class FreeLease(Lease):
    def hold(self) -> bool:
        return True

    def release(self) -> None:
        pass


Loses = Callable[[str, bytes], bool]
"""Whether a message to a subject is lost."""


class Servers(Wire):
    """Subjects and those who listen. Messages are delivered in a thread of their own."""

    def __init__(self) -> None:
        self.loses: Loses = lambda _subject, _data: False
        self._listeners: list[tuple[str, Callable[[Delivered], None]]] = []
        self._queue: deque[tuple[str, bytes, str]] = deque()
        self._arrived = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self._thread.start()

    def answered(self) -> None:
        pass

    def unanswered(self) -> None:
        pass

    def send(self, messages: Iterable[tuple[str, bytes]], reply_to: str = "") -> None:
        with self._arrived:
            self._queue += [(subject, data, reply_to) for subject, data in messages]
            self._arrived.notify()

    def subscribe(self, subject: str, heard: Callable[[Delivered], None]) -> Any:
        self._listeners.append((subject, heard))
        return self._listeners[-1]

    def end(self, *subscriptions: Any) -> None:
        for subscription in subscriptions:
            self._listeners.remove(subscription)

    def _deliver(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._queue or self._ended)
                if not self._queue:
                    return
                subject, data, reply_to = self._queue.popleft()
            wild = f"{subject.rpartition('.')[0]}.*"
            if not self.loses(subject, data):
                for listened, heard in tuple(self._listeners):
                    if listened in (subject, wild):
                        heard(Delivered(data, reply_to, subject))

    def close(self) -> None:
        with self._arrived:
            self._ended = True
            self._arrived.notify()
        self._thread.join()


class NodesNetwork(Network):
    """What the node of one partition hears and says."""

    def __init__(self, servers: Servers, partition: int) -> None:
        self._servers = servers
        self._partition = partition
        self._queue: deque[Delivered] = deque()
        self._arrived = threading.Condition()
        self._subscriptions = [servers.subscribe(f"read.{partition}", self._enqueue)]

    def _enqueue(self, message: Delivered) -> None:
        with self._arrived:
            self._queue.append(message)
            self._arrived.notify()

    def take(self, seconds: float) -> Sequence[Delivered]:
        with self._arrived:
            self._arrived.wait_for(lambda: self._queue, seconds)
            taken = list(self._queue)
            self._queue.clear()
            return taken

    def reply(self, replies: Replies) -> None:
        self._servers.send(replies)

    def open(self) -> None:
        subscription = self._servers.subscribe(f"cmd.{self._partition}", self._enqueue)
        self._subscriptions.append(subscription)
        self._servers.send([(f"active.{self._partition}", b"a")])

    def close(self) -> None:
        self._servers.end(*self._subscriptions)


class Cluster:
    """So many partitions, with one node each, and a table of symbols."""

    def __init__(self, partitions: int = 1) -> None:
        self.clock = SystemClock()
        self.servers = Servers()
        self.logs = [MemoryStream(f"LOG_{p}") for p in range(partitions)]
        self.outs = [MemoryStream(f"OUT_{p}") for p in range(partitions)]
        self.table = SymbolTable(MemoryStream("CTRL"), self.clock)
        self.table.create(partitions)
        self.failures: list[BaseException] = []
        self._nonce = 0
        self.nodes: list[Node] = []
        self._threads: list[threading.Thread] = []
        self.start()

    def start(self) -> None:
        """Start a node for each partition, from the beginning of its log."""
        self.nodes = [self._node(p) for p in range(len(self.logs))]
        self._threads = [
            threading.Thread(target=self._live, args=(node,), daemon=True) for node in self.nodes
        ]
        for thread in self._threads:
            thread.start()

    def _node(self, partition: int) -> Node:
        self._nonce += 1
        log = ReplicatedEventLog(self.logs[partition], self.clock, "a", self._nonce)
        return Node(
            Replica(), log, FreeLease(), NodesNetwork(self.servers, partition), self.clock,
            table=OtherPartitions(self.table, self.clock, partition),
        )  # fmt: skip

    def _live(self, node: Node) -> None:
        try:
            node.run()
        except BaseException as error:
            self.failures.append(error)

    def stop(self) -> None:
        """Stop the nodes as planned, and publish what they have not."""
        for node in self.nodes:
            node.stopping = True
        for thread in self._threads:
            thread.join()
        for node, out in zip(self.nodes, self.outs, strict=True):
            node.replica.published(out.last())
            while publish(node.replica, out, self.clock):
                pass

    def client(self, client_id: int | None = None, **options: Any) -> ClusterClient:
        return ClusterClient(self.servers, client_id, table=self.table, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.servers.close()
        assert self.failures == []
