"""The client of a cluster: the engine's Python API, with the engine on other machines.

::

    submit (any thread) -> router -> session of the partition -> cmd.<p> --> the active
    receipt <------------------------ session <------------------ reply <----'

A program moves from the engine in its own process to a cluster by what it constructs: `submit` and
its like return receipts, `order`, `book` and `state` wait for their answers. What differs is said
where it does: `submit_many`, `mass_cancel`, `state`.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from math import inf
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from ..engine.event_engine import DEFAULT_DEPTH, QUEUE_CAPACITY
from ..engine.events import AnyEvent, InstrumentRejected
from ..engine.market.validation import (
    END_OF_INT64,
    check_count,
    check_depth,
    check_order_id,
    check_symbol,
    validate,
    validate_each,
)
from ..engine.market.views import Depth, OrderView, State
from ..engine.receipt import Receipt, Submitted
from ..errors import (
    EngineBusy,
    EngineClosed,
    EngineStopped,
    InstrumentRefused,
    LogUnavailable,
    MalformedCommand,
)
from ..models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from ..models.enums import OrderStatus, RejectReason
from .node import Delivered
from .protocol import (
    REQUEST_CHECKS,
    REQUEST_COMMANDS_MAX,
    AskDepth,
    AskOrder,
    AskState,
    Behind,
    Question,
    StateTold,
    Told,
    decode_reply,
    encode,
)
from .session import PATIENCE_SECONDS, REPEAT_SECONDS, Item, Part, Session, Single, Whole
from .table import SymbolTable, Table

ORDERS_REMEMBERED = 1_000_000
"""Of so many orders a client knows the partition; for an older one it asks all partitions."""
REPEAT_SECONDS_MAX = 5.0
"""Between two times that a question is asked."""
QUESTIONS_TOGETHER = 256
"""Asked at once, so that a node answers them behind one append."""
BEHIND_SECONDS = 0.02
"""How long to wait before a replica that is behind, or another one, is asked again."""

AnswerType = TypeVar("AnswerType")


class Wire(Protocol):
    """What a client needs of a connection to the servers. Any thread may call."""

    def send(self, messages: Iterable[tuple[str, bytes]], reply_to: str = "") -> None:
        """Send messages, each to its subject, and do not wait. No promise that they arrive."""

    def subscribe(self, subject: str, heard: Callable[[Delivered], None]) -> Any:
        """Have `heard` called, in a thread of the connection's own, with every message to it."""

    def end(self, *subscriptions: Any) -> None:
        """Hear no more."""

    def answered(self) -> None:
        """What was sent has been answered."""

    def unanswered(self) -> None:
        """It has not: perhaps the server has lost the others, and another one does better."""


class ClusterClient:
    """A client of a cluster. Any thread may use it, but for a signal's handler.

    Invariants
      1. A command is carried out once, although it may have been sent many times.
      2. Commands of one client to one partition are carried out in the order of their submission.
      3. A receipt resolves when its command is durable on a majority, and applied.
      4. A question with `current` sees all that was answered, to anybody, before it was asked, and
         all that this client has submitted before.

    There is no order across partitions: sequences, times, order ids and trade ids are of one.
    """

    def __init__(
        self,
        connection: Wire,
        client_id: int | None = None,
        *,
        table: SymbolTable,
        instruments: Iterable[ListInstrument] = (),
        queue_capacity: int = QUEUE_CAPACITY,
        patience: float = PATIENCE_SECONDS,
        at_close: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin a session with each partition.

        `client_id` names the sender of the requests; a random one is drawn by default. Whoever
        gives the id of a client that has ended goes on after its last request. Two processes must
        not use one id at the same time. `table` says how many partitions there are, and which of
        them has which symbol; `connect.connect` knows it. `instruments` are listed if they are not
        yet. After `patience` seconds without an answer everything that waits for one fails.
        `at_close` is called at the end, to give the connection back.

        Raises:
            MalformedCommand, InstrumentRefused: an argument, or one of `instruments`.
            StoreError, LogUnavailable: there is no cluster here, or it does not answer.
        """
        check_count("queue_capacity", queue_capacity)
        if type(patience) not in (int, float) or not 0 < patience < inf:
            raise MalformedCommand("patience", "expected a number of seconds above 0")
        if client_id is not None:
            check_count("client_id", client_id, END_OF_INT64 - 1)
        self.client_id = client_id or secrets.randbits(62) + 1
        self._wire = connection
        self._table = table
        self._known = table.read()
        self.partitions = self._known.partitions
        self._routing = threading.Lock()
        """Held while the table is read; never together with the other lock."""
        self._order_partition: OrderedDict[int, int] = OrderedDict()
        self._capacity = queue_capacity
        self._patience = patience
        self._lock = threading.Lock()
        """Held by whoever uses the sessions."""
        self._sessions = [
            Session(
                self.client_id,
                f"partition {p}",
                patience=patience,
                rejected=partial(self._rejected, p),
            )
            for p in range(self.partitions)
        ]
        self._at_close = at_close
        self._closed = False
        _clients.add(self)
        self._questions: dict[str, _Asked] = {}
        self._question_ids = count(1)
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._subscriptions = [
            connection.subscribe(f"{self._inbox}.*", self._heard),
            connection.subscribe("active.*", self._announced),
        ]
        self._woken = threading.Event()
        self._wakes_at = float("inf")
        self._timer = threading.Thread(target=self._run, name="cluster-client", daemon=True)
        self._timer.start()
        try:
            self._list(instruments)
        except BaseException:
            self.leave()
            raise

    def _list(self, instruments: Iterable[ListInstrument]) -> None:
        wanted = list(instruments)
        for each in wanted:
            if type(each) is not ListInstrument:
                raise MalformedCommand("instruments", f"{type(each).__name__}: not ListInstrument")
        for [event] in self.submit_many(wanted).result():
            if (
                isinstance(event, InstrumentRejected)
                and event.reason is not RejectReason.DUPLICATE_SYMBOL
            ):
                raise InstrumentRefused(event.symbol, event.reason.name)

    # -- Submitting: any thread ---------------------------------------------------------------

    def submit(self, command: Command) -> Receipt[list[AnyEvent]]:
        """Send a command on its way; its receipt resolves once it is durable and applied.

        It returns at once, but asks first where the symbol or the order is, if this client does not
        know it, and there are several partitions.

        Raises:
            MalformedCommand: a field is of the wrong type or out of range.
            EngineBusy: too much waits for an answer.
            EngineClosed, EngineStopped: the client takes nothing more.
            In all these cases the command was not sent.
        """
        validate(command, REQUEST_CHECKS)
        if self.partitions == 1:
            return self._submit_in(0, command)
        whole = Single(events=[[]])
        self._enqueue_whole([command], whole)
        return whole  # type: ignore[return-value]

    def submit_many(self, commands: Iterable[Command]) -> Receipt[list[list[AnyEvent]]]:
        """Send several commands on their way together. O(commands).

        One receipt resolves to the events of each, in order, once all are durable and applied. Of
        one partition, up to 1,024 commands get sequences without a gap; of more, and of several
        partitions, others may come between them. All are taken or none.

        Raises:
            MalformedCommand: one of them is, and its place is named; or they are too many.
            EngineBusy, EngineClosed, EngineStopped: as `submit`.
        """
        commands = list(commands)
        validate_each(commands, REQUEST_CHECKS)
        return self.submit_checked(commands)

    def submit_checked(self, commands: list[Command]) -> Receipt[list[list[AnyEvent]]]:
        """As `submit_many`, for commands that were checked. The list is the client's from now on.

        Raises as `submit_many`.
        """
        if len(commands) > self._capacity:
            raise MalformedCommand(
                "commands", f"{len(commands):,}; at most {self._capacity:,} may wait for an answer"
            )
        whole = Whole(events=[[] for _ in commands])
        self._enqueue_whole(commands, whole)
        return whole

    def cancel(
        self, order_id: int, participant: int, *, symbol: str | None = None
    ) -> Receipt[list[AnyEvent]]:
        """Submit a `CancelOrder`.

        `symbol` spares the search for an order of somebody else where there are several partitions.
        Name it where two of them may have an order of this id: else one of the two is taken.
        """
        return self._submit_to(symbol, CancelOrder(order_id, participant))

    def reduce(
        self, order_id: int, participant: int, by: int, *, symbol: str | None = None
    ) -> Receipt[list[AnyEvent]]:
        """Submit a `ReduceOrder`. To submit it again would reduce twice. `symbol`: see `cancel`."""
        return self._submit_to(symbol, ReduceOrder(order_id, participant, by))

    def replace(
        self,
        order_id: int,
        participant: int,
        price: int | None = None,
        quantity: int | None = None,
        *,
        symbol: str | None = None,
    ) -> Receipt[list[AnyEvent]]:
        """Submit a `ReplaceOrder`; None keeps, but not both. `symbol`: see `cancel`."""
        return self._submit_to(symbol, ReplaceOrder(order_id, participant, price, quantity))

    def mass_cancel(self, participant: int, symbol: str | None = None) -> Receipt[list[AnyEvent]]:
        """Submit a `MassCancel`; None is every symbol.

        That is one command for each partition, each with a sequence and an event of its own. They
        are not carried out at one moment.
        """
        return self.submit(MassCancel(participant, symbol))

    def list_instrument(
        self, symbol: str, tick_size: str, lot_size: str
    ) -> Receipt[list[AnyEvent]]:
        """Submit a `ListInstrument`. A symbol that has no partition yet gets one."""
        return self.submit(ListInstrument(symbol, tick_size, lot_size))

    def _submit_to(
        self, symbol: str | None, command: CancelOrder | ReduceOrder | ReplaceOrder
    ) -> Receipt[list[AnyEvent]]:
        if symbol is None:
            return self.submit(command)
        check_symbol(symbol)
        validate(command, REQUEST_CHECKS)
        return self._submit_in(self._partition_of(symbol), command)

    def _submit_in(self, partition: int, command: Command) -> Receipt[list[AnyEvent]]:
        receipt: Submitted[list[AnyEvent]] = Submitted(command)
        self._enqueue({partition: [receipt]}, 1, {})
        return receipt

    def _enqueue_whole(self, commands: list[Command], whole: Whole) -> None:
        """Send commands, which may be of several partitions, to be answered together."""
        if not commands:
            whole.resolve()
            return
        indices: dict[int, list[int]] | dict[int, range] = {0: range(len(commands))}
        new_orders: dict[int, int] = {}
        if self.partitions > 1:
            indices, new_orders = self._routes(commands, whole)
        items: dict[int, list[Item]] = {}
        total = 0
        for partition, places in indices.items():
            items[partition] = []
            total += len(places)
            for first in range(0, len(places), REQUEST_COMMANDS_MAX):
                some = places[first : first + REQUEST_COMMANDS_MAX]
                part = [commands[place] for place in some]
                items[partition].append(Part(part, some, whole))
        whole.parts = sum(map(len, items.values()))
        self._enqueue(items, total, new_orders)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosed("the client is closed")

    def _enqueue(
        self, items: dict[int, list[Any]], commands: int, new_orders: Mapping[int, int]
    ) -> None:
        """Hand items to the sessions; `new_orders` says where the new orders among them go."""
        with self._lock:
            self._check_open()
            for partition in items:
                if (failure := self._sessions[partition].failure) is not None:
                    raise EngineStopped(*failure.args)
            if commands + sum(session.commands for session in self._sessions) > self._capacity:
                raise EngineBusy("too much waits for an answer; wait for receipts, then go on")
            self._remember(new_orders)
            for partition, some in items.items():
                session = self._sessions[partition]
                for item in some:
                    session.submit(item)
                self._send(partition, session)

    def _send(self, partition: int, session: Session) -> None:
        """Send what a session has to say. The lock is held, so the messages stay in order."""
        if messages := session.messages(monotonic()):
            subject = f"cmd.{partition}"
            self._wire.send([(subject, each) for each in messages], f"{self._inbox}.{partition}")
            if session.repeats:
                self._wire.unanswered()
        if session.due < self._wakes_at:
            self._wakes_at = session.due
            self._woken.set()

    # -- Where to -----------------------------------------------------------------------------

    def _routes(
        self, commands: list[Command], whole: Whole
    ) -> tuple[dict[int, list[int]], dict[int, int]]:
        """For each partition, the indices of the commands that go there; and where new orders go.

        One that goes to all of them is added to the commands, and to the whole, once for each.
        """
        self._check_open()
        new = {each.symbol for each in commands if type(each) is ListInstrument}
        known = self._known
        if not new <= known.symbols.keys():
            with self._routing:
                known = self._known = self._table.assign(new)
        symbols = {each.symbol for each in commands if isinstance(each, NewOrder | MassCancel)}
        if not symbols - {None} <= known.symbols.keys():
            known = self._read_table()
        found = self._find_orders(commands)
        new_orders: dict[int, int] = {}
        routes: dict[int, list[int]] = defaultdict(list)
        for index, command in enumerate(tuple(commands)):
            if isinstance(command, CancelOrder | ReduceOrder | ReplaceOrder):
                order_id = command.order_id
                partition = new_orders[order_id] if order_id in new_orders else found[order_id]
                routes[partition].append(index)
            elif command.symbol is None:
                routes[0].append(index)
                for partition in range(1, self.partitions):
                    routes[partition].append(len(commands))
                    commands.append(command)
                    whole.events.append([])
                    whole.added.append(index)
            else:
                # Where a symbol has no partition nothing is listed: any will say so.
                partition = known.symbols.get(command.symbol, 0)
                routes[partition].append(index)
                if isinstance(command, NewOrder):
                    new_orders[command.order_id] = partition
        return routes, new_orders

    def _partition_of(self, symbol: str) -> int:
        """Where a symbol is; the table is read again if this client does not know it.

        Where it has no partition nothing is listed: any will say so.
        """
        if self.partitions == 1:
            return 0
        known = self._known
        if symbol not in known.symbols:
            known = self._read_table()
        return known.symbols.get(symbol, 0)

    def _read_table(self) -> Table:
        """The newest table of symbols."""
        self._check_open()
        with self._routing:
            self._known = self._table.read()
            return self._known

    def _remember(self, orders: Mapping[int, int]) -> None:
        """Of orders with one id the newest is remembered. The lock is held."""
        known = self._order_partition
        known |= orders
        while len(known) > ORDERS_REMEMBERED:
            known.popitem(last=False)

    def _rejected(self, partition: int, order_id: int) -> None:
        """A new order is not where it was sent. The lock is held."""
        if self._order_partition.get(order_id) == partition:
            del self._order_partition[order_id]

    def _find_orders(self, commands: Iterable[Command]) -> dict[int, int]:
        """Where the orders are that some commands are about, but for those that are new in them.

        All partitions are asked, at once, for the ones that this client does not remember.
        """
        new: set[int] = set()
        found: dict[int, int] = {}
        views: dict[int, list[OrderView]] = {}
        for command in commands:
            if isinstance(command, NewOrder):
                new.add(command.order_id)
            elif isinstance(command, CancelOrder | ReduceOrder | ReplaceOrder):
                order_id = command.order_id
                if (partition := self._order_partition.get(order_id)) is not None:
                    found[order_id] = partition
                elif order_id not in new:
                    views[order_id] = []
        places = [(partition, id_) for id_ in views for partition in range(self.partitions)]
        asked = [(partition, AskOrder(True, 0, id_)) for partition, id_ in places]
        for (_, id_), told in zip(places, self._ask_all(asked), strict=True):
            views[id_].append(msgspec.msgpack.decode(told.answer, type=OrderView))
        # What is over may be followed by another order of its id elsewhere.
        live: dict[int, int] = {}
        for id_, seen in views.items():
            best = max(seen, key=_how_much_alive)
            found[id_] = seen.index(best)
            if best.remaining:
                live[id_] = found[id_]
        with self._lock:
            self._remember(live)
        return found

    # -- Questions: any thread ----------------------------------------------------------------

    def book(self, symbol: str) -> BookView:
        """The book of `symbol`; empty if it was never listed.

        Raises:
            MalformedCommand: this cannot be a symbol.
        """
        check_symbol(symbol)
        return BookView(self, symbol)

    def order(self, order_id: int, *, symbol: str | None = None, current: bool = True) -> OrderView:
        """Status (UNKNOWN: the id was never used) and open quantity of an order.

        `symbol`: see `cancel`. If not `current`, any replica answers, with a state that is no older
        than the last answer to this client.

        Raises:
            EngineClosed, EngineStopped: nobody answered.
        """
        return self.order_at(order_id, symbol=symbol, current=current)[1]

    def order_at(
        self, order_id: int, *, symbol: str | None = None, current: bool = True
    ) -> tuple[int, OrderView]:
        """A sequence, and what `order` says after it."""
        check_order_id(order_id)
        partition = 0
        if symbol is not None:
            check_symbol(symbol)
            partition = self._partition_of(symbol)
        elif self.partitions > 1:
            partition = self._find_orders([CancelOrder(order_id, 1)])[order_id]
        question = AskOrder(current, self._seen(partition), order_id)
        return self._ask(partition, question, OrderView)

    def depth_at(self, symbol: str, levels: int, *, current: bool = True) -> tuple[int, Depth]:
        """A sequence, and what `book(symbol).depth(levels)` says after it."""
        check_symbol(symbol)
        check_depth(levels)
        partition = self._partition_of(symbol)
        question = AskDepth(current, self._seen(partition), symbol, levels)
        return self._ask(partition, question, Depth)

    def state(self, partition: int | None = None, *, current: bool = True) -> State:
        """Sequence, resting orders and state hash of a partition, which has to be named if there
        are several. O(resting orders), in the node's time.

        Raises:
            MalformedCommand: there is no such partition.
            EngineClosed, EngineStopped: nobody answered.
        """
        if partition is None and self.partitions == 1:
            partition = 0
        if type(partition) is not int or not 0 <= partition < self.partitions:
            raise MalformedCommand("partition", f"expected one of 0 to {self.partitions - 1}")
        question = AskState(current, self._seen(partition))
        _, told = self._ask(partition, question, StateTold)
        return State(told.sequence, told.resting_orders, told.state_hash)

    def _seen(self, partition: int) -> int:
        return self._sessions[partition].sequence

    def _ask(
        self, partition: int, question: Question, kind: type[AnswerType]
    ) -> tuple[int, AnswerType]:
        """Ask until somebody answers; the sequence of the answer, and what it is."""
        if question.current:
            self._wait_for_own(partition)
        [told] = self._ask_all([(partition, question)])
        return told.sequence, msgspec.msgpack.decode(told.answer, type=kind)

    def _ask_all(self, questions: Sequence[tuple[int, Question]]) -> list[Told]:
        """Ask, each in its partition, until all are answered."""
        return [
            told
            for first in range(0, len(questions), QUESTIONS_TOGETHER)
            for told in self._told(questions[first : first + QUESTIONS_TOGETHER])
        ]

    def _told(self, questions: Sequence[tuple[int, Question]]) -> list[Told]:
        """What the nodes say to some questions.

        An answer to any of the times that a question was asked will do, and they are asked again
        ever more seldom: a node that is slow must not get slower by that.
        """
        asked = {f"{self._inbox}.q{next(self._question_ids)}": _Asked() for _ in questions}
        self._questions |= asked
        give_up = monotonic() + self._patience
        pause = REPEAT_SECONDS
        again = False
        try:
            while any(each.told is None for each in asked.values()):
                self._check_open()
                if monotonic() > give_up:
                    raise EngineStopped(
                        f"no node has answered a question for {self._patience:.0f} s"
                    )
                for (inbox, each), (partition, question) in zip(
                    asked.items(), questions, strict=True
                ):
                    each.heard.clear()
                    each.behind = False
                    if each.told is None:
                        subject = f"{'cmd' if question.current else 'read'}.{partition}"
                        self._wire.send([(subject, encode(question))], inbox)
                if again:
                    self._wire.unanswered()
                again = True
                until = monotonic() + pause
                for each in asked.values():
                    if each.told is None:
                        each.heard.wait(until - monotonic())
                if any(each.behind for each in asked.values()):
                    sleep(BEHIND_SECONDS)
                else:
                    pause = min(2 * pause, REPEAT_SECONDS_MAX)
            return [each.told for each in asked.values() if each.told is not None]
        finally:
            for inbox in asked:
                del self._questions[inbox]

    def _wait_for_own(self, partition: int) -> None:
        """Wait until all is answered, well or badly, that this client has submitted before."""
        with self._lock:
            items = self._sessions[partition].unanswered
        for item in reversed(items):  # behind the newest hardly any is left to wait for
            _receipt(item).wait()

    def wait_for_room(self) -> None:
        """Wait until the oldest command is answered; return at once where there is none.

        For those who got `EngineBusy` and have no receipt of their own to wait for.
        """
        with self._lock:
            oldest = [each.oldest for each in self._sessions if each.oldest is not None]
        if oldest:
            _receipt(oldest[0]).wait()

    # -- The connection's thread, and the timer's ----------------------------------------------

    def _heard(self, message: Delivered) -> None:
        """A reply has come. One that is behind may come from where nothing new comes from."""
        asked = self._questions.get(message.subject)
        if asked is not None:
            with suppress(ValueError):
                reply = decode_reply(message.data)
                if isinstance(reply, Told):
                    self._wire.answered()
                    asked.told = asked.told or reply
                    asked.heard.set()
                elif isinstance(reply, Behind):
                    asked.behind = True
                    asked.heard.set()
            return
        self._wire.answered()
        partition = message.subject.rpartition(".")[2]
        if not partition.isdecimal() or int(partition) >= self.partitions:
            return  # the answer to a question that was given up
        with self._lock:
            session = self._sessions[int(partition)]
            session.heard(message.data, monotonic())
            self._send(int(partition), session)
            if session.misrouted:
                self._woken.set()

    def _announced(self, message: Delivered) -> None:
        """A node says that it is the active of a partition now."""
        partition = message.subject.rpartition(".")[2]
        if partition.isdecimal() and int(partition) < self.partitions:
            with self._lock:
                session = self._sessions[int(partition)]
                session.announced()
                self._send(int(partition), session)

    def _run(self) -> None:
        """The timer: send again what was not answered."""
        while True:
            with self._lock:
                if self._closed:
                    return
                self._wakes_at = float("inf")
                for partition, session in enumerate(self._sessions):
                    self._send(partition, session)
                wait = self._wakes_at - monotonic()
                self._woken.clear()
                misrouted = any(session.misrouted for session in self._sessions)
            if misrouted:
                self._look_at_misrouted()
            else:
                self._woken.wait(None if wait == float("inf") else max(wait, 0.0))

    def _look_at_misrouted(self) -> None:
        """See whether it is the node, or this client, that knows too little about a symbol."""
        try:
            known = self._read_table()
        except LogUnavailable:
            sleep(REPEAT_SECONDS)
            return
        except EngineClosed:
            return
        with self._lock:
            for partition, session in enumerate(self._sessions):
                for wrong in session.misrouted:
                    place = known.symbols.get(wrong.symbol)
                    if place != partition:  # otherwise the node will know it soon, too
                        problem = f"{wrong.symbol} is not in partition {partition}, but {place}"
                        session.refuse(wrong.number, MalformedCommand("symbol", problem))
                session.misrouted.clear()

    # -- The end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait until all is answered, or was given up, and hear no more. May be called again."""
        for partition in range(self.partitions):
            self._wait_for_own(partition)
        self.leave()

    def leave(self) -> None:
        """Hear no more, at once: what is not answered fails. May be called again."""
        with self._lock:
            was_closed, self._closed = self._closed, True
            for session in self._sessions:
                session.end("the client was closed before there was an answer")
        self._woken.set()
        if not was_closed:
            self._wire.end(*self._subscriptions)
            self._timer.join()
            self._at_close()

    def _forget(self) -> None:
        """In a forked process, which has neither the connection's thread nor the timer: be closed.

        What is not answered is the other process's.
        """
        self._closed = True
        self._lock, self._routing = threading.Lock(), threading.Lock()  # somebody may have held it
        for session in self._sessions:
            session.end("the client is in the process that forked this one")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:  # whoever interrupts does not want to wait for the cluster
            self.leave()


_clients: weakref.WeakSet[ClusterClient] = weakref.WeakSet()


def _forget_clients() -> None:
    for client in tuple(_clients):
        client._forget()


os.register_at_fork(after_in_child=_forget_clients)


class _Asked:
    """A question that was sent. Unlike a receipt it may wake who waits, and not be answered."""

    __slots__ = ("behind", "heard", "told")

    def __init__(self) -> None:
        self.told: Told | None = None
        self.behind = False
        """Whether a node has said that it does not know enough."""
        self.heard = threading.Event()
        """Set when one of the two has changed."""


def _how_much_alive(order: OrderView) -> tuple[bool, bool, int]:
    """An order that is open, one that was, and one that was refused, before one that never was."""
    was_accepted = order.status not in (OrderStatus.UNKNOWN, OrderStatus.REJECTED)
    return order.remaining > 0, was_accepted, order.status


def _receipt(item: Item) -> Receipt[Any]:
    return item.whole if isinstance(item, Part) else item


class BookView:
    """One symbol's book, read from a node, so that every answer is of one moment."""

    def __init__(self, client: ClusterClient, symbol: str) -> None:
        self._client = client
        self.symbol = symbol

    def depth(self, levels: int = DEFAULT_DEPTH, *, current: bool = True) -> Depth:
        """The best `levels` levels of both sides, best first. `current`: see `order`.

        Raises:
            MalformedCommand: fewer than one level.
            EngineClosed, EngineStopped: nobody answered.
        """
        return self._client.depth_at(self.symbol, levels, current=current)[1]
