"""A cluster in simulated time: the very code of the nodes, in a world where everything goes wrong.

Every thread (of a node, of a publisher of OUT, of a client) is a greenlet. Each blocking call of
the protocols in `cluster` hands over to `World.run`, which lets the time jump to whatever comes
next: so a second takes a few milliseconds, and one seed is one history, to the last step.

What goes wrong
    streams    acknowledgements are lost; an attempt that seemed to fail is stored later; there is
               no leader for a while; a deposed leader answers from an old beginning of the stream;
               a follower gives a part of what there is
    lease      it expires, is stolen, is refused to its holder, and is held by two at once
    processes  are killed at any hand-over, and paused for long; clocks are wrong
    network    requests and replies are lost, doubled, delayed and so reordered
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from greenlet import GreenletExit, greenlet

from v2_event_driven_engine.cluster import protocol
from v2_event_driven_engine.cluster.node import Delivered, Lease, Network, Node, Replies, publish
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.snapshots import NodeSnapshots
from v2_event_driven_engine.cluster.stream import Attempt, Clock, Stream
from v2_event_driven_engine.errors import Fenced, LogUnavailable, StoreError

from ..memory_storage import MemoryStorage

ANSWER_SECONDS = 0.1
"""How long a node waits for the answer of a stream."""
LEASE_SECONDS = 0.3
BUSY = protocol.encode(protocol.Busy())
START_NS = 1_700_000_000_000_000_000


class Broken(AssertionError):
    """An invariant does not hold."""


class Likelihood:
    """How likely what goes wrong is, for each single message; all zero when it is calm."""

    def __init__(self, choose: random.Random) -> None:
        levels = (0.0, 0.02, 0.1, 0.25)
        self.lost_attempt = choose.choice(levels)
        self.late_attempt = choose.choice(levels)
        self.lost_acknowledgement = choose.choice(levels)
        self.stale_leader = choose.choice(levels)
        self.lagging_follower = choose.choice(levels)
        self.damaged_copy = choose.choice(levels)
        self.wrong_lease = choose.choice(levels) / 4
        self.lost_message = choose.choice(levels)
        self.doubled_message = choose.choice(levels)
        self.late_message = choose.choice(levels)
        self.busy = choose.choice(levels) / 2

    def calm(self) -> None:
        """Nothing goes wrong from now on."""
        for name in vars(self):
            setattr(self, name, 0.0)


class Thread:
    """A greenlet that waits for one thing at a time."""

    def __init__(self, world: "World", process: "Process", run: Callable[[], None]) -> None:
        self._world = world
        self._process = process
        self._greenlet = greenlet(lambda _: run(), world.hub)
        self._waits = 0
        process.threads.append(self)
        world.after(world.instant(), self.wake(None))

    def wake(self, value: object) -> Callable[[], None]:
        """What ends the present wait, with this value; it does nothing if that is over."""
        return partial(self._wake, self._waits, value)

    def _wake(self, wait: int, value: object) -> None:
        process = self._process
        if wait != self._waits or process.dead:
            return
        if process.paused_until > self._world.now:
            self._world.after(process.paused_until - self._world.now, self.wake(value))
            return
        self._waits += 1
        self._world.running = self
        self._greenlet.switch(value)

    def wait(self) -> Any:
        """Hand over, until somebody wakes this thread; the value that it was woken with."""
        return self._world.hub.switch()

    def end(self) -> None:
        """Nothing more happens in it."""
        if self._greenlet:
            self._greenlet.throw(GreenletExit)


class Process:
    """What is killed, and paused, as a whole."""

    def __str__(self) -> str:
        return self.name

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused_until = 0.0
        self.threads: list[Thread] = []
        self.attempted = 0
        """The last position at which it tried to add to LOG."""


class World:
    """Time, chance, and what the processes share."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.chance = self.choose.random
        self.likely = Likelihood(self.choose)
        self.now = 0.0
        self.hub = greenlet.getcurrent()
        self.running: Thread
        self.steps = 0
        self.met: Counter[str] = Counter()
        """What has happened, and how often."""
        self.tell: Callable[[str], None] = lambda _: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._processes: list[Process] = []

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), call))

    def meet(self, what: str, about: object = "") -> None:
        """Note, and perhaps tell, that something has happened."""
        self.met[what] += 1
        self.tell(f"{self.now:8.3f}  {what} {about}")

    def instant(self) -> float:
        """The time that a message takes, when nothing is wrong."""
        return 0.0005 + 0.004 * self.chance()

    def sleep(self, seconds: float) -> None:
        """Let time pass for the running thread."""
        thread = self.running
        self.after(seconds, thread.wake(None))
        thread.wait()

    def run(self, done: Callable[[], bool], seconds: float) -> None:
        """Let happen what happens, until it is done.

        Raises:
            Broken: it was not done within so many seconds.
        """
        give_up = self.now + seconds
        while not done():
            self.now, _, call = heapq.heappop(self._events)
            if self.now > give_up:
                raise Broken(f"after {seconds:.0f} s without faults not everything was answered")
            self.steps += 1
            call()

    def process(self, name: str) -> Process:
        """A new process."""
        self._processes.append(Process(name))
        return self._processes[-1]

    def end(self) -> None:
        """End all threads."""
        for process in self._processes:
            process.dead = True
            for thread in process.threads:
                thread.end()


# -- Streams ----------------------------------------------------------------------------------


class SharedStream:
    """A stream as its majority has it."""

    def __init__(
        self, world: World, name: str, stored: Callable[["SharedStream", int], None]
    ) -> None:
        """`stored` is called with the position of each message, right after it was added."""
        self.name = name
        self.messages: list[bytes] = []
        self.writers: list[Process] = []
        self.no_leader_until = 0.0
        self._world = world
        self._stored = stored

    def arrive(
        self,
        writer: Process,
        messages: Sequence[bytes],
        position: int,
        answer: Callable[[Attempt], None],
    ) -> None:
        """An attempt has come to the leader, if there is one."""
        world = self._world
        if world.now < self.no_leader_until:
            if world.chance() < 0.5:  # it waits somewhere for the next leader
                again = self.no_leader_until - world.now + world.instant()
                world.after(again, partial(self.arrive, writer, messages, position, answer))
            return
        for message in messages:
            if world.chance() < world.likely.lost_attempt:
                return
            if position != len(self.messages) + 1:
                answer(Attempt.REFUSED)
                return
            self.messages.append(message)
            self.writers.append(writer)
            self._stored(self, position)
            position += 1
        answer(Attempt.STORED)


class StreamOf(Stream):
    """A stream as one process sees it."""

    def __init__(self, world: World, shared: SharedStream, process: Process) -> None:
        self.name = shared.name
        self._world = world
        self._shared = shared
        self._process = process

    def attempt(self, messages: Sequence[bytes], position: int) -> Attempt:
        world, likely = self._world, self._world.likely
        thread = world.running
        if self.name == "LOG":
            self._process.attempted = position

        over = False
        nothing_came = thread.wake(Attempt.UNKNOWN)
        answers = {each: thread.wake(each) for each in (Attempt.STORED, Attempt.REFUSED)}

        def answer(known: Attempt) -> None:
            if over and known is Attempt.STORED:
                world.meet("stored late", self._process)
            if world.chance() >= likely.lost_acknowledgement:
                world.after(world.instant(), answers[known])

        delay = world.instant()
        if world.chance() < likely.late_attempt:
            delay += world.chance() * 8 * ANSWER_SECONDS
        if world.chance() >= likely.lost_attempt:
            world.after(
                delay, partial(self._shared.arrive, self._process, messages, position, answer)
            )
        world.after(ANSWER_SECONDS, nothing_came)
        known: Attempt = thread.wait()
        over = True
        if known is not Attempt.STORED:
            world.meet(f"{known.name} append", f"{self.name} {position} by {self._process}")
        return known

    def _as_the_leader_has_it(self) -> int:
        """How many messages there are; a deposed leader does not know of the last ones.

        Raises:
            LogUnavailable: there is no leader.
        """
        world = self._world
        known = len(self._shared.messages)
        if world.chance() < 0.2:
            world.sleep(world.instant())
        if world.chance() < world.likely.stale_leader:
            world.meet("stale leader")
            return max(0, known - world.choose.randrange(1, 4))
        if world.now < self._shared.no_leader_until:
            world.sleep(ANSWER_SECONDS)
            world.meet("no leader", self.name)
            raise LogUnavailable(f"{self.name}: no leader answered")
        return len(self._shared.messages)

    def get(self, position: int) -> bytes | None:
        there = self._as_the_leader_has_it()
        return self._shared.messages[position - 1] if 0 < position <= there else None

    def last(self) -> int:
        return self._as_the_leader_has_it()

    def after(self, position: int, seconds: float = 0.0) -> Sequence[bytes]:
        world, messages = self._world, self._shared.messages
        if seconds and len(messages) <= position:
            world.sleep(seconds * (0.5 + world.chance() / 2))
        elif world.chance() < 0.2:
            world.sleep(world.instant())
        if world.chance() < world.likely.lagging_follower:
            return messages[position : int(world.chance() * (len(messages) + 1))]
        if world.chance() < world.likely.damaged_copy and len(messages) > position + 1:
            world.meet("damaged copy", self.name)  # its server has left out a message
            position += 1
        return messages[position : position + 1 + int(8 * world.chance())]

    def distrust(self) -> None:
        """Who asks again may come to any of them."""


# -- A node's surroundings --------------------------------------------------------------------


class ClockOf(Clock):
    """The clock of one process: it may be wrong, and differs from the others'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wrong_by_ns = world.choose.randrange(-2_000_000_000, 2_000_000_000)

    def time_ns(self) -> int:
        return START_NS + self._wrong_by_ns + int(self._world.now * 1e9)

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self._world.sleep(seconds)


class SharedLease:
    """Who should be the active."""

    def __init__(self) -> None:
        self.holder: Process | None = None
        self.until = 0.0


class LeaseOf(Lease):
    """The lease as one process sees it: it may be told what is not so."""

    def __init__(self, world: World, shared: SharedLease, process: Process) -> None:
        self._world = world
        self._shared = shared
        self._process = process

    def hold(self) -> bool:
        world, shared = self._world, self._shared
        if world.chance() < 0.1:
            world.sleep(world.instant())
        if world.chance() < world.likely.wrong_lease:
            world.meet("wrong lease", self._process)
            return world.chance() < 0.5
        if shared.holder is not self._process and world.now < shared.until:
            return False
        shared.holder, shared.until = self._process, world.now + LEASE_SECONDS
        return True

    def release(self) -> None:
        if self._shared.holder is self._process:
            self._shared.until = 0.0


class Wire:
    """Between clients and nodes."""

    def __init__(self, world: World, replied: Callable[["NetworkOf", str, bytes], None]) -> None:
        """`replied` is told of each reply at the moment in which it is sent."""
        self._world = world
        self.nodes: list[NetworkOf] = []
        self.replied = replied
        self.inboxes: dict[str, Inbox] = {}
        """Those of the clients, by the first part of where a reply goes."""

    def carry(self, put: Callable[[], None]) -> None:
        """Deliver something once, twice or never; now or late."""
        world, likely = self._world, self._world.likely
        copies = 1 + (world.chance() < likely.doubled_message)
        if copies > 1:
            world.met["doubled message"] += 1
        for _ in range(copies):
            if world.chance() < likely.lost_message:
                world.met["lost message"] += 1
            else:
                late = world.chance() if world.chance() < likely.late_message else 0.0
                world.after(world.instant() + late, put)

    def send(self, data: bytes, reply_to: str, *, to_any: bool = False) -> None:
        """A client's message: to every node that believes to be the active, or to any node."""
        message = Delivered(data, reply_to)
        nodes = [node for node in self.nodes if to_any or node.is_open]
        if to_any and nodes:
            nodes = [self._world.choose.choice(nodes)]
        for node in nodes:
            if self._world.chance() < self._world.likely.busy:
                self._world.met["busy"] += 1
                self.carry(partial(self.to_client, reply_to, BUSY))
            else:
                self.carry(partial(node.inbox.put, message))
        if not nodes:  # the server says so, with a message without content
            self._world.met["nobody there"] += 1
            self.carry(partial(self.to_client, reply_to, b""))

    def to_client(self, reply_to: str, data: bytes) -> None:
        self.inboxes[reply_to.partition(".")[0]].put((reply_to, data))

    def announce(self) -> None:
        """There is a new active."""
        for name in self.inboxes:
            self.carry(partial(self.to_client, f"{name}.active", b"active"))


class Inbox:
    """What has come and was not taken yet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: list[Any] = []
        self._taker: Thread | None = None

    def put(self, message: object) -> None:
        self._waiting.append(message)
        if self._taker is not None:
            taker, self._taker = self._taker, None
            self._world.after(0.0, taker.wake(None))

    def take(self, seconds: float) -> list[Any]:
        """What has come; waits at most so many seconds for the first."""
        if not self._waiting and seconds:
            self._taker = self._world.running
            self._world.sleep(seconds)
            self._taker = None
        elif self._world.chance() < 0.1:
            self._world.sleep(0.001)
        taken, self._waiting = self._waiting, []
        return taken


class NetworkOf(Network):
    """The network as one process sees it."""

    def __init__(self, world: World, wire: Wire, process: Process) -> None:
        self.process = process
        self.inbox = Inbox(world)
        self.is_open = False
        self.was_open = False
        self._world = world
        self._wire = wire
        wire.nodes.append(self)

    def take(self, seconds: float) -> Sequence[Delivered]:
        return self.inbox.take(seconds)

    def reply(self, replies: Replies) -> None:
        for reply_to, data in replies:
            if self._world.chance() < 0.1:
                self._world.sleep(self._world.instant())
            self._wire.replied(self, reply_to, data)
            self._wire.carry(partial(self._wire.to_client, reply_to, data))

    def open(self) -> None:
        self.is_open = self.was_open = True
        others = [node for node in self._wire.nodes if node.is_open and node is not self]
        self._world.meet("two actives" if others else "active", self.process)
        self._wire.announce()

    def close(self) -> None:
        self.is_open = False


# -- Nodes ------------------------------------------------------------------------------------


class Machine:
    """What starts a node, and starts it again when it has ended; and keeps its snapshots."""

    def __init__(self, world: World, cluster: "Cluster", name: str) -> None:
        self.name = name
        self.process: Process
        self.node: Node | None
        """None while it looks for a snapshot."""
        self._world = world
        self._cluster = cluster
        self._storage = MemoryStorage()
        self.start()

    def start(self) -> None:
        """One more life, as a standby."""
        self.process = self._world.process(self.name)
        self.network = NetworkOf(self._world, self._cluster.wire, self.process)
        self.node = None
        Thread(self._world, self.process, partial(self._live, self.process, self._run))

    def _run(self) -> None:
        """The life of the node."""
        world, cluster, process = self._world, self._cluster, self.process
        clock = ClockOf(world)
        log_stream = StreamOf(world, cluster.log, process)
        log = ReplicatedEventLog(log_stream, clock, self.name, next(cluster.nonces))
        out = StreamOf(world, cluster.out, process)
        snapshots = NodeSnapshots(self._storage, out, every=cluster.snapshot_every)
        replica = snapshots.newest(log_stream)
        world.meet("snapshot" if replica.sequence else "empty start", process)
        self.node = node = Node(
            replica, log, LeaseOf(world, cluster.lease, process), self.network, clock,
            table=cluster.table, followed=snapshots.followed,
        )  # fmt: skip
        publisher = StreamOf(world, cluster.out, process)
        Thread(
            world, process,
            partial(self._live, process, partial(self._publish, replica, publisher, clock)),
        )  # fmt: skip
        node.run()

    def _publish(self, replica: Replica, out: Stream, clock: Clock) -> None:
        """The life of the publisher of OUT: of an active one, or of any."""
        world, network = self._world, self.network
        only_active = world.chance() < 0.5
        while True:
            if only_active and not network.was_open:
                with suppress(LogUnavailable):
                    replica.published(out.last())
            elif publish(replica, out, clock):
                continue
            world.sleep(0.02 + 0.1 * world.chance())

    def _live(self, process: Process, run: Callable[[], None]) -> None:
        try:
            run()
        except (Fenced, LogUnavailable) as error:
            self._world.meet(type(error).__name__, f"{process}: {error}")
            self._cluster.died(process, error)
        except StoreError as error:
            raise Broken(f"{self.name}: {type(error).__name__}: {error}") from error
        if not process.dead:  # of its own accord
            self.end()

    def end(self) -> None:
        """The process is gone; it is started again soon."""
        if not self.process.dead:
            self.process.dead = True
            self._cluster.wire.nodes.remove(self.network)
            self._world.after(0.02 + 0.3 * self._world.chance(), self.start)


FAULTS = ("kill", "pause", "steal", "depose", "stop")


class Cluster:
    """Three nodes, their streams, and the lease."""

    def __init__(
        self,
        world: World,
        stored: Callable[[SharedStream, int], None],
        replied: Callable[[NetworkOf, str, bytes], None],
        died: Callable[[Process, StoreError], None],
        table: Callable[[str], int | None],
    ) -> None:
        self.log = SharedStream(world, "LOG", stored)
        self.out = SharedStream(world, "OUT", stored)
        self.lease = SharedLease()
        self.wire = Wire(world, replied)
        self.died = died
        self.table = table
        self.nonces = itertools.count(1)
        self.faults = world.choose.sample(FAULTS, world.choose.randrange(1, len(FAULTS) + 1))
        """Few kinds together show more than all."""
        self.snapshot_every = world.choose.choice((1, 4, 1_000_000))
        self.machines = [
            Machine(world, self, name) for name in "abc"[: world.choose.choice((2, 3, 3))]
        ]
        self._world = world

    # -- What befalls it ----------------------------------------------------------------------

    def something_goes_wrong(self) -> None:
        """One fault, of any kind."""
        world, choose = self._world, self._world.choose
        actives = [machine for machine in self.machines if machine.network.is_open]
        machine = choose.choice(self.machines)
        if actives and world.chance() < 0.7:  # a fault of the active shows more
            machine = choose.choice(actives)
        fault = choose.choice(self.faults)
        world.meet(fault, machine.process)
        if fault == "kill":
            machine.end()
        elif fault == "pause":
            until = world.now + choose.choice((0.05, 1.0, 2.0)) * world.chance()
            machine.process.paused_until = until
        elif fault == "steal":
            thief = choose.choice([each for each in self.machines if each is not machine])
            self.lease.holder, self.lease.until = thief.process, world.now + LEASE_SECONDS
        elif fault == "depose":
            stream = choose.choice((self.log, self.log, self.out))
            stream.no_leader_until = world.now + 0.5 * world.chance()
        elif machine.node is not None:
            machine.node.stopping = True
