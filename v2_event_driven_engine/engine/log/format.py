"""The bytes of the log in files: segment header, batch header, batch body. No I/O here.

A log is a row of segments `events.wal.000001`, `events.wal.000002` …; a segment is a header
and a row of batches, zero-filled to its full size before use::

    segment header, 512 bytes, little-endian
       0  magic             8   b"OMEWAL\\r\\n"
       8  format version    u16   2
      10  rulebook version  u16
      12  segment number    u32   1, 2, 3 …
      16  generation        u64   random: old bytes on the disk never pass for new ones
      24  base sequence     u64   of the first command that can be in here
      32  previous          u64   crc of the previous segment's header << 32 | its last batch's link
      40  segment size      u64   of the file before its first use and until it is finished
      48  previous end      u64   where the batches of the previous segment end in its file
      56  reserved         452    zero
     508  crc32c            u32   of bytes 0..507

    batch header, 48 bytes; every batch starts at a multiple of 512
       0  magic             u32   BATCH_MAGIC ^ salt, the salt being the generation's low 32 bits
       4  body length       u32   without padding
       8  first sequence    u64   of its first command (the next one due where it has none)
      16  durable sequence  u64   the highest sequence known durable when this batch was built
      24  timestamp_ns      u64   of all its commands
      32  command count     u32
      36  previous link     u32   the link of the batch before (of the segment header for the first)
      40  header crc        u32   crc32c of bytes 0..39, seeded with the salt
      44  link              u32   crc32c of the body and its padding, seeded with the header crc

    batch body: MessagePack of Body, then zeros to the next multiple of 512

A segment is finished by a batch without commands that is its **mark of continuation**: it names the
generation of the next segment. The mark is durable before the next segment gets its first batch.

Why so. Each batch has a checksum of its own, so that after a damaged one the later ones can still
be checked: that is how damage in the middle and a torn end are told apart. The header has its own,
so the length is trusted before the body is read. `previous link` and the dense sequence show a
batch that is missing, doubled or swapped; `previous` does so for segments, and says where the
segment before ends: what is in that segment after this place was torn by a crash and never counted.
A segment that is neither sealed nor followed by another must have its full `segment size`, so a
shortened one is found too. `durable sequence` lets a later batch vouch for earlier ones. Header and
batches fill whole 512-byte sectors, so that an append never touches a sector with acknowledged data
in it: a sector torn by a power failure held none. The mark says that the log goes on, so that the
end of a log whose last segments are missing is not taken for its end; and it says in which segment,
so that one of a copied directory is not taken for it. Every batch is synced before the next one is
written, so a good batch after a bad one proves that the bad one was durable. One timestamp serves a
batch, because a batch is what the sequencer takes in at one time. The body is one MessagePack
value, because one call then encodes a thousand commands.

What an event repeats is not written: where an order was accepted, and nothing else happened, the
outcome is nil, and its event is made again from the command. So that the command is there, the
events that a segment records are those of its own commands; only where the segment before has
format 1, they are written in full.

**Versions.** A segment says with which version of the format it was written, and one log may have
segments of several. This program writes `FORMAT_VERSION` and reads every version in `DECODERS`, for
ever; a newer one is refused by name. What makes a new version: any change of the bytes, and so any
change of a command's or an event's tag, fields or their order or types (`tests/test_evolution.py`
holds them to the description of each version in `tests/golden`). A field is added at the end and
with a default, which must be what every command of the older version means; then older records
decode to today's types, and their recorded events are equal to those that replay derives.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import msgspec

from ...errors import UnsupportedFormat
from ...models.commands import Command, NewOrder
from ..event_log import Outcomes
from ..events import AnyEvent, OrderAccepted, accepted
from .checksum import crc32c

FORMAT_VERSION = 2
RULEBOOK_VERSION = 1
"""Of the rules by which this program matches. Every segment and every snapshot says it."""
REPLAYED_RULEBOOKS = frozenset({RULEBOOK_VERSION})
"""Whose logs this program can replay: those under which every command had the events that it has
today. The decisions (19) say what a new rule means for old logs."""
SEGMENT_MAGIC = b"OMEWAL\r\n"
BATCH_MAGIC = 0xBA7C4E0F
SECTOR = 512
SEGMENT_BYTES_MAX = 4 * 1024**3
BATCH_BYTES_MAX = 1024**3
"""Nothing larger is written, and what is larger is not read: a size that was made up costs neither
memory nor time. A batch of a gigabyte has the cancels of some thirty million orders."""
SEGMENT_HEADER = struct.Struct("<8sHHIQQQQQ452xI")
BATCH_HEADER = struct.Struct("<IIQQQIIII")
BATCH_HEADER_BEFORE_CRC = struct.Struct("<IIQQQII")
TWO_CRCS = struct.Struct("<II")
HEADER_CRC_AT = BATCH_HEADER_BEFORE_CRC.size
SEGMENT_CRC_AT = SEGMENT_HEADER.size - 4
assert SEGMENT_HEADER.size == SECTOR
assert BATCH_HEADER.size == 48


class Body(msgspec.Struct, array_like=True, frozen=True):
    """What a batch carries; the fields are those of `event_log.Batch`."""

    commands: Sequence[Command]
    outcomes_first: int
    outcomes: Sequence[Sequence[AnyEvent] | None]
    closed: bool
    successor: int
    """In a mark of continuation, the generation of the next segment; else 0."""
    tag: bytes


class RawBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A `Body` as it is read: the outcomes stay bytes until somebody looks at them."""

    commands: list[Command]
    outcomes_first: int
    outcomes: msgspec.Raw
    closed: bool
    successor: int
    tag: bytes


class RawBodyOfFormat1(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """As `RawBody`. There were no marks of continuation, and all events were written in full."""

    commands: list[Command]
    outcomes_first: int
    outcomes: msgspec.Raw
    closed: bool


class SegmentHeader(NamedTuple):
    """A segment header's fields, see the module's drawing."""

    magic: bytes
    format_version: int
    rulebook_version: int
    number: int
    generation: int
    base_sequence: int
    previous: int
    size: int
    previous_end: int
    crc: int

    @property
    def salt(self) -> int:
        return self.generation & 0xFFFFFFFF


class BatchHeader(NamedTuple):
    """A batch header's fields, see the module's drawing."""

    magic: int
    body_length: int
    first_sequence: int
    durable_sequence: int
    timestamp_ns: int
    command_count: int
    previous_link: int
    header_crc: int
    link: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch: header, body and padding."""
        return padded(BATCH_HEADER.size + self.body_length)

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.command_count - 1


def padded(length: int) -> int:
    """`length` rounded up to whole sectors."""
    return -length % SECTOR + length


def encode_segment_header(
    number: int, generation: int, base_sequence: int, previous: int, size: int, previous_end: int
) -> bytes:
    """The sector that a segment begins with."""
    header = SEGMENT_HEADER.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, RULEBOOK_VERSION, number, generation, base_sequence,
        previous, size, previous_end, 0,
    )  # fmt: skip
    return header[:SEGMENT_CRC_AT] + struct.pack("<I", crc32c(header[:SEGMENT_CRC_AT]))


def check_rulebook(file: str, version: int) -> None:
    """See that what is in `file` can be replayed by the rules of this program.

    Raises:
        UnsupportedFormat: it was written by other rules; the message says by which.
    """
    if version not in REPLAYED_RULEBOOKS:
        known = ", ".join(map(str, sorted(REPLAYED_RULEBOOKS)))
        raise UnsupportedFormat(
            f"{file}: written under rulebook {version}; this program replays rulebook {known}: "
            f"open it with a program that replays rulebook {version}"
        )


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """The header, or None if these bytes are not one. Versions are the caller's to judge."""
    if len(data) < SEGMENT_HEADER.size:
        return None
    header = SegmentHeader._make(SEGMENT_HEADER.unpack_from(data))
    if header.magic != SEGMENT_MAGIC or header.crc != crc32c(data[:SEGMENT_CRC_AT]):
        return None
    return header


_encoder = msgspec.msgpack.Encoder()
_outcomes_decoder = msgspec.msgpack.Decoder(list[list[AnyEvent] | None])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError)
"""What decoding raises for bytes that no program of this kind has written, whatever they are."""
DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {
    1: msgspec.msgpack.Decoder(RawBodyOfFormat1),
    2: msgspec.msgpack.Decoder(RawBody),
}
"""For each version of the format that can be read, what decodes a body."""


# --8<-- [start:encode_batch]
def encode_batch(
    buffer: bytearray,
    salt: int,
    first_sequence: int,
    durable_sequence: int,
    timestamp_ns: int,
    previous_link: int,
    body: Body,
) -> int:
    """Write a whole batch into `buffer`, resize it to fit, and return the link. O(bytes)."""
    _encoder.encode_into(body, buffer, BATCH_HEADER.size)
    body_length = len(buffer) - BATCH_HEADER.size
    buffer += bytes(-len(buffer) % SECTOR)
    BATCH_HEADER_BEFORE_CRC.pack_into(
        buffer, 0, BATCH_MAGIC ^ salt, body_length, first_sequence, durable_sequence, timestamp_ns,
        len(body.commands), previous_link,
    )  # fmt: skip
    with memoryview(buffer) as view:
        header_crc = crc32c(view[:HEADER_CRC_AT], salt)
        link = crc32c(view[BATCH_HEADER.size :], header_crc)
    TWO_CRCS.pack_into(buffer, HEADER_CRC_AT, header_crc, link)
    return link


# --8<-- [end:encode_batch]


def batch_header_at(data: bytes, offset: int, salt: int) -> BatchHeader | None:
    """The header at `offset` if a batch of this generation starts there, whole or not."""
    if offset + BATCH_HEADER.size > len(data):
        return None
    header = BatchHeader._make(BATCH_HEADER.unpack_from(data, offset))
    if header.magic != BATCH_MAGIC ^ salt:
        return None
    with memoryview(data) as view:
        crc = crc32c(view[offset : offset + HEADER_CRC_AT], salt)
    return header if header.header_crc == crc else None


def decode_batch_header(data: bytes, offset: int, salt: int) -> BatchHeader | None:
    """The header at `offset` if a whole, undamaged batch of this generation starts there."""
    header = batch_header_at(data, offset, salt)
    if header is None or offset + header.size > len(data):
        return None
    with memoryview(data) as view:
        body_and_padding = view[offset + BATCH_HEADER.size : offset + header.size]
        return header if header.link == crc32c(body_and_padding, header.header_crc) else None


def decode_body(data: bytes, offset: int, header: BatchHeader, version: int) -> RawBody:
    """The body of the batch whose checked header is at `offset`. O(bytes).

    Raises:
        UNREADABLE: a record that this program does not know.
    """
    body_at = offset + BATCH_HEADER.size
    with memoryview(data) as view:
        body: RawBody | RawBodyOfFormat1 = DECODERS[version].decode(
            view[body_at : body_at + header.body_length]
        )
    if isinstance(body, RawBody):
        return body
    return RawBody(body.commands, body.outcomes_first, body.outcomes, body.closed, 0, b"")


def encode_outcomes(outcomes: Sequence[Sequence[AnyEvent] | None]) -> bytes:
    """The bytes that `outcomes` have inside a body. O(events)."""
    return _encoder.encode(outcomes)


def shortened(outcomes: Outcomes) -> list[Sequence[AnyEvent] | None]:
    """The outcomes as they are written: nil where an order was accepted and nothing else."""
    return [
        None if events and type(events[-1]) is OrderAccepted else events  # it is the first, too
        for events in outcomes
    ]


class Pending(NamedTuple):
    """Commands whose outcomes are still to be recorded, with the sequence of the first one."""

    first: int
    timestamp_ns: int
    commands: Sequence[Command]


class RecordedOutcomes(Sequence[Sequence[AnyEvent]]):
    """The outcomes of a batch as they were recorded, decoded when somebody looks at them.

    To compare them with what replay has derived, equal bytes suffice, and are much cheaper. Bytes
    of an older version differ where its records have fewer fields; then the events are compared.
    """

    def __init__(
        self, data: msgspec.Raw, first: int, pending: Pending | None, file: str, offset: int
    ) -> None:
        """`pending` are the commands that they are of, where they are shortened."""
        self._data = data
        self._first = first
        self._pending = pending
        self._file = file
        self._offset = offset
        self._decoded: list[list[AnyEvent]] | None = None

    def _events(self) -> list[list[AnyEvent]]:
        if self._decoded is None:
            try:
                self._decoded = [
                    self._accepted(sequence) if events is None else events
                    for sequence, events in enumerate(
                        _outcomes_decoder.decode(self._data), self._first
                    )
                ]
            except UNREADABLE as error:
                raise UnsupportedFormat(
                    f"{self._file}: byte {self._offset}: an unknown event ({error}): open it with "
                    f"the version that wrote it"
                ) from None
        return self._decoded

    def _accepted(self, sequence: int) -> list[AnyEvent]:
        """The outcome that is not written: the order was accepted."""
        pending = self._pending
        if pending is not None and 0 <= sequence - pending.first < len(pending.commands):
            command = pending.commands[sequence - pending.first]
            if isinstance(command, NewOrder):
                return [accepted(command, sequence, pending.timestamp_ns)]
        raise msgspec.DecodeError(f"no order was sent with sequence {sequence}")

    def __eq__(self, derived: object) -> bool:
        if not isinstance(derived, list):
            return NotImplemented
        written = derived if self._pending is None else shortened(derived)
        return bytes(self._data) == encode_outcomes(written) or self._events() == derived

    __hash__ = None  # type: ignore[assignment]  # compared by content, like a list

    def __len__(self) -> int:
        return len(self._events())

    def __iter__(self) -> Iterator[list[AnyEvent]]:
        return iter(self._events())

    @overload
    def __getitem__(self, index: int) -> list[AnyEvent]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[AnyEvent]]: ...
    def __getitem__(self, index: int | slice) -> list[AnyEvent] | list[list[AnyEvent]]:
        return self._events()[index]
