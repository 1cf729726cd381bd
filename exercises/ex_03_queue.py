"""Exercise 3: a queue that may be left from anywhere, in O(1)."""


class Queue:
    """Order ids, oldest first."""

    def join(self, order_id: int) -> None:
        """Add an id at the tail."""
        raise NotImplementedError("an exercise: yours to write")

    def leave(self, order_id: int) -> None:
        """Take an id out, wherever it is."""
        raise NotImplementedError("an exercise: yours to write")

    def first(self) -> int | None:
        """The oldest id, or None."""
        raise NotImplementedError("an exercise: yours to write")
