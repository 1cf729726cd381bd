"""What comes from outside: whatever it is, it is understood or refused by name."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2_event_driven_engine.cluster import protocol
from v2_event_driven_engine.cluster.protocol import (
    REQUEST_COMMANDS_MAX,
    SIZE_TEXT_MAX,
    AskDepth,
    AskOrder,
    AskSession,
    AskState,
    AskStatus,
    Submit,
    decode_reply,
    decode_request,
    encode,
    number_of,
)
from v2_event_driven_engine.errors import MalformedCommand
from v2_event_driven_engine.models.commands import (
    CancelOrder,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from v2_event_driven_engine.models.enums import OrderType, Side

ORDER = NewOrder(1, 1, "A", Side.BUY, OrderType.LIMIT, 5, 5)
CANCEL = CancelOrder(1, 1)

REQUESTS: list[protocol.Request] = [
    Submit(2**63 - 1, 2**63 - 1, [ORDER, CANCEL, ReduceOrder(1, 1, 1), MassCancel(1, None)]),
    Submit(1, 1, [ReplaceOrder(1, 1, 5), ListInstrument("A", "1", "0" * SIZE_TEXT_MAX)]),
    Submit(1, 1, [CANCEL] * REQUEST_COMMANDS_MAX),
    AskOrder(True, 0, 1),
    AskDepth(False, 5, "A", 1),
    AskState(True, 2**63 - 1),
    AskSession(True, 0, 1),
    AskStatus(),
]

REPLIES: list[protocol.Reply] = [
    protocol.Answered(1, 2, 3, msgspec.Raw(msgspec.msgpack.encode([[]]))),
    protocol.Busy(),
    protocol.Refused(1, "price", "expected a number"),
    protocol.WrongPartition(1, "A", 2),
    protocol.Forgotten(1),
    protocol.Told(1, 2, msgspec.Raw(msgspec.msgpack.encode(3))),
    protocol.Behind(1),
]


def test_every_request_is_read_as_it_was_written() -> None:
    assert {type(each) for each in REQUESTS} == set(protocol.Request.__args__)
    for request in REQUESTS:
        assert decode_request(encode(request)) == request


def test_every_reply_is_read_as_it_was_written() -> None:
    assert {type(each) for each in REPLIES} == set(protocol.Reply.__args__)
    for reply in REPLIES:
        assert encode(decode_reply(encode(reply))) == encode(reply)


@pytest.mark.parametrize(
    ("request_", "field", "problem"),
    [
        (Submit(0, 1, [CANCEL]), "client", "from 1 to 9223372036854775807"),
        (Submit(-1, 1, [CANCEL]), "client", "from 1 to"),
        (Submit(2**63, 1, [CANCEL]), "client", "from 1 to"),
        (Submit(1, 0, [CANCEL]), "number", "expected 1 or more"),
        (Submit(1, 2**63, [CANCEL]), "number", "expected 1 or more"),
        (Submit(1, 1, []), "commands", "expected 1 to 1024 of them"),
        (Submit(1, 1, [CANCEL] * 1025), "commands", "expected 1 to 1024 of them"),
        (Submit(1, 1, [CANCEL, CancelOrder(0, 1)]), "order_id", r"in commands\[1\]"),
        (Submit(1, 1, [CancelOrder(1, 0)]), "participant", r"in commands\[0\]"),
        (Submit(1, 1, [ReduceOrder(1, 1, 2**63)]), "by", "at most 64 bits"),
        (Submit(1, 1, [ReplaceOrder(1, 1)]), "price", "a new price, a new quantity"),
        (Submit(1, 1, [MassCancel(1, "a")]), "symbol", "1 to 16 characters"),
        (Submit(1, 1, [ListInstrument("A", "0" * (SIZE_TEXT_MAX + 1), "1")]), "tick_size",
         "at most 64 characters"),
        (Submit(1, 1, [ListInstrument("A", "1", "0" * (SIZE_TEXT_MAX + 1))]), "lot_size",
         "at most 64 characters"),
        (Submit(1, 1, [NewOrder(1, 1, "A" * 17, Side.BUY, OrderType.LIMIT, 5, 5)]), "symbol", "16"),
        (Submit(1, 1, [NewOrder(1, 1, "A", Side.BUY, OrderType.LIMIT)]), "price", "LIMIT"),
        (AskOrder(True, 0, 0), "order_id", "from 1 to"),
        (AskDepth(True, 0, "", 1), "symbol", "1 to 16"),
        (AskDepth(True, 0, "A", 0), "depth", "1 or more"),
    ],
)  # fmt: skip
def test_what_is_malformed_names_its_field(
    request_: protocol.Request, field: str, problem: str
) -> None:
    with pytest.raises(MalformedCommand, match=problem) as caught:
        decode_request(encode(request_))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"", "truncated"),
        (b"\xc1", "malformed"),
        (encode(1), "Expected `array`"),
        (encode((1,)), "Expected `array` of at least length"),
        (encode((99, 1, 1, [])), "Invalid value 99"),
        (encode((1, "1", 1, [])), "Expected `int`"),
        (encode((1, 1, 1.0, [])), "Expected `int`"),
        (encode((1, 1, 1, [(99,)])), "Invalid value 99"),
        (encode((1, 1, 1, [(2, 1, 1, "A", 9, 1)])), "Invalid enum value 9"),
        (encode((2, 1, 0, 1)), "Expected `bool`"),
        (encode((1, 1, 1, None)), "Expected `array`"),
    ],
)
def test_what_is_no_request_is_refused(message: bytes, problem: str) -> None:
    with pytest.raises(MalformedCommand, match=f"(?i)request: .*{problem}") as caught:
        decode_request(message)
    assert caught.value.field == "request"


def test_the_number_is_told_where_it_can_be_read() -> None:
    assert number_of(encode(Submit(1, 7, []))) == 7
    assert number_of(encode((1, 1, 7, "nonsense"))) == 7
    for message in (b"", b"\xc1", encode((1, 1, "7", [])), encode(7), encode((1, 1, 7))):
        assert number_of(message) == 0


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)  # fmt: skip
shaped = st.tuples(st.integers(0, 25), *[anything] * 3).map(encode)


@settings(deadline=None)
@given(st.binary(max_size=60) | anything.map(encode) | shaped)
def test_nothing_else_is_ever_raised(data: bytes) -> None:
    field, problem = "", ""
    try:
        assert isinstance(decode_request(data), protocol.Request)
    except MalformedCommand as error:
        field, problem = error.field, str(error)
    assert problem.startswith(f"{field}: ") or not problem
    encode(protocol.Refused(number_of(data), field, problem))
    problem = ""
    try:
        assert isinstance(decode_reply(data), protocol.Reply)
    except ValueError as error:
        problem = str(error)
    assert not problem or "not a reply" in problem
