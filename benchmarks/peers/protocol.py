"""What V1, V2 and every peer can be asked: the fragment that order books have in common.

Two commands, both on one symbol: a limit order that stays until canceled, and a cancel. That is
little, and it is where price-time priority lives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

Side = Literal["BUY", "SELL"]
Fill = tuple[int, int, int]
"""Order id of the maker, price, quantity."""


class Limit(NamedTuple):
    """A limit order, good till canceled; price in ticks, quantity in lots."""

    order_id: int
    side: Side
    price: int
    quantity: int


class Cancel(NamedTuple):
    """Take what is open of an order out of the book, if anything is."""

    order_id: int


Command = Limit | Cancel


class Level(NamedTuple):
    """A price and the quantity of all orders there."""

    price: int
    quantity: int


class Peer(ABC):
    """One order book of one symbol, empty at first."""

    looks_every = 1
    """At every how many commands `best` is asked for: more where the answer takes a peer long."""

    @abstractmethod
    def limit(self, order: Limit) -> list[Fill]:
        """Enter an order with an id never used before; return its fills."""

    @abstractmethod
    def cancel(self, order_id: int) -> bool:
        """Cancel an order; False if it is not in the book: any more, or never was."""

    @abstractmethod
    def best(self, side: Side) -> Level | None:
        """Return the best level of one side, None if the side is empty."""

    def close(self) -> None:
        """Let go of what the peer holds."""
        return

    def bests(self) -> tuple[Level | None, Level | None]:
        """Return the best bid and the best ask."""
        return self.best("BUY"), self.best("SELL")

    def execute(self, command: Command) -> list[Fill] | bool:
        """Carry out one command; return the fills of an order, or whether a cancel succeeded."""
        if isinstance(command, Limit):
            return self.limit(command)
        return self.cancel(command.order_id)
