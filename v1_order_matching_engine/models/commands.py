"""Commands: what a participant wants, in the imperative.

Commands are immutable and compared by value. A command checks its own shape when it is made, so
every command that exists is well formed: right types, ids and participants in range, integers in
signed 64 bits. Whether it makes *sense* (a price of 0, a symbol that was never listed) depends on
the rulebook, and the engine answers it with an event.

A class says its name in NDJSON once, as its `tag`. The reader decodes a line directly into a
command: a field that is unknown, missing or of another type is refused there, the rest here.
"""

from typing import Final, TypeAlias, get_args

import msgspec

from ..errors import MalformedCommand
from .enums import OrderType, SelfTradePrevention, Side, TimeInForce
from .fields import (
    check_boolean,
    check_int64,
    check_member,
    check_order_id,
    check_participant,
    check_symbol,
    check_text,
)


class BaseCommand(
    msgspec.Struct, frozen=True, gc=False, tag_field="command", forbid_unknown_fields=True
):
    """What all commands have in common.

    `isinstance` with it is faster than with the union below, which asks one class after another.
    """


class ListInstrument(BaseCommand, frozen=True, gc=False, tag="list_instrument"):
    """Open a book for `symbol`. Sizes are decimal texts, such as "0.01"."""

    symbol: str
    tick_size: str
    lot_size: str

    def __post_init__(self) -> None:
        check_symbol(self.symbol)
        check_text("tick_size", self.tick_size, "0.01")
        check_text("lot_size", self.lot_size, "100")


class NewOrder(BaseCommand, frozen=True, gc=False, kw_only=True, tag="new"):
    """Buy or sell `quantity` lots. `order_id` names this one order for ever, over all symbols.

    `price` is in ticks, for a LIMIT only. `time_in_force` None means GTC for a LIMIT and IOC for a
    MARKET.

    >>> NewOrder(order_id=1, participant=7, symbol="AAPL", side=Side.BUY,
    ...          type=OrderType.LIMIT, quantity=100)
    Traceback (most recent call last):
        ...
    v1_order_matching_engine.errors.MalformedCommand: price: missing; a LIMIT needs one
    """

    order_id: int
    participant: int
    symbol: str
    side: Side
    type: OrderType
    price: int | None = None
    quantity: int
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE

    def __post_init__(self) -> None:
        check_order_id(self.order_id)
        check_participant(self.participant)
        check_symbol(self.symbol)
        check_member("side", self.side, Side)
        check_member("type", self.type, OrderType)
        if self.price is not None:
            check_int64("price", self.price)
        elif self.type is OrderType.LIMIT:
            raise MalformedCommand("price", "missing; a LIMIT needs one")
        check_int64("quantity", self.quantity)
        if self.time_in_force is not None:
            check_member("time_in_force", self.time_in_force, TimeInForce)
        check_boolean("post_only", self.post_only)
        check_member("self_trade_prevention", self.self_trade_prevention, SelfTradePrevention)


class CancelOrder(BaseCommand, frozen=True, gc=False, tag="cancel"):
    """Take an order out of the book. Safe to send again after a lost answer."""

    order_id: int
    participant: int

    def __post_init__(self) -> None:
        check_order_id(self.order_id)
        check_participant(self.participant)


class ReduceOrder(BaseCommand, frozen=True, gc=False, tag="reduce"):
    """Take `by` lots off an order, which keeps its place. Sent twice, it acts twice."""

    order_id: int
    participant: int
    by: int

    def __post_init__(self) -> None:
        check_order_id(self.order_id)
        check_participant(self.participant)
        check_int64("by", self.by)


class ReplaceOrder(BaseCommand, frozen=True, gc=False, tag="replace"):
    """Give an order another price, open quantity, or both; None keeps. It loses its place."""

    order_id: int
    participant: int
    price: int | None = None
    quantity: int | None = None

    def __post_init__(self) -> None:
        check_order_id(self.order_id)
        check_participant(self.participant)
        if self.price is None and self.quantity is None:
            raise MalformedCommand("price", "missing, and so is quantity; expected at least one")
        if self.price is not None:
            check_int64("price", self.price)
        if self.quantity is not None:
            check_int64("quantity", self.quantity)


class MassCancel(BaseCommand, frozen=True, gc=False, tag="mass_cancel"):
    """Cancel every order of a participant in one symbol, or in all of them (`symbol` None)."""

    participant: int
    symbol: str | None

    def __post_init__(self) -> None:
        check_participant(self.participant)
        if self.symbol is not None:
            check_symbol(self.symbol)


Command: TypeAlias = (
    ListInstrument | NewOrder | CancelOrder | ReduceOrder | ReplaceOrder | MassCancel
)
COMMAND_TYPES: Final = frozenset(get_args(Command))
"""Every class that is a command."""
