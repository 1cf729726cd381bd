"""The log in files: `EventLog` over a directory of segments.

The order of things is the promise: `append` returns once the commands are durable, and they may not
be applied or answered before. The bytes are drawn in `log/format.py`; what is found when they are
read back is judged in `log/reader.py`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from ..errors import BatchTooLarge, LogDamaged, StoreError
from .event_log import START, Batch, EventLog, Place, TornTail
from .log import reader
from .log.format import (
    BATCH_BYTES_MAX,
    BATCH_HEADER,
    FORMAT_VERSION,
    RULEBOOK_VERSION,
    SEGMENT_BYTES_MAX,
    SEGMENT_HEADER,
    Body,
    SegmentHeader,
    decode_segment_header,
    encode_batch,
    encode_segment_header,
    shortened,
)
from .log.reader import LogReader, Memo, Position, Window, position_of, segment_name
from .log.storage import Storage, StorageFile, copy_bytes, new_file

SEGMENT_BYTES = 16 * 1024 * 1024
MOST_SEGMENT_BYTES = SEGMENT_BYTES_MAX - 2 * BATCH_BYTES_MAX
"""The most that can be asked for: a large batch and a mark of continuation may come on top."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""The most that one batch may take. A batch of one command may be larger: its size, and that of the
outcomes recorded with it, is whatever the commands before it have caused."""
UNFINISHED = "events.wal.new"
TORN = ".torn"
"""How the name ends of a file with what was torn off the end of a segment."""
ZEROS = bytes(1024 * 1024)


class Finished(NamedTuple):
    """A segment that the log has left, and whose mark of continuation is still to be written."""

    file: StorageFile
    header: SegmentHeader
    end: int
    link: int


class WalEventStore(EventLog):
    """The write-ahead log in files, both ends.

    Invariants
      1. One write and one fdatasync a batch; the next batch is not written before that returned.
      2. `durable_sequence` only ever rises, and only after a sync.
      3. A segment that was found is never appended to, except for one in which nothing was ever
         written: every start opens a new segment, of a new generation, whose header says where the
         one before ends.
      4. A segment is zero-filled and synced before its first batch, so appends neither grow a file
         nor run out of disk in the middle of a batch.
      5. Before a segment gets its first batch, the one before it is durably marked as finished.
      6. After any exception but `BatchTooLarge` the log is left as it is; the object must not be
         used again.
    """

    def __init__(self, storage: Storage, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """The log in `storage`, to be read; `start` opens it for writing."""
        self.torn: TornTail | None = None
        self._storage = storage
        self._segment_bytes = segment_bytes
        self._stopped: tuple[Place, Memo] | None = None
        """After which batch the last reading ended, and what its reader knew there."""
        self._buffer = bytearray()
        self._file: StorageFile | None = None
        self._finished: Finished | None = None
        self._header: SegmentHeader
        self._next_sequence = 0  # until it is started
        self._number = 0
        self._offset = 0
        self.durable_sequence = 0

    # -- Reading ------------------------------------------------------------------------------

    def read(self, after: Place = START) -> Iterator[Batch]:
        memo = self._memo(after)
        found = LogReader(self._storage, memo.position if memo else position_of(after), memo)
        place = after
        for batch in found:
            place = batch.place
            yield batch
        self.torn = found.torn
        self._stopped = place, found.memo

    def _memo(self, after: Place) -> Memo | None:
        if self._stopped is not None and self._stopped[0] == after:
            return self._stopped[1]
        return None

    def first_sequence(self) -> int:
        return reader.first_sequence(self._storage)

    def may_have_grown(self, after: Place) -> bool:
        memo = self._memo(after)
        return reader.may_have_grown(self._storage, memo.position if memo else position_of(after))

    def files(self) -> dict[str, int]:
        """The files that the log is in, archived ones too, oldest first, and their bytes."""
        names = map(segment_name, reader.segment_numbers(self._storage))
        return {name: self._storage.size(name) for name in names}

    def archive_before(self, place: Place) -> list[str]:
        """Move the files that end before `place` into `archive/`, and return their names.

        They are still part of the log: reading finds them there.
        """
        needed = position_of(place).segment
        names = [segment_name(n) for n in reader.segment_numbers(self._storage) if n < needed]
        return [name for name in names if self._storage.archive(name)]

    # -- Writing ------------------------------------------------------------------------------

    def start(self, after: Place, witnessed: int = 0) -> None:
        found = LogReader(self._storage, position_of(after))
        for batch in found:
            raise StoreError(f"{batch.file}: byte {batch.offset}: the log goes on after this place")
        self.torn = found.torn
        position = found.position
        if witnessed >= position.next_sequence:
            raise LogDamaged(
                segment_name(max(position.segment, 1)), position.offset, position.next_sequence,
                f"the log ends here, but sequence {witnessed} is known to have been durable",
            )  # fmt: skip
        self._next_sequence = position.next_sequence
        self.durable_sequence = position.next_sequence - 1
        self._number = position.segment
        if not position.segment:
            self._open_segment(None)
            return
        header = LogReader(self._storage).segment_header(position.segment)
        # Then the one before it may still lack its mark, so this one must be gone on with.
        is_empty = (
            position.offset == SEGMENT_HEADER.size
            and header.format_version == FORMAT_VERSION
            and header.rulebook_version == RULEBOOK_VERSION
        )
        size = header.size if is_empty or not position.closed else position.offset
        if not is_empty or self.torn or self._storage.size(segment_name(header.number)) != size:
            self._rewrite_last_segment(position, size)
        if is_empty:
            self._take_up(header)
        else:
            file = self._storage.open(segment_name(position.segment))
            self._open_segment(Finished(file, header, position.offset, position.link))

    def append(self, batch: Batch) -> None:
        if batch.first_sequence != self._next_sequence:
            raise StoreError(
                f"a batch from sequence {batch.first_sequence} cannot be appended; the next one "
                f"is {self._next_sequence}"
            )
        buffer = self._buffer
        link = self._encode(batch)
        if len(buffer) > MAX_BATCH_BYTES and len(batch.commands) > 1:
            raise BatchTooLarge(f"a batch of {len(buffer)} bytes; {MAX_BATCH_BYTES} are allowed")
        if len(buffer) > BATCH_BYTES_MAX:
            raise StoreError(f"a command whose batch has {len(buffer)} bytes: nobody could read it")
        while self._finished is not None or self._offset + len(buffer) > self._header.size:
            if self._finished is not None:
                batch = self._mark(self._finished, batch)
            else:
                self._rotate(len(buffer))
            link = self._encode(batch)
        file = self._file
        assert file is not None, "a log that is written was started"
        file.write_at(self._offset, buffer)
        file.sync()
        file.check_name(segment_name(self._number))  # else nobody will ever read it
        self._offset += len(buffer)
        self._link = link
        self._next_sequence += len(batch.commands)
        self.durable_sequence = self._next_sequence - 1
        if batch.closed:
            file.truncate(self._offset)  # give the unused zeros back

    def close(self) -> None:
        file, self._file = self._file, None
        finished, self._finished = self._finished, None
        if file is not None:
            file.close()
        if finished is not None:
            finished.file.close()

    def _encode(self, batch: Batch) -> int:
        """The batch as bytes of the present segment, in the buffer; its link."""
        return self._encode_for(self._header, self._link, batch, 0)

    def _encode_for(self, header: SegmentHeader, link: int, batch: Batch, successor: int) -> int:
        own = batch.outcomes_first >= header.base_sequence
        outcomes = shortened(batch.outcomes) if own else batch.outcomes
        body = Body(
            batch.commands, batch.outcomes_first, outcomes, batch.closed, successor, batch.tag
        )
        return encode_batch(
            self._buffer, header.salt, batch.first_sequence, self.durable_sequence,
            batch.timestamp_ns, link, body,
        )  # fmt: skip

    # -- Segments -----------------------------------------------------------------------------

    def _mark(self, finished: Finished, batch: Batch) -> Batch:
        """Write the mark of continuation; the batch without the outcomes, which go with the mark.

        They are of commands in that segment, so it has all that is needed to read them.
        """
        mark = Batch(
            first_sequence=batch.first_sequence,
            timestamp_ns=batch.timestamp_ns,
            commands=(),
            outcomes_first=batch.outcomes_first,
            outcomes=batch.outcomes,
        )
        self._encode_for(finished.header, finished.link, mark, self._header.generation)
        finished.file.write_at(finished.end, self._buffer)
        finished.file.sync()
        finished.file.check_name(segment_name(finished.header.number))
        finished.file.truncate(finished.end + len(self._buffer))
        self._finished = None
        finished.file.close()
        return replace(batch, outcomes=(), outcomes_first=batch.first_sequence)

    def _take_up(self, header: SegmentHeader) -> None:
        """Go on in the last segment, in which nothing was ever written.

        Its predecessor may lack its mark, or have it in memory only; so may the directory its name.
        """
        self._storage.sync_directory()
        self._file = self._storage.open(segment_name(header.number))
        self._header = header
        self._link = header.crc
        self._offset = SEGMENT_HEADER.size
        if header.number not in reader.segment_numbers(self._storage)[1:]:
            return  # there is none before it
        before = LogReader(self._storage).segment_header(header.number - 1)
        if before.format_version < 2:
            return
        name = segment_name(before.number)
        end, link = header.previous_end, header.previous & 0xFFFFFFFF
        mark = Window(self._storage, before).batch(end)
        self._finished = Finished(self._storage.open(name), before, end, link)
        if mark is None or mark.previous_link != link:
            return
        copy_bytes(self._storage, name, end, end + mark.size, self._finished.file, end)
        self._finished.file.sync()
        self._finished.file.close()
        self._finished = None

    def _rewrite_last_segment(self, position: Position, size: int) -> None:
        """Make durable what has just been read, and keep a torn tail aside.

        What a read shows may come from memory only: written and never synced when the engine was
        killed, or left there by a sync that failed, after which a second sync of the same file may
        report success and do nothing. So the segment is written again, to a new file, which then
        takes its name.
        """
        name = segment_name(position.segment)
        if self.torn is not None:
            end = position.offset + self.torn.length
            self._copy(name, position.offset, end, f"{name}{TORN}")
        self._copy(name, 0, position.offset, name, size)

    def _copy(self, name: str, begin: int, end: int, new_name: str, size: int = 0) -> None:
        """A part of a file, filled with zeros up to `size`, as a new one.

        It gets its name once it is whole and durable.
        """
        with new_file(self._storage, UNFINISHED) as file:
            copy_bytes(self._storage, name, begin, end, file, 0)
            _fill_with_zeros(file, end - begin, size)
            file.sync()
            file.close()
            self._storage.rename(UNFINISHED, new_name)
            self._storage.sync_directory()

    def _rotate(self, batch_bytes: int) -> None:
        """Go on in a new segment, large enough for the batch that is to be written."""
        file, self._file = self._file, None
        assert file is not None, "a log that is written was started"
        self._open_segment(Finished(file, self._header, self._offset, self._link), batch_bytes)

    def _open_segment(self, finished: Finished | None, batch_bytes: int = 0) -> None:
        """Make the next segment; it gets its name only once it is whole and durable."""
        self._number += 1
        self._finished = finished  # from here on it is closed by `close`, whatever happens
        size = max(self._segment_bytes, SEGMENT_HEADER.size + batch_bytes + BATCH_HEADER.size)
        generation = self._storage.random64()
        previous = 0 if finished is None else finished.header.crc << 32 | finished.link
        end = 0 if finished is None else finished.end
        sector = encode_segment_header(
            self._number, generation, self._next_sequence, previous, size, end
        )
        with new_file(self._storage, UNFINISHED) as file:
            _fill_with_zeros(file, 0, size)
            file.write_at(0, sector)
            file.sync()
            self._storage.rename(UNFINISHED, segment_name(self._number))
            self._storage.sync_directory()
        header = decode_segment_header(sector)
        assert header is not None
        self._file = file
        self._header = header
        self._link = header.crc
        self._offset = SEGMENT_HEADER.size
        if finished is not None and finished.header.format_version < 2:
            finished.file.close()  # that format has no marks
            self._finished = None


def _fill_with_zeros(file: StorageFile, begin: int, end: int) -> None:
    with memoryview(ZEROS) as zeros:
        for offset in range(begin, end, len(zeros)):
            file.write_at(offset, zeros[: min(len(zeros), end - offset)])
