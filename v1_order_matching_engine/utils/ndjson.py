"""The strict reader and the writer of the NDJSON interface: one JSON object a line, both ways.

    in   {"command": "cancel", "order_id": 1, "participant": 7}
    in   {"query": "book", "symbol": "AAPL", "depth": 5}
    out  {"event":"order_canceled","sequence":5,"index":0,"timestamp_ns":...,"order_id":1,...}
    out  {"event":"malformed","line":7,"error":"price: 1.5; expected an integer from ..."}

Strict means: exactly the fields of the rulebook with exactly their types. There are two readers:

1. `msgspec` decodes a line directly into a command or query. It accepts nothing that is malformed.
2. What it refuses goes to the careful reader, which decides: malformed, or right in an unusual way,
   such as a key given twice or null for an optional field. It has three layers, each with its own
   checks: from bytes to one JSON object (`_read_object`), from its fields to the arguments of a
   command or query (`_Shape`), and the values, which a command or query checks when it is made.

Python's `json` accepts more than JSON, so the careful reader refuses what `json` lets pass: NaN,
Infinity and half surrogate pairs. A very long integer, for which `int` raises ValueError, is out of
range.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, NoReturn, TypeAlias

import msgspec

from ..engine.events import Event
from ..engine.matching_engine import DEFAULT_DEPTH
from ..engine.views import Level
from ..errors import MalformedCommand, MalformedLine
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
from ..models.fields import (
    HALF_A_PAIR,
    INT64_MAX,
    check_integer,
    check_order_id,
    check_symbol,
    has_surrogate,
    show,
)

_WHITE_SPACE: Final = b" \t\r\n"


def is_blank(line: bytes) -> bool:
    """Whether a line has only what JSON calls white space; a form feed is not."""
    return not line.strip(_WHITE_SPACE)


class _Query(msgspec.Struct, frozen=True, tag_field="query", forbid_unknown_fields=True):
    """What all queries have in common; as with commands, the tag is the name in NDJSON."""


class StateQuery(_Query, frozen=True, tag="state"):
    """`{"query": "state"}`"""


class OrderQuery(_Query, frozen=True, tag="order"):
    """`{"query": "order", "order_id": 1}`"""

    order_id: int

    def __post_init__(self) -> None:
        check_order_id(self.order_id)


class BookQuery(_Query, frozen=True, tag="book"):
    """`{"query": "book", "symbol": "AAPL", "depth": 10}`"""

    symbol: str
    depth: int = DEFAULT_DEPTH

    def __post_init__(self) -> None:
        check_symbol(self.symbol)
        check_integer("depth", self.depth, 1, INT64_MAX)


Query: TypeAlias = StateQuery | OrderQuery | BookQuery


class StateAnswer(msgspec.Struct, frozen=True, tag_field="event", tag="state"):
    """The answer to a `StateQuery`. As with events, the order of fields is that of the line."""

    sequence: int
    resting_orders: int
    state_hash: str


class OrderAnswer(msgspec.Struct, frozen=True, tag_field="event", tag="order"):
    """The answer to an `OrderQuery`."""

    order_id: int
    sequence: int
    status: OrderStatus
    remaining: int


class BookAnswer(msgspec.Struct, frozen=True, tag_field="event", tag="book"):
    """The answer to a `BookQuery`."""

    symbol: str
    sequence: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Malformed(msgspec.Struct, frozen=True, tag_field="event", tag="malformed"):
    """The answer to a line that is neither a command nor a query."""

    line: int
    error: str


Answer: TypeAlias = Event | StateAnswer | OrderAnswer | BookAnswer | Malformed


class _Shape(NamedTuple):
    """Which fields a command or query has, and what is built from them."""

    build: Callable[..., Command | Query]
    required: frozenset[str]
    optional: frozenset[str]
    # For the fields whose text becomes a member of an enum: the members by their text.
    choices: Mapping[str, Mapping[str, StrEnum]]
    # Required fields in which null is a value.
    nullable: frozenset[str]


def _shape(
    build: Callable[..., Command | Query],
    required: str = "",
    optional: str = "",
    choices: Mapping[str, Mapping[str, StrEnum]] | None = None,
    nullable: str = "",
) -> _Shape:
    return _Shape(
        build,
        frozenset(required.split()),
        frozenset(optional.split()),
        choices or {},
        frozenset(nullable.split()),
    )


_SHAPES: Final[Mapping[str, Mapping[str, _Shape]]] = {
    "command": {
        "list_instrument": _shape(ListInstrument, "symbol tick_size lot_size"),
        "new": _shape(
            NewOrder,
            "order_id participant symbol side type quantity",
            "price time_in_force post_only self_trade_prevention",
            {
                "side": Side.__members__,
                "type": OrderType.__members__,
                "time_in_force": TimeInForce.__members__,
                "self_trade_prevention": SelfTradePrevention.__members__,
            },
        ),
        "cancel": _shape(CancelOrder, "order_id participant"),
        "reduce": _shape(ReduceOrder, "order_id participant by"),
        "replace": _shape(ReplaceOrder, "order_id participant", "price quantity"),
        "mass_cancel": _shape(MassCancel, "participant symbol", nullable="symbol"),
    },
    "query": {
        "state": _shape(StateQuery),
        "order": _shape(OrderQuery, "order_id"),
        "book": _shape(BookQuery, "symbol", "depth"),
    },
}


_COMMANDS: Final[msgspec.json.Decoder[Command]] = msgspec.json.Decoder(Command)
_QUERIES: Final[msgspec.json.Decoder[Query]] = msgspec.json.Decoder(Query)


def parse(line: bytes) -> Command | Query:
    r"""The command or query in one line, with or without its line end. O(length).

    Raises:
        MalformedLine: its text names the field, or "line" if this is not a JSON object.

    >>> parse(b'{"command": "reduce", "order_id": 1, "participant": 7, "by": 5}\n')
    ReduceOrder(order_id=1, participant=7, by=5)
    >>> parse(b'{"command": "reduce", "order_id": 1, "participant": 7, "by": "5"}')
    Traceback (most recent call last):
        ...
    v1_order_matching_engine.errors.MalformedLine: by: '5'; expected a signed 64-bit integer
    """
    decoder = _QUERIES if b'"query"' in line else _COMMANDS
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _parse_carefully(line)


def _parse_carefully(line: bytes) -> Command | Query:
    """The same for every line, but slower; what is malformed is found and explained here."""
    fields = _read_object(line)
    kind = "query" if "query" in fields else "command"
    if kind not in fields:
        raise MalformedLine("command", "missing, and so is query; expected one of them")
    if kind == "query" and "command" in fields:
        raise MalformedLine("query", "stands beside command; expected one of them")
    name = fields.pop(kind)
    shape = _SHAPES[kind].get(name) if isinstance(name, str) else None
    if shape is None:
        expected = ", ".join(_SHAPES[kind])
        raise MalformedLine(kind, f"{show(name)}; expected one of {expected}")
    try:
        return shape.build(**_arguments(fields, shape))
    except MalformedCommand as error:
        raise MalformedLine(error.field, error.problem) from None


def _arguments(fields: dict[str, object], shape: _Shape) -> dict[str, object]:
    """The arguments to build a command or query from the fields of an object."""
    if not fields.keys() >= shape.required:
        field = min(shape.required - fields.keys())
        raise MalformedLine(field, "missing; it must be there")
    known = shape.required | shape.optional
    if not fields.keys() <= known:
        field = next(field for field in fields if field not in known)
        expected = ", ".join(sorted(known)) or "no other"
        raise MalformedLine(_name(field), f"unknown field; expected {expected}")
    arguments = {}
    for field, value in fields.items():
        if value is None and field not in shape.nullable:
            if field in shape.required:
                raise MalformedLine(field, "null; it must have a value")
            continue
        choices = shape.choices.get(field)
        arguments[field] = value if choices is None else _member(field, value, choices)
    return arguments


def _member(field: str, value: object, choices: Mapping[str, StrEnum]) -> StrEnum:
    member = choices.get(value) if isinstance(value, str) else None
    if member is not None:
        return member
    raise MalformedLine(field, f"{show(value)}; expected one of {', '.join(choices)}")


# --- bytes to one JSON object --------------------------------------------------------------------


class _NotJson(NamedTuple):
    """A value that Python reads and JSON does not have: NaN, Infinity, -Infinity."""

    text: str


class _Unusual(Exception):
    """The plain decoder met a value that needs the careful one."""


def _set_aside(text: str) -> NoReturn:
    raise _Unusual(text)


def _read_integer(digits: str) -> int:
    # int() refuses very long texts. JSON has no leading zeros, so 20 characters are enough for any
    # integer that is in range; all others become one that is not.
    return int(digits) if len(digits) <= 20 else 2**64


_PLAIN = json.JSONDecoder(parse_constant=_set_aside)

# Finds one escape after another, a whole pair as one. A surrogate that only the last branch matches
# is half a pair. For text that was decoded before, so that every escape is complete.
_escapes = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u(?![dD][89a-fA-F])....|[^u])|(?P<half>\\u)"
).finditer


def _read_object(line: bytes) -> dict[str, object]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedLine("line", f"not UTF-8 at byte {error.start + 1}") from None
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise MalformedLine("line", "a byte order mark; expected UTF-8 without one") from None
        problem = f"not JSON at character {error.pos + 1}; expected one JSON object"
        raise MalformedLine("line", problem) from None
    except RecursionError:
        raise MalformedLine("line", "nested too deep; expected one flat JSON object") from None
    if not isinstance(value, dict):
        raise MalformedLine("line", f"{show(value)}; expected one JSON object")
    return value


def _decode(text: str) -> object:
    if "\\u" not in text:
        try:
            return _PLAIN.decode(text)
        except json.JSONDecodeError:
            raise
        except (_Unusual, ValueError):  # the ValueError is int() refusing thousands of digits
            pass
    return _decode_carefully(text)


def _decode_carefully(text: str) -> object:
    """Decode slowly, and strictly where the plain decoder is not."""
    constants: list[_NotJson] = []

    def note(constant: str) -> _NotJson:
        constants.append(_NotJson(constant))
        return constants[-1]

    value = json.JSONDecoder(parse_constant=note, parse_int=_read_integer).decode(text)
    # The wrong value may be deeper, or of a key that is given twice: then the error names the line.
    fields = value if isinstance(value, dict) else {}
    if constants:
        field = next((name for name, held in fields.items() if held in constants), "line")
        raise MalformedLine(_name(field), f"{constants[0].text} is not JSON; expected a value")
    if any(escape["half"] for escape in _escapes(text)):
        field = next(
            (
                name
                for name, held in fields.items()
                if isinstance(held, str) and has_surrogate(held)
            ),
            "line",
        )
        raise MalformedLine(_name(field), HALF_A_PAIR)
    return value


def _name(field: str) -> str:
    """A field's name as sent, cut short and kept to ASCII."""
    return show(field)[1:-1] or "''"


# --- out -----------------------------------------------------------------------------------------

_ENCODER = msgspec.json.Encoder()


def encode_lines(answers: Iterable[Answer]) -> bytes:
    r"""Answers as compact JSON, one a line, each ended by \n. O(their length).

    >>> encode_lines([Malformed(7, "price: missing; a LIMIT needs one")])
    b'{"event":"malformed","line":7,"error":"price: missing; a LIMIT needs one"}\n'
    """
    return _ENCODER.encode_lines(answers)
