"""The trail in its file: chained lines, read and verified.

**Chain.** Each line ends with `"chain":"…"`: 128 bits of SHA-256 over the chain of the line before
and the line's own text. Editing, deleting, inserting or reordering lines breaks it at that line.
Every 10,000 commands a `trail_sealed` line follows, a chain worth copying to somewhere else: what a
chain alone cannot show is lines cut from the end, or a trail rewritten as a whole.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec

from ...errors import StoreError
from ..audit_event import TRAIL_SEALED, AuditEvent, Auditor
from ..event_log import ReadableLog
from ..log.storage import Storage

AUDIT_LOG = "audit.log"
WHOLE = b"whole"
"""What the audit process says at its end: the trail has all that the log has."""
DAMAGED = f"{AUDIT_LOG}.damaged-"
"""How the names begin of files with what was kept aside of a damaged trail."""
FIRST_CHAIN = "0" * 32
CHAIN_FIELD = b',"chain":"'
CHAIN_BYTES = len(CHAIN_FIELD) + 32 + len(b'"}\n')
SEAL = b'"event":"' + TRAIL_SEALED.encode() + b'"'
LOOK_BACK_BYTES = 256 * 1024
LOOK_BACK_BYTES_MAX = 1024**3
"""Where no seal is found in so much, the trail is looked at from its beginning."""
OVERLAP_BYTES = 4096
LONGEST_LINE_BYTES = 16 * 1024 * 1024


Found = TypeVar("Found")

Key = tuple[int, int, int]
"""What a line is about: sequence, index, and of a trade 0 for the taker, 1 for the maker."""


def line_key(line: AuditEvent) -> Key:
    """The lines of a trail are written in the order of their keys, each key once."""
    return line.sequence, line.index, int(line.liquidity == "MAKER")


def key_of(line: str) -> Key:
    """The key of a line that the auditor gave."""
    return line_key(_event_decoder.decode(f"{line}}}"))


# --8<-- [start:chained]
def chained(lines: Iterable[str], chain: str) -> tuple[bytes, str]:
    """The text in the file of successive lines, and the chain after the last one. O(bytes)."""
    texts = []
    for line in lines:
        chain = sha256(f"{chain}{line}}}".encode()).hexdigest()[:32]
        texts.append(f'{line},"chain":"{chain}"}}\n')
    return "".join(texts).encode(), chain


def _link(chain: str, text: bytes) -> str:
    return sha256(chain.encode() + text).hexdigest()[:32]


# --8<-- [end:chained]


def _chain_of(text: bytes, chain: str) -> str | None:
    """The chain up to and with a line of the file, or None if it is not what was written there."""
    line = text[:-CHAIN_BYTES] + b"}"
    link = _link(chain, line)
    return link if text == line[:-1] + CHAIN_FIELD + link.encode() + b'"}\n' else None


class ChainedLine(AuditEvent, omit_defaults=True, kw_only=True):
    """A line as it is in the file."""

    chain: str


_line_decoder = msgspec.json.Decoder(ChainedLine)
_event_decoder = msgspec.json.Decoder(AuditEvent)


class TrailEnd(NamedTuple):
    """The end of what is good of a trail: its last line, the chain, and the bytes up to there."""

    key: Key = (0, -1, 0)
    chain: str = FIRST_CHAIN
    size: int = 0
    problem: str = ""
    """What is wrong with the bytes after it, if anything."""
    synced: int = 0
    """How many of the bytes are on the disk for certain: those up to the last seal but one."""

    @property
    def sequence(self) -> int:
        """The last sequence that has a line."""
        return self.key[0]


def end_of_trail(storage: Storage) -> TrailEnd:
    """The last good line of the trail. O(bytes since its last seal but one).

    A trail is synced up to each seal before the next one is written. The power may fail before
    that sync has ended, so what a crash has spoiled comes after the last seal but one: there every
    line is checked. What comes before is checked by `verify_chain` only. A last line that is torn
    is no problem, only not counted.
    """
    return _seen_twice(lambda: _end_of_trail(storage), lambda end: end.problem)


def _seen_twice(look: Callable[[], Found], is_wrong: Callable[[Found], object]) -> Found:
    """What a look at the trail finds; something wrong only if a second look finds the same.

    What was read may be partly from before and partly from after the trail was mended.
    """
    found = look()
    while is_wrong(found) and (again := look()) != found:
        found = again
    return found


def _end_of_trail(storage: Storage) -> TrailEnd:
    try:
        stream = storage.stream(AUDIT_LOG)
    except FileNotFoundError:
        return TrailEnd()
    with stream as file:
        end = _synced_seal(file)
        file.seek(end.size)
        for text in _lines(file):
            if not text.endswith(b"\n"):
                long = len(text) >= LONGEST_LINE_BYTES
                return end._replace(problem="a line without an end") if long else end
            chain = _chain_of(text, end.chain)
            if chain is None:
                return end._replace(problem="not what was written there")
            try:
                key = line_key(_line_decoder.decode(text))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                return end._replace(problem=f"not an audit line ({error})")
            end = TrailEnd(key, chain, end.size + len(text), synced=end.synced)
    return end


def _synced_seal(file: BinaryIO) -> TrailEnd:
    """The end of the last seal but one; the beginning of the file without that."""
    last: int | None = None
    size = stop = file.seek(0, 2)
    while stop > 0 and size - stop < LOOK_BACK_BYTES_MAX:
        begin = max(0, stop - LOOK_BACK_BYTES)
        file.seek(begin)
        piece = file.read(stop - begin + OVERLAP_BYTES)
        at = piece.rfind(SEAL)
        while at >= 0:
            start = piece.rfind(b"\n", 0, at) + 1
            finish = piece.find(b"\n", at) + 1
            if finish and (start or begin == 0):
                text = piece[start:finish]
                try:
                    line = _line_decoder.decode(text)
                    size = begin + finish
                    if last is not None and size < last:
                        return TrailEnd(line_key(line), line.chain, size, synced=size)
                    last = size
                except (msgspec.DecodeError, UnicodeDecodeError):
                    pass  # an older seal, then
            at = piece.rfind(SEAL, 0, start)  # a line has one seal at most
        stop = begin
    return TrailEnd()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines from here on; one that is longer than any of a trail is given in pieces."""
    return iter(lambda: file.readline(LONGEST_LINE_BYTES), b"")


def recorded_lines(log: ReadableLog) -> Iterator[str]:
    """The lines of everything that the log recorded, from its beginning. Streaming."""
    auditor = Auditor()
    for batch in log.read():
        yield from auditor.lines(batch)


class BadLine(NamedTuple):
    """The first line at which the trail is not what was written."""

    line: int
    problem: str


def whole_lines(storage: Storage) -> Iterator[tuple[int, bytes]]:
    """The number and the text of each line that is there now. Streaming.

    What is written to the trail meanwhile does not count, and neither does a torn last line.
    """
    try:
        stream = storage.stream(AUDIT_LOG)
    except FileNotFoundError:
        return
    with stream as file:
        size = _end_of_lines(file)
        file.seek(0)
        for number, text in enumerate(_lines(file), 1):
            size -= len(text)
            if size < 0:
                return
            yield number, text


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends; the end of the file where that is no trail's."""
    size = stop = file.seek(0, 2)
    while stop > 0 and size - stop < LONGEST_LINE_BYTES:
        begin = max(0, stop - OVERLAP_BYTES)
        file.seek(begin)
        if found := file.read(stop - begin).rfind(b"\n") + 1:
            return begin + found
        stop = begin
    return size if stop > 0 else 0


def verify_chain(storage: Storage) -> tuple[int, BadLine | None]:
    """How many lines are good, and the first that is not, if any. Streaming, O(bytes)."""
    return _seen_twice(lambda: _verify_chain(storage), lambda found: found[1])


def _verify_chain(storage: Storage) -> tuple[int, BadLine | None]:
    chain = FIRST_CHAIN
    number = 0
    for number, text in whole_lines(storage):
        found = _chain_of(text, chain)
        if found is None:
            return number - 1, BadLine(number, "edited, or a line before it is missing")
        chain = found
    return number, None


def verify_against_log(storage: Storage, log: ReadableLog) -> tuple[int, BadLine | None]:
    """Compare the trail, line by line, with what the log recorded. Streaming, O(events).

    Beside a live engine: the lines that are there now are compared with a log that is read after
    them, and so has at least their events.
    """
    return _seen_twice(lambda: _verify_against_log(storage, log), lambda found: found[1])


def _verify_against_log(storage: Storage, log: ReadableLog) -> tuple[int, BadLine | None]:
    chain = FIRST_CHAIN
    number = 0
    lines = whole_lines(storage)
    first = next(lines, None)
    expected = recorded_lines(log)
    while first is not None:
        number, text = first
        line = next(expected, None)
        if line is None:
            return number - 1, BadLine(number, "the log recorded no such event")
        there, chain = chained([line], chain)
        if text != there:
            return number - 1, BadLine(number, "not what the log recorded")
        first = next(lines, None)
    return number, None


def read_lines(storage: Storage) -> Iterator[dict[str, Any]]:
    """The trail's whole lines as dictionaries. Streaming.

    Raises:
        StoreError: a line is not an audit line.
    """
    for number, text in whole_lines(storage):
        try:
            line: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
            msgspec.convert(line, ChainedLine)  # has it the fields that it must have?
            yield line
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"{AUDIT_LOG}: line {number}: not an audit line ({error})") from None
