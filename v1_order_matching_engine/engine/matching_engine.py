"""`MatchingEngine`: the rules inside one lock, with one sequence and one clock.

    threads ──submit──> [ lock: stamp, apply the rules, record ] ──> events to the caller

The order in which threads win the lock is the sequence. It decides everything, it is recorded, and
`replay` turns the record back into the same events and the same state, one command at a time.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from ..concurrency.locks import CountingLock, LockStatistics
from ..errors import EngineStopped, InstrumentRefused, MalformedCommand
from ..models.commands import (
    COMMAND_TYPES,
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    ReduceOrder,
    ReplaceOrder,
)
from ..models.fields import INT64_MAX, check_integer, check_order_id, check_symbol
from .events import Event, InstrumentRejected
from .matcher import Matcher
from .views import Depth, OrderView, State

DEFAULT_DEPTH = 10
"""How many levels of each side a book shows if the caller names no number."""


class Recorded(NamedTuple):
    """One command of the history. Its sequence is its position in the list, counted from 1."""

    timestamp_ns: int
    command: Command


class MatchingEngine:
    """A price-time priority matching engine that any number of threads may call directly.

    `clock` returns nanoseconds since the epoch. It is read once per command, inside the lock, and
    must not call the engine. With `record` the engine keeps its history, which grows for ever:
    leave it off for long runs.

    Invariants:
    1. Every public method holds the one lock from its first look at the state to its last.
    2. Sequences are 1, 2, 3 ... in the order in which the lock was won.
    3. Timestamps never go backwards, whatever the clock does.
    4. A command is applied completely, or the engine stops and publishes nothing of it.
    5. `replay(engine.history)` gives the same events, timestamps included, and the same state.

    Simplification: everything is in memory, and is lost when the process ends.

    >>> from v1_order_matching_engine import NewOrder, OrderType, Side
    >>> aapl = ListInstrument("AAPL", tick_size="0.01", lot_size="1")
    >>> engine = MatchingEngine.in_memory(instruments=[aapl])
    >>> def order(order_id, side, quantity):
    ...     return NewOrder(order_id=order_id, participant=order_id, symbol="AAPL", side=side,
    ...                     type=OrderType.LIMIT, price=10_125, quantity=quantity)
    >>> _ = engine.submit(order(1, Side.SELL, 5))
    >>> accepted, trade = engine.submit(order(2, Side.BUY, 3))
    >>> trade.price, trade.quantity, trade.maker_remaining
    (10125, 3, 2)
    >>> engine.book("AAPL").depth(1).asks
    (Level(price=10125, quantity=2, orders=1),)
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns, *, record: bool = False) -> None:
        self._lock = CountingLock()
        self._clock = clock
        self._matcher = Matcher()
        self._sequence = 0
        self._timestamp_ns = 0
        self._history: list[Recorded] | None = [] if record else None
        self._why_stopped: str | None = None

    @classmethod
    def in_memory(
        cls,
        *,
        instruments: Iterable[ListInstrument] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> Self:
        """An engine with `instruments` already listed, in that order; V2 has the same method.

        Raises:
            InstrumentRefused: the rules refuse one of them.
            MalformedCommand: one of them is not a `ListInstrument`.
        """
        engine = cls(clock)
        for instrument in instruments:
            if type(instrument) is not ListInstrument:
                name = type(instrument).__name__
                raise MalformedCommand("instruments", f"{name}; expected ListInstrument")
            for event in engine.submit(instrument):
                if isinstance(event, InstrumentRejected):
                    raise InstrumentRefused(event.symbol, event.reason)
        return engine

    def close(self) -> None:
        """Do nothing: this engine holds no file and no thread. It is here because V2 has it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- commands --------------------------------------------------------------------------------

    # --8<-- [start:submit]
    def submit(self, command: Command) -> list[Event]:
        """Sequence one command, carry it out and return its events, at least one.

        A refusal is not an error: it is an event. O(1) per order met, plus O(log levels) per level
        that is added or emptied; a FOK and a mass cancel also look at orders that they leave alone.

        Raises:
            MalformedCommand: this is not a command. It got no sequence.
            EngineStopped: a bug was met, now or before.
        """
        if type(command) not in COMMAND_TYPES:
            raise MalformedCommand("command", f"{type(command).__name__} is not a command")
        with self._lock:
            self._check_running()
            return self._carry_out(command)

    # --8<-- [end:submit]

    def submit_many(self, commands: Iterable[Command]) -> list[list[Event]]:
        """Sequence several commands without a gap, carry them out, return the events of each.

        All are sequenced, or none if one is malformed. The lock is taken once: no command of
        another thread comes between them, and every other thread waits for all of them.

        Raises:
            MalformedCommand: one of them is not a command; the text has its index, from 0. None
                was sequenced.
            EngineStopped: a bug was met; commands before it may have been carried out.
        """
        commands = list(commands)
        for index, command in enumerate(commands):
            if type(command) not in COMMAND_TYPES:
                problem = f"{type(command).__name__} is not a command (at index {index})"
                raise MalformedCommand("command", problem)
        with self._lock:
            self._check_running()
            return [self._carry_out(command) for command in commands]

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
        """Status and open quantity of an order; any id may be asked for. O(1).

        Raises:
            MalformedCommand: this cannot be an order id.
            EngineStopped: a bug was met before, as for every question.
        """
        return self.order_with_sequence(order_id)[1]

    def order_with_sequence(self, order_id: int) -> tuple[int, OrderView]:
        """The sequence of the last command, and the order as that command left it. O(1).

        Raises:
            MalformedCommand: this cannot be an order id.
        """
        check_order_id(order_id)
        with self._lock:
            self._check_running()
            status, remaining = self._matcher.register.status(order_id)
            return self._sequence, OrderView(status, remaining)

    def book(self, symbol: str) -> "BookView":
        """A handle on one book; a symbol never listed has an empty one.

        Raises:
            MalformedCommand: this cannot be a symbol.
        """
        check_symbol(symbol)
        with self._lock:
            self._check_running()
        return BookView(self, symbol)

    def depth_with_sequence(self, symbol: str, levels: int) -> tuple[int, Depth]:
        """The sequence of the last command, and a book as that command left it. O(levels).

        Raises:
            MalformedCommand: this cannot be a symbol, or `levels` is less than 1.
        """
        check_symbol(symbol)
        check_integer("depth", levels, 1, INT64_MAX)
        with self._lock:
            self._check_running()
            book = self._matcher.books.get(symbol)
            if book is None:
                return self._sequence, Depth((), ())
            return self._sequence, Depth(book.bids.depth(levels), book.asks.depth(levels))

    def state(self) -> State:
        """Sequence, number of resting orders and state hash, all of one moment. O(orders)."""
        with self._lock:
            self._check_running()
            return State(self._sequence, len(self._matcher.register.live), self._hash())

    def state_hash(self) -> str:
        """SHA-256 of the canonical text of all resting orders, in lower-case hex. O(orders)."""
        with self._lock:
            self._check_running()
            return self._hash()

    @property
    def sequence(self) -> int:
        """The sequence of the last command: how many have been sequenced."""
        with self._lock:
            self._check_running()
            return self._sequence

    @property
    def resting_orders(self) -> int:
        """How many orders rest, in all books together. O(1)."""
        with self._lock:
            self._check_running()
            return len(self._matcher.register.live)

    @property
    def trades(self) -> int:
        """How many trades have been executed: the last trade id."""
        with self._lock:
            self._check_running()
            return self._matcher.trades

    @property
    def history(self) -> list[Recorded]:
        """A copy of what was sequenced, in order. O(commands).

        Raises:
            ValueError: the engine was made without `record`.
        """
        with self._lock:
            self._check_running()
            if self._history is None:
                raise ValueError("no history: the engine was made without record=True")
            return list(self._history)

    @property
    def lock_statistics(self) -> LockStatistics:
        """What the lock has counted, this call included."""
        with self._lock:
            self._check_running()
            return self._lock.statistics

    def check_invariants(self) -> None:
        """Check the whole state. O(every order ever sent).

        Raises:
            InvariantBroken: the state contradicts itself.
        """
        with self._lock:
            self._check_running()
            self._matcher.check_invariants()

    # --- from here on the caller holds the lock --------------------------------------------------

    # --8<-- [start:carry_out]
    def _carry_out(self, command: Command) -> list[Event]:
        timestamp_ns = max(self._timestamp_ns, self._clock())
        sequence = self._sequence + 1
        try:
            events = self._matcher.apply(command, sequence, timestamp_ns)
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

    # --8<-- [end:carry_out]

    def _check_running(self) -> None:
        if self._why_stopped is not None:
            raise self._stopped_error()

    def _stopped_error(self) -> EngineStopped:
        return EngineStopped(f"the engine stopped at a bug: {self._why_stopped}")

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for order in self._matcher.orders_in_canonical_order():
            digest.update(
                f"{order.symbol},{order.side},{order.price},{order.order_id},"
                f"{order.participant},{order.remaining}\n".encode()
            )
        return digest.hexdigest()


class BookView:
    """One book of an engine. It holds no copy: every call reads the book as it is then."""

    __slots__ = ("_engine", "symbol")

    def __init__(self, engine: MatchingEngine, symbol: str) -> None:
        self._engine = engine
        self.symbol = symbol

    def depth(self, levels: int = DEFAULT_DEPTH) -> Depth:
        """Copies of the best `levels` (at least 1) of both sides, of one moment. O(levels).

        Raises:
            MalformedCommand: `levels` is not an integer of at least 1; the field is "depth".
        """
        return self._engine.depth_with_sequence(self.symbol, levels)[1]


def replay(history: Sequence[Recorded]) -> tuple[MatchingEngine, list[list[Event]]]:
    """A new engine in the recorded state, and the events of each command.

    The commands are carried out in one thread, in the order in which they were sequenced.
    """
    times = iter([recorded.timestamp_ns for recorded in history])
    engine = MatchingEngine(clock=lambda: next(times), record=True)
    return engine, [engine.submit(recorded.command) for recorded in history]
