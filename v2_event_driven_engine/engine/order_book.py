"""The order book of one symbol: two sides of price levels, each level a queue. It knows no rules.

::

    OrderBook("AAPL")
      bids: BookSide   rank = -price    best = highest price
      asks: BookSide   rank = +price    best = lowest price
                         SortedDict  rank -> PriceLevel
                         PriceLevel  head -> Order -> Order -> tail     oldest first

A level's **rank** is its price as its side sees it: the smaller, the better. It lets one piece of
code walk either side "best first" and stop at a limit with one comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest

from sortedcontainers import SortedDict

from ..models.enums import OrderStatus, Side
from ..models.order import Order

SPARE_LEVELS = 1024
"""A side may always hold that many empty levels."""

LONG_WALK = 64
"""A row of empty levels that is longer than this is met once and no more."""


class PriceLevel:
    """All orders of one side at one price, oldest first: a doubly linked list through the orders.

    A linked list because every operation of an exchange on a queue is then O(1): join at the tail,
    leave from the head when filled, leave from the middle when canceled. (A ``dict`` looks simpler,
    but finding its first key costs O(deleted keys), which a long queue eaten from its head has many
    of.)
    """

    __slots__ = ("head", "price", "rank", "side", "tail", "worse")

    def __init__(self, side: BookSide, price: int, rank: int, worse: PriceLevel | None) -> None:
        self.side = side
        self.price = price
        self.rank = rank
        self.worse = worse
        """The next level away from the best."""
        self.head: Order | None = None
        self.tail: Order | None = None

    def __iter__(self) -> Iterator[Order]:
        order = self.head
        while order is not None:
            yield order
            order = order.next


class BookSide:
    """One side of a book.

    A level that has lost its last order stays where it is, empty: a price that was used will be
    used again. In real order flow every third command empties a level or fills one; making and
    deleting a level each time took a third of the matcher's time there. Empty levels are bounded
    twice: those on the way from one best level to the next are dropped if they are many, and all
    of them when the levels have come to twice those in use, so that walking and keeping them
    costs O(1) for each level made.

    Invariants
      1. ``best`` is the level with orders of least rank, None where there is none.
      2. ``rank == sign * price`` for every level, and ``levels`` are sorted by it.
      3. ``worse`` leads from every level to the next.
    """

    __slots__ = ("best", "levels", "side", "sign", "sweep_at", "symbol")

    def __init__(self, symbol: str, side: Side) -> None:
        self.symbol = symbol
        self.side = side
        self.sign = -1 if side is Side.BUY else 1
        self.levels: SortedDict[int, PriceLevel] = SortedDict()
        self.best: PriceLevel | None = None
        self.sweep_at = SPARE_LEVELS
        """How many levels there may be before the empty ones are swept out."""

    def level(self, price: int) -> PriceLevel:
        """The level at ``price``, made if there is none. O(1); O(log levels) where it is made."""
        return self.levels.get(self.sign * price) or self.make_level(price)

    def make_level(self, price: int) -> PriceLevel:
        """A new, empty level at a price that has none. O(log levels), amortised."""
        if len(self.levels) >= self.sweep_at:
            self._sweep_out_empty_levels()
        levels = self.levels
        rank = self.sign * price
        index = levels.bisect_left(rank)
        worse = levels.peekitem(index)[1] if index < len(levels) else None
        level = levels[rank] = PriceLevel(self, price, rank, worse)
        if index:
            levels.peekitem(index - 1)[1].worse = level
        return level

    def _sweep_out_empty_levels(self) -> None:
        used = [level for level in self.levels.values() if level.head is not None]
        for level, worse in zip_longest(used, used[1:]):
            level.worse = worse
        self.levels = SortedDict((level.rank, level) for level in used)
        self.sweep_at = 2 * len(used) + SPARE_LEVELS

    def append(self, order: Order) -> None:
        """Let ``order`` join the tail of its ``order.level``. O(1)."""
        level = order.level
        order.previous = tail = level.tail
        order.next = None
        if tail is None:
            level.head = order
            if self.best is None or level.rank < self.best.rank:
                self.best = level
        else:
            tail.next = order
        level.tail = order

    def remove(self, order: Order) -> None:
        """Take ``order`` out, wherever it stands. O(1), amortised.

        The order keeps its own two pointers: it is thrown away, or appended again.
        """
        level = order.level
        older = order.previous
        younger = order.next
        if older is None:
            level.head = younger
        else:
            older.next = younger
        if younger is None:
            level.tail = older
            if older is None and level is self.best:
                self.best = self.behind(level)
        else:
            younger.previous = older

    def behind(self, level: PriceLevel) -> PriceLevel | None:
        """The next level with orders, away from the best. O(1), amortised.

        A long row of empty levels on the way is dropped: whoever walks here next is spared it.
        """
        passed = []
        found = level.worse
        while found is not None and found.head is None:
            passed.append(found)
            found = found.worse
        if len(passed) > LONG_WALK:
            for empty in passed:
                del self.levels[empty.rank]
            level.worse = found
        return found

    def used_levels(self) -> Iterator[PriceLevel]:
        """Every level that has orders, best first. O(1) for each, amortised."""
        level = self.best
        while level is not None:
            yield level
            level = self.behind(level)

    def __iter__(self) -> Iterator[Order]:
        """Every order, best price first, oldest first. O(levels and orders)."""
        for level in self.levels.values():
            yield from level

    def depth(self, levels: int) -> list[tuple[int, int, int]]:
        """``(price, quantity, orders)`` of the best ``levels`` levels. O(orders in them)."""
        return [
            (level.price, sum(order.remaining for order in level), sum(1 for _ in level))
            for level in islice(self.used_levels(), levels)
        ]


class OrderBook:
    """The two sides of one symbol."""

    __slots__ = ("asks", "bids", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids = BookSide(symbol, Side.BUY)
        self.asks = BookSide(symbol, Side.SELL)

    def side(self, side: Side) -> BookSide:
        """The side that orders of ``side`` rest on."""
        return self.bids if side is Side.BUY else self.asks

    def check_invariants(self) -> None:
        """Raise AssertionError if the book is not well formed. O(orders); for tests."""
        for side in (self.bids, self.asks):
            levels = list(side.levels.values())
            assert list(side.levels) == sorted(side.levels), "levels are sorted"
            best = next((level for level in levels if level.head is not None), None)
            assert side.best is best, "the cached best level is the best level"
            for level, worse in zip_longest(levels, levels[1:]):
                assert level.worse is worse, "a level knows the next"
            for rank, level in side.levels.items():
                assert level.rank == rank == side.sign * level.price, "rank is the signed price"
                assert level.side is side, "a level knows its side"
                if level.head is None:
                    assert level.tail is None, "an empty level has no tail"
                else:
                    assert level.head.previous is None, "nothing is older than the head"
                for order in level:
                    assert order.level is level, "an order knows its level"
                    assert order.remaining >= 1, "nothing without quantity rests"
                    assert order.status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)
                    if order.next is None:
                        assert level.tail is order, "the tail is the last order"
                    else:
                        assert order.next.previous is order, "neighbours know each other"
        if self.bids.best is not None and self.asks.best is not None:
            assert self.bids.best.price < self.asks.best.price, "the spread is positive"
