"""The rules that the generator's memory of its own orders hangs on."""

from __future__ import annotations

from typing import Any

import pytest

from order_flow.book import Book, Fill


def new(order_id: int, side: str, quantity: int, price: int | None, **other: Any) -> dict[str, Any]:
    """A new order; LIMIT unless the price is None."""
    return {
        "command": "new",
        "order_id": order_id,
        "participant": 1,
        "symbol": "XYZ",
        "side": side,
        "type": "MARKET" if price is None else "LIMIT",
        "price": price,
        "quantity": quantity,
        "time_in_force": "IOC" if price is None else "GTC",
    } | other


def book_of(*commands: dict[str, Any]) -> Book:
    book = Book()
    for command in commands:
        book.apply(command)
        book.check_invariants()
    return book


def test_a_market_order_takes_every_level_and_leaves_nothing() -> None:
    book = book_of(new(1, "SELL", 5, 100), new(2, "SELL", 5, 103))
    assert book.apply(new(3, "BUY", 11, None)) == [Fill(1, 100, 5), Fill(2, 103, 5)]
    assert not book.orders


def test_a_partly_filled_maker_keeps_its_place_and_a_replaced_one_loses_it() -> None:
    book = book_of(
        new(1, "SELL", 5, 100),
        new(2, "SELL", 5, 100),
        new(3, "BUY", 1, 100),
        {"command": "replace", "order_id": 2, "participant": 1, "quantity": 5},
    )
    assert book.apply(new(4, "BUY", 1, 100)) == [Fill(1, 100, 1)]
    book.apply({"command": "replace", "order_id": 1, "participant": 1, "quantity": 3})
    assert book.apply(new(5, "BUY", 6, 100)) == [Fill(2, 100, 5), Fill(1, 100, 1)]


def test_a_fok_order_that_cannot_be_filled_touches_nothing() -> None:
    book = book_of(new(1, "SELL", 5, 100), new(2, "SELL", 5, 101))
    assert book.apply(new(3, "BUY", 6, 100, time_in_force="FOK")) == []
    assert book.apply(new(4, "BUY", 6, 101, time_in_force="FOK")) != []


@pytest.mark.parametrize(
    ("prevention", "fillable"),
    [("NONE", True), ("CANCEL_MAKER", False), ("CANCEL_TAKER", False), ("CANCEL_BOTH", False)],
)
def test_a_fok_order_looks_ahead_at_its_own_orders(prevention: str, fillable: bool) -> None:
    book = book_of(new(1, "SELL", 5, 100, participant=2), new(2, "SELL", 5, 100))
    order = new(3, "BUY", 10, 100, time_in_force="FOK", self_trade_prevention=prevention)
    assert bool(book.apply(order)) is fillable
    assert len(book.orders) == (0 if fillable else 2)


@pytest.mark.parametrize(
    ("prevention", "fills", "resting"),
    [
        ("NONE", [Fill(1, 100, 5), Fill(2, 100, 5)], set()),
        ("CANCEL_TAKER", [], {1, 2}),
        ("CANCEL_MAKER", [Fill(2, 100, 5)], {3}),
        ("CANCEL_BOTH", [], {2}),
    ],
)
def test_self_trade_prevention_acts_on_the_order_it_names(
    prevention: str, fills: list[Fill], resting: set[int]
) -> None:
    book = book_of(new(1, "SELL", 5, 100), new(2, "SELL", 5, 100, participant=2))
    assert book.apply(new(3, "BUY", 10, 100, self_trade_prevention=prevention)) == fills
    book.check_invariants()
    assert set(book.orders) == resting


def test_a_post_only_order_never_takes_also_not_by_replace() -> None:
    book = book_of(new(1, "SELL", 5, 100), new(2, "BUY", 5, 100, post_only=True))
    assert set(book.orders) == {1}
    book.apply(new(3, "BUY", 5, 99, post_only=True))
    book.apply({"command": "replace", "order_id": 3, "participant": 1, "price": 100})
    assert (book.best("BUY"), book.best("SELL")) == (99, 100)


def test_reduce_and_mass_cancel_take_out_what_they_say() -> None:
    book = book_of(new(1, "SELL", 5, 100), new(2, "SELL", 5, 101, participant=2))
    book.apply({"command": "reduce", "order_id": 1, "participant": 1, "by": 6})
    assert book.orders[1].quantity == 5
    book.apply({"command": "reduce", "order_id": 1, "participant": 1, "by": 2})
    assert book.orders[1].quantity == 3
    book.apply({"command": "reduce", "order_id": 1, "participant": 1, "by": 3})
    assert set(book.orders) == {2}
    book.apply({"command": "mass_cancel", "participant": 2, "symbol": None})
    assert not book.orders
