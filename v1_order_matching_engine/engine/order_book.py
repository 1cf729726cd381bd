"""Two sides of first-in-first-out price levels.

        bids (best = highest)              asks (best = lowest)
        100: #4 5 lots, #9 2 lots          101: #2 7 lots
         99: #1 1 lot                      103: #7 3 lots, #8 3 lots

The book knows no rules: who trades with whom, and what a time in force is, is in `engine.matcher`.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedDict

from ..errors import InvariantBroken
from ..models.enums import Side
from ..models.order import Order
from .views import Level


class PriceLevel:
    """The orders at one price, oldest first, and their total quantity.

    The queue is an `OrderedDict` by order id: to read its front, to add at its tail and to remove
    from anywhere are all O(1). A plain dict keeps the order too, but deleted entries stay in it
    until it grows, so its front is O(n) away after n orders have left from there.
    """

    __slots__ = ("orders", "price", "quantity")

    def __init__(self, price: int) -> None:
        self.price = price
        self.quantity = 0
        self.orders: OrderedDict[int, Order] = OrderedDict()

    @property
    def oldest(self) -> Order:
        """The order that trades next. O(1)."""
        return next(iter(self.orders.values()))


class BookSide:
    """All resting orders of one side.

    Invariants:
    1. No level is empty.
    2. A level's `quantity` is the sum of its orders' `remaining`, each at least 1.
    3. `best` is the level with the best price, None exactly when the side is empty.
    """

    __slots__ = ("best", "levels", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.levels: SortedDict[int, PriceLevel] = SortedDict()
        # Matching reads it for every command, and it rarely changes.
        self.best: PriceLevel | None = None

    def add(self, order: Order) -> None:
        """Put an order at the tail of its price. O(1) if the level exists, else O(log levels)."""
        level = self.levels.get(order.price)
        if level is None:
            level = PriceLevel(order.price)
            self.levels[order.price] = level
            if self.best is None or self._is_better(level.price, self.best.price):
                self.best = level
        level.orders[order.order_id] = order
        level.quantity += order.remaining

    def remove(self, order: Order) -> None:
        """Take an order out, and its level too if it was the last one there.

        O(1), plus O(log levels) if the level goes.

        Raises:
            KeyError: the order is not on this side.
        """
        level = self.levels[order.price]
        del level.orders[order.order_id]
        level.quantity -= order.remaining
        if not level.orders:
            del self.levels[level.price]
            if level is self.best:
                self.best = next(self.best_first(), None)

    def take(self, order: Order, quantity: int) -> None:
        """Take lots off an order. It keeps its place; with its last lot it leaves the book.

        The caller makes sure that 1 <= quantity <= order.remaining. O(1), plus O(log levels) if
        the level goes.
        """
        if quantity == order.remaining:
            self.remove(order)
        else:
            self.levels[order.price].quantity -= quantity
        order.remaining -= quantity

    def best_first(self) -> Iterator[PriceLevel]:
        """The levels, best price first."""
        prices = self.levels if self.side is Side.SELL else reversed(self.levels)
        return (self.levels[price] for price in prices)

    def depth(self, count: int) -> tuple[Level, ...]:
        """Copies of the best `count` levels. O(count)."""
        return tuple(
            Level(level.price, level.quantity, len(level.orders))
            for level in islice(self.best_first(), count)
        )

    def check_invariants(self) -> None:
        """Check this side. O(orders).

        Raises:
            InvariantBroken: it contradicts itself.
        """
        first = next(self.best_first(), None)
        _require(self.best is first, f"{self.side}: best is not the best level")
        for price, level in self.levels.items():
            where = f"{self.side} {price}"
            remaining = [order.remaining for order in level.orders.values()]
            _require(bool(remaining), f"{where}: an empty level stayed")
            _require(min(remaining) >= 1, f"{where}: an order with nothing left stayed")
            _require(level.quantity == sum(remaining), f"{where}: total is not the sum")
            _require(level.price == price, f"{where}: level believes to be at {level.price}")
            for order_id, order in level.orders.items():
                _require(order.order_id == order_id, f"{where}: #{order_id} is filed wrongly")
                _require(order.price == price, f"{where}: #{order_id} is at the wrong price")
                _require(order.side is self.side, f"{where}: #{order_id} is on the wrong side")

    def _is_better(self, price: int, than: int) -> bool:
        return price > than if self.side is Side.BUY else price < than


class OrderBook:
    """Both sides of one symbol.

    >>> from v1_order_matching_engine import SelfTradePrevention
    >>> book = OrderBook("AAPL")
    >>> order = Order(1, 7, "AAPL", Side.BUY, 100, 5, SelfTradePrevention.NONE, post_only=False)
    >>> book.side(Side.BUY).add(order)
    >>> book.side(Side.BUY).depth(10)
    (Level(price=100, quantity=5, orders=1),)
    """

    __slots__ = ("asks", "bids", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids = BookSide(Side.BUY)
        self.asks = BookSide(Side.SELL)

    def side(self, side: Side) -> BookSide:
        """The side on which orders of this side rest."""
        return self.bids if side is Side.BUY else self.asks

    def opposite(self, side: Side) -> BookSide:
        """The side that orders of this side trade against."""
        return self.asks if side is Side.BUY else self.bids

    def orders(self) -> Iterator[Order]:
        """All orders: BUY before SELL, best price first, oldest first. Do not change meanwhile."""
        for side in (self.bids, self.asks):
            for level in side.best_first():
                yield from level.orders.values()

    def check_invariants(self) -> None:
        """Check both sides. O(orders).

        Raises:
            InvariantBroken: one of them contradicts itself.
        """
        self.bids.check_invariants()
        self.asks.check_invariants()
        for order in self.orders():
            _require(order.symbol == self.symbol, f"#{order.order_id}: not of {self.symbol}")


def _require(holds: bool, message: str) -> None:
    # Not `assert`, which `python -O` removes.
    if not holds:
        raise InvariantBroken(message)
