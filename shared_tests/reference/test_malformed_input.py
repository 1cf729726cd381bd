"""Which lines are refused: all readers must agree, say which field, and say it shortly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ..engines.adapters import V1, V2Matcher
from ..engines.engine import LONGEST_ERROR, MAX, Engine, encode
from .reference import Reference

READERS: dict[str, Engine] = {"reference": Reference(), "v1": V1(), "v2": V2Matcher()}

NEW = {
    "command": "new",
    "order_id": 1,
    "participant": 7,
    "symbol": "ABC",
    "side": "BUY",
    "type": "LIMIT",
    "price": 100,
    "quantity": 5,
    "time_in_force": "GTC",
    "post_only": False,
    "self_trade_prevention": "NONE",
}
GOOD: list[dict[str, Any]] = [
    NEW,
    {"command": "list_instrument", "symbol": "ABC", "tick_size": "0.01", "lot_size": "1"},
    {"command": "cancel", "order_id": 1, "participant": 7},
    {"command": "reduce", "order_id": 1, "participant": 7, "by": 2},
    {"command": "replace", "order_id": 1, "participant": 7, "price": 101, "quantity": 3},
    {"command": "mass_cancel", "participant": 7, "symbol": None},
    {"query": "state"},
    {"query": "order", "order_id": 1},
    {"query": "book", "symbol": "ABC", "depth": 5},
]

VALUES = [
    *("null", "true", "false", "0", "1", "-1", "-0", "7", "01", "+1", "1.0", "1e2", "1E400", "-"),
    *("NaN", "Infinity", "-Infinity", "nan", "None", "[]", "{}", "[1]", '{"a":1}', '""', '"1"'),
    *('"ABC"', '"abc"', '"A B"', '"BUY"', '"buy"', '"LIMIT"', '"IOC"', '"NONE"', '"new"'),
    *('"ABC\\n"', '"\\u0041"', '"\\u00c4"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\x41"', "'ABC'"),
    *(str(MAX), str(MAX + 1), str(-MAX - 1), str(-MAX - 2), str(2**32), str(2**64), "1" * 5000),
    *("-" + "9" * 400, "1." + "0" * 400, '"' + "A" * 17 + '"', '"\t"', "// 1", "", "1,", "[" * 50),
]


def refusals(line: bytes) -> dict[str, str | None]:
    return {name: reader.refusal(line) for name, reader in READERS.items()}


def assert_one_opinion(line: bytes, names: str = "") -> None:
    """All readers accept the line, or all refuse it with a short text that names the field."""
    errors = refusals(line)
    refused = {name: error is not None for name, error in errors.items()}
    assert len(set(refused.values())) == 1, f"{line[:300]!r}: {errors}"
    for name, error in errors.items():
        if error is not None:
            assert error, name
            assert len(error) <= LONGEST_ERROR, f"{name}: {error}"
            assert names in error, f"{name} does not name {names}: {error}"


def assert_refused(line: bytes, names: str = "") -> None:
    assert_one_opinion(line, names)
    assert None not in refusals(line).values(), line[:300]


def assert_accepted(line: bytes) -> None:
    assert set(refusals(line).values()) == {None}, refusals(line)


# -- One by one -------------------------------------------------------------------------------


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.get("command", good.get("query")))
def test_good_lines_are_accepted_whatever_their_spacing_and_order(good: dict[str, Any]) -> None:
    assert_accepted(encode(good))
    assert_accepted(json.dumps(dict(reversed(good.items())), indent=1).replace("\n", " ").encode())
    assert_accepted(b" \t" + encode(good) + b" \t\r")
    assert_accepted(json.dumps(good).replace("d", "\\u0064").encode())


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.get("command", good.get("query")))
def test_every_field_in_turn_is_taken_away_nulled_or_spoilt(good: dict[str, Any]) -> None:
    optional = ("time_in_force", "post_only", "self_trade_prevention", "depth")
    one_of_two = ("price", "quantity") if good.get("command") == "replace" else ()
    for name, value in good.items():
        without = {key: value for key, value in good.items() if key != name}
        nulled = {**good, name: None}
        spoilt = {**good, name: [value]}
        assert_refused(encode(spoilt), name)
        if name in (*optional, *one_of_two):
            assert_accepted(encode(without))
            assert_accepted(encode(nulled))
        elif name in ("command", "query"):
            assert_refused(encode(without))
            assert_refused(encode(nulled), name)
        else:
            assert_refused(encode(without), name)
            if good.get("command") == "mass_cancel" and name == "symbol":
                assert_accepted(encode(nulled))
            else:
                assert_refused(encode(nulled), name)


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.get("command", good.get("query")))
def test_a_field_that_nobody_knows_is_named(good: dict[str, Any]) -> None:
    assert_refused(encode({**good, "colour": "red"}), "colour")
    assert_refused(encode({**good, "colour": None}), "colour")
    assert_refused(encode({"colour": 1, **good}), "colour")


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.get("command", good.get("query")))
def test_of_a_key_given_twice_the_last_counts(good: dict[str, Any]) -> None:
    text = encode(good)
    for name, value in good.items():
        pair = json.dumps({name: value})[1:-1]
        wrong = json.dumps({name: [value]})[1:-1]
        assert_accepted(text[:-1] + f",{pair}}}".encode())
        assert_refused(text[:-1] + f",{wrong}}}".encode(), name)
        assert_accepted(f"{{{wrong},".encode() + text[1:])


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.get("command", good.get("query")))
def test_every_strange_value_in_every_field_finds_one_opinion(good: dict[str, Any]) -> None:
    for name in good:
        for value in VALUES:
            fields = [f'"{key}":{json.dumps(good[key])}' for key in good if key != name]
            assert_one_opinion(("{" + ",".join([*fields, f'"{name}":{value}']) + "}").encode())
            assert_one_opinion(("{" + ",".join([f'"{name}":{value}', *fields]) + "}").encode())


@pytest.mark.parametrize(
    "value", ["1.0", "1e2", "true", '"1"', "[1]", str(MAX + 1), str(-MAX - 2), "1" * 5000]
)
@pytest.mark.parametrize("name", ["order_id", "participant", "price", "quantity"])
def test_a_number_of_the_wrong_kind_is_refused_by_name(name: str, value: str) -> None:
    text = encode({**NEW, name: 0}).replace(f'"{name}":0'.encode(), f'"{name}":{value}'.encode())
    assert_refused(text, name)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"}",
        b"{}",
        b"[]",
        b"null",
        b"true",
        b"0",
        b'"new"',
        b"new",
        b'{"command"}',
        b'{"command":}',
        b'{"command":"cancel","order_id":1,"participant":7',
        b'{"command":"cancel","order_id":1,"participant":7,}',
        b'{"command":"cancel","order_id":1 "participant":7}',
        b'{"command":"cancel","order_id":1,"participant":7}{}',
        b'{"command":"cancel","order_id":1,"participant":7} x',
        b'{"command":"cancel","order_id":1,"participant":7}\x00',
        b'{"command":"cancel","order_id":1,"participant":7}\x0c',
        b'{"command":"cancel","order_id":1,"participant":7}\xc2\xa0',
        b'[{"command":"cancel","order_id":1,"participant":7}]',
        b'{"command":"cancel","order_id":1,"participant":7,"query":"state"}',
        b'{"query":"state","command":null}',
        b'{"query":"state","order_id":1}',
        b'{"query":"trades"}',
        b'{"query":null}',
        b'{"query":["state"]}',
        b'{"query":"book","symbol":"ABC","depth":0}',
        b'{"query":"book","symbol":"ABC","depth":-1}',
        b'{"query":"book","symbol":"ABC","depth":true}',
        b'{"query":"book","symbol":"ABC","depth":1.0}',
        b'{"query":"book","symbol":"ABC","depth":9223372036854775808}',
        b'{"query":"book","symbol":null}',
        b'{"query":"book","symbol":"abc"}',
        b'{"query":"order","order_id":0}',
        b'{"query":"order","order_id":9223372036854775808}',
        b'\xef\xbb\xbf{"query":"state"}',
        b'\xff{"query":"state"}',
        b'{"query":"st\xffate"}',
        b'{"query":"state","\xc3":1}',
        b'{"command":"list_instrument","symbol":"A","tick_size":"\xed\xa0\x80","lot_size":"1"}',
        b'{"command":"list_instrument","symbol":"A","tick_size":"\\ud800","lot_size":"1"}',
        b'{"command":"list_instrument","symbol":"A","tick_size":"\\udc00\\ud800","lot_size":"1"}',
        b'{"command":"list_instrument","symbol":"A","tick_size":"\t","lot_size":"1"}',
        '{"query":"state"}'.encode("utf-16"),
        '{"query":"state"}'.encode("utf-32"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"query":"state","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda line: repr(line[:60]),
)
def test_what_is_no_command_and_no_query_is_refused(line: bytes) -> None:
    assert_refused(line)


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "line",
    [
        b"x" * MEGABYTE,
        b'"' + b"x" * MEGABYTE,
        b'{"command":"' + b"x" * MEGABYTE + b'"}',
        b'{"command":"new","order_id":' + b"1" * MEGABYTE + b"}",
        b'{"command":"new","order_id":"' + b"1" * MEGABYTE + b'"}',
        b'{"' + b"x" * MEGABYTE + b'":1,"command":"cancel","order_id":1,"participant":1}',
        b'{"query":"book","symbol":"' + "Ä".encode() * MEGABYTE + b'"}',
        b'{"query":"book","symbol":"' + b"\\n" * MEGABYTE + b'"}',
        encode({**NEW, "side": "x" * MEGABYTE}),
        encode({**NEW, "price": [0] * MEGABYTE}),
        encode({**NEW, **{f"field{number}": number for number in range(50_000)}}),
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_line_of_a_megabyte_is_refused_in_a_few_words(line: bytes) -> None:
    assert_refused(line)


# -- Many at random ---------------------------------------------------------------------------

TOKENS = [b'"', b"{", b"}", b",", b":", b"0", b"1", b".", b"e", b"-", b"\\", b" ", b"\x00", b"\xff"]
PIECES = st.one_of(
    st.sampled_from(TOKENS),
    st.sampled_from([value.encode() for value in VALUES]),
    st.sampled_from([encode(good)[1:-1] + b"," for good in GOOD]),
    st.binary(min_size=1, max_size=3).filter(lambda piece: b"\n" not in piece),
)


@st.composite
def spoilt_lines(draw: st.DrawFn) -> bytes:
    """Draw a good line with a few of its bytes cut out, repeated or replaced."""
    line = encode(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(line)))
        end = min(len(line), start + draw(st.integers(0, 6)))
        line = line[:start] + draw(st.one_of(st.just(b""), PIECES)) + line[end:]
    return line


MANY = settings(max_examples=10 * settings().max_examples)
"""Reading a line is so cheap that ten times as many examples are affordable."""


@MANY
@given(spoilt_lines())
@example(b'{"command":"cancel","order_id":1,"participant":7.}')
@example(b'{"command":"cancel","order_id":1,"participant":7e}')
@example(b'{"command":"cancel","order_id":1,"order_id":7,"participant":NaN,"participant":7}')
def test_the_readers_agree_on_every_spoilt_line(line: bytes) -> None:
    assert_one_opinion(line)


@MANY
@given(
    st.sampled_from(GOOD),
    st.dictionaries(
        st.sampled_from([*NEW, "query", "by", "depth", "tick_size", "lot_size", "x"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(max_size=20),
            st.sampled_from(["BUY", "MARKET", "ABC", "0.01", "new", "state", 10**30]),
        ),
        max_size=3,
    ),
)
def test_the_readers_agree_on_every_mixture_of_fields(
    good: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert_one_opinion(encode({**good, **changes}))
