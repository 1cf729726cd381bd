"""The NDJSON interface: one JSON object a line in, one a line out (rulebook section 8).

Reading has two steps: ``msgspec`` decodes a line strictly into a *wire* structure (right fields,
right JSON types, known names), then the wire structure says which command or query it is. Ranges
are judged by ``engine/validation.py``, like those of commands that come from Python.
"""

import re
from enum import IntEnum
from typing import Any, Literal

import msgspec

from .engine.events import (
    AnyEvent,
    CancelOrder,
    CancelRejected,
    Command,
    InstrumentListed,
    InstrumentRejected,
    ListInstrument,
    MassCancel,
    MassCanceled,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    ReduceOrder,
    ReplaceOrder,
)
from .engine.trade import TradeExecuted
from .engine.validation import END_OF_INT64, is_symbol, validate
from .errors import MalformedCommand
from .models.enums import OrderType, SelfTradePrevention, Side, TimeInForce


class StateQuery(msgspec.Struct, frozen=True):
    """How many orders rest and what their hash is."""


class OrderQuery(msgspec.Struct, frozen=True):
    """Status and open quantity of one order."""

    order_id: int


class BookQuery(msgspec.Struct, frozen=True):
    """The best ``depth`` levels of both sides."""

    symbol: str
    depth: int


Query = StateQuery | OrderQuery | BookQuery


class Wire(msgspec.Struct, forbid_unknown_fields=True, tag_field="command"):
    """A line's JSON object, strictly typed."""


class NewLine(Wire, tag="new"):
    order_id: int
    participant: int
    symbol: str
    side: Literal["BUY", "SELL"]
    type: Literal["LIMIT", "MARKET"]
    quantity: int
    price: int | None = None
    time_in_force: Literal["GTC", "IOC", "FOK"] | None = None
    post_only: bool | None = None
    self_trade_prevention: Literal["NONE", "CANCEL_TAKER", "CANCEL_MAKER", "CANCEL_BOTH"] | None = (
        None
    )

    def request(self) -> Command:
        return NewOrder(
            self.order_id,
            self.participant,
            self.symbol,
            Side[self.side],
            OrderType[self.type],
            self.price,
            self.quantity,
            None if self.time_in_force is None else TimeInForce[self.time_in_force],
            self.post_only is True,
            SelfTradePrevention[self.self_trade_prevention or "NONE"],
        )


class CancelLine(Wire, tag="cancel"):
    order_id: int
    participant: int

    def request(self) -> Command:
        return CancelOrder(self.order_id, self.participant)


class ReduceLine(Wire, tag="reduce"):
    order_id: int
    participant: int
    by: int

    def request(self) -> Command:
        return ReduceOrder(self.order_id, self.participant, self.by)


class ReplaceLine(Wire, tag="replace"):
    order_id: int
    participant: int
    price: int | None = None
    quantity: int | None = None

    def request(self) -> Command:
        return ReplaceOrder(self.order_id, self.participant, self.price, self.quantity)


class MassCancelLine(Wire, tag="mass_cancel"):
    participant: int
    symbol: str | None

    def request(self) -> Command:
        return MassCancel(self.participant, self.symbol)


class ListInstrumentLine(Wire, tag="list_instrument"):
    symbol: str
    tick_size: str
    lot_size: str

    def request(self) -> Command:
        return ListInstrument(self.symbol, self.tick_size, self.lot_size)


class QueryWire(msgspec.Struct, forbid_unknown_fields=True, tag_field="query"):
    """A query's JSON object, strictly typed."""


class StateLine(QueryWire, tag="state"):
    def request(self) -> Query:
        return StateQuery()


class OrderLine(QueryWire, tag="order"):
    order_id: int

    def request(self) -> Query:
        if not 0 < self.order_id < END_OF_INT64:
            raise MalformedCommand("order_id", "expected an integer from 1 to 9223372036854775807")
        return OrderQuery(self.order_id)


class BookLine(QueryWire, tag="book"):
    symbol: str
    depth: int | None = None

    def request(self) -> Query:
        if not is_symbol(self.symbol):
            raise MalformedCommand("symbol", "expected 1 to 16 characters of A-Z 0-9 . - /")
        depth = 10 if self.depth is None else self.depth
        if not 1 <= depth < END_OF_INT64:
            raise MalformedCommand("depth", "expected an integer of 1 or more")
        return BookQuery(self.symbol, depth)


CommandLines = NewLine | CancelLine | ReduceLine | ReplaceLine | MassCancelLine | ListInstrumentLine
QueryLines = StateLine | OrderLine | BookLine
_commands = msgspec.json.Decoder(CommandLines)


def parse(line: bytes) -> Command | Query:
    """The command or query that a line holds. O(length).

    Raises:
        MalformedCommand: the text names the field, what is wrong and what is expected; it is short
            however long the line is.
    """
    try:
        command: Command = _commands.decode(line).request()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _parse_slowly(line, str(error))
    validate(command)
    return command


def _parse_slowly(line: bytes, first_problem: str) -> Command | Query:
    """A query, a command with a key given twice (the last counts), or something to explain."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if " - at `$." in first_problem:  # a number too long for any integer, in a known field
            raise _explain_field(first_problem, "command") from None
        raise MalformedCommand("line", _short(f"not JSON: {error}")) from None
    except RecursionError:
        raise MalformedCommand("line", "nested too deeply") from None
    if not isinstance(fields, dict):
        raise MalformedCommand("line", 'expected a JSON object such as {"command": "cancel", …}')
    lines: Any = CommandLines
    if "command" not in fields:
        if "query" not in fields:
            raise MalformedCommand("command", 'missing; every line needs "command" or "query"')
        lines = QueryLines
    try:
        wire: Any = msgspec.convert(fields, lines)
    except msgspec.ValidationError as error:
        raise _explain_field(str(error), "command" if lines is CommandLines else "query") from None
    request: Command | Query = wire.request()
    if not isinstance(request, Query):
        validate(request)
    return request


def _explain_field(message: str, kind: str) -> MalformedCommand:
    """msgspec's message, with the field it is about in front."""
    if named := re.match(r"Object (missing required|contains unknown) field `(.*)`", message, re.S):
        problem = "missing" if named[1] == "missing required" else "unknown field"
        return MalformedCommand(_short(named[2]), problem)
    problem, _, path = message.rpartition(" - at `$.")
    if not problem:
        return MalformedCommand(kind, _short(message))
    return MalformedCommand(_short(path.rstrip("`")), _short(problem))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "…"


EVENT_NAMES: dict[type[AnyEvent], str] = {
    InstrumentListed: "instrument_listed",
    InstrumentRejected: "instrument_rejected",
    OrderAccepted: "order_accepted",
    OrderRejected: "order_rejected",
    TradeExecuted: "trade_executed",
    OrderCanceled: "order_canceled",
    OrderExpired: "order_expired",
    OrderReduced: "order_reduced",
    OrderReplaced: "order_replaced",
    MassCanceled: "mass_canceled",
    CancelRejected: "cancel_rejected",
}


def event_fields(event: AnyEvent) -> dict[str, Any]:
    """The event as the plain JSON object of the rulebook. O(fields)."""
    return {
        "event": EVENT_NAMES[type(event)],
        **{
            field: value.name if isinstance(value, IntEnum) else value
            for field, value in msgspec.structs.asdict(event).items()
        },
    }


encode = msgspec.json.encode
