"""NDJSON streams through the engine: what ``stdio`` and ``run`` have in common.

Lines are submitted as they come and their answers written in the order of the lines, so many
commands share one sync, while a program that waits for each answer gets it at once.
"""

import gzip
import io
import lzma
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..engine.event_engine import EventDrivenMatchingEngine
from ..engine.events import AnyEvent
from ..engine.matcher import Matcher
from ..engine.receipt import Receipt
from ..engine.trade import TradeExecuted
from ..errors import EngineBusy, MalformedCommand
from ..ndjson import BookQuery, OrderQuery, Query, StateQuery, encode, event_fields, parse
from .stopping import StopSignals

CHUNK_BYTES = 64 * 1024
IN_FLIGHT = 8192
"""Commands that may be on their way before the oldest answers are waited for."""


class FileProblem(Exception):
    """An input or output that cannot be opened, read or written; the message names it."""


class LineSplitter:
    """Chunks in, whole lines out; a line may span any number of chunks. O(bytes)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, without their line feeds."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts.clear()
        if rest:
            self._parts.append(rest)
        return lines

    def end(self) -> list[bytes]:
        """The last line, if the input did not end with a line feed."""
        last = b"".join(self._parts)
        self._parts.clear()
        return [last] if last else []


class Session:
    """One stream: counts what it sees, submits, and writes the answers in stream order."""

    def __init__(
        self, engine: EventDrivenMatchingEngine, write: Callable[[bytes], object] | None
    ) -> None:
        self.lines = 0
        self.commands = 0
        self.events = 0
        self.trades = 0
        self.malformed = 0
        self._engine = engine
        self._write = write
        self._pending: deque[Receipt[Any] | bytes] = deque()

    def feed(self, lines: list[bytes]) -> None:
        """Submit ``lines``; answers are written as far as is needed to keep few in flight."""
        for line in lines:
            self.lines += 1
            line = line.strip(b" \t\r")  # noqa: PLW2901  # white space as JSON knows it
            if line:
                self._pending.append(self._submit(line))
                if len(self._pending) >= IN_FLIGHT:
                    self._settle(IN_FLIGHT // 2)

    def settle(self) -> None:
        """Wait for and write all answers."""
        self._settle(0)

    def _submit(self, line: bytes) -> Receipt[Any] | bytes:
        try:
            request = parse(line)
            while True:
                try:
                    if isinstance(request, Query):
                        return self._engine.ask(_question(request))
                    return self._engine.submit(request)
                except EngineBusy:  # others fill the queue too: our answers make room
                    self._settle(0)
        except MalformedCommand as error:
            self.malformed += 1
            return encode({"event": "malformed", "line": self.lines, "error": str(error)}) + b"\n"

    def _settle(self, left: int) -> None:
        pending = self._pending
        output: list[bytes] = []
        while len(pending) > left:
            item = pending.popleft()
            if isinstance(item, bytes):
                output.append(item)
                continue
            answer = item.result()
            if isinstance(answer, dict):
                output.append(encode(answer) + b"\n")
            else:
                self._count(answer)
                if self._write is not None:
                    output += [encode(event_fields(event)) + b"\n" for event in answer]
        if self._write is not None and output:
            self._write(b"".join(output))

    def _count(self, events: list[AnyEvent]) -> None:
        self.commands += 1
        self.events += len(events)
        if len(events) > 1:
            self.trades += sum(type(event) is TradeExecuted for event in events)


def _question(query: Query) -> Callable[[Matcher], dict[str, Any]]:
    """What the writer asks the matcher for a query; the answer is a dictionary ready for JSON."""
    match query:
        case StateQuery():
            return _state
        case OrderQuery(order_id):
            return lambda matcher: _order(matcher, order_id)
        case BookQuery(symbol, depth):
            return lambda matcher: _book(matcher, symbol, depth)


def _state(matcher: Matcher) -> dict[str, Any]:
    return {
        "event": "state",
        "sequence": matcher.sequence,
        "resting_orders": matcher.resting_order_count(),
        "state_hash": matcher.state_hash(),
    }


def _order(matcher: Matcher, order_id: int) -> dict[str, Any]:
    status, remaining = matcher.order(order_id)
    return {
        "event": "order",
        "order_id": order_id,
        "sequence": matcher.sequence,
        "status": "UNKNOWN" if status is None else status.name,
        "remaining": remaining,
    }


def _book(matcher: Matcher, symbol: str, depth: int) -> dict[str, Any]:
    book = matcher.book(symbol)
    return {
        "event": "book",
        "symbol": symbol,
        "sequence": matcher.sequence,
        "bids": book.bids.depth(depth),
        "asks": book.asks.depth(depth),
    }


class FlowFile:
    """An order-flow file, read in chunks: plain, ``.gz``, ``.xz``, or ``-`` for standard input."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size: int | None = None
        """Bytes on disk, None where that is not known."""
        try:
            if name == "-":
                self._raw: Any = io.FileIO(sys.stdin.fileno(), closefd=False)
            else:
                path = Path(name)
                self._raw = io.FileIO(path)
                self.size = path.stat().st_size
        except OSError as error:
            raise FileProblem(
                f"{name}: {error.strerror}; name an NDJSON file, or - for standard input"
            ) from error
        self._is_pipe = name == "-"
        if name.endswith(".gz"):
            self._stream: Any = gzip.GzipFile(fileobj=self._raw)
        elif name.endswith(".xz"):
            self._stream = lzma.LZMAFile(self._raw)  # noqa: SIM115  # close() closes it
        else:
            self._stream = self._raw

    def chunks(self, stop: StopSignals) -> Iterator[bytes]:
        """Chunk by chunk to the end, or until a signal comes."""
        while stop.received is None:
            if self._is_pipe and not stop.readable(self._raw.fileno(), wait=True):
                return
            try:
                chunk = self._stream.read(CHUNK_BYTES)
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise FileProblem(f"{self.name}: cannot be read: {error}") from error
            if not chunk:
                return
            yield chunk

    def position(self) -> int:
        """How many of :attr:`size` bytes have been read."""
        position: int = self._raw.tell() if self._raw.seekable() else 0
        return position

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()


def write_to_standard_output(data: bytes) -> None:
    """Write all of ``data`` at once, past Python's buffer.

    Raises:
        BrokenPipeError: nobody reads any more.
        FileProblem: it cannot be written.
    """
    written = 0
    try:
        with memoryview(data) as view:
            while written < len(data):
                written += os.write(1, view[written:])
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileProblem(f"standard output: {error.strerror}") from error


class EventsFile:
    """The file that ``run --events`` writes."""

    def __init__(self, path: Path, flow: str) -> None:
        """Empty or make the file, unless it is the flow itself."""
        self._path = path
        if path.exists() and Path(flow).exists() and path.samefile(flow):
            raise FileProblem(f"{path}: this is the flow itself; name another file for the events")
        with self._naming():
            self._file = path.open("wb")

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        with self._naming():
            self._file.write(data)

    def close(self) -> None:
        """Write what is buffered and close the file."""
        with self._naming():
            self._file.close()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileProblem(
                f"{self._path}: {error.strerror}; name a file that can be written"
            ) from error


def converse(session: Session, stop: StopSignals, descriptor: int) -> None:
    """Standard input to the end; everything is answered when nothing more waits to be read."""
    splitter = LineSplitter()
    while True:
        if not stop.readable(descriptor, wait=False):
            session.settle()
            if not stop.readable(descriptor, wait=True):
                return
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            session.feed(splitter.end())
            session.settle()
            return
        session.feed(splitter.feed(chunk))
