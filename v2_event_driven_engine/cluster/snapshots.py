"""Snapshots of a node: where it goes on from when it is started again.

A standby takes them, so that the active never pauses, and each node keeps its own in its data
directory. They are files of `engine/log/snapshot.py`, to which the node attaches what a replica is
besides its matcher: the sessions, and how many messages OUT has. They save time and nothing else: a
node without any reads the log from the start.
"""

from contextlib import suppress

from ..engine.log.recovery import restored, snapshot_of
from ..engine.log.snapshot import Snapshots
from ..engine.log.storage import Storage
from ..errors import LogUnavailable, StoreError
from .replica import Replica
from .replicated_log import is_in
from .stream import Stream

SNAPSHOT_COMMANDS = 1_000_000
"""A standby takes a snapshot after so many commands. To replay them takes some three seconds."""
OF_ANOTHER_LOG = ".of_another_log"
"""How the name ends of a snapshot that was put aside."""


class NodeSnapshots:
    """The snapshots in the data directory of one node."""

    def __init__(self, storage: Storage, out: Stream, *, every: int = SNAPSHOT_COMMANDS) -> None:
        """Keep them in `storage`. `out` is asked for its end, by the thread of the node."""
        self.warnings: list[str] = []
        """What was passed over, in sentences."""
        self._storage = storage
        self._snapshots = Snapshots(storage)
        self._out = out
        self._every = every
        self._last = 0
        """The sequence of the newest snapshot, or of the last attempt."""

    def newest(self, log: Stream) -> Replica:
        """A replica as the newest good snapshot of this log has it, or an empty one. O(snapshot).

        A snapshot whose place is not in the log, because it is of another one, is put aside.

        Raises:
            LogUnavailable: the log could not be asked.
        """
        for name in self._snapshots.names():
            try:
                replica = self._replica(name, log)
            except LogUnavailable:
                raise
            except (StoreError, FileNotFoundError) as error:
                self.warnings.append(f"{error}; an older one, or the whole log, is used instead")
                continue
            self._last = replica.sequence
            return replica
        return Replica()

    def _replica(self, name: str, log: Stream) -> Replica:
        """The replica that a snapshot is of.

        Raises:
            StoreError: there is something wrong with it, or it is of another log.
        """
        found = self._snapshots.read(name)
        if not found.attached:
            raise StoreError(f"{name}: no node has taken it")
        replica = Replica(restored(found), found.attached)
        if not is_in(log, replica.state.place):
            self._storage.rename(name, f"{name}{OF_ANOTHER_LOG}")
            raise StoreError(f"{name}: its place is not in {log.name}")
        return replica

    def followed(self, replica: Replica) -> None:
        """Take a snapshot, if there have been enough commands since the last one. O(orders).

        For `Node`, which calls it on a standby. OUT must have all that the snapshot is of: whoever
        starts from it cannot derive the events before it any more. Nothing is raised: a node does
        not end because its disk is full.
        """
        if replica.sequence < self._last + self._every:
            return
        with suppress(LogUnavailable):
            if self._out.last() < replica.batches:
                return
            self._last = replica.sequence
            try:
                self._snapshots.write(snapshot_of(replica.state, replica.attached()))
            except (OSError, StoreError) as error:
                self.warnings.append(f"no snapshot at sequence {replica.sequence}: {error}")
