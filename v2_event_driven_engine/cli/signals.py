"""SIGINT and SIGTERM as a request: finish the batch that was begun, close, then leave."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self


class Stopped(Exception):
    """A signal came where there is nothing to finish first."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


class StopSignals:
    """While entered, the first SIGINT or SIGTERM sets :attr:`received` and interrupts nothing.

    A pipe is woken as well, so that :meth:`readable` can wait for input and for a signal at once.
    A second signal does what it does to any program.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._wakeup, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._old_waker = signal.set_wakeup_fd(self._waker)
        self._old = {
            number: signal.signal(number, self._receive)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for stop, handler in self._old.items():
            signal.signal(stop, handler)

    def fileno(self) -> int:
        """What becomes readable when a signal comes."""
        return self._wakeup

    def check(self) -> None:
        """Raise :class:`Stopped` if a signal came."""
        if self.received is not None:
            raise Stopped(self.received)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_waker)
        os.close(self._wakeup)
        os.close(self._waker)

    def readable(self, descriptor: int, *, wait: bool) -> bool:
        """Whether `descriptor` has something to read (or is at its end).

        With `wait`, returns False only because a signal came.
        """
        seconds = None if wait else 0.0
        return wait_for(descriptor, self._wakeup, seconds=seconds) and self.received is None

    def comes_within(self, seconds: float) -> bool:
        """Whether a signal came within some seconds, or before."""
        return wait_for(self._wakeup, seconds=seconds)

    def writable(self, descriptor: int) -> bool:
        """Wait until `descriptor` takes more, or has no reader; False if a signal came first."""
        return wait_for(descriptor, self._wakeup, to_write=True) and self.received is None


def wait_for(
    descriptor: int,
    wakeup: int | None = None,
    *,
    to_write: bool = False,
    seconds: float | None = None,
) -> bool:
    """Wait for a descriptor, or for the other one, or for some time; whether the first is ready.

    With `poll`, because `select` knows no descriptor above 1,023.
    """
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT if to_write else select.POLLIN)
    if wakeup is not None:
        waiting.register(wakeup, select.POLLIN)
    return descriptor in dict(waiting.poll(None if seconds is None else seconds * 1000))
