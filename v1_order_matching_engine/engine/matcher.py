"""`MatchingEngine`: the rules behind one lock, one sequence and one clock.

    threads ──submit──> [ lock: stamp, apply the rules, record ] ──> events to the caller

Everything interesting is decided by who wins the lock. That order is the sequence, it is recorded,
and `replay` turns the record back into the same events and the same state, one command at a time.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..concurrency.locks import CountingLock, LockStatistics
from ..errors import EngineStopped
from ..models.fields import INT64_MAX, check_integer, check_symbol
from ..models.order import (
    COMMAND_TYPES,
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    ReduceOrder,
    ReplaceOrder,
)
from .rules import Rules
from .trade import Event
from .views import Depth, OrderView, State

DEFAULT_DEPTH = 10


class Recorded(NamedTuple):
    """One command of the history: its sequence is its position there, counted from 1."""

    timestamp_ns: int
    command: Command


class MatchingEngine:
    """A price-time priority matching engine that any number of threads may call directly.

    `clock` gives nanoseconds; it is read once per command, inside the lock, and must not call the
    engine. With `record` the history is kept, which grows for ever: leave it off for long runs.

    Invariants:
    1. Every public method holds the one lock from its first look at the state to its last.
    2. Sequences are 1, 2, 3 ... in the order in which the lock was won.
    3. Timestamps never go backwards, whatever the clock does.
    4. A command is applied completely, or the engine stops and publishes nothing of it.
    5. `replay(engine.history)` gives the same events, timestamps included, and the same state.

    It keeps everything in memory: what is to survive the process belongs to another version.

    >>> from v1_order_matching_engine import NewOrder, OrderType, Side
    >>> engine = MatchingEngine(clock=lambda: 0)
    >>> _ = engine.list_instrument("AAPL", tick_size="0.01", lot_size="1")
    >>> def order(order_id, side, quantity):
    ...     return NewOrder(order_id=order_id, participant=order_id, symbol="AAPL", side=side,
    ...                     type=OrderType.LIMIT, price=10_125, quantity=quantity)
    >>> _ = engine.submit(order(1, Side.SELL, 5))
    >>> accepted, trade = engine.submit(order(2, Side.BUY, 3))
    >>> trade.price, trade.quantity, trade.maker_remaining
    (10125, 3, 2)
    >>> engine.book("AAPL").depth(1).asks
    (DepthLevel(price=10125, quantity=2, orders=1),)
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns, *, record: bool = False) -> None:
        self._lock = CountingLock()
        self._clock = clock
        self._rules = Rules()
        self._sequence = 0
        self._timestamp_ns = 0
        self._history: list[Recorded] | None = [] if record else None
        self._why_stopped: str | None = None

    # --- commands --------------------------------------------------------------------------------

    def submit(self, command: Command) -> list[Event]:
        """Sequence one command, carry it out and return its events.

        Raises TypeError for anything but a command, and `EngineStopped` if a bug was met, now or
        before. A refusal is not an error: it is an event.
        """
        if type(command) not in COMMAND_TYPES:
            raise TypeError(f"{type(command).__name__} is not a command")
        with self._lock:
            self._check_running()
            timestamp_ns = max(self._timestamp_ns, self._clock())
            sequence = self._sequence + 1
            try:
                events = self._rules.apply(command, sequence, timestamp_ns)
                self._sequence = sequence
                self._timestamp_ns = timestamp_ns
                if self._history is not None:
                    self._history.append(Recorded(timestamp_ns, command))
            except Exception as error:
                self._why_stopped = f"{type(error).__name__}: {error} (at sequence {sequence})"
                raise self._stopped_error() from error
            except BaseException as interruption:
                # An interrupt between two halves of a change leaves the state as bad as a bug does.
                self._why_stopped = f"{type(interruption).__name__} (at sequence {sequence})"
                raise
            return events

    def list_instrument(self, symbol: str, tick_size: str, lot_size: str) -> list[Event]:
        """Submit a `ListInstrument`."""
        return self.submit(ListInstrument(symbol, tick_size, lot_size))

    def cancel(self, order_id: int, participant: int) -> list[Event]:
        """Submit a `CancelOrder`."""
        return self.submit(CancelOrder(order_id, participant))

    def reduce(self, order_id: int, participant: int, by: int) -> list[Event]:
        """Submit a `ReduceOrder`."""
        return self.submit(ReduceOrder(order_id, participant, by))

    def replace(
        self,
        order_id: int,
        participant: int,
        *,
        price: int | None = None,
        quantity: int | None = None,
    ) -> list[Event]:
        """Submit a `ReplaceOrder`; None keeps, but not both."""
        return self.submit(ReplaceOrder(order_id, participant, price, quantity))

    def mass_cancel(self, participant: int, symbol: str | None = None) -> list[Event]:
        """Submit a `MassCancel`; None means every symbol."""
        return self.submit(MassCancel(participant, symbol))

    # --- questions -------------------------------------------------------------------------------

    def order(self, order_id: int) -> OrderView:
        """Where an order stands: `.status` and `.remaining`. Any id may be asked for. O(1)."""
        with self._lock:
            self._check_running()
            status, remaining = self._rules.register.status(order_id)
            return OrderView(order_id, self._sequence, status, remaining)

    def book(self, symbol: str) -> "BookView":
        """A handle on one book; a symbol never listed has an empty one."""
        check_symbol(symbol)
        with self._lock:
            self._check_running()
        return BookView(self, symbol)

    def state(self) -> State:
        """Sequence, resting orders and state hash of one and the same moment. O(orders)."""
        with self._lock:
            self._check_running()
            return State(self._sequence, len(self._rules.register.live), self._hash())

    def state_hash(self) -> str:
        """SHA-256 of the canonical text of all resting orders, in lower-case hex. O(orders)."""
        with self._lock:
            self._check_running()
            return self._hash()

    @property
    def sequence(self) -> int:
        """How many commands have been sequenced."""
        with self._lock:
            self._check_running()
            return self._sequence

    @property
    def resting_orders(self) -> int:
        """How many orders rest in all books together."""
        with self._lock:
            self._check_running()
            return len(self._rules.register.live)

    @property
    def trades(self) -> int:
        """How many trades have been executed: the last trade id."""
        with self._lock:
            self._check_running()
            return self._rules.trades

    @property
    def history(self) -> list[Recorded]:
        """A copy of what was sequenced, in order. ValueError if the engine does not record."""
        with self._lock:
            self._check_running()
            if self._history is None:
                raise ValueError("no history: the engine was made without record=True")
            return list(self._history)

    @property
    def lock_statistics(self) -> LockStatistics:
        """What the lock has counted, this look included."""
        with self._lock:
            self._check_running()
            return self._lock.statistics

    def check_invariants(self) -> None:
        """Raise `InvariantBroken` if the state contradicts itself. O(every order ever sent)."""
        with self._lock:
            self._check_running()
            self._rules.check_invariants()

    # --- below here the caller holds the lock ----------------------------------------------------

    def _check_running(self) -> None:
        if self._why_stopped is not None:
            raise self._stopped_error()

    def _stopped_error(self) -> EngineStopped:
        return EngineStopped(f"the engine stopped at a bug: {self._why_stopped}")

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for order in self._rules.orders_in_canonical_order():
            digest.update(
                f"{order.symbol},{order.side},{order.price},{order.order_id},"
                f"{order.participant},{order.remaining}\n".encode()
            )
        return digest.hexdigest()

    def _depth(self, symbol: str, levels: int) -> Depth:
        with self._lock:
            self._check_running()
            book = self._rules.books.get(symbol)
            if book is None:
                return Depth(symbol, self._sequence, (), ())
            bids, asks = book.bids.depth(levels), book.asks.depth(levels)
            return Depth(symbol, self._sequence, bids, asks)


class BookView:
    """One symbol of an engine, to be looked at again and again. It holds no state of its own."""

    __slots__ = ("_engine", "symbol")

    def __init__(self, engine: MatchingEngine, symbol: str) -> None:
        self._engine = engine
        self.symbol = symbol

    def depth(self, levels: int = DEFAULT_DEPTH) -> Depth:
        """Copy the best `levels` (at least 1) of both sides under the lock. O(levels)."""
        check_integer("depth", levels, 1, INT64_MAX)
        return self._engine._depth(self.symbol, levels)


def replay(history: Sequence[Recorded]) -> tuple[MatchingEngine, list[list[Event]]]:
    """Carry out a recorded history in one thread, in the order in which it was sequenced.

    Returns a new engine in the recorded state, and the events of each command.
    """
    times = iter([recorded.timestamp_ns for recorded in history])
    engine = MatchingEngine(clock=lambda: next(times), record=True)
    return engine, [engine.submit(recorded.command) for recorded in history]
