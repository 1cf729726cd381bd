"""The log of a cluster as a log in files, and back: a copy that needs no server to be read.

A backup is a data directory as an engine on one machine has it: `verify`, `replay`, `audit` and
`status` work on it. Its batches are those of LOG, one by one, with their sequences, times and tags;
the events are derived again on the way and compared with what the writer recorded. The tags say
which client sent what, so a cluster that is restored from a backup still knows whom it answered.
"""

from typing import NamedTuple

from msgspec.structs import replace

from ..engine.audit_logger import AuditLogger
from ..engine.event_log import START, Batch, EventLog, Place
from ..engine.events import AnyEvent
from ..engine.log.recovery import (
    Progress,
    Recovered,
    newest_start,
    step,
    take_snapshot,
)
from ..engine.log.snapshot import Snapshots
from ..engine.log.storage import Storage
from ..engine.market.matcher import Matcher
from ..engine.wal_event_store import WalEventStore
from ..errors import BatchTooLarge, StoreError
from .node import publish
from .replica import Replica
from .replicated_log import ReplicatedEventLog, is_in, position_of
from .snapshots import SNAPSHOT_COMMANDS
from .stream import Clock, Stream

OUT_TOGETHER = 64


class Copied(NamedTuple):
    """What a backup, or a restore, has done."""

    sequence: int
    """Of the last command that is there now."""
    commands: int
    """How many of them were not there before."""
    state_hash: str
    symbols: list[str]
    """Those that are listed."""


def _copied(matcher: Matcher, commands: int) -> Copied:
    return Copied(matcher.sequence, commands, matcher.state_hash(), list(matcher.instruments))


# -- From LOG to files --------------------------------------------------------------------------


def backup(
    stream: Stream, clock: Clock, storage: Storage, progress: Progress = lambda _: None
) -> Copied:
    """Bring a data directory up to the present end of LOG, on from where it ends. O(commands).

    Raises:
        DirectoryInUse: an engine, or another backup, has it open.
        StoreError: what is in it is not a backup of this log.
        ReplayDivergence, LogDamaged: see `errors.py`; what is before it has been copied.
        LogUnavailable: nobody answered.
    """
    storage.lock()
    try:
        copied = _Backup(stream, clock, storage, progress).run()
        logger = AuditLogger(storage, WalEventStore(storage))
        logger.catch_up()
        logger.close()
        return copied
    finally:
        storage.unlock()


class _Backup:
    """One run of a backup.

    It ends with a batch that closes the log in files, whose tag is the place in LOG up to which it
    has come. That batch also records the last events, although LOG may not have them yet; the next
    run compares them.
    """

    def __init__(self, stream: Stream, clock: Clock, storage: Storage, progress: Progress) -> None:
        self._stream = stream
        self._log = ReplicatedEventLog(stream, clock, "backup", 0)
        self._files = WalEventStore(storage)
        self._snapshots = Snapshots(storage)
        self._progress = progress
        self._place = START
        """In LOG, up to where the last run that was finished has come."""
        self._finished = START
        """In the files, the end of that run: what comes after it is held against LOG."""
        self._recorded = False
        """Whether the files have the events of the last commands already."""
        self._writing = False
        self._state = self._recover()
        batches = WalEventStore(storage).read(self._finished)
        self._there = (batch for batch in batches if batch.commands)
        """What the files have after the last run that was finished, as far as LOG has it, too."""

    def _recover(self) -> Recovered:
        state = newest_start(self._snapshots)
        events = state.unrecorded
        for batch in self._files.read(state.place):
            step(state, batch)
            if batch.commands:
                events = state.unrecorded
            self._look_for_end_of_run(batch)
            self._progress(state.matcher.sequence)
        if self._finished == START and state.snapshot_sequence:  # it is before the snapshot
            for batch in self._files.read():
                self._look_for_end_of_run(batch)
        if state.closed and position_of(self._place).pending:  # LOG did not have them there
            state.unrecorded, self._recorded = events, True
        return state

    def _look_for_end_of_run(self, batch: Batch) -> None:
        if batch.closed and batch.tag:  # an engine closes its log, too, and without a tag
            self._place, self._finished = Place(batch.tag), batch.place

    def run(self) -> Copied:
        state = self._state
        if not is_in(self._stream, self._place):
            raise self._other()
        before = state.matcher.sequence
        place = self._place
        try:
            for batch in self._log.read(place):
                place = batch.place
                if self._is_new(batch):
                    self._copy(batch)
                self._progress(state.matcher.sequence)
            self._start()
            self._close(place)
        finally:
            self._files.close()
        newest = max(map(_sequence, self._snapshots.names()), default=0)
        if state.matcher.sequence - newest >= SNAPSHOT_COMMANDS:
            take_snapshot(self._files, self._snapshots, progress=self._progress)
        commands = state.matcher.sequence - before
        return _copied(state.matcher, commands)

    def _other(self) -> StoreError:
        return StoreError(
            f"{self._stream.name}: this directory is not a backup of this log; name an empty one"
        )

    def _is_new(self, batch: Batch) -> bool:
        """Whether the files do not have the batch yet.

        Raises:
            StoreError: they have something else.
        """
        sequence = self._state.matcher.sequence
        found = next(self._there, None) if batch.commands else None
        if found is not None:
            if _sent(found) != _sent(batch):
                raise self._other()
            return False
        if not batch.commands and batch.first_sequence <= sequence:
            return False
        if batch.first_sequence != sequence + 1:
            raise self._other()
        return True

    def _start(self) -> None:
        """Become the writer of the files, once they have been found to be a part of LOG.

        Raises:
            StoreError: they have more than LOG.
        """
        if self._writing:
            return
        if next(self._there, None) is not None:
            raise self._other()
        self._files.start(self._state.place)
        self._writing = True

    def _copy(self, batch: Batch) -> None:
        """Compare, apply and append the next batch."""
        self._start()
        state = self._state
        if not state.unrecorded and batch.outcomes_first < batch.first_sequence:
            # They were compared when they were copied, with a batch that is not new.
            batch = replace(batch, outcomes=(), outcomes_first=batch.first_sequence)
        outcomes = [] if self._recorded else state.unrecorded
        step(state, batch)
        self._recorded = False
        append_with(self._files, batch, outcomes)

    def _close(self, place: Place) -> None:
        state = self._state
        first = state.matcher.sequence + 1
        outcomes = [] if self._recorded else state.unrecorded
        self._files.append(
            Batch(
                first_sequence=first,
                timestamp_ns=state.timestamp_ns,
                commands=(),
                outcomes_first=first - len(outcomes),
                outcomes=outcomes,
                closed=True,
                tag=place,
            )
        )


def _sent(batch: Batch) -> tuple[object, ...]:
    """What is the same in every copy of a batch."""
    return batch.first_sequence, batch.timestamp_ns, list(batch.commands), batch.tag


def append_with(log: EventLog, batch: Batch, outcomes: list[list[AnyEvent]]) -> None:
    """Append a batch to another log, with the outcomes that that one does not have yet.

    Where they are too large to go with it, they go before it.
    """
    first = batch.first_sequence
    empty = Batch(
        first_sequence=first,
        timestamp_ns=batch.timestamp_ns,
        commands=(),
        outcomes_first=first - len(outcomes),
        outcomes=outcomes,
    )
    if not batch.commands:
        if outcomes:
            log.append(empty)
        return
    full = replace(empty, commands=batch.commands, tag=batch.tag)
    try:
        log.append(full)
    except BatchTooLarge:
        if not outcomes:
            raise
        log.append(empty)
        log.append(replace(full, outcomes=(), outcomes_first=first))


def _sequence(name: str) -> int:
    return int(name.rpartition(".")[2])


# -- From files to LOG --------------------------------------------------------------------------


def restore(
    storage: Storage,
    stream: Stream,
    out: Stream,
    clock: Clock,
    nonce: int,
    progress: Progress = lambda _: None,
) -> Copied:
    """Append what is in a data directory to an empty LOG, and fill OUT. O(commands).

    A restore that was interrupted is gone on with. The nodes must have been stopped. `nonce` is a
    number that no other start of a node, or restore, has.

    Raises:
        StoreError: LOG has something else, or the directory does not begin at the first command.
        Fenced: a node has taken LOG over meanwhile.
        LogDamaged, ReplayDivergence, UnsupportedFormat: of the directory; what is before it was
            appended.
    """
    files = WalEventStore(storage)
    if files.first_sequence() != 1:
        raise StoreError(
            "the log in this directory does not begin with the first command: put back what was "
            "taken away from its archive/"
        )
    return _Restore(files, stream, out, clock, nonce).run(progress)


class _Restore:
    """One run of a restore: first along what LOG has already, then behind it."""

    def __init__(
        self, files: WalEventStore, stream: Stream, out: Stream, clock: Clock, nonce: int
    ) -> None:
        self._files = files
        self._name = stream.name
        self._out = out
        self._clock = clock
        self._log = ReplicatedEventLog(stream, clock, "restore", nonce)
        self._there = self._log.read()
        self._place = START
        """Of the last batch that was found in LOG."""
        self._unrecorded: list[list[AnyEvent]] = []
        """Events that LOG does not have yet."""
        self._replica = Replica()
        self._writing = False

    def run(self, progress: Progress) -> Copied:
        replica = self._replica
        replica.published(self._out.last())
        found = 0
        for batch in self._files.read():
            replica.apply(batch)
            if not batch.commands:
                continue
            if not self._writing and self._is_there(batch):
                found = replica.sequence
            else:
                append_with(self._log, batch, self._unrecorded)
            self._unrecorded = replica.state.unrecorded
            if len(replica.unpublished) >= OUT_TOGETHER:
                self._publish()
            progress(replica.sequence)
        if not self._writing and next(self._there, None) is not None:
            raise self._other()
        self._publish()
        matcher = replica.state.matcher
        return _copied(matcher, matcher.sequence - found)

    def _is_there(self, batch: Batch) -> bool:
        """Whether LOG has the batch already; from the first one on that it does not it is written.

        Raises:
            StoreError: it has another one there.
        """
        for found in self._there:
            self._place = found.place
            if found.commands:
                if _sent(found) == _sent(batch):
                    return True
                raise self._other()
            self._unrecorded = []  # a barrier, which has recorded them
        self._log.start(self._place)
        self._writing = True
        return False

    def _other(self) -> StoreError:
        return StoreError(
            f"{self._name} is not empty, and has not what this directory has: restore to a new "
            f"cluster"
        )

    def _publish(self) -> None:
        while publish(self._replica, self._out, self._clock):
            pass
