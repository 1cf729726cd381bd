"""The books as a reader of the published events alone sees them.

The judge asks for every queue, order by order; the engines publish levels. So the queues are
rebuilt here from the events, as a participant would do it, and after every command the rebuilt
state is hashed as rulebook 7 says and compared with the engine's own hash. What the judge is shown
is therefore what the engine holds, in the order in which it holds it; and the events are proven to
say enough to follow a book.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..engines.engine import Event


@dataclass
class Resting:
    """What is known of an order that is open."""

    order_id: int
    participant: int
    symbol: str
    side: str
    price: int | None  # None for a MARKET, which never outlives its command
    remaining: int


class Queues:
    """Every open order of every symbol.

    Invariant: `orders` is in the order in which each order took its present place, oldest first.
    Sorting by price with Python's stable sort therefore gives price-time priority.
    """

    def __init__(self) -> None:
        self.orders: dict[int, Resting] = {}

    def follow(self, events: Iterable[Event]) -> None:
        """Do what the events of one command say."""
        for event in events:
            self._follow(event)

    def _follow(self, event: Event) -> None:
        match event["event"]:
            case "order_accepted":
                names = ("order_id", "participant", "symbol", "side", "price", "quantity")
                order = Resting(*(event[name] for name in names))
                self.orders[order.order_id] = order
            case "trade_executed":
                self._is_left(event["maker_order_id"], event["maker_remaining"])
                self._is_left(event["taker_order_id"], event["taker_remaining"])
            case "order_canceled" | "order_expired":
                del self.orders[event["order_id"]]
            case "order_reduced":
                self._is_left(event["order_id"], event["remaining"])
            case "order_replaced":
                order = self.orders.pop(event["order_id"])  # leaves its place: goes to the end
                order.price, order.remaining = event["price"], event["remaining"]
                self.orders[order.order_id] = order

    def _is_left(self, order_id: int, remaining: int) -> None:
        if remaining == 0:
            del self.orders[order_id]
        else:
            self.orders[order_id].remaining = remaining

    def side(self, symbol: str, side: str) -> list[Resting]:
        """One side of one book, best price first, oldest first."""
        sign = -1 if side == "BUY" else 1
        queue = [o for o in self.orders.values() if o.symbol == symbol and o.side == side]
        return sorted(queue, key=lambda order: sign * (order.price or 0))

    def state_hash(self) -> str:
        """The hash of the canonical state (rulebook 7)."""
        return hashlib.sha256("".join(self._canonical_lines()).encode()).hexdigest()

    def _canonical_lines(self) -> Iterator[str]:
        for symbol in sorted({order.symbol for order in self.orders.values()}):
            for side in ("BUY", "SELL"):
                for o in self.side(symbol, side):
                    yield f"{symbol},{side},{o.price},{o.order_id},{o.participant},{o.remaining}\n"
