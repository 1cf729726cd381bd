"""Reading the log in files: every batch in order, or a precise error that says what is wrong.

Three things may be found where the next batch should be:

- zeros to the end of the file: a clean end;
- something else in the last segment that no later batch vouches for: a **torn tail**, the remains
  of a batch whose sync never returned. None of its commands was answered; it is reported, and kept
  aside by the next start;
- anything else: **damage** to acknowledged data. Reading stops with `LogDamaged`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ...errors import LogDamaged, UnsupportedFormat
from ..event_log import START, Batch, Place, TornTail
from .format import (
    BATCH_BYTES_MAX,
    BATCH_MAGIC,
    DECODERS,
    SECTOR,
    SEGMENT_BYTES_MAX,
    SEGMENT_HEADER,
    UNREADABLE,
    BatchHeader,
    Pending,
    RawBody,
    RecordedOutcomes,
    SegmentHeader,
    batch_header_at,
    check_rulebook,
    decode_batch_header,
    decode_body,
    decode_segment_header,
)
from .storage import Storage

WINDOW_BYTES = 1024 * 1024
NOTHING = bytes(4)
"""What is there before a batch is written: its magic number is not 0."""
SEGMENT_NAME = re.compile(r"events\.wal\.(\d{6,})")


def segment_name(number: int) -> str:
    """The file name of segment `number`."""
    return f"events.wal.{number:06}"


class Position(NamedTuple):
    """A place between two batches: all that is needed to go on reading, or writing, there."""

    segment: int = 0
    """0: before the first segment."""
    segment_crc: int = 0
    """The checksum of the segment's header."""
    offset: int = 0
    link: int = 0
    """Of the batch before, or the segment's header."""
    next_sequence: int = 1
    timestamp_ns: int = 0
    closed: bool = False
    """Whether the batch before closed the log at a clean shutdown."""

    @property
    def end(self) -> int:
        """What the next segment says of the end of this one, if this is it."""
        return self.segment_crc << 32 | self.link

    @property
    def place(self) -> Place:
        """The position as others keep it."""
        return Place(msgspec.msgpack.encode(self))


_position_decoder = msgspec.msgpack.Decoder(Position)


def position_of(place: Place) -> Position:
    """The position that a place stands for.

    Raises:
        UnsupportedFormat: this is not a place in a log in files.
    """
    if place == START:
        return Position()
    try:
        return _position_decoder.decode(place)
    except UNREADABLE as error:
        raise UnsupportedFormat(f"not a place in a log of files ({error})") from None


class Window:
    """The part of a segment's file that is in memory; it moves along with its reader.

    Memory: `WINDOW_BYTES`, or one batch where that has more.
    """

    def __init__(self, storage: Storage, segment: SegmentHeader) -> None:
        self._storage = storage
        self._name = segment_name(segment.number)
        self._salt = segment.salt
        self._version = segment.format_version
        self._base = 0
        self._data = b""

    def batch(self, offset: int) -> BatchHeader | None:
        """The header at `offset` if a whole, undamaged batch starts there."""
        if offset >= self._base:
            header = decode_batch_header(self._data, offset - self._base, self._salt)
            if header is not None:
                return header
        return self.batch_again(offset)

    def batch_again(self, offset: int) -> BatchHeader | None:
        """As `batch`, and what is in memory is not trusted: the file is read again."""
        self._base, self._data = offset, self._storage.read(self._name, offset, WINDOW_BYTES)
        header = batch_header_at(self._data, 0, self._salt)
        if header is None or header.size > BATCH_BYTES_MAX:
            return None
        if header.size > len(self._data) and self._storage.size(self._name) - offset >= header.size:
            self._data = self._storage.read(self._name, offset, header.size)
        return decode_batch_header(self._data, 0, self._salt)

    def body(self, offset: int, header: BatchHeader) -> RawBody:
        """The body of the batch that `batch` has just found at `offset`.

        Raises:
            UNREADABLE: see `decode_body`.
        """
        return decode_body(self._data, offset - self._base, header, self._version)


class Memo(NamedTuple):
    """What a reader knows at the place where it stopped, so that it can go on there at once."""

    position: Position
    pending: Pending | None


class LogReader:
    """Iterate over it for the batches; then `position`, `torn` and `pending` say how the log ends.

    It changes nothing and may read while an engine is writing: what that has not finished writing
    looks like a torn tail. Memory: a `Window`.

    Where it does not begin with the first command, it checks of the segments before only that they
    are there, whole and in a row; of the segment in which it begins, every byte.

    Given the `memo` of an earlier reader, it goes on where that stopped, and checks nothing again.
    Where zeros follow the last batch it waits for more, and does not look beyond them: that is for
    those who follow a live engine.
    """

    def __init__(
        self, storage: Storage, start: Position | None = None, memo: Memo | None = None
    ) -> None:
        self.position = start or Position()
        self.torn: TornTail | None = None
        self.pending: Pending | None = None
        """The commands of the last batch, if their outcomes are not recorded yet."""
        self._unmarked: Memo | None = None
        """The end of the last segment but one, where its mark is still to be written."""
        self._storage = storage
        self._known = memo is not None and memo.position == self.position
        self._numbers = self._last_segment() or segment_numbers(storage)
        if memo is not None and self._known:
            self.pending = memo.pending

    def _last_segment(self) -> list[int]:
        """Of a position that is known, the segment, if there is none after it yet."""
        number = self.position.segment
        if not self._known or not self._storage.size(segment_name(number)):
            return []
        return [] if self._storage.size(segment_name(number + 1)) else [number]

    @property
    def memo(self) -> Memo:
        """What it knows at its position, or before a mark that is still to be read."""
        return self._unmarked or Memo(self.position, self.pending)

    def __iter__(self) -> Iterator[Batch]:
        if self.position.segment and not self._known:
            self._check_before()
        self._check_row()
        number = self.position.segment or 1
        while number in self._numbers:
            yield from self._segment(number)
            number += 1

    def _check_row(self) -> None:
        """See that no segment is missing from the position on."""
        numbers = [number for number in self._numbers if number >= self.position.segment]
        if not numbers and self.position.segment:
            raise self._damaged("the segment is missing")
        self._check_dense(numbers, self.position.segment or 1)

    def _check_dense(self, numbers: list[int], first: int) -> None:
        """See that these segments are in a row from `first` on."""
        for expected, number in enumerate(numbers, first):
            if number != expected:
                raise LogDamaged(
                    segment_name(expected), 0, self.position.next_sequence, "the segment is missing"
                )

    def _check_before(self) -> None:
        """Look whether the segments before are there, large enough, and lead to this one."""
        before = [number for number in self._numbers if number <= self.position.segment]
        header: SegmentHeader | None = None
        self._check_dense(before, before[0] if before else 0)
        for number in before:
            previous, header = header, self.segment_header(number)
            if previous is not None:
                name = segment_name(number - 1)
                if header.previous >> 32 != previous.crc:
                    raise LogDamaged(
                        segment_name(number), 0, header.base_sequence,
                        "the segment does not follow the one before it",
                    )  # fmt: skip
                if self._storage.size(name) < header.previous_end:
                    raise LogDamaged(
                        name, self._storage.size(name), header.base_sequence,
                        f"the file was cut; it had {header.previous_end} bytes",
                    )  # fmt: skip

    def _follower(self, number: int) -> SegmentHeader | None:
        """The header of the segment after `number`; None if that is the last one."""
        return self.segment_header(number + 1) if number < self._numbers[-1] else None

    def _segment(self, number: int) -> Iterator[Batch]:
        name = segment_name(number)
        if (size := self._storage.size(name)) > SEGMENT_BYTES_MAX:
            raise LogDamaged(
                name, SEGMENT_BYTES_MAX, self.position.next_sequence,
                f"the file has {size} bytes; a segment never has more than {SEGMENT_BYTES_MAX}",
            )  # fmt: skip
        if number != self.position.segment:
            header = self._enter(number)
        else:
            header = self.segment_header(number)
            if header.crc != self.position.segment_crc:
                raise self._damaged("this is not the segment that the snapshot was made from")
            if size < self.position.offset:
                raise self._damaged("the file ends before this place, where a snapshot was made")
            if not self._known:
                self._scan(name, header)
        window = Window(self._storage, header)
        follower = self._follower(number)
        while follower is None or self.position.end != follower.previous:
            batch_header = window.batch(self.position.offset)
            if batch_header is None:
                if (
                    self._known
                    and follower is None
                    and not _is_written(self._storage, number, self.position.offset)
                ):
                    return
                if follower is not None:
                    raise self._damaged("a batch is damaged, or the next segment does not follow")
                if (damage := self._end_of_log(header)) is None:
                    return
                # What was read may be partly from before and partly from after an engine's write.
                batch_header = window.batch_again(self.position.offset)
                if batch_header is None:
                    raise damage
            if self._unmarked is not None:
                return  # an engine has just begun to write here, and what the mark has comes first
            body = self._body(window, batch_header)
            if body.successor:
                if follower is not None:
                    raise self._damaged("a batch is missing, or the next segment does not follow")
                # An engine may have begun the next segment since this reader looked.
                self._numbers = segment_numbers(self._storage)
                self._check_row()
                follower = self._follower(number)
                if follower is None:
                    raise LogDamaged(
                        segment_name(number + 1), 0, self.position.next_sequence,
                        f"the segment is missing: {name} says that the log goes on there",
                    )  # fmt: skip
                continue
            yield self._batch(batch_header, body, header)
        if follower is not None and header.format_version > 1:
            yield from self._mark(window, header, follower)

    def _mark(
        self, window: Window, header: SegmentHeader, follower: SegmentHeader
    ) -> Iterator[Batch]:
        """Look for the mark of continuation at the end of a finished segment."""
        end = self.position
        batch_header = window.batch(end.offset)
        if batch_header is None or batch_header.previous_link != end.link:
            # An engine may have written it since. It does so before it writes in the next segment,
            # so that one is looked at first.
            empty = self._is_empty(follower)
            batch_header = window.batch_again(end.offset)
            if batch_header is None or batch_header.previous_link != end.link:
                if not empty:
                    raise self._damaged(
                        "the mark that the log goes on in the next segment is missing"
                    )
                self._unmarked = Memo(end, self.pending)
                return
        body = self._body(window, batch_header)
        if body.successor != follower.generation:
            raise LogDamaged(
                segment_name(follower.number), 0, end.next_sequence,
                "this is not the segment that the one before it names: is it from a copy?",
            )  # fmt: skip
        batch = self._batch(batch_header, body, header)
        self.position = end
        if len(batch.outcomes):
            entered = end._replace(
                segment=follower.number, segment_crc=follower.crc, offset=SEGMENT_HEADER.size,
                link=follower.crc, closed=False,
            )  # fmt: skip
            yield replace(batch, place=entered.place)

    def _is_empty(self, header: SegmentHeader) -> bool:
        """Whether this is the last segment and nothing was ever appended to it."""
        data = self._storage.read(segment_name(header.number), SEGMENT_HEADER.size, SECTOR)
        return header.number == self._numbers[-1] and not batch_header_at(data, 0, header.salt)

    def _scan(self, name: str, segment: SegmentHeader) -> None:
        """Check what is before the position in its segment, and remember the last commands."""
        window = Window(self._storage, segment)
        at, link = SEGMENT_HEADER.size, segment.crc
        told = self.position.next_sequence, self.position.timestamp_ns, self.position.closed
        known = segment.base_sequence, self.position.timestamp_ns, False
        while at < self.position.offset:
            header = window.batch(at)
            if header is None or header.previous_link != link:
                raise LogDamaged(
                    name, at, segment.base_sequence, "a batch before a snapshot's place is damaged"
                )
            if at + header.size == self.position.offset:
                body = self._decoded(window, at, header)
                known = header.last_sequence + 1, header.timestamp_ns, body.closed
                if body.commands:
                    self.pending = Pending(
                        header.first_sequence, header.timestamp_ns, body.commands
                    )
            at, link = at + header.size, header.link
        if (at, link) != (self.position.offset, self.position.link):
            raise self._damaged("no batch ends at this place, where a snapshot was made")
        if told != known:
            raise self._damaged("a snapshot was made here, of another sequence or time")

    def _enter(self, number: int) -> SegmentHeader:
        """Go from the end of one segment to the first batch of the next."""
        header = self.segment_header(number)
        end, offset = self.position.end, self.position.offset
        self.position = self.position._replace(
            segment=number, segment_crc=header.crc, offset=0, link=header.crc, closed=False
        )
        if header.base_sequence != self.position.next_sequence:
            raise self._damaged(f"the segment begins at sequence {header.base_sequence}")
        says_where = header.format_version > 1
        if header.previous != end or (says_where and header.previous_end != offset):
            raise self._damaged("the segment does not follow the one before it")
        self.position = self.position._replace(offset=SEGMENT_HEADER.size)
        return header

    def segment_header(self, number: int) -> SegmentHeader:
        name = segment_name(number)
        header = decode_segment_header(self._storage.read(name, 0, SEGMENT_HEADER.size))
        if header is None or header.number != number:
            raise LogDamaged(name, 0, self.position.next_sequence, "the segment header is damaged")
        if header.format_version not in DECODERS:
            known = ", ".join(map(str, DECODERS))
            raise UnsupportedFormat(
                f"{name}: written with format {header.format_version}; this program knows format "
                f"{known}: open it with the version that wrote it"
            )
        check_rulebook(name, header.rulebook_version)
        return header

    def _body(self, window: Window, header: BatchHeader) -> RawBody:
        """The body of a batch with good checksums, if it belongs here."""
        position = self.position
        if header.previous_link != position.link:
            raise self._damaged("a batch is missing, doubled or swapped")
        if header.first_sequence != position.next_sequence:
            raise self._damaged(f"a batch begins at sequence {header.first_sequence}")
        if header.durable_sequence >= header.first_sequence:
            raise self._damaged("a batch vouches for itself")
        if header.timestamp_ns < position.timestamp_ns:
            raise self._damaged("time goes backwards")
        body = self._decoded(window, position.offset, header)
        if len(body.commands) != header.command_count:
            raise self._damaged("a batch holds another number of commands than it says")
        if position.closed and not body.successor:
            raise self._damaged("a batch follows the seal of a clean shutdown")
        return body

    def _decoded(self, window: Window, offset: int, header: BatchHeader) -> RawBody:
        try:
            return window.body(offset, header)
        except UNREADABLE as error:
            raise UnsupportedFormat(
                f"{segment_name(self.position.segment)}: byte {offset}, sequence "
                f"{header.first_sequence}: the checksum is good but the record is unknown "
                f"({error}): open it with the version that wrote it"
            ) from None

    def _batch(self, header: BatchHeader, body: RawBody, segment: SegmentHeader) -> Batch:
        """The batch; go on after it."""
        position = self.position
        name = segment_name(segment.number)
        short = segment.format_version > 1 and body.outcomes_first >= segment.base_sequence
        outcomes = RecordedOutcomes(
            body.outcomes, body.outcomes_first, self.pending if short else None, name,
            position.offset,
        )  # fmt: skip
        self.pending = None
        if body.commands:
            self.pending = Pending(header.first_sequence, header.timestamp_ns, body.commands)
        self.position = position._replace(
            offset=position.offset + header.size,
            link=header.link,
            next_sequence=header.last_sequence + 1,
            timestamp_ns=header.timestamp_ns,
            closed=body.closed,
        )
        return Batch(
            first_sequence=header.first_sequence,
            timestamp_ns=header.timestamp_ns,
            commands=body.commands,
            outcomes_first=body.outcomes_first,
            outcomes=outcomes,
            closed=body.closed,
            tag=body.tag,
            durable_sequence=header.durable_sequence,
            place=self.position.place,
            file=name,
            offset=position.offset,
        )

    # --8<-- [start:end_of_log]
    def _end_of_log(self, header: SegmentHeader) -> LogDamaged | None:
        """Judge what is found where the next batch of the last segment should be. O(bytes)."""
        position = self.position
        name = segment_name(header.number)
        size = end = position.offset
        after = position.offset
        """Where the last batch that was found ends, whole or not."""
        while piece := self._storage.read(name, size, WINDOW_BYTES):
            for at, later in self._headers_in(piece, size, header):
                # Where each claims the bytes of others, to check them all takes quadratic time.
                if at < after:
                    return self._damaged("after it batches overlap: no engine has written them")
                after = at + later.size
                if not self._is_whole(piece, size, at, later, header):
                    continue
                # In format 1 a batch of events alone was not synced: only what vouches, or has
                # commands that follow those before the damage, proves that something durable is
                # damaged.
                if (
                    header.format_version > 1
                    or later.durable_sequence >= position.next_sequence
                    or (later.command_count and later.first_sequence == position.next_sequence)
                ):
                    return self._damaged(
                        f"a batch is damaged, and a later one vouches for it (up to sequence "
                        f"{max(later.durable_sequence, later.first_sequence - 1)})"
                    )
            if (length := len(piece.rstrip(b"\0"))) > 0:
                end = size + length
            size += len(piece)
        if not position.closed and size < header.size:
            return self._damaged(f"the file was cut to {size} of {header.size} bytes")
        # An engine makes the next segment, and then writes here that it did.
        goes_on = self._storage.size(segment_name(header.number + 1)) > 0
        if end > position.offset and position.closed and header.format_version > 1 and not goes_on:
            return self._damaged(
                "something follows the seal of a clean shutdown, which is only ever the mark that "
                "the log goes on in a next segment; that one is missing"
            )
        if end > position.offset:
            self.torn = TornTail(
                name, position.offset, end - position.offset, position.next_sequence
            )
        return None

    # --8<-- [end:end_of_log]

    def _headers_in(
        self, piece: bytes, begin: int, segment: SegmentHeader
    ) -> Iterator[tuple[int, BatchHeader]]:
        """Every good header after the position, in a piece read from `begin` on, and its place."""
        magic = (BATCH_MAGIC ^ segment.salt).to_bytes(4, "little")
        found = piece.find(magic)
        while found >= 0:
            if (
                found % SECTOR == 0
                and begin + found > self.position.offset
                and (header := batch_header_at(piece, found, segment.salt)) is not None
                and header.size <= BATCH_BYTES_MAX
            ):
                yield begin + found, header
            found = piece.find(magic, found + 1)

    def _is_whole(
        self, piece: bytes, begin: int, at: int, header: BatchHeader, segment: SegmentHeader
    ) -> bool:
        """Whether the batch with this header at `at` is whole and undamaged. O(bytes of it)."""
        offset = at - begin
        if offset + header.size > len(piece):
            name = segment_name(segment.number)
            if at + header.size > self._storage.size(name):
                return False
            piece, offset = self._storage.read(name, at, header.size), 0
        return decode_batch_header(piece, offset, segment.salt) is not None

    def _damaged(self, problem: str) -> LogDamaged:
        position = self.position
        return LogDamaged(
            segment_name(position.segment), position.offset, position.next_sequence, problem
        )


def segment_numbers(storage: Storage) -> list[int]:
    """The numbers of all segments in the directory, ascending.

    A directory is listed piece by piece: beside a writer, of two new names only the later one may
    be seen. So where a number is missing, it is listed again.
    """
    numbers = _listed(storage)
    while numbers and len(numbers) <= numbers[-1] - numbers[0]:
        again = _listed(storage)
        if again == numbers:
            break
        numbers = again
    return numbers


def _listed(storage: Storage) -> list[int]:
    matches = (SEGMENT_NAME.fullmatch(name) for name in storage.names())
    return sorted(int(match[1]) for match in matches if match)


def first_sequence(storage: Storage) -> int:
    """The sequence that the oldest segment begins with; 1 without a segment."""
    numbers = segment_numbers(storage)
    if not numbers or numbers[0] == 1:
        return 1
    return LogReader(storage).segment_header(numbers[0]).base_sequence


def may_have_grown(storage: Storage, position: Position) -> bool:
    """Whether there may be a batch after `position`: a quick look at the four bytes where it, or
    the first one of the next segment, would begin. Directories are not listed."""
    if not position.segment:
        return bool(segment_numbers(storage))
    if storage.size(segment_name(position.segment)) < position.offset:
        return True  # whoever reads says what is wrong
    return _is_written(storage, position.segment, position.offset) or _is_written(
        storage, position.segment + 1, SEGMENT_HEADER.size
    )


def _is_written(storage: Storage, segment: int, offset: int) -> bool:
    """Whether anything but zeros is where a batch would begin."""
    name = segment_name(segment)
    return storage.size(name) > offset and storage.read(name, offset, len(NOTHING)) != NOTHING
