"""V2: many producers, one queue, one writer, and a log that is written before anything happens.

    from v2_event_driven_engine import MatchingEngine, NewOrder, OrderType, Side

`MatchingEngine.open` takes a data directory and gives an engine whose every answer is durable.
Reading order: `errors`, `models/`, `engine/` (its `__init__` names the floors), `cli/`, `main`.
"""

from .engine.event_engine import BookView, EventDrivenMatchingEngine
from .engine.event_log import Batch, EventLog, Place
from .engine.events import (
    CancelRejected,
    InstrumentListed,
    InstrumentRejected,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
)
from .engine.log.memory import MemoryEventLog
from .engine.market.views import Depth, Level, OrderView, State
from .engine.receipt import Receipt
from .engine.trade import TradeExecuted
from .errors import (
    AnswerForgotten,
    BatchTooLarge,
    DirectoryInUse,
    DirectoryUnusable,
    EngineBusy,
    EngineClosed,
    EngineError,
    EngineStopped,
    Fenced,
    IllegalTransition,
    InstrumentRefused,
    InvariantBroken,
    LogDamaged,
    LogUnavailable,
    MalformedCommand,
    MatcherBug,
    ReplayDivergence,
    SequenceGap,
    StoreError,
    UnsupportedFormat,
    WriterBlocked,
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
from .models.event import Event

MatchingEngine = EventDrivenMatchingEngine
"""The same name as in V1, so that a program moves from one to the other by its import."""

__all__ = [
    "AnswerForgotten",
    "Batch",
    "BatchTooLarge",
    "BookView",
    "CancelOrder",
    "CancelReason",
    "CancelRejected",
    "CancelRequest",
    "Command",
    "Depth",
    "DirectoryInUse",
    "DirectoryUnusable",
    "EngineBusy",
    "EngineClosed",
    "EngineError",
    "EngineStopped",
    "Event",
    "EventDrivenMatchingEngine",
    "EventLog",
    "Fenced",
    "IllegalTransition",
    "InstrumentListed",
    "InstrumentRefused",
    "InstrumentRejected",
    "InvariantBroken",
    "Level",
    "ListInstrument",
    "LogDamaged",
    "LogUnavailable",
    "MalformedCommand",
    "MassCancel",
    "MassCanceled",
    "MatcherBug",
    "MatchingEngine",
    "MemoryEventLog",
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
    "Place",
    "Receipt",
    "ReduceOrder",
    "RejectReason",
    "ReplaceOrder",
    "ReplayDivergence",
    "SelfTradePrevention",
    "SequenceGap",
    "Side",
    "State",
    "StoreError",
    "TimeInForce",
    "TradeExecuted",
    "UnsupportedFormat",
    "WriterBlocked",
]
