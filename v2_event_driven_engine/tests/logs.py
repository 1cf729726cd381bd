"""What tests ask of a log in files: its state, its snapshots, where its batches end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from v2_event_driven_engine import Batch, Command, EventLog
from v2_event_driven_engine.engine.audit_logger import AuditLogger
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log import recovery
from v2_event_driven_engine.engine.log.reader import position_of
from v2_event_driven_engine.engine.log.recovery import Recovered
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage, Storage
from v2_event_driven_engine.engine.receipt import Submitted
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.subscribers import Subscribers
from v2_event_driven_engine.engine.wal_event_store import WalEventStore


def storage_of(where: Path | Storage) -> Storage:
    return DirectoryStorage(where) if isinstance(where, Path) else where


def log_in(where: Path | Storage) -> WalEventStore:
    return WalEventStore(storage_of(where))


def logger_on(storage: Storage) -> AuditLogger:
    """The writer of the audit trail, as the audit process makes it."""
    return AuditLogger(storage, log_in(storage))


def recover(where: Path | Storage, *, until: int | None = None) -> Recovered:
    """The state that a directory stands for, as an engine would recover it."""
    storage = storage_of(where)
    return recovery.recover(WalEventStore(storage), Snapshots(storage), until=until)


def replay(where: Path | Storage) -> Recovered:
    """The state, from as early as the directory allows."""
    storage = storage_of(where)
    log = WalEventStore(storage)
    return recovery.follow(log, recovery.earliest_start(log, Snapshots(storage)))


def take_snapshot(where: Path | Storage) -> tuple[Recovered, str]:
    storage = storage_of(where)
    return recovery.take_snapshot(WalEventStore(storage), Snapshots(storage))


def end_of(batch: Batch) -> int:
    """The offset at which a batch ends, in the file where it begins."""
    return position_of(batch.place).offset


def open_log(
    storage: Storage, *, segment_bytes: int, witnessed: int = 0
) -> tuple[Recovered, WalEventStore]:
    """Recover and start the log, as an engine does."""
    log = WalEventStore(storage, segment_bytes=segment_bytes)
    state = recovery.recover(log, Snapshots(storage))
    log.start(state.place, witnessed)
    return state, log


def sequencer_on(
    state: Recovered, log: EventLog, clock: Callable[[], int] = lambda: 1
) -> Sequencer:
    """The writer's work on a log that was opened."""
    return Sequencer(
        state.matcher, log, Subscribers(), clock,
        timestamp_ns=state.timestamp_ns, unrecorded=state.unrecorded,
    )  # fmt: skip


def process(sequencer: Sequencer, *commands: Command) -> list[list[AnyEvent]]:
    """One batch of commands; the events of each."""
    return sequencer.process([Submitted[Any](command) for command in commands])


def batch_of(
    first: int,
    *commands: Command,
    timestamp_ns: int = 0,
    outcomes: Sequence[Sequence[AnyEvent]] = (),
    closed: bool = False,
    tag: bytes = b"",
) -> Batch:
    """A batch that begins at `first` and records the outcomes of the commands before it."""
    return Batch(
        first_sequence=first,
        timestamp_ns=timestamp_ns,
        commands=commands,
        outcomes_first=first - len(outcomes),
        outcomes=outcomes,
        closed=closed,
        tag=tag,
    )
