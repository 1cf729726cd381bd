"""The generator: the same for a seed, never about dead orders, and in the shares it promises."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from order_flow import line, synthetic
from order_flow.book import OPPOSITE, Book

ALLOWED = {
    "list_instrument": {"command", "symbol", "tick_size", "lot_size"},
    "new": {
        *("command", "order_id", "participant", "symbol", "side", "type", "price", "quantity"),
        *("time_in_force", "post_only", "self_trade_prevention"),
    },
    "cancel": {"command", "order_id", "participant"},
    "reduce": {"command", "order_id", "participant", "by"},
    "replace": {"command", "order_id", "participant", "price", "quantity"},
    "mass_cancel": {"command", "participant", "symbol"},
}


def digest(**options: Any) -> str:
    lines = b"".join(map(line, synthetic.commands(1_000, **options)))
    return hashlib.sha256(lines).hexdigest()


def test_a_seed_always_gives_the_same_first_thousand_lines() -> None:
    mixed, plain = digest(seed=1), digest(seed=1, plain=True)
    assert mixed == "57ce3ecb4c60cba969a820f7f48d69a39fcb1394c84282ec5f5fa9b6fcfd2fda"
    assert plain == "aa9d3be9e553bcd0e3ff53959a1b646100413de2e4148ac9b17984109d459919"


def test_another_seed_gives_another_flow() -> None:
    assert digest(seed=1) != digest(seed=2)


def test_a_longer_flow_starts_with_the_shorter_one() -> None:
    longer = synthetic.commands(2_000, seed=5)
    assert list(islice(longer, 500)) == list(synthetic.commands(500, seed=5))


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_hash_seed_of_python_changes_no_byte(hash_seed: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "order_flow", "synthetic", "--commands", "1000", "--seed", "1"],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )
    assert hashlib.sha256(finished.stdout).hexdigest() == digest(seed=1)


@pytest.mark.parametrize("count", [1, 2, 1_000, 1_001])
def test_there_are_exactly_as_many_commands_as_asked_for(count: int) -> None:
    flow = list(synthetic.commands(count, seed=3))
    assert len(flow) == count
    assert [command["command"] for command in flow].index("list_instrument") == 0


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (-1, 1), (1, -1)])
def test_a_count_or_seed_out_of_range_is_refused_at_once(count: int, seed: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        synthetic.commands(count, seed)


@pytest.mark.parametrize("plain", [False, True])
def test_every_command_is_well_formed_and_names_an_order_that_is_live(plain: bool) -> None:
    book = Book()
    used: set[int] = set()
    flow = synthetic.commands(20_000, seed=11, plain=plain)
    assert next(flow)["command"] == "list_instrument"
    for command in flow:
        kind = command["command"]
        assert set(command) <= ALLOWED[kind]
        assert 1 <= command["participant"] <= synthetic.PARTICIPANTS
        if kind == "new":
            assert command["order_id"] not in used
            used.add(command["order_id"])
            assert (command["type"] == "LIMIT") == ("price" in command)
            assert command.get("price", 1) >= 1
            assert 1 <= command["quantity"] <= synthetic.QUANTITY_MAX
        elif kind != "mass_cancel":
            order = book.orders[command["order_id"]]
            assert order.participant == command["participant"]
            assert 1 <= command.get("by", 1) <= order.quantity
            assert kind != "replace" or {"price", "quantity"} & set(command)
        book.apply(command)
    book.check_invariants()


@pytest.mark.once
def test_a_plain_flow_never_crosses_the_book_but_with_market_orders() -> None:
    book = Book()
    for command in synthetic.commands(20_000, seed=2, plain=True):
        if command["command"] == "new":
            assert (command["type"], command["time_in_force"]) in {
                ("LIMIT", "GTC"),
                ("MARKET", "IOC"),
            }
            if command["type"] == "LIMIT":
                touch = book.best(OPPOSITE[command["side"]])
                distance = abs(touch - command["price"]) if touch is not None else 1
                assert 1 <= distance <= synthetic.DISTANCE_MAX
        else:
            assert command["command"] in {"list_instrument", "cancel"}
        fills = book.apply(command)
        assert bool(fills) == (command.get("type") == "MARKET")
        book.check_invariants()


@pytest.mark.once
def test_limit_and_market_orders_arrive_at_the_rates_of_the_model() -> None:
    """About 100,000 draws: a share off by a twentieth would be beyond four standard errors."""
    kinds: Counter[str] = Counter()
    distances: Counter[int] = Counter()
    book = Book()
    for command in islice(synthetic.commands(200_000, seed=8, plain=True), 1, None):
        if command["command"] == "new":
            touch = book.best(OPPOSITE[command["side"]])
            kinds[command["type"]] += 1
            if command["type"] == "LIMIT" and touch is not None:
                distances[abs(touch - command["price"])] += 1
        book.apply(command)
    rates = [synthetic.K / i**synthetic.ALPHA for i in range(1, synthetic.DISTANCE_MAX + 1)]
    assert kinds["MARKET"] / kinds["LIMIT"] == pytest.approx(synthetic.MU / sum(rates), rel=0.05)
    for distance, rate in enumerate(rates, 1):
        share = distances[distance] / distances.total()
        assert share == pytest.approx(rate / sum(rates), rel=0.05)


@pytest.mark.once
def test_cancels_come_in_proportion_to_resting_orders_and_theta() -> None:
    """Per limit order, cancels at a distance should be theta x orders there / total limit rate."""
    beyond = len(synthetic.THETA)
    limit_rate = 2 * sum(
        synthetic.K / i**synthetic.ALPHA for i in range(1, synthetic.DISTANCE_MAX + 1)
    )
    canceled: Counter[int] = Counter()
    exposed: Counter[int] = Counter()  # orders there, as the limit orders find them
    book = Book()
    for command in islice(synthetic.commands(60_000, seed=9, plain=True), 1, None):
        touch = {"BUY": book.best("SELL"), "SELL": book.best("BUY")}
        if touch["BUY"] is not None and touch["SELL"] is not None:
            distances = {
                order.order_id: min(abs((touch[order.side] or 0) - order.price), beyond)
                for order in book.live
            }
            if command["command"] == "cancel":
                canceled[distances[command["order_id"]]] += 1
            elif command["type"] == "LIMIT":
                exposed.update(distances.values())
        book.apply(command)
    for distance, theta in enumerate(synthetic.THETA, 1):
        expected = exposed[distance] * theta / limit_rate
        assert canceled[distance] == pytest.approx(expected, rel=0.1)


@pytest.mark.once
def test_the_mixture_holds_every_form_in_its_documented_share() -> None:
    forms: Counter[str] = Counter()
    preventions: Counter[str] = Counter()
    for command in islice(synthetic.commands(100_000, seed=4), 1, None):
        forms[command["command"]] += 1
        if command["command"] == "new":
            preventions[command.get("self_trade_prevention", "NONE")] += 1
            forms[f"{command['type']} {command['time_in_force']}"] += 1
            forms["post_only"] += command.get("post_only", False)
    market_events = forms["MARKET IOC"] / (synthetic.MIX["market"]["MARKET"] / 100)
    cancel_events = forms["cancel"] / (synthetic.MIX["cancel"]["CANCEL"] / 100)
    for form, events, percent in (
        ("LIMIT IOC", market_events, synthetic.MIX["market"]["LIMIT_IOC"]),
        ("LIMIT FOK", market_events, synthetic.MIX["market"]["LIMIT_FOK"]),
        ("MARKET FOK", market_events, synthetic.MIX["market"]["MARKET_FOK"]),
        ("reduce", cancel_events, synthetic.MIX["cancel"]["REDUCE"]),
        ("replace", cancel_events, synthetic.MIX["cancel"]["REPLACE"]),
        ("post_only", forms["LIMIT GTC"], synthetic.MIX["limit"]["POST_ONLY"]),
    ):
        assert forms[form] / events == pytest.approx(percent / 100, rel=0.25), form
    for prevention, percent in synthetic.MIX["self_trade_prevention"].items():
        share = preventions[prevention] / preventions.total()
        assert share == pytest.approx(percent / 100, rel=0.15), prevention
    assert 10 <= forms["mass_cancel"] <= 200


@pytest.mark.once
def test_the_book_of_a_mixed_flow_stays_alive() -> None:
    book = Book()
    sizes = []
    for number, command in enumerate(synthetic.commands(50_000, seed=6)):
        book.apply(command)
        if number % 1_000 == 999:
            book.check_invariants()
            sizes.append(len(book.live))
    assert min(sizes) >= 5
    assert max(sizes) <= 200
