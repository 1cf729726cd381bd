"""Everything the engine knows: books, orders, instruments; and the questions one may ask.

No rule is in here: the matcher changes the state, a snapshot writes it down and restores it, and
everybody else only asks.
"""

import hashlib
from collections.abc import Iterator

from ..models.enums import OrderStatus, Side
from ..models.order import Order
from .order_book import OrderBook


class MarketState:
    """All books and all orders ever.

    Invariants
      1. ``orders`` has every id ever used: the live ``Order`` itself, or the terminal status.
      2. An order is in ``orders`` as an ``Order`` exactly while it stands in a book.
      3. ``books`` and ``instruments`` have the same symbols.

    Simplification: terminal ids are kept in memory for ever, because the rulebook answers for every
    id ever used.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.last_trade_id = 0
        self.instruments: dict[str, tuple[str, str]] = {}
        self.books: dict[str, OrderBook] = {}
        self.orders: dict[int, Order | OrderStatus] = {}

    def open_book(self, symbol: str, tick_size: str, lot_size: str) -> None:
        """Add an empty book; also what restoring a snapshot begins with."""
        self.books[symbol] = OrderBook(symbol)
        self.instruments[symbol] = (tick_size, lot_size)

    def order(self, order_id: int) -> tuple[OrderStatus | None, int]:
        """Status (None for an id never used) and open quantity (0 once terminal). O(1)."""
        order = self.orders.get(order_id)
        if isinstance(order, Order):
            return order.status, order.remaining
        return order, 0

    def book(self, symbol: str) -> OrderBook:
        """The book of ``symbol``, an empty one for a symbol never listed."""
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
        """Raise AssertionError if the state is not well formed. O(ids); for tests."""
        resting = set()
        for symbol, book in self.books.items():
            assert book.symbol == symbol
            book.check_invariants()
        for _, _, order in self.resting_orders():
            assert self.orders.get(order.order_id) is order, "a resting order is known by its id"
            assert order.order_id not in resting, "an order stands in one place"
            resting.add(order.order_id)
        live = {key for key, order in self.orders.items() if isinstance(order, Order)}
        assert live == resting, "a live order rests"
