"""A client's side of the requests to one partition: numbers, repeats and answers. No I/O here.

::

    submit --> waiting --> open: numbered, sent, not answered --> answered
                            | 32 at most                 ^ repeated, in order, after 0.4 s without
                            '--------------------------- '  an answer, or when a node says that it
                                                            is the active now

What is submitted while the window is open goes out at once; what is submitted while it is full
gathers and then goes out together, up to 1,024 commands in one request. So there is no timer, and
requests grow under load, as the batches of the engine do.

The other side, which makes a repeated request act once, is `sessions.py`.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from ..engine.events import AnyEvent, OrderRejected
from ..engine.log.format import UNREADABLE
from ..engine.receipt import Receipt, Submitted
from ..errors import AnswerForgotten, EngineError, EngineStopped, MalformedCommand
from ..models.commands import Command
from .protocol import (
    REQUEST_COMMANDS_MAX,
    Answered,
    AskSession,
    Busy,
    Forgotten,
    Refused,
    Submit,
    Told,
    WrongPartition,
    decode_reply,
    encode,
    events_in,
)
from .sessions import OPEN_REQUESTS_MAX, is_too_old

REPEAT_SECONDS = 0.4
"""How long the oldest open request is without an answer before all are repeated."""
BUSY_SECONDS = 0.05
"""How long to wait after a node said that it has too much to do."""
REPEATS_BEFORE_ASKING = 5
"""After so many repeats without an answer the nodes are asked whether they know this client."""
PATIENCE_SECONDS = 60.0
"""How long there is no answer at all before a session gives up."""


class Whole(Receipt[list[list[AnyEvent]]], eq=False):
    """The receipt of commands that go in several parts: resolved once all are answered."""

    events: list[list[AnyEvent]]
    parts: int = 0
    """How many are not answered yet."""
    added: list[int] = msgspec.field(default_factory=list)
    """Behind the commands of the caller come those that one of them is in other partitions, too:
    for each, the index of that one."""

    def resolve(self) -> None:
        """All parts are answered."""
        own = len(self.events) - len(self.added)
        for index, events in zip(self.added, self.events[own:], strict=True):
            self.events[index] += events
        del self.events[own:]
        self.answer = self.events


class Single(Whole, eq=False):
    """The receipt of one command that goes to every partition."""

    def resolve(self) -> None:
        """All partitions have answered: their events, one after the other."""
        super().resolve()
        self.answer = self.events[0]  # type: ignore[assignment]


class Part(msgspec.Struct, eq=False):
    """Some commands of a whole; `indices` are their places in it."""

    commands: list[Command]
    indices: Sequence[int]
    whole: Whole


Item = Submitted[list[AnyEvent]] | Part


class _Open:
    """A request that was sent."""

    __slots__ = ("commands", "data", "items")

    def __init__(self, data: bytes, items: list[Item], commands: int) -> None:
        self.data = data
        self.items = items
        self.commands = commands


_decode_number = msgspec.msgpack.Decoder(int).decode


class Session:
    """Requests of one client to one partition. It is told what happens, and says what to send.

    Invariants
      1. Requests have successive numbers; a number always has the same bytes.
      2. The last number that was sent is less than 32 above the oldest open one: its answer is
         still kept by the nodes. The first of a new client is alone until it is answered: the
         nodes begin with what comes first.
      3. A request is answered once: what comes again, or from an epoch that is over, is ignored.
      4. Every item that was submitted is resolved or failed, unless its answer can still come.
    """

    def __init__(
        self,
        client: int,
        name: str,
        *,
        patience: float = PATIENCE_SECONDS,
        rejected: Callable[[int], object] = lambda _order_id: None,
    ) -> None:
        """Begin, once the nodes have said where: after the last request that they know of this
        client; a new one with the number after the sequence of the log (see `sessions.py`).

        `name` is the partition, for messages. `patience` are seconds without any answer before
        everything fails. `rejected` is called with the order id of each `NewOrder` of a `Part` that
        is refused, before its receipt is done.
        """
        self.sequence = 0
        """The highest that was seen in an answer."""
        self.failure: EngineStopped | None = None
        """Why the session ended, if it did."""
        self.misrouted: list[WrongPartition] = []
        """What was refused for its symbol, for whoever can read the table of symbols."""
        self.commands = 0
        """Those that are waiting or open."""
        self._client = client
        self._name = name
        self._asking = True
        """Whether it is still to be told where to begin."""
        self._is_known = False
        """Whether the nodes have carried out a request of this client."""
        self._patience = patience
        self._rejected = rejected
        self._next = 0
        self._waiting: deque[Item] = deque()
        self._open: dict[int, _Open] = {}
        self._epoch = 0
        self._due = math.inf
        """When to repeat."""
        self._repeats = 0
        """Since the last answer."""
        self._heard = 0.0
        """When there was an answer, or nothing to wait for."""

    # -- What happens -------------------------------------------------------------------------

    def submit(self, item: Item) -> None:
        """Take an item in; `messages` then says what to send. O(1)."""
        self._waiting.append(item)
        self.commands += 1 if type(item) is Submitted else len(item.commands)  # type: ignore[union-attr]

    def announced(self) -> None:
        """A node says that it is the active now: repeat what is open."""
        if self._due != math.inf:
            self._due = -math.inf

    def heard(self, data: bytes, now: float) -> None:
        """A reply has come; `messages` then says what to send. O(events)."""
        try:
            reply = decode_reply(data)
            if isinstance(reply, Answered):
                self._answered(reply, now)
            elif isinstance(reply, Told):
                self._told(_decode_number(reply.answer), reply, now)
        except (ValueError, *UNREADABLE):
            return  # it is not a node's
        if isinstance(reply, Busy):
            self._heard = now
            if self._due != math.inf:
                self._due = now + BUSY_SECONDS
        elif isinstance(reply, Forgotten):
            error = AnswerForgotten(
                f"{self._name}: request {reply.number} was carried out, so long ago, or with so "
                f"many events, that there is no answer to give; ask for the orders"
            )
            self._fail(reply.number, error, now)
        elif isinstance(reply, WrongPartition):
            self.misrouted.append(reply)
        elif isinstance(reply, Refused):
            self.refuse(reply.number, MalformedCommand(reply.field, reply.problem))

    def refuse(self, number: int, error: EngineError) -> None:
        """An open request can never be carried out: it fails, and with it the session.

        The numbers after it were sent and will never have their turn; and a copy of them that is
        still under way must not meet others with the same numbers.
        """
        if number in self._open:
            self._fail(number, error, self._heard)
            self.end(
                f"{self._name}: a request before this one was refused ({error}), so this one was "
                f"not carried out; go on with another client"
            )

    def end(self, why: str) -> None:
        """Fail everything that is not answered, and take nothing more."""
        self.failure = EngineStopped(why)
        for number in list(self._open):
            self._fail(number, self.failure, self._heard)
        while self._waiting:
            self._fail_item(self._waiting.popleft(), self.failure)
        self._due = math.inf

    # -- What to send -------------------------------------------------------------------------

    def messages(self, now: float) -> list[bytes]:
        """What is to be sent to the active, in this order. O(bytes)."""
        if self.failure is not None:
            return []
        found: list[bytes] = []
        if self._asking and self._due == math.inf and self._waiting:
            self._due, self._heard = -math.inf, now
        if now >= self._due:
            if now - self._heard > self._patience:
                self.end(
                    f"{self._name}: no node has answered for {self._patience:.0f} s; what was not "
                    f"answered may have been carried out or not: ask for the orders"
                )
                return []
            found += [request.data for request in self._open.values()]
            if self._asking or self._repeats >= REPEATS_BEFORE_ASKING:
                found.append(encode(AskSession(True, self.sequence, self._client)))
            self._repeats += 1
            self._due = now + REPEAT_SECONDS
        if not self._asking:
            while self._waiting and self._has_room():
                if not self._open:
                    self._due, self._heard = now + REPEAT_SECONDS, now
                found.append(self._send_next())
        return found

    @property
    def repeats(self) -> bool:
        """Whether what is open was sent again, and nothing has been answered since."""
        return self._repeats > 1

    @property
    def due(self) -> float:
        """When `messages` is to be called, if nothing happens before."""
        return self._due

    @property
    def unanswered(self) -> list[Item]:
        """What is open or waits, oldest first. It may be answered in another order. O(items)."""
        return [item for request in self._open.values() for item in request.items] + [
            *self._waiting
        ]

    @property
    def oldest(self) -> Item | None:
        """The first that is not answered yet."""
        for request in self._open.values():
            return request.items[0]
        return self._waiting[0] if self._waiting else None

    def _has_room(self) -> bool:
        if not self._open:
            return True
        return self._is_known and self._next - next(iter(self._open)) < OPEN_REQUESTS_MAX

    def _send_next(self) -> bytes:
        """Number what waits, as much as goes into one request."""
        items: list[Item] = []
        commands: list[Command] = []
        waiting = self._waiting
        while waiting:
            item = waiting[0]
            if type(item) is Submitted:
                if len(commands) == REQUEST_COMMANDS_MAX:
                    break
                commands.append(item.command)
            else:
                assert isinstance(item, Part)
                if commands and len(commands) + len(item.commands) > REQUEST_COMMANDS_MAX:
                    break
                commands += item.commands
            items.append(waiting.popleft())
        data = encode(Submit(self._client, self._next, commands))
        self._open[self._next] = _Open(data, items, len(commands))
        self._next += 1
        return data

    # -- Answers ------------------------------------------------------------------------------

    def _answered(self, reply: Answered, now: float) -> None:
        if reply.epoch < self._epoch:
            return  # of a writer that was replaced; the one of now answers the repeated request
        request = self._open.get(reply.number)
        if request is None:
            return
        answers = events_in(reply)
        if len(answers) != request.commands:
            raise ValueError("the answer to another request")
        self._epoch = reply.epoch
        self._is_known = True
        self.sequence = max(self.sequence, reply.first_sequence + len(answers) - 1)
        self._close(reply.number, now)
        at = 0
        for item in request.items:
            if type(item) is Submitted:
                item.answer = answers[at]
                at += 1
                if item.waiters is not None:
                    item.wake()
            else:
                assert isinstance(item, Part)
                end = at + len(item.commands)
                self._take_in(item, answers[at:end])
                at = end
        self.commands -= at

    def _take_in(self, part: Part, answers: list[list[AnyEvent]]) -> None:
        whole = part.whole
        for index, events in zip(part.indices, answers, strict=True):
            whole.events[index] = events
            if events and type(events[0]) is OrderRejected:
                self._rejected(events[0].order_id)
        whole.parts -= 1
        if not whole.parts and whole.failure is None:
            whole.resolve()
            whole.wake()

    def _close(self, number: int, now: float) -> None:
        """A request is open no more. The others wait anew if it was the oldest one."""
        self._heard = now
        self._repeats = 0
        if number == next(iter(self._open)):
            self._due = now + REPEAT_SECONDS
        del self._open[number]
        if not self._open:
            self._due = math.inf

    def _told(self, last: int, reply: Told, now: float) -> None:
        """The nodes know this client up to the request `last`."""
        if reply.epoch < self._epoch or reply.sequence < self.sequence:
            return  # it was asked before an answer that has come meanwhile
        self._heard = now
        self._repeats = 0
        if self._asking:
            self._asking = False
            self._due = math.inf
            self._is_known = last > 0
            self._next = (last or reply.sequence) + 1
        elif self._open and self._is_forgotten(next(iter(self._open)), last, reply.sequence):
            self.end(
                f"{self._name}: the nodes have forgotten client {self._client}, which was silent "
                f"for too long; what was not answered may have been carried out or not: ask for "
                f"the orders, and go on with another client"
            )

    def _is_forgotten(self, oldest: int, last: int, sequence: int) -> bool:
        """Whether the nodes will never take the oldest open request, after what they told."""
        if last:
            return last + 1 < oldest
        return self._is_known or is_too_old(oldest, sequence)

    def _fail(self, number: int, error: EngineError, now: float) -> None:
        request = self._open.get(number)
        if request is not None:
            self._close(number, now)
            for item in request.items:
                self._fail_item(item, error)

    def _fail_item(self, item: Item, error: EngineError) -> None:
        if isinstance(item, Part):
            self.commands -= len(item.commands)
            item.whole.fail(error)
        else:
            self.commands -= 1
            item.fail(error)
