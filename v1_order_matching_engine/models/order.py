"""Commands in, the order that rests, and the lifecycle that every order obeys.

Commands are immutable and compared by value. A command checks its own shape when it is made, so one
that exists is well formed: right types, ids and participants in range, integers in signed 64 bits.
Whether it makes *sense* (a price of 0, a symbol nobody listed) depends on the rulebook and is
answered by the engine with an event.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias, get_args

import msgspec

from ..errors import IllegalTransition, MalformedCommand
from .enums import OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from .fields import (
    check_boolean,
    check_int64,
    check_member,
    check_order_id,
    check_participant,
    check_symbol,
    check_text,
)


class ListInstrument(msgspec.Struct, frozen=True, gc=False):
    """Make a symbol tradable. Sizes are decimal texts, such as "0.01": see the rulebook."""

    symbol: str
    tick_size: str
    lot_size: str

    def __post_init__(self) -> None:
        check_symbol(self.symbol)
        check_text("tick_size", self.tick_size)
        check_text("lot_size", self.lot_size)


class NewOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Buy or sell `quantity` lots. `order_id` names the order for ever, engine-wide.

    `price` is in ticks and belongs to a LIMIT. `time_in_force` None means GTC for a LIMIT and IOC
    for a MARKET.

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


class CancelOrder(msgspec.Struct, frozen=True, gc=False):
    """Take what is left of an order out of the book. Safe to send again after a lost answer."""

    order_id: int
    participant: int

    def __post_init__(self) -> None:
        check_order_id(self.order_id)
        check_participant(self.participant)


class ReduceOrder(msgspec.Struct, frozen=True, gc=False):
    """Take `by` lots off an order, which keeps its place. Sent twice it acts twice."""

    order_id: int
    participant: int
    by: int

    def __post_init__(self) -> None:
        check_order_id(self.order_id)
        check_participant(self.participant)
        check_int64("by", self.by)


class ReplaceOrder(msgspec.Struct, frozen=True, gc=False):
    """Give an order another price or open quantity, or both; None keeps. It loses its place."""

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


class MassCancel(msgspec.Struct, frozen=True, gc=False):
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


_S = OrderStatus
_LEAVES_NEW: Final = frozenset({_S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED, _S.EXPIRED})
_NOTHING: Final = frozenset[OrderStatus]()

TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = MappingProxyType(
    {
        _S.PENDING_NEW: frozenset({_S.NEW, _S.REJECTED}),
        _S.NEW: _LEAVES_NEW,
        _S.PARTIALLY_FILLED: _LEAVES_NEW,
        _S.FILLED: _NOTHING,
        _S.CANCELED: _NOTHING,
        _S.EXPIRED: _NOTHING,
        _S.REJECTED: _NOTHING,
    }
)
"""The whole lifecycle: from each status, the statuses an order may take next.

PARTIALLY_FILLED may follow itself. What leads nowhere is terminal.
"""

TERMINAL: Final = frozenset(status for status, after in TRANSITIONS.items() if not after)


def transition(before: OrderStatus, after: OrderStatus) -> OrderStatus:
    """Return `after` if the table has that step, otherwise raise `IllegalTransition`.

    >>> transition(OrderStatus.NEW, OrderStatus.FILLED)
    <OrderStatus.FILLED: 'FILLED'>
    >>> transition(OrderStatus.FILLED, OrderStatus.CANCELED)
    Traceback (most recent call last):
        ...
    v1_order_matching_engine.errors.IllegalTransition: FILLED -> CANCELED is not in the lifecycle
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"{before} -> {after} is not in the lifecycle")
    return after


class Order(msgspec.Struct, eq=False, gc=False):
    """An order on its way through the engine or at rest in the book.

    It holds only what later commands need. Two orders are the same only if they are the same
    object. gc=False: it refers to no container, so it cannot be part of a cycle.

    Invariants:
    1. While it rests, `remaining` >= 1 and `status` is NEW or PARTIALLY_FILLED.
    2. `status` changes only along `TRANSITIONS`.
    3. `side`, `price` and `remaining` of a resting order are changed by its book alone.
    """

    order_id: int
    participant: int
    symbol: str
    side: Side
    price: int  # ticks; a MARKET carries the worst price there is
    remaining: int  # lots still open
    self_trade_prevention: SelfTradePrevention
    post_only: bool
    status: OrderStatus = OrderStatus.PENDING_NEW

    def move_to(self, status: OrderStatus) -> None:
        """Take one step of the lifecycle; `IllegalTransition` if the table does not have it."""
        # As `transition`, without the call: this is done for every order and every fill.
        if status not in TRANSITIONS[self.status]:
            transition(self.status, status)
        self.status = status
