"""The edge: what is malformed, said by field; and what reads the same as JSON and as Python."""

from typing import Any

import pytest

from v2_event_driven_engine import (
    CancelOrder,
    ListInstrument,
    MassCancel,
    NewOrder,
    OrderType,
    ReduceOrder,
    ReplaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from v2_event_driven_engine.engine.validation import validate
from v2_event_driven_engine.errors import MalformedCommand
from v2_event_driven_engine.ndjson import BookQuery, OrderQuery, StateQuery, parse

GOOD: dict[str, Any] = {
    "order_id": 1,
    "participant": 7,
    "symbol": "AAPL",
    "side": Side.BUY,
    "type": OrderType.LIMIT,
    "price": 100,
    "quantity": 5,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_id", 0), ("order_id", 2**63), ("order_id", True), ("order_id", "1"),
        ("participant", 0), ("participant", 2**32), ("participant", None),
        ("symbol", "aapl"), ("symbol", ""), ("symbol", "A" * 17), ("symbol", "A\n"), ("symbol", 7),
        ("side", 1), ("side", "BUY"), ("type", 1), ("type", None),
        ("price", None), ("price", 2**63), ("price", -(2**63) - 1), ("price", 1.0),
        ("quantity", None), ("quantity", 2**63),
        ("time_in_force", "GTC"), ("time_in_force", 1), ("post_only", 1), ("post_only", None),
        ("self_trade_prevention", "NONE"), ("self_trade_prevention", None),
    ],
)  # fmt: skip
def test_a_new_order_with_a_bad_field_is_malformed_by_that_name(field: str, value: object) -> None:
    validate(NewOrder(**GOOD))
    with pytest.raises(MalformedCommand, match=rf"^{field}: ") as caught:
        validate(NewOrder(**{**GOOD, field: value}))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "command"),
    [
        ("order_id", CancelOrder(0, 1)), ("participant", CancelOrder(1, 0)),
        ("by", ReduceOrder(1, 1, 2**63)), ("order_id", ReduceOrder(-1, 1, 1)),
        ("price", ReplaceOrder(1, 1)), ("price", ReplaceOrder(1, 1, 2**63, 1)),
        ("quantity", ReplaceOrder(1, 1, 1, 2**63)),
        ("participant", MassCancel(0, None)), ("symbol", MassCancel(1, "a")),
        ("symbol", ListInstrument("a", "1", "1")), ("tick_size", ListInstrument("A", 1, "1")),  # type: ignore[arg-type]
        ("lot_size", ListInstrument("A", "1", "\ud800")), ("command", "new"),
    ],
)  # fmt: skip
def test_other_commands_with_a_bad_field_are_malformed_by_that_name(
    field: str, command: Any
) -> None:
    with pytest.raises(MalformedCommand, match=rf"^{field}: "):
        validate(command)


def test_values_that_the_rules_refuse_are_well_formed() -> None:
    for command in (
        NewOrder(**{**GOOD, "price": -(2**63), "quantity": 0}),
        NewOrder(**{**GOOD, "type": OrderType.MARKET, "time_in_force": TimeInForce.GTC}),
        ReduceOrder(1, 1, -(2**63)),
        ReplaceOrder(1, 1, None, -1),
        MassCancel(1, None),
        ListInstrument("A", "no number", ""),
    ):
        validate(command)


def test_every_command_reads_the_same_as_json() -> None:
    for line, command in {
        b'{"command":"new","order_id":1,"participant":7,"symbol":"AAPL","side":"BUY",'
        b'"type":"LIMIT","price":100,"quantity":5}': NewOrder(**GOOD),
        b'{"command":"new","order_id":1,"participant":7,"symbol":"AAPL","side":"BUY",'
        b'"type":"LIMIT","price":100,"quantity":5,"time_in_force":"FOK","post_only":true,'
        b'"self_trade_prevention":"CANCEL_BOTH"}': NewOrder(
            **GOOD,
            time_in_force=TimeInForce.FOK,
            post_only=True,
            self_trade_prevention=SelfTradePrevention.CANCEL_BOTH,
        ),
        b'{"command":"cancel","order_id":1,"participant":7}': CancelOrder(1, 7),
        b'{"command":"reduce","order_id":1,"participant":7,"by":2}': ReduceOrder(1, 7, 2),
        b'{"command":"replace","order_id":1,"participant":7,"quantity":2}': ReplaceOrder(
            1, 7, None, 2
        ),
        b'{"command":"mass_cancel","participant":7,"symbol":null}': MassCancel(7, None),
        b'{"command":"list_instrument","symbol":"A","tick_size":"1","lot_size":"2"}': (
            ListInstrument("A", "1", "2")
        ),
        b'{"query":"state"}': StateQuery(),
        b'{"query":"order","order_id":9}': OrderQuery(9),
        b'{"query":"book","symbol":"A"}': BookQuery("A", 10),
        b'{"query":"book","symbol":"A","depth":3}': BookQuery("A", 3),
        b'{"command":"cancel","order_id":"x","order_id":1,"participant":7}': CancelOrder(1, 7),
    }.items():
        assert parse(line) == command


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("line", b"foo"), ("line", b"[1]"), ("line", b'"x"'), ("line", b"[" * 100_000),
        ("line", b'{"command":"cancel","order_id":' + b"[" * 100_000),
        ("command", b"{}"), ("command", b'{"command":"nothing"}'), ("command", b'{"command":7}'),
        ("query", b'{"query":"nothing"}'), ("query", b'{"command":"cancel","query":"state"}'),
        ("participant", b'{"command":"cancel","order_id":1}'),
        ("by", b'{"command":"cancel","order_id":1,"participant":1,"by":1}'),
        ("order_id", b'{"command":"cancel","order_id":1.0,"participant":1}'),
        ("order_id", b'{"command":"cancel","order_id":' + b"9" * 5000 + b',"participant":1}'),
        ("order_id", b'{"query":"order","order_id":0}'),
        ("depth", b'{"query":"book","symbol":"A","depth":0}'),
        ("symbol", b'{"query":"book","symbol":"a"}'),
        ("symbol", b'{"command":"mass_cancel","participant":1}'),
        ("line", b'{"command":"cancel","order_id":1,"participant":\xff}'),
    ],
)  # fmt: skip
def test_a_malformed_line_names_its_field_in_a_short_sentence(field: str, line: bytes) -> None:
    with pytest.raises(MalformedCommand) as caught:
        parse(line)
    assert caught.value.field == field
    assert len(str(caught.value)) < 200
