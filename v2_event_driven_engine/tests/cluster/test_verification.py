"""A cluster is held against its log: what differs is found and named."""

from typing import NamedTuple

import pytest

from v2_event_driven_engine import LogDamaged
from v2_event_driven_engine.cluster.verification import Said, Verified, verify
from v2_event_driven_engine.engine.market.matcher import Matcher

from ..flow import commands
from .in_process import Cluster
from .memory_stream import MemoryStream, OneCopyDamaged, no_clock

FLOW = list(commands(600, seed=3))


class Status(NamedTuple):
    node: str
    sequence: int
    state_hash: str
    sessions_hash: str


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """One that has ended; its streams are read only."""
    with Cluster() as cluster, cluster.client(7) as client:
        for first in range(0, 600, 50):
            client.submit_many(FLOW[first : first + 50]).result(60)
    return cluster


def status(cluster: Cluster) -> Status:
    replica = cluster.nodes[0].replica
    return Status(
        "a", replica.sequence, replica.state.matcher.state_hash(), replica.sessions.hash()
    )


def verified(cluster: Cluster, *said: Said, out: MemoryStream | None = None) -> Verified:
    return verify(cluster.logs[0], out or cluster.outs[0], no_clock, said)


def test_a_cluster_is_what_its_log_says(cluster: Cluster) -> None:
    empty = Status("new", 0, Matcher().state_hash(), "")
    nothing = Status("b", 0, empty.state_hash, type(cluster.nodes[0].replica.sessions)().hash())
    found = verified(cluster, status(cluster), status(cluster), nothing)
    assert found.problems == []
    assert (found.replica.sequence, found.out_messages, found.nodes) == (600, 12, ["b", "a", "a"])
    assert found.entries == len(cluster.logs[0].messages)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"state_hash": "0"}, "node a: at sequence 600 it has another state"),
        ({"sessions_hash": "0"}, "node a: at sequence 600 it has another state"),
        ({"sequence": 599}, "node a: no batch ends at its sequence 599"),
        ({"sequence": 601}, "node a: sequence 601 is not in the log"),
    ],
)
def test_a_node_that_differs_is_named(
    cluster: Cluster, changes: dict[str, str], problem: str
) -> None:
    found = verified(cluster, status(cluster)._replace(**changes))  # type: ignore[arg-type]
    assert [each[: len(problem)] for each in found.problems] == [problem]


def test_out_must_be_what_the_log_gives(cluster: Cluster) -> None:
    out = MemoryStream("OUT_0")
    whole = list(cluster.outs[0].messages)
    for messages, problems in (
        (whole[:5], []),
        ([*whole[:4], b"x", *whole[5:]], ["OUT_0: message 5 is not what the log gives"]),
        ([*whole, whole[-1]], ["OUT_0: 13 messages; the log gives 12"]),
    ):
        out.messages = messages
        assert verified(cluster, out=out).problems == problems


@pytest.mark.parametrize("left_out", [1, 5, 12], ids=["first", "middle", "last"])
def test_one_damaged_copy_of_out_is_told_from_a_wrong_message(
    cluster: Cluster, left_out: int
) -> None:
    out = OneCopyDamaged("OUT_0", cluster.outs[0].messages, left_out)
    assert verified(cluster, out=out).problems == []
    assert out.distrusted == (left_out < 12)


def test_a_log_that_is_damaged_is_raised(cluster: Cluster) -> None:
    log = MemoryStream("LOG_0")
    log.messages = list(cluster.logs[0].messages)
    log.messages[4] = log.messages[4][:-9] + b"123456789"
    with pytest.raises(LogDamaged, match="LOG_0, entry 5"):
        verify(log, cluster.outs[0], no_clock, [])
