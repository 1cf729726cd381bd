"""`cluster up`, `node`, `status`, `kill`, `tour`, `server-config`: running a cluster.

What it needs is not installed with the engine; nothing of it is imported before it is asked for.
"""

import argparse
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .cluster_options import (
    EXTRA,
    STATUS_SECONDS,
    add_below,
    add_connection,
    add_data_dir,
    check_partition,
    connection_of,
    described,
    extra,
    file_to_read,
    named_by,
    partition_number,
    password_of,
    security_of,
)
from .exits import CHECK_FAILED, OK, SIGNALED
from .files import FileProblem, complain
from .options import Subcommands
from .output import say
from .signals import StopSignals

if TYPE_CHECKING:
    from ..cluster.jetstream import Connection

FROZEN_SECONDS = 5.0


def add(below: Subcommands) -> None:
    """Register the subcommands of `cluster` that are here."""
    _add_up(below)
    _add_node(below)
    _add_status(below)
    _add_kill(below)
    _add_server_config(below)
    text = "Three replicas, and what is killed in the middle: half a minute."
    add_below(below, "tour", text, _tour)


# -- up -----------------------------------------------------------------------------------------


def _add_up(below: Subcommands) -> None:
    parser = add_below(
        below, "up", "Three servers, and some nodes, on this machine: for trying.", _up,
        "Prints a line for each process, and whenever a node changes its role. What ends is\n"
        "started again. Ctrl-C ends everything that it has started; the data stay.",
    )  # fmt: skip
    add_data_dir(parser)
    parser.add_argument("--partitions", type=_positive, default=1, metavar="N")
    parser.add_argument(
        "--replicas", type=_positive, default=3, metavar="N",
        help="nodes of each partition (default: %(default)s)",
    )  # fmt: skip


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < number <= 26:
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 1 to 26")
    return number


def _node_command(
    data_dir: Path, partitions: int, urls: Sequence[str], partition: int, name: str
) -> list[str]:
    """The command line of a node, of a cluster on this machine."""
    from ..cluster.local import main_program  # noqa: PLC0415

    servers = [word for url in urls for word in ("--url", url)]
    which = ["--partition", str(partition), "--name", name]
    which += ["--partitions", str(partitions)]
    which += [f"--snapshots={data_dir / f'node-{partition}-{name}'}"]  # it may begin with a dash
    return [*main_program(), "cluster", "node", *servers, *which]


def _check_installed() -> None:
    """See that what `up` and `tour` start is there.

    Raises:
        FileProblem: the extra is not installed.
    """
    with extra():
        from ..cluster import jetstream, servers  # noqa: F401, PLC0415
    if servers.find_server() is None:
        raise FileProblem(f"nats-server is not installed: {EXTRA}")


def _tour(options: argparse.Namespace) -> int:
    _check_installed()
    from .cluster_tour import tour  # noqa: PLC0415

    return tour(options, _node_command)


def _up(options: argparse.Namespace) -> int:
    with StopSignals() as stop:
        _check_installed()
        from ..cluster.local import LocalCluster  # noqa: PLC0415

        cluster = LocalCluster(
            options.data_dir, partial(_node_command, options.data_dir, options.partitions), say,
            partitions=options.partitions, replicas=options.replicas,
        )  # fmt: skip
        try:
            cluster.start()
            say(f"all started; Ctrl-C ends it; to look at it: {_look(options)}")
            while stop.received is None:
                cluster.look(stop.fileno())
        finally:
            cluster.stop()
    return SIGNALED + stop.received


def _look(options: argparse.Namespace) -> str:
    return f"{options.run_by} cluster status --data-dir={options.data_dir}"


# -- node ---------------------------------------------------------------------------------------


def _add_node(below: Subcommands) -> None:
    parser = add_below(
        below, "node", "One node of one partition; SIGTERM ends it, and another one takes over.",
        _node, "Prints one JSON object a line whenever it changes its role.\n"
        "exit status: 0 told to stop; 3 start it again; 4 diverged or damaged: look at it first",
    )  # fmt: skip
    add_connection(parser, required=True)
    parser.add_argument(
        "--partition", type=partition_number, default=0, metavar="P", help="default: 0"
    )
    parser.add_argument(
        "--name", type=_name, required=True,
        help="of this node, unlike all others of the partition",
    )  # fmt: skip
    parser.add_argument(
        "--partitions", type=_positive, default=1, metavar="N",
        help="how many the cluster has, which is decided once (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--snapshots", type=Path, metavar="DIR",
        help="a directory of this node's own, so that it starts faster",
    )  # fmt: skip
    parser.add_argument(
        "--stream-replicas",
        type=int,
        choices=(1, 3, 5),
        default=3,
        help="on how many servers the streams are kept, when they are made (default: %(default)s)",
    )


def _name(text: str) -> str:
    if not (text.isascii() and text.replace("-", "").replace("_", "").isalnum()):
        raise argparse.ArgumentTypeError(f"{text!a} is not made of letters, digits, - and _")
    return text


def _node(options: argparse.Namespace) -> int:
    check_partition(options.partition, options.partitions)
    with extra():
        from ..cluster.service import Service, serve  # noqa: PLC0415
    begin = partial(
        Service, options.url, options.partition, options.name,
        security=security_of(options), replicas=options.stream_replicas,
        partitions=options.partitions, snapshots=options.snapshots,
    )  # fmt: skip
    with named_by("--snapshots"):
        return serve(begin)


# -- status -------------------------------------------------------------------------------------


def _add_status(below: Subcommands) -> None:
    parser = add_below(
        below, "status", "Who is active, who follows, how far each is, and whether they agree.",
        _status, "exit status: 0 every partition of the cluster has one active, and equal\n"
        "sequences have equal hashes; 1 otherwise",
    )  # fmt: skip
    add_data_dir(parser)
    add_connection(parser, required=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS",
        help="again and again, with the rates in between, until Ctrl-C; without the hashes, "
        "which take the active longer the more orders rest",
    )  # fmt: skip


def _status(options: argparse.Namespace) -> int:
    if options.watch is not None and not 0 < options.watch < 1e6:
        raise FileProblem("--watch: expected a number of seconds above 0")
    connection = connection_of(options)
    count = None if options.url else len(described(options)["nodes"])
    try:
        with StopSignals() as stop:
            watched = options.watch is not None
            report = _report(connection, count, watched)
            _show(options, report)
            while watched and not stop.comes_within(options.watch):
                report = _report(connection, count, watched, report)
                _show(options, report)
    finally:
        connection.close()
    if stop.received is not None:
        return SIGNALED + stop.received
    return OK if report["ok"] else CHECK_FAILED


def _report(
    connection: "Connection",
    count: int | None,
    watched: bool,
    before: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """How the nodes are; with a report of before also the rates since then.

    The table says which partitions there are: one of which no node answers is not ok.
    """
    from ..cluster.connect import table_of  # noqa: PLC0415
    from ..cluster.jetstream import WITHOUT_HASHES  # noqa: PLC0415
    from ..cluster.protocol import is_status  # noqa: PLC0415

    question = WITHOUT_HASHES if watched else b""
    answers = connection.collect("status", question, STATUS_SECONDS, count, is_status)
    said = [json.loads(each) for each in answers]
    said.sort(key=lambda node: (node["partition"], node["role"], node["node"]))
    numbers = {node["partition"] for node in said}
    problem = {}
    try:
        numbers |= set(range(table_of(connection).read().partitions))
    except StoreError as error:
        problem = {"error": f"nobody says which partitions there are: {error}"}
    partitions = [
        _partition_report(connection, number, [n for n in said if n["partition"] == number])
        for number in sorted(numbers)
    ]
    answered = [each for each in partitions if each["nodes"]]
    for now in answered:
        for then in before["partitions"] if before else ():
            if not then["nodes"]:
                continue
            if then["partition"] == now["partition"] and now["time_ns"] > then["time_ns"]:
                seconds = (now["time_ns"] - then["time_ns"]) / 1e9
                for total, rate in (("sequence", "commands"), ("entries", "entries")):
                    now[f"{rate}_per_second"] = round((now[total] - then[total]) / seconds)
    return {
        "ok": not problem and all(each["ok"] for each in partitions),
        "sequence": sum(each["sequence"] for each in answered),
        "state_hash": partitions[0]["state_hash"] if len(partitions) == 1 else None,
        "partitions": partitions,
        **problem,
    }


def _partition_report(
    connection: "Connection", number: int, nodes: list[dict[str, Any]]
) -> dict[str, Any]:
    if not nodes:
        unknown = ("epoch", "sequence", "entries", "state_hash", "time_ns")
        return {
            "ok": False,
            "partition": number,
            "active": [],
            "agree": True,
            **dict.fromkeys(unknown),
            "log_leader": connection.leader(f"LOG_{number}"),
            "nodes": [],
        }
    actives = [node for node in nodes if node["role"] == "active"]
    ahead = max(actives or nodes, key=lambda node: (node["epoch"], node["sequence"]))
    hashes: dict[int, set[tuple[str, str]]] = {}
    for node in nodes:
        node["lag"] = max(0, ahead["sequence"] - node["sequence"])
        found = node["state_hash"], node["sessions_hash"]
        hashes.setdefault(node["sequence"], set()).add(found)
    agree = all(len(found) == 1 for found in hashes.values())
    return {
        "ok": len(actives) == 1 and agree,
        "partition": number,
        "active": [node["node"] for node in actives],
        "agree": agree,
        "epoch": ahead["epoch"],
        "sequence": ahead["sequence"],
        "entries": ahead["entries"],
        "state_hash": ahead["state_hash"],
        "log_leader": connection.leader(f"LOG_{number}"),
        "time_ns": ahead["time_ns"],
        "nodes": nodes,
    }


def _show(options: argparse.Namespace, report: dict[str, Any]) -> None:
    if options.json:
        say(json.dumps(report))
        return
    if "error" in report:
        say(report["error"])
    for partition in report["partitions"]:
        if not partition["nodes"]:
            leader = partition["log_leader"] or "nobody"
            say(f"partition {partition['partition']}: NO NODE ANSWERS, log led by {leader}")
            continue
        rate = partition.get("commands_per_second")
        say(
            f"partition {partition['partition']}: epoch {partition['epoch']}, "
            f"sequence {partition['sequence']:,}, log led by {partition['log_leader'] or 'nobody'}"
            + ("" if rate is None else f", {rate:,} commands/s")
            + ("" if partition["active"] else "; NO ACTIVE")
            + ("" if partition["agree"] else "; THE NODES DISAGREE")
        )
        for node in partition["nodes"]:
            say(
                f"  {node['node']:<12} {node['role']:<8} sequence {node['sequence']:>14,}  "
                f"lag {node['lag']:>7,}  not in OUT {node['out_lag']:>5,}  "
                f"resting {node['resting_orders']:>9,}  process {node['pid']}"
                + (f"  state {node['state_hash'][:12]}" if node["state_hash"] else "")
                + (f"  sessions {node['sessions_hash']}" if node["sessions_hash"] else "")
            )


# -- kill ---------------------------------------------------------------------------------------


def _add_kill(below: Subcommands) -> None:
    parser = add_below(
        below, "kill", "End, or freeze, a process of `cluster up`, and see what happens.", _kill,
        "Without an option: SIGTERM, the planned end; a leader hands the log over before.\n"
        "`cluster up` starts again what has ended.",
    )  # fmt: skip
    add_data_dir(parser)
    parser.add_argument(
        "who", choices=("active", "standby", "leader", "follower"),
        help="a node, or a server: the leader of the partition's log, or another one",
    )  # fmt: skip
    parser.add_argument(
        "--partition", type=partition_number, default=0, metavar="P", help="default: 0"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--kill", action="store_true", help="SIGKILL: as if its power were cut")
    how.add_argument(
        "--stop", action="store_true",
        help=f"SIGSTOP, and SIGCONT after {FROZEN_SECONDS:.0f} s: a zombie",
    )  # fmt: skip


def _kill(options: argparse.Namespace) -> int:
    found = described(options)
    check_partition(options.partition, found["partitions"])
    with extra():
        from ..cluster.jetstream import Connection  # noqa: PLC0415
    connection = Connection(found["urls"], name="command line")
    try:
        name, pid = _victim(options, found, connection)
        if options.who == "leader" and not (options.kill or options.stop):
            connection.step_down(f"LOG_{options.partition}")
    finally:
        connection.close()
    with _gone(name):
        if options.stop:
            os.kill(pid, signal.SIGSTOP)
            say(f"{name}: process {pid} is frozen for {FROZEN_SECONDS:.0f} s")
            try:
                time.sleep(FROZEN_SECONDS)
            finally:
                os.kill(pid, signal.SIGCONT)
        else:
            os.kill(pid, signal.SIGKILL if options.kill else signal.SIGTERM)
            say(f"{name}: process {pid} {'is killed' if options.kill else 'is told to end'}")
    return OK


@contextmanager
def _gone(name: str) -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        raise FileProblem(f"{name}: it has ended already; look at `cluster status`") from None


def _victim(
    options: argparse.Namespace, found: dict[str, Any], connection: "Connection"
) -> tuple[str, int]:
    """The process that is meant: what it is called, and its id.

    Raises:
        FileProblem: there is none.
    """
    choose: Callable[[dict[str, Any]], bool]
    if options.who in ("leader", "follower"):
        leader = connection.leader(f"LOG_{options.partition}")
        kind, candidates = "server", found["servers"]
        leads = options.who == "leader"  # in an election nobody leads, and nobody follows
        choose = lambda each: leader != "" and (each["name"] == leader) == leads  # noqa: E731
    else:
        from ..cluster.connect import statuses  # noqa: PLC0415

        said = statuses(connection, options.partition, STATUS_SECONDS)
        known = {node["pid"] for node in found["nodes"]}  # a pid of another machine: never
        kind = "node"
        candidates = [
            {"name": n.node, "role": n.role, "pid": n.pid} for n in said if n.pid in known
        ]
        choose = lambda each: each["role"] == options.who  # noqa: E731
    for each in candidates:
        if choose(each):
            return f"{kind} {each['name']} ({options.who})", each["pid"]
    raise FileProblem(f"partition {options.partition} has no {options.who} at present")


# -- server-config ------------------------------------------------------------------------------


def _add_server_config(below: Subcommands) -> None:
    parser = add_below(
        below, "server-config", "Print the configuration of nats-server for one machine.",
        _server_config,
        "example, on the second of three machines:\n"
        "  ... cluster server-config --name m2 --store-dir /var/lib/nats \\\n"
        "      --peer m1=10.0.0.1 --peer m2=10.0.0.2 --peer m3=10.0.0.3 > nats.conf\n"
        "  nats-server -c nats.conf",
    )  # fmt: skip
    parser.add_argument("--name", type=_name, required=True, help="which of the peers this is")
    parser.add_argument(
        "--peer", type=_peer, action="append", required=True, metavar="NAME=HOST",
        help="every server of the cluster, this one too; three, or five",
    )  # fmt: skip
    parser.add_argument(
        "--store-dir", type=_directory, required=True, metavar="DIR", help="for the streams"
    )
    parser.add_argument("--client-port", type=_port, default=4222, metavar="PORT")
    parser.add_argument("--route-port", type=_port, default=6222, metavar="PORT")
    parser.add_argument(
        "--monitor-port", type=_port, default=8222, metavar="PORT",
        help="of /healthz, for this machine only (default: %(default)s)",
    )  # fmt: skip
    group = parser.add_argument_group("protection", "leave it out only where nobody else can come")
    for name, what in (
        ("--ca", "who signs the certificates of all machines"),
        ("--cert", "the certificate of this server"),
        ("--key", "its key"),
    ):
        group.add_argument(name, type=file_to_read, default="", metavar="FILE", help=what)
    group.add_argument("--user", default="", metavar="NAME", help="of the nodes and clients")
    group.add_argument("--password-file", type=Path, metavar="FILE", help="its password, or a hash")


def _peer(text: str) -> tuple[str, str]:
    name, _, host = text.partition("=")
    host = re.sub(r"^\[(.*:.*)\]$", r"\1", host)  # an address of IPv6, as in a URL
    if not _is_host(host):
        raise argparse.ArgumentTypeError(
            f"{text!a} is not NAME=HOST, with an address or a name without a port"
        )
    return _name(name), host


def _is_host(text: str) -> bool:
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", text) is not None


def _directory(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty name is no directory")
    return text


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text!a} is not a port from 1 to 65535")
    return number


def _server_config(options: argparse.Namespace) -> int:
    from ..cluster.servers import Certificates, Machine, configuration  # noqa: PLC0415

    machines = [
        Machine(name, host, options.client_port, options.route_port, options.monitor_port,
                options.store_dir)
        for name, host in options.peer
    ]  # fmt: skip
    named = {machine.name: machine for machine in machines}
    if options.name not in named:
        raise FileProblem(f"--name {options.name}: no --peer has this name")
    for kind, values in (
        ("--peer: the name", [machine.name for machine in machines]),
        ("--peer: the host", [machine.host.lower() for machine in machines]),
        ("--client-port, --route-port, --monitor-port:",
         [options.client_port, options.route_port, options.monitor_port]),
    ):  # fmt: skip
        for value in values:
            if values.count(value) > 1:
                raise FileProblem(f"{kind} {value} is there twice")
    files = options.ca, options.cert, options.key
    if any(files) != all(files):
        raise FileProblem("--ca, --cert and --key: give all three, or none")
    if bool(options.user) != (options.password_file is not None):
        raise FileProblem("--user and --password-file: give both, or none")
    password = password_of(options)
    if options.user and not password:
        raise FileProblem(f"{options.password_file}: there is no password in it")
    if len(machines) % 2 == 0:
        complain(options.program, f"{len(machines)} servers survive no more than one less would")
    try:
        text = configuration(
            named[options.name], machines,
            certificates=Certificates(*files) if all(files) else None,
            user=options.user, password=password,
        )  # fmt: skip
    except StoreError as error:
        raise FileProblem(str(error)) from None
    for line in text.splitlines():
        say(line)
    return OK
