"""Stopping on SIGINT and SIGTERM without tearing a command in two."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(BaseException):
    """A signal asked the program to stop while it was waiting. Not an error: clean up and leave."""


class GracefulStop:
    """Notes the first signal; the program stops when it next waits for something.

    A handler that raises anywhere could leave the engine with half a command applied. This one
    raises only inside `waiting`, where nothing is under way. A second signal ends the process at
    once, whatever it is doing: it may be stuck writing to somebody who does not read.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._is_waiting = False

    def install(self) -> None:
        """Take over SIGINT and SIGTERM. Main thread only."""
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGTERM, self._note)

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells count it."""
        return 128 + (self._signal or signal.SIGINT)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While this is open a signal raises `StopRequested`, and so does one noted before."""
        self._is_waiting = True
        try:
            if self._signal is not None:
                raise StopRequested
            yield
        finally:
            self._is_waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._is_waiting:
            raise StopRequested
