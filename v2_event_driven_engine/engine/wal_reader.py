"""Reading the log back: every batch in order, or a precise word on what is wrong.

Three things may be found where the next batch should be:

- zeros to the end of the file: a clean end;
- something else in the last segment that no later batch vouches for: a **torn tail**, the remains
  of a batch whose sync never returned. Nobody was answered; it is reported and set aside;
- anything else: **damage** to acknowledged data. Reading stops with ``LogDamaged``.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ..errors import LogDamaged, UnsupportedFormat
from .storage import Storage
from .wal_format import (
    BATCH_MAGIC,
    FORMAT_VERSION,
    RULEBOOK_VERSION,
    SECTOR,
    SEGMENT_HEADER,
    BatchHeader,
    RawBody,
    SegmentHeader,
    decode_batch_header,
    decode_body,
    decode_segment_header,
)

SEGMENT_NAME = re.compile(r"events\.wal\.(\d{6,})")


def segment_name(number: int) -> str:
    """The file name of segment ``number``."""
    return f"events.wal.{number:06}"


class StoredBatch(NamedTuple):
    """A batch, and where it stands."""

    file: str
    offset: int
    header: BatchHeader
    body: RawBody


class Position(NamedTuple):
    """A place between two batches: all that is needed to go on reading, or writing, there."""

    segment: int
    segment_crc: int
    """The checksum of the segment's header."""
    offset: int
    link: int
    """Of the batch before, or the segment's header."""
    next_sequence: int
    timestamp_ns: int
    closed: bool
    """Whether the batch before sealed the log at a clean shutdown."""

    @property
    def end(self) -> int:
        """What the next segment says of the end of this one, if this is it."""
        return self.segment_crc << 32 | self.link


class TornTail(NamedTuple):
    """Bytes behind the last answered batch that no engine ever counted."""

    file: str
    offset: int
    length: int
    sequence: int


START = Position(
    segment=0, segment_crc=0, offset=0, link=0, next_sequence=1, timestamp_ns=0, closed=False
)


class LogReader:
    """Iterate over it for the batches; then ``position`` and ``torn`` tell the end.

    It changes nothing and may read while an engine is writing: what that has not finished writing
    looks like a torn tail. Memory: one segment.
    """

    def __init__(self, storage: Storage, start: Position = START) -> None:
        self.position = start
        """Behind the last batch that was given out."""
        self.torn: TornTail | None = None
        self._storage = storage
        self._numbers = segment_numbers(storage)

    def __iter__(self) -> Iterator[StoredBatch]:
        numbers = [number for number in self._numbers if number >= self.position.segment]
        if not numbers and self.position.segment:
            raise self._damaged("the segment is missing")
        for expected, number in enumerate(numbers, self.position.segment or 1):
            if number != expected:
                raise LogDamaged(
                    segment_name(expected), 0, self.position.next_sequence, "the segment is missing"
                )
        for number in numbers:
            yield from self._segment(number, last=number == numbers[-1])

    def _segment(self, number: int, *, last: bool) -> Iterator[StoredBatch]:
        name = segment_name(number)
        if number != self.position.segment:
            header = self._enter(number)
        else:
            header = self._segment_header(number)
            if header.crc != self.position.segment_crc:
                raise self._damaged("this is not the segment that the snapshot was made from")
            if self._storage.size(name) < self.position.offset:
                raise self._damaged("the file ends before this place, where a snapshot was made")
        successor = None if last else self._segment_header(number + 1).previous
        base = self.position.offset
        data = self._storage.read(name, base)
        while self.position.end != successor:
            at = self.position.offset - base
            batch_header = decode_batch_header(data, at, header.salt)
            if batch_header is None:
                if not last:
                    raise self._damaged("a batch is damaged, or the next segment does not follow")
                if (damage := self._end_of_log(data[at:], header)) is None:
                    break
                # What was read might mix the moments before and after an engine's write.
                base, data = self.position.offset, self._storage.read(name, self.position.offset)
                if decode_batch_header(data, 0, header.salt) is None:
                    raise damage
                continue
            batch = self._batch(name, data, at, batch_header)
            self.position = self.position._replace(
                offset=self.position.offset + batch_header.size,
                link=batch_header.link,
                next_sequence=batch_header.last_sequence + 1,
                timestamp_ns=batch_header.timestamp_ns,
                closed=batch.body.closed,
            )
            yield batch

    def _enter(self, number: int) -> SegmentHeader:
        """Go from the end of one segment to the first batch of the next."""
        header = self._segment_header(number)
        end = self.position.end
        self.position = self.position._replace(
            segment=number, segment_crc=header.crc, offset=0, link=header.crc, closed=False
        )
        if header.base_sequence != self.position.next_sequence:
            raise self._damaged(f"the segment begins at sequence {header.base_sequence}")
        if header.previous != end:
            raise self._damaged("the segment does not follow the one before it")
        self.position = self.position._replace(offset=SEGMENT_HEADER.size)
        return header

    def _segment_header(self, number: int) -> SegmentHeader:
        name = segment_name(number)
        header = decode_segment_header(self._storage.read(name, 0, SEGMENT_HEADER.size))
        if header is None or header.number != number:
            raise LogDamaged(name, 0, self.position.next_sequence, "the segment header is damaged")
        if header.format_version != FORMAT_VERSION or header.rulebook_version != RULEBOOK_VERSION:
            raise UnsupportedFormat(
                f"{name}: written with format {header.format_version}, rulebook "
                f"{header.rulebook_version}; this program knows format {FORMAT_VERSION}, rulebook "
                f"{RULEBOOK_VERSION}: open it with the version that wrote it"
            )
        return header

    def _batch(self, name: str, data: bytes, at: int, header: BatchHeader) -> StoredBatch:
        """The batch behind a header with good checksums, if it belongs here."""
        position = self.position
        if header.previous_link != position.link:
            raise self._damaged("a batch is missing, doubled or swapped")
        if header.first_sequence != position.next_sequence:
            raise self._damaged(f"a batch begins at sequence {header.first_sequence}")
        if header.durable_sequence >= header.first_sequence:
            raise self._damaged("a batch vouches for itself")
        if header.timestamp_ns < position.timestamp_ns:
            raise self._damaged("time goes backwards")
        if position.closed:
            raise self._damaged("a batch follows the seal of a clean shutdown")
        try:
            body = decode_body(data, at, header)
        except msgspec.DecodeError as error:
            raise UnsupportedFormat(
                f"{name}: byte {position.offset}, sequence {position.next_sequence}: the "
                f"checksum is good but the record is unknown ({error}): open it with the version "
                f"that wrote it"
            ) from None
        if len(body.commands) != header.command_count:
            raise self._damaged("a batch holds another number of commands than it says")
        return StoredBatch(name, position.offset, header, body)

    def _end_of_log(self, rest: bytes, header: SegmentHeader) -> LogDamaged | None:
        """Judge what stands where the next batch of the last segment should be."""
        position = self.position
        for later in _later_batches(rest, header.salt):
            if later.durable_sequence >= position.next_sequence:
                return self._damaged(
                    f"a batch is damaged, and a later one vouches for it (up to sequence "
                    f"{later.durable_sequence})"
                )
        size = position.offset + len(rest)
        if not position.closed and size < header.size:
            return self._damaged(f"the file was cut to {size} of {header.size} bytes")
        if not rest.strip(b"\0"):
            return None
        name = segment_name(header.number)
        self.torn = TornTail(name, position.offset, len(rest.rstrip(b"\0")), position.next_sequence)
        return None

    def _damaged(self, problem: str) -> LogDamaged:
        position = self.position
        return LogDamaged(
            segment_name(position.segment), position.offset, position.next_sequence, problem
        )


def segment_numbers(storage: Storage) -> list[int]:
    """The numbers of all segments in the directory, ascending."""
    matches = (SEGMENT_NAME.fullmatch(name) for name in storage.names())
    return sorted(int(match[1]) for match in matches if match)


def anything_behind(storage: Storage, position: Position) -> bool:
    """Whether the log may go on behind ``position``: a quick look, for those who wait for more."""
    return [position.segment] != segment_numbers(storage)[-1:] or storage.read(
        segment_name(position.segment), position.offset, 4
    ).strip(b"\0") != b""


def _later_batches(rest: bytes, salt: int) -> Iterator[BatchHeader]:
    """Every whole batch of this generation in ``rest``, but for its very beginning. O(bytes)."""
    magic = (BATCH_MAGIC ^ salt).to_bytes(4, "little")
    found = rest.find(magic, 1)
    while found >= 0:
        if found % SECTOR == 0:
            header = decode_batch_header(rest, found, salt)
            if header is not None:
                yield header
        found = rest.find(magic, found + 1)
