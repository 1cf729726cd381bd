"""The bytes of a segment, field by field: where each field is, what it says, what it is for.

The sizes are those of `v2_event_driven_engine/engine/log/format.py`; a test compares both.
"""

from typing import Any, NamedTuple

import msgspec

from v2_event_driven_engine.engine.log.format import (
    BATCH_HEADER,
    DECODERS,
    SECTOR,
    BatchHeader,
    SegmentHeader,
    batch_header_at,
    decode_batch_header,
    decode_segment_header,
)


class Field(NamedTuple):
    """One field of a header."""

    name: str
    size: int
    says: str
    against: str
    """The fault that it is there for; empty where it is only information."""


SEGMENT_FIELDS = (
    Field("magic", 8, "This is a segment of such a log.", "Another file under this name."),
    Field("format version", 2, "Which version of the format wrote the segment.",
          "A program too old to read it: it refuses and names the version."),
    Field("rulebook version", 2, "Under which rules the commands were answered.",
          "Replay under other rules, which would give other answers."),
    Field("segment number", 4, "1, 2, 3 …", "A file that was renamed."),
    Field("generation", 8, "A random number; its low half is the salt of every batch.",
          "Old bytes that were on this part of the disk before: they never look valid."),
    Field("base sequence", 8, "The first sequence that can be in this segment.",
          "A missing segment."),
    Field("previous", 8, "Checksum of the previous segment's header, and its last batch's link.",
          "A segment of another log, or a changed end of the previous one."),
    Field("segment size", 8, "The size that the file had before its first use.",
          "A file that was cut."),
    Field("previous end", 8, "Where the batches of the previous segment end.",
          "Torn bytes at that end: they never counted."),
    Field("reserved", 452, "Zeros up to a whole sector.",
          "An append that would rewrite a sector which holds acknowledged data."),
    Field("crc32c", 4, "Checksum of the 508 bytes before it.", "Damage of this header."),
)  # fmt: skip
BATCH_FIELDS = (
    Field("magic", 4, "A batch begins here (mixed with the salt).",
          "Bytes that are no batch, or one of another generation."),
    Field("body length", 4, "The bytes of the body, without the padding.",
          "It is trusted only after the header's checksum: a damaged length cannot mislead."),
    Field("first sequence", 8, "The sequence of the first command.",
          "A batch that is missing, doubled or swapped."),
    Field("durable sequence", 8, "Up to where the log was durable when this batch was built.",
          "Damage before it that looks like a torn tail: this batch proves that it was durable."),
    Field("timestamp", 8, "Nanoseconds since 1970, one time for the whole batch.",
          "A clock that steps back: replay reads this, and no clock."),
    Field("command count", 4, "How many commands the body holds.", "A body of another batch."),
    Field("previous link", 4, "The link of the batch before.",
          "A batch that is missing, doubled or swapped."),
    Field("header crc", 4, "Checksum of the 40 bytes before it.", "Damage of this header."),
    Field("link", 4, "Checksum of the body, continued from the header's checksum.",
          "Damage of the body."),
)  # fmt: skip

BODY = "One MessagePack value: the commands, and the events of the commands before."
PADDING = "Zeros up to a whole sector, so that the next append touches no sector of this batch."
BAD_SEGMENT = "Its checksum is wrong, so nothing in this segment is believed."
BAD_BATCH = "The header of this batch can be read; the checksum of its body is wrong."
NO_BATCH = "No header of a batch can be read here."

Region = dict[str, Any]
"""Where something is: `from`, `to`, its `kind`, its `name`, its `value`, and where to look up in
`texts` what it is for.
"""


def texts() -> dict[str, list[str]]:
    """What each field says and what it is against, by the key that regions name."""
    named = [("segment", SEGMENT_FIELDS), ("batch", BATCH_FIELDS)]
    found = {
        f"{part} {field.name}": [field.says, field.against]
        for part, fields in named
        for field in fields
    }
    found["body"] = [BODY, ""]
    found["padding"] = [PADDING, ""]
    found["bad segment"] = [BAD_SEGMENT, ""]
    found["bad batch"] = [BAD_BATCH, ""]
    found["no batch"] = [NO_BATCH, ""]
    return found


def regions(data: bytes) -> list[Region]:
    """What is where in the bytes of a segment: fields, bodies, padding, and what is no batch."""
    header = decode_segment_header(data[:SECTOR])
    found: list[Region] = []
    if header is None:
        return [_region(0, SECTOR, "damaged", "segment header", "", "bad segment")]
    _add_fields(found, 0, "segment", SEGMENT_FIELDS, "segment", _segment_values(header))
    at = SECTOR
    number = 0
    while (batch := decode_batch_header(data, at, header.salt)) is not None:
        number += 1
        _add_batch(found, data, at, batch, header, number)
        at += batch.size
    rest = data[at:].rstrip(b"\0")
    if rest:
        text = "no batch" if batch_header_at(data, at, header.salt) is None else "bad batch"
        found.append(_region(at, at + len(rest), "damaged", "no valid batch", "", text))
    return found


def _add_batch(
    found: list[Region],
    data: bytes,
    at: int,
    batch: BatchHeader,
    header: SegmentHeader,
    number: int,
) -> None:
    kind = "odd" if number % 2 else "even"
    _add_fields(found, at, "batch", BATCH_FIELDS, kind, _batch_values(batch))
    body_at = at + BATCH_HEADER.size
    body_end = body_at + batch.body_length
    value = _body(data[body_at:body_end], header.format_version)
    name = f"body of batch {number}"
    found.append(_region(body_at, body_end, f"{kind} body", name, value, "body"))
    if body_end < at + batch.size:
        found.append(
            _region(body_end, at + batch.size, f"{kind} padding", "padding", "", "padding")
        )


def _add_fields(
    found: list[Region],
    at: int,
    part: str,
    fields: tuple[Field, ...],
    kind: str,
    values: list[str],
) -> None:
    for field, value in zip(fields, values, strict=True):
        end = at + field.size
        found.append(_region(at, end, kind, field.name, value, f"{part} {field.name}"))
        at = end


def _segment_values(header: SegmentHeader) -> list[str]:
    return [
        "OMEWAL\\r\\n", str(header.format_version), str(header.rulebook_version),
        str(header.number), f"{header.generation:#x}", str(header.base_sequence),
        f"{header.previous:#x}", str(header.size), str(header.previous_end), "zeros",
        f"{header.crc:#x}",
    ]  # fmt: skip


def _batch_values(batch: BatchHeader) -> list[str]:
    return [
        f"{batch.magic:#x}", str(batch.body_length), str(batch.first_sequence),
        str(batch.durable_sequence), str(batch.timestamp_ns), str(batch.command_count),
        f"{batch.previous_link:#x}", f"{batch.header_crc:#x}", f"{batch.link:#x}",
    ]  # fmt: skip


def _body(body: bytes, version: int) -> str:
    decoded = DECODERS[version].decode(body)
    commands = "; ".join(str(command) for command in decoded.commands) or "no commands"
    outcomes = msgspec.msgpack.decode(bytes(decoded.outcomes))
    recorded = f"with the events of {len(outcomes)} earlier" if outcomes else "no events"
    more = "; the log is closed" if decoded.closed else ""
    return f"{commands}; {recorded}{more}"


def _region(start: int, end: int, kind: str, name: str, value: str, text: str) -> Region:
    return {"from": start, "to": end, "kind": kind, "name": name, "value": value, "text": text}
