"""Exercise 1."""

from exercises import exercise

fills = exercise("ex_01_fills").fills
ASKS = [(101, 5), (101, 5), (103, 10)]


def test_the_picture():
    assert fills(ASKS, 12, 103) == [(101, 5), (101, 5), (103, 2)]


def test_the_limit_stops_it():
    assert fills(ASKS, 12, 102) == [(101, 5), (101, 5)]


def test_equal_prices_trade():
    assert fills(ASKS, 1, 101) == [(101, 1)]


def test_nobody_sells_so_cheap():
    assert fills(ASKS, 5, 100) == []


def test_an_empty_book():
    assert fills([], 5, 100) == []


def test_exactly_one_maker_and_no_fill_of_zero_lots():
    assert fills(ASKS, 5, 103) == [(101, 5)]
