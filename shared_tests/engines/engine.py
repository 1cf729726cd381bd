"""What a test may ask of an engine: the rulebook's interface in plain values.

Commands and events are dictionaries in their NDJSON form (rulebook 8), so that a test can be read
without knowing either version's classes, and so that every test also exercises the version's own
reader and writer of NDJSON.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

Command = Mapping[str, object]
Event = dict[str, Any]
Level = list[int]  # [price, quantity, orders]
Book = dict[str, list[Level]]  # {"bids": […], "asks": […]}, best first

MAX = 2**63 - 1
"""The largest price, quantity and order id (rulebook 1)."""


LONGEST_ERROR = 200
"""Characters in the error for a malformed line, whatever the line's length."""


class Malformed(Exception):
    """The line is not a command or query at all. It got no sequence number and changed nothing."""


class Engine(ABC):
    """One engine under test.

    Invariants, whatever was sent:
    1. `sequence` has grown by one for every line executed, and by nothing for a malformed one.
    2. The events of one line carry its sequence, and index 0, 1, 2 …
    """

    @abstractmethod
    def execute_line(self, line: bytes) -> list[Event]:
        """Send one line of NDJSON that holds a command; return its events.

        Raises:
            Malformed: the line is no command. It changed nothing.
        """

    @abstractmethod
    def refusal(self, line: bytes) -> str | None:
        """The error for a malformed line, None for a good command or query. Changes nothing."""

    @abstractmethod
    def order(self, order_id: int) -> tuple[str, int]:
        """The status (UNKNOWN for an id never used) and what is open (0 once terminal)."""

    @abstractmethod
    def book(self, symbol: str, depth: int = 10) -> Book:
        """The best `depth` levels of each side, each as [price, quantity, orders]."""

    @abstractmethod
    def state_hash(self) -> str:
        """The SHA-256 of the canonical state (rulebook 7)."""

    @property
    @abstractmethod
    def resting_orders(self) -> int:
        """The number of orders in all books."""

    @property
    @abstractmethod
    def sequence(self) -> int:
        """The number of commands sequenced so far."""

    def check_invariants(self) -> None:
        """Check that the engine's own data structures do not contradict each other.

        Raises:
            Exception: they do; of a type of the version's own, with what is wrong.
        """
        return

    def close(self) -> None:
        """Give back threads and files."""
        return

    def execute(self, command: Command) -> list[Event]:
        """Send one command, given as a dictionary."""
        return self.execute_line(encode(command))


class Forwarding(Engine):
    """An engine that lets another one do everything; a subclass changes what it wants to."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def execute_line(self, line: bytes) -> list[Event]:
        return self.engine.execute_line(line)

    def refusal(self, line: bytes) -> str | None:
        return self.engine.refusal(line)

    def order(self, order_id: int) -> tuple[str, int]:
        return self.engine.order(order_id)

    def book(self, symbol: str, depth: int = 10) -> Book:
        return self.engine.book(symbol, depth)

    def state_hash(self) -> str:
        return self.engine.state_hash()

    @property
    def resting_orders(self) -> int:
        return self.engine.resting_orders

    @property
    def sequence(self) -> int:
        return self.engine.sequence

    def check_invariants(self) -> None:
        self.engine.check_invariants()

    def close(self) -> None:
        self.engine.close()


def encode(command: Command) -> bytes:
    """The command as one line of NDJSON, without the line end."""
    return json.dumps(command, separators=(",", ":")).encode()


def timeless(events: Iterable[Event]) -> list[Event]:
    """The events without their timestamps, the one thing in which engines may differ."""
    return [{name: event[name] for name in event if name != "timestamp_ns"} for event in events]
