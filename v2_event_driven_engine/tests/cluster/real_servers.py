"""Real servers and nodes for tests. They run where `CLUSTER=1` is set: `nox -s cluster`."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from v2_event_driven_engine.cluster.servers import Servers

if TYPE_CHECKING:
    from v2_event_driven_engine.cluster.jetstream import Connection, JetStreamStream

WANTED = os.environ.get("CLUSTER") == "1"
real_servers = pytest.mark.skipif(
    not WANTED, reason="real servers: only where CLUSTER=1 is set (nox -s cluster)"
)
"""Marks what needs them."""


@pytest.fixture(autouse=True)
def mounts_alone() -> Iterator[None]:
    """For modules that mount disks, or make networks: one test at a time, of all processes.

    A machine of a network of ours keeps the disks that were mounted when it was made.
    """
    lock = Path(tempfile.gettempdir()) / "order-matching-mounts.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_names: Iterator[int] = count(1)


@cache
def servers(number: int) -> Servers:
    """One server, or three that are a cluster, for all tests of this process."""
    directory = Path(tempfile.mkdtemp(prefix="order-matching-servers-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    started = Servers(directory, number)
    atexit.register(started.stop_all)
    started.start_all()
    return started


@cache
def connection(number: int) -> "Connection":
    """A connection to `servers(number)`."""
    from v2_event_driven_engine.cluster.jetstream import Connection  # noqa: PLC0415

    connected = Connection(servers(number).urls, name="tests")
    atexit.register(connected.close)
    return connected


def new_stream(number: int) -> "JetStreamStream":
    """An empty stream on so many servers."""
    from v2_event_driven_engine.cluster.jetstream import (  # noqa: PLC0415
        JetStreamStream,
        ensure_stream,
    )

    which = next(_names)
    name, subject = f"LOG_{which}", f"log.{which}"
    ensure_stream(connection(number), name, subject, number)
    return JetStreamStream(connection(number), name, subject)
