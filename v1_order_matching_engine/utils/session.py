"""A stream of lines at an engine: what `run` and `stdio` have in common."""

from collections.abc import Callable, Iterable
from typing import assert_never

from ..engine.events import Event
from ..engine.matching_engine import MatchingEngine
from ..errors import MalformedLine
from ..models.commands import BaseCommand, Command
from .files import LONGEST_LINE_BYTES, EventsFile, FlowFile, LineSplitter
from .ndjson import (
    Answer,
    BookAnswer,
    BookQuery,
    Malformed,
    OrderAnswer,
    OrderQuery,
    Query,
    StateAnswer,
    StateQuery,
    encode_lines,
    is_blank,
    parse,
)
from .signals import GracefulStop


class Session:
    """One stream of lines at an engine, and its counts.

    Lines are answered one after the other, so a query sees everything before it.
    """

    def __init__(self, engine: MatchingEngine) -> None:
        self.engine = engine
        self.lines = 0
        self.commands = 0
        self.events = 0
        self.malformed = 0

    def answer(self, lines: Iterable[bytes]) -> list[Answer]:
        """The answers to some lines, in order. Commands in a row are submitted together."""
        answers: list[Answer] = []
        commands: list[Command] = []  # read, but not submitted yet
        for line in lines:
            message = self._read(line)
            if isinstance(message, BaseCommand):
                commands.append(message)
            elif message is not None:
                answers += self._submit(commands)
                commands.clear()
                answers.append(message if isinstance(message, Malformed) else self._ask(message))
        answers += self._submit(commands)
        return answers

    def _read(self, line: bytes) -> Command | Query | Malformed | None:
        """What one line says; a blank line is counted and says nothing."""
        self.lines += 1
        if len(line) > LONGEST_LINE_BYTES:
            return self._malformed(f"line: longer than {LONGEST_LINE_BYTES:,} bytes")
        try:
            return parse(line)
        except MalformedLine as error:
            return None if is_blank(line) else self._malformed(str(error))

    def _malformed(self, error: str) -> Malformed:
        self.malformed += 1
        return Malformed(self.lines, error)

    def _submit(self, commands: list[Command]) -> list[Event]:
        if not commands:
            return []
        answers = self.engine.submit_many(commands)
        events = [event for events in answers for event in events]
        self.commands += len(answers)
        self.events += len(events)
        return events

    def _ask(self, query: Query) -> Answer:
        match query:
            case StateQuery():
                return StateAnswer(*self.engine.state())
            case OrderQuery(order_id):
                sequence, (status, remaining) = self.engine.order_with_sequence(order_id)
                return OrderAnswer(order_id, sequence, status, remaining)
            case BookQuery(symbol, depth):
                sequence, (bids, asks) = self.engine.depth_with_sequence(symbol, depth)
                return BookAnswer(symbol, sequence, bids, asks)
            case _:
                assert_never(query)

    def run(
        self,
        flow: FlowFile,
        events: EventsFile | None,
        stop: GracefulStop,
        after_chunk: Callable[[], None] = lambda: None,
    ) -> None:
        """Read to the end of the flow. Everything read is answered before more is read.

        Raises:
            StopRequested: a signal came; all that was read before is answered.
            StreamError: the flow cannot be read, or the answers cannot be written.
            BrokenPipeError: the reader of the answers has gone.
        """
        splitter = LineSplitter()
        at_end = False
        while not at_end:
            stop.check()
            chunk = flow.read()
            at_end = not chunk
            answers = self.answer(splitter.finish() if at_end else splitter.feed(chunk))
            if events is not None and answers:
                events.write(encode_lines(answers))
            after_chunk()
