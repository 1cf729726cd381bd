"""A few lines and orders that the tests of the programs share."""

from __future__ import annotations

from collections.abc import Iterable

from .engine import Command, Event, timeless
from .reference_stream import MALFORMED

LIST = {"command": "list_instrument", "symbol": "ABC", "tick_size": "0.01", "lot_size": "1"}
STATE = b'{"query":"state"}'

LONGEST_ERROR = 200
"""Characters in the error for a malformed line, whatever the line's length."""


def order(order_id: int, side: str = "BUY", price: int = 100, quantity: int = 5) -> Command:
    """Return a plain LIMIT order by the participant of the same number."""
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


def comparable(output: Iterable[Event]) -> list[Event]:
    """Leave out the timestamps, and the wording of errors, which must only be short."""
    shown = timeless(output)
    for answer in shown:
        if answer["event"] == "malformed":
            assert 0 < len(answer["error"]) <= LONGEST_ERROR
            answer["error"] = MALFORMED
    return shown
