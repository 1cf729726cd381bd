"""Exercise 12b: stop orders."""

from exercises.small_book import Book, Fill, Order


class BookWithStops(Book):
    """A book with orders that sleep until a trade happens at their stop price or beyond."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeping: list[tuple[Order, int]] = []

    def submit_stop(self, order: Order, stop: int) -> list[Fill]:
        """Let an order sleep."""
        self.sleeping.append((order, stop))
        return []

    def submit(self, taker: Order) -> list[Fill]:
        """Its fills, and those of all whom they wake. What has woken waits its turn in a queue."""
        fills: list[Fill] = []
        entering = [taker]
        while entering:
            new = super().submit(entering.pop(0))
            fills += new
            awake = [
                (order, stop)
                for order, stop in self.sleeping
                if any(_wakes(order, stop, fill.price) for fill in new)
            ]
            self.sleeping = [pair for pair in self.sleeping if pair not in awake]
            entering += [order for order, _ in awake]
        return fills


def _wakes(order: Order, stop: int, price: int) -> bool:
    return price >= stop if order.side == "buy" else price <= stop
