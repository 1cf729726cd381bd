"""The edge: what a command or a question must be before it may enter the queue.

Only the shape is checked here (types and ranges, rulebook section 1). Everything that depends on
the state of the books, a price of 0 too, is the matcher's and is answered by events. The checks run
in the submitting thread, so the writer meets well-formed commands only.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...errors import MalformedCommand
from ...models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from ...models.enums import OrderType, SelfTradePrevention, Side, TimeInForce

START_OF_INT64 = -(2**63)
END_OF_INT64 = 2**63
END_OF_UINT32 = 2**32
SYMBOL = re.compile(r"[A-Z0-9./-]{1,16}")
LONGEST_SYMBOL = 16
LONGEST_TEXT = 65_536
"""Characters: no line could carry a longer one."""
NOT_TEXT = "half a character; expected text that UTF-8 can write"


@lru_cache(maxsize=4096)
def is_symbol(symbol: str) -> bool:
    """Whether a text that is not too long is a symbol."""
    return SYMBOL.fullmatch(symbol) is not None


def check_symbol(symbol: object) -> None:
    """Demand a symbol: 1 to 16 characters of A-Z 0-9 . - /"""
    if type(symbol) is not str or len(symbol) > LONGEST_SYMBOL or not is_symbol(symbol):
        raise MalformedCommand("symbol", "expected 1 to 16 characters of A-Z 0-9 . - /")


def check_order_id(order_id: object) -> None:
    """Demand an order id: 1 to 2^63-1."""
    if type(order_id) is not int or not 0 < order_id < END_OF_INT64:
        raise MalformedCommand("order_id", "expected an integer from 1 to 9223372036854775807")


def check_depth(levels: object) -> None:
    """Demand a number of levels to look at: 1 or more."""
    if type(levels) is not int or not 0 < levels < END_OF_INT64:
        raise MalformedCommand("depth", "expected an integer of 1 or more")


def check_count(name: str, count: object, most: int | None = None) -> None:
    """Demand a number of 1 or more, perhaps of at most `most`, for the argument with this name."""
    if type(count) is not int or count < 1:
        raise MalformedCommand(name, "expected an integer of 1 or more")
    if most is not None and count > most:
        raise MalformedCommand(name, f"expected at most {most}")


def _check_new(command: NewOrder) -> None:
    """See that an order is well formed: all at once, or one field after the other.

    The first takes half the time of the second (benchmark: matching).
    """
    order_id = command.order_id
    participant = command.participant
    symbol = command.symbol
    price = command.price
    quantity = command.quantity
    if not (
        type(order_id) is int
        and type(participant) is int
        and type(price) is int
        and type(quantity) is int
        and 0 < order_id < END_OF_INT64
        and 0 < participant < END_OF_UINT32
        and START_OF_INT64 <= price < END_OF_INT64
        and START_OF_INT64 <= quantity < END_OF_INT64
        and type(symbol) is str
        and len(symbol) <= LONGEST_SYMBOL
        and is_symbol(symbol)
        and type(command.side) is Side
        and type(command.type) is OrderType
        and type(command.time_in_force) in _TIMES_IN_FORCE
        and type(command.post_only) is bool
        and type(command.self_trade_prevention) is SelfTradePrevention
    ):
        _check_each_field(command)


_TIMES_IN_FORCE = (type(None), TimeInForce)


def _check_each_field(command: NewOrder) -> None:
    _check_order_and_participant(command)
    check_symbol(command.symbol)
    if type(command.side) is not Side:
        raise MalformedCommand("side", "expected BUY or SELL")
    if type(command.type) is not OrderType:
        raise MalformedCommand("type", "expected LIMIT or MARKET")
    price = command.price
    if price is not None:
        _check_int64("price", price)
    elif command.type is OrderType.LIMIT:
        raise MalformedCommand("price", "a LIMIT order needs one")
    _check_int64("quantity", command.quantity)
    if command.time_in_force is not None and type(command.time_in_force) is not TimeInForce:
        raise MalformedCommand("time_in_force", "expected GTC, IOC or FOK")
    if type(command.post_only) is not bool:
        raise MalformedCommand("post_only", "expected true or false")
    if type(command.self_trade_prevention) is not SelfTradePrevention:
        raise MalformedCommand(
            "self_trade_prevention", "expected NONE, CANCEL_TAKER, CANCEL_MAKER or CANCEL_BOTH"
        )


def _check_cancel(command: CancelOrder) -> None:
    """As `_check_new`: all at once, or one field after the other."""
    order_id = command.order_id
    participant = command.participant
    if not (
        type(order_id) is int
        and type(participant) is int
        and 0 < order_id < END_OF_INT64
        and 0 < participant < END_OF_UINT32
    ):
        _check_order_and_participant(command)


def _check_order_and_participant(
    command: NewOrder | CancelOrder | ReduceOrder | ReplaceOrder,
) -> None:
    check_order_id(command.order_id)
    _check_participant(command.participant)


def _check_participant(participant: int) -> None:
    if type(participant) is not int or not 0 < participant < END_OF_UINT32:
        raise MalformedCommand("participant", "expected an integer from 1 to 4294967295")


def _check_int64(field: str, value: int) -> None:
    if type(value) is not int or not START_OF_INT64 <= value < END_OF_INT64:
        raise MalformedCommand(field, "expected an integer of at most 64 bits with sign")


def _check_reduce(command: ReduceOrder) -> None:
    _check_order_and_participant(command)
    _check_int64("by", command.by)


def _check_replace(command: ReplaceOrder) -> None:
    _check_order_and_participant(command)
    if command.price is None and command.quantity is None:
        raise MalformedCommand("price", "expected a new price, a new quantity or both")
    if command.price is not None:
        _check_int64("price", command.price)
    if command.quantity is not None:
        _check_int64("quantity", command.quantity)


def _check_mass_cancel(command: MassCancel) -> None:
    _check_participant(command.participant)
    if command.symbol is not None:
        check_symbol(command.symbol)


def _check_list_instrument(command: ListInstrument) -> None:
    check_symbol(command.symbol)
    _check_text("tick_size", command.tick_size, "0.01")
    _check_text("lot_size", command.lot_size, "100")


def _check_text(field: str, value: object, example: str) -> None:
    if type(value) is not str:
        raise MalformedCommand(field, f'expected a string such as "{example}"')
    if len(value) > LONGEST_TEXT:
        raise MalformedCommand(field, f"expected at most {LONGEST_TEXT:,} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedCommand(field, NOT_TEXT) from None


Checks = Mapping[type, Callable[[Any], None]]
"""For each kind of command, what raises MalformedCommand where one is not well formed."""

CHECKS: Checks = {
    NewOrder: _check_new,
    CancelOrder: _check_cancel,
    ReduceOrder: _check_reduce,
    ReplaceOrder: _check_replace,
    MassCancel: _check_mass_cancel,
    ListInstrument: _check_list_instrument,
}


def validate(command: Command, checks: Checks = CHECKS) -> None:
    """Return if the command is well formed. O(1).

    Raises:
        MalformedCommand: names the first field that is not.
    """
    checks.get(type(command), _refuse)(command)


def validate_each(commands: Sequence[Command], checks: Checks = CHECKS) -> None:
    """Return if every command is well formed. O(commands).

    Raises:
        MalformedCommand: names the first field that is not, and the place of its command.
    """
    check_of = checks.get
    try:
        for place, command in enumerate(commands):  # noqa: B007  # it is told below
            check_of(type(command), _refuse)(command)
    except MalformedCommand as error:
        problem = str(error).removeprefix(f"{error.field}: ")
        raise MalformedCommand(error.field, f"{problem} (in commands[{place}])") from None


def _refuse(command: object) -> None:
    raise MalformedCommand("command", f"{type(command).__name__} is not a command")
