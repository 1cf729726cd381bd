"""What a producer holds while its request is on its way."""

import threading
from typing import ClassVar, Generic, TypeVar

import msgspec

from ..errors import EngineError

Answer = TypeVar("Answer")


class Receipt(msgspec.Struct, Generic[Answer], eq=False):
    """A promise of an answer, kept once the command is durable and applied.

    It is lighter than a ``Future``: a lock exists only where somebody really waits, and the writer
    then wakes exactly those who wait for this receipt.

    The hand-over between the writer (sets the answer, then looks for waiters) and a waiter
    (enters itself, then looks for the answer) needs no lock of its own: whichever comes second
    sees what the other did.
    """

    answer: Answer | None = None
    failure: EngineError | None = None
    waiters: list[threading.Lock] | None = None

    _entering: ClassVar[threading.Lock] = threading.Lock()
    """Taken by those who wait, when they enter themselves; never by the writer."""

    @property
    def done(self) -> bool:
        """Whether :meth:`result` would return, or raise, at once."""
        return self.answer is not None or self.failure is not None

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer, at most ``timeout`` seconds (None: as long as it takes).

        Raises:
            TimeoutError: no answer yet. The command is still on its way: ask again later.
            EngineClosed: the engine was closed before the command got a sequence.
            EngineStopped: a failure stopped the engine; see there.
        """
        if self.answer is None and self.failure is None:
            self._wait(timeout)
        if self.failure is not None:
            raise self.failure
        assert self.answer is not None
        return self.answer

    def _wait(self, timeout: float | None) -> None:
        answered = threading.Lock()  # an Event would do the same, with a lock, a condition, a queue
        answered.acquire()
        with Receipt._entering:
            if self.waiters is None:
                self.waiters = []
            self.waiters.append(answered)
        if not self.done and not answered.acquire(
            timeout=-1 if timeout is None else max(timeout, 0)
        ):
            raise TimeoutError(f"no answer within {timeout} s; the command is still on its way")

    def fail(self, failure: EngineError) -> None:
        """Resolve the receipt with an error, if it has no answer yet."""
        if self.answer is None:
            self.failure = failure
            self.wake()

    def wake(self) -> None:
        """Wake whoever waits. The writer calls it after it has set the answer or the failure."""
        if self.waiters is not None:
            for answered in self.waiters:
                answered.release()
