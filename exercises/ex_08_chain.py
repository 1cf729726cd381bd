"""Exercise 8: a chain over lines."""


def chained(lines: list[str]) -> list[str]:
    """Each line with a blank and a hash after it, over the hash of the line before and itself."""
    raise NotImplementedError("an exercise: yours to write")


def first_bad(lines: list[str]) -> int | None:
    """The number, from 1, of the first chained line that does not fit; None if all do."""
    raise NotImplementedError("an exercise: yours to write")
