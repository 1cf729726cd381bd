"""Exercise 3: a queue that may be left from anywhere, in O(1)."""

HEAD = 0


class Queue:
    """Order ids, oldest first: a ring of links that begins and ends at `HEAD`."""

    def __init__(self) -> None:
        self.older = {HEAD: HEAD}
        self.younger = {HEAD: HEAD}

    def join(self, order_id: int) -> None:
        """Link it between the youngest and the head of the ring."""
        last = self.older[HEAD]
        self.older[order_id], self.younger[order_id] = last, HEAD
        self.younger[last] = self.older[HEAD] = order_id

    def leave(self, order_id: int) -> None:
        """Link its neighbours to each other."""
        older, younger = self.older.pop(order_id), self.younger.pop(order_id)
        self.younger[older], self.older[younger] = younger, older

    def first(self) -> int | None:
        """The head's younger neighbour."""
        return self.younger[HEAD] or None
