"""Histories of a simulated cluster: one seed is one history.

python -m v2_event_driven_engine.tests.cluster.histories 5000      so many, from seed 0 on
SEED=7 python -m v2_event_driven_engine.tests.cluster.histories    this one, told step by step
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from v2_event_driven_engine.cluster import entry, node, protocol, replica, session, sessions
from v2_event_driven_engine.cluster.session import Session
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.receipt import Submitted
from v2_event_driven_engine.models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from v2_event_driven_engine.models.enums import OrderType, Side, TimeInForce

from .judge import ELSEWHERE, Judge, expect
from .world import Broken, Cluster, Inbox, Thread, World

REPEAT_SECONDS = 0.4
CALM_SECONDS = 120.0
"""Within which everything must be answered once nothing goes wrong any more."""

LIMITS: list[tuple[Any, str, tuple[float, ...]]] = [
    (entry, "OUTCOME_BYTES_MAX", (60, 200, 2**21)),
    (node, "FOLLOW_SECONDS", (0.05, 0.2)),
    (node, "IDLE_SECONDS", (0.05, 0.2)),
    (node, "BATCH_COMMANDS_MAX", (1, 2, 4, 4096)),
    (node, "OUT_TOGETHER", (1, 2, 16)),
    (node, "OUT_LAG_MAX", (0, 2, 4096)),
    (protocol, "ANSWER_BYTES_MAX", (100, 2**22)),
    (replica, "OUT_BYTES_MAX", (100, 2**22)),
    (sessions, "KEPT_ANSWERS", (2, 8, 64)),
    (session, "OPEN_REQUESTS_MAX", ()),  # always the half of it
]
"""Limits that short histories would never meet, and what they are instead."""


@contextmanager
def limits(choose: random.Random) -> Iterator[None]:
    """Other limits for one history."""
    before = [(module, name, getattr(module, name)) for module, name, _ in LIMITS]
    try:
        for module, name, values in LIMITS:
            value = choose.choice(values) if values else sessions.KEPT_ANSWERS // 2
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class Flow:
    """The commands of one client: they trade, rest, shrink, move and go."""

    def __init__(self, choose: random.Random, client: int) -> None:
        self._choose = choose
        self._client = client
        self._orders = 0
        self._listed = False

    def order(self) -> int:
        """The id of one of its orders, or of none."""
        return 1000 * self._client + self._choose.randrange(self._orders + 1) + 1

    def command(self) -> Command:
        """The next one."""
        choose, client = self._choose, self._client
        if not self._listed:
            self._listed = True
            return ListInstrument("A", "1", "1")
        kind = choose.randrange(10)
        if kind < 5:
            self._orders += 1
            return NewOrder(
                1000 * client + self._orders, client, "A",
                Side.BUY if choose.random() < 0.5 else Side.SELL, OrderType.LIMIT,
                choose.randrange(98, 103), choose.randrange(1, 9),
                TimeInForce.IOC if choose.random() < 0.1 else TimeInForce.GTC,
            )  # fmt: skip
        if kind < 7:
            return ReduceOrder(self.order(), client, 1)
        if kind < 8:
            return ReplaceOrder(self.order(), client, 100, choose.randrange(1, 9))
        if kind < 9:
            return CancelOrder(self.order(), client)
        return MassCancel(client, None)


class Client:
    """A client in a thread of its own. What it sends and hears is up to its kind."""

    def __init__(self, world: World, cluster: Cluster, judge: Judge, name: int) -> None:
        self.done = False
        self._world = world
        self._wire = cluster.wire
        self._judge = judge
        self._name = name
        self._inbox = self._wire.inboxes[str(name)] = Inbox(world)
        self._flow = Flow(world.choose, name)
        self._to_do = world.choose.choice((1, 3, 6, 12))
        self._pause = world.choose.choice((0.0, 0.0, 0.1, 0.5))
        self._others = count(1)
        Thread(world, world.process(f"client {name}"), self._live)

    def _live(self) -> None:
        raise NotImplementedError


class RealClient(Client):
    """The client's own side of the requests, `cluster/session.py`."""

    def _live(self) -> None:
        world = self._world
        session = Session(self._name, "the partition")
        items: list[Submitted[list[AnyEvent]]] = []
        while self._to_do or session.commands:
            if self._to_do:
                self._to_do -= 1
                items.append(Submitted(self._flow.command()))
                session.submit(items[-1])
            for data in session.messages(world.now):
                self._send(data)
            due = session.due - world.now
            pause = self._pause * world.chance() if self._to_do else due
            for reply_to, data in self._inbox.take(max(0.0, min(due, pause))):
                if reply_to.endswith(".active"):
                    session.announced()
                else:
                    session.heard(data, world.now)
        told = [None if item.failure is not None else item.answer for item in items]
        expect(told == self._judge.events_of(self._name), f"client {self._name} was told {told}")
        self.done = True

    def _send(self, data: bytes) -> None:
        request = protocol.decode_request(data)
        reply_to = (
            f"{self._name}.{request.number}"
            if isinstance(request, protocol.Submit)
            else f"{self._name}.ask{next(self._others)}"
        )
        if reply_to not in self._judge.operations:
            self._judge.begins(reply_to, request)
        self._wire.send(data, reply_to)


class CuriousClient(Client):
    """One that asks, and makes mistakes, too. It keeps to the rules, and believes no 503."""

    def _live(self) -> None:
        world = self._world
        self._window = world.choose.randrange(1, sessions.KEPT_ANSWERS // 2 + 1)
        self._questions = world.choose.choice((0.1, 0.5, 0.95))
        self._next_number = 1
        self._is_known = False
        self._open: dict[str, tuple[bytes, bool]] = {}
        """By where the reply goes: the bytes of what is not answered, and whether anybody may."""
        repeat_at = world.now + REPEAT_SECONDS
        while self._to_do or self._open:
            # The nodes begin with what comes first.
            while self._to_do and len(self._open) < (self._window if self._is_known else 1):
                self._begin_something()
                if self._pause:
                    break
            sent = world.now
            for reply_to, data in self._inbox.take(max(0.0, repeat_at - world.now)):
                if reply_to.endswith(".active"):
                    repeat_at = world.now
                elif data and reply_to in self._open:
                    reply = protocol.decode_reply(data)
                    if not isinstance(reply, protocol.Busy):
                        self._is_known = True
                        del self._open[reply_to]
            if world.now >= repeat_at:
                for reply_to, (data, to_any) in self._open.items():
                    self._wire.send(data, reply_to, to_any=to_any)
                repeat_at = world.now + REPEAT_SECONDS
            if self._pause and world.now == sent:
                world.sleep(self._pause * world.chance())
        self.done = True

    def _begin_something(self) -> None:
        self._to_do -= 1
        choose = self._world.choose
        kind = choose.random()
        if self._next_number > 1 and kind < self._questions:
            self._begin("question", self._question())
        elif self._next_number > 1 and kind > 0.98:
            other = NewOrder(1, 1, ELSEWHERE, Side.BUY, OrderType.LIMIT, 1, 1)
            self._begin("other", protocol.Submit(self._name, self._next_number, [other]))
        elif self._next_number > 1 and kind > 0.96:
            bad = protocol.encode((1, self._name, self._next_number, [(3, -1, 1)]))
            self._begin("bad", None, bad)
        else:
            commands = [self._flow.command() for _ in range(choose.choice((1, 1, 1, 2, 3)))]
            self._begin(
                str(self._next_number), protocol.Submit(self._name, self._next_number, commands)
            )
            self._next_number += 1

    def _begin(self, name: str, request: protocol.Request | None, data: bytes = b"") -> None:
        reply_to = f"{self._name}.{name}"
        if not name.isdecimal():
            reply_to += str(next(self._others))
        to_any = isinstance(request, protocol.Question) and not request.current
        data = data or protocol.encode(request)
        self._judge.begins(reply_to, request)
        self._open[reply_to] = data, to_any
        self._wire.send(data, reply_to, to_any=to_any)

    def _question(self) -> protocol.Request:
        choose = self._world.choose
        current = choose.random() < 0.8
        least = 0 if choose.random() < 0.5 else self._judge.sequence_answered
        if not current and choose.random() < 0.3:
            least += 1  # nobody may have got so far
        kind = choose.randrange(4)
        if kind == 0:
            return protocol.AskOrder(current, least, self._flow.order())
        if kind == 1:
            return protocol.AskDepth(current, least, "A", 3)
        if kind == 2:
            return protocol.AskSession(current, least, choose.randrange(1, 4))
        return protocol.AskState(current, least)


def elsewhere(symbol: str) -> int | None:
    """The table of symbols: version 7."""
    return 7 if symbol == ELSEWHERE else None


class History:
    """What one seed makes happen."""

    def __init__(self, seed: int) -> None:
        self.world = world = World(seed)
        self.judge = judge = Judge(world)
        self.cluster = Cluster(world, judge.stored, judge.replied, judge.died, elsewhere)

    def run(self) -> None:
        """Live it.

        Raises:
            Broken: an invariant does not hold.
        """
        world, judge, cluster = self.world, self.judge, self.cluster
        try:
            with limits(world.choose):
                choose = world.choose
                clients = [
                    choose.choice((RealClient, CuriousClient))(world, cluster, judge, name)
                    for name in range(1, choose.choice((1, 2, 3)) + 1)
                ]
                calm_at = choose.choice((0.5, 1.0, 2.5))
                for _ in range(choose.choice((0, 2, 4, 8))):
                    world.after(calm_at * choose.random(), self._fault)
                world.run(lambda: world.now >= calm_at, CALM_SECONDS)
                world.likely.calm()
                world.run(lambda: all(each.done for each in clients), CALM_SECONDS)
                world.run(self._same_everywhere, CALM_SECONDS)
                judge.replay()
        finally:
            world.end()

    def _fault(self) -> None:
        for each in self._nodes():
            self.judge.saw(each.replica)
        self.cluster.something_goes_wrong()

    def _nodes(self) -> list[node.Node]:
        return [each.node for each in self.cluster.machines if each.node is not None]

    def _same_everywhere(self) -> bool:
        """Whether every replica, and OUT, has got as far as the log."""
        if len(self.cluster.out.messages) < len(self.judge.out):
            return False
        replicas = [each.replica for each in self._nodes()]
        if len(replicas) < len(self.cluster.machines) or any(
            each.sequence < self.judge.sequence or each.unpublished for each in replicas
        ):
            return False
        for each in replicas:
            self.judge.saw(each)
        return True


def live(seed: int, tell: Callable[[str], None] | None = None) -> History:
    """Live one history; `tell` gets a line for each thing that happens.

    Raises:
        Broken: an invariant does not hold; the text says the seed.
    """
    history = History(seed)
    if tell is not None:
        history.world.tell = tell
    try:
        history.run()
    except Broken as broken:
        raise Broken(f"SEED={seed}: {broken}") from broken
    except Exception as error:
        raise Broken(f"SEED={seed}: {type(error).__name__}: {error}") from error
    return history


def main() -> int:
    seeds = range(int(sys.argv[1])) if len(sys.argv) > 1 else range(1000)
    tell = None
    if "SEED" in os.environ:
        seeds = range(int(os.environ["SEED"]), int(os.environ["SEED"]) + 1)
        tell = print
    began, used = time.perf_counter(), time.process_time()
    steps = entries = epochs = sequences = 0
    simulated = 0.0
    for seed in seeds:
        try:
            history = live(seed, tell)
        except Broken as broken:
            print(broken, file=sys.stderr)
            return 1
        steps += history.world.steps
        entries += len(history.cluster.log.messages)
        epochs += history.judge.epochs
        sequences += history.judge.sequence
        simulated += history.world.now
    seconds, used = time.perf_counter() - began, time.process_time() - used
    print(
        f"{len(seeds)} histories, {len(seeds) / seconds:.0f} a second, "
        f"{len(seeds) / used:.0f} a second of a processor; each: "
        f"{steps / len(seeds):.0f} steps, {simulated / len(seeds):.1f} simulated seconds, "
        f"{entries / len(seeds):.1f} entries, {epochs / len(seeds):.1f} epochs, "
        f"{sequences / len(seeds):.1f} commands"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
