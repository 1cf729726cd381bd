"""Exercise 4: every way in which two threads may run."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Step = TypeVar("Step")


def interleavings(first: Sequence[Step], second: Sequence[Step]) -> Iterator[list[Step]]:
    """Every merge of the two, each keeping its own order."""
    raise NotImplementedError("an exercise: yours to write")
