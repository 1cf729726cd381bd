"""Broken networks: three machines as network namespaces, each with a server and a node.

They need root and `ip` with namespaces, and are skipped with the reason elsewhere.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine.cluster.servers import (
    Machine,
    Servers,
    configuration,
    find_server,
    start_tied,
)

from .real_cluster import RealCluster, batches, goes_on, judge, log_in, repaired, running
from .real_servers import mounts_alone, real_servers

pytestmark = real_servers
__all__ = ["mounts_alone"]
CUT_SECONDS = 4.0
MAJORITY_CUT_SECONDS = 7.0
FLAPS = 3
_numbers = count(os.getpid() % 10_000)


class Net:
    """Three machines and the bridge that joins them; the test itself is on the bridge."""

    def __init__(self) -> None:
        self.name = f"ome{next(_numbers)}"
        self.hosts = [f"10.77.{os.getpid() % 250}.{11 + n}" for n in range(3)]
        self.ip = shutil.which("ip") or ""
        if not self.ip or os.geteuid() != 0:
            raise OSError("to make networks one has to be root, and to have the program ip")
        try:
            self("link", "add", self.name, "type", "bridge")
            self("addr", "add", f"10.77.{os.getpid() % 250}.1/24", "dev", self.name)
            self("link", "set", self.name, "up")
            for number, host in enumerate(self.hosts):
                machine, cable = self.machine(number), self.cable(number)
                self("netns", "add", machine)
                self("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", machine)
                self("link", "set", cable, "master", self.name)
                self("link", "set", cable, "up")
                self("-n", machine, "addr", "add", f"{host}/24", "dev", "eth0")
                self("-n", machine, "link", "set", "eth0", "up")
                self("-n", machine, "link", "set", "lo", "up")
        except OSError:
            self.remove()
            raise

    def __call__(self, *arguments: str) -> None:
        """Carry out a command of `ip`."""
        done = subprocess.run([self.ip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def machine(self, number: int) -> str:
        """The namespace of a machine."""
        return f"{self.name}m{number}"

    def cable(self, number: int) -> str:
        """The bridge's end of a machine's cable."""
        return f"{self.name}c{number}"

    def inside(self, number: int) -> list[str]:
        """What a command begins with to run on a machine."""
        return [self.ip, "netns", "exec", self.machine(number)]

    def cut(self, number: int) -> None:
        """Pull the cable of a machine."""
        self("link", "set", self.cable(number), "down")

    def heal(self, number: int) -> None:
        """Put it back."""
        self("link", "set", self.cable(number), "up")

    def deafen(self, number: int, how: str = "add") -> None:
        """Let a machine drop what it would send to the others; the test still reaches it."""
        for other, host in enumerate(self.hosts):
            if other != number:
                self("-n", self.machine(number), "route", how, "blackhole", f"{host}/32")

    def remove(self) -> None:
        """Leave nothing behind."""
        for number in range(3):
            with suppress(OSError):
                self("netns", "del", self.machine(number))
        with suppress(OSError):
            self("link", "del", self.name)


class ServersOnMachines(Servers):
    """A server on each machine of a net."""

    def __init__(self, directory: Path, net: Net) -> None:
        self.directory = directory
        directory.mkdir()
        self._net = net
        self._program = find_server() or ""
        self.machines = [
            Machine(f"s{number}", host, 4222, 6222, 0, str(directory / f"s{number}"))
            for number, host in enumerate(net.hosts)
        ]
        for machine in self.machines:
            self._file(machine).write_text(configuration(machine, self.machines), encoding="utf-8")
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * 3

    def start(self, number: int) -> None:
        machine = self.machines[number]
        command = [*self._net.inside(number), self._program, "-c", str(self._file(machine))]
        self.processes[number] = start_tied(command, self.directory / f"{machine.name}.log")

    def healthy(self, number: int) -> bool:
        with suppress(OSError), socket.create_connection((self._net.hosts[number], 4222), 1):
            return True
        return False


@pytest.fixture
def net() -> Iterator[Net]:
    try:
        net = Net()
    except OSError as error:
        pytest.skip(f"a network cannot be made here: {error}")
    try:
        yield net
    finally:
        net.remove()


def leader(cluster: RealCluster) -> int:
    return cluster.leader()


def active(cluster: RealCluster) -> int:
    return cluster.active().number


def standby(cluster: RealCluster) -> int:
    return cluster.standby().number


@contextmanager
def cut(net: Net, number: int) -> Iterator[None]:
    """A machine without its cable."""
    net.cut(number)
    try:
        yield
    finally:
        net.heal(number)


def test_broken_networks_lose_nothing_acknowledged(net: Net, tmp_path: Path) -> None:
    """One machine cut off, deaf, or at a loose cable: the others go on.

    Each time all of them have what the others have before the next fault: the servers may need a
    minute or two if a second machine goes while the first one is still catching up.
    """
    servers = ServersOnMachines(tmp_path / "servers", net)
    with running(tmp_path, servers, net.inside) as cluster:
        with cluster.load() as load:
            goes_on(cluster)
            for choose in (active, leader, standby):
                with cut(net, choose(cluster)):
                    time.sleep(CUT_SECONDS)
                    goes_on(cluster)
                goes_on(cluster)
                repaired(cluster)
            deaf = leader(cluster)
            net.deafen(deaf)
            time.sleep(CUT_SECONDS)
            goes_on(cluster)
            net.deafen(deaf, "del")
            goes_on(cluster)
            repaired(cluster)
            loose = active(cluster)
            for _ in range(FLAPS):
                with cut(net, loose):
                    time.sleep(1.0)
                time.sleep(1.0)
            goes_on(cluster)
        verdict = judge(cluster, load.reports)
    assert verdict.acknowledged > 0
    print(f"\n{verdict}")


def test_without_a_majority_nobody_is_answered_and_then_all_goes_on(
    net: Net, tmp_path: Path
) -> None:
    servers = ServersOnMachines(tmp_path / "servers", net)
    with running(tmp_path, servers, net.inside) as cluster:
        with cluster.load() as load:
            goes_on(cluster)
            alone = active(cluster)
            for number in range(3):
                if number != alone:
                    net.cut(number)
            began, began_at = time.monotonic_ns(), time.time_ns()
            time.sleep(MAJORITY_CUT_SECONDS)
            healed = time.monotonic_ns()
            for number in range(3):
                net.heal(number)
            goes_on(cluster)
        judge(cluster, load.reports)
        first_too_late = next(
            batch.first_sequence
            for batch in batches(log_in(cluster))
            if batch.timestamp_ns > began_at
        )
    told = [told for report in load.reports for told in report.told]
    while_cut = [each.first_sequence for each in told if began < each.told_ns < healed]
    # What a majority had before may be told late, by a node that had to look for a server.
    assert max(while_cut, default=0) < first_too_late
    assert any(each.told_ns > healed for each in told)
