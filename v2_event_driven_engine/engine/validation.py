"""The edge: what a command must be before it may get a sequence number.

Only the shape is judged here (types and ranges, rulebook section 1). Everything that depends on the
state of the books, a price of 0 too, is the matcher's and is answered by events. It runs in the
submitting thread, so the writer only ever sees well-formed commands.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

from ..errors import MalformedCommand
from ..models.enums import OrderType, SelfTradePrevention, Side, TimeInForce
from .events import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)

START_OF_INT64 = -(2**63)
END_OF_INT64 = 2**63
END_OF_UINT32 = 2**32
SYMBOL = re.compile(r"[A-Z0-9./-]{1,16}")


@lru_cache(maxsize=4096)
def is_symbol(symbol: str) -> bool:
    """Whether this is 1-16 characters of A-Z 0-9 . - /"""
    return SYMBOL.fullmatch(symbol) is not None


def validate(command: Command) -> None:
    """Return quietly if the command is well formed. O(1).

    Raises:
        MalformedCommand: names the first field that is not.
    """
    check = _CHECKS.get(type(command))
    if check is None:
        raise MalformedCommand("command", f"{type(command).__name__} is not a command")
    check(command)


def _check_new(command: NewOrder) -> None:
    _check_order_and_participant(command)
    if type(command.symbol) is not str or not is_symbol(command.symbol):
        _refuse_symbol()
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


def _check_order_and_participant(
    command: NewOrder | CancelOrder | ReduceOrder | ReplaceOrder,
) -> None:
    order_id = command.order_id
    if type(order_id) is not int or not 0 < order_id < END_OF_INT64:
        raise MalformedCommand("order_id", "expected an integer from 1 to 9223372036854775807")
    _check_participant(command.participant)


def _check_participant(participant: int) -> None:
    if type(participant) is not int or not 0 < participant < END_OF_UINT32:
        raise MalformedCommand("participant", "expected an integer from 1 to 4294967295")


def _check_int64(field: str, value: int) -> None:
    if type(value) is not int or not START_OF_INT64 <= value < END_OF_INT64:
        raise MalformedCommand(field, "expected an integer of at most 64 bits with sign")


def _refuse_symbol() -> NoReturn:
    raise MalformedCommand("symbol", "expected 1 to 16 characters of A-Z 0-9 . - /")


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
    symbol = command.symbol
    if symbol is not None and (type(symbol) is not str or not is_symbol(symbol)):
        _refuse_symbol()


def _check_list_instrument(command: ListInstrument) -> None:
    if type(command.symbol) is not str or not is_symbol(command.symbol):
        _refuse_symbol()
    for field in ("tick_size", "lot_size"):
        value = getattr(command, field)
        if type(value) is not str:
            raise MalformedCommand(field, 'expected a string such as "0.01"')
        try:
            value.encode()
        except UnicodeEncodeError:
            raise MalformedCommand(field, "expected text that UTF-8 can write") from None


_CHECKS: dict[type, Callable[[Any], None]] = {
    NewOrder: _check_new,
    CancelOrder: _check_order_and_participant,
    ReduceOrder: _check_reduce,
    ReplaceOrder: _check_replace,
    MassCancel: _check_mass_cancel,
    ListInstrument: _check_list_instrument,
}
