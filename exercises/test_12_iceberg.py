"""Exercise 12a."""

import pytest

from exercises import exercise
from exercises.small_book import Fill, Order

iceberg = exercise("ex_12_iceberg")


@pytest.fixture
def book():
    book = iceberg.BookWithIcebergs()
    book.submit(iceberg.Iceberg(1, "sell", 100, 4, hidden=6, peak=4))
    book.submit(Order(2, "sell", 100, 5))
    return book


def test_the_prediction(book):
    assert book.submit(Order(3, "buy", 100, 12)) == [
        Fill(3, 1, 4, 100),
        Fill(3, 2, 5, 100),
        Fill(3, 1, 3, 100),
    ]
    [left] = book.resting
    assert (left.number, left.lots, left.hidden) == (1, 1, 2)


def test_a_part_that_is_not_filled_keeps_its_place(book):
    book.submit(Order(3, "buy", 100, 2))
    assert book.submit(Order(4, "buy", 100, 3)) == [Fill(4, 1, 2, 100), Fill(4, 2, 1, 100)]


def test_all_of_it_can_be_bought(book):
    fills = book.submit(Order(3, "buy", 100, 99))
    assert sum(fill.lots for fill in fills) == 15
    assert [order.number for order in book.resting] == [3]


def test_as_a_taker_it_trades_with_all_it_has(book):
    fills = book.submit(iceberg.Iceberg(3, "buy", 100, 2, hidden=7, peak=2))
    assert sum(fill.lots for fill in fills) == 9


def test_what_rests_of_a_taker_shows_its_peak():
    book = iceberg.BookWithIcebergs()
    book.submit(Order(1, "sell", 100, 3))
    book.submit(iceberg.Iceberg(2, "buy", 100, 2, hidden=8, peak=2))
    [left] = book.resting
    assert (left.lots, left.hidden) == (2, 5)
