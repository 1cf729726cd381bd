"""The log of a cluster in files, and back again."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from v2_event_driven_engine import (
    DirectoryInUse,
    EventDrivenMatchingEngine,
    ReplayDivergence,
    StoreError,
)
from v2_event_driven_engine.cluster import backup as backup_module
from v2_event_driven_engine.cluster.backup import Copied, backup, restore
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.engine import wal_event_store
from v2_event_driven_engine.engine.audit.trail import verify_against_log
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.main import main
from v2_event_driven_engine.models.commands import Command

from ..flow import commands
from ..logs import log_in, recover, replay
from ..subcommands import READERS
from .in_process import Cluster
from .memory_stream import MemoryStream, no_clock

FLOW = list(commands(3000, seed=7))


def carry_out(cluster: Cluster, flow: list[Command], client_id: int = 7) -> None:
    """Let a client submit them, in requests of some size."""
    with cluster.client(client_id) as client:
        for first in range(0, len(flow), 50):
            client.submit_many(flow[first : first + 50]).result(60)


def copied(cluster: Cluster, directory: Path) -> Copied:
    return backup(cluster.logs[0], no_clock, DirectoryStorage(directory, create=True))


def replayed(stream: MemoryStream) -> Replica:
    replica = Replica()
    for batch in ReplicatedEventLog(stream, no_clock, "test", 0).read():
        replica.apply(batch)
    return replica


def written(where: Any) -> list[tuple[object, ...]]:
    """The batches with commands, but for what each log adds."""
    return [
        (batch.first_sequence, batch.timestamp_ns, list(batch.commands), batch.tag)
        for batch in where.read()
        if batch.commands
    ]


def test_a_backup_has_the_batches_of_the_log_and_every_reader_works_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Cluster() as cluster:
        carry_out(cluster, FLOW)
    there = copied(cluster, tmp_path)
    found = replayed(cluster.logs[0])
    assert there == (3000, 3000, found.state.matcher.state_hash(), ["ACME"])
    log = ReplicatedEventLog(cluster.logs[0], no_clock, "test", 0)
    assert written(log_in(tmp_path)) == written(log)
    assert replay(tmp_path).matcher.state_hash() == there.state_hash
    lines, bad = verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path))
    assert (lines > 3000, bad) == (True, None), "the trail has the last events, too"
    for reader in READERS:
        assert main([*reader, "--data-dir", str(tmp_path)]) == 0, reader
    assert capsys.readouterr().err == ""


def test_a_backup_goes_on_from_where_an_earlier_one_ended(tmp_path: Path) -> None:
    for run in range(6):
        if not run:
            cluster = Cluster()
        else:
            cluster.start()
        carry_out(cluster, FLOW[500 * run : 500 * (run + 1)])
        if run == 3:  # beside the cluster; the second time there is nothing new
            copied(cluster, tmp_path)
            copied(cluster, tmp_path)
        cluster.stop()
        assert copied(cluster, tmp_path).sequence == 500 * (run + 1)
        assert copied(cluster, tmp_path)[:2] == (500 * (run + 1), 0), "nothing is new"
    assert cluster.failures == []
    cluster.servers.close()
    log = ReplicatedEventLog(cluster.logs[0], no_clock, "test", 0)
    assert written(log_in(tmp_path)) == written(log)
    assert verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path))[1] is None


def test_a_backup_that_was_killed_anywhere_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster() as cluster:
        carry_out(cluster, FLOW[:600])
    append = wal_event_store.WalEventStore.append
    left = 0

    def killed(log: Any, batch: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        append(log, batch)

    monkeypatch.setattr(wal_event_store.WalEventStore, "append", killed)
    for appends in (0, 1, 2, 3, 5, 100):
        left = appends
        if appends < 100:
            with pytest.raises(KeyboardInterrupt):
                copied(cluster, tmp_path)
    left = 10**9
    assert copied(cluster, tmp_path).sequence == 600
    log = ReplicatedEventLog(cluster.logs[0], no_clock, "test", 0)
    assert written(log_in(tmp_path)) == written(log)


def test_a_long_backup_has_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "SNAPSHOT_COMMANDS", 1000)
    cluster = Cluster()
    for run in range(3):
        if run:
            cluster.start()
        carry_out(cluster, FLOW[1000 * run : 1000 * (run + 1)])
        cluster.stop()
        copied(cluster, tmp_path)
    cluster.servers.close()
    assert recover(tmp_path).snapshot_sequence == 3000
    assert recover(tmp_path).warnings == []
    assert replay(tmp_path).matcher.state_hash() == recover(tmp_path).matcher.state_hash()


def test_outcomes_that_are_too_large_for_a_batch_of_a_log_in_files_come_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster() as cluster:
        carry_out(cluster, FLOW)
    copied(cluster, tmp_path / "usual")
    monkeypatch.setattr(wal_event_store, "MAX_BATCH_BYTES", 2560)
    assert copied(cluster, tmp_path).sequence == 3000
    log = ReplicatedEventLog(cluster.logs[0], no_clock, "test", 0)
    assert written(log_in(tmp_path)) == written(log)
    usual, others = (
        sum(not batch.commands for batch in log_in(directory).read())
        for directory in (tmp_path / "usual", tmp_path)
    )
    assert others > usual + 10


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    with Cluster() as one:
        carry_out(one, FLOW[:100])
    copied(one, tmp_path / "one")
    with Cluster() as two:
        carry_out(two, FLOW[:200])
    with Cluster() as shorter:
        carry_out(shorter, FLOW[:50])
    with EventDrivenMatchingEngine.open(tmp_path / "engine") as engine:
        engine.submit_many(FLOW[:100]).result(60)
        with pytest.raises(DirectoryInUse):
            copied(one, tmp_path / "engine")
    for cluster, directory in ((two, "one"), (shorter, "one"), (one, "engine")):
        before = written(log_in(tmp_path / directory))
        with pytest.raises(StoreError, match="not a backup of this log"):
            copied(cluster, tmp_path / directory)
        assert written(log_in(tmp_path / directory)) == before


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def interrupted(cluster: Cluster, directory: Path, appends: int) -> None:
    """A backup that ends after so many batches."""
    append, left = wal_event_store.WalEventStore.append, iter(range(appends))

    def killed(log: Any, batch: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        append(log, batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wal_event_store.WalEventStore, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            copied(cluster, directory)


@pytest.mark.parametrize("longer", ["the log", "the directory", "neither"])
@pytest.mark.parametrize(
    "kind",
    ["an engine's", "an engine's, with a snapshot", "interrupted", "finished", "used by an engine"],
)
def test_nothing_is_written_into_the_directory_of_another_log(
    tmp_path: Path, kind: str, longer: str
) -> None:
    """The sequences and even the commands may be the same: when, and for whom, is not."""
    there, here = {"the log": (100, 250), "the directory": (250, 100), "neither": (100, 100)}[
        longer
    ]
    cluster = Cluster()
    carry_out(cluster, FLOW[:here])
    cluster.stop()
    if kind.startswith("an engine's"):
        with EventDrivenMatchingEngine.open(tmp_path) as engine:
            engine.submit_many(FLOW[:there]).result(60)
        if "snapshot" in kind:
            assert main(["snapshot", "--data-dir", str(tmp_path)]) == 0
    elif kind == "used by an engine":
        copied(cluster, tmp_path)
        with EventDrivenMatchingEngine.open(tmp_path) as engine:
            engine.submit_many(FLOW[here : here + 10]).result(60)
        cluster.start()
        if longer != "the directory":  # the log has the same commands, or more
            carry_out(cluster, FLOW[here : here + (10 if longer == "neither" else 50)])
        cluster.stop()
    else:
        with Cluster() as other:
            carry_out(other, FLOW[:there])
        if kind == "finished":
            copied(other, tmp_path)
        else:
            interrupted(other, tmp_path, there // 50)
    cluster.servers.close()
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="not a backup of this log"):
        copied(cluster, tmp_path)
    assert contents(tmp_path) == before


def test_a_backup_goes_on_after_an_engine_has_looked_at_it(tmp_path: Path) -> None:
    """An engine that was opened and closed, and a snapshot, change nothing in the log."""
    cluster = Cluster()
    for run in range(3):
        if run:
            cluster.start()
        carry_out(cluster, FLOW[100 * run : 100 * (run + 1)])
        cluster.stop()
        copied(cluster, tmp_path)
        if run == 1:
            EventDrivenMatchingEngine.open(tmp_path).close()
        assert main(["snapshot", "--data-dir", str(tmp_path)]) == 0
    cluster.servers.close()
    assert cluster.failures == []
    log = ReplicatedEventLog(cluster.logs[0], no_clock, "test", 0)
    assert written(log_in(tmp_path)) == written(log)
    assert main(["verify", "--data-dir", str(tmp_path)]) == 0


def test_a_log_that_recorded_other_events_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster() as cluster:
        carry_out(cluster, FLOW[:100])
        other = cluster.nodes[0]._log
        monkeypatch.setattr(other, "append", lambda batch: ReplicatedEventLog.append(
            other, changed(batch)))  # fmt: skip
        carry_out(cluster, FLOW[100:200], client_id=8)
    with pytest.raises(ReplayDivergence):
        copied(cluster, tmp_path)


def test_the_last_events_of_a_backup_are_compared_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup has derived and recorded them before the log had them."""
    cluster = Cluster()
    carry_out(cluster, FLOW[:100])
    cluster.stop()
    [*_, last] = ReplicatedEventLog(cluster.logs[0], no_clock, "test", 0).read()
    if not last.commands:  # as if it had been killed before the last events were recorded
        cluster.logs[0].messages.pop()
    copied(cluster, tmp_path)
    append = ReplicatedEventLog.append
    with monkeypatch.context() as patched:
        patched.setattr(ReplicatedEventLog, "append", lambda log, b: append(log, changed(b)))
        cluster.start()
        carry_out(cluster, FLOW[100:110], client_id=8)
        cluster.stop()
    cluster.servers.close()
    with pytest.raises(ReplayDivergence) as caught:
        copied(cluster, tmp_path)
    assert caught.value.sequence <= 100


def changed(batch: Any) -> Any:
    """The same batch, with one recorded event that did not happen."""
    outcomes = [[*events, *events] for events in batch.outcomes]
    return type(batch)(
        first_sequence=batch.first_sequence, timestamp_ns=batch.timestamp_ns,
        commands=batch.commands, outcomes_first=batch.outcomes_first, outcomes=outcomes,
        tag=batch.tag,
    )  # fmt: skip


# -- Restore ------------------------------------------------------------------------------------


def restored(directory: Path, cluster: Cluster) -> Copied:
    return restore(DirectoryStorage(directory), cluster.logs[0], cluster.outs[0], cluster.clock, 99)


def test_a_restored_cluster_is_the_same_and_knows_whom_it_has_answered(tmp_path: Path) -> None:
    with Cluster() as old:
        carry_out(old, FLOW)
    copied(old, tmp_path)
    new = Cluster()
    new.stop()
    assert restored(tmp_path, new)[:2] == (3000, 3000)
    assert new.outs[0].messages == old.outs[0].messages
    one, two = replayed(old.logs[0]), replayed(new.logs[0])
    assert one.state.matcher.state_hash() == two.state.matcher.state_hash()
    assert (one.sessions.hash(), one.batches) == (two.sessions.hash(), two.batches)
    assert restored(tmp_path, new)[:2] == (3000, 0), "again: all is there"
    new.start()
    carry_out(new, FLOW[:50])  # the same client goes on after its last request
    new.stop()
    new.servers.close()
    assert new.failures == []
    assert new.nodes[0].replica.sequence == 3050


def test_a_restore_that_was_killed_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster() as old:
        carry_out(old, FLOW[:500])
    copied(old, tmp_path)
    new = Cluster()
    new.stop()
    append = ReplicatedEventLog.append
    left = 0

    def killed(log: Any, batch: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        append(log, batch)

    with monkeypatch.context() as patched:
        patched.setattr(ReplicatedEventLog, "append", killed)
        for appends in (0, 1, 2):
            left = appends
            with pytest.raises(KeyboardInterrupt):
                restored(tmp_path, new)
    assert restored(tmp_path, new).sequence == 500
    new.servers.close()
    assert replayed(new.logs[0]).sessions.hash() == replayed(old.logs[0]).sessions.hash()
    assert new.outs[0].messages == old.outs[0].messages


def test_the_log_of_an_engine_is_restored_too(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path) as engine:
        engine.submit_many(FLOW).result(60)
        state = engine.state()
    new = Cluster()
    new.stop()
    assert restored(tmp_path, new) == (3000, 3000, state.state_hash, ["ACME"])
    new.start()
    with new.client() as client:
        assert client.state() == state
    new.stop()
    new.servers.close()
    assert new.failures == []


def test_a_restore_to_a_log_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    with Cluster() as old:
        carry_out(old, FLOW[:100])
    copied(old, tmp_path)
    with Cluster() as other:
        carry_out(other, FLOW[:100], client_id=8)
    before = list(other.logs[0].messages)
    with pytest.raises(StoreError, match="LOG_0 is not empty"):
        restored(tmp_path, other)
    assert other.logs[0].messages == before
    longer = Cluster()
    carry_out(longer, FLOW[:100])
    longer.stop()
    copied(longer, tmp_path / "short")
    longer.start()
    carry_out(longer, FLOW[100:200])
    longer.stop()
    with pytest.raises(StoreError, match="LOG_0 is not empty"):
        restored(tmp_path / "short", longer)
    longer.servers.close()


def test_a_directory_without_its_beginning_cannot_be_restored(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, segment_bytes=65536) as engine:
        for first in range(0, 3000, 100):
            engine.submit_many(FLOW[first : first + 100]).result(60)
    assert main(["snapshot", "--archive", "--data-dir", str(tmp_path)]) == 0
    shutil.rmtree(tmp_path / "archive")
    new = Cluster()
    new.stop()
    with pytest.raises(StoreError, match="does not begin with the first command"):
        restored(tmp_path, new)
    new.servers.close()
