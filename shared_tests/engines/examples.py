"""A few lines and orders that many tests share."""

from __future__ import annotations

from .engine import Command, Engine

LIST = {"command": "list_instrument", "symbol": "ABC", "tick_size": "0.01", "lot_size": "1"}
STATE = b'{"query":"state"}'


def order(order_id: int, side: str = "BUY", price: int = 100, quantity: int = 5) -> Command:
    """A plain LIMIT order by the participant of the same number."""
    return {
        "command": "new",
        "order_id": order_id,
        "participant": order_id,
        "symbol": "ABC",
        "side": side,
        "type": "LIMIT",
        "price": price,
        "quantity": quantity,
    }


def a_market(engine: Engine) -> None:
    """Two bids at 100, one at 99, an offer at 102; and an order that is FILLED."""
    sizes = {"tick_size": "0.01", "lot_size": "10"}
    engine.execute({"command": "list_instrument", "symbol": "ABC", **sizes})
    rows = [(1, "BUY", 100), (2, "BUY", 100), (3, "BUY", 99), (4, "SELL", 102), (5, "BUY", 102)]
    for order_id, side, price in rows:
        whose = {"order_id": order_id, "participant": 7, "symbol": "ABC", "side": side}
        quantity = 1 if order_id == 5 else 5
        terms = {"type": "LIMIT", "price": price, "quantity": quantity}
        engine.execute({"command": "new", **whose, **terms})
