"""The bytes of the replicated log: one entry is one message of a stream. No I/O here.

::

    entry, little-endian
       0  magic             4   b"OMEJ"
       4  kind              u8    1 a batch, 2 an epoch
       5  entry version     u8    1
       6  rulebook version  u16
       8  epoch             u64   of the writer
      16  first sequence    u64   of its first command (the next one due where it has none)
      24  timestamp_ns      u64   of all its commands
      32  previous link     u32   the link of the entry before; 0 for the first
      36  body                    MessagePack of BatchBody or EpochBody
      -4  link              u32   crc32c of all before it, seeded with the previous link

An **epoch** is the period of one writer. Its entry is the takeover: the stream accepts it only
right behind what the new writer has read, and from then on accepts nothing of an older writer,
because that does not know of the entry. A batch without commands is a **barrier**: who could append
it was the writer up to that moment.

The links make a chain: an entry cannot be missing, doubled or changed without a break in it.
A batch records the events of the commands before it, in the short form of the log in files. Events
of more bytes than a message may have (a mass cancel of a hundred thousand orders) are recorded as
their checksum.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import msgspec

from ..engine.event_log import Batch
from ..engine.events import AnyEvent
from ..engine.log.checksum import crc32c
from ..engine.log.format import (
    RULEBOOK_VERSION,
    UNREADABLE,
    check_rulebook,
    encode_outcomes,
    shortened,
)
from ..errors import ReplayDivergence, UnsupportedFormat
from ..models.commands import Command

MAGIC = b"OMEJ"
ENTRY_VERSION = 1
BATCH = 1
EPOCH = 2
HEADER = struct.Struct("<4sBBHQQQI")
LINK = struct.Struct("<I")
ENTRY_BYTES_MAX = 4 * 1024 * 1024
"""More makes a batch too large, unless it has one command."""
OUTCOME_BYTES_MAX = 2 * 1024 * 1024
"""More are recorded as a checksum."""


class BatchBody(msgspec.Struct, array_like=True, frozen=True):
    """What a batch carries; the fields are those of `event_log.Batch`."""

    commands: Sequence[Command]
    outcomes_first: int
    outcomes: msgspec.Raw
    """A list as in the log in files; or their checksum, a number."""
    closed: bool
    tag: bytes


class RawBatchBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A `BatchBody` as it is read."""

    commands: list[Command]
    outcomes_first: int
    outcomes: msgspec.Raw
    closed: bool
    tag: bytes


class EpochBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who begins an epoch. `nonce` is of one start of the node: no two epochs have equal bytes."""

    node: str
    nonce: int
    python: str


class Entry(NamedTuple):
    """An entry's fields, see the module's drawing."""

    kind: int
    epoch: int
    first_sequence: int
    timestamp_ns: int
    previous_link: int
    link: int
    body: bytes


class BadEntry(ValueError):
    """These bytes are not an entry that this program has written; the text says why."""


_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(RawBatchBody).decode
_decode_checksum = msgspec.msgpack.Decoder(int).decode
_decode_epoch = msgspec.msgpack.Decoder(EpochBody).decode


def encode_entry(
    kind: int,
    epoch: int,
    first_sequence: int,
    timestamp_ns: int,
    previous_link: int,
    body: BatchBody | EpochBody,
) -> tuple[bytes, int]:
    """The entry's bytes and its link. O(bytes)."""
    data = HEADER.pack(
        MAGIC, kind, ENTRY_VERSION, RULEBOOK_VERSION, epoch, first_sequence, timestamp_ns,
        previous_link,
    ) + _encode(body)  # fmt: skip
    link = crc32c(data, previous_link)
    return data + LINK.pack(link), link


def decode_entry(data: bytes) -> Entry:
    """The entry in a message. O(bytes).

    Raises:
        BadEntry: it is damaged, or nothing of ours.
        UnsupportedFormat: another version of the program wrote it.
    """
    if len(data) < HEADER.size + LINK.size:
        raise BadEntry(f"{len(data)} bytes are too few for an entry")
    magic, kind, version, rulebook, epoch, first, timestamp_ns, previous = HEADER.unpack_from(data)
    (link,) = LINK.unpack_from(data, len(data) - LINK.size)
    if magic != MAGIC:
        raise BadEntry("this is not an entry")
    if crc32c(memoryview(data)[: -LINK.size], previous) != link:
        raise BadEntry("the entry is damaged")
    if version != ENTRY_VERSION or kind not in (BATCH, EPOCH):
        raise UnsupportedFormat(
            f"version {version}, kind {kind}; this program knows version {ENTRY_VERSION}, "
            f"kinds {BATCH} and {EPOCH}"
        )
    check_rulebook("the entry", rulebook)
    return Entry(kind, epoch, first, timestamp_ns, previous, link, data[HEADER.size : -LINK.size])


def batch_body(batch: Batch) -> BatchBody:
    """The body of a batch that is to be appended. O(events)."""
    outcomes = encode_outcomes(shortened(batch.outcomes))
    if len(outcomes) > OUTCOME_BYTES_MAX:
        outcomes = _encode(crc32c(outcomes))
    return BatchBody(
        batch.commands, batch.outcomes_first, msgspec.Raw(outcomes), batch.closed, batch.tag
    )


def decode_batch(body: bytes) -> RawBatchBody:
    """The body of an entry that is a batch.

    Raises:
        UnsupportedFormat: it has a record that this program does not know.
    """
    try:
        return _decode_batch(body)
    except UNREADABLE as error:
        raise UnsupportedFormat(f"an unknown record ({error})") from None


def decode_epoch(body: bytes) -> EpochBody:
    """The body of an entry that begins an epoch. Raises as `decode_batch`."""
    try:
        return _decode_epoch(body)
    except UNREADABLE as error:
        raise UnsupportedFormat(f"an unknown record ({error})") from None


class ChecksumOfOutcomes(Sequence[Sequence[AnyEvent]]):
    """Outcomes of which only the checksum was recorded. They can be compared, and not looked at."""

    def __init__(self, checksum: int, first: int) -> None:
        self._checksum = checksum
        self._first = first

    def __eq__(self, derived: object) -> bool:
        if not isinstance(derived, list):
            return NotImplemented
        return crc32c(encode_outcomes(shortened(derived))) == self._checksum

    __hash__ = None  # type: ignore[assignment]  # compared by content, like a list

    def _difference(self) -> ReplayDivergence:
        recorded = f"events with the checksum {self._checksum:08x}"
        return ReplayDivergence(self._first, 0, "", recorded, "others")

    def __len__(self) -> int:
        raise self._difference()

    def __iter__(self) -> Iterator[Sequence[AnyEvent]]:
        raise self._difference()

    @overload
    def __getitem__(self, index: int) -> Sequence[AnyEvent]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[AnyEvent]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        raise self._difference()


def checksum_in(outcomes: msgspec.Raw) -> int | None:
    """The checksum, where that was recorded instead of the events."""
    try:
        return _decode_checksum(outcomes)
    except msgspec.ValidationError:  # it is a list
        return None
