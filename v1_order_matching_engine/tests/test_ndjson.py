"""The NDJSON reader is strict, names the field and stays short; the writer follows the rulebook."""

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ..engine.events import OrderAccepted, TradeExecuted
from ..engine.matching_engine import MatchingEngine
from ..engine.views import Level
from ..errors import MalformedLine
from ..models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from ..models.enums import OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from ..utils import ndjson
from ..utils.ndjson import (
    Answer,
    BookAnswer,
    BookQuery,
    Malformed,
    OrderAnswer,
    OrderQuery,
    Query,
    StateAnswer,
    StateQuery,
    encode_lines,
    is_blank,
    parse,
)

NEW: dict[str, Any] = {
    "command": "new",
    "order_id": 1,
    "participant": 7,
    "symbol": "ACME",
    "side": "BUY",
    "type": "LIMIT",
    "price": 100,
    "quantity": 5,
}
CANCEL = '{"command":"cancel","order_id":%s,"participant":7}'


def line(**changes: Any) -> bytes:
    return json.dumps({**NEW, **changes}).encode()


def error_of(text: bytes | str) -> str:
    with pytest.raises(MalformedLine) as caught:
        parse(text if isinstance(text, bytes) else text.encode())
    message = str(caught.value)
    assert len(message) <= 200
    assert message.isascii()
    assert message.isprintable()
    return message


def field_of(text: bytes | str) -> str:
    return error_of(text).partition(":")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"command":"list_instrument","symbol":"A","tick_size":"0.01","lot_size":"x"}',
            ListInstrument("A", "0.01", "x"),
        ),
        (CANCEL % 1, CancelOrder(1, 7)),
        ('{"command":"reduce","order_id":1,"participant":7,"by":-5}', ReduceOrder(1, 7, -5)),
        (
            '{"command":"replace","order_id":1,"participant":7,"price":0,"quantity":null}',
            ReplaceOrder(1, 7, 0, None),
        ),
        ('{"command":"mass_cancel","participant":7,"symbol":null}', MassCancel(7, None)),
        ('{"command":"mass_cancel","participant":7,"symbol":"A.B-C/9"}', MassCancel(7, "A.B-C/9")),
        ('{"query":"state"}', StateQuery()),
        ('{"query":"order","order_id":9223372036854775807}', OrderQuery(2**63 - 1)),
        ('{"query":"book","symbol":"A"}', BookQuery("A", 10)),
        ('{"query":"book","symbol":"A","depth":null}', BookQuery("A", 10)),
        ('{"query":"book","symbol":"A","depth":3}', BookQuery("A", 3)),
    ],
)
def test_every_kind_of_line_is_read(text: str, message: object) -> None:
    assert parse(text.encode()) == message
    assert parse(f" \t{text}\t \r\n".encode()) == message


def test_a_new_order_is_read_with_all_its_fields() -> None:
    assert parse(
        line(time_in_force="FOK", post_only=True, self_trade_prevention="CANCEL_BOTH")
    ) == NewOrder(
        order_id=1,
        participant=7,
        symbol="ACME",
        side=Side.BUY,
        type=OrderType.LIMIT,
        price=100,
        quantity=5,
        time_in_force=TimeInForce.FOK,
        post_only=True,
        self_trade_prevention=SelfTradePrevention.CANCEL_BOTH,
    )


@pytest.mark.parametrize("field", ["time_in_force", "post_only", "self_trade_prevention"])
def test_null_is_the_same_as_leaving_an_optional_field_out(field: str) -> None:
    assert parse(line(**{field: None})) == parse(line())


@pytest.mark.parametrize("price", [0, -1, -(2**63), 2**63 - 1])
def test_a_price_that_makes_no_sense_is_for_the_engine_to_refuse(price: int) -> None:
    command = parse(line(price=price))
    assert isinstance(command, NewOrder)
    assert command.price == price


def test_a_market_order_with_a_price_is_for_the_engine_to_refuse() -> None:
    command = parse(line(type="MARKET"))
    assert isinstance(command, NewOrder)
    assert command.price == 100


@pytest.mark.parametrize(
    "number",
    [
        "1.0",
        "1e2",
        "1E400",
        "true",
        '"1"',
        "[1]",
        "{}",
        "NaN",
        "Infinity",
        "-Infinity",
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 5_000,
        "-" + "9" * 300_000,
    ],
)
@pytest.mark.parametrize("field", ["order_id", "participant", "price", "quantity"])
def test_what_is_no_integer_of_64_bits_is_refused_and_its_field_named(
    field: str, number: str
) -> None:
    text = line(**{field: 4321}).decode().replace("4321", number)
    assert field_of(text) == field


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (CANCEL % 0, "order_id"),
        (CANCEL % -1, "order_id"),
        (CANCEL % "null", "order_id"),
        (line(participant=0), "participant"),
        (line(participant=2**32), "participant"),
        (line(symbol=""), "symbol"),
        (line(symbol="A" * 17), "symbol"),
        (line(symbol="acme"), "symbol"),
        (line(symbol="ACME\n"), "symbol"),
        (line(symbol="\uff21"), "symbol"),
        (line(side="buy"), "side"),
        (line(side=None), "side"),
        (line(side=["BUY"]), "side"),
        (line(type="STOP"), "type"),
        (line(time_in_force="DAY"), "time_in_force"),
        (line(self_trade_prevention=True), "self_trade_prevention"),
        (line(post_only=1), "post_only"),
        (line(post_only="true"), "post_only"),
        (line(price=None), "price"),
        (line(quantity=None), "quantity"),
        (line(colour="red"), "colour"),
        (line(colour=None), "colour"),
        (line(command="sell"), "command"),
        (line(command=None), "command"),
        (line(command=["new"]), "command"),
        (line(query="state"), "query"),
        (line(query=None), "query"),
        ("{}", "command"),
        ('{"query":"stats"}', "query"),
        ('{"query":"state","depth":1}', "depth"),
        ('{"query":"order"}', "order_id"),
        ('{"query":"order","order_id":0}', "order_id"),
        ('{"query":"book","symbol":"a"}', "symbol"),
        ('{"query":"book","symbol":"A","depth":0}', "depth"),
        ('{"query":"book","symbol":"A","depth":1.0}', "depth"),
        ('{"command":"replace","order_id":1,"participant":7}', "price"),
        ('{"command":"replace","order_id":1,"participant":7,"price":null}', "price"),
        ('{"command":"mass_cancel","participant":7}', "symbol"),
        ('{"command":"list_instrument","symbol":"A","tick_size":1,"lot_size":"1"}', "tick_size"),
        ('{"command":"list_instrument","symbol":"A","tick_size":"1"}', "lot_size"),
    ],
)
def test_a_malformed_field_is_named(text: bytes | str, field: str) -> None:
    assert field_of(text) == field


@pytest.mark.parametrize(
    "text",
    [
        b"not json",
        b"[]",
        b"null",
        b"17",
        b'"new"',
        b"{",
        b'{"query":"state"} {}',
        b'{"query":"state",}',
        b'{"query":"st\x00ate"}',
        b'{"query":"state"}\x0c',
        b'\xc2\xa0{"query":"state"}',
        b'\xef\xbb\xbf{"query":"state"}',
        b'{"query":"\xff"}',
        b'{"query":"\xed\xa0\x80"}',
        '{"query":"state"}'.encode("utf-16"),
        b"[" * 200_000,
        b'{"command":' * 200_000,
        (CANCEL % "01").encode(),
        (CANCEL % "+1").encode(),
        (CANCEL % "0x1").encode(),
        (CANCEL % '1,"order_id":NaN,"order_id":1').encode(),
    ],
)
def test_what_is_no_json_object_is_refused_as_a_line(text: bytes) -> None:
    assert field_of(text) == "line"


LISTING = r'{"command":"list_instrument","symbol":"A","tick_size":"%s","lot_size":"1"}'


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00", r"\uDC00\uD800", r"x\\\ud83d"])
def test_half_a_surrogate_pair_is_refused_because_utf_8_cannot_hold_it(half: str) -> None:
    assert field_of(LISTING % half) == "tick_size"
    assert field_of((LISTING % "1").replace('"lot_size":"1"', f'"lot_size":"{half}"')) == "lot_size"
    assert field_of((LISTING % "1").replace('"symbol":"A"', f'"symbol":"{half}"')) == "symbol"


@pytest.mark.parametrize(
    ("whole", "text"),
    [(r"\ud83d\ude00", "\U0001f600"), (r"\\ud800", r"\ud800"), (r"\u0031", "1"), (r"\n", "\n")],
)
def test_every_other_escape_is_text(whole: str, text: str) -> None:
    assert parse((LISTING % whole).encode()) == ListInstrument("A", text, "1")


def test_half_a_pair_is_refused_even_where_a_second_key_hides_it() -> None:
    assert field_of(LISTING % r"\ud800\",\"tick_size\":\"1".replace(r"\"", '"')) == "line"


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert parse((CANCEL % '"x","order_id":1').encode()) == CancelOrder(1, 7)
    assert field_of(CANCEL % '1,"order_id":"x"') == "order_id"


@pytest.mark.parametrize(
    "text",
    [
        line(symbol="\U0001f600" * 500_000),
        line(**{"\U0001f600" * 500_000: 1}),
        line(command="x" * 1_000_000),
        line(price=["x"] * 300_000),
        b"x" * 1_000_000,
    ],
)
def test_an_error_is_short_however_long_the_line(text: bytes) -> None:
    error_of(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60))
@example(b'{"query":"state"}')  # random bytes may well be a request: Hypothesis knows our literals
def test_no_bytes_whatever_raise_anything_else(text: bytes) -> None:
    try:
        request = parse(text)
    except MalformedLine as error:
        assert len(str(error)) <= 200  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(request, get_args(Command) + get_args(Query))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*NEW, "post_only", "x"]), json_values))
def test_any_values_in_any_fields_give_a_command_or_a_short_error(changes: dict[str, Any]) -> None:
    text = line(**changes)
    try:
        command = parse(text)
    except MalformedLine as error:
        assert len(str(error)) <= 200  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(command, NewOrder)


# --- two readers ---------------------------------------------------------------------------------

PLAIN = [
    line(time_in_force="GTC", post_only=True, self_trade_prevention="CANCEL_MAKER"),
    line(type="MARKET", price=None, time_in_force=None),
    b'{"command":"list_instrument","symbol":"A","tick_size":"0.01","lot_size":"1"}',
    b'{"command":"cancel","order_id":1,"participant":7}',
    b'{"command":"reduce","order_id":1,"participant":7,"by":2}',
    b'{"command":"replace","order_id":1,"participant":7,"price":9,"quantity":null}',
    b'{"command":"mass_cancel","participant":7,"symbol":null}',
    b'{"query":"state"}',
    b'{"query":"order","order_id":1}',
    b'{"query":"book","symbol":"A","depth":5}',
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_line_never_comes_to_the_careful_reader(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ndjson._parse_carefully(text)
    monkeypatch.setattr(ndjson, "_parse_carefully", None)
    assert parse(text) == expected
    assert parse(b" " + text.replace(b":", b": ") + b"\r\n") == expected


odd_values = st.sampled_from(
    [
        *(
            "null",
            "true",
            "0",
            "-0",
            "1",
            "01",
            "1.0",
            "1e2",
            "NaN",
            "Infinity",
            "[]",
            "{}",
            "[NaN]",
        ),
        *(str(2**32), str(2**63 - 1), str(2**63), str(2**64), str(-(2**63) - 1), "9" * 5_000),
        *('""', '"A"', '"a"', '"A\\n"', '"\\u0041"', '"\\ud800"', '"\\ud83d\\ude00"', '"\t"'),
        *('"BUY"', '"MARKET"', '"IOC"', '"NONE"', '"1"', '"new"', '"cancel"', '"query"', '"state"'),
    ]
)
odd_bytes = st.sampled_from(
    [b"", b" ", b",", b"}", b'"', b"\n", b"\x00", b"\x0c", b"\xff", b"\xed\xa0\x80", b"\\u0065"]
)


@st.composite
def altered_lines(draw: st.DrawFn) -> bytes:
    """A plain line with fields put in (again), then perhaps with some of its bytes replaced."""
    plain = draw(st.sampled_from(PLAIN))
    pairs = [plain[1:-1]]
    for _ in range(draw(st.integers(0, 3))):
        names = [*json.loads(draw(st.sampled_from(PLAIN))), "x"]
        pair = f'"{draw(st.sampled_from(names))}":{draw(odd_values)}'.encode()
        pairs.insert(draw(st.integers(0, len(pairs))), pair)
    text = b"{" + b",".join(pairs) + b"}"
    start = draw(st.integers(0, len(text)))
    end = start + draw(st.integers(0, 3))
    return text[:start] + draw(odd_bytes) + text[end:] if draw(st.booleans()) else text


def reading(read: Callable[[bytes], Command | Query], text: bytes) -> str:
    """What a reader says about a line. As text, because in Python True equals 1."""
    try:
        return repr(read(text))
    except MalformedLine as error:
        return str(error)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=5 * settings().max_examples,
)
@given(altered_lines())
@example(b'{"command":"cancel","order_id":1,"participant":7,"participant":8}')
@example(b'{"command":"cancel","command":"reduce","order_id":1,"participant":7,"by":1}')
@example(b'{"command":"cancel","order_id":1,"participant":7,"x":1}')
@example(b'{"command":"cancel","order_id":1,"participant":7,"query":"state"}')
@example(b'{"query":"state","command":"query"}')
def test_both_readers_say_the_same_about_every_line(text: bytes) -> None:
    assert reading(parse, text) == reading(ndjson._parse_carefully, text)


@pytest.mark.parametrize("text", [b"", b" ", b"\t \r", b"\r\n"])
def test_lines_of_white_space_are_blank(text: bytes) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", [b"\x0c", b"\x0b", b"\xc2\xa0", b"\x00", b"{}"])
def test_other_lines_are_not_blank(text: bytes) -> None:
    assert not is_blank(text)


def test_events_are_written_with_exactly_the_fields_of_the_rulebook_in_its_order() -> None:
    accepted = OrderAccepted(
        5,
        0,
        99,
        1,
        7,
        "ACME",
        Side.SELL,
        OrderType.MARKET,
        None,
        5,
        TimeInForce.IOC,
        False,
        SelfTradePrevention.NONE,
    )
    trade = TradeExecuted(5, 1, 99, 3, "ACME", 100, 4, 11, 12, 7, 8, Side.BUY, 1, 0)
    assert encode_lines([accepted, trade]) == (
        b'{"event":"order_accepted","sequence":5,"index":0,"timestamp_ns":99,"order_id":1,'
        b'"participant":7,"symbol":"ACME","side":"SELL","type":"MARKET","price":null,"quantity":5,'
        b'"time_in_force":"IOC","post_only":false,"self_trade_prevention":"NONE"}\n'
        b'{"event":"trade_executed","sequence":5,"index":1,"timestamp_ns":99,"trade_id":3,'
        b'"symbol":"ACME","price":100,"quantity":4,"maker_order_id":11,"taker_order_id":12,'
        b'"maker_participant":7,"taker_participant":8,"taker_side":"BUY","maker_remaining":1,'
        b'"taker_remaining":0}\n'
    )


def test_answers_to_queries_are_written_as_the_rulebook_says() -> None:
    answers: list[Answer] = [
        StateAnswer(5, 2, "ab"),
        OrderAnswer(1, 5, OrderStatus.NEW, 4),
        BookAnswer("ACME", 5, (Level(99, 4, 1), Level(98, 1, 1)), ()),
        Malformed(7, "price: missing"),
    ]
    assert encode_lines(answers).splitlines() == [
        b'{"event":"state","sequence":5,"resting_orders":2,"state_hash":"ab"}',
        b'{"event":"order","order_id":1,"sequence":5,"status":"NEW","remaining":4}',
        b'{"event":"book","symbol":"ACME","sequence":5,"bids":[[99,4,1],[98,1,1]],"asks":[]}',
        b'{"event":"malformed","line":7,"error":"price: missing"}',
    ]


OWN_FIELDS = {
    "instrument_listed": "symbol tick_size lot_size",
    "instrument_rejected": "symbol reason",
    "order_rejected": "order_id participant reason",
    "order_canceled": "order_id participant remaining reason",
    "order_expired": "order_id participant remaining",
    "order_reduced": "order_id participant remaining",
    "order_replaced": "order_id participant price remaining",
    "mass_canceled": "participant symbol count",
    "cancel_rejected": "order_id participant request reason",
}


def test_every_other_event_has_its_fields_in_order_too() -> None:
    engine = MatchingEngine()
    events = [
        event
        for text in (
            LISTING % "1",
            LISTING % "1",
            line(),
            line(),
            line(order_id=2, symbol="A"),
            line(order_id=3, symbol="A", time_in_force="IOC"),
            '{"command":"reduce","order_id":2,"participant":7,"by":1}',
            '{"command":"replace","order_id":2,"participant":7,"price":7}',
            '{"command":"mass_cancel","participant":7,"symbol":null}',
            CANCEL % 2,
        )
        for event in engine.submit(parse(text if isinstance(text, bytes) else text.encode()))  # type: ignore[arg-type]
    ]
    written = [json.loads(text) for text in encode_lines(events).splitlines()]
    seen = {fields["event"]: list(fields) for fields in written}
    assert set(OWN_FIELDS) <= set(seen)
    for name, own in OWN_FIELDS.items():
        assert seen[name] == ["event", "sequence", "index", "timestamp_ns", *own.split()]
