"""The order book of one symbol: two sides of price levels, each level a queue. No rules here.

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

from collections.abc import Callable, Iterator
from itertools import islice, zip_longest

import msgspec
from sortedcontainers import SortedDict

from ..errors import InvariantBroken
from ..models.enums import OrderStatus, SelfTradePrevention, Side

SPARE_LEVELS = 1024
"""A side may always hold that many empty levels."""

LONG_WALK = 64
"""A longer row of empty levels is deleted by whoever walks over it."""


class Order(msgspec.Struct, gc=False):
    """A resting order: what the book must know of it and nothing more.

    Its price, side and symbol are those of its `level`. `previous` and `next` are its neighbours
    in that level's queue, older and younger: that is what makes a cancel O(1) wherever in the
    queue the order is.

    The fields that a cancel touches, in the order itself and in its neighbours, come first, so
    that they share a cache line (benchmark: growth). The garbage collector is not told of orders:
    it would link each to two others that lie anywhere in memory, and walk over all of them
    (benchmarks: matching, 3 %; growth). So a book that goes must take its queues apart itself:
    see `OrderBook`.

    Invariants: 1. `remaining` >= 1. 2. `status` is NEW or PARTIALLY_FILLED. 3. `level` is the level
    whose queue holds it, exactly once.
    """

    level: PriceLevel
    participant: int
    remaining: int
    status: OrderStatus
    previous: Order | None
    next: Order | None
    order_id: int
    self_trade_prevention: SelfTradePrevention
    post_only: bool


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
        """The next level farther from the best."""
        self.head: Order | None = None
        self.tail: Order | None = None

    def __iter__(self) -> Iterator[Order]:
        order = self.head
        while order is not None:
            yield order
            order = order.next

    def take_apart(self) -> None:
        """Let go of all orders, and each of them of its neighbours. O(orders)."""
        order = self.head
        self.head = self.tail = None
        while order is not None:
            younger = order.next
            order.previous = order.next = None
            order = younger


class BookSide:
    """One side of a book.

    A level that has lost its last order stays in `levels`, empty: a price that was used will be
    used again, and in real order flow every third command empties a level or fills an empty one
    (benchmark: matching, NASDAQ flows). Empty levels are bounded twice: a long row of them between
    two levels with orders is deleted by whoever walks over it, and all of them once there are more
    levels than twice those in use. So walking over them and keeping them costs O(1), amortised,
    for each level made.

    Invariants
      1. `best` is the level with orders of least rank, None where there is none.
      2. `rank == sign * price` for every level, and `levels` are sorted by it.
      3. `worse` leads from every level to the next.
      4. Nothing that the engine answers depends on the empty levels. A question may delete some of
         them, and changes nothing else.
    """

    __slots__ = ("best", "find", "levels", "side", "sign", "sweep_at", "symbol")

    def __init__(self, symbol: str, side: Side) -> None:
        self.symbol = symbol
        self.side = side
        self.sign = -1 if side is Side.BUY else 1
        self.levels: SortedDict[int, PriceLevel] = SortedDict()
        self.find: Callable[[int], PriceLevel | None] = self.levels.get
        """The level of a rank. Bound here, as a method of a subclass of `dict` is slow to look up
        (benchmark: matching, 3 %)."""
        self.best: PriceLevel | None = None
        self.sweep_at = SPARE_LEVELS
        """With how many levels the empty ones are deleted."""

    def level(self, price: int) -> PriceLevel:
        """The level at `price`, a new one if it has none. O(1), O(log levels) for a new one."""
        return self.find(self.sign * price) or self.make_level(price)

    def make_level(self, price: int) -> PriceLevel:
        """A new, empty level at a price that has none. O(log levels), amortised."""
        if len(self.levels) >= self.sweep_at:
            self._delete_empty_levels()
        levels = self.levels
        rank = self.sign * price
        index = levels.bisect_left(rank)
        worse = levels.peekitem(index)[1] if index < len(levels) else None
        level = levels[rank] = PriceLevel(self, price, rank, worse)
        if index:
            levels.peekitem(index - 1)[1].worse = level
        return level

    def _delete_empty_levels(self) -> None:
        used = [level for level in self.levels.values() if level.head is not None]
        for level, worse in zip_longest(used, used[1:]):
            level.worse = worse
        self.levels = SortedDict((level.rank, level) for level in used)
        self.find = self.levels.get
        self.sweep_at = 2 * len(used) + SPARE_LEVELS

    def append(self, order: Order) -> None:
        """Let `order` join the tail of its `order.level`. O(1)."""
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

    # --8<-- [start:remove]
    def remove(self, order: Order) -> None:
        """Take `order` out, wherever in its queue it is. O(1), amortised.

        Its own two pointers stay as they are: the order is dropped, or appended again.
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
                self.best = self.next_used_level(level)
        else:
            younger.previous = older

    # --8<-- [end:remove]

    def next_used_level(self, level: PriceLevel) -> PriceLevel | None:
        """The next level with orders, farther from the best than `level`. O(1), amortised.

        It deletes a long row of empty levels on the way, so that the next walk is spared it.
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
            level = self.next_used_level(level)

    def __iter__(self) -> Iterator[Order]:
        """Every order, best price first, oldest first. O(levels and orders)."""
        for level in self.levels.values():
            yield from level

    def depth(self, levels: int) -> list[tuple[int, int, int]]:
        """`(price, quantity, orders)` of the best `levels` levels. O(orders in them)."""
        return [
            (level.price, sum(order.remaining for order in level), sum(1 for _ in level))
            for level in islice(self.used_levels(), levels)
        ]


class OrderBook:
    """The two sides of one symbol.

    Orders and levels refer to each other, and the garbage collector does not see orders. So when
    the last reference to a book goes, the book takes its queues apart. O(orders).
    """

    __slots__ = ("asks", "bids", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids = BookSide(symbol, Side.BUY)
        self.asks = BookSide(symbol, Side.SELL)

    def __del__(self) -> None:
        for side in (self.bids, self.asks):
            for level in side.levels.values():
                level.take_apart()

    def side(self, side: Side) -> BookSide:
        """The side that orders of `side` rest in."""
        return self.bids if side is Side.BUY else self.asks

    def check_invariants(self) -> None:
        """Raise `InvariantBroken` if the book is not well formed. O(orders); for tests."""
        for side in (self.bids, self.asks):
            _check_side(side)
        if self.bids.best is not None and self.asks.best is not None:
            check(self.bids.best.price < self.asks.best.price, "the spread is positive")


def _check_side(side: BookSide) -> None:
    levels = list(side.levels.values())
    check(list(side.levels) == sorted(side.levels), "levels are sorted")
    best = next((level for level in levels if level.head is not None), None)
    check(side.best is best, "the cached best level is the best level")
    for level, worse in zip_longest(levels, levels[1:]):
        check(level.worse is worse, "a level knows the next")
    for rank, level in side.levels.items():
        check(level.rank == rank == side.sign * level.price, "rank is the signed price")
        check(level.side is side, "a level knows its side")
        if level.head is None:
            check(level.tail is None, "an empty level has no tail")
        else:
            check(level.head.previous is None, "nothing is older than the head")
        for order in level:
            check(order.level is level, "an order knows its level")
            check(order.remaining >= 1, "nothing without quantity rests")
            check(order.status in RESTING, "a resting order is not terminal")
            if order.next is None:
                check(level.tail is order, "the tail is the last order")
            else:
                check(order.next.previous is order, "neighbours know each other")


RESTING = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


def check(holds: bool, claim: str) -> None:
    """Raise `InvariantBroken` with the claim, unless it holds.

    Not `assert`: a check that `python -O` removes is no check.
    """
    if not holds:
        raise InvariantBroken(f"this does not hold: {claim}")
