"""Each participant's events, as they happen: `evt.<p>.<participant>`, with a number that runs.

A process reads OUT and sends to each participant what concerns it: its own orders and its side of
each trade. The messages of one participant have the numbers 1, 2, 3 …, which are a function of OUT:
the process may end at any moment, start again, or run twice, and every message keeps its number.

They are sent without a promise. Who finds a number missing asks, on `again.<p>`, and gets what is
read from OUT once more. `Subscriber` does that.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from ..engine.events import AnyEvent, InstrumentListed, InstrumentRejected
from ..engine.log.format import UNREADABLE
from ..engine.trade import TradeExecuted
from ..errors import LogDamaged, LogUnavailable
from .client import Wire
from .node import Delivered
from .replica import OutMessage, Replica
from .replicated_log import ReplicatedEventLog
from .stream import Clock, Stream, doubted, fetch, kept

EVENTS_TOGETHER = 4096
"""In one message; more are several messages."""
AGAIN_MAX = 64
"""Messages that are given again for one request."""
AGAIN_BYTES = 4 * 1024 * 1024
WAITING_MAX = 16 * AGAIN_MAX
"""Messages that a subscriber keeps while one before them is missing; more are given again."""
FOLLOW_SECONDS = 0.2


class Copy(msgspec.Struct, array_like=True, frozen=True):
    """One message to a participant: its events of one batch, in their order."""

    participant: int
    number: int
    out: int
    """The message of OUT that they are in."""
    events: list[AnyEvent]


class Again(msgspec.Struct, array_like=True, frozen=True):
    """A request for a participant's messages from a number on."""

    participant: int
    first: int


class GivenAgain(msgspec.Struct, array_like=True, frozen=True):
    """Some of them, perhaps none; and the number of the last one that there is."""

    last: int
    copies: list[Copy]


_encode = msgspec.msgpack.Encoder().encode
_decode_out = msgspec.msgpack.Decoder(OutMessage).decode
_decode_copy = msgspec.msgpack.Decoder(Copy).decode
_decode_again = msgspec.msgpack.Decoder(Again).decode
_decode_given = msgspec.msgpack.Decoder(GivenAgain).decode


def concerned(event: AnyEvent) -> Sequence[int]:
    """The participants that an event concerns; none where it is about an instrument."""
    if isinstance(event, TradeExecuted):
        if event.maker_participant == event.taker_participant:
            return (event.maker_participant,)
        return (event.maker_participant, event.taker_participant)
    if isinstance(event, InstrumentListed | InstrumentRejected):
        return ()
    return (event.participant,)


def by_participant(events: list[AnyEvent]) -> dict[int, list[list[AnyEvent]]]:
    """For each participant its events, in messages. O(events)."""
    found: dict[int, list[AnyEvent]] = defaultdict(list)
    for event in events:
        for participant in concerned(event):
            found[participant].append(event)
    return {
        participant: [
            own[first : first + EVENTS_TOGETHER] for first in range(0, len(own), EVENTS_TOGETHER)
        ]
        for participant, own in found.items()
    }


class Numbers:
    """In which message of OUT each message to a participant is. Memory: 8 bytes for each."""

    def __init__(self) -> None:
        self._places: dict[int, array[int]] = {}

    def take(self, out: int, events: list[AnyEvent]) -> Iterator[Copy]:
        """The messages that the next message of OUT becomes, numbered. O(events)."""
        for participant, parts in by_participant(events).items():
            places = self._places.setdefault(participant, array("Q"))
            for part in parts:
                places.append(out)
                yield Copy(participant, len(places), out, part)

    def last(self, participant: int) -> int:
        """The number of a participant's last message."""
        return len(self._places.get(participant, ()))

    def place(self, participant: int, number: int) -> tuple[int, int]:
        """The message of OUT that a message is in, and which part of it. O(parts)."""
        places = self._places[participant]
        out = places[number - 1]
        part = 0
        while part + 1 < number and places[number - part - 2] == out:
            part += 1
        return out, part


class DropCopy:
    """The drop copy of one partition.

    Invariants
      1. The numbers and the content of the messages are a function of OUT.
      2. What was in OUT before it started is not sent, but given again to who asks.
    """

    def __init__(
        self,
        out: Stream,
        log: Stream,
        wire: Wire,
        clock: Clock,
        partition: int,
        stopping: Callable[[], bool],
    ) -> None:
        """`out` and `log` are the streams of the partition; the latter is read only for events
        that are too many for OUT. `run` returns soon after `stopping` says so."""
        self.position = 0
        """The message of OUT up to which it has come."""
        self._stopping = stopping
        self._out = out
        self._wire = wire
        self._partition = partition
        self._numbers = Numbers()
        self._log = ReplicatedEventLog(log, clock, "drop copy", 0)
        self._replica = Replica()
        self._next_sequence = 1
        """The first one of the next message of OUT."""
        self._questions: list[Delivered] = []

    def run(self) -> None:
        """Read OUT from the start, and send what comes from now on, until `stopping`.

        Raises:
            LogUnavailable: OUT could not be asked how far it is.
            StoreError: OUT is not what the log makes of it.
        """
        subscription = self._wire.subscribe(f"again.{self._partition}", self._questions.append)
        try:
            old = self._out.last()
            while not self._stopping():
                with suppress(LogUnavailable):  # look again; who asked, and hears nothing, does too
                    self._follow(old)
                    if self.position >= old:
                        self._answer()
        finally:
            self._wire.end(subscription)

    def _follow(self, old: int) -> None:
        """Take what comes next in OUT; send what is behind the message `old`."""
        for data in fetch(self._out, self.position, FOLLOW_SECONDS):
            send = self.position >= old
            try:
                self._take(data, send=send)
            except LogDamaged:
                self._take(doubted(self._out, self.position + 1, data), send=send)
                return  # what is behind it is from the same copy

    def _take(self, data: bytes, *, send: bool) -> None:
        out = self.position + 1
        message = self._decoded(out, data)
        if message.first_sequence != self._next_sequence:
            raise self._damaged(out, "it does not follow the message before it")
        events = self._events(out, message)
        if isinstance(message.events, int):
            self._next_sequence = self._replica.sequence + 1
        else:
            self._next_sequence += sum(map(len, message.events))
        self.position = out
        copies = self._numbers.take(self.position, events)
        messages = [(f"evt.{self._partition}.{each.participant}", _encode(each)) for each in copies]
        if send and messages:
            self._wire.send(messages)

    def _decoded(self, out: int, data: bytes) -> OutMessage:
        try:
            return _decode_out(data)
        except UNREADABLE as error:
            raise self._damaged(out, str(error)) from None

    def _events(self, out: int, message: OutMessage) -> list[AnyEvent]:
        """The events in a message of OUT, one after the other.

        Raises:
            LogUnavailable: they are in LOG only, and nobody could read that for us.
            LogDamaged: the message is not what the log makes of it.
        """
        if isinstance(message.events, int):
            return self._derived(out, message)
        return [event for request in message.events for events in request for event in events]

    def _derived(self, out: int, message: OutMessage) -> list[AnyEvent]:
        """The events of a message that has their checksum only: from the log, by replay."""
        replica = self._replica
        if replica.batches >= out:  # it is asked for again
            replica = self._replica = Replica()
        replica.published(out - 1)
        for batch in self._log.read(replica.state.place):
            replica.apply(batch)
            if batch.commands and replica.batches == out:
                break
        if replica.batches < out:
            raise LogUnavailable(f"{self._out.name}, message {out}: no leader has its batch")
        found = [each for each in replica.unpublished if each.number == out]
        if not found or found[0].encoded != _encode(message):
            raise self._damaged(out, "these are not the events of the log")
        replica.published(out)
        return [event for events in replica.state.unrecorded for event in events]

    def _damaged(self, out: int, problem: str) -> LogDamaged:
        return LogDamaged(f"{self._out.name}, message {out}", 0, 0, problem)

    # -- Again --------------------------------------------------------------------------------

    def _answer(self) -> None:
        """Answer those who miss something."""
        while self._questions:
            question = self._questions.pop(0)
            try:
                again = _decode_again(question.data)
            except UNREADABLE:
                continue
            given = GivenAgain(self._numbers.last(again.participant), self._again(again))
            self._wire.send([(question.reply_to, _encode(given))])

    def _again(self, again: Again) -> list[Copy]:
        last = self._numbers.last(again.participant)
        copies: list[Copy] = []
        size = 0
        read, parts = 0, {}
        for number in range(max(again.first, 1), min(last, again.first + AGAIN_MAX - 1) + 1):
            out, part = self._numbers.place(again.participant, number)
            if out != read:
                events = self._events(out, self._decoded(out, kept(self._out, out)))
                read, parts = out, by_participant(events)
            copies.append(Copy(again.participant, number, out, parts[again.participant][part]))
            size += len(_encode(copies[-1]))
            if size > AGAIN_BYTES:
                break
        return copies


class Subscriber:
    """One participant's messages, each once and in order, whatever is lost on the way.

    No I/O here but what `wire` does; `heard` is called in the wire's thread.
    """

    def __init__(
        self,
        wire: Wire,
        partition: int,
        participant: int,
        heard: Callable[[Copy], object],
        *,
        inbox: str,
        after: int = 0,
    ) -> None:
        """Begin after the message `after`. `inbox` is a subject that nobody else listens to."""
        self.number = after
        """Of the last message that was heard."""
        self._wire = wire
        self._subject = f"again.{partition}"
        self._participant = participant
        self._heard = heard
        self._inbox = inbox
        self._waiting: dict[int, Copy] = {}
        self._subscriptions: list[Any] = [
            wire.subscribe(f"evt.{partition}.{participant}", self._sent),
            wire.subscribe(inbox, self._given),
        ]
        self.ask()

    def ask(self) -> None:
        """Ask for what may be missing: at the start, and whenever nothing was heard for long."""
        request = _encode(Again(self._participant, self.number + 1))
        self._wire.send([(self._subject, request)], self._inbox)

    def close(self) -> None:
        """Hear no more."""
        self._wire.end(*self._subscriptions)

    def _sent(self, message: Delivered) -> None:
        copy = _decode_copy(message.data)
        self._take([copy])
        if len(self._waiting) % AGAIN_MAX == 1:  # something before it is missing
            self.ask()

    def _given(self, message: Delivered) -> None:
        given = _decode_given(message.data)
        before = self.number
        self._take(given.copies)
        if before < self.number < given.last:
            self.ask()

    def _take(self, copies: list[Copy]) -> None:
        """Hear what is next; keep what comes too early."""
        for copy in copies:
            room = copy.number > self.number and len(self._waiting) < WAITING_MAX
            if room or copy.number == self.number + 1:  # which makes room, however many wait
                self._waiting[copy.number] = copy
            while self.number + 1 in self._waiting:
                self.number += 1
                self._heard(self._waiting.pop(self.number))
