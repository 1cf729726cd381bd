"""The engine: many producers, one queue, one writer.

::

    submit (any thread) -> queue -> writer thread: drain, stamp, log + sync, match, publish, answer
                           bounded                                            `-> subscribers

Data flows one way. Producers only append to the queue; only the writer touches the matcher and the
log; subscribers get events that are durable.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat, starmap
from types import TracebackType
from typing import Any, Self

from ..errors import (
    DirectoryUnusable,
    EngineBusy,
    EngineClosed,
    EngineError,
    EngineStopped,
    InstrumentRefused,
    MalformedCommand,
    WriterBlocked,
    described,
)
from ..models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    ReduceOrder,
    ReplaceOrder,
)
from .audit.process import AuditProcess
from .audit_logger import set_aside, witness
from .event_log import EventLog
from .events import AnyEvent, InstrumentRejected
from .log.forking import NO_FORK
from .log.memory import NoEventLog
from .log.recovery import Progress, Recovered, recover
from .log.snapshot import Snapshots
from .log.storage import DirectoryStorage
from .market.validation import (
    check_count,
    check_depth,
    check_order_id,
    check_symbol,
    validate,
    validate_each,
)
from .market.views import Depth, OrderView, State
from .receipt import WRITERS, Asked, Question, Receipt, Request, Submitted, SubmittedMany
from .sequencer import MAX_BATCH, Sequencer
from .subscribers import Subscribers
from .wal_event_store import MOST_SEGMENT_BYTES, SEGMENT_BYTES, WalEventStore

MOST_PLACES = 2**24
QUEUE_CAPACITY = 65_536
"""Commands and questions that may wait in the queue before it refuses."""
IDLE_SECONDS = 0.05
"""How long the queue is empty before the events of the last commands are logged by themselves; a
command that comes earlier takes them along."""
DEFAULT_DEPTH = 10


class EventDrivenMatchingEngine:
    """A matching engine whose every answer is durable.

    Invariants
      1. A command is durable in the log before it is applied, and applied before it is answered.
      2. Commands are applied in the order of their sequences 1, 2, 3 …; a sequence is given once.
      3. Only the writer thread touches the matcher and the log.
      4. A full queue refuses (`EngineBusy`) before a sequence exists; nothing is dropped after.
      5. After a failure nothing is answered any more (`EngineStopped`).

    **Submission is lock-free.** `deque.append` and `deque.pop` are atomic. The bound is kept by
    permits, one for each free place, which a producer takes and the writer gives back; each command
    takes one, whether it comes alone or in a list. The only blocking primitive wakes a writer that
    sleeps because there is nothing to do.

    **Group commit without a timer.** While one batch is being synced the next one gathers; under
    load batches grow by themselves, and a lone command is synced at once.

    Simplification: one engine is one partition; it does not divide symbols among several writers.

    >>> from v2_event_driven_engine import NewOrder, OrderType, Side
    >>> aapl = ListInstrument("AAPL", tick_size="0.01", lot_size="1")
    >>> with EventDrivenMatchingEngine.in_memory(instruments=[aapl]) as engine:
    ...     receipt = engine.submit(
    ...         NewOrder(order_id=1, participant=7, symbol="AAPL", side=Side.BUY,
    ...                  type=OrderType.LIMIT, price=10125, quantity=100)
    ...     )
    ...     events = receipt.result(timeout=5.0)
    ...     bids, asks = engine.book("AAPL").depth()
    >>> [type(event).__name__ for event in events], bids, asks
    (['OrderAccepted'], (Level(price=10125, quantity=100, orders=1),), ())
    """

    def __init__(
        self,
        recovered: Recovered,
        log: EventLog,
        *,
        max_batch: int = MAX_BATCH,
        queue_capacity: int = QUEUE_CAPACITY,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Build an engine that does not run yet; `open` and `in_memory` build one that does."""
        self.recovered = recovered
        """What was found when the engine was opened."""
        self.subscribers = Subscribers()
        self.failure: EngineStopped | None = None
        """Why the engine stopped, if it did."""
        self._log = log
        self._sequencer = Sequencer(
            recovered.matcher, log, self.subscribers, clock,
            timestamp_ns=recovered.timestamp_ns, unrecorded=recovered.unrecorded,
            max_batch=max_batch,
        )  # fmt: skip
        self._max_batch = max_batch
        # Producers append and take permits; the writer pops and gives permits back.
        self._queue: deque[Request] = deque()
        self._permits = deque([None] * queue_capacity)
        self._capacity = queue_capacity
        # The writer sets `_asleep` and `_finished`; producers read them, and set `_work`.
        self._asleep = False
        self._finished = False
        # What the writer sleeps on; whoever brings work releases it. A bare lock, because a signal
        # handler may submit while the thread that it interrupts does: an Event has a lock inside.
        self._work = threading.Lock()
        self._work.acquire()
        self._batch: Sequence[Request] = ()
        """What the writer works on."""
        # Whoever closes sets it, and the writer when it ends; producers read it.
        self._closing = False
        # A signal handler may close the engine while the thread that it interrupts does.
        self._closing_lock = threading.RLock()
        self._held = ExitStack()
        """What to give back once the writer has ended."""
        self._audit: AuditProcess | None = None
        self._give_up: list[Callable[[], object]] = []
        """What to do instead in a forked process."""
        self._writer = threading.Thread(
            target=self._run, name="matching-engine-writer", daemon=True
        )

    @classmethod
    def open(
        cls,
        log: str | os.PathLike[str] | EventLog,
        *,
        instruments: Iterable[ListInstrument] = (),
        max_batch: int = MAX_BATCH,
        queue_capacity: int = QUEUE_CAPACITY,
        segment_bytes: int = SEGMENT_BYTES,
        audit: bool = True,
        clock: Callable[[], int] = time.time_ns,
        progress: Progress | None = None,
    ) -> Self:
        """Open a log and recover what it stands for.

        `log` is the directory of a log in files, which is made if it is missing, or a log of any
        other kind. `instruments` are listed if they are not yet, before anything else can be
        submitted. `segment_bytes` and `audit` are for a directory: `audit` keeps `audit.log` in it
        complete, by a process beside this one.

        Raises:
            DirectoryInUse, DirectoryUnusable, LogDamaged, ReplayDivergence, UnsupportedFormat:
                nothing was changed.
            MalformedCommand, InstrumentRefused: one of `instruments`; everything is closed again.
        """
        check_count("max_batch", max_batch)
        check_count("queue_capacity", queue_capacity, MOST_PLACES)
        check_count("segment_bytes", segment_bytes, MOST_SEGMENT_BYTES)
        if not callable(clock):
            raise MalformedCommand("clock", "expected a function that gives nanoseconds")
        if progress is not None and not callable(progress):
            raise MalformedCommand("progress", "expected a function that takes a sequence")
        if not isinstance(log, (str, os.PathLike, EventLog)):
            kind = type(log).__name__
            raise MalformedCommand("log", f"{kind}; expected the name of a directory, or a log")
        with ExitStack() as held:
            give_up = held.enter_context(_given_up_by_forks())
            process = None
            if isinstance(log, (str, os.PathLike)):
                with NO_FORK:
                    storage = DirectoryStorage(log, create=True)
                    process = AuditProcess(storage)
                    give_up += [storage.close, storage.forget_lock, process.forget]
                held.callback(storage.close)
                try:
                    # Given back in the other order: the log closed, the lock, the trail completed.
                    held.callback(process.finish)
                    held.callback(storage.unlock)
                    with NO_FORK:
                        storage.lock()
                    log = WalEventStore(storage, segment_bytes=segment_bytes)
                    recovered = recover(log, Snapshots(storage), progress=progress)
                    held.callback(log.close)
                    witnessed, problem = witness(storage)
                    with NO_FORK:
                        give_up.append(log.close)
                        log.start(recovered.place, witnessed)
                    if problem:
                        recovered.warnings.append(set_aside(storage, problem))
                    if audit:
                        process.start()
                except OSError as error:
                    raise DirectoryUnusable(f"{storage.path}: {error}") from error
            else:
                recovered = recover(log, progress=progress)
                held.callback(log.close)
                log.start(recovered.place)
            engine = cls(
                recovered, log, max_batch=max_batch, queue_capacity=queue_capacity, clock=clock
            )
            engine._list(instruments)
            engine._audit = process if audit else None
            engine._give_up = give_up
            _engines.add(engine)
            engine._writer.start()
            engine._held = held.pop_all()
        return engine

    @classmethod
    def in_memory(
        cls,
        *,
        instruments: Iterable[ListInstrument] = (),
        max_batch: int = MAX_BATCH,
        queue_capacity: int = QUEUE_CAPACITY,
        clock: Callable[[], int] = time.time_ns,
    ) -> Self:
        """An engine with the same rules and no log: it forgets everything when it is closed."""
        return cls.open(
            NoEventLog(), instruments=instruments, max_batch=max_batch,
            queue_capacity=queue_capacity, clock=clock,
        )  # fmt: skip

    def _list(self, instruments: Iterable[ListInstrument]) -> None:
        """List what is not listed yet. There is no writer thread yet: this thread is the writer."""
        known = self.recovered.matcher.instruments
        missing = []
        for each in instruments:
            if type(each) is not ListInstrument:
                raise MalformedCommand("instruments", f"{type(each).__name__}: not ListInstrument")
            validate(each)
            if each.symbol not in known:
                missing.append(each)
        (answers,) = self._sequencer.process([SubmittedMany(missing)])
        for (event,) in answers:
            if isinstance(event, InstrumentRejected):
                raise InstrumentRefused(event.symbol, event.reason.name)

    @property
    def audit_is_behind(self) -> bool:
        """Whether, now that the engine is closed, the audit trail may lack events."""
        return self._audit is not None and self._audit.is_behind

    @property
    def event_log(self) -> Subscribers:
        """`subscribers`, under its name in version 0.1."""
        return self.subscribers

    # -- Producers: any thread ----------------------------------------------------------------

    def submit(self, command: Command) -> Receipt[list[AnyEvent]]:
        """Send a command on its way; its receipt resolves once it is durable and applied. O(1).

        Raises:
            MalformedCommand: a field is of the wrong type or out of range.
            EngineBusy: the queue is full.
            EngineClosed, EngineStopped: the engine takes nothing more.
            In all these cases no sequence was given and nothing changed.
        """
        validate(command)
        receipt: Submitted[list[AnyEvent]] = Submitted(command)
        self._enqueue(receipt)
        return receipt

    def submit_many(self, commands: Iterable[Command]) -> Receipt[list[list[AnyEvent]]]:
        """Send several commands on their way together. O(commands).

        One receipt resolves to the events of each, in order, once all are durable and applied. They
        get sequences without a gap, and no other command comes between them. Each takes one place
        in the queue. All are taken or none; but a crash or a failure may come between two batches
        of them, as it may between two commands.

        Raises:
            MalformedCommand: one of them is, and its place is named; or they are more than the
                queue has places.
            EngineBusy, EngineClosed, EngineStopped: as `submit`.
        """
        commands = list(commands)
        validate_each(commands)
        return self.submit_checked(commands)

    def submit_checked(self, commands: list[Command]) -> Receipt[list[list[AnyEvent]]]:
        """As `submit_many`, for commands that `cli/ndjson.py` has checked as it decoded them.

        The list is the engine's from now on.
        """
        receipt: SubmittedMany[list[list[AnyEvent]]] = SubmittedMany(commands)
        self._enqueue_many(receipt)
        return receipt

    def cancel(self, order_id: int, participant: int) -> Receipt[list[AnyEvent]]:
        """Submit a `CancelOrder`. Safe to send again: an order is canceled once."""
        return self.submit(CancelOrder(order_id, participant))

    def reduce(self, order_id: int, participant: int, by: int) -> Receipt[list[AnyEvent]]:
        """Submit a `ReduceOrder`. Not safe to send again: it would reduce twice."""
        return self.submit(ReduceOrder(order_id, participant, by))

    def replace(
        self,
        order_id: int,
        participant: int,
        price: int | None = None,
        quantity: int | None = None,
    ) -> Receipt[list[AnyEvent]]:
        """Submit a `ReplaceOrder`; None keeps, but not both."""
        return self.submit(ReplaceOrder(order_id, participant, price, quantity))

    def mass_cancel(self, participant: int, symbol: str | None = None) -> Receipt[list[AnyEvent]]:
        """Submit a `MassCancel`; None is every symbol."""
        return self.submit(MassCancel(participant, symbol))

    def list_instrument(
        self, symbol: str, tick_size: str, lot_size: str
    ) -> Receipt[list[AnyEvent]]:
        """Submit a `ListInstrument`."""
        return self.submit(ListInstrument(symbol, tick_size, lot_size))

    def ask(self, question: Question) -> Receipt[Any]:
        """Let the writer put `question` to the matcher, after all that was submitted before.

        A question takes a place in the queue but no sequence. It must change nothing, and must
        return a copy instead of a part of the matcher. What it raises is raised by its own receipt.
        Raises as `submit`.
        """
        if not callable(question):
            raise MalformedCommand("question", f"{type(question).__name__} is not a function")
        receipt: Asked[Any] = Asked(question)
        self._enqueue(receipt)
        return receipt

    def book(self, symbol: str) -> BookView:
        """The book of `symbol`, to be read from any thread; empty if it was never listed.

        Raises:
            MalformedCommand: this cannot be a symbol.
        """
        check_symbol(symbol)
        return BookView(self, symbol)

    def order(self, order_id: int) -> OrderView:
        """Status (UNKNOWN: the id was never used) and open quantity of an order. O(1).

        Raises as `submit`.
        """
        check_order_id(order_id)
        view: OrderView = self.ask(lambda matcher: matcher.order(order_id)).result()
        return view

    def state(self) -> State:
        """Sequence, resting orders and state hash. O(resting orders), in the writer's time."""
        state: State = self.ask(lambda matcher: matcher.state()).result()
        return state

    def wait_for_room(self) -> None:
        """Wait until the oldest request in the queue is done; return at once where it is empty.

        For those who got `EngineBusy` and have no receipt of their own to wait for.
        """
        try:
            oldest = self._queue[0]
        except IndexError:
            return
        oldest.wait()

    def _enqueue(self, request: Submitted[Any] | Asked[Any]) -> None:
        if self._closing:
            raise self._refusal("the engine is closed")
        try:
            self._permits.pop()
        except IndexError:
            raise self._busy() from None
        except BaseException:  # a signal's, after the permit was taken
            self._permits.append(None)
            raise
        try:
            self._queue.append(request)
        finally:  # even where a signal ends this: what is in the queue has its turn
            if self._asleep:
                self._wake_writer()

    def _enqueue_many(self, request: SubmittedMany[Any]) -> None:
        if self._closing:
            raise self._refusal("the engine is closed")
        if request.places > self._capacity:
            raise MalformedCommand(
                "commands", f"{request.places:,}; the queue has {self._capacity:,} places"
            )
        if not request.commands:
            request.answer = []
            return
        permits: list[None] = []
        try:  # in one call, so that nobody comes between who also wants many
            permits.extend(starmap(self._permits.pop, repeat((), request.places)))
        except BaseException as error:  # there were too few, or a signal came
            self._permits.extend(permits)
            raise (self._busy() if isinstance(error, IndexError) else error) from None
        try:
            self._queue.append(request)
        finally:  # even where a signal ends this: what is in the queue has its turn
            if self._asleep:
                self._wake_writer()

    def _busy(self) -> EngineBusy:
        return EngineBusy("the inbound queue is full; wait for receipts, then submit again")

    def _wake_writer(self) -> None:
        if self._finished:
            self._refuse_leftovers()
        else:
            self._wake()

    def _wake(self) -> None:
        # Until the writer gets the interpreter, hundreds of commands may come: those after the
        # first need not wake it. To find that out by the exception cost three times as much as the
        # rest of `submit` (benchmark: matching).
        if self._work.locked():
            with suppress(RuntimeError):  # another one was faster
                self._work.release()

    # -- The writer thread --------------------------------------------------------------------

    def _run(self) -> None:
        """The writer thread, from start to end."""
        WRITERS.add(threading.get_ident())
        try:
            while requests := self._next_batch():
                answers = self._sequencer.process(requests)
                for request, answer in zip(requests, answers, strict=True):
                    request.answer = answer
                    if request.waiters is not None:  # hardly ever: spares most answers the call
                        request.wake()
            self._sequencer.close()
        except BaseException as error:  # whatever it is, nothing may be answered now
            self.failure = EngineStopped(
                f"the engine stopped after sequence {self._sequencer.matcher.sequence}: "
                f"{described(error)}"
            )
            self.failure.__cause__ = error
            for request in self._batch:
                request.fail(self.failure)
        self._closing = True
        # A producer that saw the engine open may enqueue even now. It then finds the writer asleep,
        # and finished, and refuses what is left itself: every receipt resolves.
        self._finished = True
        self._asleep = True
        self._refuse_leftovers()
        self._batch = ()
        WRITERS.discard(threading.get_ident())

    def _next_batch(self) -> Sequence[Request]:
        """All that is queued, up to `max_batch` commands or one request; () at the end.

        Sleeps while there is nothing.
        """
        queue = self._queue
        while not queue:
            self._asleep = True
            if not queue:  # a second look: a producer that came in between saw the writer awake
                if self._closing:
                    return ()
                patience = IDLE_SECONDS if self._sequencer.has_unrecorded else -1
                if not self._work.acquire(timeout=patience):
                    self._sequencer.idle()
            self._asleep = False
        # What is taken is first in hand and then out of the queue: a fork finds it in one of them.
        batch: list[Request] = []
        self._batch = batch
        room = self._max_batch
        while queue and (room >= queue[0].places or not batch):
            batch.append(queue[0])
            room -= queue.popleft().places
        self._permits.extend(repeat(None, self._max_batch - room))
        return batch

    # -- The end ------------------------------------------------------------------------------

    def _refuse_leftovers(self) -> None:
        """Fail what is still queued once the writer has ended: it never got a sequence."""
        failure = self._refusal("the engine was closed before the command's turn")
        while True:
            try:
                request = self._queue.popleft()
            except IndexError:
                return
            request.fail(failure)

    def _refusal(self, closed: str) -> EngineError:
        """Why nothing is taken any more: a new exception each time, for each raise adds to one."""
        if self.failure is None:
            return EngineClosed(closed)
        failure = EngineStopped(*self.failure.args)
        failure.__cause__ = self.failure.__cause__
        return failure

    def close(self) -> None:
        """Answer what is queued, close the log, give the directory back. May be called again.

        First the log is closed and the directory unlocked; then the audit process gets a minute to
        complete the trail.

        Raises:
            EngineStopped: the engine had failed; the log is what a crash would have left.
            WriterBlocked: this is the writer's own thread.
        """
        if threading.get_ident() in WRITERS:
            raise WriterBlocked("the writer's thread cannot close an engine; another one can")
        with self._closing_lock:
            self._closing = True
            self._wake()
            if self._writer.ident is not None and self._writer is not threading.current_thread():
                self._writer.join()  # the writer's thread itself comes here if it has forked
            self._held.close()
        if self.failure is not None:
            raise self._refusal("")

    def _forget(self) -> None:
        """In a forked process, which has a copy of the engine and not its writer: be closed.

        The log, the lock and the audit process are the other process's, and stay as they are.
        """
        self._closing = True
        self._finished = self._asleep = True
        self._closing_lock = threading.RLock()  # somebody else may have held it
        self._held.pop_all()
        for give_up in self._give_up:
            give_up()
        for request in (*self._batch, *self._queue):
            request.failure = EngineClosed("the engine is in the process that forked this one")
        self._queue.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except EngineStopped:
            if error is None:
                raise


_engines: weakref.WeakSet[EventDrivenMatchingEngine] = weakref.WeakSet()
_opening: dict[int, list[Callable[[], object]]] = {}
"""What a forked process gives up of engines that are not open yet."""


@contextmanager
def _given_up_by_forks() -> Iterator[list[Callable[[], object]]]:
    """A list of what a process that is forked meanwhile has to do."""
    give_up: list[Callable[[], object]] = []
    _opening[id(give_up)] = give_up
    try:
        yield give_up
    finally:
        _opening.pop(id(give_up), None)


def _forget_engines() -> None:
    for engine in tuple(_engines):
        engine._forget()
    for give_up in tuple(_opening.values()):
        for each in give_up:
            each()
    WRITERS.clear()
    Receipt.forget_those_who_wait()


os.register_at_fork(after_in_child=_forget_engines)


class BookView:
    """One symbol's book, read through the writer, so that every answer is of one moment."""

    def __init__(self, engine: EventDrivenMatchingEngine, symbol: str) -> None:
        self._engine = engine
        self.symbol = symbol

    def depth(self, levels: int = DEFAULT_DEPTH) -> Depth:
        """The best `levels` levels of both sides, best first. O(orders in them).

        Raises:
            MalformedCommand: fewer than one level.
        """
        check_depth(levels)
        symbol = self.symbol
        depth: Depth = self._engine.ask(lambda matcher: matcher.depth(symbol, levels)).result()
        return depth
