"""Answers to questions: immutable copies, each true at one moment.

A question is not sequenced and changes nothing.
"""

from typing import NamedTuple

from ..models.enums import OrderStatus


class OrderView(NamedTuple):
    """One order: UNKNOWN if the id was never used; `remaining` lots, 0 once it is terminal."""

    status: OrderStatus
    remaining: int


class Level(NamedTuple):
    """One price level: price in ticks, how many lots, in how many orders."""

    price: int
    quantity: int
    orders: int


class Depth(NamedTuple):
    """The best levels of both sides, best first; empty for a symbol never listed."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class State(NamedTuple):
    """The whole engine in three values. Equal hashes mean equal books, order by order."""

    sequence: int
    resting_orders: int
    state_hash: str
