"""The global lock: it excludes, and it counts what that costs."""

import threading
from collections.abc import Callable

import pytest

from ..concurrency.locks import CountingLock, LockStatistics

TIMEOUT_SECONDS = 10


class _Handle:
    """Takes the place of the lock inside; calls a function before a thread waits for it."""

    def __init__(self, inner: threading.Lock, before_waiting: Callable[[], None]) -> None:
        self._inner = inner
        self._before_waiting = before_waiting

    def acquire(self, blocking: bool = True) -> bool:
        if blocking:
            self._before_waiting()
        return self._inner.acquire(blocking)

    def release(self) -> None:
        self._inner.release()


def test_a_lock_without_contention_counts_no_waiting() -> None:
    lock = CountingLock()
    for _ in range(3):
        with lock:
            pass
    assert lock.statistics == LockStatistics(acquisitions=3, contended=0, waited_ns=0)


def test_a_thread_that_has_to_wait_is_counted_as_contended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = CountingLock()
    about_to_wait = threading.Event()
    monkeypatch.setattr(lock, "_lock", _Handle(lock._lock, about_to_wait.set))
    entered = threading.Event()

    def enter() -> None:
        with lock:
            entered.set()

    thread = threading.Thread(target=enter)
    with lock:
        thread.start()
        assert about_to_wait.wait(TIMEOUT_SECONDS)
        assert not entered.is_set()
    thread.join(TIMEOUT_SECONDS)
    assert entered.is_set()
    assert lock.statistics.acquisitions == 2
    assert lock.statistics.contended == 1
    assert lock.statistics.waited_ns > 0


def test_an_exception_inside_gives_the_lock_back() -> None:
    lock = CountingLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    with lock:
        assert lock.statistics.acquisitions == 2


def test_counts_are_exact_however_many_threads_take_turns() -> None:
    lock = CountingLock()
    start = threading.Barrier(8)

    def take_turns() -> None:
        start.wait(TIMEOUT_SECONDS)
        for _ in range(500):
            with lock:
                pass

    threads = [threading.Thread(target=take_turns) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    assert lock.statistics.acquisitions == 8 * 500
