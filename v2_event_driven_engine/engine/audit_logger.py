"""Keeping the audit trail complete.

`audit.log` is derived from the log and from nothing else: every line comes from the events recorded
there, which are recorded only once their commands are durable. So it may lag, be torn by a crash or
be deleted: the next `AuditLogger.catch_up` completes it, each event exactly once. It is never read
to rebuild state.
"""

from collections.abc import Iterator
from itertools import dropwhile, islice

from ..models.enums import OrderType, TimeInForce
from . import audit_event
from .audit.trail import AUDIT_LOG, DAMAGED, TrailEnd, chained, end_of_trail, key_of
from .audit_event import Auditor, known_of
from .event_log import START, Place, ReadableLog
from .log.snapshot import Snapshots
from .log.storage import DirectoryStorage, Storage, copy_bytes, new_file

UNFINISHED = f"{AUDIT_LOG}.new"
WRITE_BYTES = 1024 * 1024
WHAT_RESTS = OrderType.LIMIT, TimeInForce.GTC
"""Type and validity of every resting order; a snapshot does not repeat them."""
ASIDE_BYTES_MAX = 1024**3
"""Where more than this is damaged at the end of a trail, the whole is set aside, not copied."""


def witness(storage: DirectoryStorage) -> tuple[int, str]:
    """The last sequence that the trail tells of; and why it cannot be gone on with, if so.

    O(bytes since the last seal but one).

    Raises:
        OSError: it could be gone on with, and cannot be read.
    """
    problem = storage.why_not_ours(AUDIT_LOG)
    end = TrailEnd()
    try:
        end = end_of_trail(storage)
    except OSError:
        if not problem:  # it is ours, and the disk fails: what it tells is not passed over
            raise
    if end.problem and storage.size(AUDIT_LOG) - end.size > ASIDE_BYTES_MAX:
        problem = f"byte {end.size}: {end.problem}, and so much after it"
    return end.sequence, problem


def set_aside(storage: Storage, problem: str) -> str:
    """Give another name to what is in the trail's place and cannot be gone on with; say so.

    For whoever holds the directory, before an audit process is started: a folder, a link, a pipe or
    a file of somebody else does not stop the log.
    """
    aside = _another_name(storage)
    storage.rename(AUDIT_LOG, aside)
    storage.sync_directory()
    return f"{AUDIT_LOG}: {problem}; it is {aside} now, and the trail is written anew from the log"


def _another_name(storage: Storage) -> str:
    return f"{DAMAGED}{storage.random64():016x}"


class AuditLogger:
    """The one writer of `audit.log`.

    Lines are a pure function of the recorded events, so after a restart the logger derives them
    again, from the newest snapshot that does not know more than the trail, and continues after the
    last good line that is there. What comes after that line is kept aside and derived again.
    O(events after that snapshot), once.
    """

    def __init__(self, storage: Storage, log: ReadableLog) -> None:
        self._log = log
        self._end = end_of_trail(storage)
        self.warnings: list[str] = []
        """What was found and mended, in sentences."""
        if self._end.problem:
            self._keep_aside(storage)
        self._auditor, self._place = self._starting_point(Snapshots(storage))
        if AUDIT_LOG not in storage.names():
            storage.create(AUDIT_LOG).close()
            storage.sync_directory()
        self._file = storage.open(AUDIT_LOG)
        self._file.truncate(self._end.size)
        # A sync that failed may have left bytes that are shown but not on the disk. Written again,
        # they are.
        synced = self._end.synced
        copy_bytes(storage, AUDIT_LOG, synced, self._end.size, self._file, synced)
        self._wait_for_sync = self._file.begin_sync()
        """Returns once the bytes up to the last seal are durable; the next seal waits for it."""
        self._chain, self._size = self._end.chain, self._end.size
        self._pending = bytearray()
        """Lines that are chained, and still to be written after the first `_size` bytes."""

    def _keep_aside(self, storage: Storage) -> None:
        aside = _another_name(storage)
        with new_file(storage, UNFINISHED) as file:
            copy_bytes(storage, AUDIT_LOG, self._end.size, storage.size(AUDIT_LOG), file, 0)
            file.sync()
            file.close()
            storage.rename(UNFINISHED, aside)
            storage.sync_directory()
        self.warnings.append(
            f"{AUDIT_LOG}: byte {self._end.size}, after sequence {self._end.sequence}: "
            f"{self._end.problem}; the bytes from there on are in {aside}, and the trail is "
            f"completed from the log"
        )

    def _starting_point(self, snapshots: Snapshots) -> tuple[Auditor, Place]:
        """Where to begin to derive lines.

        The newest good snapshot that knows less than the trail, whose last command may lack some of
        its lines; without one the beginning of the log; where that was taken away, the oldest good
        snapshot, and if that knows more than the trail, the trail has a gap.
        """
        oldest: tuple[Auditor, Place] | None = None
        sequence = 0
        for _, found in snapshots.readable():
            orders = {
                order.order_id: known_of(
                    order.symbol, order.order_id, order.participant, order.side, *WHAT_RESTS,
                    order.price,
                )
                for order in found.orders
            }  # fmt: skip
            oldest = Auditor(orders, found.sequence), Place(found.place)
            sequence = found.sequence
            if sequence < self._end.sequence:
                return oldest
        first = self._log.first_sequence()
        if first == 1 or oldest is None:
            return Auditor(), START
        if sequence > self._end.sequence:
            self.warnings.append(
                f"{AUDIT_LOG}: the log begins at sequence {first} and the trail ends at "
                f"{self._end.sequence}: it goes on from the oldest snapshot"
            )
        return oldest

    def catch_up(self) -> int:
        """Write the lines of all events recorded since the last call; how many lines."""
        if not self._log.may_have_grown(self._place):
            return 0
        written = 0
        for batch in self._log.read(self._place):
            written += self._add(dropwhile(self._is_there, self._auditor.lines(batch)))
            self._place = batch.place
        self._write()
        return written

    def _is_there(self, line: str) -> bool:
        return key_of(line) <= self._end.key

    def _add(self, lines: Iterator[str]) -> int:
        """Chain the lines and write them, now or soon; how many."""
        count = 0
        seals = self._auditor.seals
        # A command has a line at least: among so many lines there is one seal at most.
        while piece := list(islice(lines, audit_event.SEAL_EVERY)):
            text, self._chain = chained(piece, self._chain)
            self._pending += text
            count += len(piece)
            if self._auditor.seals > seals:
                seals = self._auditor.seals
                self._wait_for_sync()
                self._write()
                self._wait_for_sync = self._file.begin_sync()
            elif len(self._pending) >= WRITE_BYTES:
                self._write()
        return count

    def _write(self) -> None:
        if self._pending:
            self._file.write_at(self._size, self._pending)
            self._size += len(self._pending)
            self._pending.clear()

    def close(self) -> None:
        """Make the trail durable and close the file."""
        self._wait_for_sync()
        self._file.sync()
        self._file.close()
