"""Keeping the audit log complete beside a live engine: the program of a process of its own.

It reads the write-ahead log like any other consumer, so it takes nothing from the writer but a
look at the disk, and may lag. Its standard input is its lifeline: when the engine closes it, or
dies, the process writes what is recorded so far and ends.
"""

import fcntl
import os
import select
import sys
from pathlib import Path

from ..errors import StoreError
from .audit_logger import AUDIT_LOG, AuditLogger
from .storage import DirectoryStorage

POLL_SECONDS = 0.05


def follow(data_dir: Path, lifeline: int) -> None:
    """Complete the audit log again and again until ``lifeline`` reaches its end."""
    storage = DirectoryStorage(data_dir)
    # A trail has one writer: where an engine died, its process may still be finishing.
    guard = os.open(data_dir / AUDIT_LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(guard, fcntl.LOCK_EX)
    logger = AuditLogger(storage)
    ended = False
    while not ended:
        ready, _, _ = select.select([lifeline], [], [], POLL_SECONDS)
        ended = bool(ready) and not os.read(lifeline, 1)
        logger.catch_up()
    logger.close()
    os.close(guard)


if __name__ == "__main__":
    try:
        follow(Path(sys.argv[1]), sys.stdin.fileno())
    except (StoreError, OSError) as failure:
        sys.exit(f"audit: {failure}; the next start completes {AUDIT_LOG} from the log")
