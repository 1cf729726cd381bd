"""A node goes on from its newest good snapshot, or from the start, and is the same either way."""

import errno
from pathlib import Path

import pytest

from v2_event_driven_engine import LogUnavailable
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.snapshots import NodeSnapshots
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage

from ..flow import commands
from ..golden_files import GOLDEN
from ..memory_storage import MemoryStorage
from .in_process import Cluster
from .memory_stream import MemoryStream, no_clock

FLOW = list(commands(2000, seed=3))


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """One that has ended; its streams are read only."""
    with Cluster() as cluster:
        with cluster.client(7) as client:
            for first in range(0, 2000, 50):
                client.submit_many(FLOW[first : first + 50]).result(60)
        with cluster.client(8) as client:
            client.submit(FLOW[1]).result(60)
    return cluster


def follow(
    cluster: Cluster, snapshots: NodeSnapshots, replica: Replica, until: int = 10**9
) -> Replica:
    """As a standby does."""
    log = ReplicatedEventLog(cluster.logs[0], no_clock, "b", 0)
    for batch in log.read(replica.state.place):
        replica.apply(batch)
        snapshots.followed(replica)
        if replica.sequence >= until:
            break
    return replica


def same(one: Replica, two: Replica) -> bool:
    return (
        one.state.matcher.state() == two.state.matcher.state()
        and one.sessions.hash() == two.sessions.hash()
        and one.batches == two.batches
        and one.state.place == two.state.place
        and one.state.unrecorded == two.state.unrecorded
    )


def test_a_node_is_the_same_from_a_snapshot_and_from_the_start(cluster: Cluster) -> None:
    storage = MemoryStorage()
    snapshots = NodeSnapshots(storage, cluster.outs[0], every=300)
    fresh = snapshots.newest(cluster.logs[0])
    assert fresh.sequence == 0
    whole = follow(cluster, snapshots, fresh)
    assert [int(name[-5:]) for name in Snapshots(storage).names()] == [1800, 1500]
    for until in (1900, 10**9):
        again = NodeSnapshots(storage, cluster.outs[0], every=10**9)
        replica = again.newest(cluster.logs[0])
        assert (replica.sequence, again.warnings) == (1800, [])
        follow(cluster, again, replica, until)
    assert same(whole, replica)
    assert replica.sessions.last_number(7) == 40


def test_a_snapshot_waits_until_out_has_its_events(cluster: Cluster) -> None:
    out = MemoryStream("OUT_0")
    out.messages = cluster.outs[0].messages[:20]
    storage = MemoryStorage()
    follow(cluster, NodeSnapshots(storage, out, every=300), Replica())
    assert [int(name[-5:]) for name in Snapshots(storage).names()] == [900, 600]
    out.messages = []
    storage = MemoryStorage()
    follow(cluster, NodeSnapshots(storage, out, every=300), Replica())
    assert storage.names() == []


def test_a_damaged_snapshot_is_passed_over_with_a_warning(cluster: Cluster) -> None:
    storage = MemoryStorage()
    follow(cluster, NodeSnapshots(storage, cluster.outs[0], every=300), Replica())
    newest, older = Snapshots(storage).names()
    storage.files[newest][-3] ^= 1
    snapshots = NodeSnapshots(storage, cluster.outs[0])
    assert snapshots.newest(cluster.logs[0]).sequence == 1500
    [warning] = snapshots.warnings
    assert warning.startswith(newest)
    storage.files[older][20] ^= 1
    snapshots = NodeSnapshots(storage, cluster.outs[0])
    assert snapshots.newest(cluster.logs[0]).sequence == 0
    assert len(snapshots.warnings) == 2


def test_a_snapshot_of_another_log_is_put_aside(cluster: Cluster) -> None:
    storage = MemoryStorage()
    follow(cluster, NodeSnapshots(storage, cluster.outs[0], every=300), Replica())
    for messages in ([], cluster.logs[0].messages[:30], [b"", *cluster.logs[0].messages]):
        another = MemoryStream("LOG_9")
        another.messages = messages
        copy = MemoryStorage()
        copy.files = {name: bytearray(content) for name, content in storage.files.items()}
        snapshots = NodeSnapshots(copy, cluster.outs[0])
        assert snapshots.newest(another).sequence == 0
        assert all("its place is not in LOG_9" in warning for warning in snapshots.warnings)
        assert len(snapshots.warnings) == 2
        assert Snapshots(copy).names() == []
        assert all(name.endswith(".of_another_log") for name in copy.names())


def test_a_snapshot_of_an_engine_is_not_one_of_a_node(cluster: Cluster) -> None:
    snapshots = NodeSnapshots(MemoryStorage.copy_of(GOLDEN / "snapshot_4"), cluster.outs[0])
    assert snapshots.newest(cluster.logs[0]).sequence == 0
    assert "no node has taken it" in snapshots.warnings[0]


def test_a_log_that_cannot_be_asked_is_not_taken_for_another_one(cluster: Cluster) -> None:
    class Silent(MemoryStream):
        def get(self, position: int) -> bytes | None:
            raise LogUnavailable("nobody answers")

        def last(self) -> int:
            raise LogUnavailable("nobody answers")

    storage = MemoryStorage()
    follow(cluster, NodeSnapshots(storage, Silent("OUT_0"), every=300), Replica())
    assert storage.names() == [], "it is unknown what OUT has"
    follow(cluster, NodeSnapshots(storage, cluster.outs[0], every=300), Replica())
    with pytest.raises(LogUnavailable):
        NodeSnapshots(storage, cluster.outs[0]).newest(Silent("LOG_0"))
    assert len(Snapshots(storage).names()) == 2


def test_a_full_disk_does_not_end_a_standby(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    storage = DirectoryStorage(tmp_path)
    monkeypatch.setattr(storage, "rename", full)
    snapshots = NodeSnapshots(storage, cluster.outs[0], every=600)
    assert follow(cluster, snapshots, Replica()).sequence == 2001
    assert len(snapshots.warnings) == 3
    assert "No space left on device" in snapshots.warnings[0]
