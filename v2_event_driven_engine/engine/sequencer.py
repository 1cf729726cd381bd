"""The writer's work, without its thread: sequence, log, apply, publish.

One call of :meth:`Sequencer.process` is one batch. The order of its steps is the engine's
promise, and the whole of it fits on a screen.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import filterfalse, groupby
from typing import Any

from .event_log import EventLog
from .events import AnyEvent, Command
from .matcher import Matcher
from .recovery import Recovered
from .wal_event_store import EventStore

Question = Callable[[Matcher], Any]
Request = Command | Question


class Sequencer:
    """Gives commands their sequence and time, makes them durable, and only then applies them.

    Invariants
      1. A command is durable in the store before it is applied.
      2. Sequences are dense and are applied in order; time never goes backwards.
      3. Events are published only when all commands of their batch have been applied.
      4. After an exception the object must not be used again: what it did is what a crash does.
    """

    def __init__(
        self, state: Recovered, store: EventStore, event_log: EventLog, clock: Callable[[], int]
    ) -> None:
        self.matcher = state.matcher
        self._store = store
        self._event_log = event_log
        self._clock = clock
        self._timestamp_ns = state.position.timestamp_ns
        self._unrecorded: list[list[AnyEvent]] = list(state.unrecorded)

    def process(self, requests: Sequence[Request]) -> list[Any]:
        """One batch: the events of each command, the answer to each question. The hot loop."""
        commands: list[Any] = list(filterfalse(callable, requests))
        if commands:
            self._timestamp_ns = max(self._timestamp_ns, self._clock())
            self._store.append(self._timestamp_ns, commands, self._unrecorded)
            self._unrecorded = []
        answers: list[Any] = []
        runs: Iterator[tuple[bool, Iterator[Any]]] = groupby(requests, callable)
        for are_questions, run in runs:
            if are_questions:
                answers += [question(self.matcher) for question in run]
            else:
                happened = self.matcher.apply_all(self._timestamp_ns, run)
                self._unrecorded += happened
                answers += happened
        if commands:
            self._event_log.publish(self._unrecorded)
        return answers

    def idle(self) -> None:
        """Nothing is waiting: give the log the events that it does not have yet."""
        if self._unrecorded:
            self._store.append_outcomes(self._timestamp_ns, self._unrecorded)
            self._unrecorded = []

    def seal(self) -> None:
        """The end of a clean shutdown."""
        self._store.seal(self._timestamp_ns, self._unrecorded)
