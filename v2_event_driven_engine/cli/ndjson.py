"""The NDJSON interface: one JSON object a line in, one a line out (rulebook section 8).

A line becomes a *wire* structure, which `msgspec` fills strictly (right fields, right JSON types,
known names), and that says which command or query it is. There are two ways to it:

- `parse_lines`, the quick one, for many lines at once. What it does not take at a glance it leaves
  to the other, which decides.
- `parse`, for one line, checks it as if it came from Python, and explains what is wrong.

Writing is the same in the other direction: an event becomes a structure with the names of the
rulebook, and `msgspec` writes many of them at once.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_type_hints

import msgspec

from ..engine.event_engine import DEFAULT_DEPTH
from ..engine.events import EVENT_NAMES, AnyEvent, OrderAccepted, OrderCanceled
from ..engine.market.validation import (
    END_OF_INT64,
    END_OF_UINT32,
    LONGEST_SYMBOL,
    NOT_TEXT,
    START_OF_INT64,
    check_depth,
    check_order_id,
    check_symbol,
    is_symbol,
    validate,
)
from ..engine.trade import TradeExecuted
from ..errors import MalformedCommand
from ..models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from ..models.enums import OrderType, SelfTradePrevention, Side, TimeInForce
from ..models.event import Event


class StateQuery(msgspec.Struct, frozen=True):
    """How many orders rest and what their hash is."""


class OrderQuery(msgspec.Struct, frozen=True):
    """Status and open quantity of one order."""

    order_id: int


class BookQuery(msgspec.Struct, frozen=True):
    """The best `depth` levels of both sides."""

    symbol: str
    depth: int


Query = StateQuery | OrderQuery | BookQuery


class Wire(msgspec.Struct, forbid_unknown_fields=True, tag_field="command"):
    """A line's JSON object, strictly typed."""

    def request(self) -> Command:
        """The command that it says, yet to be checked."""
        raise NotImplementedError


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
        check_order_id(self.order_id)
        return OrderQuery(self.order_id)


class BookLine(QueryWire, tag="book"):
    symbol: str
    depth: int | None = None

    def request(self) -> Query:
        check_symbol(self.symbol)
        depth = DEFAULT_DEPTH if self.depth is None else self.depth
        check_depth(depth)
        return BookQuery(self.symbol, depth)


CommandLines = NewLine | CancelLine | ReduceLine | ReplaceLine | MassCancelLine | ListInstrumentLine
QueryLines = StateLine | OrderLine | BookLine
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for a line that is something else, whatever it is."""
_commands = msgspec.json.Decoder(CommandLines)


def parse(line: bytes) -> Command | Query:
    """The command or query that a line holds, checked. O(length).

    Raises:
        MalformedCommand: the text names the field, what is wrong and what is expected; it is short
            however long the line is.
    """
    try:
        request: Command | Query = _commands.decode(line).request()
    except UNREADABLE as error:
        request = _parse_slowly(line, str(error))
    if not isinstance(request, Query):
        validate(request)
    return request


def _parse_slowly(line: bytes, first_problem: str) -> Command | Query:
    """A query, a command with a key given twice (the last counts), or something to explain."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if " - at `$." in first_problem:  # a number too long for any integer, in a known field
            raise _explain_field(first_problem, "command") from None
        _explain_surrogates(line)
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
    return request


def _explain_surrogates(line: bytes) -> None:
    """Half a character, such as "\\ud800", is JSON but no text: name the field that has it."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return
    for field, value in fields.items() if isinstance(fields, dict) else ():
        if isinstance(value, str) and not _is_text(value):
            raise MalformedCommand(_short(field) if _is_text(field) else "line", NOT_TEXT)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _explain_field(message: str, kind: str) -> MalformedCommand:
    """The message of msgspec, with the field that it is about in front."""
    if named := re.match(r"Object (missing required|contains unknown) field `(.*)`", message, re.S):
        problem = "missing" if named[1] == "missing required" else "unknown field"
        return MalformedCommand(_short(named[2]), problem)
    problem, _, path = message.rpartition(" - at `$.")
    if not problem:
        return MalformedCommand(kind, _short(message))
    return MalformedCommand(_short(path.rstrip("`")), _short(problem))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "…"


# -- Many lines at once ---------------------------------------------------------------------------

LONGEST_LINE_BYTES = 65_536
"""Without its line feed; a longer line is malformed (rulebook 1)."""
BLANKS = b" \t\r"
"""White space as JSON knows it."""


class Malformed(NamedTuple):
    """A line that is neither a command nor a query."""

    line: int
    error: str


_Integer = Annotated[int, msgspec.Meta(ge=START_OF_INT64, le=END_OF_INT64 - 1)]
_LIMITS: dict[str, Any] = {
    "order_id": Annotated[int, msgspec.Meta(ge=1, le=END_OF_INT64 - 1)],
    "participant": Annotated[int, msgspec.Meta(ge=1, le=END_OF_UINT32 - 1)],
    "symbol": Annotated[str, msgspec.Meta(max_length=LONGEST_SYMBOL)],
    "price": _Integer,
    "quantity": _Integer,
    "by": _Integer,
}


def _limited(line: type[Wire]) -> type[msgspec.Struct]:
    """The same structure, whose values `msgspec` holds to their limits as it decodes them."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(line):
        if field.name in _LIMITS:
            limited = _LIMITS[field.name]
            kind = limited | None if NoneType in get_args(field.type) else limited
            fields.append((field.name, kind, field.default))
    return msgspec.defstruct(
        line.__name__, fields, bases=(line,), tag=line.__struct_config__.tag, gc=False
    )


_Limited = {line: _limited(line) for line in get_args(CommandLines)}
_LimitedNew = _Limited[NewLine]
_LimitedCancel = _Limited[CancelLine]
_decoder = msgspec.json.Decoder(Union[tuple(_Limited.values())])  # noqa: UP007
_decode = _decoder.decode
_SIDES = dict(Side.__members__)
_TYPES = dict(OrderType.__members__)
_TIMES_IN_FORCE: dict[str | None, TimeInForce | None] = {
    None: None,
    **{each.name: each for each in TimeInForce},
}
_PREVENTIONS: dict[str | None, SelfTradePrevention] = {
    None: SelfTradePrevention.NONE,
    **{each.name: each for each in SelfTradePrevention},
}


def parse_lines(
    lines: Iterable[bytes], first: int = 1
) -> Iterator[list[Command] | Query | Malformed]:
    """What these lines hold, in their order: runs of commands, checked; blank lines are left out.

    The lines are without their line feeds; the first has the number `first`. O(bytes). The hot loop
    of `run` and `stdio`: the commands that are sent most are made here from what was decoded, and
    only what is beyond JSON is looked at again. To call `parse` for each line, and `validate` for
    each command, took more than twice as long (benchmark: end_to_end).
    """
    run: list[Command] = []
    for number, wire in enumerate(_wires(lines), first):
        kind = type(wire)
        if kind is _LimitedCancel:
            run.append(CancelOrder(wire.order_id, wire.participant))
        elif (
            kind is _LimitedNew
            and is_symbol(wire.symbol)
            and (wire.price is not None or wire.type == "MARKET")
        ):
            run.append(
                NewOrder(
                    wire.order_id, wire.participant, wire.symbol, _SIDES[wire.side],
                    _TYPES[wire.type], wire.price, wire.quantity,
                    _TIMES_IN_FORCE[wire.time_in_force], wire.post_only is True,
                    _PREVENTIONS[wire.self_trade_prevention],
                )
            )  # fmt: skip
        else:
            other = _parse_other(wire, number)
            if isinstance(other, Command):
                run.append(other)
            elif other is not None:
                if run:
                    yield run
                    run = []
                yield other
    if run:
        yield run


def _wires(lines: Iterable[bytes]) -> list[Any]:
    """Each line decoded, or as it is where that is for `parse` to do. O(bytes)."""
    try:  # nearly always all of them can be
        return [_decode(line) if len(line) <= LONGEST_LINE_BYTES else line for line in lines]
    except UNREADABLE:
        return [_wire(line) for line in lines]


def _wire(line: bytes) -> Any:
    try:
        return _decode(line) if len(line) <= LONGEST_LINE_BYTES else line
    except UNREADABLE:
        return line


def _parse_other(line: bytes | Wire, number: int) -> Command | Query | Malformed | None:
    """As `parse`, for any line; None if it is blank."""
    try:
        if isinstance(line, Wire):
            command = line.request()
            validate(command)
            return command
        if len(line) > LONGEST_LINE_BYTES:
            return Malformed(number, f"line: longer than {LONGEST_LINE_BYTES:,} bytes")
        line = line.strip(BLANKS)
        return parse(line) if line else None
    except MalformedCommand as error:
        return Malformed(number, str(error))


# -- Writing -------------------------------------------------------------------------------------

encode = msgspec.json.encode
_encode_lines = msgspec.json.Encoder().encode_lines


def encode_events(answers: Iterable[Iterable[AnyEvent]]) -> bytes:
    """The lines of the events of some commands, each with its line feed. O(bytes).

    With structures this takes a quarter of the time that it took with dictionaries (benchmark:
    end_to_end).
    """
    return _encode_lines([_LINE_OF[type(event)](event) for events in answers for event in events])


def _line(event: type[Event]) -> type[msgspec.Struct]:
    """The structure that is written as the JSON object of an event: same fields, enums by name."""
    return msgspec.defstruct(
        event.__name__, [(name, Any) for name in event.__struct_fields__],
        tag_field="event", tag=EVENT_NAMES[event], frozen=True, gc=False,
    )  # fmt: skip


def _line_of(event: type[Event]) -> Callable[[Any], object]:
    """What makes the line of an event."""
    line = _line(event)
    fields = get_type_hints(event).items()
    enumerations = [
        name for name, kind in fields if isinstance(kind, type) and issubclass(kind, IntEnum)
    ]
    values = attrgetter(
        *(f"{name}._name_" if name in enumerations else name for name in event.__struct_fields__)
    )
    return lambda event: line(*values(event))


_Accepted = _line(OrderAccepted)
_Canceled = _line(OrderCanceled)
_Executed = _line(TradeExecuted)


def _accepted(event: OrderAccepted) -> object:
    return _Accepted(
        event.sequence, event.index, event.timestamp_ns, event.order_id, event.participant,
        event.symbol, event.side._name_, event.type._name_, event.price, event.quantity,
        event.time_in_force._name_, event.post_only, event.self_trade_prevention._name_,
    )  # fmt: skip


def _canceled(event: OrderCanceled) -> object:
    return _Canceled(
        event.sequence, event.index, event.timestamp_ns, event.order_id, event.participant,
        event.reason._name_, event.remaining,
    )  # fmt: skip


def _executed(event: TradeExecuted) -> object:
    return _Executed(
        event.sequence, event.index, event.timestamp_ns, event.trade_id, event.symbol, event.price,
        event.quantity, event.maker_order_id, event.taker_order_id, event.maker_participant,
        event.taker_participant, event.taker_side._name_, event.maker_remaining,
        event.taker_remaining,
    )  # fmt: skip


_LINE_OF: dict[type[Event], Callable[[Any], object]] = {
    **{event: _line_of(event) for event in EVENT_NAMES},
    # Written out, in little more than half the time, because they happen most (end_to_end).
    OrderAccepted: _accepted,
    OrderCanceled: _canceled,
    TradeExecuted: _executed,
}
