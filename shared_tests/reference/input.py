"""What counts as malformed (rulebook 1), written down as plainly as possible.

A line is turned into a dictionary that has every field of its command or query, defaults filled
in; or `Malformed` is raised, and the message names the field. Whatever passes here is sequenced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from ..engines.engine import MAX, Malformed

REQUIRED = object()
"""In the place of a default: the field must be there, and must not be null."""


class Field(NamedTuple):
    """One field: what its value must be, and its default when it is left out or null."""

    problem: Callable[[object], str | None]
    default: object = REQUIRED


def parse_line(line: bytes) -> dict[str, Any]:
    """Read one line of NDJSON: a command or a query, with every field present."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse, parse_int=_read_integer)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is not text
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {str(error)[:80]}") from error
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    if "command" in value:
        return _parse_fields(value, "command", COMMANDS)
    if "query" in value:
        return _parse_fields(value, "query", QUERIES)
    raise Malformed("command: missing")


def _parse_fields(
    value: dict[str, object], kind: str, known: dict[str, dict[str, Field]]
) -> dict[str, Any]:
    name = value[kind]
    if not isinstance(name, str) or name not in known:
        raise Malformed(f"{kind}: unknown")
    fields = known[name]
    for given in value:
        if given != kind and given not in fields:
            raise Malformed(f"{given[:40]}: unknown field")
    parsed = {kind: name}
    for field_name, field in fields.items():
        parsed[field_name] = _parse_field(value, field_name, field)
    if name == "new":
        if parsed["type"] == "LIMIT" and parsed["price"] is None:
            raise Malformed("price: missing")
        parsed |= filled_in(parsed)
    if name == "replace" and parsed["price"] is None and parsed["quantity"] is None:
        raise Malformed("price: must not be null when quantity is")
    if name == "mass_cancel" and "symbol" not in value:
        raise Malformed("symbol: missing")
    return parsed


def _parse_field(value: dict[str, object], name: str, field: Field) -> Any:
    if value.get(name) is None:  # null is the same as leaving an optional field out
        if field.default is REQUIRED:
            raise Malformed(f"{name}: missing")
        return field.default
    problem = field.problem(value[name])
    if problem is not None:
        raise Malformed(f"{name}: {problem}")
    return value[name]


def filled_in(new: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a NEW, defaults filled in, as `order_accepted` repeats it (rulebook 3)."""
    fields = {
        name: field.default if new.get(name) is None else new[name]
        for name, field in COMMANDS["new"].items()
    }
    if fields["time_in_force"] is None:
        fields["time_in_force"] = "GTC" if fields["type"] == "LIMIT" else "IOC"
    return fields


def _refuse(constant: str) -> NoReturn:
    raise Malformed(f"{constant} is not JSON")


def _read_integer(digits: str) -> int:
    # No integer of 30 digits is in range, and Python refuses to convert very long ones.
    return int(digits[:30])


def _integer(low: int, high: int) -> Callable[[object], str | None]:
    def problem(value: object) -> str | None:
        if type(value) is not int:  # not isinstance: True is an int in Python, but not here
            return "not an integer"
        return None if low <= value <= high else "out of range"

    return problem


def _one_of(*names: str) -> Callable[[object], str | None]:
    return lambda value: None if value in names else f"not one of {', '.join(names)}"


def _symbol(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"[A-Z0-9./-]{1,16}", value):
        return None
    return "not 1-16 characters of A-Z 0-9 . - /"


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "not a string"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "not true or false"


ID = _integer(1, MAX)
PARTICIPANT = _integer(1, 2**32 - 1)
NUMBER = _integer(-MAX - 1, MAX)  # 0 and less are answered by events, not refused here

COMMANDS = {
    "list_instrument": {
        "symbol": Field(_symbol),
        "tick_size": Field(_text),
        "lot_size": Field(_text),
    },
    "new": {
        "order_id": Field(ID),
        "participant": Field(PARTICIPANT),
        "symbol": Field(_symbol),
        "side": Field(_one_of("BUY", "SELL")),
        "type": Field(_one_of("LIMIT", "MARKET")),
        "price": Field(NUMBER, None),
        "quantity": Field(NUMBER),
        "time_in_force": Field(_one_of("GTC", "IOC", "FOK"), None),
        "post_only": Field(_flag, False),
        "self_trade_prevention": Field(
            _one_of("NONE", "CANCEL_TAKER", "CANCEL_MAKER", "CANCEL_BOTH"), "NONE"
        ),
    },
    "cancel": {"order_id": Field(ID), "participant": Field(PARTICIPANT)},
    "reduce": {"order_id": Field(ID), "participant": Field(PARTICIPANT), "by": Field(NUMBER)},
    "replace": {
        "order_id": Field(ID),
        "participant": Field(PARTICIPANT),
        "price": Field(NUMBER, None),
        "quantity": Field(NUMBER, None),
    },
    "mass_cancel": {"participant": Field(PARTICIPANT), "symbol": Field(_symbol, None)},
}

QUERIES = {
    "state": {},
    "order": {"order_id": Field(ID)},
    "book": {"symbol": Field(_symbol), "depth": Field(_integer(1, MAX), 10)},
}
