"""V1 of the order matching engine: correctness first, one lock around everything.

    from v1_order_matching_engine import MatchingEngine, NewOrder, OrderType, Side

`MatchingEngine` takes commands and returns events; README.md shows a session.
"""

from .engine.matcher import BookView, MatchingEngine, Recorded, replay
from .engine.order_book import DepthLevel
from .engine.trade import (
    CancelRejected,
    Event,
    InstrumentListed,
    InstrumentRejected,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    TradeExecuted,
)
from .engine.views import Depth, OrderView, State
from .errors import (
    EngineStopped,
    IllegalTransition,
    InvariantBroken,
    MalformedCommand,
    MalformedLine,
    MatchingEngineError,
)
from .models.enums import (
    CancelReason,
    CancelRejectReason,
    CancelRequest,
    InstrumentRejectReason,
    OrderRejectReason,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from .models.order import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)

__all__ = [
    "BookView",
    "CancelOrder",
    "CancelReason",
    "CancelRejectReason",
    "CancelRejected",
    "CancelRequest",
    "Command",
    "Depth",
    "DepthLevel",
    "EngineStopped",
    "Event",
    "IllegalTransition",
    "InstrumentListed",
    "InstrumentRejectReason",
    "InstrumentRejected",
    "InvariantBroken",
    "ListInstrument",
    "MalformedCommand",
    "MalformedLine",
    "MassCancel",
    "MassCanceled",
    "MatchingEngine",
    "MatchingEngineError",
    "NewOrder",
    "OrderAccepted",
    "OrderCanceled",
    "OrderExpired",
    "OrderReduced",
    "OrderRejectReason",
    "OrderRejected",
    "OrderReplaced",
    "OrderStatus",
    "OrderType",
    "OrderView",
    "Recorded",
    "ReduceOrder",
    "ReplaceOrder",
    "SelfTradePrevention",
    "Side",
    "State",
    "TimeInForce",
    "TradeExecuted",
    "replay",
]
