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

from sortedcontainers import SortedDict

from ..models.enums import OrderStatus, Side
from ..models.order import Order


class PriceLevel:
    """All orders of one side at one price, oldest first: a doubly linked list through the orders.

    A linked list because every operation of an exchange on a queue is then O(1): join at the tail,
    leave from the head when filled, leave from the middle when canceled. (A ``dict`` looks simpler,
    but finding its first key costs O(deleted keys), which a long queue eaten from its head has many
    of.)
    """

    __slots__ = ("head", "price", "rank", "side", "tail")

    def __init__(self, side: BookSide, price: int, rank: int) -> None:
        self.side = side
        self.price = price
        self.rank = rank
        self.head: Order | None = None
        self.tail: Order | None = None

    def __iter__(self) -> Iterator[Order]:
        order = self.head
        while order is not None:
            yield order
            order = order.next


class BookSide:
    """One side of a book.

    Invariants: 1. No level is empty. 2. ``best`` is the level of least rank, None where there is
    none. 3. ``rank == sign * price`` for every level.
    """

    __slots__ = ("best", "levels", "side", "sign", "symbol")

    def __init__(self, symbol: str, side: Side) -> None:
        self.symbol = symbol
        self.side = side
        self.sign = -1 if side is Side.BUY else 1
        self.levels: SortedDict[int, PriceLevel] = SortedDict()
        self.best: PriceLevel | None = None

    def level(self, price: int) -> PriceLevel:
        """The level at ``price``, made if there is none. O(1); O(log levels) where it is made.

        The caller puts an order into it before anything else looks at the book.
        """
        rank = self.sign * price
        level: PriceLevel | None = self.levels.get(rank)
        if level is None:
            level = self.levels[rank] = PriceLevel(self, price, rank)
            if self.best is None or rank < self.best.rank:
                self.best = level
        return level

    def append(self, order: Order) -> None:
        """Let ``order`` join the tail of its ``order.level``. O(1)."""
        level = order.level
        tail = level.tail
        if tail is None:
            level.head = order
        else:
            tail.next = order
            order.previous = tail
        level.tail = order

    def remove(self, order: Order) -> None:
        """Take ``order`` out, wherever it stands; drop its level if that empties it.

        O(1); O(log levels) where a level goes.
        """
        level = order.level
        older = order.previous
        younger = order.next
        if older is None:
            level.head = younger
        else:
            older.next = younger
            order.previous = None
        if younger is None:
            level.tail = older
        else:
            younger.previous = older
            order.next = None
        if level.head is None:
            del self.levels[level.rank]
            if self.best is level:
                self.best = self.levels.peekitem(0)[1] if self.levels else None

    def __iter__(self) -> Iterator[Order]:
        """Every order, best price first, oldest first."""
        for level in self.levels.values():
            yield from level

    def depth(self, levels: int) -> list[tuple[int, int, int]]:
        """``(price, quantity, orders)`` of the best ``levels`` levels. O(orders in them)."""
        rows: list[tuple[int, int, int]] = []
        for level in self.levels.values():
            if len(rows) == levels:
                break
            rows.append(
                (level.price, sum(order.remaining for order in level), sum(1 for _ in level))
            )
        return rows


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
            assert list(side.levels) == sorted(side.levels), "levels are sorted"
            best = next(iter(side.levels.values()), None)
            assert side.best is best, "the cached best level is the best level"
            for rank, level in side.levels.items():
                assert level.rank == rank == side.sign * level.price, "rank is the signed price"
                assert level.side is side, "a level knows its side"
                assert level.head is not None, "no level is empty"
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
