"""Everything that can go wrong, in one small closed tree.

    EngineError
    ├── MalformedCommand (also a ValueError)   a command or query that is not well formed
    │   └── MalformedLine                      the same, found in a line of NDJSON
    ├── InstrumentRefused                      an engine was to start with an instrument it refuses
    ├── IllegalTransition                      an order was about to break its lifecycle: a bug
    ├── InvariantBroken                        a check of the engine's own state failed: a bug
    ├── EngineStopped                          a bug was met; the engine answers nothing any more
    └── StreamError                            a flow or an output cannot be opened, read or written

A refusal that the rulebook foresees (an unknown symbol, a price of 0) is none of these: it is
sequenced and answered by an event.
"""


class EngineError(Exception):
    """The root of the tree: catch it to catch everything this package raises on purpose."""


class MalformedCommand(EngineError, ValueError):
    """A command or query that is malformed in every state of the engine; `field` names where.

    Its text is `field: what is wrong; what is expected`, and is short however long the value is.
    The command got no sequence number and changed nothing: correct it and send it again.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class MalformedLine(MalformedCommand):
    """A line that is not one JSON object with exactly the fields of a command or query."""


class InstrumentRefused(EngineError):
    """`MatchingEngine.in_memory` was given an instrument that the rules refuse.

    There is no engine then. Correct the instrument, or list it only once.
    """

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"{symbol}: the instrument was refused: {reason}")
        self.symbol = symbol
        self.reason = reason


class IllegalTransition(EngineError):
    """An order was about to take a step that its lifecycle table does not have.

    Only a bug in the engine does this. Callers see it as the cause of an `EngineStopped`.
    """


class InvariantBroken(EngineError):
    """`check_invariants` found that the engine's state contradicts itself: a bug, please report it.

    Do not use that engine any more.
    """


class EngineStopped(EngineError):
    """The engine met a bug in the middle of a command and stopped before publishing anything.

    Its state may be half changed, so every later call raises this same error. Build a new engine
    and send the commands that were answered again.
    """


class StreamError(EngineError):
    """A flow or an output file cannot be opened, read or written; the text names it.

    The commands before it were carried out. Correct the path, the rights or the file and run again.
    """
