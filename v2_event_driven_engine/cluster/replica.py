"""What a node knows: the state that the log stands for, on a standby and on the active alike.

It is three things, all of them functions of the log: the market (the matcher), the clients and
their answers (the sessions), and the events for everybody else, of which the log's n-th batch with
commands makes message n of the stream OUT.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ..engine.event_log import Batch, Outcomes
from ..engine.events import AnyEvent
from ..engine.log.checksum import crc32c
from ..engine.log.format import UNREADABLE
from ..engine.log.recovery import Recovered, step
from ..errors import StoreError
from .sessions import Answer, Origin, Sessions, origins_in

OUT_BYTES_MAX = 4 * 1024 * 1024


class OutMessage(msgspec.Struct, array_like=True, frozen=True):
    """A message of OUT: the events of one batch, by request and by command.

    Where they are more than `OUT_BYTES_MAX` bytes, `events` is their checksum: read the log then.
    """

    first_sequence: int
    events: list[list[list[AnyEvent]]] | int


class Unpublished(NamedTuple):
    """A message of OUT that may not be there yet."""

    number: int
    answers: Sequence[Answer]

    @property
    def encoded(self) -> bytes:
        """Its bytes: an `OutMessage`. O(events)."""
        first = self.answers[0].first_sequence
        parts = [msgspec.Raw(answer.encoded) for answer in self.answers]
        data = msgspec.msgpack.encode((first, parts))
        if len(data) > OUT_BYTES_MAX:
            data = msgspec.msgpack.encode((first, crc32c(data)))
        return data


class Replica:
    """The state of one node. All calls but `published` come from one thread."""

    def __init__(self, state: Recovered | None = None, attached: bytes = b"") -> None:
        """Begin empty, or with a snapshot's state and what `attached` gave for it."""
        self.state = state or Recovered()
        self.batches = 0
        """Those with commands."""
        self.sessions = Sessions()
        if attached:
            try:
                self.batches, sessions = msgspec.msgpack.decode(attached, type=tuple[int, bytes])
            except UNREADABLE as error:
                raise StoreError(f"a snapshot that no node has taken ({error})") from None
            self.sessions = Sessions.load(sessions)
        self.unpublished: deque[Unpublished] = deque()
        self._published = 0

    @property
    def sequence(self) -> int:
        """Of the last command that was applied."""
        return self.state.matcher.sequence

    def attached(self) -> bytes:
        """What is to be kept with a snapshot of the matcher. O(answers)."""
        return msgspec.msgpack.encode((self.batches, self.sessions.dump()))

    def apply(self, batch: Batch) -> None:
        """Take over the batch that comes next in the log. O(commands).

        Raises:
            ReplayDivergence: the writer recorded other events than this node derives.
            LogDamaged, MatcherBug, StoreError: see `errors.py`.
        """
        step(self.state, batch)
        if batch.commands:
            origins = origins_in(batch.tag) if batch.tag else []
            self.note(origins, batch.first_sequence, self.state.unrecorded)

    def note(
        self, origins: Sequence[Origin], first_sequence: int, outcomes: Outcomes
    ) -> list[Answer]:
        """Enter a batch that the matcher has applied; the answers to its requests. O(requests).

        A batch without requests is one that an engine on a single machine has written.
        """
        answers = (
            self.sessions.note(origins, first_sequence, outcomes)
            if origins
            else [Answer(0, first_sequence, outcomes)]
        )
        self.batches += 1
        if self.batches > self._published:
            self.unpublished.append(Unpublished(self.batches, answers))
        return answers

    def published(self, number: int) -> None:
        """Forget what OUT has, which ends with the message of this number."""
        self._published = max(self._published, number)
        while self.unpublished and self.unpublished[0].number <= number:
            self.unpublished.popleft()
