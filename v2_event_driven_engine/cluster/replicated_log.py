"""The log on a replicated stream: an `EventLog` whose one writer is whoever appended last.

A log in files belongs to the process that holds the lock of its directory. A stream belongs to
nobody: `start` appends an entry that begins a new epoch, and that the entry is accepted at all is
the proof that this node has read everything before it. From then on every append of an older
writer is refused, for it expects the place that the new epoch has taken.
"""

import platform
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ..engine.event_log import START, Batch, EventLog, Outcomes, Place, TornTail
from ..engine.log.format import UNREADABLE, Pending, RecordedOutcomes
from ..errors import BatchTooLarge, Fenced, LogDamaged, StoreError, UnsupportedFormat
from .entry import (
    BATCH,
    ENTRY_BYTES_MAX,
    EPOCH,
    LINK,
    BadEntry,
    BatchBody,
    ChecksumOfOutcomes,
    Entry,
    EpochBody,
    RawBatchBody,
    batch_body,
    checksum_in,
    decode_batch,
    decode_entry,
    decode_epoch,
    encode_entry,
)
from .stream import PATIENCE_SECONDS, RETRY_SECONDS, Clock, Stream, append, doubted, fetch

FETCH_SECONDS = 0.2
"""How long to wait for messages that the leader says are there."""


PLACE = b"replicated "
"""How places begin, so that none of another kind of log is taken for one."""


class Position(NamedTuple):
    """A place between two entries: all that is needed to go on reading, or writing, there."""

    entries: int = 0
    """How many are before it."""
    link: int = 0
    epoch: int = 0
    next_sequence: int = 1
    pending: int = 0
    """The entry whose commands' events are not recorded yet; 0 if there is none."""

    @property
    def place(self) -> Place:
        """The position as others keep it."""
        return Place(PLACE + msgspec.msgpack.encode(self))


_decode_position = msgspec.msgpack.Decoder(Position).decode


def position_of(place: Place) -> Position:
    """The position that a place stands for.

    Raises:
        UnsupportedFormat: this is not a place in a replicated log.
    """
    if place == START:
        return Position()
    if not place.startswith(PLACE):
        raise UnsupportedFormat("not a place in a replicated log")
    try:
        return _decode_position(place[len(PLACE) :])
    except UNREADABLE as error:
        raise UnsupportedFormat(f"not a place in a replicated log ({error})") from None


def is_in(stream: Stream, place: Place) -> bool:
    """Whether a place is one in this log, and not in another one.

    Raises:
        UnsupportedFormat: it is not a place in a replicated log.
        LogUnavailable: no leader answered.
    """
    position = position_of(place)
    if not position.entries:
        return True
    message = stream.get(position.entries)
    return message is not None and message.endswith(LINK.pack(position.link))


class EntryReader:
    """Reads one message after the other, and holds each against the one before it."""

    def __init__(self, name: str, position: Position, pending: Pending | None = None) -> None:
        """Begin at a position; `pending` are the commands whose events are not recorded there."""
        self.name = name
        self.position = position
        self._pending = pending

    def copy(self) -> "EntryReader":
        """Another one at the same position."""
        return EntryReader(self.name, self.position, self._pending)

    def read(self, message: bytes) -> Batch | None:
        """The batch in the next message; None where that begins an epoch. O(bytes).

        Raises:
            LogDamaged: it does not follow the message before it, or is not ours.
            UnsupportedFormat: another version of the program wrote it.
        """
        before = self.position
        number = before.entries + 1
        try:
            entry = decode_entry(message)
            self._check_chain(entry)
            if entry.kind == EPOCH:
                decode_epoch(entry.body)
                self.position = before._replace(entries=number, link=entry.link, epoch=entry.epoch)
                return None
            body = decode_batch(entry.body)
        except BadEntry as error:
            raise damaged(self.name, before, str(error)) from None
        except UnsupportedFormat as error:
            raise UnsupportedFormat(f"{self.name}, entry {number}: {error}") from None
        outcomes = self._outcomes(body)
        if body.commands:
            self._pending = Pending(entry.first_sequence, entry.timestamp_ns, body.commands)
        elif body.outcomes_first < entry.first_sequence:
            self._pending = None
        self.position = Position(
            number, entry.link, entry.epoch, entry.first_sequence + len(body.commands),
            number if body.commands else before.pending if self._pending else 0,
        )  # fmt: skip
        return Batch(
            first_sequence=entry.first_sequence,
            timestamp_ns=entry.timestamp_ns,
            commands=body.commands,
            outcomes_first=body.outcomes_first,
            outcomes=outcomes,
            closed=body.closed,
            tag=body.tag,
            durable_sequence=before.next_sequence - 1,
            place=self.position.place,
            file=self.name,
            offset=number,
        )

    def _check_chain(self, entry: Entry) -> None:
        """See that the entry can come here.

        Raises:
            BadEntry: it cannot, and why.
        """
        before = self.position
        if entry.previous_link != before.link:
            raise BadEntry("it does not follow the entry before it")
        if entry.first_sequence != before.next_sequence:
            raise BadEntry(f"it begins at sequence {entry.first_sequence}")
        if entry.kind == EPOCH and entry.epoch != before.epoch + 1:
            raise BadEntry(f"it begins epoch {entry.epoch} after epoch {before.epoch}")
        if entry.kind == BATCH and entry.epoch != before.epoch:
            raise BadEntry(f"a writer of epoch {entry.epoch} in epoch {before.epoch}")

    def _outcomes(self, body: RawBatchBody) -> Outcomes:
        checksum = checksum_in(body.outcomes)
        if checksum is not None:
            return ChecksumOfOutcomes(checksum, body.outcomes_first)
        pending = self._pending or Pending(body.outcomes_first, 0, ())
        number = self.position.entries + 1
        return RecordedOutcomes(body.outcomes, body.outcomes_first, pending, self.name, number)


def damaged(name: str, before: Position, problem: str) -> LogDamaged:
    """What is wrong with the entry after a position."""
    return LogDamaged(f"{name}, entry {before.entries + 1}", 0, before.next_sequence, problem)


class ReplicatedEventLog(EventLog):
    """An `EventLog` on a stream. All calls come from one thread.

    Invariants
      1. Every entry is linked to the one before it.
      2. An entry has the epoch of the takeover before it; each takeover begins the next epoch.
      3. A writer appends right behind the last entry that it has read or written.
      4. After any exception but `BatchTooLarge` nothing is appended any more.
    """

    def __init__(self, stream: Stream, clock: Clock, node: str, nonce: int) -> None:
        """`node` and `nonce` say whose epochs begin; no other start of a node has this `nonce`."""
        self.torn: TornTail | None = None
        self._stream = stream
        self._clock = clock
        self._node = node
        self._nonce = nonce
        self._end: Position | None = None
        """Where the next entry goes, while this is the writer."""
        self._fetched: deque[bytes] = deque()
        self._fetched_after = 0
        """The messages that were fetched and not read yet, and how many are before them."""
        self._read_to = START, EntryReader(stream.name, Position())
        """The place of the last batch that was read, and its reader, which may be behind epochs."""

    # -- Reading ------------------------------------------------------------------------------

    def read(self, after: Place = START) -> Iterator[Batch]:
        reader = self._reader(after)
        self._read_to = after, reader
        while (message := self._next(reader.position.entries)) is not None:
            if (batch := self._read_with(reader, message)) is not None:
                self._read_to = batch.place, reader
                yield batch

    def _reader(self, after: Place) -> EntryReader:
        """A reader that goes on after a place; behind the epochs there, if they were read before.

        Raises:
            LogUnavailable: no leader answered.
        """
        place, reader = self._read_to
        if place == after:
            return reader.copy()
        position = position_of(after)
        if not position.pending:
            return EntryReader(self._stream.name, position)
        give_up = self._clock.monotonic() + PATIENCE_SECONDS
        while (message := self._stream.get(position.pending)) is None:  # a leader that was deposed
            if self._clock.monotonic() > give_up:
                raise damaged(self._stream.name, position, f"entry {position.pending} is missing")
            self._clock.sleep(RETRY_SECONDS)
        entry = decode_entry(message)
        commands = decode_batch(entry.body).commands
        pending = Pending(entry.first_sequence, entry.timestamp_ns, commands)
        return EntryReader(self._stream.name, position, pending)

    def _next(self, entries: int) -> bytes | None:
        """The message after so many; None if the leader has no more."""
        while not self._has(entries, 0.0):
            if self._stream.last() <= entries:
                return None
            self._fetched.extend(fetch(self._stream, entries, FETCH_SECONDS))
        self._fetched_after += 1
        return self._fetched.popleft()

    def _read_with(self, reader: EntryReader, message: bytes) -> Batch | None:
        """What a reader makes of the next message; if it is damaged, of the one of the leader."""
        try:
            return reader.read(message)
        except LogDamaged:
            self._fetched.clear()
            return reader.read(doubted(self._stream, reader.position.entries + 1, message))

    def grows(self, after: Place, seconds: float) -> bool:
        """Wait until there is an entry after a place, at most some seconds; whether there is."""
        place, reader = self._read_to
        position = reader.position if place == after else position_of(after)
        return self._has(position.entries, seconds)

    def _has(self, entries: int, seconds: float) -> bool:
        """Whether a message after so many was fetched, now or before."""
        if self._fetched_after != entries or not self._fetched:
            self._fetched = deque(self._stream.after(entries, seconds))
            self._fetched_after = entries
        return bool(self._fetched)

    def first_sequence(self) -> int:
        return 1

    def may_have_grown(self, after: Place) -> bool:
        return self._stream.last() > position_of(after).entries

    # -- Writing ------------------------------------------------------------------------------

    # --8<-- [start:start]
    def start(self, after: Place, witnessed: int = 0) -> None:
        reader = self._reader(after)
        if witnessed >= reader.position.next_sequence:
            raise damaged(
                self._stream.name, reader.position,
                f"the log ends here, but sequence {witnessed} is known to have been durable",
            )  # fmt: skip
        while (message := self._next(reader.position.entries)) is not None:
            if self._read_with(reader, message) is not None:
                raise Fenced(f"{self._stream.name}: the log goes on after this place")
        before = reader.position
        body = EpochBody(self._node, self._nonce, platform.python_version())
        self._put(before._replace(epoch=before.epoch + 1), EPOCH, 0, body)

    # --8<-- [end:start]

    def append(self, batch: Batch) -> None:
        end = self._writable()
        if batch.first_sequence != end.next_sequence:
            raise StoreError(
                f"{self._stream.name}: a batch from sequence {batch.first_sequence} cannot be "
                f"appended; the next one is {end.next_sequence}"
            )
        self._put(end, BATCH, batch.timestamp_ns, batch_body(batch), len(batch.commands))

    def _put(
        self,
        end: Position,
        kind: int,
        timestamp_ns: int,
        body: BatchBody | EpochBody,
        commands: int = 0,
    ) -> None:
        """Append an entry and remember where the next one goes."""
        message, link = encode_entry(
            kind, end.epoch, end.next_sequence, timestamp_ns, end.link, body
        )
        if len(message) > ENTRY_BYTES_MAX and commands > 1:
            raise BatchTooLarge(f"a batch of {len(message)} bytes; {ENTRY_BYTES_MAX} are allowed")
        self._end = None
        append(self._stream, [message], end.entries + 1, self._clock)
        self._end = end._replace(
            entries=end.entries + 1, link=link, next_sequence=end.next_sequence + commands
        )

    def _writable(self) -> Position:
        if self._end is None:
            raise StoreError(f"{self._stream.name}: this node is not the writer of the log")
        return self._end

    @property
    def position(self) -> Position:
        """Up to where this node has written the log, or else read it."""
        return self._end or self._read_to[1].position

    @property
    def epoch(self) -> int:
        """Of the writer that this is.

        Raises:
            StoreError: it was not started, or has stopped.
        """
        return self._writable().epoch

    def close(self) -> None:
        self._end = None
