"""The log as an interface: batches go in at one end and come out, in order, at the other.

Everything that reads the log (recovery, snapshots, the audit trail, `verify` and the rest of the
command line) and everything that writes it (the sequencer) is written against `EventLog`, so what
keeps the batches can change: files (`wal_event_store.py`), memory (`log/memory.py`), a replicated
log. Every implementation passes one contract suite, `tests/test_log_contract.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, NewType, Protocol, runtime_checkable

import msgspec

from ..models.commands import Command
from .events import AnyEvent

Outcomes = Sequence[Sequence[AnyEvent]]
"""The events of successive commands, one list a command."""

Place = NewType("Place", bytes)
"""A place between two batches, in the words of the log that gave it. For others only bytes."""

START: Final = Place(b"")
"""The place before the first batch."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is appended, and read back, as one piece.

    `commands` have the sequences from `first_sequence` on and share `timestamp_ns`. `outcomes` are
    the events of earlier commands, from sequence `outcomes_first` on: all that were not in an
    earlier batch. They are recorded to be compared, and are never applied: recovery derives them
    again. `closed` marks the end of a log that was shut down cleanly. `tag` is the caller's: bytes
    that are kept with the batch and given back.

    The log that gives a batch back adds: `durable_sequence`, up to which the log was known to be
    durable when the batch was built; `place`, right after the batch; and, for messages to people,
    the `file` and the `offset` in it where the batch begins.
    """

    first_sequence: int
    timestamp_ns: int
    commands: Sequence[Command]
    outcomes_first: int
    outcomes: Outcomes
    closed: bool = False
    tag: bytes = b""
    durable_sequence: int = 0
    place: Place = START
    file: str = ""
    offset: int = 0


class TornTail(NamedTuple):
    """The remains, after the last batch, of one whose append never returned."""

    file: str
    offset: int
    length: int
    sequence: int


class ReadableLog(Protocol):
    """The end to read from. Reading changes nothing and works beside a writer."""

    torn: TornTail | None
    """What the last complete `read` found after the last batch. Beside a writer: its next batch."""

    def read(self, after: Place = START) -> Iterator[Batch]:
        """Every batch after a place, in order.

        Raises:
            LogDamaged: acknowledged data is missing or altered.
            UnsupportedFormat: another version of the program wrote it.
        """

    def first_sequence(self) -> int:
        """The sequence that the log begins with: 1, or more where its beginning was taken away."""

    def may_have_grown(self, after: Place) -> bool:
        """Whether there may be a batch after a place. Quick; a wrong yes is possible, no wrong no.

        For those who wait for more.
        """


# --8<-- [start:event_log]
@runtime_checkable
class EventLog(ReadableLog, Protocol):
    """Both ends. The engine appends from one thread only, and stops at the first exception."""

    def start(self, after: Place, witnessed: int = 0) -> None:
        """Become the one writer. `after` is the place that a complete `read` ended at.

        `witnessed` is a sequence that somebody outside of the log knows to be durable.

        Raises:
            LogDamaged: the log ends before `witnessed`. Nothing was changed.
            StoreError: the log goes on after `after`. Nothing was changed.
        """

    def append(self, batch: Batch) -> None:
        """Add a batch. It is durable on return.

        The outcomes of a batch may come back with another one, before the next commands.

        Raises:
            BatchTooLarge: it has several commands and more bytes than the log takes at once.
                Nothing was written; this is the one error after which the log can still be used.
            OSError: after this, and any other exception, the batch is in the log as a whole or
                not at all; the next start finds out by reading.
        """

    def close(self) -> None:
        """Give everything back. Without a batch that closes the log this equals a crash."""


# --8<-- [end:event_log]
