"""V1 and V2 under the one interface.

Commands go in through the version's own NDJSON reader and events come out through its own writer,
so that a wrong field name fails as surely as a wrong fill.

V2 comes in four builds, from the rules alone to the whole machine:

| name | what runs |
|---|---|
| `v2-matcher` | the matcher, called directly: no queue, no thread, no log |
| `v2-memory` | the engine with its queue and writer thread, and no files |
| `v2-disk` | the engine with its log on disk: every answer waits for a sync |
| `v2-reopened` | the same, closed and recovered from its log after every few commands |
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from v1_order_matching_engine.utils import ndjson as v1_ndjson
from v2_event_driven_engine.cli import ndjson as v2_ndjson
from v2_event_driven_engine.engine.market.matcher import Matcher

from ..reference.reference import Reference
from .engine import Book, Engine, Event, Malformed
from .market_data import Fill

DEADLINE_SECONDS = 300
"""For everything that is waited for: only what hangs takes so long, however busy the machine."""


class Version(Engine):
    """An engine with the Python API that both versions have.

    A subclass knows the version's reader, its writer and how to submit a command. The three `view`
    methods ask for what the API shows.
    """

    engine: Any

    @abstractmethod
    def parse(self, line: bytes) -> Any:
        """Read one line with the version's own reader.

        Raises:
            Malformed: it is neither a command nor a query.
        """

    @abstractmethod
    def is_command(self, parsed: Any) -> bool:
        """Whether what was read is a command, and not a query."""

    @abstractmethod
    def submit(self, command: Any) -> Callable[[], list[Any]]:
        """Submit a command; return a function that waits for the version's own events."""

    @abstractmethod
    def write(self, event: Any) -> bytes:
        """Write an event with the version's own writer."""

    def apply(self, command: Any) -> list[Any]:
        """Execute a command and return the version's own events."""
        return self.submit(command)()

    def execute_line(self, line: bytes) -> list[Event]:
        command = self.parse(line)
        if not self.is_command(command):
            raise Malformed("command: a query is no command")
        return self.shown(self.apply(command))

    def shown(self, events: Iterable[Any]) -> list[Event]:
        """The version's own events in plain values."""
        return [json.loads(self.write(event)) for event in events]

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
            if type(event) in (v1.TradeExecuted, v2.TradeExecuted)
        ]

    def view_state(self) -> Any:
        """The state, with `sequence`, `resting_orders` and `state_hash`."""
        return self.engine.state()

    def view_order(self, order_id: int) -> Any:
        """One order, with `status` and `remaining`."""
        return self.engine.order(order_id)

    def view_book(self, symbol: str, depth: int) -> Any:
        """The best levels, with `bids` and `asks`."""
        return self.engine.book(symbol).depth(depth)

    def order(self, order_id: int) -> tuple[str, int]:
        return plain_order(self.view_order(order_id))

    def book(self, symbol: str, depth: int = 10) -> Book:
        return plain_book(self.view_book(symbol, depth))

    def state_hash(self) -> str:
        state_hash: str = self.view_state().state_hash
        return state_hash

    @property
    def resting_orders(self) -> int:
        resting_orders: int = self.view_state().resting_orders
        return resting_orders

    @property
    def sequence(self) -> int:
        sequence: int = self.view_state().sequence
        return sequence

    def check_invariants(self) -> None:
        self.engine.check_invariants()


def plain_order(view: Any) -> tuple[str, int]:
    """A view of an order in plain values: status and remaining quantity."""
    return view.status.name, view.remaining


def plain_book(view: Any) -> Book:
    """A view of a book in plain values."""
    return {"bids": [[*level] for level in view.bids], "asks": [[*level] for level in view.asks]}


class V1(Version):
    """`MatchingEngine`: whoever submits a command executes it, with the lock held."""

    engine: v1.MatchingEngine

    def __init__(self, engine: v1.MatchingEngine | None = None) -> None:
        self.engine = engine or v1.MatchingEngine()

    def parse(self, line: bytes) -> Any:
        try:
            return v1_ndjson.parse(line)
        except v1.MalformedCommand as error:
            raise Malformed(str(error)) from error

    def is_command(self, parsed: Any) -> bool:
        return isinstance(parsed, v1.Command)

    def submit(self, command: Any) -> Callable[[], list[Any]]:
        events = self.engine.submit(command)
        return lambda: events

    def write(self, event: Any) -> bytes:
        return v1_ndjson.encode_lines([event])

    def view_order(self, order_id: int) -> Any:
        sequence, view = self.engine.order_with_sequence(order_id)
        return SimpleNamespace(sequence=sequence, **view._asdict())

    def view_book(self, symbol: str, depth: int) -> Any:
        sequence, view = self.engine.depth_with_sequence(symbol, depth)
        return SimpleNamespace(sequence=sequence, **view._asdict())


class V2(Version):
    """What the builds of V2 share: reader and writer."""

    def parse(self, line: bytes) -> Any:
        """As the program does, many lines at once; and its way for one line must say the same."""
        found = list(v2_ndjson.parse_lines([line]))
        bare = line.strip(v2_ndjson.BLANKS)
        if bare and len(line) <= v2_ndjson.LONGEST_LINE_BYTES:
            assert found == [_alone(bare)]
        if not found:
            raise Malformed("line: blank")
        [parsed] = found
        if isinstance(parsed, v2_ndjson.Malformed):
            raise Malformed(parsed.error)
        return parsed[0] if isinstance(parsed, list) else parsed

    def is_command(self, parsed: Any) -> bool:
        return isinstance(parsed, v2.Command)

    def write(self, event: Any) -> bytes:
        return v2_ndjson.encode_events([[event]])


def _alone(line: bytes) -> Any:
    """What V2's way for one line makes of it, as the way for many lines would give it."""
    try:
        parsed = v2_ndjson.parse(line)
    except v2.MalformedCommand as error:
        return v2_ndjson.Malformed(1, str(error))
    return [parsed] if isinstance(parsed, v2.Command) else parsed


def v2_event(event: v2.Event) -> Event:
    """An event of V2 in plain values, written as simply as possible: its writer must agree."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    fields = msgspec.structs.asdict(event)
    plain = {key: value.name if isinstance(value, Enum) else value for key, value in fields.items()}
    return {"event": name, **plain}


class V2Matcher(V2):
    """The rules of V2 without anything around them."""

    engine: Matcher

    def __init__(self) -> None:
        self.engine = self.matcher = Matcher()

    def submit(self, command: Any) -> Callable[[], list[Any]]:
        sequence = self.matcher.sequence + 1
        [events] = self.matcher.apply(sequence, sequence, [command])
        return lambda: events

    def view_book(self, symbol: str, depth: int) -> v2.Depth:
        return self.matcher.depth(symbol, depth)


class V2Engine(V2):
    """V2 as it is used: submitted from one thread, applied by the writer."""

    engine: v2.EventDrivenMatchingEngine

    def __init__(self, engine: v2.EventDrivenMatchingEngine) -> None:
        self.engine = engine

    def submit(self, command: Any) -> Callable[[], list[Any]]:
        return partial(self.engine.submit(command).result, DEADLINE_SECONDS)

    def check_invariants(self) -> None:
        self.engine.ask(Matcher.check_invariants).result(DEADLINE_SECONDS)

    def close(self) -> None:
        self.engine.close()


class V2Reopened(V2Engine):
    """V2 that is closed and recovered from its log again and again, without any visible effect."""

    def __init__(self, directory: Path, every: int) -> None:
        super().__init__(_open_on_disk(directory))
        self.directory = directory
        self.every = every

    def submit(self, command: Any) -> Callable[[], list[Any]]:
        if self.sequence % self.every == self.every - 1:
            self.engine.close()
            self.engine = _open_on_disk(self.directory)
        return super().submit(command)


def _open_on_disk(directory: Path) -> v2.EventDrivenMatchingEngine:
    return v2.EventDrivenMatchingEngine.open(directory / "v2", audit=False, segment_bytes=64 * 1024)


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
