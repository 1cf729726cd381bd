"""V1 and V2 behind the one interface.

Commands go in through the version's own NDJSON reader and events come out through its own writer,
so that a wrong field name fails as surely as a wrong fill.

V2 comes in four builds, from the rules alone to the whole machine:

| name | what runs |
|---|---|
| `v2-matcher` | the matcher, called directly: no queue, no thread, no log |
| `v2-memory` | the engine with its queue and writer thread, and a log that is kept in memory |
| `v2-disk` | the engine with its log on disk: every answer waits for a sync |
| `v2-reopened` | the same, closed and recovered from its log after every few commands |
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from v1_order_matching_engine import ndjson as v1_ndjson
from v2_event_driven_engine import ndjson as v2_ndjson
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.engine.trade import TradeExecuted
from v2_event_driven_engine.errors import MalformedCommand

from .engine import Book, Engine, Event, Malformed
from .market_data import Fill
from .reference import Reference


class Version(Engine):
    """What is the same for both versions: a reader, the engine, a writer."""

    def execute_line(self, line: bytes) -> list[Event]:
        command = self.parse(line)
        if not self.is_command(command):
            raise Malformed("command: a query is no command")
        return [json.loads(self.write(event)) for event in self.apply(command)]

    def refusal(self, line: bytes) -> str | None:
        try:
            self.parse(line)
        except Malformed as error:
            return str(error)
        return None

    def fills(self, line: bytes) -> list[Fill]:
        """Execute one line and return its fills: the way to feed a whole trading day."""
        return [
            (event.maker_order_id, event.price, event.quantity)
            for event in self.apply(self.parse(line))
            if type(event) in (v1.TradeExecuted, TradeExecuted)
        ]

    @abstractmethod
    def parse(self, line: bytes) -> Any:
        """Read one line with the version's own reader."""

    @abstractmethod
    def is_command(self, parsed: Any) -> bool:
        """Whether what was read is a command, and not a query."""

    @abstractmethod
    def apply(self, command: Any) -> list[Any]:
        """Execute a command and return the version's own events."""

    @abstractmethod
    def write(self, event: Any) -> bytes:
        """Write an event with the version's own writer."""


class V1(Version):
    """`MatchingEngine`, the engine behind one lock."""

    def __init__(self, engine: v1.MatchingEngine | None = None) -> None:
        self.engine = engine or v1.MatchingEngine()

    def parse(self, line: bytes) -> Any:
        try:
            return v1_ndjson.parse(line)
        except v1.MalformedLine as error:
            raise Malformed(str(error)) from error

    def is_command(self, parsed: Any) -> bool:
        return isinstance(parsed, v1.Command)

    def apply(self, command: Any) -> list[Any]:
        return self.engine.submit(command)

    def write(self, event: Any) -> bytes:
        return v1_ndjson.encode_lines([event])

    def order(self, order_id: int) -> tuple[str, int]:
        view = self.engine.order(order_id)
        return view.status, view.remaining

    def book(self, symbol: str, depth: int = 10) -> Book:
        view = self.engine.book(symbol).depth(depth)
        return {
            "bids": [[*level] for level in view.bids],
            "asks": [[*level] for level in view.asks],
        }

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


class V2(Version):
    """What the builds of V2 share: reader, writer and how a book is shown."""

    def parse(self, line: bytes) -> Any:
        try:
            return v2_ndjson.parse(line)
        except MalformedCommand as error:
            raise Malformed(str(error)) from error

    def is_command(self, parsed: Any) -> bool:
        return not isinstance(parsed, v2_ndjson.Query)

    def write(self, event: Any) -> bytes:
        return v2_ndjson.encode(v2_ndjson.event_fields(event))


class V2Matcher(V2):
    """The rules of V2 without anything around them."""

    def __init__(self) -> None:
        self.matcher = Matcher()

    def apply(self, command: Any) -> list[Any]:
        sequence = self.matcher.sequence + 1
        return self.matcher.apply(sequence, sequence, command)

    def order(self, order_id: int) -> tuple[str, int]:
        return _named(self.matcher.order(order_id))

    def book(self, symbol: str, depth: int = 10) -> Book:
        book = self.matcher.book(symbol)
        return _shown((book.bids.depth(depth), book.asks.depth(depth)))

    def state_hash(self) -> str:
        return self.matcher.state_hash()

    @property
    def resting_orders(self) -> int:
        return self.matcher.resting_order_count()

    @property
    def sequence(self) -> int:
        return self.matcher.sequence

    def check_invariants(self) -> None:
        self.matcher.check_invariants()


class V2Engine(V2):
    """V2 as it is used: submitted from one thread, applied by the writer."""

    def __init__(self, engine: v2.EventDrivenMatchingEngine) -> None:
        self.engine = engine

    def apply(self, command: Any) -> list[Any]:
        return self.engine.submit(command).result(timeout=60)

    def order(self, order_id: int) -> tuple[str, int]:
        return _named(self.engine.order(order_id))

    def book(self, symbol: str, depth: int = 10) -> Book:
        return _shown(self.engine.book(symbol).depth(depth))

    def state_hash(self) -> str:
        return self.engine.state()[2]

    @property
    def resting_orders(self) -> int:
        return self.engine.state()[1]

    @property
    def sequence(self) -> int:
        return self.engine.state()[0]

    def check_invariants(self) -> None:
        def check(matcher: Matcher) -> bool:
            matcher.check_invariants()
            return True

        assert self.engine.ask(check).result(timeout=60)

    def close(self) -> None:
        self.engine.close()


class V2Reopened(V2Engine):
    """V2 that is shut down and recovered from its log again and again: nobody may notice."""

    def __init__(self, directory: Path, every: int) -> None:
        super().__init__(_open_on_disk(directory))
        self.directory = directory
        self.every = every

    def apply(self, command: Any) -> list[Any]:
        if self.sequence % self.every == self.every - 1:
            self.engine.close()
            self.engine = _open_on_disk(self.directory)
        return super().apply(command)


def _open_on_disk(directory: Path) -> v2.EventDrivenMatchingEngine:
    return v2.EventDrivenMatchingEngine.open(directory / "v2", audit=False, segment_bytes=64 * 1024)


def _named(order: tuple[v2.OrderStatus | None, int]) -> tuple[str, int]:
    status, remaining = order
    return ("UNKNOWN" if status is None else status.name), remaining


def _shown(sides: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]) -> Book:
    bids, asks = sides
    return {"bids": [[*level] for level in bids], "asks": [[*level] for level in asks]}


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "reference": lambda _directory: Reference(),
    "v1": lambda _directory: V1(),
    "v2-matcher": lambda _directory: V2Matcher(),
    "v2-memory": lambda _directory: V2Engine(v2.EventDrivenMatchingEngine.in_memory()),
    "v2-disk": lambda directory: V2Engine(_open_on_disk(directory)),
    "v2-reopened": lambda directory: V2Reopened(directory, every=5),
}
"""Every engine under test; each is made with a directory that it may use."""

IN_MEMORY = ["v1", "v2-matcher"]
DURABLE = ["v2-disk", "v2-reopened"]
FAST: dict[str, Callable[[], Version]] = {"v1": V1, "v2-matcher": V2Matcher}
"""Those that take a whole trading day in seconds."""
