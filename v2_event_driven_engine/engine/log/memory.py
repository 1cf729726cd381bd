"""A log that keeps its batches in memory: for tests, and for an engine that may forget."""

from collections.abc import Iterator

from msgspec.structs import replace

from ...errors import LogDamaged, StoreError
from ..event_log import START, Batch, EventLog, Place, TornTail

NAME = "memory"


class MemoryEventLog(EventLog):
    """An `EventLog` for as long as the process lives. Memory: every command and every event.

    A place is the number of batches before it. Closing ends a life of the log: it can be read and
    started again.
    """

    def __init__(self) -> None:
        self.torn: TornTail | None = None
        self._batches: list[Batch] = []
        self._next_sequence = 1
        self._started = False

    def read(self, after: Place = START) -> Iterator[Batch]:
        number = int.from_bytes(after)
        while number < len(self._batches):
            yield self._batches[number]
            number += 1

    def first_sequence(self) -> int:
        return 1

    def may_have_grown(self, after: Place) -> bool:
        return int.from_bytes(after) < len(self._batches)

    def start(self, after: Place, witnessed: int = 0) -> None:
        if self.may_have_grown(after):
            raise StoreError(f"{NAME}: the log goes on after this place")
        if witnessed >= self._next_sequence:
            raise LogDamaged(
                NAME, len(self._batches), self._next_sequence,
                f"the log ends here, but sequence {witnessed} is known to have been durable",
            )  # fmt: skip
        self._started = True

    def append(self, batch: Batch) -> None:
        if not self._started or batch.first_sequence != self._next_sequence:
            raise StoreError(
                f"{NAME}: a batch from sequence {batch.first_sequence} cannot be appended; the "
                f"next one is {self._next_sequence}, and the log must have been started"
            )
        number = len(self._batches)
        place = Place((number + 1).to_bytes(8))
        kept = replace(
            batch,
            outcomes=[list(events) for events in batch.outcomes],
            durable_sequence=self._next_sequence - 1,
            place=place,
            file=NAME,
            offset=number,
        )
        self._batches.append(kept)
        self._next_sequence += len(batch.commands)

    def close(self) -> None:
        self._started = False


class NoEventLog(MemoryEventLog):
    """The log of an engine that is to forget: it takes every batch and keeps none."""

    def append(self, batch: Batch) -> None:
        pass
