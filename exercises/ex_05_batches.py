"""Exercise 5: group commit."""


def batches(arrivals: list[int], sync: int) -> list[list[int]]:
    """Which arrivals share a sync.

    `arrivals` are times, in order. The writer takes all that have arrived, and is then busy for
    `sync`. Where nothing has arrived it waits for the next.
    """
    raise NotImplementedError("an exercise: yours to write")
