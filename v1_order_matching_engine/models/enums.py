"""The closed lists of words of the rulebook. Every value is spelled as in NDJSON.

All are `StrEnum`: a member is its own text, so it hashes and encodes at the speed of a string.

>>> Side.BUY == "BUY"
True
"""

from enum import StrEnum, unique


@unique
class Side(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"


@unique
class OrderType(StrEnum):
    """LIMIT stops at its price; MARKET takes every level."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


@unique
class TimeInForce(StrEnum):
    """What happens to the quantity that does not trade at once."""

    GTC = "GTC"  # good till canceled: it rests in the book
    IOC = "IOC"  # immediate or cancel: it expires
    FOK = "FOK"  # fill or kill: all of it trades at once, or nothing does


@unique
class SelfTradePrevention(StrEnum):
    """What happens when a taker reaches an order of its own participant; the taker chooses."""

    NONE = "NONE"
    CANCEL_TAKER = "CANCEL_TAKER"
    CANCEL_MAKER = "CANCEL_MAKER"
    CANCEL_BOTH = "CANCEL_BOTH"


@unique
class OrderStatus(StrEnum):
    """The status of an order in its lifecycle; `models.order.TRANSITIONS` has the steps."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    # No order ever has it: the answer to a question about an id that was never used.
    UNKNOWN = "UNKNOWN"


@unique
class CancelReason(StrEnum):
    """Why an order left the book without trading."""

    USER = "USER"
    SELF_TRADE = "SELF_TRADE"
    MASS_CANCEL = "MASS_CANCEL"


@unique
class CancelRequest(StrEnum):
    """Which request a `cancel_rejected` answers."""

    CANCEL = "CANCEL"
    REDUCE = "REDUCE"
    REPLACE = "REPLACE"


@unique
class RejectReason(StrEnum):
    """Why a command was refused; one list for all commands, each uses a part of it."""

    DUPLICATE_SYMBOL = "DUPLICATE_SYMBOL"
    INVALID_TICK_SIZE = "INVALID_TICK_SIZE"
    INVALID_LOT_SIZE = "INVALID_LOT_SIZE"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    DUPLICATE_ORDER_ID = "DUPLICATE_ORDER_ID"
    INVALID_PRICE = "INVALID_PRICE"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    INVALID_TIME_IN_FORCE = "INVALID_TIME_IN_FORCE"
    POST_ONLY_WOULD_TRADE = "POST_ONLY_WOULD_TRADE"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    TOO_LATE = "TOO_LATE"
    NOT_OWNER = "NOT_OWNER"
