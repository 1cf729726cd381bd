"""Exercise 7: clean, torn or damaged."""

from itertools import dropwhile
from typing import Literal

Found = Literal["batch", "zeros", "other"]
"""What one place of the file holds: a whole batch, zeros, or other bytes."""


def judge(places: list[Found]) -> Literal["clean", "torn", "damaged"]:
    """Look at what follows the whole batches at the beginning."""
    rest = list(dropwhile(lambda place: place == "batch", places))
    if "batch" in rest:
        return "damaged"
    return "torn" if "other" in rest else "clean"
