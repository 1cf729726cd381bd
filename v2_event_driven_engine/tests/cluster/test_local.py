"""Three servers and their nodes on this machine: one takes over, and is taken over from."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine import ListInstrument, NewOrder, OrderType, Side
from v2_event_driven_engine.cluster import jetstream, protocol

from ..test_machine import eventually
from .local_cluster import MAIN, Up, main_py
from .real_servers import real_servers

pytestmark = real_servers

LIST = ListInstrument("AAPL", "0.01", "1")


def order(number: int) -> NewOrder:
    return NewOrder(
        order_id=number, participant=7, symbol="AAPL", side=Side.BUY, type=OrderType.LIMIT,
        price=100, quantity=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests here that leave it whole."""
    with Up(tmp_path_factory.mktemp("cluster") / "data") as up:
        answer = up.answer(protocol.Submit(1, 1, [LIST]))
        assert isinstance(answer, protocol.Answered)
        yield up


numbers = count(2)


def submit(cluster: Up) -> protocol.Answered:
    """One more order of client 1, answered."""
    number = next(numbers)
    answer = cluster.answer(protocol.Submit(1, number, [order(number)]))
    assert isinstance(answer, protocol.Answered)
    assert (answer.number, answer.first_sequence) == (number, number)
    return answer


def test_one_is_active_and_all_have_what_it_has_answered(cluster: Up) -> None:
    answer = submit(cluster)
    nodes = cluster.statuses(3)
    assert sorted(node.role for node in nodes) == ["active", "standby", "standby"]
    assert {node.sequence for node in nodes} == {answer.first_sequence}
    assert len({(node.state_hash, node.sessions_hash) for node in nodes}) == 1
    assert {node.epoch for node in nodes} == {answer.epoch}


def test_a_request_that_is_repeated_acts_once_and_is_answered_the_same(cluster: Up) -> None:
    answer = submit(cluster)
    again = cluster.answer(protocol.Submit(1, answer.number, [order(answer.number)]))
    assert isinstance(again, protocol.Answered)
    assert again == answer
    assert bytes(again.events) == bytes(answer.events)


def test_questions_are_answered_by_the_active_and_by_any_node(cluster: Up) -> None:
    answer = submit(cluster)
    sequence = answer.first_sequence
    now = cluster.answer(protocol.AskState(True, sequence))
    assert isinstance(now, protocol.Told)
    assert (now.epoch, now.sequence) == (answer.epoch, sequence)
    cluster.statuses(3)
    anywhere = cluster.answer(protocol.AskState(False, sequence), "read.0")
    assert isinstance(anywhere, protocol.Told)
    assert bytes(anywhere.answer) == bytes(now.answer)
    behind = cluster.answer(protocol.AskState(False, sequence + 1), "read.0")
    assert behind == protocol.Behind(sequence)


def test_out_has_the_events_of_each_batch(cluster: Up) -> None:
    submit(cluster)
    (status, *_) = [node for node in cluster.statuses(3) if node.role == "active"]
    give_up = time.monotonic() + 10
    messages = 0
    while messages < status.sequence and time.monotonic() < give_up:
        info = cluster.connection.call(cluster.connection.streams.stream_info("OUT_0"))
        messages = info.state.messages
    assert messages == status.sequence, "each request here was a batch of its own"


HOW = pytest.mark.parametrize(
    "how", [(), ("--kill",), ("--stop",)], ids=["told to end", "killed", "frozen and thawed"]
)


@HOW
@pytest.mark.parametrize("who", ["active", "standby"])
def test_a_node_is_replaced_and_comes_back(cluster: Up, who: str, how: tuple[str, ...]) -> None:
    before = submit(cluster)
    done = main_py("kill", who, *how, "--data-dir", cluster.directory)
    assert done.returncode == 0, done.stderr
    after = submit(cluster)
    assert after.epoch == before.epoch + (who == "active")
    nodes = cluster.statuses(3)
    assert len({(node.state_hash, node.sessions_hash) for node in nodes}) == 1


@HOW
@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_server_comes_back_and_nothing_is_lost(
    cluster: Up, who: str, how: tuple[str, ...]
) -> None:
    submit(cluster)
    done = main_py("kill", who, *how, "--data-dir", cluster.directory)
    assert done.returncode == 0, done.stderr
    answer = submit(cluster)
    again = cluster.answer(protocol.Submit(1, answer.number, [order(answer.number)]))
    assert isinstance(again, protocol.Answered)
    assert again == msgspec.structs.replace(answer, epoch=again.epoch)
    if "--stop" not in how:
        cluster.line(r"server s\d: process")
    nodes = cluster.statuses(3)
    assert {node.sequence for node in nodes} == {answer.first_sequence}
    assert len({(node.state_hash, node.sessions_hash) for node in nodes}) == 1


def test_status_says_who_is_active_and_that_all_agree(cluster: Up) -> None:
    submit(cluster)
    cluster.statuses(3)
    urls = [word for url in cluster.described()["urls"] for word in ("--url", url)]

    def says_so() -> bool:
        """Whether it does; another node may become the active between two questions."""
        done = main_py("status", "--json", "--data-dir", cluster.directory)
        report = json.loads(done.stdout)
        table = main_py("status", *urls).stdout
        (partition,) = report["partitions"]
        return (
            (done.returncode, report["ok"], len(partition["nodes"])) == (0, True, 3)
            and partition["log_leader"] in ("s0", "s1", "s2")
            and f"{partition['active'][0]:<12} active" in table
        )

    eventually(says_so, "status says who is active, and that all agree")


def test_status_without_the_hashes(cluster: Up) -> None:
    answer = submit(cluster)
    said = cluster.connection.collect("status", jetstream.WITHOUT_HASHES, 20.0, 3)
    nodes = [protocol.decode_status(each) for each in said]
    assert {(node.state_hash, node.sessions_hash) for node in nodes} == {("", "")}
    assert max(node.sequence for node in nodes) == answer.first_sequence


def test_status_is_said_again_and_again_until_it_is_told_to_end(cluster: Up) -> None:
    command = [sys.executable, str(MAIN), "cluster", "status", "--json", "--watch", "0.2"]
    watching = subprocess.Popen(
        [*command, "--data-dir", str(cluster.directory)], stdout=subprocess.PIPE, text=True
    )
    with watching as process:
        assert process.stdout is not None
        reports = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert watching.returncode == 128 + signal.SIGINT
    (partition,) = reports[2]["partitions"]
    assert (partition["commands_per_second"], reports[2]["ok"]) == (0, True)


def test_a_second_cluster_in_the_same_directory_is_refused(cluster: Up) -> None:
    done = main_py("up", "--data-dir", cluster.directory)
    assert (done.returncode, done.stdout) == (3, "")
    assert "a cluster runs here" in done.stderr


def gone(pid: int) -> bool:
    """Whether a process that is not ours to wait for has ended."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return True
        if state[0] == "Z":
            return True
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_that_it_started_ends_with_it(tmp_path: Path, how: signal.Signals) -> None:
    with Up(tmp_path / "data", "--replicas", "2", "--partitions", "2") as up:
        assert len(up.statuses(2, 0)) == len(up.statuses(2, 1)) == 2
        pids = up.pids()
        assert len(pids) == 3 + 4
        status = up.end(how)
    assert status == (-how if how == signal.SIGKILL else 128 + how)
    assert all(map(gone, pids))


def test_a_cluster_goes_on_where_it_ended(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        up.answer(protocol.Submit(5, 1, [LIST, order(1)]))
        before = up.statuses(3)[0]
    with Up(tmp_path / "data") as up:
        after = up.statuses(3)[0]
        assert (after.state_hash, after.sessions_hash) == (before.state_hash, before.sessions_hash)
        assert after.epoch > before.epoch  # a standby may have taken over while all were ended
        answer = up.answer(protocol.Submit(5, 2, [order(2)]))
        assert isinstance(answer, protocol.Answered)
        assert answer.first_sequence == 3


def test_the_number_of_partitions_of_a_directory_stays(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        up.line("active at")
    for partitions in ("2", "3"):
        done = main_py("up", "--data-dir", tmp_path / "data", "--partitions", partitions)
        assert done.returncode == 3
        assert f"made with 1 partitions, not with {partitions}" in done.stderr
        assert "node" not in done.stdout, "none was started"
    with Up(tmp_path / "data") as up:
        up.line("active at")


def test_a_directory_whose_name_begins_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, str(MAIN), "cluster", "up", "--data-dir=-d", "--replicas", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = next(line for line in lines if "active at" in line or "ended" in line)
        process.terminate()
        for _ in lines:
            pass
    assert "active at" in said
    assert process.returncode == 128 + signal.SIGTERM


def test_a_node_that_cannot_reach_a_server_says_so(tmp_path: Path) -> None:
    done = main_py("node", "--url", "nats://127.0.0.1:1", "--name", "a")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nats://127.0.0.1:1: no server lets us in" in done.stderr


def test_the_directory_of_a_nodes_snapshots_is_named_by_its_option(
    cluster: Up, tmp_path: Path
) -> None:
    urls = [word for url in cluster.described()["urls"] for word in ("--url", url)]
    (tmp_path / "file").touch()
    done = main_py("node", *urls, "--name", "more", "--snapshots", tmp_path / "file")
    assert (done.returncode, done.stdout) == (3, "")
    assert "name another directory with --snapshots" in done.stderr


def test_no_line_of_a_node_is_lost_when_nobody_reads(cluster: Up) -> None:
    """A node whose standard output is closed lives on."""
    urls = [word for url in cluster.described()["urls"] for word in ("--url", url)]
    reader, writer = os.pipe()
    os.close(reader)
    node = subprocess.Popen(
        [sys.executable, str(MAIN), "cluster", "node", *urls, "--name", "more"], stdout=writer
    )
    os.close(writer)
    try:
        assert {each.node for each in cluster.statuses(4)} >= {"more"}
    finally:
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            assert node.wait(20) == 0
        node.kill()
