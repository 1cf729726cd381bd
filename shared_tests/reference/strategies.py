"""Random command sequences that are dense: much happens in few commands.

Uniformly random commands would mostly miss each other. Here there are few prices, few participants
and two symbols, orders are mostly addressed by those who own them, and now and then a value is at
the edge of what is possible, or beyond it.

A sequence is drawn as *moves*, in which an order is named by its place among those that rest.
`commands_of` turns moves into commands: it hands out ids, and plays the reference engine along to
know what rests. So Hypothesis can drop a move, or a hundred, and what is left still makes sense;
that is what makes its counterexamples short.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st

from ..engines.engine import MAX, Malformed
from .reference import Reference

Value = TypeVar("Value")

SYMBOLS = ("ABC", "DEF")
PARTICIPANTS = (1, 2, 3)


@dataclass(frozen=True)
class Move:
    """A command without its order id and, where it acts on an order, without the owner."""

    fields: dict[str, Any]
    order: int = 0  # which id: 0 a new one, n the n-th youngest resting, -n the n-th youngest used
    stranger: bool = False  # another participant than the order's own


@dataclass(frozen=True)
class Draw:
    """A source of choices: Hypothesis or plain random numbers."""

    choose: Callable[[Sequence[Any]], Any]

    def often(self, usual: Sequence[Value], rare: Sequence[Value], one_in: int) -> Value:
        """Choose a usual value, and one time in `one_in` a rare one."""
        value: Value = self.choose(rare if self.choose(range(one_in)) == one_in - 1 else usual)
        return value


def a_move(draw: Draw) -> Move:
    """Draw one command of any kind; new orders most of the time."""
    usual = ["new"] * 13 + ["cancel"] * 2 + ["reduce"] * 4 + ["replace"] * 5
    kind = draw.often(usual, ["mass", "mass", "list"], 20)
    if kind == "new":
        return _a_new_order(draw)
    if kind == "mass":
        symbol = draw.often([*SYMBOLS, None], ["NONE", "abc"], 10)
        participant = draw.often([*PARTICIPANTS, 4, 4, 4], [0], 20)
        fields = {"command": "mass_cancel", "participant": participant, "symbol": symbol}
        return Move(fields)
    if kind == "list":
        sizes = ["1", "0.01", "0", "x"]
        fields = {"symbol": draw.choose([*SYMBOLS, "LATE"]), "tick_size": draw.choose(sizes)}
        return Move({"command": "list_instrument", **fields, "lot_size": draw.choose(sizes)})
    fields = {"command": kind}
    if kind == "reduce":
        fields["by"] = draw.often([1, 1, 2, 3], [0, -1, 50, MAX, MAX + 1], 8)
    if kind == "replace":
        fields["price"] = draw.often([None, *range(98, 104)], [0, 1, MAX, -MAX - 2], 12)
        fields["quantity"] = draw.often([None, *range(1, 8)], [0, -1, MAX, 1.5], 12)
    order = draw.often(range(1, 16), [*range(-30, 0), 0], 5)
    return Move(fields, order, draw.often([False], [True], 12))


def _a_new_order(draw: Draw) -> Move:
    side = draw.choose(["BUY", "SELL"])
    near = range(97, 102) if side == "BUY" else range(99, 104)  # they overlap, but mostly rest
    fields: dict[str, Any] = {
        "command": "new",
        "participant": draw.often(PARTICIPANTS, [4, 2**32 - 1, 2**32], 15),
        "symbol": draw.often(["ABC", "ABC", "DEF"], ["NONE", "LATE"], 15),
        "side": side,
        "type": draw.often(["LIMIT"], ["MARKET"], 8),
        "quantity": draw.often(range(1, 8), [0, -3, 20, 40, 40, MAX, MAX + 1], 12),
    }
    if fields["type"] == "LIMIT" or draw.often([False], [True], 10):
        fields["price"] = draw.often(near, [None, 0, -1, 1, 97, 103, MAX], 12)
    options = {
        "time_in_force": draw.often([None, None, "GTC"], ["IOC", "FOK"], 5),
        "post_only": draw.often([None], [True, False], 6),
        "self_trade_prevention": draw.often(
            [None], ["NONE", "CANCEL_TAKER", "CANCEL_MAKER", "CANCEL_BOTH"], 2
        ),
    }
    fields |= {name: value for name, value in options.items() if value is not None}
    return Move(fields, draw.often([0], [*range(-9, 0), 1, 2], 15))


def commands_of(moves: Sequence[Move | None]) -> list[dict[str, Any]]:
    """Give every move its order id and its participant. The two symbols are listed first."""
    sizes = {"tick_size": "0.01", "lot_size": "1"}
    commands: list[dict[str, Any]] = [
        {"command": "list_instrument", "symbol": symbol, **sizes} for symbol in SYMBOLS
    ]
    engine = Reference()
    for command in commands:
        engine.execute(command)
    used: list[int] = []
    for move in moves:
        if move is None:
            continue
        command = dict(move.fields)
        if command["command"] not in ("list_instrument", "mass_cancel"):
            order_id = _order_id(move, used, [order.order_id for order in engine.resting])
            if order_id not in used:
                used.append(order_id)
            command["order_id"] = order_id
            owner = engine.orders[order_id].participant if order_id in engine.orders else 1
            command.setdefault("participant", owner % 3 + 1 if move.stranger else owner)
        commands.append(command)
        with suppress(Malformed):
            engine.execute(command)
    return commands


def _order_id(move: Move, used: list[int], resting: list[int]) -> int:
    if 0 < move.order <= len(resting):
        return resting[-move.order]
    if 0 < -move.order <= len(used):
        return used[move.order]
    return len(used) + 1


@st.composite
def _moves(draw: st.DrawFn) -> Move | None:
    if draw(st.integers(0, 9)) == 0:
        return None  # what a move shrinks to, so that long sequences can become short ones
    return a_move(Draw(lambda values: draw(st.sampled_from(values))))


def command_sequences(least: int = 40, most: int = 120) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw sequences of commands."""
    return st.lists(_moves(), min_size=least, max_size=most).map(commands_of)


def random_commands(seed: int, count: int) -> list[dict[str, Any]]:
    """A long sequence without Hypothesis: nothing can be shrunk, but it is fast."""
    source = Draw(random.Random(seed).choice)
    return commands_of([a_move(source) for _ in range(count)])
