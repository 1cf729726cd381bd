"""The judge of a history: it sees every message in the moment it is stored or sent.

It shares the matcher, the records and the bytes of an event with the nodes (other tests judge
those), and nothing else: entries, sessions and OUT are understood here a second time, from their
description. `Broken` is raised in the very step in which an invariant stops to hold.

Invariants
    log        the chain of entries is whole; each epoch has one writer; time does not go back; the
               events recorded are those of the commands
    once       a client's requests are in the log once, in the order of their numbers
    answers    a request is answered when it is in the log, with the events and the place it has
               there; nobody is answered from an older epoch than somebody before had been
    order      what began after an answer had been given comes behind it; a current question sees
               everything that was answered before it was asked: with the log as the witness, the
               history is linearizable
    OUT        message n is made of the n-th batch with commands, and stored after it
    doubt      a node is told that it is fenced only by another one's message
    replicas   every state ever shown equals a fresh replay of the log to its place
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from crc32c import crc32c

from v2_event_driven_engine.cluster import entry as entry_module
from v2_event_driven_engine.cluster import protocol, replica, sessions
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.engine.events import AnyEvent, OrderAccepted
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.models.commands import Command

from .memory_stream import MemoryStream, no_clock
from .world import Broken, NetworkOf, Process, SharedStream, World

HEADER = struct.Struct("<4sBBHQQQI")
BATCH, EPOCH = 1, 2

encode = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(tuple[list[Command], int, msgspec.Raw, bool, bytes]).decode
decode_events = msgspec.msgpack.Decoder(list[list[AnyEvent]]).decode
decode_tag = msgspec.msgpack.Decoder(list[tuple[int, int, int]]).decode


def expect(holds: bool, problem: str) -> None:
    """Raise `Broken` if it does not hold."""
    if not holds:
        raise Broken(problem)


class Operation:
    """A request, or a question, of a client; and what had been answered when it began."""

    def __init__(self, what: protocol.Request | None, judge: "Judge") -> None:
        self.what = what
        """None for what no node can understand."""
        self.after_sequence = judge.sequence_answered
        self.after_epoch = judge.epoch_answered


class Logged(NamedTuple):
    """A request as it is in the log."""

    commands: Sequence[Command]
    first_sequence: int
    events: bytes


class Shown(NamedTuple):
    """What a node said about its state at a sequence."""

    sequence: int
    question: protocol.Question
    answer: bytes


class Judge:
    """Sees everything and believes nobody."""

    def __init__(self, world: World) -> None:
        self.sequence_answered = 0
        """The highest that any reply has told, whoever got it."""
        self.epoch_answered = 0
        self.operations: dict[str, Operation] = {}
        """By where their replies go."""
        self.epochs = 0
        self._world = world
        self._link = 0
        self._writer: Process | None = None
        self._timestamp_ns = 0
        self._matcher = Matcher()
        self._unrecorded: list[list[AnyEvent]] = []
        self._first_number: dict[int, int] = {}
        self._last_number: dict[int, int] = {}
        self._requests: dict[tuple[int, int], Logged] = {}
        self.out: list[bytes] = []
        """What OUT must become."""
        self._shown: list[Shown] = []
        self._log: SharedStream

    @property
    def sequence(self) -> int:
        """Of the last command in the log."""
        return self._matcher.sequence

    # -- Streams --------------------------------------------------------------------------------

    def stored(self, stream: SharedStream, position: int) -> None:
        """A message was added to a stream."""
        message = stream.messages[position - 1]
        self._world.meet(f"{stream.name} stored", f"{position} by {stream.writers[position - 1]}")
        if stream.name == "OUT":
            expect(position <= len(self.out), f"OUT {position} is there before its batch")
            expect(message == self.out[position - 1], f"OUT {position} is not of the batch")
            return
        self._log = stream
        writer = stream.writers[position - 1]
        where = f"LOG {position}"
        magic, kind, version, rulebook, epoch, first, timestamp_ns, previous = HEADER.unpack_from(
            message
        )
        expect((magic, version, rulebook) == (b"OMEJ", 1, 1), f"{where}: not an entry")
        (link,) = struct.unpack("<I", message[-4:])
        expect(link == crc32c(message[:-4], previous), f"{where}: damaged")
        expect(previous == self._link, f"{where}: the chain is broken")
        self._link = link
        expect(first == self.sequence + 1, f"{where}: sequence {first} after {self.sequence}")
        if kind == EPOCH:
            self.epochs += 1
            self._writer = writer
        expect(epoch == self.epochs, f"{where}: epoch {epoch}, not {self.epochs}")
        expect(writer is self._writer, f"{where}: two writers in epoch {epoch}")
        if kind == BATCH:
            expect(timestamp_ns >= self._timestamp_ns, f"{where}: time goes back")
            self._timestamp_ns = timestamp_ns
            self._batch(where, first, timestamp_ns, *decode_body(message[HEADER.size : -4]))

    def _batch(
        self,
        where: str,
        first: int,
        timestamp_ns: int,
        commands: list[Command],
        outcomes_first: int,
        outcomes: msgspec.Raw,
        closed: bool,
        tag: bytes,
    ) -> None:
        recorded = encode([None if is_plain(events) else events for events in self._unrecorded])
        if len(recorded) > entry_module.OUTCOME_BYTES_MAX:
            recorded = encode(crc32c(recorded))
            self._world.met["checksum in LOG"] += 1
        expect(bytes(outcomes) == recorded, f"{where}: other events are recorded")
        expect(outcomes_first == first - len(self._unrecorded), f"{where}: events are missing")
        expect(not closed, f"{where}: closed")
        happened = self._matcher.apply(first, timestamp_ns, commands)
        self._unrecorded = happened
        at = 0
        grouped = []
        for client, number, count in decode_tag(tag) if commands else []:
            last = self._last_number.get(client, number - 1)
            expect(number == last + 1, f"{where}: request {number} of {client} after {last}")
            self._first_number.setdefault(client, number)
            self._last_number[client] = number
            some = commands[at : at + count]
            asked = self.operations[f"{client}.{number}"].what
            assert isinstance(asked, protocol.Submit)
            expect(some == asked.commands, f"{where}: not what {client} sent as {number}")
            grouped.append(happened[at : at + count])
            logged = Logged(some, first + at, encode(grouped[-1]))
            self._requests[client, number] = logged
            at += count
        expect(at == len(commands), f"{where}: commands that nobody sent")
        if not commands:
            self._world.met["barrier"] += 1
        else:
            message = encode((first, grouped))
            if len(message) > replica.OUT_BYTES_MAX:
                message = encode((first, crc32c(message)))
                self._world.met["checksum in OUT"] += 1
            self.out.append(message)

    def events_of(self, client: int) -> list[list[AnyEvent] | None]:
        """The events of all commands of a client, as the log has them; None if they are too many.

        What is asked for is also what a client must have been told.
        """
        found: list[list[AnyEvent] | None] = []
        if client not in self._last_number:
            return found
        for number in range(self._first_number[client], self._last_number[client] + 1):
            logged = self._requests[client, number]
            if len(logged.events) > protocol.ANSWER_BYTES_MAX:
                found += [None] * len(logged.commands)
            else:
                found += decode_events(logged.events)
        return found

    # -- Replies --------------------------------------------------------------------------------

    def begins(self, reply_to: str, what: protocol.Request | None) -> Operation:
        """A client sends something for the first time."""
        operation = self.operations[reply_to] = Operation(what, self)
        return operation

    def replied(self, network: NetworkOf, reply_to: str, data: bytes) -> None:
        """A node sends a reply: what it says must be so in this moment."""
        operation = self.operations[reply_to]
        reply = protocol.decode_reply(data)
        asked = operation.what
        who = f"{network.process.name} to {reply_to}"
        self._world.meet(f"replied {type(reply).__name__}", who)
        match reply:
            case protocol.Answered():
                assert isinstance(asked, protocol.Submit)
                self._answered(who, operation, asked, reply)
            case protocol.Told():
                assert isinstance(asked, protocol.Question)
                self._told(who, operation, asked, reply)
            case protocol.Behind():
                assert isinstance(asked, protocol.Question)
                expect(reply.sequence < asked.min_sequence, f"{who}: it is not behind")
            case protocol.Refused():
                expect(asked is None, f"{who}: refused: {reply}")
            case protocol.WrongPartition():
                assert isinstance(asked, protocol.Submit)
                expect(
                    (reply.number, reply.symbol, reply.table) == (asked.number, ELSEWHERE, 7),
                    f"{who}: {reply}",
                )
            case protocol.Forgotten():
                assert isinstance(asked, protocol.Submit)
                kept = self._last_number[asked.client] - sessions.KEPT_ANSWERS
                logged = self._requests[asked.client, asked.number]
                expect(
                    asked.number <= kept or len(logged.events) > protocol.ANSWER_BYTES_MAX,
                    f"{who}: {asked.number} is forgotten too early",
                )
            case _:
                raise Broken(f"{who}: {reply}")

    def _answered(
        self, who: str, operation: Operation, asked: protocol.Submit, reply: protocol.Answered
    ) -> None:
        logged = self._requests.get((asked.client, asked.number))
        expect(logged is not None, f"{who}: answered before it is in the log")
        assert logged is not None
        expect(reply.number == asked.number, f"{who}: the answer to {reply.number}")
        expect(reply.first_sequence == logged.first_sequence, f"{who}: another sequence")
        expect(bytes(reply.events) == logged.events, f"{who}: other events than in the log")
        expect(
            logged.first_sequence > operation.after_sequence,
            f"{who}: sequence {logged.first_sequence}, but {operation.after_sequence} had been "
            f"answered before it was sent",
        )
        expect(len(logged.events) <= protocol.ANSWER_BYTES_MAX, f"{who}: too many bytes")
        self._in_epoch(who, operation, reply.epoch)
        last = logged.first_sequence + len(logged.commands) - 1
        self.sequence_answered = max(self.sequence_answered, last)

    def _told(
        self, who: str, operation: Operation, asked: protocol.Question, reply: protocol.Told
    ) -> None:
        expect(reply.sequence >= asked.min_sequence, f"{who}: too old")
        expect(reply.sequence <= self.sequence, f"{who}: not in the log yet")
        if asked.current:
            expect(
                reply.sequence >= operation.after_sequence,
                f"{who}: told of sequence {reply.sequence}, but {operation.after_sequence} had "
                f"been answered before it was asked",
            )
            self._in_epoch(who, operation, reply.epoch)
            self.sequence_answered = max(self.sequence_answered, reply.sequence)
        self._shown.append(Shown(reply.sequence, asked, bytes(reply.answer)))

    def _in_epoch(self, who: str, operation: Operation, epoch: int) -> None:
        expect(
            operation.after_epoch <= epoch <= self.epochs,
            f"{who}: epoch {epoch}, but {operation.after_epoch} had answered before",
        )
        self.epoch_answered = max(self.epoch_answered, epoch)

    # -- Processes ------------------------------------------------------------------------------

    def died(self, process: Process, error: Exception) -> None:
        """A process has ended by itself, in a doubt."""
        problem = f"{process.name}: {type(error).__name__}: {error}"
        expect("OUT" not in str(error) or "could not" in str(error), problem)
        if type(error).__name__ == "Fenced":
            there = self._log.writers[process.attempted - 1]
            expect(there is not process, f"{problem}: it is its own")

    def saw(self, there: Replica) -> None:
        """A replica, at any moment."""
        answer = protocol.StateTold(*there.state.matcher.state(), there.sessions.hash())
        self._shown.append(Shown(there.sequence, protocol.AskState(False, 0), encode(answer)))

    def replay(self) -> None:
        """Hold everything that was shown against a fresh replay of the log."""
        shown: dict[int, list[Shown]] = {}
        for each in self._shown:
            shown.setdefault(each.sequence, []).append(each)
        stream = MemoryStream("LOG")
        stream.messages = self._log.messages if self.epochs else []
        fresh = Replica()
        self._compare(fresh, shown.pop(0, []))
        for batch in ReplicatedEventLog(stream, no_clock, "judge", 0).read():
            fresh.apply(batch)
            self._compare(fresh, shown.pop(fresh.sequence, []))
        expect(not shown, f"states inside of a batch were shown: {list(shown)}")
        expect([each.encoded for each in fresh.unpublished] == self.out, "OUT is another function")

    def _compare(self, fresh: Replica, shown: Sequence[Shown]) -> None:
        matcher = fresh.state.matcher
        for _, question, told in shown:
            answer: Any
            match question:
                case protocol.AskOrder():
                    answer = matcher.order(question.order_id)
                case protocol.AskDepth():
                    answer = matcher.depth(question.symbol, question.levels)
                case protocol.AskSession():
                    answer = fresh.sessions.last_number(question.client)
                case _:
                    answer = protocol.StateTold(*matcher.state(), fresh.sessions.hash())
            expect(
                told == encode(answer),
                f"at sequence {fresh.sequence} {question} was answered {told!r}, not {answer}",
            )


ELSEWHERE = "ELSEWHERE"
"""A symbol of another partition."""


def is_plain(events: Sequence[AnyEvent]) -> bool:
    """Whether an order was accepted, and nothing else happened."""
    return len(events) == 1 and isinstance(events[0], OrderAccepted)
