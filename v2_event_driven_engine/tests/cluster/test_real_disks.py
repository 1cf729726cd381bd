"""Disks of real servers: the power cut of all of them, a full one, a flipped bit.

They need root and loop devices, and are skipped with the reason elsewhere. `CLUSTER_CUTS` says how
often the power is cut (default 2).
"""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine.cluster.servers import Servers

from ..test_machine import eventually
from ..test_power_cut import Disk, call, disk
from .real_cluster import RealCluster, goes_on, judge, running
from .real_servers import mounts_alone, real_servers

__all__ = ["disk", "mounts_alone"]
CUTS = int(os.environ.get("CLUSTER_CUTS", "2"))
pytestmark = real_servers


def servers_on(disk: Disk, directory: Path, numbers: Sequence[int] = (0, 1, 2)) -> Servers:
    """Three servers, some of which keep their streams on a disk of ours."""
    directory.mkdir()
    for number in numbers:
        store = disk.mounted / f"s{number}"
        store.mkdir()
        (directory / store.name).symlink_to(store)
    call("sync")
    return Servers(directory)


def cut_the_power(disk: Disk, cluster: RealCluster) -> None:
    """Of all machines at the same moment; then all of them start again."""
    disk.cut_power()
    for node in cluster.nodes:
        node.signal(signal.SIGKILL)
    for number in range(3):
        cluster.servers.signal(number, signal.SIGKILL)
    disk.unmount()
    disk.mount()
    cluster.servers.start_all()


def test_a_power_cut_of_all_machines_loses_nothing_acknowledged(disk: Disk, tmp_path: Path) -> None:
    with running(tmp_path, servers_on(disk, tmp_path / "servers")) as cluster:
        with cluster.load() as load:
            for _ in range(CUTS):
                goes_on(cluster)
                cut_the_power(disk, cluster)
                goes_on(cluster)
        verdict = judge(cluster, load.reports)
    assert verdict.acknowledged > 0
    print(f"\n{CUTS} power cuts: {verdict}")


def test_without_a_sync_the_same_power_cut_loses_something(disk: Disk, tmp_path: Path) -> None:
    """So the test above can see a loss."""
    servers = servers_on(disk, tmp_path / "servers")
    for machine in servers.machines:
        file = servers.directory / f"{machine.name}.conf"
        text = file.read_text(encoding="utf-8")
        assert "sync_interval: always" in text
        file.write_text(
            text.replace("sync_interval: always", "sync_interval: 2m"), encoding="utf-8"
        )
    with running(tmp_path, servers) as cluster:
        call("sync")  # the streams themselves are to be there again
        with cluster.load() as load:
            goes_on(cluster)
        told = sum(len(report.told) * report.commands_each for report in load.reports)
        cut_the_power(disk, cluster)
        eventually(lambda: len(cluster.status()) == 3, "the nodes are back")
        cluster.active()
        assert max(each.sequence for each in cluster.status()) < told


def test_a_full_disk_of_one_server_stops_nobody(disk: Disk, tmp_path: Path) -> None:
    with running(tmp_path, servers_on(disk, tmp_path / "servers", [2])) as cluster:
        with cluster.load() as load:
            goes_on(cluster)
            filler = disk.mounted / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 16))
            goes_on(cluster, 2000)
            cluster.servers.signal(2, signal.SIGKILL)
            filler.unlink()
            # The server may have left out a message, and would not know of it.
            shutil.rmtree(Path(cluster.servers.machines[2].store_dir) / "jetstream")
            cluster.servers.start(2)
            cluster.servers.wait()
            goes_on(cluster)
        judge(cluster, load.reports)


def test_a_flipped_bit_in_the_copy_of_one_server_is_never_applied(tmp_path: Path) -> None:
    with running(tmp_path, Servers(tmp_path / "servers")) as cluster:
        with cluster.load() as load:
            goes_on(cluster, 2000)
            follower = cluster.follower()
            cluster.servers.signal(follower, signal.SIGKILL)
            store = Path(cluster.servers.machines[follower].store_dir)
            (block,) = sorted(store.glob("jetstream/*/streams/LOG_0/msgs/1.blk"))
            content = bytearray(block.read_bytes())
            content[len(content) // 2] ^= 4
            block.write_bytes(content)
            cluster.servers.start(follower)
            cluster.servers.wait()
            goes_on(cluster)
            for _ in range(3):  # whoever leads the stream, and whoever reads from whom
                cluster.servers.signal(cluster.leader(), signal.SIGSTOP)
                time.sleep(2.0)
                for number in range(3):
                    cluster.servers.signal(number, signal.SIGCONT)
                cluster.standby().signal(signal.SIGKILL)
                goes_on(cluster)
        judge(cluster, load.reports)
