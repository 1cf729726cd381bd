"""Everything that this package raises on purpose.

::

    EngineError
    |- MalformedCommand      the command is refused at the edge: no sequence, nothing changed
    |- EngineBusy            the inbound queue is full: no sequence, nothing changed
    |- EngineClosed          the engine was closed before the command got a sequence
    |- EngineStopped         the engine latched after a failure; whether it happened is in the log
    |- MatcherBug            the matcher contradicts itself
    |  |- IllegalTransition  ... in an order's lifecycle
    |  `- SequenceGap        ... or was fed out of turn
    `- StoreError            the data directory
       |- DirectoryInUse     another engine has it open
       |- DirectoryUnusable  it is not there, not allowed, or not a data directory
       |- LogDamaged         acknowledged data is missing or altered
       |- ReplayDivergence   replay gives other events than the log recorded
       `- UnsupportedFormat  written by a version that this one does not know
"""


class EngineError(Exception):
    """The root of the tree above."""


class MalformedCommand(EngineError):
    """A field is of the wrong type or out of range. Mend the command and send it again."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class EngineBusy(EngineError):
    """The inbound queue is full. Nothing happened; wait for some receipts and submit again."""


class EngineClosed(EngineError):
    """The engine is closed and this command was not sequenced. Open the directory again."""


class EngineStopped(EngineError):
    """A failure stopped the engine; it answers nothing more.

    ``__cause__`` is the failure. A command without an answer may or may not be in the log: open the
    directory again and ask for the order, or send the NEW or cancel again (ids are good for once).
    """


class MatcherBug(EngineError):
    """The matcher contradicts itself. The log is intact; ``verify`` points at the command."""


class IllegalTransition(MatcherBug):
    """The matcher asked for a transition that the lifecycle does not have."""


class SequenceGap(MatcherBug):
    """A command came out of turn. Nothing was changed."""


class StoreError(EngineError):
    """Something about the data directory; the message names file, offset and way out."""


class DirectoryInUse(StoreError):
    """Another engine has the data directory open. Close that one, or use another directory."""


class DirectoryUnusable(StoreError):
    """The data directory is missing, forbidden, or holds no log."""


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
    """The same commands gave other events than the log recorded: another rulebook, or a bug."""

    def __init__(self, sequence: int, index: int, recorded: str, derived: str) -> None:
        super().__init__(
            f"replay differs at sequence {sequence}, event {index}: the log recorded {recorded}, "
            f"replay gives {derived}. Open the log with the version that wrote it."
        )
        self.sequence = sequence
        self.index = index
        self.recorded = recorded
        self.derived = derived


class UnsupportedFormat(StoreError):
    """The file has a format, record or rule version that this program does not know."""
