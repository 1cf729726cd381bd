"""The bytes of the log: segment header, batch header, batch body. No I/O here.

A log is a row of segments ``events.wal.000001``, ``events.wal.000002`` …; a segment is a header
and a row of batches, zero-filled to its full size before use::

    segment header, 512 bytes, little-endian
       0  magic             8   b"OMEWAL\\r\\n"
       8  format version    u16
      10  rulebook version  u16
      12  segment number    u32   1, 2, 3 …
      16  generation        u64   random: old bytes on the disk never pass for new ones
      24  base sequence     u64   of the first command that can be in here
      32  previous          u64   crc of the previous segment's header << 32 | its last batch's link
      40  segment size      u64   of the file before its first use and until it is sealed
      48  reserved         460    zero
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

Why so. Each batch has a checksum of its own, so that after a damaged one the later ones can still
be told good from bad: that is how damage in the middle and a torn end are told apart. The header
has its own, so the length is trusted before the body is read. ``previous link`` and the dense
sequence expose a batch that is missing, doubled or swapped; ``previous`` does so for segments,
and tells where the segment before ends: what stands behind that place was torn by a crash and
never counted. A segment that is neither sealed nor followed by another must have its full
``segment size``, so a shortened one is found too. ``durable sequence`` lets a later batch vouch
for earlier ones. Header and batches fill whole 512-byte sectors, so that an append
never touches a sector with acknowledged data in it: a sector torn by a power failure was nobody's
yet. One timestamp serves a batch, because a batch is what the sequencer takes in at
one time. The body is one MessagePack value, because one call then encodes a thousand commands.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from .events import AnyEvent, Command

FORMAT_VERSION = 1
RULEBOOK_VERSION = 1
SEGMENT_MAGIC = b"OMEWAL\r\n"
BATCH_MAGIC = 0xBA7C4E0F
SECTOR = 512
SEGMENT_HEADER = struct.Struct("<8sHHIQQQQ460xI")
BATCH_HEADER = struct.Struct("<IIQQQIIII")
BATCH_HEADER_BEFORE_CRC = struct.Struct("<IIQQQII")
TWO_CRCS = struct.Struct("<II")
HEADER_CRC_AT = BATCH_HEADER_BEFORE_CRC.size
SEGMENT_CRC_AT = SEGMENT_HEADER.size - 4
assert SEGMENT_HEADER.size == SECTOR
assert BATCH_HEADER.size == 48


class Body(msgspec.Struct, array_like=True, frozen=True):
    """What a batch carries.

    ``commands`` have the sequences from the header's first sequence on. ``outcomes`` are the
    events of earlier commands, one list a command, from sequence ``outcomes_first`` on; they are
    written once known and never acted upon: recovery derives them again and compares. ``closed``
    seals a log that was shut down cleanly.
    """

    commands: Sequence[Command]
    outcomes_first: int
    outcomes: Sequence[Sequence[AnyEvent]]
    closed: bool = False


class RawBody(msgspec.Struct, array_like=True, frozen=True):
    """A :class:`Body` as recovery reads it: the outcomes stay bytes, to be compared as bytes."""

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
        """Bytes of the whole batch: header, body, padding."""
        return padded(BATCH_HEADER.size + self.body_length)

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.command_count - 1


def padded(length: int) -> int:
    """``length`` rounded up to whole sectors."""
    return -length % SECTOR + length


def encode_segment_header(
    number: int, generation: int, base_sequence: int, previous: int, size: int
) -> bytes:
    """The sector that a segment begins with."""
    header = SEGMENT_HEADER.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, RULEBOOK_VERSION, number, generation, base_sequence,
        previous, size, 0,
    )  # fmt: skip
    return header[:SEGMENT_CRC_AT] + struct.pack("<I", crc32c(header[:SEGMENT_CRC_AT]))


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """The header, or None if these bytes are not one. Versions are the caller's to judge."""
    if len(data) < SEGMENT_HEADER.size:
        return None
    header = SegmentHeader._make(SEGMENT_HEADER.unpack_from(data))
    if header.magic != SEGMENT_MAGIC or header.crc != crc32c(data[:SEGMENT_CRC_AT]):
        return None
    return header


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RawBody)
_outcomes_decoder = msgspec.msgpack.Decoder(list[list[AnyEvent]])


def encode_batch(
    buffer: bytearray,
    salt: int,
    first_sequence: int,
    durable_sequence: int,
    timestamp_ns: int,
    previous_link: int,
    body: Body,
) -> int:
    """Write a whole batch into ``buffer``, resized to fit, and return its link. O(bytes)."""
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


def decode_batch_header(data: bytes, offset: int, salt: int) -> BatchHeader | None:
    """The header at ``offset`` if a whole, undamaged batch of this generation starts there."""
    body_at = offset + BATCH_HEADER.size
    if body_at > len(data):
        return None
    header = BatchHeader._make(BATCH_HEADER.unpack_from(data, offset))
    if header.magic != BATCH_MAGIC ^ salt:
        return None
    with memoryview(data) as view:
        if header.header_crc != crc32c(view[offset : offset + HEADER_CRC_AT], salt):
            return None
        end = offset + header.size
        if end > len(data) or header.link != crc32c(view[body_at:end], header.header_crc):
            return None
    return header


def decode_body(data: bytes, offset: int, header: BatchHeader) -> RawBody:
    """The body of the batch whose checked header stands at ``offset``.

    Raises:
        msgspec.DecodeError: the checksum is good and yet this is not a body that we know.
    """
    body_at = offset + BATCH_HEADER.size
    with memoryview(data) as view:
        return _decoder.decode(view[body_at : body_at + header.body_length])


def encode_outcomes(outcomes: Sequence[Sequence[AnyEvent]]) -> bytes:
    """The bytes that ``outcomes`` have inside a body."""
    return _encoder.encode(outcomes)


def decode_outcomes(data: bytes | msgspec.Raw) -> list[list[AnyEvent]]:
    """The events behind the bytes of a body's outcomes.

    Raises:
        msgspec.DecodeError: an event that this version does not know.
    """
    return _outcomes_decoder.decode(data)
