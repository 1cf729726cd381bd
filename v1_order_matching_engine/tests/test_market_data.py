"""Real order flow: an hour and a day of NASDAQ must end in books known beforehand.

The data is not ours to hand out and so not in the repository; without it this is skipped.
"""

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ..engine.events import TradeExecuted
from ..engine.matching_engine import MatchingEngine
from ..models.commands import Command
from ..utils.ndjson import Query, parse

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "lobster"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the LOBSTER sample flows are not in {DATA}"
)


class Day(NamedTuple):
    symbol: str
    commands: int
    trades: int
    resting_orders: int
    state_hash: str


DAYS = [
    Day(
        "AAPL",
        89_563,
        4_056,
        442,
        "08d7bf3615388b273a014c8ddf714290e02dc1636c8396298f3b3731b27d8dce",
    ),
    Day(
        "AMZN",
        180_698,
        8_959,
        841,
        "f439807d5e7fb5ee722fa6f3ac72efe24a9cce17f292a3840a545f7eb3a736bd",
    ),
]


def commands(symbol: str) -> Iterator[Command]:
    with lzma.open(DATA / f"{symbol}_2012-06-21.flow.ndjson.xz") as lines:
        for line in lines:
            command = parse(line)
            assert not isinstance(command, Query)
            yield command


def expected(symbol: str) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """What each command must fill, and the books after some: by command number."""
    fills: dict[int, list[str]] = {}
    books: dict[int, list[str]] = {}
    with lzma.open(DATA / f"{symbol}_2012-06-21.expected.csv.xz", "rt") as rows:
        for row in rows:
            kind, number, *rest = row.rstrip("\n").split(",")
            (fills if kind == "F" else books)[int(number)] = rest
    return fills, books


def book_as_text(engine: MatchingEngine, symbol: str, like: list[str]) -> list[str]:
    """Asks and bids as `price:quantity ...`, as many levels as there are to compare with."""
    asks, bids = like
    depth = engine.book(symbol).depth(100)
    return [
        " ".join(f"{level.price}:{level.quantity}" for level in levels[: len(text.split())])
        for levels, text in ((depth.asks, asks), (depth.bids, bids))
    ]


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.symbol)
def test_every_fill_and_every_known_book_of_the_day_is_reproduced(day: Day) -> None:
    fills, books = expected(day.symbol)
    engine = MatchingEngine()
    for number, command in enumerate(commands(day.symbol), start=1):
        events = engine.submit(command)
        trades = [event for event in events if isinstance(event, TradeExecuted)]
        makers = " ".join(f"{each.maker_order_id}:{each.price}:{each.quantity}" for each in trades)
        filled = [str(trades[0].taker_order_id), makers] if trades else None
        assert filled == fills.get(number), number
        if number in books:
            assert book_as_text(engine, day.symbol, books[number]) == books[number], number
    engine.check_invariants()
    assert (engine.sequence, engine.trades, engine.resting_orders, engine.state_hash()) == day[1:]
