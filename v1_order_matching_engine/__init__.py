"""V1 of the order matching engine: correctness first, one lock around everything.

    from v1_order_matching_engine import MatchingEngine, NewOrder, OrderType, Side

`MatchingEngine` takes commands and returns events; README.md shows a session. Everything public is
imported from here. V2 exports the same names, and its `submit` returns a receipt of the events.
Reading order: `errors`, `models/`, `concurrency/`, `engine/`, `utils/`, `main`: each imports only
what is before it.
"""

from .engine.events import (
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
from .engine.matching_engine import BookView, MatchingEngine, Recorded, replay
from .engine.views import Depth, Level, OrderView, State
from .errors import (
    EngineError,
    EngineStopped,
    IllegalTransition,
    InstrumentRefused,
    InvariantBroken,
    MalformedCommand,
)
from .models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from .models.enums import (
    CancelReason,
    CancelRequest,
    OrderStatus,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

__all__ = [
    "BookView",
    "CancelOrder",
    "CancelReason",
    "CancelRejected",
    "CancelRequest",
    "Command",
    "Depth",
    "EngineError",
    "EngineStopped",
    "Event",
    "IllegalTransition",
    "InstrumentListed",
    "InstrumentRefused",
    "InstrumentRejected",
    "InvariantBroken",
    "Level",
    "ListInstrument",
    "MalformedCommand",
    "MassCancel",
    "MassCanceled",
    "MatchingEngine",
    "NewOrder",
    "OrderAccepted",
    "OrderCanceled",
    "OrderExpired",
    "OrderReduced",
    "OrderRejected",
    "OrderReplaced",
    "OrderStatus",
    "OrderType",
    "OrderView",
    "Recorded",
    "ReduceOrder",
    "RejectReason",
    "ReplaceOrder",
    "SelfTradePrevention",
    "Side",
    "State",
    "TimeInForce",
    "TradeExecuted",
    "replay",
]
