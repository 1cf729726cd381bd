"""The life of an order.

It is one table, written as what each happening makes of each status::

    happening       PENDING_NEW  NEW               PARTIALLY_FILLED
    ACCEPT          NEW          -                 -
    REJECT          REJECTED     -                 -
    PARTIAL_FILL    -            PARTIALLY_FILLED  PARTIALLY_FILLED
    FILL            -            FILLED            FILLED
    CANCEL          -            CANCELED          CANCELED
    EXPIRE          -            EXPIRED           EXPIRED

FILLED, CANCELED, EXPIRED and REJECTED have no column: nothing leads out of them. A lookup is both
the transition and its check. A status that a table does not have is a bug in the engine: the
matcher makes an `IllegalTransition` of the `KeyError` before anything is published. The tables are
plain dictionaries, because a lookup in a subclass takes twice as long (benchmark: matching, 3 %).

>>> FILL[OrderStatus.NEW]
<OrderStatus.FILLED: 4>
>>> OrderStatus.CANCELED in FILL
False
"""

from typing import Final

from .enums import OrderStatus

Transitions = dict[OrderStatus, OrderStatus]

# --8<-- [start:table]
PENDING_NEW = OrderStatus.PENDING_NEW
NEW = OrderStatus.NEW
PARTIALLY_FILLED = OrderStatus.PARTIALLY_FILLED

ACCEPT: Final[Transitions] = {PENDING_NEW: NEW}
REJECT: Final[Transitions] = {PENDING_NEW: OrderStatus.REJECTED}
PARTIAL_FILL: Final[Transitions] = {NEW: PARTIALLY_FILLED, PARTIALLY_FILLED: PARTIALLY_FILLED}
FILL: Final[Transitions] = {NEW: OrderStatus.FILLED, PARTIALLY_FILLED: OrderStatus.FILLED}
CANCEL: Final[Transitions] = {NEW: OrderStatus.CANCELED, PARTIALLY_FILLED: OrderStatus.CANCELED}
EXPIRE: Final[Transitions] = {NEW: OrderStatus.EXPIRED, PARTIALLY_FILLED: OrderStatus.EXPIRED}
# --8<-- [end:table]
