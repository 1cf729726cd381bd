"""SIGINT and SIGTERM as a polite request: finish the batch in hand, close, then leave."""

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
        """Whether ``descriptor`` has something to read (or is at its end).

        With ``wait``, returns False only because a signal came.
        """
        ready, _, _ = select.select([descriptor, self._wakeup], [], [], None if wait else 0)
        return descriptor in ready and self.received is None
