"""A process that loads one partition of a cluster: ``python -m benchmarks.cluster_load '{…}'``.

Its requests are encoded before the clock runs, and of a reply only the head is read: what is
measured is the cluster, and the client as little as can be. It says "ready", starts when a line
comes, and prints one JSON object at its end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import chain, islice
from typing import Any

import v2_event_driven_engine as v2
from v2_event_driven_engine.cluster.jetstream import Connection
from v2_event_driven_engine.cluster.node import Delivered
from v2_event_driven_engine.cluster.protocol import Answered, Submit, decode_reply, encode

from .engines import v2_commands
from .workload import resting, steady

REPEAT_SECONDS = 2.0
ORDERS, LEVELS = 1_000, 100
"""Of each client's book."""


class Load:
    """Requests of one client, a window of them in flight."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._partition: int = options["partition"]
        self._window: int = options["window"]
        each: int = options["commands_each"]
        client: int = options["client"]
        commands = _renamed(client, options["symbol"], options["requests"] * each)
        self._requests = [
            encode(Submit(client, number, commands[first : first + each]))
            for number, first in enumerate(range(0, len(commands), each), 1)
        ]
        self._commands = len(commands)
        self._connection = Connection(options["urls"], name=f"load {client}")
        self._inbox = self._connection.client.new_inbox()
        self._connection.subscribe(self._inbox, self._heard)
        self._sent: dict[int, float] = {}
        self._next = 0
        self._seconds: list[float] = []
        self._last = 0.0
        self._answered = 0.0
        self._done = threading.Event()

    def run(self) -> dict[str, Any]:
        """Send all of them; what was measured."""
        started = time.perf_counter()
        self._answered = started
        self._connection.loop.call_soon_threadsafe(self._send)
        while not self._done.wait(0.1):
            if time.perf_counter() - self._answered > REPEAT_SECONDS:
                self._connection.loop.call_soon_threadsafe(self._repeat)
        self._connection.close()
        return {
            "commands": self._commands,
            "started": started,
            "ended": self._answered,
            "seconds": sorted(self._seconds),
        }

    # -- In the connection's thread -------------------------------------------------------------

    def _send(self) -> None:
        some = []
        while len(self._sent) < self._window and self._next < len(self._requests):
            some.append(self._requests[self._next])
            self._next += 1
            self._sent[self._next] = time.perf_counter()
        self._put(some)

    def _repeat(self) -> None:
        self._answered = time.perf_counter()
        self._put([self._requests[number - 1] for number in sorted(self._sent)])

    def _put(self, requests: list[bytes]) -> None:
        subject = f"cmd.{self._partition}"
        self._connection.send([(subject, request) for request in requests], self._inbox)

    def _heard(self, message: Delivered) -> None:
        reply = decode_reply(message.data)
        if not isinstance(reply, Answered) or reply.number not in self._sent:
            return
        self._answered = time.perf_counter()
        self._seconds.append(self._answered - self._sent.pop(reply.number))
        if self._next == len(self._requests) and not self._sent:
            self._done.set()
        else:
            self._send()


def _renamed(client: int, symbol: str, count: int) -> list[v2.Command]:
    """Steady work of a client: with orders and a symbol of its own, so that clients do not trade
    with one another."""
    listing = v2.ListInstrument(symbol, "0.01", "1")
    commands: list[v2.Command] = [listing]
    shift = client << 40
    work = chain(resting(ORDERS, LEVELS), steady(ORDERS, LEVELS))
    for command in islice(v2_commands(work), count - 1):
        if isinstance(command, v2.NewOrder):
            commands.append(
                v2.NewOrder(
                    command.order_id + shift, client, symbol, command.side, command.type,
                    command.price, command.quantity, command.time_in_force,
                )
            )  # fmt: skip
        else:
            assert isinstance(command, v2.CancelOrder)
            commands.append(v2.CancelOrder(command.order_id + shift, client))
    return commands


if __name__ == "__main__":
    load = Load(json.loads(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(load.run()), flush=True)
