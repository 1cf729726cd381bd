"""A small price-time book that follows a flow, for the match rate and for the generator.

It takes the same commands as an engine and keeps the same resting orders, but answers only with the
fills. The match rate is measured with it, and the synthetic generator looks at it
to know which orders are still there to be canceled.

Simplifications: it is not an engine. It knows one instrument, writes no events, gives no reasons,
checks nothing, and ignores what the rulebook would refuse. It expects well-formed
commands whose order ids are new.

Invariants:

1. The best bid is below the best ask.
2. A price level is in the book exactly while it has an order, and every order has a quantity > 0.
3. `live` and `orders` hold the same orders, and `live[order.slot] is order`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from sortedcontainers import SortedDict

from .commands import Command

OPPOSITE = {"BUY": "SELL", "SELL": "BUY"}


class Fill(NamedTuple):
    """One maker's part in a trade, at the maker's price."""

    maker: int
    price: int
    quantity: int


@dataclass(slots=True, eq=False)
class RestingOrder:
    """An order in the book. `slot` is its place in `Book.live`."""

    order_id: int
    participant: int
    side: str
    price: int
    quantity: int
    post_only: bool
    self_trade_prevention: str
    slot: int = -1


class Book:
    """Both sides of one instrument.

    >>> book = Book()
    >>> order = {"command": "new", "participant": 1, "symbol": "AAPL", "type": "LIMIT"}
    >>> book.apply(order | {"order_id": 1, "side": "SELL", "price": 101, "quantity": 5})
    []
    >>> book.apply(order | {"order_id": 2, "side": "BUY", "price": 102, "quantity": 3})
    [Fill(maker=1, price=101, quantity=3)]
    >>> book.best("SELL"), book.best("BUY"), book.orders[1].quantity
    (101, None, 2)
    """

    def __init__(self) -> None:
        self.orders: dict[int, RestingOrder] = {}
        self.live: list[RestingOrder] = []  # the same orders; one can be drawn in O(1)
        # Levels are keyed so that the best comes first on both sides: the price of an ask, the
        # negative price of a bid. A level is an OrderedDict because removing its first order is
        # O(1) there; in a plain dict the search for the first key passes over all removed ones.
        self._levels: dict[str, SortedDict[int, OrderedDict[int, RestingOrder]]] = {
            "BUY": SortedDict(),
            "SELL": SortedDict(),
        }

    def best(self, side: str) -> int | None:
        """The best price of a side, or None if it is empty. O(1)."""
        levels = self._levels[side]
        if not levels:
            return None
        key, _ = levels.peekitem(0)
        return abs(key)

    def apply(self, command: Command) -> list[Fill]:
        """Follow one command; return its fills in the order they happen. O(log n) and the fills."""
        kind = command["command"]
        if kind == "new":
            return self._new(command)
        if kind == "mass_cancel":
            for order in [o for o in self.live if o.participant == command["participant"]]:
                self._remove(order)
        elif kind in {"cancel", "reduce", "replace"}:
            order_or_none = self.orders.get(command["order_id"])
            if order_or_none is not None:
                return self._change(order_or_none, command)
        return []

    def _new(self, command: Command) -> list[Fill]:
        order = RestingOrder(
            order_id=command["order_id"],
            participant=command["participant"],
            side=command["side"],
            price=command.get("price") or 0,
            quantity=command["quantity"],
            post_only=command.get("post_only") or False,
            self_trade_prevention=command.get("self_trade_prevention") or "NONE",
        )
        limit = command.get("price")
        rests = command["type"] == "LIMIT" and command.get("time_in_force") in {None, "GTC"}
        if order.post_only and self._crosses(order):
            return []
        if command.get("time_in_force") == "FOK" and not self._fillable(order, limit):
            return []
        fills = self._sweep(order, limit)
        if order.quantity and rests:
            self._add(order)
        return fills

    def _change(self, order: RestingOrder, command: Command) -> list[Fill]:
        if command["command"] == "cancel":
            self._remove(order)
        elif command["command"] == "reduce":
            by = command["by"]
            if by < order.quantity:
                order.quantity -= by
            elif by == order.quantity:
                self._remove(order)
        else:
            return self._replace(order, command)
        return []

    def _replace(self, order: RestingOrder, command: Command) -> list[Fill]:
        """Take the order out and enter it again at the tail; it may trade."""
        old_price = order.price
        order.price = command.get("price") or old_price
        refused = order.post_only and self._crosses(order)
        new_price, order.price = order.price, old_price
        if refused:
            return []
        self._remove(order)
        order.price = new_price
        order.quantity = command.get("quantity") or order.quantity
        fills = self._sweep(order, order.price)
        if order.quantity:
            self._add(order)
        return fills

    def _crosses(self, order: RestingOrder) -> bool:
        touch = self.best(OPPOSITE[order.side])
        if touch is None:
            return False
        return touch <= order.price if order.side == "BUY" else touch >= order.price

    def _reach(self, side: str, limit: int | None) -> int | None:
        """The last level key of the opposite side that a limit reaches; None reaches all."""
        if limit is None:
            return None
        return limit if side == "BUY" else -limit

    def _fillable(self, taker: RestingOrder, limit: int | None) -> bool:
        """Whether a FOK finds its whole quantity, its self-trade prevention considered."""
        reach = self._reach(taker.side, limit)
        wanted = taker.quantity
        for key, level in self._levels[OPPOSITE[taker.side]].items():
            if reach is not None and key > reach:
                return False
            for maker in level.values():
                own = maker.participant == taker.participant
                if own and taker.self_trade_prevention in {"CANCEL_TAKER", "CANCEL_BOTH"}:
                    return False
                if own and taker.self_trade_prevention == "CANCEL_MAKER":
                    continue
                wanted -= maker.quantity
                if wanted <= 0:
                    return True
        return False

    def _sweep(self, taker: RestingOrder, limit: int | None) -> list[Fill]:
        """Match best price first, oldest first; the remainder stays in the taker's quantity."""
        fills: list[Fill] = []
        levels = self._levels[OPPOSITE[taker.side]]
        reach = self._reach(taker.side, limit)
        while taker.quantity and levels:
            key, level = levels.peekitem(0)
            if reach is not None and key > reach:
                break
            maker = next(iter(level.values()))
            if maker.participant == taker.participant and taker.self_trade_prevention != "NONE":
                if taker.self_trade_prevention in {"CANCEL_MAKER", "CANCEL_BOTH"}:
                    self._remove(maker)
                if taker.self_trade_prevention in {"CANCEL_TAKER", "CANCEL_BOTH"}:
                    taker.quantity = 0
                continue
            quantity = min(taker.quantity, maker.quantity)
            fills.append(Fill(maker.order_id, maker.price, quantity))
            taker.quantity -= quantity
            maker.quantity -= quantity
            if not maker.quantity:
                self._remove(maker)
        return fills

    def _add(self, order: RestingOrder) -> None:
        key = order.price if order.side == "SELL" else -order.price
        levels = self._levels[order.side]
        level = levels.get(key)
        if level is None:
            level = levels[key] = OrderedDict()
        level[order.order_id] = order
        self.orders[order.order_id] = order
        order.slot = len(self.live)
        self.live.append(order)

    def _remove(self, order: RestingOrder) -> None:
        key = order.price if order.side == "SELL" else -order.price
        levels = self._levels[order.side]
        level = levels[key]
        del level[order.order_id]
        if not level:
            del levels[key]
        del self.orders[order.order_id]
        last = self.live.pop()  # only the last order moves, into the free place
        if last is not order:
            self.live[order.slot] = last
            last.slot = order.slot

    def state_lines(self, symbol: str) -> list[str]:
        """The rulebook's canonical state: one line per resting order."""
        return [
            f"{symbol},{side},{order.price},{order.order_id},{order.participant},{order.quantity}\n"
            for side in ("BUY", "SELL")
            for level in self._levels[side].values()
            for order in level.values()
        ]

    def check_invariants(self) -> None:
        """Assert the invariants at the top of this file. O(n), for tests."""
        best_bid, best_ask = self.best("BUY"), self.best("SELL")
        if best_bid is not None and best_ask is not None:
            assert best_bid < best_ask
        assert len(self.live) == len(self.orders)
        for slot, order in enumerate(self.live):
            assert order.slot == slot
            assert order.quantity > 0
            assert self.orders[order.order_id] is order
        in_levels = [
            order
            for levels in self._levels.values()
            for level in levels.values()
            for order in level.values()
        ]
        assert len(in_levels) == len(self.live)
        assert all(level for levels in self._levels.values() for level in levels.values())
