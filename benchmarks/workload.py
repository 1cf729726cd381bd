"""The operations that every engine gets: plain tuples, made once, the same for the same seed.

An operation is `(kind, order id, price in ticks, quantity in lots)`. An engine builds its own
command from it while the clock runs. Ids count 1, 2, 3 …, as one peer numbers orders itself.

What the operations must lead to is worked out by `order_flow.book`, which shares no line with any
engine under measurement.
"""

from __future__ import annotations

import itertools
import json
import lzma
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from order_flow.book import OPPOSITE, Book

CANCEL, BUY, SELL, BUY_IOC, SELL_IOC, REDUCE = range(6)
"""The kinds. All engines know the first three; the others are for V1 and V2 only. A cancel has
price and quantity 0, a reduce has the quantity to take off."""

Operation = tuple[int, int, int, int]
Fill = tuple[int, int, int]
Best = tuple[int, int] | None
"""Price and quantity of the best level of a side."""

FIRST_MID = 100_000
TICKS = 20
PRELOAD = 2_000
LOTS = 5
"""Of every order in a book made by `resting`."""
LOOK_EVERY = 1_000
"""After every how many operations the best levels are looked at in a verifying pass."""

LOBSTER = Path(__file__).resolve().parents[2] / "shared" / "data" / "lobster"


class Flow(NamedTuple):
    """Operations, of which the first `preload` fill the book before the clock starts."""

    name: str
    operations: list[Operation]
    preload: int = 0


def mixed(count: int, *, preload: int = PRELOAD, seed: int = 1) -> Flow:
    """A liquid market: 50 % passive orders, 35 % cancels, 15 % marketable orders.

    Passive orders are 1 to 20 ticks from a mid that walks at random, never across the spread;
    cancels name any live order, each as likely; marketable orders are priced at the opposite best,
    and what they leave rests.
    """
    chance = random.Random(seed)
    book = Book()
    operations: list[Operation] = []
    mid = FIRST_MID
    order_id = 0

    def enter(operation: Operation) -> None:
        operations.append(operation)
        book.apply(_command(operation))

    while len(operations) < preload + count:
        if chance.random() < 0.1:
            mid += chance.choice((-1, 1))
        roll = chance.random() if len(operations) >= preload else 0.0
        side, kind, away = chance.choice((("BUY", BUY, -1), ("SELL", SELL, 1)))
        touch = book.best(OPPOSITE[side])
        if roll < 0.5:
            price = mid + away * chance.randint(1, TICKS)
            if touch is not None and (touch - price) * away >= 0:
                price = touch + away
            order_id += 1
            enter((kind, order_id, price, chance.randint(1, 100)))
        elif roll < 0.85:
            if book.live:
                enter((CANCEL, chance.choice(book.live).order_id, 0, 0))
        elif touch is not None:
            order_id += 1
            enter((kind, order_id, touch, chance.randint(1, 200)))
    return Flow("synthetic", operations, preload)


def flow_path(symbol: str) -> Path:
    """Where NASDAQ's order flow of a symbol lies, on a machine that has it."""
    return LOBSTER / f"{symbol}_2012-06-21.flow.ndjson.xz"


def real(symbol: str) -> Flow | None:
    """NASDAQ's order flow of one symbol, every command of it; None where the file is not there.

    Ids are counted anew and all orders belong to one participant, which changes nothing, as the
    flow has no self-trade prevention.
    """
    path = flow_path(symbol)
    if not path.exists():
        return None
    ids: dict[int, int] = {}
    lines = lzma.decompress(path.read_bytes()).splitlines()
    commands = (json.loads(line) for line in lines)
    return Flow(symbol, [_operation(c, ids) for c in commands if c["command"] in _KINDS])


def fragment(flow: Flow) -> Flow:
    """What all engines have in common of a real flow: limit orders, and cancels that succeed.

    A reduce is left out; an order that is good for now only is entered as one that stays, and the
    remainder is canceled by the next operation. Whatever that makes impossible later is left out,
    too.
    """
    book = Book()
    operations: list[Operation] = []
    for kind, order_id, price, quantity in flow.operations:
        if kind == REDUCE or (kind == CANCEL and order_id not in book.orders):
            continue
        plain = {BUY_IOC: BUY, SELL_IOC: SELL}.get(kind, kind)
        steps: list[Operation] = [(plain, order_id, price, quantity)]
        book.apply(_command(steps[0]))
        if plain != kind and order_id in book.orders:
            steps.append((CANCEL, order_id, 0, 0))
            book.apply(_command(steps[1]))
        operations += steps
    return Flow(f"{flow.name}, limit orders and cancels", operations)


class Expected(NamedTuple):
    """What a flow must lead to: the fills of each operation, and the best levels now and then."""

    fills: list[list[Fill]]
    bests: dict[int, tuple[Best, Best]]
    """By the number of operations done: best bid and best ask."""


def expected(flow: Flow) -> Expected:
    """Let the book of `order_flow` work it out."""
    book = Book()
    found = Expected([], {})
    for number, operation in enumerate(flow.operations, 1):
        fills = book.apply(_command(operation))
        found.fills.append([(fill.maker, fill.price, fill.quantity) for fill in fills])
        if number % LOOK_EVERY == 0 or number == len(flow.operations):
            found.bests[number] = (_best(book, "BUY"), _best(book, "SELL"))
    return found


def place(number: int, levels: int) -> tuple[int, int]:
    """Side and price of the order with this number, counted from 0, in a book of `resting`.

    Even numbers buy and odd ones sell; numbers 0 and 1 are at the best prices, and so is every
    order with the same remainder by `levels`.
    """
    away = number // 2 % (levels // 2)
    return (SELL, FIRST_MID + away) if number % 2 else (BUY, FIRST_MID - 1 - away)


def resting(orders: int, levels: int) -> Iterator[Operation]:
    """Orders of `LOTS` that do not trade, spread evenly over the levels of both sides."""
    for number in range(orders):
        kind, price = place(number, levels)
        yield kind, number + 1, price, LOTS


def steady(orders: int, levels: int, seed: int = 1) -> Iterator[Operation]:
    """Work without end on a book of `resting`, which stays as large as it was.

    Of six operations two cancel an order anywhere but at the best level, two put another at its
    price, one fills the oldest order of a best level, and one adds another at the end of that
    level.
    """
    chance = random.Random(seed)
    fresh = itertools.count(orders + 1)
    ids = list(range(1, orders + 1))
    while True:
        for _ in range(2):
            number = chance.randrange(orders)
            if number % levels < 2:
                continue  # at a best level: the oldest there are for the fills
            kind, price = place(number, levels)
            yield CANCEL, ids[number], 0, 0
            ids[number] = next(fresh)
            yield kind, ids[number], price, LOTS
        kind, price = place(chance.randrange(2), levels)
        yield SELL if kind == BUY else BUY, next(fresh), price, LOTS
        yield kind, next(fresh), price, LOTS


_KINDS = {"new", "cancel", "reduce"}
_NEW = {
    ("BUY", "GTC"): BUY,
    ("SELL", "GTC"): SELL,
    ("BUY", "IOC"): BUY_IOC,
    ("SELL", "IOC"): SELL_IOC,
}
_SIDES = {kind: words for words, kind in _NEW.items()}


def _operation(command: dict[str, Any], ids: dict[int, int]) -> Operation:
    if command["command"] == "new":
        ids[command["order_id"]] = order_id = len(ids) + 1
        kind = _NEW[command["side"], command["time_in_force"]]
        return kind, order_id, command["price"], command["quantity"]
    order_id = ids[command["order_id"]]
    if command["command"] == "cancel":
        return CANCEL, order_id, 0, 0
    return REDUCE, order_id, 0, command["by"]


def _command(operation: Operation) -> dict[str, Any]:
    """The operation as `order_flow` writes commands."""
    kind, order_id, price, quantity = operation
    if kind == CANCEL:
        return {"command": "cancel", "order_id": order_id}
    if kind == REDUCE:
        return {"command": "reduce", "order_id": order_id, "by": quantity}
    side, time_in_force = _SIDES[kind]
    return {
        "command": "new",
        "order_id": order_id,
        "participant": 1,
        "side": side,
        "type": "LIMIT",
        "price": price,
        "quantity": quantity,
        "time_in_force": time_in_force,
    }


def _best(book: Book, side: str) -> Best:
    price = book.best(side)
    if price is None:
        return None
    orders: Iterable[Any] = book.live
    return price, sum(o.quantity for o in orders if o.side == side and o.price == price)
