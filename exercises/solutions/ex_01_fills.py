"""Exercise 1: the fills of one buy order."""


def fills(asks: list[tuple[int, int]], quantity: int, limit: int) -> list[tuple[int, int]]:
    """Walk over the makers until the buyer is filled or its limit is reached."""
    traded = []
    for price, lots in asks:
        if price > limit or quantity == 0:
            break
        taken = min(lots, quantity)
        traded.append((price, taken))
        quantity -= taken
    return traded
