"""Enumerations, named as FIX names them.

Members are small integers because they travel in the log millions of times; people and JSON see
their names (`Side.BUY` is written `"BUY"`). A number once given to a member is part of the log
format and never changes its meaning.
"""

from enum import IntEnum


class Side(IntEnum):
    """The side of an order, and of the book it rests in (FIX 54)."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """A LIMIT stops at its price, a MARKET takes every level (FIX 40)."""

    LIMIT = 1
    MARKET = 2


class TimeInForce(IntEnum):
    """What happens to the part that does not trade at once (FIX 59)."""

    GTC = 1
    """Good till canceled: the remainder joins the book."""
    IOC = 2
    """Immediate or cancel: the remainder expires."""
    FOK = 3
    """Fill or kill: all of it trades at once, or none."""


class SelfTradePrevention(IntEnum):
    """What the taker wants when it meets an order of its own participant (FIX 2362)."""

    NONE = 1
    CANCEL_TAKER = 2
    CANCEL_MAKER = 3
    CANCEL_BOTH = 4


class OrderStatus(IntEnum):
    """Where an order is in its life (FIX 39); the transitions are in `models/order.py`."""

    UNKNOWN = 0
    """The answer for an id that was never used. No order ever has it."""
    PENDING_NEW = 1
    NEW = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    CANCELED = 5
    EXPIRED = 6
    REJECTED = 7


class CancelReason(IntEnum):
    """Why an order, or what was left of a taker, was canceled."""

    USER = 1
    SELF_TRADE = 2
    MASS_CANCEL = 3


class CancelRequest(IntEnum):
    """Which request a `cancel_rejected` answers (FIX 434)."""

    CANCEL = 1
    REDUCE = 2
    REPLACE = 3


class RejectReason(IntEnum):
    """Why a sequenced command was refused. A refusal is an event like any other: it replays."""

    DUPLICATE_SYMBOL = 1
    INVALID_TICK_SIZE = 2
    INVALID_LOT_SIZE = 3
    UNKNOWN_SYMBOL = 4
    DUPLICATE_ORDER_ID = 5
    INVALID_PRICE = 6
    INVALID_QUANTITY = 7
    INVALID_TIME_IN_FORCE = 8
    POST_ONLY_WOULD_TRADE = 9
    UNKNOWN_ORDER = 10
    TOO_LATE = 11
    NOT_OWNER = 12
