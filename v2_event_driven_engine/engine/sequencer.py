"""The writer's work, without its thread: sequence, log, apply, publish.

One call of `Sequencer.process` is one batch. The order of its steps is the engine's promise, and
the whole of it fits on a screen.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import msgspec

from ..errors import BatchTooLarge
from ..models.commands import Command
from .event_log import Batch, EventLog
from .events import AnyEvent
from .market.matcher import Matcher
from .receipt import Asked, Request, Submitted, SubmittedMany
from .subscribers import Subscribers

MAX_BATCH = 1024
"""Commands that are logged together at most."""


class Sequencer:
    """Gives commands their sequence and time, makes them durable, and only then applies them.

    Invariants
      1. A command is durable in the log before it is applied.
      2. Sequences are dense and are applied in order; time never goes backwards.
      3. Events are published only when all commands of their batch have been applied.
      4. After an exception the object must be discarded; the log then looks as after a crash.
    """

    def __init__(
        self,
        matcher: Matcher,
        log: EventLog,
        subscribers: Subscribers,
        clock: Callable[[], int],
        *,
        timestamp_ns: int = 0,
        unrecorded: Sequence[Sequence[AnyEvent]] = (),
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Continue after the last command of `matcher` and its time.

        `unrecorded` are the events of the last commands that the log does not have yet.
        """
        self.matcher = matcher
        self._log = log
        self._subscribers = subscribers
        self._clock = clock
        self._max_batch = max_batch
        self._timestamp_ns = timestamp_ns
        self._unrecorded: list[Sequence[AnyEvent]] = list(unrecorded)
        """As tuples: whoever gets the lists may do with them what he likes."""
        self._next_sequence = matcher.sequence + 1

    # --8<-- [start:process]
    def process(self, requests: Sequence[Request], tag: bytes = b"") -> list[Any]:
        """One batch: the events of each command, the answer to each question. The hot loop.

        Commands that are too many, or too large, for the log to take at once become several
        batches. A question that raises has its failure set, and UNSET in place of its answer.
        `tag` is kept with the batch, which must then be one that the log takes at once.
        """
        commands: list[Command] = []
        one_each = True
        for request in requests:
            if type(request) is Submitted:
                commands.append(request.command)
            else:
                one_each = False
                if type(request) is SubmittedMany:
                    commands += request.commands
        if len(commands) > self._max_batch and not tag:
            return self._in_halves(requests)
        if commands:
            self._timestamp_ns = max(self._timestamp_ns, self._now())
            try:
                self._append(commands, tag=tag)
            except BatchTooLarge:
                if tag:
                    raise
                return self._in_halves(requests)
        answers = self._apply(commands) if one_each else self._answers(requests, commands)
        if commands:
            self._subscribers.publish(self._unrecorded)
        return answers

    # --8<-- [end:process]

    def _answers(self, requests: Sequence[Request], commands: list[Command]) -> list[Any]:
        """Apply the commands, which are those of the requests, and answer each request."""
        happened: list[list[AnyEvent]] = []
        replies: list[Any] = []
        due = 0
        for request in (*requests, None):
            if isinstance(request, (Submitted, SubmittedMany)):
                due += request.places
                continue
            if due > len(happened):  # a question sees all that came before it
                happened += self._apply(commands[len(happened) : due])
            if request is not None:
                replies.append(_answer(request, self.matcher))
        reply, events = iter(replies), iter(happened)
        return [
            next(reply) if isinstance(request, Asked)
            else next(events) if isinstance(request, Submitted)
            else list(islice(events, request.places))
            for request in requests
        ]  # fmt: skip

    def _in_halves(self, requests: Sequence[Request]) -> list[Any]:
        """Process these requests, or the commands of the only one, in two parts or more."""
        half = len(requests) // 2
        if half:
            return self.process(requests[:half]) + self.process(requests[half:])
        (many,) = requests
        assert isinstance(many, SubmittedMany), "one command is always taken"
        half = many.places // 2
        parts = many.commands[:half], many.commands[half:]
        answers = [self.process([SubmittedMany(commands=part)])[0] for part in parts]
        return [answers[0] + answers[1]]

    def _now(self) -> int:
        now = self._clock()
        if type(now) is not int:  # True would be written as such, and could not be read back
            raise TypeError(f"the clock gave {now!r}; expected nanoseconds, an integer")
        return now

    def _apply(self, commands: Sequence[Command]) -> list[list[AnyEvent]]:
        happened = self.matcher.apply(self._next_sequence, self._timestamp_ns, commands)
        self._next_sequence += len(commands)
        self._unrecorded += map(tuple, happened)
        return happened

    def _append(
        self, commands: Sequence[Command], *, closed: bool = False, tag: bytes = b""
    ) -> None:
        first = self._next_sequence
        self._log.append(
            Batch(
                first_sequence=first,
                timestamp_ns=self._timestamp_ns,
                commands=commands,
                outcomes_first=first - len(self._unrecorded),
                outcomes=self._unrecorded,
                closed=closed,
                tag=tag,
            )
        )
        self._unrecorded = []

    @property
    def has_unrecorded(self) -> bool:
        """Whether there are events that the log does not have yet."""
        return bool(self._unrecorded)

    def idle(self) -> None:
        """Nothing has come for a while: give the log the events that it does not have yet."""
        if self._unrecorded:
            self.barrier()

    def barrier(self) -> None:
        """Append a batch without commands: the log takes it only from the one who may write."""
        self._append(())

    def close(self) -> None:
        """The end of a clean shutdown: the last events, and the mark that closes the log."""
        self._append((), closed=True)


def _answer(asked: Asked[Any], matcher: Matcher) -> Any:
    """What the matcher answers; a failure of the question is only its asker's."""
    try:
        answer = asked.question(matcher)
    except BaseException as error:
        asked.failure, asked.traceback = error, error.__traceback__
        return msgspec.UNSET
    if answer is msgspec.UNSET:
        asked.failure = ValueError("the question answered UNSET, which stands for no answer yet")
    return answer
