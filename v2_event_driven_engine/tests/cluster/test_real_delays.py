"""Slow lines: all that servers, nodes and clients say to each other is late, and some of it breaks.

Every connection to a server goes through a line of ours, also those between servers. What TCP makes
of a lost packet is a pause; so a lost packet is one here.
"""

import asyncio
import random
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine.cluster.servers import LOOPBACK, Servers

from .real_cluster import goes_on, judge, running
from .real_servers import real_servers

pytestmark = real_servers
DELAY_SECONDS = 0.001, 0.01
LOST = 0.005
"""Of all pieces, those of which a packet is lost, and …"""
RETRANSMISSION_SECONDS = 0.2, 0.4
"""… how much later they come."""
BROKEN = 0.002
"""Of all pieces, those at which the connection breaks; what is under way on it is lost."""


class SlowLines:
    """Ports that pass on to others whatever comes, late and in order, in a thread of their own."""

    def __init__(self, targets: Sequence[int]) -> None:
        """One line to each of these ports of loopback; `ports` has where they begin."""
        self.ports: list[int] = []
        self.passed = self.lost = self.broken = 0
        self._choose = random.Random(1)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(targets)))
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Break what there is."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self, targets: Sequence[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        servers = [
            await asyncio.start_server(partial(self._connected, target), LOOPBACK)
            for target in targets
        ]
        self.ports += [server.sockets[0].getsockname()[1] for server in servers]
        self._ready.set()
        await self._ended.wait()
        for server in servers:
            server.close()

    async def _connected(
        self, target: int, near: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):  # nobody listens there, or it broke by itself
            far, forth = await asyncio.open_connection(LOOPBACK, target)
            directions = [self._carry(near, forth), self._carry(far, back)]
            running = [asyncio.ensure_future(each) for each in directions]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for each in running:
                each.cancel()
            forth.transport.abort()
        back.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on, until the connection ends or breaks."""

        def write(piece: bytes) -> None:
            if not writer.is_closing():
                writer.write(piece)

        due = 0.0
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                self.passed += 1
                if self._choose.random() < BROKEN:
                    self.broken += 1
                    return
                delay = self._choose.uniform(*DELAY_SECONDS)
                if self._choose.random() < LOST:
                    self.lost += 1
                    delay += self._choose.uniform(*RETRANSMISSION_SECONDS)
                due = max(due + 1e-6, self._loop.time() + delay)  # behind what came before it
                self._loop.call_at(due, write, piece)


class ServersBehindLines(Servers):
    """Three servers that are reached only through slow lines, also by one another."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lines = SlowLines(
            [port for each in self.machines for port in (each.client_port, each.route_port)]
        )
        clients, routes = self.lines.ports[::2], self.lines.ports[1::2]
        self._urls = [f"nats://{LOOPBACK}:{port}" for port in clients]
        for machine, client, own in zip(self.machines, clients, routes, strict=True):
            file = self._file(machine)
            text = file.read_text(encoding="utf-8")
            for other, route in zip(self.machines, routes, strict=True):
                there = f"nats://{LOOPBACK}:{other.route_port}"
                assert there in text
                text = text.replace(there, f"nats://{LOOPBACK}:{route}")
            text = text.replace("cluster {\n", f'cluster {{\n  advertise: "{LOOPBACK}:{own}"\n')
            text += f'client_advertise: "{LOOPBACK}:{client}"\n'
            file.write_text(text, encoding="utf-8")

    @property
    def urls(self) -> list[str]:
        return self._urls

    def stop_all(self) -> None:
        super().stop_all()
        self.lines.close()


def test_slow_and_breaking_lines_lose_nothing_acknowledged(tmp_path: Path) -> None:
    servers = ServersBehindLines(tmp_path / "servers")
    lines = servers.lines
    with running(tmp_path, servers) as cluster:
        with cluster.load() as load:
            while lines.lost < 20 or lines.broken < 20:
                goes_on(cluster)
            goes_on(cluster)
        verdict = judge(cluster, load.reports)
    assert verdict.acknowledged > 0
    print(
        f"\n{verdict}; {lines.passed} pieces passed on, {lines.lost} of them after a pause, "
        f"{lines.broken} connections broken"
    )
