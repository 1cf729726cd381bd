"""Everything the engine knows: books, orders, instruments; and the questions one may ask.

No rule is in here: the matcher changes the state, a snapshot copies and restores it, and all
others only ask.
"""

import hashlib
from collections.abc import Iterator

from ...models.enums import Side
from ..order_book import Order, OrderBook, check
from .finished import FinishedOrders
from .views import Depth, Level, OrderView, State


class MarketState:
    """All books and all orders ever.

    Invariants
      1. An id is in `orders` exactly while its order rests in a book.
      2. Every other id ever used is in `finished`, for ever, because the rulebook answers for it.
      3. No id above `highest_id` was ever used.
      4. `books` and `instruments` have the same symbols.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.last_trade_id = 0
        self.instruments: dict[str, tuple[str, str]] = {}
        self.books: dict[str, OrderBook] = {}
        self.orders: dict[int, Order] = {}
        self.finished = FinishedOrders()
        self.highest_id = 0

    def open_book(self, symbol: str, tick_size: str, lot_size: str) -> None:
        """Add an empty book; also what restoring a snapshot begins with."""
        self.books[symbol] = OrderBook(symbol)
        self.instruments[symbol] = (tick_size, lot_size)

    def order(self, order_id: int) -> OrderView:
        """Status (UNKNOWN for an id never used) and open quantity (0 once terminal). O(1)."""
        order = self.orders.get(order_id)
        if order is not None:
            return OrderView(order.status, order.remaining)
        return OrderView(self.finished.status(order_id), 0)

    def is_used(self, order_id: int) -> bool:
        """Whether an order ever had this id. O(1)."""
        return order_id in self.orders or self.finished.number(order_id) != 0

    def state(self) -> State:
        """Sequence, resting orders and state hash. O(resting orders)."""
        return State(self.sequence, self.resting_order_count(), self.state_hash())

    def depth(self, symbol: str, levels: int) -> Depth:
        """The best `levels` levels of both sides, best first. O(orders in them)."""
        book = self.book(symbol)
        bids, asks = (
            tuple(Level(*row) for row in side.depth(levels)) for side in (book.bids, book.asks)
        )
        return Depth(bids, asks)

    def book(self, symbol: str) -> OrderBook:
        """The book of `symbol`, an empty one for a symbol never listed."""
        return self.books.get(symbol) or OrderBook(symbol)

    def orders_of_symbol(self, symbol: str) -> Iterator[Order]:
        """Its resting orders: BUY before SELL, best price first, oldest first."""
        book = self.book(symbol)
        yield from book.bids
        yield from book.asks

    def resting_orders(self) -> Iterator[tuple[str, Side, Order]]:
        """Every resting order in canonical order: symbol, BUY before SELL, best price, oldest."""
        for symbol in sorted(self.books):
            for order in self.orders_of_symbol(symbol):
                yield symbol, order.level.side.side, order

    def resting_order_count(self) -> int:
        """How many orders rest in all books. O(orders)."""
        return sum(1 for _ in self.resting_orders())

    def state_hash(self) -> str:
        """SHA-256 of the canonical state (rulebook section 7). O(resting orders)."""
        digest = hashlib.sha256()
        for symbol, side, order in self.resting_orders():
            digest.update(
                f"{symbol},{side.name},{order.level.price},{order.order_id},"
                f"{order.participant},{order.remaining}\n".encode()
            )
        return digest.hexdigest()

    def check_invariants(self) -> None:
        """Raise `InvariantBroken` if the state is not well formed. O(ids); for tests."""
        resting = set()
        check(self.books.keys() == self.instruments.keys(), "every book is of an instrument")
        for symbol, book in self.books.items():
            check(book.symbol == symbol, "a book knows its symbol")
            book.check_invariants()
        for _, _, order in self.resting_orders():
            check(self.orders.get(order.order_id) is order, "a resting order is known by its id")
            check(order.order_id not in resting, "an order is in one place")
            resting.add(order.order_id)
        check(self.orders.keys() == resting, "an order that is not terminal rests")
        finished = set(self.finished)
        check(finished.isdisjoint(resting), "an order that rests is not terminal")
        check(max(finished | resting, default=0) <= self.highest_id, "the highest id is known")
