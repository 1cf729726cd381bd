"""The durable store: appending to the log.

The order of things is the promise: :meth:`WalEventStore.append` returns once the commands are
durable, and nobody may apply or answer them before. The bytes are drawn in ``wal_format.py``;
what is found when the log is read back is judged in ``wal_reader.py``.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from .events import AnyEvent, Command
from .storage import Storage, StorageFile
from .wal_format import (
    BATCH_HEADER,
    SEGMENT_HEADER,
    Body,
    encode_batch,
    encode_segment_header,
)
from .wal_reader import Position, segment_name

SEGMENT_BYTES = 16 * 1024 * 1024
UNFINISHED_SEGMENT = "events.wal.new"
ZEROS = bytes(1024 * 1024)

Outcomes = Sequence[Sequence[AnyEvent]]


class EventStore(Protocol):
    """The seam between the engine and whatever keeps its commands.

    The file log below is the embedded default; a replicated log can stand in its place. The engine
    calls it from one thread only and stops at the first exception.
    """

    def append(self, timestamp_ns: int, commands: Sequence[Command], outcomes: Outcomes) -> None:
        """Return once ``commands``, which take the next sequences, are durable.

        ``outcomes`` are the events of all earlier commands whose events were not passed before, one
        list a command. They need not be durable when this returns.
        """

    def append_outcomes(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        """The same for outcomes alone: when the queue has fallen idle."""

    def seal(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        """The last outcomes and the mark of a clean shutdown, durable when this returns."""

    def close(self) -> None:
        """Give everything back. Without :meth:`seal` before, this leaves what a crash leaves."""


class MemoryEventStore:
    """Keeps nothing: for tests, benchmarks and whoever wants the engine without durability."""

    def append(self, timestamp_ns: int, commands: Sequence[Command], outcomes: Outcomes) -> None:
        """Do nothing."""

    def append_outcomes(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        """Do nothing."""

    def seal(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class WalEventStore:
    """The write-ahead log in files, continued from where a reader found its end.

    Invariants
      1. One write and one fdatasync a batch; the next batch is not written before that returned.
      2. ``durable_sequence`` only ever rises, and only after a sync.
      3. A recovered segment is never appended to: every start opens a new segment, of a new
         generation, whose header says where the one before ends.
      4. A segment is zero-filled and synced before its first batch, so appends neither grow a file
         nor run out of disk in the middle of a batch.
      5. After any exception the log is left as it is; the object must not be used again.
    """

    def __init__(
        self,
        storage: Storage,
        position: Position,
        *,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Continue behind ``position``."""
        self._storage = storage
        self._segment_bytes = segment_bytes
        self._buffer = bytearray()
        self._number = position.segment
        self._next_sequence = position.next_sequence
        self.durable_sequence = position.next_sequence - 1
        self._file, self._size, self._header_crc, self._salt = self._open_segment(position.end, 0)
        self._offset = SEGMENT_HEADER.size
        self._link = self._header_crc

    def append(self, timestamp_ns: int, commands: Sequence[Command], outcomes: Outcomes) -> None:
        self._write(timestamp_ns, Body(commands, self._next_sequence - len(outcomes), outcomes))
        self._file.sync()
        self._next_sequence += len(commands)
        self.durable_sequence = self._next_sequence - 1

    def append_outcomes(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        self._write(timestamp_ns, Body((), self._next_sequence - len(outcomes), outcomes))

    def seal(self, timestamp_ns: int, outcomes: Outcomes) -> None:
        body = Body((), self._next_sequence - len(outcomes), outcomes, closed=True)
        self._write(timestamp_ns, body)
        self._file.sync()
        self._file.truncate(self._offset)  # give the unused zeros back

    def close(self) -> None:
        self._file.close()

    def _write(self, timestamp_ns: int, body: Body) -> None:
        buffer = self._buffer
        link = self._encode(timestamp_ns, body)
        if self._offset + len(buffer) > self._size:
            self._rotate(len(buffer))
            link = self._encode(timestamp_ns, body)
        self._file.write_at(self._offset, buffer)
        self._offset += len(buffer)
        self._link = link

    def _encode(self, timestamp_ns: int, body: Body) -> int:
        return encode_batch(
            self._buffer, self._salt, self._next_sequence, self.durable_sequence, timestamp_ns,
            self._link, body,
        )  # fmt: skip

    def _rotate(self, batch_bytes: int) -> None:
        """Go on in a new segment, large enough for the batch in hand."""
        self._file.sync()  # the next header vouches for all of this segment
        self._file.close()
        previous = self._header_crc << 32 | self._link
        self._file, self._size, self._header_crc, self._salt = self._open_segment(
            previous, batch_bytes
        )
        self._offset = SEGMENT_HEADER.size
        self._link = self._header_crc

    def _open_segment(self, previous: int, batch_bytes: int) -> tuple[StorageFile, int, int, int]:
        """Make the next segment; it exists under its name only once it is whole and durable.

        Returns the file, its size, its header's crc and its salt.
        """
        self._number += 1
        size = max(self._segment_bytes, SEGMENT_HEADER.size + batch_bytes + BATCH_HEADER.size)
        generation = self._storage.random64()
        header = encode_segment_header(
            self._number, generation, self._next_sequence, previous, size
        )
        try:
            file = self._storage.create(UNFINISHED_SEGMENT)
            _fill_with_zeros(file, size)
            file.write_at(0, header)
            file.sync()
        except OSError:
            with suppress(OSError):  # a disk that is full should not stay full because of this
                self._storage.remove(UNFINISHED_SEGMENT)
            raise
        self._storage.rename(UNFINISHED_SEGMENT, segment_name(self._number))
        self._storage.sync_directory()
        return file, size, int.from_bytes(header[-4:], "little"), generation & 0xFFFFFFFF


def _fill_with_zeros(file: StorageFile, size: int) -> None:
    with memoryview(ZEROS) as zeros:
        for offset in range(0, size, len(zeros)):
            file.write_at(offset, zeros[: min(len(zeros), size - offset)])
