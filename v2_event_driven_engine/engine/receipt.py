"""What is in the queue, and what a producer holds meanwhile: a promise of an answer."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ..errors import WriterBlocked
from ..models.commands import Command
from .market.matcher import Matcher

Answer = TypeVar("Answer")

WRITERS: set[int] = set()
"""The threads that are a writer now. They run subscribers and questions, and must not wait."""

Question = Callable[[Matcher], Any]
"""What is asked of the matcher between two commands. See `EventDrivenMatchingEngine.ask`."""


class Receipt(msgspec.Struct, Generic[Answer], kw_only=True, eq=False):
    """A promise of an answer, kept once the command is durable and applied.

    It is lighter than a `Future`: a lock exists only while somebody really waits, and the writer
    wakes exactly those who wait for this receipt.

    The hand-over between the writer (sets the answer, then looks for waiters) and a waiter (adds
    itself, then looks for the answer) needs no lock of its own: whichever comes second sees what
    the other did.
    """

    answer: Answer | msgspec.UnsetType = msgspec.UNSET
    failure: BaseException | None = None
    waiters: list[threading.Lock] | None = None

    traceback: TracebackType | None = None
    """Where the failure of a question comes from."""

    _entering: ClassVar[threading.RLock] = threading.RLock()
    """Held by those who wait while they add themselves, never by the writer. It may be taken again
    by a signal handler that interrupts the one who holds it."""

    @classmethod
    def forget_those_who_wait(cls) -> None:
        """In a forked process, in which they are not."""
        Receipt._entering = threading.RLock()

    @property
    def done(self) -> bool:
        """Whether `result` would return, or raise, at once."""
        return self.answer is not msgspec.UNSET or self.failure is not None

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer, at most `timeout` seconds (None: without a limit).

        Raises:
            TimeoutError: no answer yet. The command is still on its way: ask again later.
            EngineClosed: the engine was closed before the command got a sequence.
            EngineStopped: a failure stopped the engine; see there.
            WriterBlocked: this is the writer's thread, which would wait for itself.
            Whatever a question raised.
        """
        # The usual case, looked at here: most answers are there already.
        if self.answer is msgspec.UNSET and self.failure is None and not self.wait(timeout):
            raise TimeoutError(f"no answer within {timeout} s; the command is still on its way")
        if self.failure is not None:
            # Not with the traceback that an earlier call has left in it: that would only ever grow.
            raise self.failure.with_traceback(self.traceback)
        assert self.answer is not msgspec.UNSET
        return self.answer

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the receipt is done, at most `timeout` seconds; whether it is."""
        if self.done:
            return True
        if threading.get_ident() in WRITERS:
            raise WriterBlocked("the writer's thread cannot wait for an answer; another one can")
        answered = threading.Lock()  # an Event allocates a Condition and a deque as well
        answered.acquire()
        with Receipt._entering:
            if self.waiters is None:
                self.waiters = []
            self.waiters.append(answered)
        if self.done or answered.acquire(timeout=_patience(timeout)):
            return True
        with Receipt._entering:  # leave nothing behind, however often somebody asks again
            # Not from the list itself, which the writer may be going through.
            self.waiters = [each for each in self.waiters if each is not answered]
        return self.done

    def fail(self, failure: BaseException) -> None:
        """Resolve the receipt with an error, if it is not done yet."""
        if not self.done:
            self.failure = failure
            self.wake()

    def wake(self) -> None:
        """Wake those who wait. The writer calls it after it has set the answer or the failure."""
        if self.waiters is not None:
            for answered in self.waiters:
                answered.release()


def _patience(seconds: float | None) -> float:
    return -1 if seconds is None else min(max(seconds, 0), threading.TIMEOUT_MAX)


class Submitted(Receipt[Answer], eq=False):
    """A command in the queue."""

    places: ClassVar[int] = 1
    command: Command


class SubmittedMany(Receipt[Answer], eq=False):
    """Commands in the queue that are answered together; each takes a place there."""

    commands: Sequence[Command]

    @property
    def places(self) -> int:
        """How many places it takes in the queue."""
        return len(self.commands)


class Asked(Receipt[Answer], eq=False):
    """A question in the queue: it takes a place there, and no sequence."""

    places: ClassVar[int] = 1
    question: Question


Request = Submitted[Any] | SubmittedMany[Any] | Asked[Any]
