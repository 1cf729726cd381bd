"""The measure on small files, and what it says about NASDAQ's real ones."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import pytest

from order_flow import lobster, match_rate
from order_flow.book import Book, Fill
from order_flow.lobster import Execution

from .conftest import WriteCsv

MESSAGES = "XYZ_message.csv"
ORDERBOOK = "XYZ_orderbook.csv"


def test_price_then_time_priority_reproduces_every_execution(write_csv: WriteCsv) -> None:
    result = match_rate.measure(
        write_csv(
            MESSAGES,
            """
            34200.1,1,11,10,101,-1
            34200.2,1,12,10,100,-1
            34200.3,1,13,10,100,-1
            34200.4,4,12,10,100,-1
            34200.4,4,13,10,100,-1
            34200.4,4,11,4,101,-1
            """,
        )
    )
    assert (result.executions, result.aggressors, result.rate) == (3, 1, 1.0)


def test_an_execution_out_of_turn_counts_against_the_rate(write_csv: WriteCsv) -> None:
    result = match_rate.measure(
        write_csv(
            MESSAGES,
            """
            34200.1,1,11,10,100,-1
            34200.2,1,12,10,100,-1
            34200.3,4,12,10,100,-1
            """,
        )
    )
    assert (result.reproduced, result.other_maker, result.maker_unseen) == (0, 1, 0)
    assert result.rate == 0.0


def test_unseen_makers_count_as_their_levels_synthetic_order_while_it_lasts(
    write_csv: WriteCsv,
) -> None:
    result = match_rate.measure(
        write_csv(
            MESSAGES,
            """
            34200.1,5,0,1,100,1
            34200.2,4,7,10,101,-1
            34200.2,4,8,20,101,-1
            34200.3,4,9,31,101,-1
            """,
        ),
        write_csv(ORDERBOOK, "101,60,99,50"),
    )
    assert (result.reproduced, result.other_maker, result.maker_unseen) == (2, 0, 1)


def test_the_rest_of_an_aggressor_that_follows_it_rests_without_trading(
    write_csv: WriteCsv,
) -> None:
    book = Book()
    for step in lobster.steps(
        write_csv(
            MESSAGES,
            """
            34200.1,1,11,10,100,-1
            34200.2,4,11,10,100,-1
            34200.2,1,12,5,100,1
            """,
        )
    ):
        book.apply(step.command)
    assert (book.best("BUY"), book.best("SELL")) == (100, None)
    assert book.orders[12].quantity == 5


@pytest.mark.parametrize(
    ("fills", "expected"),
    [
        ([Fill(1, 100, 5), Fill(2, 100, 5)], [True, True]),
        ([Fill(2, 100, 5), Fill(1, 100, 5)], [False, False]),
        ([Fill(1, 101, 5), Fill(2, 100, 5)], [False, True]),
        ([Fill(3, 100, 5), Fill(2, 100, 5)], [False, True]),
        ([Fill(1, 100, 6), Fill(2, 100, 4)], [True, False]),
        ([Fill(1, 100, 4), Fill(2, 100, 5)], [False, False]),
        ([Fill(1, 100, 5)], [True, False]),
        ([], [False, False]),
    ],
)
def test_executions_are_laid_against_fills_lot_by_lot(
    fills: list[Fill], expected: list[bool]
) -> None:
    executions = [Execution(1, 100, 5), Execution(2, 100, 5)]
    assert list(match_rate.compare(executions, fills)) == expected


@pytest.mark.once
def test_aapls_makers_are_reproduced_from_fifty_levels(real_data: Path) -> None:
    stem = real_data / "raw" / "AAPL_2012-06-21_34200000_37800000"
    result = match_rate.measure(
        f"{stem}_message_50.csv.xz", f"{stem}_orderbook_50_first_672_rows.csv.xz"
    )
    assert (result.executions, result.aggressors) == (4067, 3290)
    assert (result.reproduced, result.other_maker, result.maker_unseen) == (4001, 66, 0)
    assert result.rate >= 0.98


@pytest.mark.once
def test_amzns_makers_are_mostly_lost_outside_five_levels(real_data: Path) -> None:
    [archive] = (real_data / "raw").glob("*AMZN*.zip")
    result = match_rate.measure(archive)
    assert (result.executions, result.aggressors) == (8974, 6591)
    assert (result.reproduced, result.other_maker, result.maker_unseen) == (3006, 4924, 1044)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "resting_orders", "trades", "state_hash"),
    [
        (
            "AAPL_2012-06-21.flow.ndjson.xz",
            442,
            4056,
            "08d7bf3615388b273a014c8ddf714290e02dc1636c8396298f3b3731b27d8dce",
        ),
        (
            "AMZN_2012-06-21.flow.ndjson.xz",
            841,
            8959,
            "f439807d5e7fb5ee722fa6f3ac72efe24a9cce17f292a3840a545f7eb3a736bd",
        ),
    ],
)
def test_the_yardstick_itself_ends_in_the_known_state_of_a_complete_flow(
    real_data: Path, name: str, resting_orders: int, trades: int, state_hash: str
) -> None:
    book = Book()
    fills = 0
    with lzma.open(real_data / name) as stream:
        for row in stream:
            fills += len(book.apply(json.loads(row)))
    text = "".join(book.state_lines(name.partition("_")[0]))
    book.check_invariants()
    assert (len(book.orders), fills) == (resting_orders, trades)
    assert hashlib.sha256(text.encode()).hexdigest() == state_hash
