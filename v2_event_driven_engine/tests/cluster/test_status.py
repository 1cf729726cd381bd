"""What `cluster status` asks and says, whether or not a node answers. No server is needed."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine import LogUnavailable
from v2_event_driven_engine.cli import cluster_nodes
from v2_event_driven_engine.cluster import connect
from v2_event_driven_engine.cluster.jetstream import (
    BUSY,
    QUEUED_MESSAGES_MAX,
    QUEUED_STATUS_MAX,
    WITHOUT_HASHES,
    NatsNetwork,
)
from v2_event_driven_engine.cluster.node import Delivered
from v2_event_driven_engine.cluster.protocol import AskStatus, Status, decode_request
from v2_event_driven_engine.cluster.table import SymbolTable
from v2_event_driven_engine.main import main

from .memory_stream import MemoryStream, no_clock


class Lost(MemoryStream):
    """A stream without a majority."""

    def last(self) -> int:
        raise LogUnavailable("CTRL: its leader did not answer")


class Nodes:
    """A connection to nodes that say something, and to servers."""

    def __init__(self, nodes: Sequence[Status]) -> None:
        self._nodes = nodes

    def collect(self, *_: Any) -> list[bytes]:
        return [msgspec.json.encode(node) for node in self._nodes]

    def close(self) -> None:
        pass

    def leader(self, stream: str) -> str:
        return f"leader of {stream}"


def node(partition: int, **fields: Any) -> Status:
    values = {
        "node": "a", "partition": partition, "pid": 1, "role": "active", "epoch": 1, "sequence": 5,
        "entries": 3, "out_lag": 0, "resting_orders": 2, "state_hash": "5a", "sessions_hash": "5b",
        "time_ns": 10**9,
    }  # fmt: skip
    return Status(**{**values, **fields})


def status(
    monkeypatch: pytest.MonkeyPatch, nodes: Sequence[Status], control: MemoryStream, *more: str
) -> int:
    """The exit status of the command, where these nodes answer and this stream has the table."""
    monkeypatch.setattr(cluster_nodes, "connection_of", lambda _: Nodes(nodes))
    monkeypatch.setattr(connect, "table_of", lambda _: SymbolTable(control, no_clock))
    return main(["cluster", "status", "--url", "nats://h", *more])


def table(partitions: int) -> MemoryStream:
    control = MemoryStream("CTRL")
    SymbolTable(control, no_clock).create(partitions)
    return control


@pytest.mark.parametrize("partitions", [1, 2, 3])
def test_every_partition_of_the_table_is_in_the_report(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], partitions: int
) -> None:
    for answering in range(partitions + 1):
        nodes = [node(number) for number in range(answering)]
        whole = answering == partitions
        assert status(monkeypatch, nodes, table(partitions), "--json") == (0 if whole else 1)
        report = json.loads(capfd.readouterr().out)
        assert report["ok"] is whole
        assert report["sequence"] == 5 * answering
        found = [(p["partition"], p["ok"], len(p["nodes"])) for p in report["partitions"]]
        expected = [(n, n < answering, int(n < answering)) for n in range(partitions)]
        assert found == expected
        assert status(monkeypatch, nodes, table(partitions)) == (0 if whole else 1)
        lines = capfd.readouterr().out.splitlines()
        for number in range(answering, partitions):
            assert (
                f"partition {number}: NO NODE ANSWERS, log led by leader of LOG_{number}" in lines
            )


@pytest.mark.parametrize(
    ("control", "problem"),
    [(Lost("CTRL"), "its leader did not answer"), (MemoryStream("CTRL"), "no cluster was made")],
)
def test_without_the_table_nothing_is_well(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    control: MemoryStream,
    problem: str,
) -> None:
    assert status(monkeypatch, [node(0)], control, "--json") == 1
    report = json.loads(capfd.readouterr().out)
    assert (report["ok"], report["partitions"][0]["ok"]) == (False, True)
    assert problem in report["error"]
    assert status(monkeypatch, [], control) == 1
    assert problem in capfd.readouterr().out


def test_the_rates_of_a_partition_that_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "table_of", lambda _: SymbolTable(table(1), no_clock))
    report: Any = None
    rates = []
    later = node(0, time_ns=2 * 10**9, sequence=105)
    for nodes in ([node(0)], [], [node(0)], [later]):
        report = cluster_nodes._report(Nodes(nodes), None, True, report)  # type: ignore[arg-type]
        rates.append(report["partitions"][0].get("commands_per_second"))
    assert rates == [None, None, None, 100]


class Post:
    """A connection that keeps what is sent, and brings what it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.bring: dict[str, Callable[[Delivered], None]] = {}

    def subscribe(self, subject: str, heard: Callable[[Delivered], None], _queue: str = "") -> None:
        self.bring[subject] = heard

    def send(self, messages: Iterable[tuple[str, bytes]]) -> None:
        self.sent += messages


@pytest.mark.parametrize("subject", ["status", "status.0"])
def test_a_node_that_is_too_busy_for_more_is_asked_how_it_is(subject: str) -> None:
    post: Any = Post()
    network = NatsNetwork(post, 0, "a", lambda: None)
    for _ in range(QUEUED_MESSAGES_MAX):
        post.bring["read.0"](Delivered(b"a question", "reader"))
    for _ in range(QUEUED_STATUS_MAX + 1):
        post.bring[subject](Delivered(WITHOUT_HASHES, "operator"))
    assert post.sent == [], "Busy is no status"
    post.bring["read.0"](Delivered(b"one more", "reader"))
    assert post.sent == [("reader", BUSY)]
    asked = network.take(0.0)[QUEUED_MESSAGES_MAX:]
    assert len(asked) == QUEUED_STATUS_MAX
    assert {each.reply_to for each in asked} == {"operator"}
    assert decode_request(asked[0].data) == AskStatus(hashes=False)
