"""What the clients of a concurrent history ask: random scripts that are dense.

Requests that have nothing to do with each other may swap places unnoticed. So there are few orders,
few participants and three prices: nearly every request meets another client's, and which of them
came first shows in an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

Request: TypeAlias = Mapping[str, object]
"""A command or a query, as in NDJSON."""

Script: TypeAlias = Sequence[Request]

SYMBOL = "ABC"
LIST = {"command": "list_instrument", "symbol": SYMBOL, "tick_size": "1", "lot_size": "1"}
PRICES = {"BUY": (98, 99, 100), "SELL": (99, 100, 101)}
"""They overlap, so that orders trade; but not wholly, so that some are left to be changed."""

COMMANDS = {"new": 24, "cancel": 5, "reduce": 7, "replace": 10, "mass_cancel": 1}
READS = {"order": 7, "book": 8, "state": 2}
EVERYTHING = COMMANDS | READS
"""What a client may ask, and how often."""

FEW_MASS_CANCELS = {kind: 2 * COMMANDS[kind] for kind in COMMANDS} | {"mass_cancel": 1}
"""In a long play, so that the book is never empty for long."""


@dataclass(frozen=True)
class Play:
    """One history to be: one thread in a prologue, all clients at once, one thread in an epilogue.

    The epilogue asks for everything, so that a state that has gone wrong cannot hide.
    """

    prologue: Script
    clients: Sequence[Script]
    epilogue: Script
    in_rounds: bool = False
    """Whether all clients begin their n-th request together; otherwise they run freely."""


def short_play(seed: int, weights: Mapping[str, int] = EVERYTHING) -> Play:
    """Write a play for 3 or 4 clients with 4 to 6 requests each."""
    author = Author(seed)
    prologue = [LIST, author.new(), author.new(), author.new()]
    clients, requests = author.choose([3, 4]), author.choose([4, 5, 6])
    scripts: list[list[Request]] = [[] for _ in range(clients)]
    for _ in range(requests):
        for script in scripts:
            script.append(author.request(weights))
    epilogue: list[Request] = [{"query": "state"}, {"query": "book", "symbol": SYMBOL}]
    epilogue += [{"query": "order", "order_id": used + 1} for used in range(author.last_order_id)]
    return Play(prologue, scripts, epilogue, in_rounds=author.choose([False, True]))


def long_play(seed: int, clients: int, commands: int) -> Play:
    """Write a play in which each client sends so many commands, and a read now and then."""
    author = Author(seed, recent=6 * clients)
    scripts: list[list[Request]] = [[] for _ in range(clients)]
    for _ in range(commands):
        for script in scripts:
            script.append(author.request(FEW_MASS_CANCELS))
            if author.choose(range(60)) == 0:
                script.append(author.request(READS))
    everything = {"query": "book", "symbol": SYMBOL, "depth": 1000}
    return Play([LIST], scripts, [{"query": "state"}, everything])


class Author:
    """Draws requests; the same seed gives the same ones.

    New order ids are handed out in turn, over all clients; other requests name a recent one, which
    another client may be about to use, to change or to trade with: one of so many `recent` ones.
    """

    def __init__(self, seed: int, recent: int = 6) -> None:
        random = Random(seed)
        self._recent = range(recent)
        self.choose = random.choice
        self._choices = random.choices
        self.last_order_id = 0

    def request(self, weights: Mapping[str, int]) -> Request:
        """Draw a request of one of the kinds named."""
        kind = self._choices([*weights], [*weights.values()])[0]
        if kind == "new":
            return self.new()
        if kind == "state":
            return {"query": kind}
        if kind == "book":
            return {"query": kind, "symbol": SYMBOL, "depth": self.choose([1, 10])}
        order_id = self._recent_order_id()
        if kind == "order":
            return {"query": kind, "order_id": order_id}
        participant = self._participant(order_id)
        if kind == "mass_cancel":
            return {"command": kind, "participant": participant, "symbol": SYMBOL}
        command = {"command": kind, "order_id": order_id, "participant": participant}
        if kind == "reduce":
            command["by"] = self.choose([1, 1, 2])
        if kind == "replace":
            command["price"] = self.choose([None, 98, 99, 100, 101])
            command["quantity"] = self.choose([1, 2, 4])
        return command

    def new(self) -> Request:
        """Draw a new order; one in six uses an id that another one uses too."""
        if self.last_order_id and self.choose(range(6)) == 0:
            order_id = self._recent_order_id()
        else:
            order_id = self.last_order_id = self.last_order_id + 1
        side = self.choose(["BUY", "SELL"])
        return {
            "command": "new",
            "order_id": order_id,
            "participant": order_id % 3 + 1,
            "symbol": SYMBOL,
            "side": side,
            "type": "LIMIT",
            "price": self.choose(PRICES[side]),
            "quantity": self.choose([1, 2, 3, 5]),
            "time_in_force": self.choose(["GTC"] * 8 + ["IOC", "FOK"]),
            "self_trade_prevention": self.choose(["NONE"] * 4 + ["CANCEL_MAKER", "CANCEL_BOTH"]),
        }

    def _recent_order_id(self) -> int:
        return max(1, self.last_order_id - self.choose(self._recent))

    def _participant(self, order_id: int) -> int:
        """The owner of the order, and one time in twelve somebody else."""
        return (order_id + (self.choose(range(12)) == 0)) % 3 + 1
