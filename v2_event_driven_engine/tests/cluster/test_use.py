"""A cluster on real servers is used by the command line: the same lines as for one machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from v2_event_driven_engine import (
    ListInstrument,
    MassCanceled,
    MatchingEngine,
    NewOrder,
    OrderType,
    Side,
)
from v2_event_driven_engine.cluster.connect import connect
from v2_event_driven_engine.cluster.drop_copy import Copy, Subscriber
from v2_event_driven_engine.main import main
from v2_event_driven_engine.models.commands import Command

from ..flow import commands
from .local_cluster import MAIN, WAIT_SECONDS, Up, main_py
from .real_servers import real_servers

pytestmark = real_servers

NAMES = {
    "NewOrder": "new", "CancelOrder": "cancel", "ReduceOrder": "reduce", "ReplaceOrder": "replace",
    "MassCancel": "mass_cancel", "ListInstrument": "list_instrument",
}  # fmt: skip


def line(command: Command) -> str:
    """A command as a line."""
    fields = {
        name: getattr(value, "name", value)
        for name, value in msgspec.structs.asdict(command).items()
    }
    return json.dumps({"command": NAMES[type(command).__name__], **fields})


FLOW = [line(command) for command in commands(3000, seed=21)]
QUERIES = [
    '{"query": "state"}',
    '{"query": "book", "symbol": "ACME", "depth": 3}',
    '{"query": "order", "order_id": 77}',
    '{"command": "new"}',
]
DIALOGUE = "\n".join(FLOW + QUERIES + FLOW[1:9] + QUERIES) + "\n"


def without_times(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(each) for each in text.splitlines()]
    return [{k: v for k, v in each.items() if k != "timestamp_ns"} for each in lines]


def on_one_machine(*arguments: str, data: Path, stdin: str = "") -> str:
    command = [sys.executable, str(MAIN), *arguments, "--data-dir", str(data)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("cluster") / "data") as up:
        up.line("active at")
        yield up


def of(cluster: Up, *arguments: str | Path) -> Any:
    """What a subcommand reports, which must have gone well."""
    done = main_py(*arguments, "--data-dir", cluster.directory, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_a_cluster_says_what_one_machine_says(cluster: Up, tmp_path: Path) -> None:
    command = [sys.executable, str(MAIN), "cluster", "stdio", "--data-dir", str(cluster.directory)]
    done = subprocess.run(
        command, input=DIALOGUE, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (1, ""), "one line is malformed"
    one = on_one_machine("stdio", data=tmp_path / "one", stdin=DIALOGUE)
    assert without_times(done.stdout) == without_times(one)

    flow = tmp_path / "flow.ndjson"
    flow.write_text("\n".join(FLOW[1:]) + "\n")
    events, events_of_one = tmp_path / "events", tmp_path / "events_of_one"
    report = of(cluster, "submit", flow, "--events", events)
    of_one = json.loads(
        on_one_machine(
            "run", str(flow), "--events", str(events_of_one), "--json", data=tmp_path / "one"
        )
    )
    assert without_times(events.read_text()) == without_times(events_of_one.read_text())
    same = ("ok", "sequence", "commands", "events", "trades", "resting_orders", "state_hash",
            "malformed")  # fmt: skip
    assert {key: report[key] for key in same} == {key: of_one[key] for key in same}


def test_a_cluster_is_verified_backed_up_and_restored(
    cluster: Up, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    verified = of(cluster, "verify")
    [partition] = verified["partitions"]
    assert partition["nodes"] == "a b c"
    first = of(cluster, "backup", "--to", tmp_path / "backup")
    assert first["commands_copied"] == first["sequence"] == verified["sequence"]
    flow = tmp_path / "flow.ndjson"
    new = [order(5 * 10**6 + number, participant=5) for number in range(499)]
    flow.write_text("".join(line(each) + "\n" for each in new))
    of(cluster, "submit", flow)
    second = of(cluster, "backup", "--to", tmp_path / "backup")
    assert second["commands_copied"] == 499
    verified = of(cluster, "verify")
    assert second["state_hash"] == verified["state_hash"]
    for reader in (["verify"], ["replay"], ["status"], ["audit", "--verify"]):
        assert main([*reader, "--data-dir", str(tmp_path / "backup")]) == 0, reader
    assert verified["state_hash"] in capfd.readouterr().out
    with Up(tmp_path / "new") as other:
        restored = of(other, "restore", "--from", tmp_path / "backup")
        assert restored["state_hash"] == verified["state_hash"]
        again = of(other, "verify")
        for key in ("sequence", "state_hash", "sessions_hash", "out_messages"):
            assert again["partitions"][0][key] == verified["partitions"][0][key], key
        of(other, "submit", flow)
        refused = main_py("restore", "--from", tmp_path / "backup", "--data-dir", other.directory)
        assert (refused.returncode, "is not empty" in refused.stderr) == (3, True)


def test_a_client_goes_on_when_the_active_is_killed(cluster: Up) -> None:
    acme = ListInstrument("ACME", "0.01", "1")
    with connect(cluster.described()["urls"], instruments=[acme]) as client:
        first = client.state().sequence
        receipts = [client.submit(order(10**6 + number)) for number in range(500)]
        killed = main_py("kill", "active", "--kill", "--data-dir", cluster.directory)
        assert killed.returncode == 0
        receipts += [client.submit(order(2 * 10**6 + number)) for number in range(500)]
        events = [receipt.result(WAIT_SECONDS)[0] for receipt in receipts]
        assert {type(event).__name__ for event in events} == {"OrderAccepted"}, events[:2]
        sequences = [event.sequence for event in events]
        assert sequences == list(range(first + 1, first + 1001))
        assert client.order(2 * 10**6 + 499).remaining == 1
        [*_, event] = client.mass_cancel(4_000_000_000).result(WAIT_SECONDS)
        assert (type(event), getattr(event, "count", 0)) == (MassCanceled, 1000)
    cluster.line("active at")
    assert of(cluster, "verify")["sequence"] == first + 1001


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["submit", "stdio"])
def test_a_signal_ends_what_waits_for_an_active(
    cluster: Up, tmp_path: Path, name: str, how: signal.Signals
) -> None:
    """The nodes are frozen: nobody answers what was sent."""
    sent = threading.Event()
    subscription = cluster.connection.subscribe("cmd.0", lambda _: sent.set())
    flow = tmp_path / "flow.ndjson"
    flow.write_text(line(order(3 * 10**7)) + "\n")
    nodes = [node.pid for node in cluster.statuses(3)]
    for pid in nodes:
        os.kill(pid, signal.SIGSTOP)
    try:
        command = [sys.executable, str(MAIN), "cluster", name, "--data-dir", str(cluster.directory)]
        with flow.open() as stdin, subprocess.Popen(
            [*command, *([str(flow)] if name == "submit" else [])], stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert sent.wait(WAIT_SECONDS)
            began = time.monotonic()
            process.send_signal(how)
            printed = process.communicate(timeout=WAIT_SECONDS)
    finally:
        for pid in nodes:
            os.kill(pid, signal.SIGCONT)
        cluster.connection.end(subscription)
    assert (process.returncode, *printed) == (128 + how, b"", b"")
    assert time.monotonic() - began < 15, "sooner than the nodes are given up"


def order(order_id: int, participant: int = 4_000_000_000) -> NewOrder:
    return NewOrder(
        order_id=order_id, participant=participant, symbol="ACME", side=Side.BUY,
        type=OrderType.LIMIT, price=1, quantity=1,
    )  # fmt: skip


def test_a_participant_hears_its_events_from_another_process(cluster: Up) -> None:
    command = [sys.executable, str(MAIN), "cluster", "drop-copy", "--data-dir"]
    process = subprocess.Popen(
        [*command, str(cluster.directory)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "evt.0" in process.stdout.readline()
        copies: list[Copy] = []
        came = threading.Condition()

        def heard(copy: Copy) -> None:
            with came:
                copies.append(copy)
                came.notify()

        subscriber = Subscriber(cluster.connection, 0, 3_999_999_999, heard, inbox="_INBOX.test.dc")
        with connect(cluster.described()["urls"]) as client:
            for number in range(3):
                new = order(10**7 + number, participant=3_999_999_999)
                expected = client.submit(new).result(WAIT_SECONDS)
                with came:
                    for _ in range(int(WAIT_SECONDS)):
                        if came.wait_for(lambda: len(copies) > number, 1.0):  # noqa: B023
                            break
                        subscriber.ask()
                    assert (copies[-1].number, copies[-1].events) == (number + 1, expected)
        subscriber.close()
    finally:
        process.terminate()
        assert process.wait(WAIT_SECONDS) == 0
        process.stdout.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("partition", ["1", "999", "-1"])
def test_a_drop_copy_of_no_partition_is_refused(cluster: Up, partition: str) -> None:
    done = main_py("drop-copy", f"--partition={partition}", "--data-dir", cluster.directory)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--partition" in done.stderr


def test_a_backup_into_a_directory_in_use_names_its_option(cluster: Up, tmp_path: Path) -> None:
    with MatchingEngine.open(tmp_path):
        done = main_py("backup", "--to", tmp_path, "--data-dir", cluster.directory)
    assert (done.returncode, done.stdout) == (3, "")
    assert "name another directory with --to" in done.stderr


def test_several_partitions_are_one_cluster(tmp_path: Path) -> None:
    flow = tmp_path / "flow.ndjson"
    symbols = ["ACME", "B", "C"]
    lines = [line.replace("ACME", symbols[number % 3]) for number, line in enumerate(FLOW[1:])]
    listed = [FLOW[0].replace("ACME", symbol) for symbol in symbols]
    flow.write_text("\n".join(listed + lines) + "\n")
    with Up(tmp_path / "data", "--partitions", "2", "--replicas", "2") as two:
        for _ in range(2):
            two.line("active at")
        report = of(two, "submit", flow)
        assert (report["partitions"], report["commands"]) == (2, 3002)
        verified = of(two, "verify")
        assert verified["sequence"] == report["sequence"]
        assert all(each["sequence"] > 500 for each in verified["partitions"])
        copied = of(two, "backup", "--to", tmp_path / "backup")
        assert copied["sequence"] == verified["sequence"]
    for each in verified["partitions"]:
        directory = tmp_path / "backup" / str(each["partition"])
        found = json.loads(on_one_machine("verify", "--json", data=directory))
        assert (found["ok"], found["state_hash"]) == (True, each["state_hash"])
    with Up(tmp_path / "new", "--partitions", "2", "--replicas", "2") as new:
        of(new, "restore", "--from", tmp_path / "backup")
        hashes = [each["state_hash"] for each in of(new, "verify")["partitions"]]
        assert hashes == [each["state_hash"] for each in verified["partitions"]]
        with connect(new.described()["urls"]) as client:
            assert [client.book(symbol).depth() != ((), ()) for symbol in symbols] == [True] * 3
