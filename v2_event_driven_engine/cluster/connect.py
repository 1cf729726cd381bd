"""From the address of a server to a client. It needs the extra `cluster`."""

from collections.abc import Sequence
from typing import Any

from .client import ClusterClient
from .jetstream import OPEN, Connection, JetStreamStream, Security, ensure_stream
from .protocol import Status, decode_status, is_status
from .stream import SystemClock
from .table import SymbolTable

CONTROL, CONTROL_SUBJECT = "CTRL", "ctrl"


def connect(
    urls: Sequence[str],
    client_id: int | None = None,
    *,
    security: Security = OPEN,
    **options: Any,
) -> ClusterClient:
    """A client of the cluster whose servers are named; `options` are those of `ClusterClient`.

    Raises:
        LogUnavailable: no server lets us in.
        StoreError: there is no cluster.
        MalformedCommand, InstrumentRefused: one of the options.
    """
    connection = Connection(urls, name="client", security=security)
    try:
        return ClusterClient(
            connection, client_id, table=table_of(connection), at_close=connection.close, **options
        )
    except BaseException:
        connection.close()
        raise


def statuses(
    connection: Connection, partition: int, seconds: float, enough: int | None = None
) -> list[Status]:
    """What the nodes of a partition say of themselves within some seconds, or `enough` of them."""
    replies = connection.collect(f"status.{partition}", b"", seconds, enough, is_status)
    return [decode_status(reply) for reply in replies]


def table_of(connection: Connection) -> SymbolTable:
    """The table of symbols of a cluster."""
    return SymbolTable(JetStreamStream(connection, CONTROL, CONTROL_SUBJECT), SystemClock())


def make_table(connection: Connection, partitions: int, replicas: int = 3) -> SymbolTable:
    """The same, made if there is none yet. Raises as `SymbolTable.create` and `ensure_stream`."""
    ensure_stream(connection, CONTROL, CONTROL_SUBJECT, replicas)
    table = table_of(connection)
    table.create(partitions)
    return table


def make_streams(connection: Connection, partition: int, replicas: int = 3) -> None:
    """LOG and OUT of a partition, made if there are none yet. Raises as `ensure_stream`."""
    for stream in (log_of(connection, partition), out_of(connection, partition)):
        ensure_stream(connection, stream.name, stream.subject, replicas)


def log_of(connection: Connection, partition: int) -> JetStreamStream:
    """The stream LOG of a partition."""
    return JetStreamStream(connection, f"LOG_{partition}", f"log.{partition}")


def out_of(connection: Connection, partition: int) -> JetStreamStream:
    """The stream OUT of a partition."""
    return JetStreamStream(connection, f"OUT_{partition}", f"out.{partition}")
