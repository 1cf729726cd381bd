"""What `main.py cluster` says and refuses, without any server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from v2_event_driven_engine import DirectoryUnusable, EventDrivenMatchingEngine, MalformedCommand
from v2_event_driven_engine.cli import cluster_client
from v2_event_driven_engine.cluster.servers import find_server
from v2_event_driven_engine.main import main

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ["server-config", "--name", "m2", "--store-dir", "/var/lib/nats",
          "--peer", "m1=10.0.0.1", "--peer", "m2=10.0.0.2", "--peer", "m3=10.0.0.3"]  # fmt: skip


def python(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with `main` and `sys`; the arguments follow."""
    head = "import sys; from v2_event_driven_engine.main import main; "
    return subprocess.run(
        [sys.executable, "-c", head + program, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def cluster(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return python("sys.exit(main(['cluster', *sys.argv[1:]]))", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [["up"], ["node", "--url", "nats://h", "--name", "a"], ["status", "--url", "nats://h"]],
    ids=lambda arguments: arguments[0],
)
def test_without_the_extra_it_says_what_to_install(arguments: list[str]) -> None:
    program = "sys.modules['nats'] = None; sys.exit(main(['cluster', *sys.argv[1:]]))"
    done = python(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'order-matching-engine[cluster]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["status", "--data-dir", "nowhere"], ["cluster"]])
def test_no_other_subcommand_imports_any_of_it(arguments: list[str]) -> None:
    program = (
        "main(sys.argv[1:]); "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('nats', 'asyncio') "
        "or m.startswith('v2_event_driven_engine.cluster')))"
    )
    assert python(program, *arguments).stdout.splitlines()[-1] == "[]"


def test_alone_it_explains_itself() -> None:
    done = cluster()
    assert done.returncode == 0
    for name in ("up", "node", "status", "kill", "server-config"):
        assert re.search(rf"^    {name}\s", done.stdout, re.MULTILINE)
    assert cluster("--help").stdout == done.stdout


@pytest.mark.parametrize("name", ["up", "node", "status", "kill", "server-config"])
def test_each_has_a_help_that_says_what_it_does(name: str) -> None:
    done = cluster(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 5


@pytest.mark.parametrize("name", ["status", "kill"])
def test_where_no_cluster_runs_it_says_how_to_start_one(tmp_path: Path, name: str) -> None:
    pytest.importorskip("nats")
    who = ["active"] if name == "kill" else []
    done = cluster(name, *who, "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no cluster runs there: start one by `python main.py cluster up`" in done.stderr


def test_the_configuration_of_a_server_names_all_machines_and_syncs_always() -> None:
    done = cluster(*CONFIG)
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        'server_name: "m2"',
        'listen: "10.0.0.2:4222"',
        "max_payload: 8MB ",
        "sync_interval: always ",
        'store_dir: "/var/lib/nats"',
        'routes: ["nats://10.0.0.1:6222", "nats://10.0.0.2:6222", "nats://10.0.0.3:6222"]',
    ):
        assert line in done.stdout
    assert "tls" not in done.stdout
    assert "accounts" not in done.stdout


def test_the_configuration_of_a_protected_server(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n", encoding="utf-8")
    files = [str(tmp_path / name) for name in ("ca.pem", "m2.pem", "m2.key")]
    for file in files:
        Path(file).touch()
    done = cluster(
        *CONFIG, "--ca", files[0], "--cert", files[1], "--key", files[2],
        "--user", "engine", "--password-file", str(password),
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count(f'cert_file: "{files[1]}"') == 2, "for clients, and between servers"
    assert 'user: "engine", password: "s3cret"' in done.stdout


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--name", "m9"], "--name m9: no --peer has this name"),
        (["--peer", "m2=h"], "--peer: the name m2 is there twice"),
        (["--peer", "m1=h"], "--peer: the name m1 is there twice"),
        (["--peer", "m4=10.0.0.1"], "--peer: the host 10.0.0.1 is there twice"),
        (["--peer", "m4=a.b", "--peer", "m5=A.B"], "--peer: the host a.b is there twice"),
        (["--client-port", "6222"], "--route-port, --monitor-port: 6222 is there twice"),
        (["--route-port", "4222"], "--route-port, --monitor-port: 4222 is there twice"),
        (["--monitor-port", "6222"], "--route-port, --monitor-port: 6222 is there twice"),
        (["--store-dir", ""], "argument --store-dir: an empty name is no directory"),
        (["--store-dir", " "], "argument --store-dir: an empty name is no directory"),
        (["--user", "x", "--password-file", "/dev/null"], "/dev/null: there is no password in it"),
        (["--ca", "/nowhere"], "argument --ca: /nowhere: No such file"),
        (["--cert", "/nowhere"], "argument --cert: /nowhere: No such file"),
        (["--key", "/nowhere"], "argument --key: /nowhere: No such file"),
        *(
            (["--peer", peer], f"{peer!a} is not NAME=HOST")
            for peer in (
                "m4",
                "m4=",
                "m4=h:4222",
                "m4=a b",
                "m4=me:pw@h",
                "m4=h/x",
                "m4=[::1]:4222",
                "m4=nats://h",
                "m4=fe80::1%eth0",
                "m4=-h",
                "m4=[h]",
            )
        ),
        (["--ca", "/dev/null"], "--ca, --cert and --key: give all three, or none"),
        (["--user", "x"], "--user and --password-file: give both, or none"),
        (["--user", "x", "--password-file", "/nowhere"], "/nowhere: No such file"),
        (["--client-port", "65536"], "'65536' is not a port"),
        (["--store-dir", 'a"b'], "cannot be in a server's configuration"),
    ],
)
def test_what_cannot_be_configured_is_refused(more: list[str], problem: str) -> None:
    done = cluster(*CONFIG, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["up", "--replicas", "0"], "'0' is not a number from 1 to 26"),
        (["node", "--name", "a b", "--url", "nats://h"], "'a b' is not made of letters"),
        (["node", "--name", "a", "--url", "nats://h", "--partition", "-1"], "-1"),
        (["node", "--name", "a"], "required: --url"),
        (
            ["node", "--name", "a", "--url", "nats://h", "--partition", "5"],
            "--partition 5: expected one of 0 to 0",
        ),
        (
            ["node", "--name", "a", "--url", "nats://h", "--partition", "2", "--partitions", "2"],
            "--partition 2: expected one of 0 to 1",
        ),
        (["kill", "nobody"], "invalid choice: 'nobody'"),
        (["status", "--url", "nats://127.0.0.1:1", "--watch", "0"], "--watch: expected a number"),
        (["node", "--name", "a", "--url", "nats://h", "--ca", "/nowhere"], "/nowhere"),
        (["node", "--name", "a", "--url", "nats://h", "--creds", "/nowhere"], "/nowhere"),
        (["node", "--name", "a", "--url", "no address"], "no address"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], problem: str) -> None:
    pytest.importorskip("nats")
    done = cluster(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["10k", "3e5", "true", "m-1"])
@pytest.mark.parametrize("host", ["10.0.0.9", "fd00::1", "[fd00::1]", "server.example.org"])
def test_a_server_takes_its_configuration(tmp_path: Path, name: str, host: str) -> None:
    """Names that look like numbers, and addresses with colons."""
    program = find_server()
    if program is None:
        pytest.skip("the server is not installed")
    done = cluster(*CONFIG, "--peer", f"{name}={host}", "--name", name)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "nats.conf"
    file.write_text(done.stdout, encoding="utf-8")
    tested = subprocess.run(
        [program, "-t", "-c", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert tested.returncode == 0, tested.stderr
    assert f'server_name: "{name}"' in done.stdout
    plain = host.strip("[]")
    in_url = f"[{plain}]" if ":" in plain else plain
    for part in (f'listen: "{in_url}:4222"', f'listen: "{in_url}:6222"', f"nats://{in_url}:6222"):
        assert part in done.stdout


class Election:
    """A connection to servers of which none leads the log."""

    def leader(self, _stream: str) -> str:
        return ""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("partition", "problem"),
    [
        ("0", "partition 0 has no {who} at present"),
        ("1", "--partition 1: expected one of 0 to 0"),
        ("999999", "--partition 999999: expected one of 0 to 0"),
    ],
)
@pytest.mark.parametrize("who", ["leader", "follower"])
def test_who_is_not_known_is_not_killed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    who: str,
    partition: str,
    problem: str,
) -> None:
    pytest.importorskip("nats")
    from v2_event_driven_engine.cluster import jetstream  # noqa: PLC0415

    servers = [{"name": name, "pid": 1} for name in ("s0", "s1", "s2")]
    content = {"urls": ["nats://h"], "partitions": 1, "servers": servers, "nodes": []}
    (tmp_path / "cluster.json").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(jetstream, "Connection", lambda *_, **__: Election())
    monkeypatch.setattr(os, "kill", no_server)
    command = ["cluster", "kill", who, "--partition", partition, "--data-dir", str(tmp_path)]
    assert main(command) == 2
    assert problem.format(who=who) in capfd.readouterr().err


BAD_URLS = [
    "nats://h:99999", "nats://h:abc", "nats://h:-1", "nats://h:0", "nats://[::1", "nats:///",
    "nats://", "nats://a:4222,nats://b:4222", "nats://a:4222,b:4222", "nats://h:4222/x",
    "nats://a b", "http://h:4222", "h:4222", "",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_address_of_a_server_is_refused(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["cluster", "status", "--url", url])
    assert caught.value.code == 2
    assert f"argument --url: {url!a} is not nats://HOST:PORT" in capfd.readouterr().err


@pytest.mark.parametrize("urls", ["nats://h:4222", [], *([url] for url in BAD_URLS), [5], None])
def test_a_connection_to_no_address_leaves_no_thread(urls: Any) -> None:
    pytest.importorskip("nats")
    from v2_event_driven_engine.cluster.connect import connect  # noqa: PLC0415

    before = set(threading.enumerate())
    with pytest.raises(MalformedCommand, match="urls: "):
        connect(urls)
    assert set(threading.enumerate()) == before


def test_a_connection_that_is_interrupted_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("nats")
    from v2_event_driven_engine.cluster import jetstream  # noqa: PLC0415

    async def interrupted(*_: Any) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(jetstream.Connection, "_connect", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError):
        jetstream.Connection(["nats://h"])
    assert set(threading.enumerate()) == before


def test_a_password_in_an_address_is_not_shown(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nats")
    monkeypatch.setattr("v2_event_driven_engine.cluster.jetstream.CONNECT_SECONDS", 0.5)
    for url in ("nats://me:s3cret@127.0.0.1:1", "nats://me:s3cret@h:x", "nats://me:s3@cret@h:x"):
        command = ["cluster", "verify", "--url", url]
        with suppress(SystemExit):
            assert main(command) == 3
        printed = capfd.readouterr()
        assert "***@" in printed.err
        assert "cret" not in printed.out + printed.err


# -- A directory to restore from, or to back up to ----------------------------------------------


def engine_in(directory: Path) -> None:
    EventDrivenMatchingEngine.open(directory, audit=False).close()


def no_server(*_: Any) -> None:
    raise AssertionError("it was to be refused before")


@pytest.mark.parametrize(
    ("folders", "logs", "problem"),
    [
        ([], [], "there is no log here"),
        (["x", "00"], [], "there is no log here"),
        (["0", "1"], ["0"], "1: there is no log here"),
        (["0", "2"], ["0", "2"], "the partition 1 is missing, and there is a folder 2"),
        (["1"], ["1"], "the partition 0 is missing, and there is a folder 1"),
        (["0", "1"], [".", "0", "1"], "it has a log and the folder 0"),
        (["0"], ["."], "it has a log and the folder 0"),
        (None, [], "No such file or directory; name another directory with --from"),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    folders: list[str] | None,
    logs: list[str],
    problem: str,
) -> None:
    monkeypatch.setattr(cluster_client, "connection_of", no_server)
    source = tmp_path / "source"
    if folders is not None:
        source.mkdir()
        for folder in folders:
            (source / folder).mkdir()
    for log in logs:
        engine_in(source / log)
    assert main(["cluster", "restore", "--from", str(source)]) == 3
    printed = capfd.readouterr().err
    assert problem in printed
    assert "--data-dir" not in printed


@pytest.mark.parametrize(
    ("partitions", "folders", "logs", "problem"),
    [
        (1, ["0"], [], "the folder 0"),
        (1, ["0", "1"], ["0", "1"], "the folder 1"),
        (2, [], ["."], "a log of its own"),
        (2, ["0", "1", "2"], ["0", "1", "2"], "the folder 2"),
    ],
)
def test_a_backup_of_other_partitions_is_not_mixed_in(
    tmp_path: Path, partitions: int, folders: list[str], logs: list[str], problem: str
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    for log in logs:
        engine_in(tmp_path / log)
    with pytest.raises(DirectoryUnusable, match=problem):
        cluster_client._targets(tmp_path, partitions)


def test_where_a_backup_goes(tmp_path: Path) -> None:
    assert cluster_client._targets(tmp_path / "one", 1) == [tmp_path / "one"]
    two = [tmp_path / "two" / "0", tmp_path / "two" / "1"]
    for _ in range(2):
        assert cluster_client._targets(tmp_path / "two", 2) == two
        two[0].mkdir(exist_ok=True)


# -- Streams and signals ------------------------------------------------------------------------


def test_a_dialogue_whose_input_is_its_output_is_refused(tmp_path: Path) -> None:
    flow = tmp_path / "flow"
    flow.write_text('{"query":"state"}\n')
    head = "import sys; from v2_event_driven_engine.main import main; "
    with flow.open("rb") as stdin, flow.open("ab") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", f"{head} sys.exit(main(['cluster', 'stdio']))"],
            cwd=ROOT, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith(b"goes to the same file; send it to another one\n")
    assert flow.read_text() == '{"query":"state"}\n'


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["submit", "stdio", "verify", "backup", "restore"])
def test_a_signal_ends_what_waits_for_a_server(
    tmp_path: Path, name: str, how: signal.Signals
) -> None:
    """The server takes the connection, and says nothing."""
    pytest.importorskip("nats")
    engine_in(tmp_path / "data")
    more = {
        "submit": ["/dev/null"],
        "backup": ["--to", str(tmp_path / "backup")],
        "restore": ["--from", str(tmp_path / "data")],
    }.get(name, [])
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"nats://127.0.0.1:{server.getsockname()[1]}"
        head = "import sys; from v2_event_driven_engine.main import main; "
        command = [sys.executable, "-c", f"{head} sys.exit(main(sys.argv[1:]))", "cluster", name]
        with subprocess.Popen(
            [*command, *more, "--url", url], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            server.settimeout(60)
            connection, _ = server.accept()
            began = time.monotonic()
            process.send_signal(how)
            printed = process.communicate(timeout=60)
            connection.close()
    assert (process.returncode, *printed) == (128 + how, b"", b"")
    assert time.monotonic() - began < 8, "sooner than a server is given up"


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "5", "null", '{"urls": []}', '{"urls": "nats://h", "partitions": 1}',
     '{"urls": [5], "partitions": 1, "servers": [], "nodes": []}',
     '{"urls": ["nats://h"], "partitions": 1, "servers": [{}], "nodes": []}',
     '{"urls": ["nats://h"], "partitions": 1, "servers": [], "nodes": 5}'],
)  # fmt: skip
@pytest.mark.parametrize("command", [["status"], ["kill", "active"], ["verify"]])
def test_a_description_of_something_else_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: list[str], content: str
) -> None:
    pytest.importorskip("nats")
    (tmp_path / "cluster.json").write_text(content, encoding="utf-8")
    assert main(["cluster", *command, "--data-dir", str(tmp_path)]) == 2
    assert f"{tmp_path}/cluster.json: " in capfd.readouterr().err
