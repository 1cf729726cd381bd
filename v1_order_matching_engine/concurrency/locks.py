"""The global lock, and what it costs.

One lock around the whole engine is the simplest way to be correct with many threads: a command
sees the state that the one before it left behind, and nothing else. The price is that everybody
waits for everybody; this lock counts how often and for how long, so that the price can be read.
"""

import threading
import time
from types import TracebackType
from typing import NamedTuple


class LockStatistics(NamedTuple):
    """What the lock has seen so far."""

    acquisitions: int
    contended: int  # of these, how often somebody else held the lock at first
    waited_ns: int  # time spent waiting, summed over all threads


class CountingLock:
    """A mutual exclusion lock that counts. Use it as a context manager; it is not reentrant.

    Which waiting thread gets the lock next is up to the operating system: the order in which it is
    *won* is the only order there is, and the engine records that one.

    Simplification: a signal handler that raises just as the lock is being won may leave it held.
    A program that stops on a signal should note it and stop between commands, as main.py does.

    Invariant: the counters are written only by the thread that holds the lock, so they are exact.

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
        # The clock is read only by those who have to wait, so an idle lock stays cheap.
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
        """The counters. Consistent with each other only while the caller holds the lock."""
        return LockStatistics(self._acquisitions, self._contended, self._waited_ns)
