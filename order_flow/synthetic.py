"""A seeded stochastic order flow, after Cont, Stoikov and Talreja.

**The model.** R. Cont, S. Stoikov and R. Talreja, "A Stochastic Model for Order Book Dynamics",
Operations Research 58(3), 2010, 549-563. It has no strategies: orders arrive independently and
at random, at rates that depend only on the distance in ticks from the opposite best price:

* limit orders arrive at distance i at rate lambda(i) = k / i^alpha, on each side;
* market orders arrive at rate mu, on each side;
* every resting order at distance i is canceled at rate theta(i).

The constants below are the paper's estimates for a stock of the Tokyo exchange, in events a second.

**How it is drawn.** A flow has no clock, so only the order of the events matters: the next event is
of a kind with probability rate / total rate. Cancels are drawn by thinning: any resting order is
picked as if all had the highest theta, and kept with probability theta(i) / highest theta. This
gives the same distribution without counting the orders at every distance.

**Deviations from the paper.**

* Limit orders arrive at distances 1 to 10; theta beyond the fifth tick stays that of the fifth.
* Orders are of 1 to 10 lots, equally likely, where the paper has one unit.
* A side without orders counts as if its best price were its last best price. No market order
  arrives for such a side.
* There are participants, 8 of them, equally likely. The paper has none.
* Unless `plain`, the instructions that real participants use are mixed in (`MIX` below): what the
  model calls a limit order, market order or cancel then takes one of several forms. A reduce or
  replace takes the place of a cancel in the model, and usually leaves the order in the book.

**Reproducible.** Every draw is made from `random.Random(seed).random()`, whose values Python
guarantees for a seed, and all rates are whole millionths. The same seed gives the same bytes on
every supported Python.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from random import Random
from typing import TypeVar

from .book import OPPOSITE, Book, RestingOrder
from .commands import Command, list_instrument

SYMBOL = "SYNTH"
TICK_SIZE = "0.01"
LOT_SIZE = "1"
PARTICIPANTS = 8
QUANTITY_MAX = 10
FIRST_BID, FIRST_ASK = 99_999, 100_001  # in ticks: the best prices that an empty book begins with

# The paper's estimates.
K = 1.92
ALPHA = 0.52
MU = 0.94
THETA = (0.71, 0.81, 0.68, 0.56, 0.47)  # at 1 to 5 ticks, and beyond
DISTANCE_MAX = 10

_MILLIONTHS = 1_000_000
_LAMBDA_UP_TO = list(
    itertools.accumulate(
        round(K / distance**ALPHA * _MILLIONTHS) for distance in range(1, DISTANCE_MAX + 1)
    )
)
_LIMIT_RATE = _LAMBDA_UP_TO[-1]  # of one side, all distances
_MARKET_RATE = round(MU * _MILLIONTHS)  # of one side
_THETA = [round(theta * _MILLIONTHS) for theta in THETA]
_THETA_MAX = max(_THETA)
_MASS_CANCEL_RATE = round(0.02 * _MILLIONTHS)  # not in the paper; 0 in a plain flow

# What one event of the model becomes, in percent. In a plain flow, always the first of each.
MIX = {
    "limit": {"GTC": 94, "POST_ONLY": 6},
    "market": {
        "MARKET": 40,
        "LIMIT_IOC": 25,
        "LIMIT_FOK": 10,
        "MARKET_FOK": 5,
        "LIMIT_GTC": 15,  # at or through the opposite best: trades, its remainder rests
        "POST_ONLY": 5,  # at the opposite best: is rejected
    },
    "cancel": {"CANCEL": 80, "REDUCE": 10, "REPLACE": 10},
    "self_trade_prevention": {
        "NONE": 85,
        "CANCEL_TAKER": 5,
        "CANCEL_MAKER": 5,
        "CANCEL_BOTH": 5,
    },
}
_THROUGH_MAX = 2  # a marketable limit order is priced 0 to 2 ticks through the opposite best

_T = TypeVar("_T")


def commands(count: int, seed: int, *, plain: bool = False) -> Iterator[Command]:
    """Yield exactly `count` commands, `list_instrument` first. Order ids count from 1.

    `plain` is the paper's model alone: LIMIT GTC, MARKET and cancel.

    >>> flow = list(commands(1_000, seed=7))
    >>> len(flow), flow[0]["command"]
    (1000, 'list_instrument')
    >>> flow == list(commands(1_000, seed=7))
    True

    Raises ValueError for a count below 1 or a seed below 0.
    """
    if count < 1:
        raise ValueError("count: must be 1 or more; the first command lists the instrument")
    if seed < 0:
        raise ValueError("seed: must be 0 or more")
    return itertools.islice(_endless(_Market(seed, plain=plain)), count)


def _endless(market: _Market) -> Iterator[Command]:
    yield list_instrument(SYMBOL, TICK_SIZE, LOT_SIZE)
    while True:
        command = market.next_command()
        market.book.apply(command)
        yield command


class _Market:
    """The model's state: the book that the flow has built so far, and the random numbers."""

    def __init__(self, seed: int, *, plain: bool) -> None:
        self.book = Book()
        self._random = Random(seed).random
        self._order_ids = itertools.count(1)
        self._last_best = {"BUY": FIRST_BID, "SELL": FIRST_ASK}
        self._mass_cancel_rate = 0 if plain else _MASS_CANCEL_RATE
        self._mix = {
            name: list(forms)[:1] if plain else _tickets(forms) for name, forms in MIX.items()
        }

    def next_command(self) -> Command:
        """Draw events until one happens. The book must have followed all commands before."""
        while True:
            point = self._below(
                2 * _LIMIT_RATE
                + 2 * _MARKET_RATE
                + self._mass_cancel_rate
                + _THETA_MAX * len(self.book.live)
            )
            if point < 2 * _LIMIT_RATE:
                side = "BUY" if point < _LIMIT_RATE else "SELL"
                return self._limit(side, bisect_right(_LAMBDA_UP_TO, point % _LIMIT_RATE) + 1)
            point -= 2 * _LIMIT_RATE
            if point < 2 * _MARKET_RATE:
                side = "BUY" if point < _MARKET_RATE else "SELL"
                if self.book.best(OPPOSITE[side]) is None:
                    continue
                return self._market(side)
            point -= 2 * _MARKET_RATE
            if point < self._mass_cancel_rate:
                return self._mass_cancel()
            index, height = divmod(point - self._mass_cancel_rate, _THETA_MAX)
            order = self.book.live[index]
            distance = abs(self._touch(OPPOSITE[order.side]) - order.price)
            if height < _THETA[min(max(distance, 1), len(_THETA)) - 1]:
                return self._cancel(order)

    def _limit(self, side: str, distance: int) -> Command:
        command = self._new(side, "LIMIT", self._price_at(side, distance))
        if self._one_of(self._mix["limit"]) == "POST_ONLY":
            command["post_only"] = True
        return command

    def _market(self, side: str) -> Command:
        form = self._one_of(self._mix["market"])
        if form == "MARKET":
            return self._new(side, "MARKET", None, "IOC")
        if form == "MARKET_FOK":
            return self._new(side, "MARKET", None, "FOK")
        if form == "POST_ONLY":
            return self._new(side, "LIMIT", self._price_at(side, 0)) | {"post_only": True}
        price = self._price_at(side, -self._below(_THROUGH_MAX + 1))
        return self._new(side, "LIMIT", price, form.removeprefix("LIMIT_"))

    def _cancel(self, order: RestingOrder) -> Command:
        form = self._one_of(self._mix["cancel"])
        command: Command = {
            "command": form.lower(),
            "order_id": order.order_id,
            "participant": order.participant,
        }
        if form == "REDUCE":
            command["by"] = 1 + self._below(order.quantity)
        elif form == "REPLACE":
            what = self._one_of(["price", "quantity", "both"])
            if what != "quantity":
                command["price"] = self._price_at(order.side, self._below(DISTANCE_MAX + 1))
            if what != "price":
                command["quantity"] = 1 + self._below(QUANTITY_MAX)
        return command

    def _mass_cancel(self) -> Command:
        return {
            "command": "mass_cancel",
            "participant": 1 + self._below(PARTICIPANTS),
            "symbol": self._one_of([SYMBOL, None]),
        }

    def _new(
        self, side: str, order_type: str, price: int | None, time_in_force: str = "GTC"
    ) -> Command:
        command: Command = {
            "command": "new",
            "order_id": next(self._order_ids),
            "participant": 1 + self._below(PARTICIPANTS),
            "symbol": SYMBOL,
            "side": side,
            "type": order_type,
        }
        if price is not None:
            command["price"] = price
        command["quantity"] = 1 + self._below(QUANTITY_MAX)
        command["time_in_force"] = time_in_force
        prevention = self._one_of(self._mix["self_trade_prevention"])
        if prevention != "NONE":
            command["self_trade_prevention"] = prevention
        return command

    def _price_at(self, side: str, distance: int) -> int:
        """The price `distance` ticks from the opposite best price, on the order's own side."""
        away = -distance if side == "BUY" else distance
        return max(1, self._touch(OPPOSITE[side]) + away)

    def _touch(self, side: str) -> int:
        best = self.book.best(side)
        if best is not None:
            self._last_best[side] = best
        return self._last_best[side]

    def _below(self, bound: int) -> int:
        """A whole number from 0 to bound - 1."""
        return int(self._random() * bound)

    def _one_of(self, choices: list[_T]) -> _T:
        return choices[self._below(len(choices))] if len(choices) > 1 else choices[0]


def _tickets(percent: dict[str, int]) -> list[str]:
    """A hundred tickets, so that drawing one gives each form its share."""
    tickets = [form for form, share in percent.items() for _ in range(share)]
    assert len(tickets) == 100
    return tickets
