"""Answers to questions: immutable copies, each true at the moment of its `sequence`.

A question is not sequenced and changes nothing. As with events, the order of fields is the order in
NDJSON.
"""

import msgspec

from ..models.enums import OrderStatus
from .order_book import DepthLevel


class State(msgspec.Struct, frozen=True, tag_field="event", tag="state"):
    """The whole engine in three figures. Equal hashes mean equal books, order by order."""

    sequence: int
    resting_orders: int
    state_hash: str


class OrderView(msgspec.Struct, frozen=True, tag_field="event", tag="order"):
    """One order: UNKNOWN if the id was never used; `remaining` is 0 once it is terminal."""

    order_id: int
    sequence: int
    status: OrderStatus
    remaining: int


class Depth(msgspec.Struct, frozen=True, tag_field="event", tag="book"):
    """The best levels of both sides, best first; empty for a symbol never listed."""

    symbol: str
    sequence: int
    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]
