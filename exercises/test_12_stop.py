"""Exercise 12b."""

import pytest

from exercises import exercise
from exercises.small_book import Fill, Order

stops = exercise("ex_12_stop")


@pytest.fixture
def book():
    book = stops.BookWithStops()
    for number, price in ((1, 100), (2, 99), (3, 98)):
        book.submit(Order(number, "buy", price, 5))
    return book


def test_it_sleeps_until_a_trade_at_its_price(book):
    book.submit_stop(Order(4, "sell", 99, 5), stop=99)
    assert book.submit(Order(5, "sell", 100, 5)) == [Fill(5, 1, 5, 100)]
    assert book.submit(Order(6, "sell", 99, 1)) == [Fill(6, 2, 1, 99), Fill(4, 2, 4, 99)]


def test_one_wakes_the_next(book):
    book.submit_stop(Order(4, "sell", 98, 5), stop=99)
    book.submit_stop(Order(5, "sell", 97, 5), stop=98)
    fills = book.submit(Order(6, "sell", 99, 10))
    assert fills == [Fill(6, 1, 5, 100), Fill(6, 2, 5, 99), Fill(4, 3, 5, 98)]
    assert [order.number for order in book.resting] == [5]


def test_of_two_that_wake_together_the_older_enters_first(book):
    book.submit_stop(Order(4, "sell", 99, 5), stop=100)
    book.submit_stop(Order(5, "sell", 99, 5), stop=100)
    fills = book.submit(Order(6, "sell", 100, 5))
    assert [fill.taker for fill in fills] == [6, 4]


def test_a_buyer_wakes_upwards():
    book = stops.BookWithStops()
    book.submit(Order(1, "sell", 100, 1))
    book.submit(Order(2, "sell", 101, 1))
    book.submit_stop(Order(3, "buy", 105, 1), stop=100)
    assert book.submit(Order(4, "buy", 100, 1)) == [Fill(4, 1, 1, 100), Fill(3, 2, 1, 101)]


def test_it_wakes_once(book):
    book.submit_stop(Order(4, "sell", 100, 1), stop=100)
    book.submit(Order(5, "sell", 100, 1))
    assert book.sleeping == []
