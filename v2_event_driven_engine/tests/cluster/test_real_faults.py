"""Faults on real servers and nodes, under load, in one history after the other.

They run where `CLUSTER=1` is set, because they take minutes. `CLUSTER_ROUNDS` says how many times
each fault happens (default 1), `CLUSTER_SEED` in which order, `CLUSTER_FAULTS` which of them, by
the names of their functions (default all). With `CLUSTER_ONE_AT_A_TIME` the next fault waits until
what the last one broke is repaired; without, it comes as soon as the market goes on.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine.cluster.connect import log_of
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.servers import Servers
from v2_event_driven_engine.cluster.stream import SystemClock
from v2_event_driven_engine.errors import Fenced

from ..resources import Resources
from .real_cluster import (
    ROUNDS,
    RealCluster,
    answers,
    goes_on,
    judge,
    longest_gap,
    most_resources,
    repaired,
    running,
)
from .real_servers import real_servers

SEED = int(os.environ.get("CLUSTER_SEED", "1"))
ONE_AT_A_TIME = "CLUSTER_ONE_AT_A_TIME" in os.environ
FROZEN_SECONDS = 3.0
"""How long a process is stopped: longer than the lease and than the servers' patience."""
MOST = Resources(resident_bytes=2**30, descriptors=100)
"""What a node or a server may take, however long the history is."""
pytestmark = real_servers


Fault = Callable[[RealCluster], None]


def kill_active(cluster: RealCluster) -> None:
    cluster.active().signal(signal.SIGKILL)


def stop_active(cluster: RealCluster) -> None:
    active = cluster.active()
    active.signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    active.signal(signal.SIGCONT)


def end_active(cluster: RealCluster) -> None:
    """A planned move."""
    cluster.active().signal(signal.SIGTERM)


def kill_standby(cluster: RealCluster) -> None:
    cluster.standby().signal(signal.SIGKILL)


def stop_standby(cluster: RealCluster) -> None:
    standby = cluster.standby()
    standby.signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    standby.signal(signal.SIGCONT)


def kill_server(cluster: RealCluster, number: int) -> None:
    cluster.servers.signal(number, signal.SIGKILL)
    time.sleep(0.5)
    cluster.servers.start(number)


def stop_server(cluster: RealCluster, number: int) -> None:
    cluster.servers.signal(number, signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    cluster.servers.signal(number, signal.SIGCONT)


def kill_leader(cluster: RealCluster) -> None:
    kill_server(cluster, cluster.leader())


def stop_leader(cluster: RealCluster) -> None:
    stop_server(cluster, cluster.leader())


def kill_follower(cluster: RealCluster) -> None:
    kill_server(cluster, cluster.follower())


def stop_follower(cluster: RealCluster) -> None:
    stop_server(cluster, cluster.follower())


def kill_active_and_leader(cluster: RealCluster) -> None:
    cluster.active().signal(signal.SIGKILL)
    kill_leader(cluster)


def kill_all_servers(cluster: RealCluster) -> None:
    for number in range(3):
        cluster.servers.signal(number, signal.SIGKILL)
    time.sleep(0.5)
    cluster.servers.start_all()


def kill_everything(cluster: RealCluster) -> None:
    for node in cluster.nodes:
        node.signal(signal.SIGKILL)
    kill_all_servers(cluster)


def move_leader(cluster: RealCluster) -> None:
    """A planned move of the stream's leader."""
    cluster.leader()
    cluster.connection.step_down(f"LOG_{cluster.partition}")


def steal_lease(cluster: RealCluster) -> None:
    """The lease is taken from the one who has it, who is well."""
    cluster.connection.call(
        cluster.connection.client.publish(f"$KV.LEASE.{cluster.partition}", b"somebody")
    )


def another_writer(cluster: RealCluster) -> None:
    """Somebody begins an epoch without asking for the lease, and does nothing with it."""
    stream = log_of(cluster.connection, cluster.partition)
    log = ReplicatedEventLog(stream, SystemClock(), "another", random.getrandbits(60))
    replica = Replica()
    while True:
        for batch in log.read(replica.state.place):
            replica.apply(batch)
        try:
            log.start(replica.state.place)
            break
        except Fenced:
            continue
    stream.close()


FAULTS: list[Fault] = [
    kill_active, stop_active, end_active, kill_standby, stop_standby, kill_leader, stop_leader,
    kill_follower, stop_follower, kill_active_and_leader, kill_all_servers, kill_everything,
    move_leader, steal_lease, another_writer,
]  # fmt: skip


def test_whatever_fails_nothing_acknowledged_is_lost_or_done_twice(tmp_path: Path) -> None:
    wanted = os.environ.get("CLUSTER_FAULTS", "").split()
    faults = [fault for fault in FAULTS if not wanted or fault.__name__ in wanted] * ROUNDS
    random.Random(SEED).shuffle(faults)
    windows: list[tuple[str, int, int]] = []
    used: list[Resources] = []
    with running(tmp_path, Servers(tmp_path / "servers")) as cluster:
        with cluster.load() as load:
            goes_on(cluster)
            for fault in faults:
                began = time.monotonic_ns()
                fault(cluster)
                goes_on(cluster)
                windows.append((fault.__name__, began, time.monotonic_ns()))
                used.append(most_resources(cluster))
                if ONE_AT_A_TIME:
                    repaired(cluster)
                    goes_on(cluster, 1_000)
        verdict = judge(cluster, load.reports)
    most = Resources(*map(max, zip(*used, strict=True)))
    assert verdict.acknowledged > 0
    print(f"\n{verdict}, {answers(load.reports)} answers, seed {SEED}, at most {most}")
    assert most.resident_bytes <= MOST.resident_bytes
    assert most.descriptors <= MOST.descriptors
    gaps: dict[str, list[float]] = {}
    for name, began, ended in windows:
        gaps.setdefault(name, []).append(longest_gap(load.reports, began, ended))
    for name, seconds in sorted(gaps.items()):
        worst = max(seconds)
        print(f"{name:24} median {median(seconds):5.2f} worst {worst:5.2f} s without an answer")
