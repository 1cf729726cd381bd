"""Stopping on SIGINT and SIGTERM, between two commands."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(BaseException):
    """A signal asked the program to stop. Not an error: clean up and end."""


class GracefulStop:
    """Notes the first signal; the program stops the next time it waits for something.

    A handler that raises anywhere could leave the engine with half a command applied, or lose input
    that was just read. This one raises only inside `waiting`, where nothing is kept. A second
    signal ends the process at once.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._is_waiting = False

    def install(self) -> None:
        """Handle SIGINT and SIGTERM from now on. Main thread only."""
        self._wakeup, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGTERM, self._note)

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells do it."""
        return 128 + (self._signal or signal.SIGINT)

    def check(self) -> None:
        """Raise `StopRequested` if a signal was noted."""
        if self._signal is not None:
            raise StopRequested

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A context in which a signal raises `StopRequested`, also one noted before it."""
        self._is_waiting = True
        try:
            self.check()
            yield
        finally:
            self._is_waiting = False

    def wait_for_input(self, descriptor: int) -> None:
        """Wait until there is something to read, or the end; or raise `StopRequested`.

        A signal that comes just before the wait begins would not interrupt it; but every signal
        also writes a byte to the pipe that is waited for as well.
        """
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.register(self._wakeup, select.POLLIN)
        while descriptor not in dict(waiting.poll()):
            self.check()
        self.check()

    def wait_for_room(self, descriptor: int) -> bool:
        """Wait until something can be written, or the reader has gone; False if a signal came."""
        waiting = select.poll()
        waiting.register(descriptor, select.POLLOUT)
        waiting.register(self._wakeup, select.POLLIN)
        while descriptor not in dict(waiting.poll()):
            if self._signal is not None:
                return False
        return True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._is_waiting:
            raise StopRequested
