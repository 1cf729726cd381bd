"""The audit log: writing it from the log, completing it after a crash, checking it.

``audit.log`` is a consumer of the write-ahead log and nothing else: every line is derived from
the recorded events there, which are recorded only once their commands are durable. So it may lag,
be torn by a crash, or be deleted: the next :meth:`AuditLogger.catch_up` completes it, each event
exactly once. It is never read to rebuild state.

**Chain.** Each line ends with ``"chain":"…"``: 128 bits of SHA-256 over the chain of the line
before and the line's own text. Editing, deleting, inserting or reordering lines breaks it at that
line. What a chain cannot show: lines cut from the end, or a trail rewritten as a whole, unless
somebody outside keeps a copy of the last chain.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import StoreError
from .audit_event import AuditLine, Auditor
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


class Place(NamedTuple):
    """Where a trail ends: its last line's identity, its chain, and the bytes up to there."""

    sequence: int
    event_index: int
    liquidity: str
    chain: str
    size: int


NOWHERE = Place(0, 0, "", FIRST_CHAIN, 0)


def seal(line: bytes, chain: str) -> tuple[bytes, str]:
    """The finished line, and its chain."""
    link = hashlib.sha256(chain.encode() + line).hexdigest()[:32]
    return line[:-1] + CHAIN_FIELD + link.encode() + b'"}\n', link


def last_place(storage: Storage) -> Place:
    """The last whole line of the trail. A torn line behind it does not count. O(1)."""
    size = storage.size(AUDIT_LOG)
    tail_at, tail, line = size, b"", b""
    while tail_at and not line:  # look further back until a whole line is in sight
        tail_at = max(0, size - max(TAIL_BYTES, 2 * (size - tail_at)))
        tail = storage.read(AUDIT_LOG, tail_at)
        start = tail.rfind(b"\n", 0, tail.rfind(b"\n") if b"\n" in tail else 0) + 1
        if start or tail_at == 0:
            line = tail[start : tail.rfind(b"\n") + 1]
    if not line:
        return NOWHERE
    try:
        found = msgspec.json.decode(line, type=_Identity)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{AUDIT_LOG}: the last line is not an audit line ({error}): move the file away, it is "
            f"rebuilt from the log"
        ) from None
    return Place(
        found.sequence, found.index, found.liquidity, found.chain, tail_at + tail.rfind(b"\n") + 1
    )


class _Identity(msgspec.Struct):
    """The fields of a line that tell which one it is."""

    sequence: int
    index: int
    chain: str
    liquidity: str = ""


def last_audited_sequence(storage: Storage) -> int:
    """The sequence of the last whole line of the trail, 0 without one."""
    return last_place(storage).sequence


class AuditLogger:
    """The one writer of ``audit.log``.

    Lines are a pure function of the recorded events, so after a restart the logger derives them
    from the beginning again and starts to write behind the last line that is there. O(events)
    once.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._position: Position = START
        self._auditor = Auditor()
        self._place = last_place(storage)
        self._skipping = self._place.sequence > 0
        self._file: StorageFile = (
            storage.open(AUDIT_LOG) if storage.size(AUDIT_LOG) else storage.create(AUDIT_LOG)
        )
        self._file.truncate(self._place.size)

    @property
    def sequence(self) -> int:
        """The sequence up to which the trail is complete."""
        return self._place.sequence

    def catch_up(self) -> int:
        """Write the lines of all events recorded since the last call; how many lines."""
        if not anything_behind(self._storage, self._position):
            return 0
        reader = LogReader(self._storage, self._position)
        written = 0
        pending = bytearray()
        for batch in reader:
            for events in decode_outcomes(batch.body.outcomes):
                for line in self._auditor.lines(events):
                    if self._skipping:
                        self._skip(line)
                        continue
                    text, chain = seal(_encoder.encode(line), self._place.chain)
                    pending += text
                    written += 1
                    self._place = Place(
                        line.sequence, line.index, line.liquidity or "", chain,
                        self._place.size + len(text),
                    )  # fmt: skip
            if len(pending) >= WRITE_BYTES:
                self._write(pending)
        self._write(pending)
        self._position = reader.position
        return written

    def _skip(self, line: AuditLine) -> None:
        place = self._place
        if (line.sequence, line.index, line.liquidity or "") == place[:3]:
            self._skipping = False

    def _write(self, pending: bytearray) -> None:
        if pending:
            self._file.write_at(self._place.size - len(pending), pending)
            pending.clear()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class BrokenChain(NamedTuple):
    """The first line at which the trail is not what was written."""

    line: int
    problem: str


def verify_chain(path: Path) -> tuple[int, BrokenChain | None]:
    """How many lines are good, and the first that is not, if any. Streaming, O(bytes)."""
    chain = FIRST_CHAIN
    number = 0
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):  # a crash tore it; it is completed from the log
                return number - 1, None
            line = text[:-CHAIN_BYTES] + b"}"
            expected, chain = seal(line, chain)
            if text != expected:
                return number - 1, BrokenChain(number, "edited, or a line before it is missing")
    return number, None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The trail's whole lines as dictionaries. Streaming."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return
            try:
                yield msgspec.json.decode(text, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise StoreError(f"{path}: line {number}: not an audit line ({error})") from None
