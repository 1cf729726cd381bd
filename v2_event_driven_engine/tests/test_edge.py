"""The edge: what is malformed, said by field; and what reads the same as JSON and as Python."""

import json
import random
from collections.abc import Iterator
from enum import Enum
from itertools import product
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from v2_event_driven_engine import (
    CancelOrder,
    Command,
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
from v2_event_driven_engine.cli.ndjson import (
    BLANKS,
    LONGEST_LINE_BYTES,
    BookQuery,
    Malformed,
    OrderQuery,
    StateQuery,
    encode_events,
    parse,
    parse_lines,
)
from v2_event_driven_engine.cli.session import LineSplitter, Session
from v2_event_driven_engine.engine.events import EVENT_NAMES, AnyEvent
from v2_event_driven_engine.engine.market.validation import validate
from v2_event_driven_engine.engine.receipt import Receipt
from v2_event_driven_engine.errors import EngineStopped, MalformedCommand

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
        ("tick_size", ListInstrument("A", "1" * 65_537, "1")),
        ("lot_size", ListInstrument("A", "1" * 65_536, "1" * 65_537)),
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
        ("tick_size", rb'{"command":"list_instrument","symbol":"A","tick_size":"\ud800"}'),
        ("symbol", rb'{"command":"mass_cancel","participant":1,"symbol":"A\udfff"}'),
        ("side", rb'{"command":"new","order_id":1,"side":"\ud800"}'),
        ("line", rb'{"command":"cancel","\ud800":"\ud800"}'),
        ("line", b'{"command":"cancel","order_id":1,"participant":\xff}'),
    ],
)  # fmt: skip
def test_a_malformed_line_names_its_field_in_a_short_sentence(field: str, line: bytes) -> None:
    with pytest.raises(MalformedCommand) as caught:
        parse(line)
    assert caught.value.field == field
    assert len(str(caught.value)) < 200


# -- Many lines at once -----------------------------------------------------------------------

CANCEL = b'{"command":"cancel","order_id":1,"participant":7}'
NEW = (
    b'{"command":"new","order_id":1,"participant":7,"symbol":"AAPL","side":"BUY","type":"LIMIT",'
    b'"price":100,"quantity":5}'
)
LINES = [
    CANCEL,
    NEW,
    b'{"command":"reduce","order_id":1,"participant":7,"by":2}',
    b'{"query":"state"}',
    b"",
    b" \t\r",
    b"{}",
    CANCEL + CANCEL,
    CANCEL + b" " + CANCEL,
    b" " + CANCEL + b"\r",
    CANCEL[:20],
    CANCEL[20:],
    CANCEL + b",",
    NEW.replace(b',"price":100', b""),
    NEW.replace(b"AAPL", b"aapl"),
    NEW.replace(b"AAPL", b"A" * 17),
    NEW.replace(b'"LIMIT"', b'"MARKET"').replace(b"100", b"null"),
    NEW.replace(b":5}", b':9223372036854775808,"post_only":null,"time_in_force":null}'),
    NEW.replace(b":5}", b':5,"post_only":null,"time_in_force":null}'),
    b'{"command":"replace","order_id":1,"participant":7}',
    b'{"command":"list_instrument","symbol":"A","tick_size":"}","lot_size":"\\n"}',
    CANCEL.replace(b":1,", b":" + b" " * LONGEST_LINE_BYTES + b"1,"),
    b" " * (LONGEST_LINE_BYTES - len(CANCEL)) + CANCEL,
    b"\xff",
]


def alone(line: bytes, number: int) -> Any:
    if len(line) > LONGEST_LINE_BYTES:
        return Malformed(number, "line: longer than 65,536 bytes")
    try:
        return parse(line.strip(BLANKS)) if line.strip(BLANKS) else None
    except MalformedCommand as error:
        return Malformed(number, str(error))


def one_by_one(lines: list[bytes]) -> Iterator[Any]:
    """What a reader that knows one line at a time finds, runs of commands taken together."""
    run: list[Command] = []
    for number, line in enumerate(lines, 11):
        found = alone(line, number)
        if isinstance(found, Command):
            run.append(found)
        elif found is not None:
            if run:
                yield run
            run = []
            yield found
    if run:
        yield run


def test_many_lines_are_read_as_each_of_them_is() -> None:
    choose = random.Random(1)
    for lines in [*product(LINES, LINES), *(choose.choices(LINES, k=9) for _ in range(500))]:
        assert list(parse_lines(lines, 11)) == list(one_by_one([*lines])), lines


def test_lines_may_come_in_any_pieces() -> None:
    lines = [b"", b"abc", b"", b"d" * 9, b"\r", b"end"]
    text = b"\n".join(lines)
    for size in range(1, len(text) + 1):
        splitter = LineSplitter()
        pieces = [splitter.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert [line for piece in pieces for line in piece] + splitter.end() == lines
        assert splitter.end() == []


def test_a_line_that_is_too_long_comes_out_too_long_and_is_not_kept() -> None:
    splitter = LineSplitter()
    for _ in range(1000):
        assert splitter.feed(b"x" * 10_000) == []
    line, after = splitter.feed(b"y\nabc\nz")
    assert LONGEST_LINE_BYTES < len(line) < 2 * LONGEST_LINE_BYTES
    assert after == b"abc"
    assert splitter.end() == [b"z"]


class Promises:
    """An engine whose answers to the lines of a stream come later."""

    def __init__(self) -> None:
        self.receipts: list[Receipt[Any]] = []

    def submit_checked(self, commands: list[Command]) -> Receipt[Any]:
        self.receipts += [Receipt()]
        return self.receipts[-1]

    def wait_for_room(self) -> None:
        pass


@pytest.mark.parametrize("failure", [EngineStopped("it stopped"), KeyboardInterrupt()])
def test_the_answers_of_a_stream_end_before_the_one_that_fails(failure: BaseException) -> None:
    """All before it are written, and none behind it, however often the rest is waited for."""
    engine = Promises()
    written: list[bytes] = []
    session = Session(engine, lambda _: engine.submit_checked([]), written.append)
    session.feed([b'{"query":"state"}'] * 2 + [b"malformed"] + [b'{"query":"state"}'] * 2)
    first, second, third, fourth = engine.receipts
    first.answer, second.answer, fourth.answer = b"1\n", b"2\n", b"5\n"
    third.fail(failure)
    with pytest.raises(type(failure)):
        session.settle()
    session.settle()
    one, two, malformed, end = b"".join(written).split(b"\n")
    assert (one, two, end) == (b"1", b"2", b"")
    assert json.loads(malformed)["line"] == 3


# -- Events -----------------------------------------------------------------------------------

TEXTS = ["AAPL", 'quote " backslash \\ slash /', "line\nfeed \x7f \x01", "Ä €", ""]


def values_of(kind: Any) -> list[Any]:
    """Values of a field's type, the usual one first."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)
    if kind is bool:
        return [False, True]
    if kind is int:
        return [1, 0, -1, 2**63 - 1, -(2**63)]
    if kind is str:
        return TEXTS
    return [value for each in get_args(kind) for value in values_of(each)] or [None]


def examples_of(kind: type[Any]) -> Iterator[AnyEvent]:
    """Events of one kind that together have every value in every field."""
    values = [values_of(field) for field in get_type_hints(kind).values()]
    for number in range(max(map(len, values))):
        yield kind(*(each[number % len(each)] for each in values))


@pytest.mark.parametrize("kind", get_args(AnyEvent))
def test_every_event_is_written_with_its_name_and_its_fields(kind: type[Any]) -> None:
    for event in examples_of(kind):
        plain = {
            field: value.name if isinstance(value, Enum) else value
            for field, value in msgspec.structs.asdict(event).items()
        }
        expected = {"event": EVENT_NAMES[kind], **plain}
        line = encode_events([[event]])
        assert line == msgspec.json.encode(expected) + b"\n"
        assert list(json.loads(line).items()) == list(expected.items())


def test_the_events_of_many_commands_are_written_in_their_order() -> None:
    answers = [list(examples_of(kind)) for kind in get_args(AnyEvent)]
    single = [encode_events([[event]]) for events in answers for event in events]
    assert encode_events(answers) == b"".join(single)
    assert encode_events([[], []]) == b""
