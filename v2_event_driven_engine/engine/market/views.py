"""Answers to questions: immutable copies, each true at one moment between two commands."""

from typing import NamedTuple

from ...models.enums import OrderStatus


class OrderView(NamedTuple):
    """One order: UNKNOWN if its id was never used; `remaining` lots are open, 0 once terminal."""

    status: OrderStatus
    remaining: int


class Level(NamedTuple):
    """All orders of one side at one price: ticks, open lots, and how many orders."""

    price: int
    quantity: int
    orders: int


class Depth(NamedTuple):
    """The best levels of both sides, best first; empty for a symbol never listed."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class State(NamedTuple):
    """The whole engine in three figures. Equal hashes are equal books, order by order."""

    sequence: int
    resting_orders: int
    state_hash: str
