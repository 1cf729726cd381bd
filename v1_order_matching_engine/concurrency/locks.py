"""The global lock, and what it costs.

One lock around the whole engine is the simplest way to be correct with many threads: every command
starts from the state in which the one before it ended. The price is that every thread waits for
every other. This lock counts how often and for how long.
"""

import threading
import time
from types import TracebackType
from typing import NamedTuple


class LockStatistics(NamedTuple):
    """What the lock has seen so far."""

    acquisitions: int
    contended: int  # of these, how often another thread held the lock at first
    waited_ns: int  # waiting time of all threads together


class CountingLock:
    """A mutual exclusion lock that counts. Use it as a context manager; it is not reentrant.

    The operating system decides which waiting thread gets the lock next. The order in which threads
    *win* the lock is the only order there is, and the engine records it.

    Simplification: a signal handler that raises just when a thread wins the lock may leave it
    locked. A program that stops on a signal should note it and stop between commands, as main.py
    does.

    Invariant: only the thread that holds the lock writes the counters, so they are exact.

    >>> lock = CountingLock()
    >>> with lock:
    ...     pass
    >>> lock.statistics
    LockStatistics(acquisitions=1, contended=0, waited_ns=0)
    """

    __slots__ = ("_acquisitions", "_contended", "_lock", "_waited_ns")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acquisitions = 0
        self._contended = 0
        self._waited_ns = 0

    def __enter__(self) -> None:
        # Only a thread that has to wait reads the clock, so an idle lock stays cheap.
        if not self._lock.acquire(False):
            started = time.perf_counter_ns()
            self._lock.acquire()
            self._contended += 1
            self._waited_ns += time.perf_counter_ns() - started
        self._acquisitions += 1

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    @property
    def statistics(self) -> LockStatistics:
        """The counters; they agree with each other only while the caller holds the lock."""
        return LockStatistics(self._acquisitions, self._contended, self._waited_ns)
