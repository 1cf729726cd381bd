"""Lines in, answers out: what `run` and `stdio` have in common."""

from collections.abc import Callable, Sequence

from .engine.matcher import MatchingEngine
from .errors import MalformedLine
from .ndjson import (
    Answer,
    BookQuery,
    Malformed,
    OrderQuery,
    Query,
    StateQuery,
    encode_lines,
    is_blank,
    parse,
)
from .utils.signals import GracefulStop
from .utils.streams import AnswerWriter, FlowReader, LineSplitter


class Dialogue:
    """One stream of lines in front of an engine. It counts as it goes.

    Lines are answered strictly one after the other, so a query sees everything before it.
    """

    def __init__(self, engine: MatchingEngine) -> None:
        self.engine = engine
        self.lines = 0
        self.commands = 0
        self.events = 0
        self.malformed = 0

    def answer(self, line: bytes) -> Sequence[Answer]:
        """Answer one line; a blank one is counted and has no answer."""
        self.lines += 1
        if is_blank(line):
            return ()
        try:
            message = parse(line)
        except MalformedLine as error:
            self.malformed += 1
            return (Malformed(self.lines, str(error)),)
        if isinstance(message, Query):
            return (self._ask(message),)
        events = self.engine.submit(message)
        self.commands += 1
        self.events += len(events)
        return events

    def _ask(self, query: Query) -> Answer:
        match query:
            case StateQuery():
                return self.engine.state()
            case OrderQuery():
                return self.engine.order(query.order_id)
            case BookQuery():
                return self.engine.book(query.symbol).depth(query.depth)

    def hold(
        self,
        reader: FlowReader,
        writer: AnswerWriter | None,
        stop: GracefulStop,
        after_chunk: Callable[[], None] = lambda: None,
    ) -> None:
        """Read to the end, answering everything read so far before reading on.

        Raises `StopRequested` between two chunks, `StreamError` and `BrokenPipeError`.
        """
        splitter = LineSplitter()
        at_end = False
        while not at_end:
            with stop.waiting():
                chunk = reader.read()
            at_end = not chunk
            answers: list[Answer] = []
            for line in splitter.finish() if at_end else splitter.feed(chunk):
                answers.extend(self.answer(line))
            if writer is not None and answers:
                writer.write(encode_lines(answers))
            after_chunk()
