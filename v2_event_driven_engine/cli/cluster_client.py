"""`cluster submit`, `stdio`, `verify`, `backup`, `restore`, `drop-copy`: using a cluster.

Lines are read and written as `run` and `stdio` do it; only where they go is another place.
"""

import argparse
import gc
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from ..engine.log.recovery import Progress
from ..engine.log.storage import DirectoryStorage
from ..engine.receipt import Receipt
from ..engine.wal_event_store import WalEventStore
from ..errors import DirectoryUnusable, StoreError
from .cluster_options import (
    STATUS_SECONDS,
    StopSoon,
    add_below,
    add_connection,
    add_data_dir,
    check_partition,
    connection_of,
    extra,
    named_by,
    partition_number,
    security_of,
    urls_of,
)
from .exits import CHECK_FAILED, OK, SIGNALED
from .files import EventsFile, FlowFile, standard_input, standard_output
from .ndjson import BookQuery, OrderQuery, Query, StateQuery
from .options import Function, Subcommands
from .output import Report, progress_bar, say, show
from .run import check_unused, drive, pace, used_as_stream
from .session import Session, book_line, converse, line_of, order_line
from .signals import Stopped, StopSignals

if TYPE_CHECKING:
    from ..cluster.backup import Copied
    from ..cluster.client import ClusterClient
    from ..cluster.jetstream import Connection

LEASE_PATIENCE_SECONDS = 20.0
"""How long a restore waits until no node is the active."""


def add(below: Subcommands) -> None:
    """Register the subcommands of `cluster` that are here."""
    submit = _add(below, "submit", "Drive an order-flow file through the cluster.", _submit)
    submit.add_argument(
        "flow", metavar="FLOW", help="NDJSON commands; .gz, .xz; - is standard input"
    )
    submit.add_argument("--events", type=Path, metavar="OUT", help="write what stdio would print")
    submit.add_argument("--json", action="store_true", help="print one JSON object, last")
    _add_client_id(submit)
    _add_client_id(_add(below, "stdio", "NDJSON on standard input and output; a dialogue.", _stdio))
    verify = _add(
        below,
        "verify",
        "Replay the whole log; compare it with OUT and every node that answers.",
        _verify,
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object, last")
    backup = _add(
        below, "backup", "Copy the log into a data directory; again: what is new.", _backup
    )
    backup.add_argument(
        "--to", type=Path, required=True, metavar="DIR",
        help="`verify`, `replay`, `audit` and `status` work on it; with several partitions each "
        "has a folder in it: 0, 1, 2 …",
    )  # fmt: skip
    backup.add_argument("--json", action="store_true", help="print one JSON object, last")
    restore = _add(
        below, "restore", "Fill a new cluster with what a backup, or an engine, has.", _restore
    )
    restore.add_argument(
        "--from", dest="source", type=Path, required=True, metavar="DIR",
        help="the data directory, or for several partitions the folder that has them: 0, 1, 2 …",
    )  # fmt: skip
    restore.add_argument("--json", action="store_true", help="print one JSON object, last")
    copy = _add(below, "drop-copy", "Send each participant its events, until SIGTERM.", _drop_copy)
    copy.add_argument(
        "--partition", type=partition_number, default=0, metavar="P", help="default: 0"
    )


def _add(below: Subcommands, name: str, text: str, function: Function) -> argparse.ArgumentParser:
    parser = add_below(below, name, text, function)
    add_data_dir(parser)
    add_connection(parser, required=False)
    return parser


def _add_client_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--client-id", type=int, metavar="N",
        help="go on as this client, which must not run elsewhere (default: a new one)",
    )  # fmt: skip


# -- submit and stdio ---------------------------------------------------------------------------


@contextmanager
def _client(options: argparse.Namespace) -> Iterator["ClusterClient"]:
    with extra():
        from ..cluster.connect import connect  # noqa: PLC0415
    client = connect(urls_of(options), options.client_id, security=security_of(options))
    gc.set_threshold(100_000)  # as for an engine: see opening.py
    gc.enable()
    with client:
        try:
            yield client
        except Stopped:  # it does not want to wait for what is not answered
            client.leave()
            raise


def _submit(options: argparse.Namespace) -> int:
    with StopSoon() as stop:
        flow = FlowFile(options.flow, stop)
        used = lambda file: used_as_stream(file, flow)  # noqa: E731
        if options.events is not None:
            check_unused(options.events, used)
        with _client(options) as client, progress_bar(flow.name, flow.size) as advance:
            events = None if options.events is None else EventsFile(options.events, used, stop)
            write = None if events is None else events.write
            session = Session(client, lambda query: _asked(client, query), write)
            seconds = drive(flow, session, events, stop, advance)
            states = [client.state(partition) for partition in range(client.partitions)]
        show(
            options,
            {
                "ok": session.malformed == 0,
                "sequence": sum(state.sequence for state in states),
                "commands": session.commands,
                "events": session.events,
                "trades": session.trades,
                "resting_orders": sum(state.resting_orders for state in states),
                "state_hash": states[0].state_hash if len(states) == 1 else None,
                **pace(session, seconds),
                "malformed": session.malformed,
                "partitions": len(states),
                "client_id": client.client_id,
            },
        )
        return _exit_status(session, stop)


def _stdio(options: argparse.Namespace) -> int:
    descriptor = standard_input()
    with StopSoon() as stop:
        write = standard_output(stop).write
        with _client(options) as client:
            session = Session(client, lambda query: _asked(client, query), write)
            converse(session, stop, descriptor)
        return _exit_status(session, stop)


def _exit_status(session: Session, stop: StopSignals) -> int:
    if stop.received is not None:
        return SIGNALED + stop.received
    return CHECK_FAILED if session.malformed else OK


def _asked(client: "ClusterClient", query: Query) -> Receipt[bytes]:
    """The answer to a query, once all that was submitted before it is answered."""
    receipt: Receipt[bytes] = Receipt()
    match query:
        case StateQuery():
            receipt.answer = b"".join(
                _state_line(client, partition) for partition in range(client.partitions)
            )
        case OrderQuery(order_id):
            receipt.answer = order_line(order_id, *client.order_at(order_id))
        case BookQuery(symbol, depth):
            receipt.answer = book_line(symbol, *client.depth_at(symbol, depth))
        case _:
            assert_never(query)
    return receipt


def _state_line(client: "ClusterClient", partition: int) -> bytes:
    which = {} if client.partitions == 1 else {"partition": partition}
    return line_of("state", {**client.state(partition)._asdict(), **which})


# -- verify -------------------------------------------------------------------------------------


@contextmanager
def _connected(options: argparse.Namespace) -> Iterator["Connection"]:
    connection = connection_of(options)
    try:
        yield connection
    finally:
        connection.close()


def _verify(options: argparse.Namespace) -> int:
    with StopSoon() as stop, _connected(options) as connection:
        from ..cluster.connect import table_of  # noqa: PLC0415

        partitions = table_of(connection).read().partitions
        with progress_bar("verify", None, stop) as advance:
            found = [_verified(connection, number, advance) for number in range(partitions)]
    problems = [problem for each in found for problem in each.pop("problems")]
    report: Report = {
        "ok": not problems,
        "sequence": sum(each["sequence"] for each in found),
        "state_hash": found[0]["state_hash"] if len(found) == 1 else None,
        "partitions": found,
        **({"error": "; ".join(problems)} if problems else {}),
    }
    if options.json:
        say(json.dumps(report))
    else:
        for each in found:
            for key, value in each.items():
                say(f"{key.replace('_', ' '):<16}{value:,}" if type(value) is int else
                    f"{key.replace('_', ' '):<16}{value}")  # fmt: skip
        for problem in problems:
            say(problem)
    return CHECK_FAILED if problems else OK


def _verified(connection: "Connection", partition: int, advance: Progress) -> Report:
    from ..cluster.connect import log_of, out_of, statuses  # noqa: PLC0415
    from ..cluster.stream import SystemClock  # noqa: PLC0415
    from ..cluster.verification import verify  # noqa: PLC0415

    said = statuses(connection, partition, STATUS_SECONDS)
    found = verify(
        log_of(connection, partition), out_of(connection, partition), SystemClock(), said, advance
    )
    problems = [f"partition {partition}: {problem}" for problem in found.problems]
    state = found.replica.state.matcher.state()
    return {
        "partition": partition,
        "sequence": state.sequence,
        "entries": found.entries,
        "out_messages": found.out_messages,
        "out_lag": found.replica.batches - found.out_messages,
        "nodes": " ".join(sorted(found.nodes)),
        "resting_orders": state.resting_orders,
        "state_hash": state.state_hash,
        "sessions_hash": found.replica.sessions.hash(),
        "problems": problems,
    }


# -- backup and restore -------------------------------------------------------------------------


def _backup(options: argparse.Namespace) -> int:
    with StopSoon() as stop, _connected(options) as connection:
        from ..cluster.backup import backup  # noqa: PLC0415
        from ..cluster.connect import log_of, table_of  # noqa: PLC0415
        from ..cluster.stream import SystemClock  # noqa: PLC0415

        directories = _targets(options.to, table_of(connection).read().partitions)
        copied = []
        with progress_bar("backup", None, stop) as advance:
            for number, directory in enumerate(directories):
                storage = _storage("--to", directory, create=True)
                with named_by("--to"):
                    copied.append(
                        backup(log_of(connection, number), SystemClock(), storage, advance)
                    )
    show(options, _copied(copied))
    return OK


def _storage(option: str, directory: Path, *, create: bool = False) -> DirectoryStorage:
    """A data directory that an option names.

    Raises:
        DirectoryUnusable: it is missing, forbidden or no directory.
    """
    with named_by(option):
        return DirectoryStorage(directory, create=create)


def _numbered(directory: Path) -> list[int]:
    """The folders 0, 1, 2 … in a directory."""
    names = [each.name for each in directory.iterdir() if each.is_dir()]
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name, re.ASCII))


def _has_log(storage: DirectoryStorage) -> bool:
    return bool(WalEventStore(storage).files())


def _targets(directory: Path, partitions: int) -> list[Path]:
    """The data directory of each partition in a backup.

    Raises:
        DirectoryUnusable: the directory has a backup of a cluster of other partitions.
    """
    storage = _storage("--to", directory, create=True)
    found = _numbered(directory)
    several = partitions > 1
    if (several and _has_log(storage)) or (found and found[-1] >= (partitions if several else 0)):
        there = f"the folder {found[-1]}" if found else "a log of its own"
        raise DirectoryUnusable(
            f"{directory}: it has {there}, so this is no backup of a cluster of "
            f"{partitions} partitions; name an empty directory with --to"
        )
    return [directory / str(n) for n in range(partitions)] if several else [directory]


def _copied(copied: list["Copied"]) -> Report:
    return {
        "ok": True,
        "sequence": sum(each.sequence for each in copied),
        "commands_copied": sum(each.commands for each in copied),
        "state_hash": copied[0].state_hash if len(copied) == 1 else None,
        "partitions": len(copied),
    }


def _restore(options: argparse.Namespace) -> int:
    storages = _sources(options.source)
    with StopSoon() as stop, _connected(options) as connection:
        from ..cluster.connect import make_table  # noqa: PLC0415

        table = make_table(connection, len(storages))
        copied = []
        with progress_bar("restore", None, stop) as advance:
            for number, storage in enumerate(storages):
                copied.append(_restored(connection, number, storage, advance))
        if len(storages) > 1:
            table.adopt({symbol: n for n, each in enumerate(copied) for symbol in each.symbols})
    show(options, _copied(copied))
    return OK


def _sources(directory: Path) -> list[DirectoryStorage]:
    """The data directory, or those of several partitions in it.

    Raises:
        DirectoryUnusable: there is no log, or not the whole of several, or not only one.
    """
    storage = _storage("--from", directory)
    found = _numbered(directory)
    if not found:
        _check_log(storage)
        return [storage]
    if _has_log(storage):
        raise DirectoryUnusable(
            f"{directory}: it has a log and the folder {found[0]}: which is meant? Name the folder "
            f"with --from, or move one of them away"
        )
    for number in range(found[-1]):
        if number not in found:
            raise DirectoryUnusable(
                f"{directory}: the partition {number} is missing, and there is a folder "
                f"{found[-1]}: put it back"
            )
    storages = [_storage("--from", directory / str(number)) for number in found]
    for each in storages:
        _check_log(each)
    return storages


def _check_log(storage: DirectoryStorage) -> None:
    if not _has_log(storage):
        raise DirectoryUnusable(
            f"{storage.path}: there is no log here; name with --from what `backup`, or an engine, "
            f"has written"
        )


def _restored(
    connection: "Connection", partition: int, storage: DirectoryStorage, advance: Progress
) -> "Copied":
    """Restore one partition, while no node is its active."""
    from ..cluster.backup import restore  # noqa: PLC0415
    from ..cluster.connect import log_of, make_streams, out_of, statuses  # noqa: PLC0415
    from ..cluster.jetstream import JetStreamLease  # noqa: PLC0415
    from ..cluster.stream import SystemClock  # noqa: PLC0415

    make_streams(connection, partition)
    lease = JetStreamLease(connection, partition, "restore")
    try:
        give_up = time.monotonic() + LEASE_PATIENCE_SECONDS
        while not lease.hold():
            for node in statuses(connection, partition, STATUS_SECONDS):
                if node.role == "active":  # it is started again, as a standby
                    connection.send([(f"stop.{partition}.{node.node}", b"")])
            if time.monotonic() > give_up:
                raise StoreError(f"partition {partition}: a node is active; stop the nodes first")
            time.sleep(0.1)
        return restore(
            storage, log_of(connection, partition), out_of(connection, partition), SystemClock(),
            secrets.randbits(63), advance,
        )  # fmt: skip
    finally:
        lease.release()


# -- drop-copy ----------------------------------------------------------------------------------


def _drop_copy(options: argparse.Namespace) -> int:
    with StopSoon() as stop, _connected(options) as connection:
        from ..cluster.connect import log_of, out_of, table_of  # noqa: PLC0415
        from ..cluster.drop_copy import DropCopy  # noqa: PLC0415
        from ..cluster.stream import SystemClock  # noqa: PLC0415

        partition = options.partition
        check_partition(partition, table_of(connection).read().partitions)
        copy = DropCopy(
            out_of(connection, partition), log_of(connection, partition), connection,
            SystemClock(), partition, lambda: stop.received is not None,
        )  # fmt: skip
        say(f"drop copy of partition {partition}: on evt.{partition}.PARTICIPANT")
        copy.run()
    return OK
