"""A stream of lines at an engine: however the lines come, their answers are the same."""

from itertools import islice

import pytest

from ..engine.matching_engine import MatchingEngine
from ..utils.ndjson import Answer, encode_lines
from ..utils.session import Session

NEW = (
    b'{"command":"new","order_id":%d,"participant":%d,"symbol":"ACME","side":"%b","type":"LIMIT",'
    b'"price":100,"quantity":5}'
)
LINES = [
    b'{"query":"state"}',
    b'{"command":"list_instrument","symbol":"ACME","tick_size":"0.01","lot_size":"1"}',
    NEW % (1, 7, b"SELL"),
    b"",
    NEW % (2, 8, b"BUY"),
    b'{"query":"order","order_id":1}',
    b"nonsense",
    b'{"query":"order","order_id":3}',
    NEW % (3, 7, b"BUY"),
    NEW % (3, 7, b"BUY"),
    b'{"command":"new"}',
    b'{"command":"cancel","order_id":3,"participant":7}',
    b'{"query":"book","symbol":"ACME"}',
    b" " * 65_537,
    b'{"command":"mass_cancel","participant":7,"symbol":null}',
]


def test_answers_come_in_the_order_of_their_lines() -> None:
    answers = Session(MatchingEngine()).answer(LINES)
    assert [type(answer).__name__ for answer in answers] == [
        "StateAnswer",
        "InstrumentListed",
        "OrderAccepted",
        "OrderAccepted",
        "TradeExecuted",
        "OrderAnswer",
        "Malformed",
        "OrderAnswer",
        "OrderAccepted",
        "OrderRejected",
        "Malformed",
        "OrderCanceled",
        "BookAnswer",
        "Malformed",
        "MassCanceled",
    ]


@pytest.mark.parametrize("size", range(1, len(LINES)))
def test_lines_are_answered_in_the_same_way_however_many_come_at_once(size: int) -> None:
    together = Session(MatchingEngine(clock=lambda: 1_000))
    expected = together.answer(LINES)
    parts = Session(MatchingEngine(clock=lambda: 1_000))
    answers: list[Answer] = []
    lines = iter(LINES)
    while some := list(islice(lines, size)):
        answers += parts.answer(some)
    assert encode_lines(answers) == encode_lines(expected)
    for session in (parts, together):
        assert (session.lines, session.commands, session.events) == (15, 7, 8)
        assert session.malformed == 3


def test_commands_in_a_row_take_the_lock_once() -> None:
    engine = MatchingEngine()
    Session(engine).answer(LINES[1:5])
    assert engine.lock_statistics.acquisitions == 2, "one for the commands, one to ask"
