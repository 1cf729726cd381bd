"""The engine: many producers, one queue, one writer.

::

    submit (any thread) -> queue -> writer thread: drain, stamp, log + sync, match, publish, answer
                           bounded                                            `-> event log

Data flows one way. Producers only append to the queue; only the writer touches the matcher and the
store; whoever listens gets events that are durable.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from ..errors import DirectoryUnusable, EngineBusy, EngineClosed, EngineStopped
from ..models.enums import OrderStatus
from . import recovery
from .audit_process import AuditProcess
from .event_log import EventLog
from .events import (
    AnyEvent,
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    ReduceOrder,
    ReplaceOrder,
)
from .matcher import Matcher
from .receipt import Receipt
from .sequencer import Question, Request, Sequencer
from .storage import DirectoryStorage
from .validation import validate
from .wal_event_store import SEGMENT_BYTES, EventStore, MemoryEventStore
from .wal_reader import START

Row = tuple[int, int, int]


class EventDrivenMatchingEngine:
    """A matching engine whose every answer is durable.

    Invariants
      1. A command is durable in the log before it is applied, and applied before it is answered.
      2. Commands are applied in the order of their sequences 1, 2, 3 …; a sequence is given once.
      3. Only the writer thread touches the matcher and the store.
      4. A full queue refuses (``EngineBusy``) before a sequence exists; nothing is dropped after.
      5. After a failure nothing is answered any more (``EngineStopped``).

    **Submission is lock-free.** ``deque.append`` and ``deque.pop`` are atomic. The bound is kept by
    permits, one for each free place, which a producer takes and the writer gives back. The only
    blocking primitive wakes a writer that sleeps because there is nothing to do.

    **Group commit without a timer.** While one batch is being synced the next one gathers; under
    load batches grow by themselves, and a lone command is synced at once.

    Simplification: one engine is one partition; it does not shard symbols over several writers.

    >>> from v2_event_driven_engine import NewOrder, OrderType, Side
    >>> instrument = ListInstrument("AAPL", "0.01", "1")
    >>> with EventDrivenMatchingEngine.in_memory(instruments=[instrument]) as engine:
    ...     receipt = engine.submit(NewOrder(1, 7, "AAPL", Side.BUY, OrderType.LIMIT, 10125, 100))
    ...     events = receipt.result(timeout=5.0)
    ...     bids, asks = engine.book("AAPL").depth(10)
    >>> [type(event).__name__ for event in events], bids, asks
    (['OrderAccepted'], [(10125, 100, 1)], [])
    """

    def __init__(
        self,
        state: recovery.Recovered,
        store: EventStore,
        *,
        instruments: Iterable[ListInstrument] = (),
        max_batch: int = 1024,
        queue_capacity: int = 65_536,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start the writer. :meth:`open` and :meth:`in_memory` are the usual ways to get here."""
        missing = [each for each in instruments if each.symbol not in state.matcher.instruments]
        for each in missing:
            validate(each)
        self.recovered = state
        self.event_log = EventLog()
        self._sequencer = Sequencer(state, store, self.event_log, clock)
        self._max_batch = max_batch
        self._queue: deque[tuple[Request, Receipt[Any]]] = deque()
        self._permits = deque([None] * queue_capacity)
        self._asleep = False
        self._work = threading.Event()
        self._closing = False
        self._finished = False
        self._held = ExitStack()
        """What to give back when the engine is closed."""
        self._closing_lock = threading.Lock()
        self.failure: EngineStopped | None = None
        """Why the engine stopped, if it did."""
        self._writer = threading.Thread(
            target=self._run, name="matching-engine-writer", daemon=True
        )
        self._writer.start()
        for each in missing:
            self._enqueue(each)

    @classmethod
    def open(
        cls,
        data_dir: str | os.PathLike[str],
        *,
        instruments: Iterable[ListInstrument] = (),
        max_batch: int = 1024,
        queue_capacity: int = 65_536,
        segment_bytes: int = SEGMENT_BYTES,
        audit: bool = True,
        clock: Callable[[], int] = time.time_ns,
        progress: recovery.Progress | None = None,
    ) -> Self:
        """Open the log in ``data_dir``, made if there is none, and recover what it stands for.

        ``instruments`` are listed if they are not yet. ``audit`` keeps ``audit.log`` in the
        directory complete, by a process beside this one.

        Raises:
            DirectoryInUse, DirectoryUnusable, LogDamaged, ReplayDivergence, UnsupportedFormat:
                nothing was changed.
        """
        storage = DirectoryStorage(data_dir, create=True)
        with ExitStack() as held:
            try:
                storage.lock()
                held.callback(storage.unlock)
                state, store = recovery.open_log(
                    storage, segment_bytes=segment_bytes, progress=progress
                )
                held.callback(store.close)
                if audit:
                    held.callback(AuditProcess(storage.path).finish)
            except OSError as error:
                raise DirectoryUnusable(f"{storage.path}: {error}") from error
            engine = cls(
                state, store, instruments=instruments, max_batch=max_batch,
                queue_capacity=queue_capacity, clock=clock,
            )  # fmt: skip
            engine._held = held.pop_all()
        return engine

    @classmethod
    def in_memory(
        cls,
        *,
        instruments: Iterable[ListInstrument] = (),
        max_batch: int = 1024,
        queue_capacity: int = 65_536,
        clock: Callable[[], int] = time.time_ns,
    ) -> Self:
        """An engine that forgets everything when it is closed: no log, the same rules."""
        state = recovery.Recovered(Matcher(), START)
        return cls(
            state, MemoryEventStore(), instruments=instruments, max_batch=max_batch,
            queue_capacity=queue_capacity, clock=clock,
        )  # fmt: skip

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
        return self._enqueue(command)

    def cancel(self, order_id: int, participant: int) -> Receipt[list[AnyEvent]]:
        """Submit a :class:`CancelOrder`. Safe to send again: an order is canceled once."""
        return self.submit(CancelOrder(order_id, participant))

    def reduce(self, order_id: int, participant: int, by: int) -> Receipt[list[AnyEvent]]:
        """Submit a :class:`ReduceOrder`. Not safe to send again: it would reduce twice."""
        return self.submit(ReduceOrder(order_id, participant, by))

    def replace(
        self, order_id: int, participant: int, price: int | None, quantity: int | None
    ) -> Receipt[list[AnyEvent]]:
        """Submit a :class:`ReplaceOrder`; None keeps."""
        return self.submit(ReplaceOrder(order_id, participant, price, quantity))

    def mass_cancel(self, participant: int, symbol: str | None) -> Receipt[list[AnyEvent]]:
        """Submit a :class:`MassCancel`; None is every symbol."""
        return self.submit(MassCancel(participant, symbol))

    def ask(self, question: Question) -> Receipt[Any]:
        """Let the writer put ``question`` to the matcher, after all that was submitted before.

        A question takes a place in the queue but no sequence. It must not change anything, and must
        return a copy rather than a part of the matcher, and never None.
        """
        return self._enqueue(question)

    def book(self, symbol: str) -> BookReader:
        """The book of ``symbol``, to be read from any thread."""
        return BookReader(self, symbol)

    def order(self, order_id: int) -> tuple[OrderStatus | None, int]:
        """Status (None: the id was never used) and open quantity of an order."""
        answer: tuple[OrderStatus | None, int] = self._ask(lambda matcher: matcher.order(order_id))
        return answer

    def state(self) -> tuple[int, int, str]:
        """``(sequence, resting orders, state hash)``. O(resting orders), in the writer's time."""
        answer: tuple[int, int, str] = self._ask(
            lambda matcher: (
                matcher.sequence, matcher.resting_order_count(), matcher.state_hash()
            )
        )  # fmt: skip
        return answer

    def _ask(self, question: Question) -> Any:
        return self._enqueue(question).result()

    def _enqueue(self, request: Request) -> Receipt[Any]:
        if self._closing:
            raise self.failure or EngineClosed("the engine is closed")
        try:
            self._permits.pop()
        except IndexError:
            raise EngineBusy(
                "the inbound queue is full; wait for receipts, then submit again"
            ) from None
        receipt: Receipt[Any] = Receipt()
        self._queue.append((request, receipt))
        if self._asleep:
            self._wake_writer()
        return receipt

    def _wake_writer(self) -> None:
        if self._finished:
            self._refuse_leftovers()
        else:
            self._work.set()

    # -- The writer thread --------------------------------------------------------------------

    def _run(self) -> None:
        """The writer thread, from start to end."""
        receipts: Sequence[Receipt[Any]] = ()
        try:
            while True:
                requests, receipts = self._next_batch()
                if not requests:
                    break
                answers = self._sequencer.process(requests)
                for receipt, answer in zip(receipts, answers, strict=True):
                    receipt.answer = answer
                    if receipt.waiters is not None:  # hardly ever: spares most answers the call
                        receipt.wake()
            self._sequencer.seal()
        except BaseException as error:  # whatever it is, nothing may be answered now
            self.failure = EngineStopped(
                f"the engine stopped behind sequence {self._sequencer.matcher.sequence}: "
                f"{type(error).__name__}: {error}"
            )
            self.failure.__cause__ = error
            for receipt in receipts:
                receipt.fail(self.failure)
        self._closing = True
        # A producer that saw the engine open may enqueue even now. It then finds the writer asleep,
        # and finished, and refuses what is left itself: every receipt resolves.
        self._finished = True
        self._asleep = True
        self._refuse_leftovers()

    def _next_batch(self) -> tuple[Sequence[Request], Sequence[Receipt[Any]]]:
        """All that is queued, up to ``max_batch``; sleeps while there is nothing; () at the end."""
        queue = self._queue
        while not queue:
            self._sequencer.idle()
            self._asleep = True
            if not queue:  # looked at again: a producer that came in between saw us awake
                if self._closing:
                    return (), ()
                self._work.wait()
            self._asleep = False
            self._work.clear()
        size = min(len(queue), self._max_batch)
        requests, receipts = zip(*[queue.popleft() for _ in range(size)], strict=True)
        self._permits.extend([None] * size)
        return requests, receipts

    # -- The end ------------------------------------------------------------------------------
    def _refuse_leftovers(self) -> None:
        """Fail what is still queued once the writer is gone: it never got a sequence."""
        failure = self.failure or EngineClosed("the engine was closed before the command's turn")
        while True:
            try:
                _, receipt = self._queue.popleft()
            except IndexError:
                return
            receipt.fail(failure)

    def close(self) -> None:
        """Answer what is queued, seal the log, give the directory back. May be called again.

        Raises:
            EngineStopped: the engine had failed; the log is what a crash would have left.
        """
        with self._closing_lock:
            self._closing = True
            self._work.set()
            self._writer.join()
            self._held.close()
        if self.failure is not None:
            raise self.failure

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


class BookReader:
    """One symbol's book, read through the writer, so that every answer is of one moment."""

    def __init__(self, engine: EventDrivenMatchingEngine, symbol: str) -> None:
        self._engine = engine
        self.symbol = symbol

    def depth(self, levels: int) -> tuple[list[Row], list[Row]]:
        """The best ``levels`` rows ``(price, quantity, orders)`` of the bids and of the asks."""
        symbol = self.symbol
        answer: tuple[list[Row], list[Row]] = self._engine.ask(
            lambda matcher: (
                matcher.book(symbol).bids.depth(levels), matcher.book(symbol).asks.depth(levels)
            )
        ).result()  # fmt: skip
        return answer
