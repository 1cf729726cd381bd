"""The reference engine: the rulebook in the plainest Python there is.

It is what the two versions are judged by, so it must be obviously right and may be slow: the whole
market is one list of resting orders, and every question is answered by looking at all of them. It
shares no idea with either version: no price levels, no pointers, no cached sums, hence nothing that
could fall out of step.

Invariant: `resting` is ordered by when each order took its present place, oldest first. Sorting it
by price with Python's stable sort therefore gives price-time priority, without another word.

The number at a comment is the rulebook's section.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..engines.engine import Book, Engine, Event, Malformed
from .input import filled_in, parse_line

LIFECYCLE = {  # 6: one explicit table; whatever is not in it is a bug
    "PENDING_NEW": {"NEW", "REJECTED"},
    "NEW": {"PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"},
    "PARTIALLY_FILLED": {"PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"},
}


@dataclass(eq=False)
class Order:
    """One id ever used and what became of it."""

    order_id: int
    participant: int
    symbol: str
    side: str
    price: int | None  # None: at any price
    remaining: int
    self_trade_prevention: str
    post_only: bool
    status: str = "PENDING_NEW"

    def move_to(self, status: str) -> None:
        assert status in LIFECYCLE[self.status], f"{self.status} -> {status}"
        self.status = status


class Reference(Engine):
    """The rulebook by linear scan. Every command costs O(orders); do not feed it a trading day."""

    def __init__(self) -> None:
        self.instruments: list[str] = []
        self.orders: dict[int, Order] = {}  # 1: an id names one order for ever
        self.resting: list[Order] = []
        self.trades = 0
        self.commands = 0
        self.events: list[Event] = []  # of the present command

    # -- The edge -----------------------------------------------------------------------------

    def execute_line(self, line: bytes) -> list[Event]:
        command = parse_line(line)
        if "command" not in command:
            raise Malformed("command: missing")
        self.commands += 1  # 2: malformed lines do not come this far
        self.events = []
        getattr(self, "_" + command["command"])(command)
        return self.events

    def refusal(self, line: bytes) -> str | None:
        try:
            parse_line(line)
        except Malformed as error:
            return str(error)
        return None

    def _emit(self, event: str, **fields: object) -> None:
        # 3: sequence, index and time, then the event's own fields
        place = {"sequence": self.commands, "index": len(self.events)}
        self.events.append({"event": event, **place, "timestamp_ns": self.commands, **fields})

    # -- Instruments (2, 3) -------------------------------------------------------------------

    def _list_instrument(self, command: dict[str, Any]) -> None:
        symbol, tick, lot = command["symbol"], command["tick_size"], command["lot_size"]
        if symbol in self.instruments:
            self._emit("instrument_rejected", symbol=symbol, reason="DUPLICATE_SYMBOL")
        elif not _is_size(tick):
            self._emit("instrument_rejected", symbol=symbol, reason="INVALID_TICK_SIZE")
        elif not _is_size(lot):
            self._emit("instrument_rejected", symbol=symbol, reason="INVALID_LOT_SIZE")
        else:
            self.instruments.append(symbol)
            self._emit("instrument_listed", symbol=symbol, tick_size=tick, lot_size=lot)

    # -- New orders (4) -----------------------------------------------------------------------

    def _new(self, command: dict[str, Any]) -> None:
        order = Order(
            command["order_id"],
            command["participant"],
            command["symbol"],
            command["side"],
            command["price"],
            command["quantity"],
            command["self_trade_prevention"],
            command["post_only"],
        )
        reason = self._why_reject(command, order)
        if reason is not None:
            order.move_to("REJECTED")
            # 1: a rejected order uses its id up; a second use leaves the first order as it is
            self.orders.setdefault(order.order_id, order)
            self._emit(
                "order_rejected",
                order_id=order.order_id,
                participant=order.participant,
                reason=reason,
            )
            return
        self.orders[order.order_id] = order
        order.move_to("NEW")
        self._emit("order_accepted", **filled_in(command))
        self._enter(order, command["time_in_force"])

    def _why_reject(self, command: dict[str, Any], order: Order) -> str | None:
        # 4: the first check that fails decides
        limit = command["type"] == "LIMIT"
        if order.symbol not in self.instruments:
            return "UNKNOWN_SYMBOL"
        if order.order_id in self.orders:
            return "DUPLICATE_ORDER_ID"
        if limit and command["price"] < 1:
            return "INVALID_PRICE"
        if not limit and command["price"] is not None:
            return "INVALID_PRICE"
        if order.remaining < 1:
            return "INVALID_QUANTITY"
        if not limit and command["time_in_force"] == "GTC":
            return "INVALID_TIME_IN_FORCE"
        if order.post_only and not (limit and command["time_in_force"] == "GTC"):
            return "INVALID_TIME_IN_FORCE"
        if order.post_only and self._tradable(order):
            return "POST_ONLY_WOULD_TRADE"
        return None

    def _enter(self, order: Order, time_in_force: str) -> None:
        """Match an order that comes in, new or replaced, and see to what is left of it."""
        # 4.6: FOK is decided before the first fill
        if time_in_force != "FOK" or self._fillable(order):
            self._sweep(order)
        if order.status in ("FILLED", "CANCELED"):
            return
        if time_in_force == "GTC":
            self.resting.append(order)  # 4.5: at the tail of its price
        else:
            order.move_to("EXPIRED")
            self._emit_remainder("order_expired", order)

    def _tradable(self, taker: Order) -> list[Order]:
        """The orders that the taker's price reaches, in the order in which it reaches them."""
        opposite = [
            order
            for order in self.resting
            if order.symbol == taker.symbol and order.side != taker.side
        ]
        if taker.price is not None:  # 4.2: a LIMIT stops at its price, equal prices trade
            opposite = [
                order
                for order in opposite
                if (
                    _price(order) <= taker.price
                    if taker.side == "BUY"
                    else _price(order) >= taker.price
                )
            ]
        return sorted(opposite, key=_best_first)  # 4.1: best price, then time (the sort is stable)

    def _fillable(self, taker: Order) -> bool:
        needed = taker.remaining
        for maker in self._tradable(taker):
            if _prevented(taker, maker):
                if taker.self_trade_prevention == "CANCEL_MAKER":
                    continue  # 4: own quantity does not count
                return False  # 4: an own order before the last needed lot
            needed -= maker.remaining
            if needed <= 0:
                return True
        return False

    def _sweep(self, taker: Order) -> None:
        for maker in self._tradable(taker):
            if taker.remaining == 0:
                return  # 4: own orders deeper than that stay
            if _prevented(taker, maker):
                if taker.self_trade_prevention in ("CANCEL_MAKER", "CANCEL_BOTH"):
                    self._take_out(maker, "SELF_TRADE")  # the maker's event first
                if taker.self_trade_prevention in ("CANCEL_TAKER", "CANCEL_BOTH"):
                    taker.move_to("CANCELED")
                    self._emit_remainder("order_canceled", taker, reason="SELF_TRADE")
                    return
            else:
                self._trade(taker, maker)

    def _trade(self, taker: Order, maker: Order) -> None:
        quantity = min(taker.remaining, maker.remaining)  # 4.3
        for order in (taker, maker):
            order.remaining -= quantity
            order.move_to("PARTIALLY_FILLED" if order.remaining else "FILLED")
        if maker.remaining == 0:
            self.resting.remove(maker)  # 4.4: and a partly filled maker keeps its place
        self.trades += 1
        self._emit(
            "trade_executed",
            trade_id=self.trades,  # 3: counted engine-wide
            symbol=maker.symbol,
            price=maker.price,  # 4.3: the maker's price
            quantity=quantity,
            maker_order_id=maker.order_id,
            taker_order_id=taker.order_id,
            maker_participant=maker.participant,
            taker_participant=taker.participant,
            taker_side=taker.side,
            maker_remaining=maker.remaining,
            taker_remaining=taker.remaining,
        )

    # -- Cancel, reduce, replace, mass cancel (5) ---------------------------------------------

    def _cancel(self, command: dict[str, Any]) -> None:
        order = self._find(command)
        if order is not None:
            self._take_out(order, "USER")

    def _reduce(self, command: dict[str, Any]) -> None:
        order = self._find(command)
        if order is None:
            return
        if command["by"] < 1 or command["by"] > order.remaining:
            self._refuse(command, "INVALID_QUANTITY")
        elif command["by"] == order.remaining:
            self._take_out(order, "USER")
        else:
            order.remaining -= command["by"]  # 5: keeps its place
            self._emit_remainder("order_reduced", order)

    def _replace(self, command: dict[str, Any]) -> None:
        order = self._find(command)
        if order is None:
            return
        # 5: null keeps
        price = _price(order) if command["price"] is None else command["price"]
        quantity = order.remaining if command["quantity"] is None else command["quantity"]
        before = (order.price, order.remaining)
        if price < 1:
            self._refuse(command, "INVALID_PRICE")
            return
        if quantity < 1:
            self._refuse(command, "INVALID_QUANTITY")
            return
        order.price, order.remaining = price, quantity
        if order.post_only and self._tradable(order):
            order.price, order.remaining = before  # 5: the original stays where it was
            self._refuse(command, "POST_ONLY_WOULD_TRADE")
            return
        self.resting.remove(order)  # 5: always to the tail, even where nothing changes
        self._emit_remainder("order_replaced", order, price=price)
        self._enter(order, "GTC")

    def _mass_cancel(self, command: dict[str, Any]) -> None:
        participant, symbol = command["participant"], command["symbol"]
        doomed = [
            order
            for order in self._canonical()
            if order.participant == participant and symbol in (None, order.symbol)
        ]
        for order in doomed:
            self._take_out(order, "MASS_CANCEL")
        self._emit("mass_canceled", participant=participant, symbol=symbol, count=len(doomed))

    def _find(self, command: dict[str, Any]) -> Order | None:
        """Find the order that the command acts on, or say why there is none."""
        order = self.orders.get(command["order_id"])
        if order is None:
            self._refuse(command, "UNKNOWN_ORDER")
        elif order.status not in LIFECYCLE:  # terminal
            self._refuse(command, "TOO_LATE")
        elif order.participant != command["participant"]:
            self._refuse(command, "NOT_OWNER")
        else:
            return order
        return None

    def _refuse(self, command: dict[str, Any], reason: str) -> None:
        self._emit(
            "cancel_rejected",
            order_id=command["order_id"],
            participant=command["participant"],
            request=command["command"].upper(),
            reason=reason,
        )

    def _take_out(self, order: Order, reason: str) -> None:
        self.resting.remove(order)
        order.move_to("CANCELED")
        self._emit_remainder("order_canceled", order, reason=reason)

    def _emit_remainder(self, event: str, order: Order, **fields: object) -> None:
        self._emit(
            event,
            order_id=order.order_id,
            participant=order.participant,
            remaining=order.remaining,
            **fields,
        )

    # -- Questions (7, 8) ---------------------------------------------------------------------

    def order(self, order_id: int) -> tuple[str, int]:
        order = self.orders.get(order_id)
        if order is None:
            return "UNKNOWN", 0
        return order.status, order.remaining if order.status in LIFECYCLE else 0

    def book(self, symbol: str, depth: int = 10) -> Book:
        book: Book = {}
        for name, side in (("bids", "BUY"), ("asks", "SELL")):
            orders = [o for o in self._canonical() if (o.symbol, o.side) == (symbol, side)]
            prices = list(dict.fromkeys(_price(order) for order in orders))
            levels = [[o for o in orders if o.price == price] for price in prices[:depth]]
            book[name] = [
                [_price(level[0]), sum(order.remaining for order in level), len(level)]
                for level in levels
            ]
        return book

    def state_hash(self) -> str:
        text = "".join(
            f"{o.symbol},{o.side},{o.price},{o.order_id},{o.participant},{o.remaining}\n"
            for o in self._canonical()
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def resting_orders(self) -> int:
        return len(self.resting)

    @property
    def sequence(self) -> int:
        return self.commands

    def check_invariants(self) -> None:
        for order in self.resting:
            assert order.remaining >= 1
            assert order.status in ("NEW", "PARTIALLY_FILLED")
        for buy in self.resting:
            if buy.side == "BUY":
                assert not self._tradable(buy), "the book is crossed"

    def _canonical(self) -> Sequence[Order]:
        # 5, 7: symbols in code-point order, BUY before SELL, best price first, oldest first
        return sorted(
            self.resting, key=lambda order: (order.symbol, order.side, _best_first(order))
        )


def _is_size(text: str) -> bool:
    # 2: digits with an optional point, above 0
    digits = re.fullmatch(r"([0-9]*)\.?([0-9]*)", text)
    return digits is not None and text.strip("0.") != ""


def _prevented(taker: Order, maker: Order) -> bool:
    return taker.participant == maker.participant and taker.self_trade_prevention != "NONE"


def _price(order: Order) -> int:
    assert order.price is not None, "only orders with a price rest"
    return order.price


def _best_first(order: Order) -> int:
    return -_price(order) if order.side == "BUY" else _price(order)
