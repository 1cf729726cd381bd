"""The life of a node: it follows the log until it may take over, and then writes it.

::

    standby --- the lease is free --> takeover --- its epoch is in the log --> active
       ^                                 | somebody was faster                    |
       '---------------------------------'                 fenced, or any doubt: the process ends

**The lease is a hint, the log is the fence.** A node that holds the lease tries to take over; it
has done so when the log has taken its epoch, and not before. A node that is replaced and does not
know it yet cannot harm anybody: what it appends is refused, and it answers nobody before an append
has succeeded.

**It only ever crashes.** Whatever goes wrong ends the process; it is started again as a standby.

The node is blocking code in one thread, and everything outside of it (streams, lease, network,
time) comes in through protocols: so tests run thousands of its lives in simulated time.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, Protocol

import msgspec

from ..engine.receipt import SubmittedMany
from ..engine.sequencer import Sequencer
from ..engine.subscribers import Subscribers
from ..errors import Fenced, LogUnavailable, MalformedCommand
from ..models.commands import Command, ListInstrument, MassCancel, NewOrder
from . import protocol
from .protocol import Behind, Refused, Submit, Told, encode
from .replica import Replica
from .replicated_log import ReplicatedEventLog
from .sessions import Answer, Origin, tag_of
from .stream import Clock, Stream, append

BATCH_COMMANDS_MAX = 4096
BATCH_BYTES_MAX = 1024 * 1024
"""Of the requests that become one batch."""
FOLLOW_SECONDS = 0.02
"""How long a standby waits for the log to grow before it looks at the lease again."""
FOLLOW_BATCHES = 64
"""What a standby applies before it looks at questions again."""
IDLE_SECONDS = 0.05
"""How long an active waits before the last events are logged by themselves."""
BARRIER_SECONDS = 1.0
"""How long an active is silent before it makes sure that it still is one."""
BARRIER_WITHOUT_LEASE_SECONDS = 0.1
OUT_TOGETHER = 16
OUT_LAG_MAX = 4096
"""Batches by which OUT may lag before the active waits for it."""


class Delivered(NamedTuple):
    """A message that came, where its reply goes, and to which subject it was sent."""

    data: bytes
    reply_to: str
    subject: str = ""


Replies = list[tuple[str, bytes]]
"""Where each goes, and what it says."""


class Network(Protocol):
    """What a node hears, and what it says."""

    def take(self, seconds: float) -> Sequence[Delivered]:
        """What has come; waits at most `seconds` for the first. () if nothing came."""

    def reply(self, replies: Replies) -> None:
        """Send each reply to where it goes."""

    def open(self) -> None:
        """This is the active: from now on requests come too, and the clients are told."""

    def close(self) -> None:
        """Requests come no more."""


class Lease(Protocol):
    """The hint who should be the active."""

    def hold(self) -> bool:
        """Take it if it is free, keep it if it is ours; whether it is ours now. Quick."""

    def release(self) -> None:
        """Give it back, if it is ours."""


class Turn:
    """Requests that become one batch."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.origins: list[Origin] = []
        self.reply_to: list[str] = []
        self.bytes = 0
        self._next: dict[int, int] = {}

    def next_number(self, client: int) -> int:
        """Of the client's next request after those in here; 0 if there is none of it."""
        return self._next.get(client, 0)

    def has_room(self, request: Submit, size: int) -> bool:
        """Whether a request of so many bytes may be added."""
        return not self.commands or (
            len(self.commands) + len(request.commands) <= BATCH_COMMANDS_MAX
            and self.bytes + size <= BATCH_BYTES_MAX
        )

    def add(self, request: Submit, message: Delivered) -> None:
        """Take one more request in."""
        self._next[request.client] = request.number + 1
        self.commands += request.commands
        self.origins.append(Origin(request.client, request.number, len(request.commands)))
        self.reply_to.append(message.reply_to)
        self.bytes += len(message.data)


class Node:
    """One replica of one partition.

    Invariants
      1. It replies to a request, or to a question about the present, behind a successful append.
      2. Only the thread in `run` touches the replica and the log.
      3. After an exception nothing is answered any more.
    """

    def __init__(
        self,
        replica: Replica,
        log: ReplicatedEventLog,
        lease: Lease,
        network: Network,
        clock: Clock,
        *,
        table: Callable[[str], int | None] = lambda _: None,
        followed: Callable[[Replica], None] = lambda _: None,
        name: str = "",
        partition: int = 0,
    ) -> None:
        """Make a node that does not live yet.

        `table` gives None for a symbol of this partition, else the version of the table that says
        so. `followed` is called on a standby whenever it has read all there is. `name` and
        `partition` are only told.
        """
        self.replica = replica
        self.role = "standby"
        self.stopping = False
        """Set it, from any thread, and the node ends once it has answered what it has taken."""
        self._log = log
        self._lease = lease
        self._network = network
        self._clock = clock
        self._table = table
        self._followed = followed
        self._name = name
        self._partition = partition

    @property
    def epoch(self) -> int:
        """Of the newest entry that this node has written or read."""
        return self._log.position.epoch

    def run(self) -> None:
        """Live until `stopping`.

        Raises:
            StoreError, OSError: this life is over; begin another one.
        """
        if self._take_over():
            self._serve()
        self._lease.release()

    # -- Standby ------------------------------------------------------------------------------

    # --8<-- [start:take_over]
    def _take_over(self) -> bool:
        """Follow the log until this node is its writer; False if it is to stop."""
        while not self.stopping:
            with suppress(LogUnavailable):  # nobody leads the log at present: look again
                if self._follow() and self._lease.hold():
                    with suppress(Fenced):  # there is more to read
                        self._log.start(self.replica.state.place)
                        return True
            self._followed(self.replica)
            self._answer_from_here(self._network.take(0.0))
        return False

    def _follow(self) -> bool:
        """Apply what the log has more, but not for long; whether that was all."""
        applied = 0
        if self._log.grows(self.replica.state.place, FOLLOW_SECONDS):
            for batch in islice(self._log.read(self.replica.state.place), FOLLOW_BATCHES):
                self.replica.apply(batch)
                applied += 1
        return applied < FOLLOW_BATCHES

    # --8<-- [end:take_over]

    def _answer_from_here(self, messages: Sequence[Delivered]) -> None:
        """Answer what a standby can answer; what was meant for the active is not answered."""
        replies: Replies = []
        for message in messages:
            request = self._understood(message, replies)
            if request is not None and not isinstance(request, Submit) and not request.current:
                replies.append((message.reply_to, self._told(request, epoch=0)))
        self._network.reply(replies)

    # -- Active -------------------------------------------------------------------------------

    # --8<-- [start:serve]
    def _serve(self) -> None:
        """Carry out requests until this node is to stop."""
        state = self.replica.state
        sequencer = Sequencer(
            state.matcher, self._log, Subscribers(), self._clock.time_ns,
            timestamp_ns=state.timestamp_ns, unrecorded=state.unrecorded,
        )  # fmt: skip
        self.role = "active"
        self._network.open()
        last_append = self._clock.monotonic()
        while not self.stopping:
            messages = self._network.take(IDLE_SECONDS)
            silent_too_long = self._clock.monotonic() - last_append > self._barrier_seconds()
            if not self._carry_out(messages, sequencer):
                if not (sequencer.has_unrecorded or silent_too_long):
                    continue
                sequencer.barrier()
            last_append = self._clock.monotonic()
            while len(self.replica.unpublished) > OUT_LAG_MAX and not self.stopping:
                self._clock.sleep(IDLE_SECONDS)
        self._network.close()
        self._carry_out(self._network.take(0.0), sequencer)

    # --8<-- [end:serve]

    def _barrier_seconds(self) -> float:
        """How long it may be silent; not for long if somebody else may have taken over."""
        return BARRIER_SECONDS if self._lease.hold() else BARRIER_WITHOUT_LEASE_SECONDS

    def _carry_out(self, messages: Sequence[Delivered], sequencer: Sequencer) -> bool:
        """Append and apply all that has come, and only then reply; whether there was an append."""
        replies: Replies = []
        appended = False
        afterwards: list[tuple[str, Submit | protocol.Question]] = []
        turn = Turn()
        for message in messages:
            request = self._understood(message, replies)
            if request is None:
                continue
            if isinstance(request, Submit):
                if not turn.has_room(request, len(message.data)):  # this changes the sessions
                    self._network.reply(self._append(turn, sequencer))
                    appended = True
                    turn = Turn()
                expected = turn.next_number(request.client) or self.replica.sessions.next_number(
                    request.client, request.number, self.replica.sequence
                )
                if request.number > expected:
                    continue  # one before it was lost on its way: the client repeats both, in order
                if request.number == expected:
                    turn.add(request, message)
                    continue
            afterwards.append((message.reply_to, request))
        if turn.commands or afterwards:
            replies += self._append(turn, sequencer)
            appended = True
        replies += [(reply_to, self._reply(request)) for reply_to, request in afterwards]
        self._network.reply(replies)
        return appended

    # --8<-- [start:append]
    def _append(self, turn: Turn, sequencer: Sequencer) -> Replies:
        """Append what the requests demand, apply it, and give the replies.

        Without requests it is a barrier: what is replied behind it comes from the one writer.
        """
        if not turn.commands:
            sequencer.barrier()
            return []
        first = sequencer.matcher.sequence + 1
        (outcomes,) = sequencer.process([SubmittedMany(turn.commands)], tag_of(turn.origins))
        answers = self.replica.note(turn.origins, first, outcomes)
        return list(zip(turn.reply_to, map(self._answered, answers), strict=True))

    # --8<-- [end:append]

    def _answered(self, answer: Answer) -> bytes:
        events = answer.encoded
        if len(events) > protocol.ANSWER_BYTES_MAX:
            return encode(protocol.Forgotten(answer.number))
        return encode(
            protocol.Answered(
                answer.number, self._log.epoch, answer.first_sequence, msgspec.Raw(events)
            )
        )

    def _reply(self, request: Submit | protocol.Question) -> bytes:
        """The reply to a question, or to a request that is in the log already."""
        if not isinstance(request, Submit):
            return self._told(request, self._log.epoch)
        answer = self.replica.sessions.answer(request.client, request.number)
        if answer is None:
            return encode(protocol.Forgotten(request.number))
        return self._answered(answer)

    # -- Both ---------------------------------------------------------------------------------

    def _understood(
        self, message: Delivered, replies: Replies
    ) -> Submit | protocol.Question | None:
        """The request in a message; or None, and then the reply to it is one of `replies`."""
        try:
            request = protocol.decode_request(message.data)
        except MalformedCommand as error:
            number = protocol.number_of(message.data)
            problem = str(error).removeprefix(f"{error.field}: ")
            replies.append((message.reply_to, encode(Refused(number, error.field, problem))))
            return None
        if isinstance(request, protocol.AskStatus):
            replies.append((message.reply_to, msgspec.json.encode(self._status(request.hashes))))
            return None
        if isinstance(request, Submit):
            symbols = [c.symbol for c in request.commands if isinstance(c, WITH_SYMBOL)]
            for symbol in dict.fromkeys(symbols):
                if symbol is not None and (version := self._table(symbol)) is not None:
                    wrong = protocol.WrongPartition(request.number, symbol, version)
                    replies.append((message.reply_to, encode(wrong)))
                    return None
        return request

    def _status(self, hashes: bool) -> protocol.Status:
        matcher, position = self.replica.state.matcher, self._log.position
        return protocol.Status(
            node=self._name,
            partition=self._partition,
            pid=os.getpid(),
            role=self.role,
            epoch=self.epoch,
            sequence=matcher.sequence,
            entries=position.entries,
            out_lag=len(self.replica.unpublished),
            resting_orders=matcher.resting_order_count(),
            state_hash=matcher.state_hash() if hashes else "",
            sessions_hash=self.replica.sessions.hash() if hashes else "",
            time_ns=self._clock.time_ns(),
        )

    def _told(self, question: protocol.Question, epoch: int) -> bytes:
        """What this node knows, if it knows enough. `epoch` is of an active; 0 for a standby."""
        sequence = self.replica.sequence
        if question.min_sequence > sequence:
            return encode(Behind(sequence))
        return encode(Told(epoch, sequence, msgspec.Raw(encode(self._answer_to(question)))))

    def _answer_to(self, question: protocol.Question) -> object:
        matcher = self.replica.state.matcher
        match question:
            case protocol.AskOrder():
                return matcher.order(question.order_id)
            case protocol.AskDepth():
                return matcher.depth(question.symbol, question.levels)
            case protocol.AskSession():
                return self.replica.sessions.last_number(question.client)
            case _:
                return protocol.StateTold(*matcher.state(), self.replica.sessions.hash())


WITH_SYMBOL = (NewOrder, ListInstrument, MassCancel)


def publish(replica: Replica, out: Stream, clock: Clock) -> bool:
    """Add to OUT some of what it does not have yet; whether there was anything.

    Every node may do so: message n is a function of the log, whoever writes it.

    Raises:
        Fenced: OUT has another message there: this node, or another one, is wrong.
        LogUnavailable: see `stream.append`.
    """
    waiting = replica.unpublished
    some = [waiting[place] for place in range(min(len(waiting), OUT_TOGETHER))]
    if some:
        append(out, [each.encoded for each in some], some[0].number, clock)
        replica.published(some[-1].number)
    return bool(some)
