"""Each peer under the one protocol of this folder."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .protocol import Fill, Level, Limit, Peer, Side

SYMBOL = "PEER"


def load(module: str) -> Any:
    """Import a peer's module. Few peers are typed and none need be there: all are Any to mypy."""
    return importlib.import_module(module)


class LightMatchingEngine(Peer):
    """`lightmatchingengine`: lists in dictionaries, plain Python.

    It numbers orders itself, 1, 2, 3 …, which must agree with the flow's ids. A fill is reported
    once for the taker, as the sum over a level, and then for each maker: the makers' are taken. The
    cancel of a filled order ends in None or in an assertion, before anything is changed.
    """

    def __init__(self) -> None:
        self.module = load("lightmatchingengine.lightmatchingengine")
        self.engine = self.module.LightMatchingEngine()
        self.sides = {"BUY": self.module.Side.BUY, "SELL": self.module.Side.SELL}

    def limit(self, order: Limit) -> list[Fill]:
        side = self.sides[order.side]
        entered, trades = self.engine.add_order(SYMBOL, order.price, order.quantity, side)
        assert entered.order_id == order.order_id
        makers = (trade for trade in trades if trade.order_id != order.order_id)
        return [(trade.order_id, trade.trade_price, trade.trade_qty) for trade in makers]

    def cancel(self, order_id: int) -> bool:
        try:
            return self.engine.cancel_order(order_id, SYMBOL) is not None
        except AssertionError:
            return False

    def best(self, side: Side) -> Level | None:
        book = self.engine.order_books.get(SYMBOL)
        levels = {} if book is None else book.bids if side == "BUY" else book.asks
        if not levels:
            return None
        price = max(levels) if side == "BUY" else min(levels)
        return Level(price, sum(order.leaves_qty for order in levels[price]))


class PyOrderBook(Peer):
    """`pyorderbook`: levels in heaps, ordered dictionaries as queues.

    Orders have UUIDs, which are mapped. A level that was emptied by cancels stays in its heap until
    a taker comes by, and is passed over here.
    """

    def __init__(self) -> None:
        self.module = load("pyorderbook")
        self.book = self.module.Book()
        self.make = {"BUY": self.module.bid, "SELL": self.module.ask}
        self.sides = {"BUY": self.module.Side.BID, "SELL": self.module.Side.ASK}
        self.orders: dict[int, Any] = {}
        self.ids: dict[Any, int] = {}

    def limit(self, order: Limit) -> list[Fill]:
        entered = self.make[order.side](SYMBOL, order.price, order.quantity)
        self.orders[order.order_id] = entered
        self.ids[entered.id] = order.order_id
        trades = self.book.match(entered).trades
        return [
            (self.ids[trade.standing_order_id], int(trade.fill_price), trade.fill_quantity)
            for trade in trades
        ]

    def cancel(self, order_id: int) -> bool:
        order = self.orders[order_id]
        if self.book.get_order(order.id) is None:
            return False
        self.book.cancel(order)
        return True

    def best(self, side: Side) -> Level | None:
        levels = [level for level in self.book.levels[SYMBOL][self.sides[side]] if level.orders]
        if not levels:
            return None
        best = (max if side == "BUY" else min)(levels, key=lambda level: level.price)
        return Level(int(best.price), sum(order.quantity for order in best.orders.values()))


class OrderlyChaos(Peer):
    """`orderly-chaos`: C++, called by ctypes; fills come by callback."""

    def __init__(self) -> None:
        self.module = load("orderly_chaos")
        self.trades: list[Any] = []
        self.book = self.module.LimitOrderBook(on_trade=self.trades.append)

    def limit(self, order: Limit) -> list[Fill]:
        self.trades.clear()
        self.book.limit(order.side.lower(), order.order_id, order.quantity, order.price)
        return [(trade.maker_id, trade.price, trade.quantity) for trade in self.trades]

    def cancel(self, order_id: int) -> bool:
        if not self.book.has(order_id):
            return False
        self.book.cancel(order_id)
        return True

    def best(self, side: Side) -> Level | None:
        price = self.book.best(side.lower())
        return None if price is None else Level(price, self.book.best_volume(side.lower()))

    def close(self) -> None:
        self.book.close()


class MatchingEngine(Peer):
    """`matching-engine`: linked lists under a sorted list, with a sequencer in front; 3.12 and up.

    Its orders cancel the taker at a self-trade unless they say otherwise, so they do.
    """

    def __init__(self) -> None:
        self.module = load("matching_engine")
        self.engine = load("matching_engine.engine").MatchingEngine()
        self.sides = {"BUY": self.module.Side.BUY, "SELL": self.module.Side.SELL}
        self.trade = load("matching_engine.events").Trade
        self.canceled = load("matching_engine.events").OrderCancelled
        self.sequence = 0

    def process(self, command: Any) -> Any:
        self.sequence += 1
        return self.engine.process(self.module.SequencedCommand(self.sequence, 0, command))

    def limit(self, order: Limit) -> list[Fill]:
        command = self.module.NewOrder(
            order_id=order.order_id,
            account=1,
            side=self.sides[order.side],
            price=order.price,
            qty=order.quantity,
            stp=self.module.SelfTradePrevention.NONE,
        )
        trades = (event for event in self.process(command) if isinstance(event, self.trade))
        return [(trade.maker_order_id, trade.price, trade.qty) for trade in trades]

    def cancel(self, order_id: int) -> bool:
        (event,) = self.process(self.module.CancelOrder(order_id, 1))
        return isinstance(event, self.canceled)

    def best(self, side: Side) -> Level | None:
        book = self.engine.book
        level = (book.bids if side == "BUY" else book.asks).best()
        return None if level is None else Level(level.price, level.qty)


class Liquibook(Peer):
    """`liquibook`: the C++ engine, called through SWIG; fills come by callback, the taker first.

    It keeps raw pointers, so every order is kept alive here; and it leaves it to the listener to
    enter a fill into the order.
    """

    def __init__(self) -> None:
        self.module = load("liquibook")
        self.orders: dict[int, Any] = {}
        self.ids = ids = dict[int, int]()
        self.fills = fills = list[Fill]()
        self.canceled = canceled = list[int]()

        class Listener(self.module.OrderListener):  # type: ignore[misc, name-defined]
            """Gathers the fills and cancels of the command in hand; the others must exist."""

            def on_fill(self, taker: Any, maker: Any, quantity: int, price: int) -> None:
                fills.append((ids[maker.order_id_], price, quantity))
                taker.fill(quantity, price, 0)
                maker.fill(quantity, price, 0)

            def on_cancel(self, order: Any) -> None:
                canceled.append(ids[order.order_id_])

            def ignore(self, *_details: Any) -> None:
                return

            on_accept = on_reject = on_cancel_reject = ignore

        self.listener = Listener()
        self.book = self.module.DepthOrderBook()
        self.book.set_order_listener(self.listener)
        self.book.set_symbol(SYMBOL)

    def limit(self, order: Limit) -> list[Fill]:
        self.fills.clear()
        entered = self.module.SimpleOrder(order.side == "BUY", order.price, order.quantity)
        self.orders[order.order_id] = entered
        self.ids[entered.order_id_] = order.order_id
        self.book.add(entered)
        return self.fills.copy()

    def cancel(self, order_id: int) -> bool:
        self.canceled.clear()
        self.book.cancel(self.orders[order_id])
        return self.canceled == [order_id]

    def best(self, side: Side) -> Level | None:
        depth = self.book.depth()
        level = depth.bids() if side == "BUY" else depth.asks()
        return Level(level.price(), level.aggregate_qty()) if level.order_count() else None


class Obook(Peer):
    """`obook`: a native library, called by ctypes; fills come as events to be fetched.

    It numbers orders itself, which is mapped. Orders of one user never trade with each other there,
    so every order has a user of its own. It shows the whole book or nothing, so that the best
    levels are looked at only now and then.
    """

    looks_every = 200

    def __init__(self) -> None:
        self.module = load("obook")
        self.book = self.module.Book()
        self.theirs: dict[int, int] = {}
        self.ids: dict[int, int] = {}

    def limit(self, order: Limit) -> list[Fill]:
        side = self.module.BUY if order.side == "BUY" else self.module.SELL
        result = self.book.submit(order.order_id, side, order.price, order.quantity)
        self.theirs[order.order_id] = result.order_id
        self.ids[result.order_id] = order.order_id
        events = (e for e in self.book.events() if e.kind == self.module.EventKind.TRADE)
        return [(self.ids[e.maker_id], e.price, e.qty) for e in events]

    def cancel(self, order_id: int) -> bool:
        result = self.book.cancel(self.theirs[order_id], order_id)
        self.book.events()
        return bool(result.status == self.module.Status.CANCELLED)

    def best(self, side: Side) -> Level | None:
        code = self.module.BUY if side == "BUY" else self.module.SELL
        orders = [order for order in self.book.book() if order.side == code]
        if not orders:
            return None
        price = orders[0].price
        level = (order for order in orders if order.price == price)
        return Level(price, sum(order.qty - order.filled for order in level))

    def close(self) -> None:
        self.book.close()


PEERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    "lightmatchingengine": ("lightmatchingengine", LightMatchingEngine),
    "liquibook": ("liquibook", Liquibook),
    "matching-engine": ("matching_engine", MatchingEngine),
    "obook": ("obook", Obook),
    "orderly-chaos": ("orderly_chaos", OrderlyChaos),
    "pyorderbook": ("pyorderbook", PyOrderBook),
}
"""The peers by the names of their distributions: the module to look for, and the adapter."""
