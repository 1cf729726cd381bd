"""Exercise 1: the fills of one buy order."""


def fills(asks: list[tuple[int, int]], quantity: int, limit: int) -> list[tuple[int, int]]:
    """What a buyer of `quantity` lots at `limit` or better trades: (price, lots) a maker.

    `asks` are the resting sellers as (price, lots), best price first and oldest first.
    """
    raise NotImplementedError("an exercise: yours to write")
