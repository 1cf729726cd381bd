"""A process that is a client under load, and writes down what it was told and when.

``python -m v2_event_driven_engine.tests.cluster.load '{"urls": …}'``. Its flow follows from its
number alone, so the judge knows what it has sent. It stops when a line comes on standard input.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from crc32c import crc32c

from v2_event_driven_engine import (
    CancelOrder,
    Command,
    NewOrder,
    OrderType,
    ReduceOrder,
    ReplaceOrder,
    Side,
    TimeInForce,
)
from v2_event_driven_engine.cluster.jetstream import Connection
from v2_event_driven_engine.cluster.node import Delivered
from v2_event_driven_engine.cluster.session import Part, Session, Whole
from v2_event_driven_engine.engine.log.format import encode_outcomes

SYMBOLS = ("AAA", "BBB")
"""Listed by client 0's first commands."""
PRICE = 1000
DEADLINE_SECONDS = 60.0


class Told(msgspec.Struct, array_like=True):
    """What the client was told of some commands; times in ns, of one clock for all processes."""

    sent_ns: int
    told_ns: int
    first_sequence: int
    """Of the first of them."""
    checksum: int
    """Of all their events."""


class Report(msgspec.Struct):
    """What a client wrote down."""

    client: int
    commands_each: int
    told: list[Told]
    sent: int
    """How many times commands were submitted; the last ones may have no answer."""
    failure: str


def flow(client: int) -> Iterator[Command]:
    """The commands of a client, without end: they trade, rest, cancel, reduce and replace."""
    choose = random.Random(client)
    live: list[int] = []
    order_id = client << 40
    participant = client
    while True:
        roll = choose.random()
        if roll < 0.6 or not live:
            order_id += 1
            live.append(order_id)
            yield NewOrder(
                order_id, participant, choose.choice(SYMBOLS), choose.choice(list(Side)),
                OrderType.LIMIT, PRICE + choose.randrange(-9, 10), choose.randrange(1, 10),
                TimeInForce.GTC,
            )  # fmt: skip
            if len(live) > 100:
                live.pop(0)
        elif roll < 0.85:
            yield CancelOrder(live.pop(choose.randrange(len(live))), participant)
        elif roll < 0.93:
            yield ReduceOrder(choose.choice(live), participant, 1)
        else:
            yield ReplaceOrder(
                choose.choice(live), participant, PRICE + choose.randrange(-9, 10),
                choose.randrange(1, 10),
            )  # fmt: skip


class Client:
    """A session on real servers: `commands_each` commands at a time, `window` times in flight."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.client: int = options["client"]
        self._each: int = options["commands_each"]
        self._window: int = options["window"]
        self._pause: float = options["pause"]
        self._report = Path(options["report"])
        self._connection = Connection(options["urls"], name=f"client {self.client}")
        self._subject = f"cmd.{options['partition']}"
        self._session = Session(self.client, "load", patience=DEADLINE_SECONDS)
        self._lock = threading.Lock()
        self._inbox = self._connection.client.new_inbox()
        self._connection.subscribe(self._inbox, self._heard)
        self._connection.subscribe(f"active.{options['partition']}", self._announced)
        self._told: list[Told] = []
        self._open: list[tuple[int, Whole]] = []
        self._room = threading.Semaphore(self._window)
        self._stop = threading.Event()

    def run(self) -> None:
        """Send until told to stop, then wait for what is open, and write the report."""
        threading.Thread(target=self._wait_for_the_end, daemon=True).start()
        threading.Thread(target=self._tick, daemon=True).start()
        commands = flow(self.client)
        sent = 0
        while not self._stop.is_set() and self._session.failure is None:
            if not self._room.acquire(timeout=0.1):
                continue
            some = [next(commands) for _ in range(self._each)]
            whole = Whole(events=[[] for _ in some], parts=1)
            with self._lock:
                self._open.append((time.monotonic_ns(), whole))
                self._session.submit(Part(some, range(len(some)), whole))
                self._send()
            sent += 1
            if self._pause:
                self._stop.wait(self._pause)
        give_up = time.monotonic() + DEADLINE_SECONDS
        while self._open and time.monotonic() < give_up and self._session.failure is None:
            if self._room.acquire(timeout=0.1):
                continue
        failure = "" if self._session.failure is None else str(self._session.failure)
        if self._open and not failure:
            failure = f"{len(self._open)} without an answer"
        report = Report(self.client, self._each, self._told, sent, failure)
        self._report.write_bytes(msgspec.msgpack.encode(report))
        self._connection.close()

    def _wait_for_the_end(self) -> None:
        sys.stdin.readline()
        self._stop.set()

    def _send(self) -> None:
        if messages := self._session.messages(time.monotonic()):
            self._connection.send([(self._subject, each) for each in messages], self._inbox)

    def _tick(self) -> None:
        while True:
            time.sleep(0.05)
            with self._lock:
                self._send()
                if self._session.repeats:
                    self._connection.unanswered()

    def _announced(self, _: Delivered) -> None:
        with self._lock:
            self._session.announced()
            self._send()

    def _heard(self, message: Delivered) -> None:
        now = time.monotonic_ns()
        self._connection.answered()
        with self._lock:
            self._session.heard(message.data, time.monotonic())
            self._send()
            while self._open and self._open[0][1].done:
                sent_ns, whole = self._open.pop(0)
                if whole.failure is None:
                    first = whole.events[0][0].sequence
                    checksum = crc32c(encode_outcomes(whole.events))
                    self._told.append(Told(sent_ns, now, first, checksum))
                self._room.release()


if __name__ == "__main__":
    Client(json.loads(sys.argv[1])).run()
    os._exit(0)
