"""A data directory to look at: opened for reading only, also beside a live engine."""

from pathlib import Path
from typing import NamedTuple

from ..engine.audit.trail import AUDIT_LOG, DAMAGED
from ..engine.log.recovery import Recovered
from ..engine.log.snapshot import Snapshots
from ..engine.log.storage import DirectoryStorage
from ..engine.wal_event_store import TORN, WalEventStore
from ..errors import DirectoryUnusable
from .output import Report


class Directory(NamedTuple):
    """What is in a data directory."""

    storage: DirectoryStorage
    log: WalEventStore
    snapshots: Snapshots

    @property
    def audit_log(self) -> Path:
        """The file of the audit trail, for messages; it may be missing."""
        return self.storage.path / AUDIT_LOG

    def kept_aside(self) -> list[str]:
        """The files, archived ones too, with what was torn or damaged; nothing needs them."""
        return [
            name for name in self.storage.names() if name.startswith(DAMAGED) or name.endswith(TORN)
        ]


def open_for_reading(data_dir: Path) -> Directory:
    """The directory, if there is a log in it.

    Raises:
        DirectoryUnusable: it is missing, forbidden, or has no log.
    """
    storage = DirectoryStorage(data_dir)
    log = WalEventStore(storage)
    if not log.files():
        raise DirectoryUnusable(
            f"{data_dir}: there is no log here; with --data-dir name a directory that an engine "
            f"wrote"
        )
    return Directory(storage, log, Snapshots(storage))


def report_of(state: Recovered) -> Report:
    """What every report begins with."""
    return {
        "ok": True,
        "sequence": state.matcher.sequence,
        "resting_orders": state.matcher.resting_order_count(),
        "trades": state.matcher.last_trade_id,
        "state_hash": state.matcher.state_hash(),
        **({"warnings": state.warnings} if state.warnings else {}),
    }
