"""What `main.py cluster` says and refuses, without any server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
        "server_name: m2",
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
    done = cluster(
        *CONFIG, "--ca", "ca.pem", "--cert", "m2.pem", "--key", "m2.key",
        "--user", "engine", "--password-file", str(password),
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count('cert_file: "m2.pem"') == 2, "for clients, and between servers"
    assert 'user: "engine", password: "s3cret"' in done.stdout


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--name", "m9"], "--name m9: expected exactly one --peer of this name"),
        (["--peer", "m2=h"], "--name m2: expected exactly one --peer of this name"),
        (["--peer", "m4"], "'m4' is not NAME=HOST"),
        (["--ca", "x"], "--ca, --cert and --key: give all three, or none"),
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
