"""Exercise 11."""

import os
import subprocess
import sys

from exercises import exercise

route = exercise("ex_11_route").route


def new(order_id, symbol):
    return {"command": "new", "order_id": order_id, "symbol": symbol}


def test_a_symbol_has_one_partition():
    owner = {}
    assert route(new(1, "ABC"), 4, owner) == route(new(2, "ABC"), 4, owner)


def test_symbols_are_spread():
    found = {route(new(n, f"S{n}"), 4, {})[0] for n in range(100)}
    assert found == {0, 1, 2, 3}


def test_a_cancel_goes_where_its_order_is():
    owner = {}
    for n in range(1, 30):
        where = route(new(n, f"S{n}"), 4, owner)
        assert route({"command": "cancel", "order_id": n}, 4, owner) == where


def test_an_unknown_order_goes_to_the_first():
    assert route({"command": "cancel", "order_id": 9}, 4, {}) == [0]


def test_a_mass_cancel_without_a_symbol_goes_to_all():
    assert route({"command": "mass_cancel", "symbol": None}, 3, {}) == [0, 1, 2]
    assert len(route({"command": "mass_cancel", "symbol": "ABC"}, 3, {})) == 1


def test_an_id_that_is_used_again_goes_where_it_will_be_refused():
    owner = {}
    symbols = [f"S{n}" for n in range(20)]
    where = route(new(1, symbols[0]), 4, owner)
    assert all(route(new(1, symbol), 4, owner) == where for symbol in symbols)


def test_every_process_answers_the_same():
    program = (
        "from exercises import exercise; route = exercise('ex_11_route').route\n"
        "print([route({'command': 'new', 'order_id': n, 'symbol': f'S{n}'}, 4, {})"
        " for n in range(20)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(answers) == 1
