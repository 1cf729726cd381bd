"""Everything that can go wrong, in one small closed tree.

    MatchingEngineError
    ├── MalformedCommand (also a ValueError)   a command or query that is not well formed
    │   └── MalformedLine                      the same, found in a line of NDJSON
    ├── IllegalTransition                      an order was about to break its lifecycle: a bug
    ├── InvariantBroken                        a check of the engine's own state failed: a bug
    ├── EngineStopped                          a bug was met; the engine answers nothing any more
    └── StreamError                            a flow or an output cannot be opened, read or written

A refusal that the rulebook foresees (an unknown symbol, a price of 0) is none of these: it is
sequenced and answered by an event.
"""


class MatchingEngineError(Exception):
    """The root of the tree: catch it to catch everything this package raises on purpose."""


class MalformedCommand(MatchingEngineError, ValueError):
    """A command or query that cannot be one, whatever the state of the engine.

    Its text is ``field: what is wrong; what is expected`` and is short however long the value
    was. The command got no sequence number and changed nothing: correct it and send it again.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class MalformedLine(MalformedCommand):
    """A line that is not one JSON object with exactly the fields of a command or query."""


class IllegalTransition(MatchingEngineError):
    """An order was about to take a step that its lifecycle table does not have.

    Only a bug in the engine does this. Callers see it as the cause of an `EngineStopped`.
    """


class InvariantBroken(MatchingEngineError):
    """`check_invariants` found the engine's state to contradict itself: a bug, please report it."""


class EngineStopped(MatchingEngineError):
    """The engine met a bug in the middle of a command and stopped before publishing anything.

    What it holds may be half changed, so every later call raises this same error. Build a new
    engine and replay what was recorded.
    """


class StreamError(MatchingEngineError):
    """A flow or an output file cannot be opened, read or written; the text names it.

    What was done before stands. Correct the path, the rights or the file and run again.
    """
