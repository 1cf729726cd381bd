"""What one field of a command may hold, in every state of the engine.

Each check returns nothing, or raises `MalformedCommand`, which names the field. They compare types
with `is` instead of `isinstance`: in Python `True` is an `int`, in the rulebook it is not.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NoReturn

from ..errors import MalformedCommand

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
ORDER_ID_MAX: Final = INT64_MAX
PARTICIPANT_MAX: Final = 2**32 - 1

SYMBOL_LENGTH_MAX: Final = 16
# fullmatch, never match with "$", which accepts a line feed at the end. Symbols are few and come
# again and again, so what was found out is kept (benchmark: end_to_end).
_is_symbol = lru_cache(maxsize=4096)(re.compile(r"[A-Z0-9.\-/]{1,16}").fullmatch)

TEXT_LENGTH_MAX: Final = 65_536  # no line could carry more
HALF_A_PAIR: Final = "half a surrogate pair; expected whole characters"
_has_surrogate = re.compile("[\ud800-\udfff]").search

# How much of a wrong value an error shows: the error is short, also if the value is long.
_SHOWN_CHARACTERS: Final = 32


def show(value: object) -> str:
    """Any value as a few ASCII characters, for an error message.

    >>> show("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    >>> show(None), show(True), show({"a": 1}), show(10**100)
    ('null', 'true', 'an object', 'an integer of more than 64 bits')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        # Cut before escaping to save work, and again after it: an escape is up to ten characters.
        escaped = ascii(str(value[: _SHOWN_CHARACTERS + 1]))[1:-1]
        cut = escaped[:_SHOWN_CHARACTERS]
        return f"'{cut}'" if cut == escaped else f"'{cut}...'"
    if isinstance(value, int):
        # Python is slow to turn a very long one into text, and refuses to from some length on.
        return str(value) if value.bit_length() <= 64 else "an integer of more than 64 bits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else type(value).__name__


def check_integer(field: str, value: object, low: int, high: int) -> None:
    """Demand an integer from `low` to `high`: not 1.0, not True."""
    if type(value) is not int or not low <= value <= high:
        _refuse_integer(field, value, low, high)


def _refuse_integer(field: str, value: object, low: int, high: int) -> NoReturn:
    raise MalformedCommand(field, f"{show(value)}; expected an integer from {low} to {high}")


def check_int64(field: str, value: object) -> None:
    """Demand a signed 64-bit integer. Whether 0 or -5 makes sense is for the matcher."""
    if type(value) is not int or not INT64_MIN <= value <= INT64_MAX:
        raise MalformedCommand(field, f"{show(value)}; expected a signed 64-bit integer")


def check_order_id(value: object) -> None:
    """Demand an order id: 1 to 2^63-1."""
    if type(value) is not int or not 1 <= value <= ORDER_ID_MAX:
        _refuse_integer("order_id", value, 1, ORDER_ID_MAX)


def check_participant(value: object) -> None:
    """Demand a participant: 1 to 2^32-1."""
    if type(value) is not int or not 1 <= value <= PARTICIPANT_MAX:
        _refuse_integer("participant", value, 1, PARTICIPANT_MAX)


def check_symbol(value: object) -> None:
    """Demand a symbol: 1 to 16 characters of A-Z 0-9 . - /"""
    if type(value) is not str or len(value) > SYMBOL_LENGTH_MAX or not _is_symbol(value):
        raise MalformedCommand(
            "symbol", f"{show(value)}; expected 1-16 characters of A-Z 0-9 . - /"
        )


def check_member(field: str, value: object, choices: type[StrEnum]) -> None:
    """Demand a member of an enum, not merely its text."""
    if type(value) is not choices:
        raise MalformedCommand(field, f"{show(value)}; expected one of {', '.join(choices)}")


def check_boolean(field: str, value: object) -> None:
    """Demand true or false: not 1, not "true"."""
    if type(value) is not bool:
        raise MalformedCommand(field, f"{show(value)}; expected true or false")


def has_surrogate(text: str) -> bool:
    r"""Whether a text holds half a surrogate pair, which UTF-8 cannot encode. O(length).

    >>> has_surrogate("\ud800"), has_surrogate("\N{GRINNING FACE}")
    (True, False)
    """
    return _has_surrogate(text) is not None


def check_text(field: str, value: object, example: str) -> None:
    """Demand a string of whole characters, but not too many; the error shows an example."""
    if type(value) is not str:
        raise MalformedCommand(field, f"{show(value)}; expected a string, such as '{example}'")
    if len(value) > TEXT_LENGTH_MAX:
        raise MalformedCommand(field, f"expected at most {TEXT_LENGTH_MAX:,} characters")
    if has_surrogate(value):
        raise MalformedCommand(field, HALF_A_PAIR)
