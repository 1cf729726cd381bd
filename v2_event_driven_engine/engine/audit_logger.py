"""The audit log: writing it from the log, completing it after a crash, checking it.

``audit.log`` is a consumer of the write-ahead log and nothing else: every line is derived from the
events recorded there, which are recorded only once their commands are durable. So it may lag, be
torn by a crash, or be deleted: the next :meth:`AuditLogger.catch_up` completes it, each event
exactly once. It is never read to rebuild state.

**Chain.** Each line ends with ``"chain":"…"``: 128 bits of SHA-256 over the chain of the line
before and the line's own text. Editing, deleting, inserting or reordering lines breaks it at that
line. Every 10,000 commands a ``trail_sealed`` line follows, a place worth copying to somewhere
else: what a chain alone cannot show is lines cut from the end, or a trail rewritten as a whole.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import StoreError, UnsupportedFormat
from . import snapshot
from .audit_event import SEAL_EVERY, AuditLine, Auditor, Known
from .storage import Storage, StorageFile
from .wal_format import decode_outcomes
from .wal_reader import START, LogReader, Position, anything_behind

AUDIT_LOG = "audit.log"
FIRST_CHAIN = "0" * 32
CHAIN_FIELD = b',"chain":"'
CHAIN_BYTES = len(CHAIN_FIELD) + 32 + len(b'"}\n')
TAIL_BYTES = 64 * 1024
WRITE_BYTES = 1024 * 1024

_encoder = msgspec.json.Encoder()

Key = tuple[int, int, int]
"""Which line it is: sequence, index, and for a trade 0 for the taker's line, 1 for the maker's."""


def line_key(line: AuditLine) -> Key:
    """The lines of a trail are written in the order of their keys, each key once."""
    return line.sequence, line.index, int(line.liquidity == "MAKER")


def chained(line: AuditLine, chain: str) -> tuple[bytes, str]:
    """The line's text in the file, and the chain up to there."""
    text = _encoder.encode(line)
    link = hashlib.sha256(chain.encode() + text).hexdigest()[:32]
    return text[:-1] + CHAIN_FIELD + link.encode() + b'"}\n', link


class ChainedLine(AuditLine, omit_defaults=True, kw_only=True):
    """A line as it stands in the file."""

    chain: str


class Place(NamedTuple):
    """Where a trail ends: which line is its last, its chain, and the bytes up to there."""

    key: Key
    chain: str
    size: int


NOWHERE = Place((0, -1, 0), FIRST_CHAIN, 0)


def last_place(storage: Storage) -> Place:
    """The last whole line of the trail; a torn line behind it does not count. O(1).

    Raises:
        StoreError: the line is not one of a trail.
    """
    size = storage.size(AUDIT_LOG)
    begin, tail, line = size, b"", b""
    while begin and not line:  # look further back until a whole line is in sight
        begin = max(0, size - max(TAIL_BYTES, 2 * (size - begin)))
        tail = storage.read(AUDIT_LOG, begin)
        tail = tail[: tail.rfind(b"\n") + 1]
        start = tail.rfind(b"\n", 0, max(0, len(tail) - 1)) + 1
        if start or not begin:
            line = tail[start:]
    if not line:
        return NOWHERE
    try:
        found = msgspec.json.decode(line, type=ChainedLine)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{AUDIT_LOG}: the last line is not an audit line ({error}): move the file away, it is "
            f"rebuilt from the log"
        ) from None
    return Place(line_key(found), found.chain, begin + len(tail))


def last_audited_sequence(storage: Storage) -> int:
    """The sequence of the last whole line of the trail, 0 without one."""
    return last_place(storage).key[0]


def recorded_lines(reader: LogReader, auditor: Auditor, known: int = 0) -> Iterator[AuditLine]:
    """All lines behind ``reader``'s place, seals included, but for the events up to ``known``."""
    sealed = max(known - 1, 0) // SEAL_EVERY
    for batch in reader:
        try:
            outcomes = decode_outcomes(batch.body.outcomes)
        except msgspec.DecodeError as error:
            raise UnsupportedFormat(
                f"{batch.file}: byte {batch.offset}: an unknown event ({error})"
            ) from None
        for sequence, events in enumerate(outcomes, batch.body.outcomes_first):
            if sequence > known:
                if sequence > (sealed + 1) * SEAL_EVERY:
                    sealed += 1
                    yield AuditLine(sealed * SEAL_EVERY, "trail_sealed")
                yield from auditor.lines(events)


def _starting_point(storage: Storage, audited: int) -> tuple[Auditor, Position, int]:
    """Where to begin deriving lines, and the last sequence that is behind that place already."""
    for name in snapshot.newest_first(storage):
        with suppress(StoreError):
            found = snapshot.read(storage, name)
            known = found.position.next_sequence - 1
            if known <= audited:
                orders = {
                    order.order_id: Known(
                        order.symbol, order.participant, order.side.name, "LIMIT", "GTC",
                        order.price,
                    )  # only a LIMIT GTC ever rests
                    for order in found.orders
                }  # fmt: skip
                return Auditor(orders), found.position, known
    return Auditor(), START, 0


class AuditLogger:
    """The one writer of ``audit.log``.

    Lines are a pure function of the recorded events, so after a restart the logger derives them
    again, from the newest snapshot that is not ahead of the trail, and writes on behind the last
    line that is there. O(events behind that snapshot), once.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._place = last_place(storage)
        self._auditor, self._position, self._known = _starting_point(storage, self._place.key[0])
        self._file: StorageFile = (
            storage.open(AUDIT_LOG) if storage.size(AUDIT_LOG) else storage.create(AUDIT_LOG)
        )
        self._file.truncate(self._place.size)

    def catch_up(self) -> int:
        """Write the lines of all events recorded since the last call; how many lines."""
        if not anything_behind(self._storage, self._position):
            return 0
        reader = LogReader(self._storage, self._position)
        written = 0
        pending = bytearray()
        for line in recorded_lines(reader, self._auditor, self._known):
            key = line_key(line)
            if key <= self._place.key:
                continue
            text, chain = chained(line, self._place.chain)
            pending += text
            written += 1
            self._place = Place(key, chain, self._place.size + len(text))
            if len(pending) >= WRITE_BYTES:
                self._write(pending)
        self._write(pending)
        self._position = reader.position
        self._known = max(self._known, self._place.key[0])
        return written

    def _write(self, pending: bytearray) -> None:
        if pending:
            self._file.write_at(self._place.size - len(pending), pending)
            pending.clear()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class BadLine(NamedTuple):
    """The first line at which the trail is not what was written."""

    line: int
    problem: str


def verify_chain(path: Path) -> tuple[int, BadLine | None]:
    """How many lines are good, and the first that is not, if any. Streaming, O(bytes)."""
    chain = FIRST_CHAIN
    number = 0
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):  # a crash tore it; it is completed from the log
                return number - 1, None
            line = text[:-CHAIN_BYTES] + b"}"
            link = hashlib.sha256(chain.encode() + line).hexdigest()[:32].encode()
            if text != line[:-1] + CHAIN_FIELD + link + b'"}\n':
                return number - 1, BadLine(number, "edited, or a line before it is missing")
            chain = link.decode()
    return number, None


def verify_against_log(path: Path, storage: Storage) -> tuple[int, BadLine | None]:
    """Compare the trail, line by line, with what the log recorded. Streaming, O(events)."""
    chain = FIRST_CHAIN
    number = 0
    expected = recorded_lines(LogReader(storage), Auditor())
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return number - 1, None
            line = next(expected, None)
            if line is None:
                return number - 1, BadLine(number, "the log recorded no such event")
            there, chain = chained(line, chain)
            if text != there:
                return number - 1, BadLine(number, "not what the log recorded")
    return number, None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The trail's whole lines as dictionaries. Streaming.

    Raises:
        StoreError: a line is not JSON.
    """
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return
            try:
                yield msgspec.json.decode(text, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise StoreError(f"{path}: line {number}: not an audit line ({error})") from None
