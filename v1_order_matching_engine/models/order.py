"""An order and its lifecycle: the table of every step that an order may take."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ..errors import IllegalTransition
from .enums import OrderStatus, SelfTradePrevention, Side

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
"""The whole lifecycle: for each status, every status that may come next.

PARTIALLY_FILLED may come after itself. A status without a next one is terminal.
"""

TERMINAL: Final = frozenset(status for status, after in TRANSITIONS.items() if not after)


def transition(before: OrderStatus, after: OrderStatus) -> OrderStatus:
    """The status `after`, if the table has that step.

    Raises:
        IllegalTransition: it has not.

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
    """An order that is being matched, or that rests in the book.

    It holds only what later commands need. Two orders are equal only if they are the same object.
    gc=False: it refers to no container, so it cannot be part of a cycle.

    Invariants:
    1. While it rests in the book, `remaining` >= 1 and `status` is NEW or PARTIALLY_FILLED.
    2. `status` changes only along `TRANSITIONS`.
    3. While it rests, only its book changes `remaining`, and nothing changes `side` or `price`.
    """

    order_id: int
    participant: int
    symbol: str
    side: Side
    price: int  # ticks; a MARKET has the worst price that there is
    remaining: int  # lots still open
    self_trade_prevention: SelfTradePrevention
    post_only: bool
    status: OrderStatus = OrderStatus.PENDING_NEW

    def move_to(self, status: OrderStatus) -> None:
        """Take one step of the lifecycle.

        Raises:
            IllegalTransition: the table does not have it.
        """
        # `transition` without its call, because every order and every fill comes here.
        if status not in TRANSITIONS[self.status]:
            transition(self.status, status)
        self.status = status
