"""The two judges, on histories of the market that are made by hand.

A history is written as `(client, request, invoked, returned)`, in the order in which the reference
engine answers it; then a test tampers with an answer, a number or a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ..engines.engine import encode
from ..engines.examples import order
from ..reference.input import parse_line
from ..reference.reference import Reference
from ..reference.stream import answer_query
from .histories import Call, Failed
from .judges import black_box_objection, witness_objection
from .linearizability import Operation
from .plays import LIST, Request

BOOK = {"query": "book", "symbol": "ABC"}
STATE = {"query": "state"}
CANCEL_1 = {"command": "cancel", "order_id": 1, "participant": 1}

Asked = tuple[Request, int, int]


def answered(*asked: Asked) -> list[Call]:
    """Let the reference answer requests in the order given, each with invocation and return."""
    engine = Reference()
    history: list[Call] = []
    for client, (request, invoked, returned) in enumerate(asked):
        if "query" in request:
            answer: Any = answer_query(engine, parse_line(encode(request)))
        else:
            answer = [dict(event) for event in engine.execute(request)]
        history.append(Operation(client, request, answer, invoked, returned))
    return history


def order_query(order_id: int) -> Request:
    return {"query": "order", "order_id": order_id}


def with_answer(history: Sequence[Call], number: int, **fields: object) -> list[Call]:
    """The history with other fields in one answer: in the last event, for a command."""
    call = history[number]
    answer: Any = call.answer
    tampered = {**answer, **fields} if isinstance(answer, dict) else [*answer]
    if isinstance(tampered, list):
        tampered[-1] = {**tampered[-1], **fields}
    return [*history[:number], replace(call, answer=tampered), *history[number + 1 :]]


def without_own_sequence(history: Sequence[Call], number: int) -> list[Call]:
    """The history with a read that does not say of which moment it is."""
    call = history[number]
    assert isinstance(call.answer, dict)
    answer = {name: call.answer[name] for name in call.answer if name != "sequence"}
    return [*history[:number], replace(call, answer=answer), *history[number + 1 :]]


def assert_accepted(history: Sequence[Call]) -> None:
    assert witness_objection(history) is None
    assert black_box_objection(history) is None


def assert_refused(history: Sequence[Call], complaint: str) -> None:
    objection = witness_objection(history)
    assert objection is not None
    assert complaint in objection
    assert black_box_objection(history) is not None


def test_one_request_after_the_other_is_accepted() -> None:
    assert_accepted(
        answered((LIST, 0, 1), (order(1), 2, 3), (BOOK, 4, 5), (CANCEL_1, 6, 7), (STATE, 8, 9))
    )


def test_orders_that_overlap_may_come_in_either_order() -> None:
    first, second = order(1), order(2, side="SELL")
    assert_accepted(answered((LIST, 0, 1), (first, 2, 5), (second, 3, 4)))
    assert_accepted(answered((LIST, 0, 1), (second, 3, 4), (first, 2, 5)))


def test_an_order_that_is_matched_against_one_that_came_later_is_refused() -> None:
    """The second had not begun when the first had its answer, yet it was done first."""
    history = answered((LIST, 0, 1), (order(2, side="SELL"), 4, 5), (order(1), 2, 3))
    assert_refused(history, "sequence 3 had returned before a lower one was invoked")


def test_numbers_may_be_wrong_where_no_answer_is_and_only_the_witness_knows() -> None:
    history = answered((LIST, 0, 1), (order(2), 4, 5), (order(1), 2, 3))
    objection = witness_objection(history)
    assert objection == "sequence 3 had returned before a lower one was invoked"
    assert black_box_objection(history) is None


def test_a_sequence_given_twice_is_refused_by_the_witness() -> None:
    history = answered((LIST, 0, 1), (order(1), 2, 5), (order(2), 3, 4))
    objection = witness_objection(with_answer(history, 2, sequence=2))
    assert objection == "sequence 3 is missing, or was given twice"


def test_a_cancel_that_two_clients_win_is_refused() -> None:
    history = answered((LIST, 0, 1), (order(1), 2, 3), (CANCEL_1, 4, 7), (CANCEL_1, 5, 6))
    assert_accepted(history)
    won, lost = history[2], history[3]
    assert isinstance(won.answer, list)
    also_won = replace(lost, answer=[{**won.answer[0], "sequence": 4}])
    assert_refused([*history[:3], also_won], "sequence 4: ")


def test_a_lost_update_is_refused() -> None:
    """Two clients reduce an order of 5 lots by 1, and both answers say that 4 are left."""
    reduce = {"command": "reduce", "order_id": 1, "participant": 1, "by": 1}
    history = answered((LIST, 0, 1), (order(1), 2, 3), (reduce, 4, 7), (reduce, 5, 6))
    assert_accepted(history)
    assert_refused(with_answer(history, 3, remaining=4), "sequence 4: ")


def test_a_wrong_trade_id_is_refused() -> None:
    history = answered((LIST, 0, 1), (order(1), 2, 3), (order(2, side="SELL"), 4, 5))
    assert_accepted(history)
    assert_refused(with_answer(history, 2, trade_id=2), "sequence 3: ")


@pytest.mark.parametrize("own_sequence", [True, False])
@pytest.mark.parametrize("request_", [BOOK, STATE, order_query(1)], ids=["book", "state", "order"])
def test_a_read_during_an_order_may_or_may_not_see_it(
    request_: Request, own_sequence: bool
) -> None:
    """And a read that began when the order had its answer must see it."""
    during: Asked = (request_, 3, 4)
    before = answered((LIST, 0, 1), during, (order(1), 2, 5))
    after = answered((LIST, 0, 1), (order(1), 2, 5), during)
    stale = answered((LIST, 0, 1), (request_, 6, 7), (order(1), 2, 5))
    early = answered((LIST, 0, 1), (order(1), 5, 6), (request_, 2, 3))
    if not own_sequence:
        before, stale = without_own_sequence(before, 1), without_own_sequence(stale, 1)
        after, early = without_own_sequence(after, 2), without_own_sequence(early, 2)
    assert_accepted(before)
    assert_accepted(after)
    assert_refused(stale, "no state that")
    assert_refused(early, "no state that")


def test_a_read_may_not_show_an_older_state_than_an_earlier_read() -> None:
    """Each alone is fine while the order is under way; but the new state, then the old one?"""
    engine = answered((LIST, 0, 1), (order_query(1), 5, 6), (order(1), 2, 7), (BOOK, 3, 4))
    history = without_own_sequence(without_own_sequence(engine, 1), 3)
    for left_out in (1, 3):
        assert_accepted([call for number, call in enumerate(history) if number != left_out])
    assert_refused(history, "shows an older state than an earlier read")


def test_a_read_that_lies_about_its_sequence_is_refused_by_the_witness() -> None:
    history = answered((LIST, 0, 1), (order(1), 2, 5), (BOOK, 3, 4))
    objection = witness_objection(with_answer(history, 2, sequence=1))
    assert objection is not None
    assert "no state that" in objection


def test_a_torn_read_is_refused() -> None:
    """A book that is caught between the two halves of a replace shows no state that ever was."""
    move = {"command": "replace", "order_id": 1, "participant": 1, "price": 101, "quantity": 5}
    history = answered((LIST, 0, 1), (order(1), 2, 3), (move, 4, 7), (BOOK, 5, 6))
    history = without_own_sequence(history, 3)
    assert_accepted(history)
    assert_refused(with_answer(history, 3, bids=[]), "no state that")
    both = [[101, 5, 1], [100, 5, 1]]
    assert_refused(with_answer(history, 3, bids=both), "no state that")


def test_a_call_that_raised_is_refused() -> None:
    history = answered((LIST, 0, 1), (order(1), 2, 3))
    history[1] = replace(history[1], answer=Failed("ValueError: oh"))
    assert_refused(history, "raised ValueError: oh")
