"""Everything that this package raises on purpose.

::

    EngineError
    |- MalformedCommand      not a well-formed command or question (also a ValueError)
    |- InstrumentRefused     an instrument to open the engine with was refused
    |- AnswerForgotten       a cluster carried the command out, and has no answer to give
    |- EngineBusy            the inbound queue is full: no sequence, nothing changed
    |- EngineClosed          the engine was closed before the command got a sequence
    |- WriterBlocked         a subscriber or a question waits for the thread that it runs in
    |- EngineStopped         the engine stopped after a failure; the log knows what happened
    |- MatcherBug            the matcher contradicts itself
    |  |- IllegalTransition  ... in the life of an order
    |  |- InvariantBroken    ... in its state
    |  `- SequenceGap        ... or got a command out of turn
    `- StoreError            the log, or the data directory that it is in
       |- BatchTooLarge      more bytes than the log takes in one batch; nothing was written
       |- DirectoryInUse     another engine has it open
       |- DirectoryUnusable  it is missing, forbidden, or not a data directory
       |- Fenced             another node has taken a replicated log over
       |- LogDamaged         acknowledged data is missing or altered
       |- LogUnavailable     a replicated log has had no majority for too long
       |- ReplayDivergence   replay gives other events than the log recorded
       `- UnsupportedFormat  written by a version that this program does not know
"""


class EngineError(Exception):
    """The root of the tree above."""


class MalformedCommand(EngineError, ValueError):
    """A field is of the wrong type or out of range; `field` names it.

    It got no sequence and changed nothing. Correct it and send it again.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class InstrumentRefused(EngineError):
    """An instrument that the engine was to be opened with was refused; the engine is not open."""

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"{symbol}: the instrument was refused: {reason}")
        self.symbol = symbol
        self.reason = reason


class AnswerForgotten(EngineError):
    """A cluster carried the command out, and has no answer to give.

    It was too long ago, or there are too many events for a message. The command must not be sent
    again: ask for the order.
    """


class EngineBusy(EngineError):
    """The inbound queue is full. Nothing happened; wait for some receipts and submit again."""


class EngineClosed(EngineError):
    """The engine is closed and this command was not sequenced. Open the directory again."""


class EngineStopped(EngineError):
    """A failure stopped the engine; it answers nothing more.

    `__cause__` is the failure. A command without an answer may or may not be in the log: open the
    directory again and ask for the order, or send the NEW or the cancel again, which is safe.
    """


class WriterBlocked(EngineError):
    """A subscriber or a question waits for the writer in whose thread it is. Nothing happened."""


class MatcherBug(EngineError):
    """The matcher contradicts itself. The log is intact; `verify` names the command."""


class IllegalTransition(MatcherBug):
    """The matcher asked for a transition that the lifecycle does not have."""


class InvariantBroken(MatcherBug):
    """`check_invariants`, or a snapshot, found a contradiction in the state. Please report it."""


class SequenceGap(MatcherBug):
    """Commands came out of turn. Nothing was changed."""


class StoreError(EngineError):
    """The log or its data directory; the message names file, byte, sequence and the way out."""


class BatchTooLarge(StoreError):
    """The log takes fewer bytes in one batch. Nothing was written; append fewer commands."""


class DirectoryInUse(StoreError):
    """Another engine has the data directory open. Close that one, or use another directory."""


class DirectoryUnusable(StoreError):
    """The data directory is missing, forbidden, or holds no log."""


class Fenced(StoreError):
    """Another node has taken the replicated log over. What was not answered was not appended."""


class LogUnavailable(StoreError):
    """A replicated log had no majority for so long that its writer gave up.

    What was being appended may be in the log or not: the next start finds out by reading.
    """


class LogDamaged(StoreError):
    """Acknowledged data is missing or altered. Nothing was changed; restore from a copy."""

    def __init__(self, file: str, offset: int, sequence: int, problem: str) -> None:
        super().__init__(
            f"{file}: byte {offset}, sequence {sequence}: {problem}. Nothing was changed: restore "
            f"the file from a copy, or move the directory away to start anew."
        )
        self.file = file
        self.offset = offset
        self.sequence = sequence


class ReplayDivergence(StoreError):
    """The same commands gave other events than the log recorded: other rules, or a bug.

    `field` names the field of the event that differs; it is empty where the whole event does, and
    `recorded` and `derived` are then the events instead of the values.
    """

    def __init__(self, sequence: int, index: int, field: str, recorded: str, derived: str) -> None:
        about = f", field {field}" if field else ""
        super().__init__(
            f"replay differs at sequence {sequence}, event {index}{about}: the log recorded "
            f"{recorded}, replay gives {derived}. Open the log with the version that wrote it."
        )
        self.sequence = sequence
        self.index = index
        self.field = field
        self.recorded = recorded
        self.derived = derived


class UnsupportedFormat(StoreError):
    """The file has a format, a record or rules of a version that this program does not know."""


def described(error: BaseException) -> str:
    """What kind of error it is, and what it says, if it can say that."""
    try:
        text = str(error)
    except BaseException:  # an exception of somebody's own, which may do anything
        text = "it cannot say what it is about"
    return f"{type(error).__name__}: {text}"
