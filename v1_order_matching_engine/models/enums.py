"""The closed word lists of the rulebook. Every value is spelled as it travels in NDJSON.

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
    """LIMIT stops at its price; MARKET takes whatever is there."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


@unique
class TimeInForce(StrEnum):
    """What becomes of the quantity that does not trade at once."""

    GTC = "GTC"  # good till canceled: it rests in the book
    IOC = "IOC"  # immediate or cancel: it expires
    FOK = "FOK"  # fill or kill: all of it trades at once, or nothing does


@unique
class SelfTradePrevention(StrEnum):
    """What a taker wants done when its sweep reaches an order of its own participant."""

    NONE = "NONE"
    CANCEL_TAKER = "CANCEL_TAKER"
    CANCEL_MAKER = "CANCEL_MAKER"
    CANCEL_BOTH = "CANCEL_BOTH"


@unique
class OrderStatus(StrEnum):
    """Where an order stands in its lifecycle (`models.order.TRANSITIONS` has the steps)."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    # Not a state of any order: the answer to a question about an id that was never used.
    UNKNOWN = "UNKNOWN"


@unique
class InstrumentRejectReason(StrEnum):
    """Why a `list_instrument` was refused."""

    DUPLICATE_SYMBOL = "DUPLICATE_SYMBOL"
    INVALID_TICK_SIZE = "INVALID_TICK_SIZE"
    INVALID_LOT_SIZE = "INVALID_LOT_SIZE"


@unique
class OrderRejectReason(StrEnum):
    """Why a `new` was refused, in the order in which the engine checks."""

    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    DUPLICATE_ORDER_ID = "DUPLICATE_ORDER_ID"
    INVALID_PRICE = "INVALID_PRICE"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    INVALID_TIME_IN_FORCE = "INVALID_TIME_IN_FORCE"
    POST_ONLY_WOULD_TRADE = "POST_ONLY_WOULD_TRADE"


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
class CancelRejectReason(StrEnum):
    """Why a cancel, reduce or replace was refused, in the order in which the engine checks."""

    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    TOO_LATE = "TOO_LATE"
    NOT_OWNER = "NOT_OWNER"
    INVALID_PRICE = "INVALID_PRICE"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    POST_ONLY_WOULD_TRADE = "POST_ONLY_WOULD_TRADE"
