"""Exercise 4: every way in which two threads may run."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Step = TypeVar("Step")


def interleavings(first: Sequence[Step], second: Sequence[Step]) -> Iterator[list[Step]]:
    """The next step is one of the first thread's, or one of the second's."""
    if not first or not second:
        yield [*first, *second]
        return
    for rest in interleavings(first[1:], second):
        yield [first[0], *rest]
    for rest in interleavings(first, second[1:]):
        yield [second[0], *rest]
