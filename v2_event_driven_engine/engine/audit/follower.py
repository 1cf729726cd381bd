"""The program that keeps the audit trail complete beside a live engine, in a process of its own.

It reads the log like any other reader, so it costs the writer nothing but the disk's time, and may
lag. Its standard input is its lifeline: when the engine closes it, or dies, the program writes what
is recorded so far and ends. Signals to stop are meant for the engine: it ignores them. It gets the
engine's directory as an open descriptor, so that it cannot be another one of the same name.
"""

import fcntl
import gc
import os
import select
import signal
import sys
from contextlib import suppress

from ...errors import StoreError
from ..audit_logger import AuditLogger
from ..log.storage import DirectoryStorage, open_regular
from ..wal_event_store import WalEventStore
from .trail import AUDIT_LOG, WHOLE

POLL_SECONDS = 0.05


def follow(storage: DirectoryStorage, lifeline: int) -> None:
    """Complete the trail again and again, until `lifeline` reaches its end."""
    # A trail has one writer: where an engine died, its process may still be finishing.
    guard = open_regular(AUDIT_LOG, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, storage.descriptor)
    fcntl.flock(guard, fcntl.LOCK_EX)
    logger = AuditLogger(storage, WalEventStore(storage))
    for warning in logger.warnings:
        print(f"audit: {warning}", file=sys.stderr)
    wake = select.poll()
    wake.register(lifeline, select.POLLIN)
    ended = False
    while not ended:
        ended = bool(wake.poll(POLL_SECONDS * 1000)) and not os.read(lifeline, 1)
        logger.catch_up()
    logger.close()
    os.close(guard)


def main(directory: str, name: str) -> int:
    """Follow the directory with this descriptor, called `name`; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # nothing that it makes again and again has cycles: there is nothing to collect
    try:
        # Opened anew: what the engine may have locked is not shared with this process.
        storage = DirectoryStorage(f"/proc/self/fd/{directory}")
        follow(storage, 0)
    except (StoreError, OSError) as failure:
        print(
            f"audit: {name}: {failure}; once that is mended, the next start completes {AUDIT_LOG} "
            f"from the log",
            file=sys.stderr,
        )
        return 1
    with suppress(OSError):  # the engine may have died
        os.write(1, WHOLE)
    return 0
