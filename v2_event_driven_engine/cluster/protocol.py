"""What clients and nodes say to each other: each message is one of these, as MessagePack.

A client sends `Submit` with successive numbers, and repeats what was not answered; questions have
no number. A node's reply to a `Submit` is `Answered`, `Busy` or `Refused`; to a question its own
answer or `Behind`. A message that nobody was there to get is answered by the server, without any
content: that is not a reply.
"""

from contextlib import suppress

import msgspec

from ..engine.events import AnyEvent
from ..engine.log.format import UNREADABLE
from ..engine.market.validation import (
    CHECKS,
    END_OF_INT64,
    Checks,
    check_depth,
    check_order_id,
    check_symbol,
    validate,
    validate_each,
)
from ..errors import MalformedCommand
from ..models.commands import Command, ListInstrument

REQUEST_COMMANDS_MAX = 1024
SIZE_TEXT_MAX = 64
"""Characters of a tick size or a lot size. All else in a command has a limit of its own, so a
request of `REQUEST_COMMANDS_MAX` commands always fits into a message, and into a batch."""

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Of events in a reply. A mass cancel of some hundred thousand orders has more."""


class Message(msgspec.Struct, array_like=True, frozen=True, tag_field="kind", tag=0):
    """What all messages share: they are arrays, and begin with what they are."""


class Submit(Message, frozen=True, tag=1):
    """Commands to be carried out once, together, after this client's request `number - 1`."""

    client: int
    number: int
    commands: list[Command]


class Question(Message, frozen=True):
    """A question about the state. It is answered by

    - the active, if `current`, behind an append: no later than any answer before the question;
    - otherwise any node whose state has `min_sequence` or more.
    """

    current: bool
    min_sequence: int


class AskOrder(Question, frozen=True, tag=2):
    """Status and open quantity of an order."""

    order_id: int


class AskDepth(Question, frozen=True, tag=3):
    """The best levels of both sides of a book."""

    symbol: str
    levels: int


class AskState(Question, frozen=True, tag=4):
    """Sequence, epoch and hashes."""


class AskSession(Question, frozen=True, tag=5):
    """The number of a client's last request; 0 for one that is not known."""

    client: int


class AskStatus(Message, frozen=True, tag=6):
    """How the node is that is asked, which answers for itself: a `Status`, as JSON.

    Without `hashes` it takes no time; with them O(resting orders + answers), on the active too.
    """

    hashes: bool = True


class Answered(Message, frozen=True, tag=11):
    """The commands are durable on a majority and applied: the events of each."""

    number: int
    epoch: int
    first_sequence: int
    events: msgspec.Raw


class Busy(Message, frozen=True, tag=12):
    """The node has too much to do. No number was used: send the same later."""


class Refused(Message, frozen=True, tag=13):
    """The request can never be carried out; no number was used. `field` is at fault."""

    number: int
    field: str
    problem: str


class WrongPartition(Message, frozen=True, tag=14):
    """The symbol is not this partition's, by version `table` of the table of symbols."""

    number: int
    symbol: str
    table: int


class Forgotten(Message, frozen=True, tag=15):
    """The request was carried out, and there is no answer to give.

    It was so long ago that the answer is not kept, or the events have more than `ANSWER_BYTES_MAX`.
    """

    number: int


class Told(Message, frozen=True, tag=21):
    """The answer to a question: what was true right after the command with this sequence."""

    epoch: int
    sequence: int
    answer: msgspec.Raw


class Behind(Message, frozen=True, tag=22):
    """The node has not got as far as the question asked: ask again, or another node."""

    sequence: int


class StateTold(msgspec.Struct, array_like=True, frozen=True):
    """The answer to `AskState`. Equal hashes are equal books, and equal tables of sessions."""

    sequence: int
    resting_orders: int
    state_hash: str
    sessions_hash: str


class Status(msgspec.Struct, frozen=True):
    """What a node says of itself. The hashes are empty if they were not asked for."""

    node: str
    partition: int
    pid: int
    role: str
    epoch: int
    """Of the newest entry that it has written or read."""
    sequence: int
    entries: int
    """Of the log, that it has written or read."""
    out_lag: int
    """Messages that OUT may not have yet."""
    resting_orders: int
    state_hash: str
    sessions_hash: str
    time_ns: int
    """When it said so."""


Request = Submit | AskOrder | AskDepth | AskState | AskSession | AskStatus
Reply = Answered | Busy | Refused | WrongPartition | Forgotten | Told | Behind

encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode
_decode_status = msgspec.json.Decoder(Status).decode
_decode_events = msgspec.msgpack.Decoder(list[list[AnyEvent]]).decode


def decode_request(data: bytes) -> Request:
    """The request in a message.

    Raises:
        MalformedCommand: it is none, or one of its fields cannot be; the error names it.
    """
    try:
        request: Request = _decode_request(data)
    except UNREADABLE as error:
        raise MalformedCommand("request", str(error)) from None
    if isinstance(request, Submit):
        check_submit(request)
    elif isinstance(request, AskOrder):
        check_order_id(request.order_id)
    elif isinstance(request, AskDepth):
        check_symbol(request.symbol)
        check_depth(request.levels)
    return request


def check_submit(request: Submit) -> None:
    """See that a request can be carried out. O(commands).

    Raises:
        MalformedCommand: names the first field that cannot be, and the place of its command.
    """
    if not 0 < request.client < END_OF_INT64:
        raise MalformedCommand("client", "expected an integer from 1 to 9223372036854775807")
    if not 0 < request.number < END_OF_INT64:
        raise MalformedCommand("number", "expected 1 or more")
    if not 0 < len(request.commands) <= REQUEST_COMMANDS_MAX:
        raise MalformedCommand("commands", f"expected 1 to {REQUEST_COMMANDS_MAX} of them")
    validate_each(request.commands, REQUEST_CHECKS)


def _check_listing(command: ListInstrument) -> None:
    validate(command)
    for field in ("tick_size", "lot_size"):
        if len(getattr(command, field)) > SIZE_TEXT_MAX:
            raise MalformedCommand(field, f"expected at most {SIZE_TEXT_MAX} characters")


REQUEST_CHECKS: Checks = {**CHECKS, ListInstrument: _check_listing}
"""Whether a command is well formed, and small enough to be sent."""


def number_of(data: bytes) -> int:
    """The number of a request that cannot be read as one; 0 if that has none either."""
    with suppress(*UNREADABLE):
        return msgspec.msgpack.decode(data, type=tuple[int, int, int, msgspec.Raw])[2]
    return 0


def decode_reply(data: bytes) -> Reply:
    """The reply in a message.

    Raises:
        ValueError: it is none.
    """
    try:
        reply: Reply = _decode_reply(data)
    except UNREADABLE as error:
        raise ValueError(f"not a reply ({error})") from None
    return reply


def is_status(data: bytes) -> bool:
    """Whether a reply may be a `Status`, which alone is JSON; `Busy` and the like are not."""
    return data.startswith(b"{")


def decode_status(data: bytes) -> Status:
    """What a node has said of itself.

    Raises:
        ValueError: it is nothing of that kind.
    """
    return _decode_status(data)


def events_in(answered: Answered) -> list[list[AnyEvent]]:
    """The events of each command of a request."""
    return _decode_events(answered.events)
