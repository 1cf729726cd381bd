"""Exercise 7: clean, torn or damaged."""

from typing import Literal

Found = Literal["batch", "zeros", "other"]
"""What one place of the file holds: a whole batch, zeros, or other bytes."""


def judge(places: list[Found]) -> Literal["clean", "torn", "damaged"]:
    """What to say of the end of a log. A batch is written only after the sync of the last one."""
    raise NotImplementedError("an exercise: yours to write")
