"""The engine on several machines, of which all are this one: three servers, nodes, clients.

Everything shares the processors and the disk of one machine, and the network is loopback. So the
figures show what the parts cost together, and not what three machines would do. Each answer was
durable on a majority of the servers, synced, and applied.

The clients' requests are encoded before the clock runs. The same commands through V2 on a log in
files, in one process with its producer, are beside them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import v2_event_driven_engine as v2

from .engines import V2_LISTING, pipelined, v2_commands
from .findings import Options, Row, Section, Series, Table, Target, ratios
from .measure import directory, seconds
from .workload import resting, steady

CLIENTS = 4
TOGETHER = 256
WINDOW = 8
SETTLE_SECONDS = 30.0


def measure(options: Options) -> Section:
    """Measure throughput by replicas and partitions, and latency."""
    try:
        from v2_event_driven_engine.cluster import jetstream  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        note = f"nothing was measured: {error.name} is not installed (the extra `cluster`)"
        return Section("Several machines", __doc__ or "", [], notes=[note])
    requests = options.pick(400, 40)
    alone = options.pick(1500, 100)
    rates: dict[tuple[int, int], list[float]] = {(1, 1): [], (1, 3): [], (2, 1): []}
    halves: dict[str, list[list[float]]] = {"one": [], "three": []}
    files: list[float] = []
    for turn in range(options.repetitions):
        options.status(f"turn {turn + 1}: files")
        files.append(_files(CLIENTS * requests * TOGETHER))
        for (partitions, replicas), measured in rates.items():
            options.status(f"turn {turn + 1}: {partitions} partitions, {replicas} replicas")
            with _cluster(partitions, replicas) as urls:
                reports = _load(urls, partitions, CLIENTS, requests, TOGETHER, WINDOW)
                measured.append(_rate(reports))
                if partitions == 1:
                    [report] = _load(urls, 1, 1, alone, 1, 1, first=CLIENTS)
                    halves["one" if replicas == 1 else "three"].append(report["seconds"])
    rows = [
        Row("V2, log in files", [Series.of(files), "1"]),
        *(
            Row(
                f"{partitions} partition{'s' * (partitions > 1)}, {replicas} "
                f"replica{'s' * (replicas > 1)} each",
                [Series.of(rate), ratios(rate, files)],
            )
            for (partitions, replicas), rate in rates.items()
        ),
    ]
    throughput = Table(
        "Several machines: throughput",
        f"{CLIENTS * requests * TOGETHER:,} commands of {CLIENTS} clients, {TOGETHER} in a "
        f"request, {WINDOW} requests of each client in flight; commands a second. Each client "
        "has a book of its own.",
        ["commands a second", "to the log in files"],
        rows,
    )
    latency = Table(
        "Several machines: one command at a time",
        f"{alone:,} commands of one client, each sent when the one before it was answered; "
        "milliseconds from sending to the answer.",
        ["half of all", "99 %"],
        [
            Row(f"{name} replica{'s' * (name != 'one')}",
                [_milliseconds(some, 0.5), _milliseconds(some, 0.99)])
            for name, some in halves.items()
        ],
    )  # fmt: skip
    obstacle = "Two processors run three servers, the nodes and the clients."
    targets = [
        Target("several machines: commands a second, one replica (no ratio)",
               Series.of(rates[1, 1]), 140_000, obstacle=obstacle),
        Target("several machines: commands a second, three replicas (no ratio)",
               Series.of(rates[1, 3]), 70_000, obstacle=obstacle),
    ]  # fmt: skip
    return Section("Several machines", __doc__ or "", [throughput, latency], targets=targets)


def _milliseconds(turns: list[list[float]], share: float) -> Series:
    """A quantile of each turn."""
    return Series.of(1000 * turn[int(share * (len(turn) - 1))] for turn in turns)


def _files(count: int) -> float:
    """Commands a second of V2 with a log in files."""
    work = chain(resting(1_000, 100), steady(1_000, 100))
    commands = list(islice(v2_commands(work), count))
    with (
        directory() as data_dir,
        v2.MatchingEngine.open(data_dir, instruments=[V2_LISTING], audit=False) as engine,
    ):
        return count / seconds(lambda: deque(pipelined(engine, commands), maxlen=0))


@contextmanager
def _cluster(partitions: int, replicas: int) -> Iterator[list[str]]:
    """Three servers, and nodes each of which has told that its partition has an active one."""
    from v2_event_driven_engine.cluster.local import main_program  # noqa: PLC0415
    from v2_event_driven_engine.cluster.servers import Servers  # noqa: PLC0415

    with directory() as data_dir, ExitStack() as held:
        servers = Servers(data_dir / "servers")
        held.callback(servers.stop_all)
        servers.start_all()
        for partition in range(partitions):
            for number in range(replicas):
                words = [word for url in servers.urls for word in ("--url", url)]
                words += ["--partition", str(partition), "--partitions", str(partitions)]
                words += ["--name", f"n{number}"]
                node = [*main_program(), "cluster", "node", *words]
                held.callback(_end, _start(node, data_dir / f"{partition}.{number}.log"))
        _wait_for_actives(servers.urls, partitions)
        yield servers.urls


def _start(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(words, stdout=file, stderr=file)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _wait_for_actives(urls: list[str], partitions: int) -> None:
    from v2_event_driven_engine.cluster.jetstream import Connection  # noqa: PLC0415

    connection = Connection(urls, name="benchmark")
    give_up = time.monotonic() + SETTLE_SECONDS
    found = 0
    while found < partitions and time.monotonic() < give_up:
        said = [json.loads(each) for each in connection.collect("status", b"", 0.5)]
        found = sum(each["role"] == "active" for each in said)
    connection.close()
    assert found == partitions, f"{found} of {partitions} partitions have an active node"


def _load(
    urls: list[str],
    partitions: int,
    clients: int,
    requests: int,
    each: int,
    window: int,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Let clients load the partitions; what each of them measured."""
    processes = []
    for number in range(first, first + clients):
        options = {
            "urls": urls, "partition": number % partitions, "window": window,
            "commands_each": each, "client": number + 1, "symbol": f"S{number}",
            "requests": requests,
        }  # fmt: skip
        words = [sys.executable, "-m", f"{__package__}.cluster_load", json.dumps(options)]
        processes.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    reports = []
    with ExitStack() as held:
        for process in processes:
            held.callback(_end, process)
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.close()
        for process in processes:
            assert process.stdout is not None
            reports.append(json.loads(process.stdout.readline()))
    return reports


def _rate(reports: list[dict[str, Any]]) -> float:
    """Commands a second, from the first request to the last answer of all."""
    taken: float = max(r["ended"] for r in reports) - min(r["started"] for r in reports)
    total: int = sum(r["commands"] for r in reports)
    return total / taken
