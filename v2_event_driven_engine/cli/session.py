"""A stream of lines in front of an engine: what `stdio` and `run` have in common.

Lines are submitted as they come and their answers written in the order of the lines, so many
commands share one sync, while a program that waits for each answer gets it at once.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any, Protocol, TypeVar, assert_never

from ..engine.event_engine import EventDrivenMatchingEngine
from ..engine.events import AnyEvent
from ..engine.log.storage import reason
from ..engine.market.matcher import Matcher
from ..engine.market.views import Depth, OrderView
from ..engine.receipt import Receipt
from ..engine.sequencer import MAX_BATCH
from ..engine.trade import TradeExecuted
from ..errors import EngineBusy
from ..models.commands import Command
from .files import CHUNK_BYTES, FileProblem
from .ndjson import (
    LONGEST_LINE_BYTES,
    BookQuery,
    Malformed,
    OrderQuery,
    Query,
    StateQuery,
    encode,
    encode_events,
    parse_lines,
)
from .signals import StopSignals

IN_FLIGHT = 8192
"""Lines that may be on their way before the oldest answers are waited for."""

Request = TypeVar("Request")


class LineSplitter:
    """Chunks in, whole lines out; a line may span any number of chunks. O(bytes).

    A line that is too long comes out too long, but only its beginning is kept.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        """The pieces of the line that is not complete yet."""
        self._begun_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their line feeds."""
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines:
            self._begun.append(lines[0])
            lines[0] = self._take()
        if self._begun_bytes <= LONGEST_LINE_BYTES:
            self._begun.append(rest)
            self._begun_bytes += len(rest)
        return lines

    def end(self) -> list[bytes]:
        """The last line, if the input did not end with a line feed."""
        last = self._take()
        return [last] if last else []

    def _take(self) -> bytes:
        begun = b"".join(self._begun)
        self._begun.clear()
        self._begun_bytes = 0
        return begun


class Submits(Protocol):
    """What a stream needs: an engine has it, and so has the client of a cluster."""

    def submit_checked(self, commands: list[Command]) -> Receipt[list[list[AnyEvent]]]:
        """Send commands on their way that were checked as they were decoded."""

    def wait_for_room(self) -> None:
        """Wait until the oldest request is done."""


Asks = Callable[[Query], Receipt[Any]]
"""Sends a query on its way; the answer is a line, or several."""


class Session:
    """One stream: counts what it sees, submits, and writes the answers in stream order."""

    def __init__(self, engine: Submits, ask: Asks, write: Callable[[bytes], object] | None) -> None:
        self.lines = 0
        self.commands = 0
        self.events = 0
        self.trades = 0
        self.malformed = 0
        self._engine = engine
        self._ask = ask
        self._write = write
        self._pending: deque[tuple[int, Receipt[Any] | bytes]] = deque()
        """What is on its way or written later, with how many lines it is for."""
        self._in_flight = 0

    def feed(self, lines: Sequence[bytes]) -> None:
        """Submit lines; answers are written as far as is needed to keep few in flight."""
        for item in parse_lines(lines, self.lines + 1):
            if isinstance(item, list):
                for part in _even_parts(item, MAX_BATCH):
                    self._await(len(part), self._submit(self._engine.submit_checked, part))
            elif isinstance(item, Malformed):
                self.malformed += 1
                self._await(1, line_of("malformed", item._asdict()))
            else:
                self._await(1, self._submit(self._ask, item))
        self.lines += len(lines)

    def settle(self) -> None:
        """Wait for and write all answers; the output ends before the first that fails."""
        self._settle(0)

    def _submit(self, submit: Callable[[Request], Receipt[Any]], request: Request) -> Receipt[Any]:
        while True:
            try:
                return submit(request)
            except EngineBusy:
                self._settle(0)  # the answers to this stream make room
                self._engine.wait_for_room()  # or those to others, who fill the queue too

    def _await(self, lines: int, item: Receipt[Any] | bytes) -> None:
        self._pending.append((lines, item))
        self._in_flight += lines
        if self._in_flight >= IN_FLIGHT:
            self._settle(IN_FLIGHT // 2)

    def _settle(self, left: int) -> None:
        output: list[bytes] = []
        try:
            while self._pending and self._in_flight > left:
                lines, item = self._pending.popleft()
                self._in_flight -= lines
                answer = item if isinstance(item, bytes) else item.result()
                if isinstance(answer, list):
                    answer = self._answered(answer)
                output.append(answer)
        except BaseException:
            self._pending.clear()
            raise
        finally:
            if self._write is not None and output:
                self._write(b"".join(output))

    def _answered(self, answers: list[list[AnyEvent]]) -> bytes:
        """Count what commands have led to; the lines of it, if they are written."""
        self.commands += len(answers)
        self.events += sum(map(len, answers))
        self.trades += sum(
            type(event) is TradeExecuted for each in answers if len(each) > 1 for event in each
        )
        return b"" if self._write is None else encode_events(answers)


def _even_parts(commands: list[Command], longest: int) -> Iterator[list[Command]]:
    """As few parts as there can be, none much shorter than the others."""
    size = ceil(len(commands) / ceil(len(commands) / longest))
    for start in range(0, len(commands), size):
        yield commands[start : start + size]


def asks(engine: EventDrivenMatchingEngine) -> Asks:
    """How an engine is asked: the writer answers between two commands."""
    return lambda query: engine.ask(_question(query))


def _question(query: Query) -> Callable[[Matcher], bytes]:
    """What the writer asks the matcher for a query; the answer is a line."""
    match query:
        case StateQuery():
            return lambda matcher: line_of("state", matcher.state()._asdict())
        case OrderQuery(order_id):
            return lambda matcher: order_line(order_id, matcher.sequence, matcher.order(order_id))
        case BookQuery(symbol, depth):
            return lambda matcher: book_line(symbol, matcher.sequence, matcher.depth(symbol, depth))
        case _:
            assert_never(query)


def order_line(order_id: int, sequence: int, order: OrderView) -> bytes:
    """The answer to a question about an order."""
    return line_of(
        "order",
        {
            "order_id": order_id,
            "sequence": sequence,
            "status": order.status.name,
            "remaining": order.remaining,
        },
    )


def book_line(symbol: str, sequence: int, depth: Depth) -> bytes:
    """The answer to a question about a book."""
    return line_of("book", {"symbol": symbol, "sequence": sequence, **depth._asdict()})


def line_of(event: str, fields: dict[str, Any]) -> bytes:
    """A line that is no event of a command."""
    return encode({"event": event, **fields}) + b"\n"


def converse(session: Session, stop: StopSignals, descriptor: int) -> None:
    """Standard input to its end; all is answered whenever there is nothing more to read."""
    splitter = LineSplitter()
    while True:
        if not stop.readable(descriptor, wait=False):
            session.settle()
            if not stop.readable(descriptor, wait=True):
                return
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:  # somebody else, who reads the same, was faster
            continue
        except OSError as error:
            raise FileProblem(f"standard input: cannot be read: {reason(error)}") from error
        if not chunk:
            session.feed(splitter.end())
            session.settle()
            return
        session.feed(splitter.feed(chunk))
