"""V2: many producers, one queue, one writer, and a log that is written before anything happens."""

from .engine.event_engine import EventDrivenMatchingEngine
from .engine.events import (
    CancelOrder,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from .models.enums import OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce

__all__ = [
    "CancelOrder",
    "EventDrivenMatchingEngine",
    "ListInstrument",
    "MassCancel",
    "NewOrder",
    "OrderStatus",
    "OrderType",
    "ReduceOrder",
    "ReplaceOrder",
    "SelfTradePrevention",
    "Side",
    "TimeInForce",
]
