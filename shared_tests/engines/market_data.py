"""A real trading day: NASDAQ's AAPL and AMZN of 2012-06-21, as commands with the fills they had.

The data are LOBSTER's academic samples and not ours to hand on, so they lie beside the repository,
in `../shared/data/lobster`. Where they are missing, the tests that need them are skipped.

What is expected of a flow, by command number, counted from 1:

    F,142,1000000000001,5740544:5857400:40 3570647:5857500:25     fills: maker:price:quantity
    K,1000,5858000:100,5857300:18                                 book after it: asks, bids
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path

from .engine import Book

DIRECTORY = Path(__file__).resolve().parents[3] / "shared" / "data" / "lobster"

Fill = tuple[int, int, int]  # maker's order id, price, quantity


@dataclass(frozen=True)
class TradingDay:
    """One symbol's flow and where it must end."""

    symbol: str
    commands: int
    levels: int  # the depth of the recorded books
    trades: int
    resting_orders: int
    state_hash: str

    @property
    def flow_path(self) -> Path:
        return DIRECTORY / f"{self.symbol}_2012-06-21.flow.ndjson.xz"

    @property
    def expected_path(self) -> Path:
        return DIRECTORY / f"{self.symbol}_2012-06-21.expected.csv.xz"

    def lines(self) -> list[bytes]:
        with lzma.open(self.flow_path) as file:
            return file.read().splitlines()

    def expected(self) -> tuple[dict[int, list[Fill]], dict[int, Book]]:
        """The fills and the books by command number."""
        fills: dict[int, list[Fill]] = {}
        books: dict[int, Book] = {}
        with lzma.open(self.expected_path, "rt") as file:
            for line in file:
                kind, number, *rest = line.rstrip("\n").split(",")
                if kind == "F":
                    fills[int(number)] = [_fill(text) for text in rest[1].split()]
                else:
                    asks, bids = (_levels(text) for text in rest)
                    books[int(number)] = {"bids": bids, "asks": asks}
        return fills, books


def _fill(text: str) -> Fill:
    maker, price, quantity = text.split(":")
    return int(maker), int(price), int(quantity)


def _levels(text: str) -> list[list[int]]:
    return [[int(number) for number in level.split(":")] for level in text.split()]


DAYS = [
    TradingDay(
        symbol="AAPL",
        commands=89_563,
        levels=1,
        trades=4_056,
        resting_orders=442,
        state_hash="08d7bf3615388b273a014c8ddf714290e02dc1636c8396298f3b3731b27d8dce",
    ),
    TradingDay(
        symbol="AMZN",
        commands=180_698,
        levels=5,
        trades=8_959,
        resting_orders=841,
        state_hash="f439807d5e7fb5ee722fa6f3ac72efe24a9cce17f292a3840a545f7eb3a736bd",
    ),
]
