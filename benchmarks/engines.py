"""V1, V2 and other people's engines, each as one loop over the same operations.

A loop builds the engine's own command and has it carried out; both are timed. It yields each answer
just as the engine gives it: what has to be translated to compare it is translated elsewhere, while
no clock runs. So the loop that is timed is the very loop that is checked.

The peers' constructors and their best levels are those of `benchmarks.peers`.
"""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, ClassVar

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from v2_event_driven_engine.cli.session import IN_FLIGHT
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.sequencer import MAX_BATCH

from .measure import directory
from .peers import adapters
from .peers.protocol import Peer
from .workload import BUY, BUY_IOC, CANCEL, REDUCE, SELL, Best, Fill, Operation

SYMBOL = adapters.SYMBOL

V1_LISTING = v1.ListInstrument(SYMBOL, "1", "1")
V2_LISTING = v2.ListInstrument(SYMBOL, "1", "1")


class Engine(ABC):
    """One empty book of one symbol."""

    name: ClassVar[str]
    answers_at_once: ClassVar[bool] = True
    """Whether the book can be looked at between two answers; else only when all are given."""

    @abstractmethod
    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        """Carry the operations out and yield one answer each, valid until the next is asked for."""

    @abstractmethod
    def fills(self, answer: Any) -> list[Fill]:
        """The fills of an answer: maker, price, quantity."""

    @abstractmethod
    def bests(self) -> tuple[Best, Best]:
        """Best bid and best ask."""

    def run(self, operations: Iterable[Operation]) -> None:
        """Carry the operations out and keep nothing."""
        deque(self.answers(operations), maxlen=0)

    def close(self) -> None:
        """Give back what the engine holds."""
        return


# -- V1 and V2 -------------------------------------------------------------------------------------


def v1_command(operation: Operation) -> v1.Command:
    """V1's command for an operation that not every engine knows."""
    kind, order_id, price, quantity = operation
    if kind == REDUCE:
        return v1.ReduceOrder(order_id, 1, quantity)
    return v1.NewOrder(
        order_id=order_id,
        participant=1,
        symbol=SYMBOL,
        side=v1.Side.BUY if kind == BUY_IOC else v1.Side.SELL,
        type=v1.OrderType.LIMIT,
        price=price,
        quantity=quantity,
        time_in_force=v1.TimeInForce.IOC,
    )


def v2_commands(operations: Iterable[Operation]) -> Iterator[Any]:
    """V2's commands."""
    new_order, cancel_order = v2.NewOrder, v2.CancelOrder
    buy, sell, limit = v2.Side.BUY, v2.Side.SELL, v2.OrderType.LIMIT
    for kind, order_id, price, quantity in operations:
        if kind == CANCEL:
            yield cancel_order(order_id, 1)
        elif kind <= SELL:
            side = buy if kind == BUY else sell
            yield new_order(order_id, 1, SYMBOL, side, limit, price, quantity)
        elif kind == REDUCE:
            yield v2.ReduceOrder(order_id, 1, quantity)
        else:
            side = buy if kind == BUY_IOC else sell
            ioc = v2.TimeInForce.IOC
            yield new_order(order_id, 1, SYMBOL, side, limit, price, quantity, ioc)


def batches(commands: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of commands, built as they are asked for."""
    while batch := list(islice(commands, size)):
        yield batch


class V1(Engine):
    """`MatchingEngine.submit` from one thread."""

    name = "V1"

    def __init__(self) -> None:
        self.engine = v1.MatchingEngine()
        self.engine.submit(V1_LISTING)

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        submit = self.engine.submit
        new_order, cancel_order = v1.NewOrder, v1.CancelOrder
        buy, sell, limit = v1.Side.BUY, v1.Side.SELL, v1.OrderType.LIMIT
        for operation in operations:
            kind, order_id, price, quantity = operation
            if kind == CANCEL:
                yield submit(cancel_order(order_id, 1))
            elif kind <= SELL:
                yield submit(
                    new_order(
                        order_id=order_id,
                        participant=1,
                        symbol=SYMBOL,
                        side=buy if kind == BUY else sell,
                        type=limit,
                        price=price,
                        quantity=quantity,
                    )
                )
            else:
                yield submit(v1_command(operation))

    def fills(self, answer: Any) -> list[Fill]:
        trades = (event for event in answer if type(event) is v1.TradeExecuted)
        return [(trade.maker_order_id, trade.price, trade.quantity) for trade in trades]

    def bests(self) -> tuple[Best, Best]:
        depth = self.engine.book(SYMBOL).depth(1)
        bids, asks = depth.bids, depth.asks
        return (
            (bids[0].price, bids[0].quantity) if bids else None,
            (asks[0].price, asks[0].quantity) if asks else None,
        )


def pipelined(
    engine: v2.MatchingEngine, commands: Iterable[Any], window: int = IN_FLIGHT
) -> Iterator[Any]:
    """Submit with up to `window` on their way, and yield the answers in order.

    The window is as wide as that of `main.py run` and `stdio`. With a full one the producer sleeps
    until half of it is answered. A producer that waits for the oldest alone is woken for every
    single answer, and takes turns with the writer.
    """
    receipts: deque[v2.Receipt[Any]] = deque()
    for command in commands:
        if len(receipts) == window:
            receipts[window // 2].result()
            while len(receipts) > window // 2:
                yield receipts.popleft().result()
        receipts.append(engine.submit(command))
    if receipts:
        receipts[-1].result()
    while receipts:
        yield receipts.popleft().result()


def pipelined_many(
    engine: v2.MatchingEngine, commands: Iterable[Any], window: int = IN_FLIGHT
) -> Iterator[Any]:
    """As `pipelined`, with `submit_many`: as many commands in each list as in a full batch."""
    receipts: deque[v2.Receipt[Any]] = deque()
    most = max(window // MAX_BATCH, 1)
    for many in batches(iter(commands), min(window, MAX_BATCH)):
        if len(receipts) == most:
            receipts[most // 2].result()
            while len(receipts) > most // 2:
                yield from receipts.popleft().result()
        receipts.append(engine.submit_many(many))
    while receipts:
        yield from receipts.popleft().result()


@contextmanager
def v2_engine(*, durable: bool, max_batch: int = MAX_BATCH) -> Iterator[v2.MatchingEngine]:
    """V2 with the instrument listed; `durable` puts its log on the disk, without audit."""
    listed = [V2_LISTING]
    with ExitStack() as held:
        if durable:
            engine = v2.MatchingEngine.open(
                held.enter_context(directory()),
                instruments=listed, max_batch=max_batch, audit=False,
            )  # fmt: skip
        else:
            engine = v2.MatchingEngine.in_memory(instruments=listed, max_batch=max_batch)
        yield held.enter_context(engine)


class V2(Engine):
    """What V2's builds have in common."""

    def fills(self, answer: Any) -> list[Fill]:
        trades = (event for event in answer if type(event) is v2.TradeExecuted)
        return [(trade.maker_order_id, trade.price, trade.quantity) for trade in trades]

    @staticmethod
    def first(depth: v2.Depth) -> tuple[Best, Best]:
        """Both bests."""
        bids, asks = depth
        return bids[0][:2] if bids else None, asks[0][:2] if asks else None


class V2Matcher(V2):
    """`Matcher.apply`: the rules, without queue, thread and log.

    It is called as the writer calls it under load, with a full batch of commands. A call with one
    command alone costs a quarter more.
    """

    name = "V2, matcher alone"
    answers_at_once = False

    def __init__(self) -> None:
        self.matcher = Matcher()
        self.matcher.apply(1, 1, [V2_LISTING])

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        for commands in batches(v2_commands(operations), MAX_BATCH):
            sequence = self.matcher.sequence + 1
            yield from self.matcher.apply(sequence, sequence, commands)

    def bests(self) -> tuple[Best, Best]:
        return self.first(self.matcher.depth(SYMBOL, 1))


class V2MatcherOneByOne(V2Matcher):
    """The same in batches of one, so that each operation can be timed by itself."""

    name = "V2, matcher alone, batches of one"
    answers_at_once = True

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        apply = self.matcher.apply
        new_order, cancel_order = v2.NewOrder, v2.CancelOrder
        buy, sell, limit = v2.Side.BUY, v2.Side.SELL, v2.OrderType.LIMIT
        sequence = self.matcher.sequence
        for kind, order_id, price, quantity in operations:
            sequence += 1
            if kind == CANCEL:
                command: v2.Command = cancel_order(order_id, 1)
            else:
                side = buy if kind == BUY else sell
                command = new_order(order_id, 1, SYMBOL, side, limit, price, quantity)
            yield apply(sequence, sequence, (command,))[0]


class V2Engine(V2):
    """`submit` from one thread that has up to `IN_FLIGHT` commands on their way; no log."""

    name = "V2, engine in memory"
    answers_at_once = False

    def __init__(self) -> None:
        self.engine = v2.MatchingEngine.in_memory(instruments=[V2_LISTING])

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        yield from pipelined(self.engine, v2_commands(operations))

    def bests(self) -> tuple[Best, Best]:
        return self.first(self.engine.book(SYMBOL).depth(1))

    def close(self) -> None:
        self.engine.close()


class V2EngineMany(V2Engine):
    """The same with `submit_many`, as many commands on their way."""

    name = "V2, engine in memory, submit_many"

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        yield from pipelined_many(self.engine, v2_commands(operations))


# -- Other people's ------------------------------------------------------------------------------


class Foreign(Engine):
    """A peer from PyPI. `needs` is the oldest Python its distribution says it runs on."""

    module: ClassVar[str]
    needs: ClassVar[tuple[int, int]] = (3, 11)
    peer: Peer

    @classmethod
    def missing(cls) -> str | None:
        """Why the peer cannot run here; None if it can."""
        if sys.version_info[:2] < cls.needs:
            return f"needs Python {cls.needs[0]}.{cls.needs[1]}"
        return None if importlib.util.find_spec(cls.module) else "not installed"

    def bests(self) -> tuple[Best, Best]:
        bid, ask = self.peer.bests()
        return bid and (bid.price, bid.quantity), ask and (ask.price, ask.quantity)

    def close(self) -> None:
        self.peer.close()


class MatchingEngine(Foreign):
    """Plain Python and msgspec, with sequences, events for everything and a log."""

    name = "matching-engine"
    module = "matching_engine"
    needs = (3, 12)

    def __init__(self) -> None:
        self.peer: adapters.MatchingEngine = adapters.MatchingEngine()

    @staticmethod
    def commands(operations: Iterable[Operation]) -> Iterator[Any]:
        """Its commands; without the last argument it would prevent self-trades."""
        module = adapters.load("matching_engine")
        new_order, cancel_order = module.NewOrder, module.CancelOrder
        buy, sell, limit = module.Side.BUY, module.Side.SELL, module.OrderType.LIMIT
        good_till_canceled, allowed = module.TimeInForce.GTC, module.SelfTradePrevention.NONE
        for kind, order_id, price, quantity in operations:
            if kind == CANCEL:
                yield cancel_order(order_id, 1)
            else:
                side = buy if kind == BUY else sell
                yield new_order(
                    order_id, 1, side, price, quantity, limit, good_till_canceled, False, allowed
                )

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        module = self.peer.module
        process, sequenced = self.peer.engine.process, module.SequencedCommand
        new_order, cancel_order = module.NewOrder, module.CancelOrder
        buy, sell, limit = module.Side.BUY, module.Side.SELL, module.OrderType.LIMIT
        good_till_canceled, allowed = module.TimeInForce.GTC, module.SelfTradePrevention.NONE
        sequence = self.peer.engine.last_seq
        for kind, order_id, price, quantity in operations:
            sequence += 1
            if kind == CANCEL:
                yield process(sequenced(sequence, sequence, cancel_order(order_id, 1)))
            else:
                side = buy if kind == BUY else sell
                command = new_order(
                    order_id, 1, side, price, quantity, limit, good_till_canceled, False, allowed
                )
                yield process(sequenced(sequence, sequence, command))

    def fills(self, answer: Any) -> list[Fill]:
        trades = (event for event in answer if isinstance(event, self.peer.trade))
        return [(trade.maker_order_id, trade.price, trade.qty) for trade in trades]


class Liquibook(Foreign):
    """C++, called through SWIG. It makes no events: a listener notes each fill, and that is all."""

    name = "liquibook"
    module = "liquibook"

    def __init__(self) -> None:
        self.peer: adapters.Liquibook = adapters.Liquibook()
        self.offset: int | None = None
        """It numbers orders through all books of the process."""
        trades = self.trades = list[Fill]()

        class Listener(self.peer.module.OrderListener):  # type: ignore[misc, name-defined]
            """It is the listener's task to enter a fill into both orders."""

            def on_fill(self, taker: Any, maker: Any, quantity: int, price: int) -> None:
                taker.fill(quantity, price, 0)
                maker.fill(quantity, price, 0)
                trades.append((maker.order_id_, price, quantity))

            def ignore(self, *_details: Any) -> None:
                return

            on_accept = on_reject = on_cancel = on_cancel_reject = ignore

        self.listener = Listener()
        self.peer.book.set_order_listener(self.listener)

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        make, book = self.peer.module.SimpleOrder, self.peer.book
        add, cancel, trades = book.add, book.cancel, self.trades
        orders = self.peer.orders  # it keeps bare pointers: the orders must be kept here
        for kind, order_id, price, quantity in operations:
            if kind == CANCEL:
                cancel(orders[order_id])
            else:
                orders[order_id] = order = make(kind == BUY, price, quantity)
                add(order)
            yield trades
            trades.clear()

    def fills(self, answer: Any) -> list[Fill]:
        if self.offset is None:
            order_id, order = next(iter(self.peer.orders.items()))
            self.offset = order.order_id_ - order_id
        return [(maker - self.offset, price, quantity) for maker, price, quantity in answer]


class OrderlyChaos(Foreign):
    """C++, called by ctypes; trades come by callback."""

    name = "orderly-chaos"
    module = "orderly_chaos"
    needs = (3, 12)

    def __init__(self) -> None:
        self.peer: adapters.OrderlyChaos = adapters.OrderlyChaos()

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        book, trades, side = self.peer.book, self.peer.trades, self.peer.module.Side
        limit, cancel, buy, sell = book.limit, book.cancel, side.BUY, side.SELL
        for kind, order_id, price, quantity in operations:
            if kind == CANCEL:
                cancel(order_id)
            else:
                limit(buy if kind == BUY else sell, order_id, quantity, price)
            yield trades
            trades.clear()

    def fills(self, answer: Any) -> list[Fill]:
        return [(trade.maker_id, trade.price, trade.quantity) for trade in answer]


class CythonOrderBook(Foreign):
    """Cython over ordered dictionaries. Trades are found in a log that only grows.

    It numbers orders through all books of the process.
    """

    name = "cython-orderbook"
    module = "cython_orderbook"

    def __init__(self) -> None:
        self.book = adapters.load("cython_orderbook").OrderBook()
        self.theirs: dict[int, str] = {}
        self.ids: dict[str, int] = {}

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        module = adapters.load("cython_orderbook")
        make, bid, ask = module.Order, module.OrderSide.BID, module.OrderSide.ASK
        add, cancel = self.book.add_limit_order, self.book.cancel_order
        log, theirs = self.book.trade_log, self.theirs
        for kind, order_id, price, quantity in operations:
            if kind == CANCEL:
                cancel(theirs[order_id])
            else:
                order = make(bid if kind == BUY else ask, quantity, price)
                theirs[order_id] = order.order_id
                add(order)
            yield log
            log.clear()

    def fills(self, answer: Any) -> list[Fill]:
        for order_id in range(len(self.ids) + 1, len(self.theirs) + 1):
            self.ids[self.theirs[order_id]] = order_id
        return [(self.ids[trade.filler_id], trade.price, trade.quantity_filled) for trade in answer]

    def bests(self) -> tuple[Best, Best]:
        bid, ask = self.book.best_bid(), self.book.best_ask()
        return (
            None if bid is None else (bid, self.book.bids[bid].total_quantity),
            None if ask is None else (ask, self.book.asks[ask].total_quantity),
        )

    def close(self) -> None:
        return


class LightMatchingEngine(Foreign):
    """Plain Python: lists in dictionaries, and the best price searched for by `min`."""

    name = "lightmatchingengine"
    module = "lightmatchingengine"

    def __init__(self) -> None:
        self.peer: adapters.LightMatchingEngine = adapters.LightMatchingEngine()

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        add, cancel = self.peer.engine.add_order, self.peer.engine.cancel_order
        buy, sell = self.peer.sides["BUY"], self.peer.sides["SELL"]
        for kind, order_id, price, quantity in operations:
            if kind == CANCEL:
                yield cancel(order_id, SYMBOL)
            else:
                yield add(SYMBOL, price, quantity, buy if kind == BUY else sell)

    def fills(self, answer: Any) -> list[Fill]:
        if not isinstance(answer, tuple):
            return []  # of a cancel
        taker, trades = answer
        makers = (trade for trade in trades if trade.order_id != taker.order_id)
        return [(trade.order_id, trade.trade_price, trade.trade_qty) for trade in makers]


class PyOrderBook(Foreign):
    """Plain Python: heaps of levels, ordered dictionaries as queues, UUIDs as order ids."""

    name = "pyorderbook"
    module = "pyorderbook"

    def __init__(self) -> None:
        self.peer: adapters.PyOrderBook = adapters.PyOrderBook()

    def answers(self, operations: Iterable[Operation]) -> Iterator[Any]:
        match, cancel, orders = self.peer.book.match, self.peer.book.cancel, self.peer.orders
        bid, ask = self.peer.make["BUY"], self.peer.make["SELL"]
        for kind, order_id, price, quantity in operations:
            if kind == CANCEL:
                cancel(orders[order_id])
                yield None
            else:
                orders[order_id] = order = (bid if kind == BUY else ask)(SYMBOL, price, quantity)
                yield match(order)

    def fills(self, answer: Any) -> list[Fill]:
        if answer is None:
            return []
        ids = self.peer.ids
        if len(ids) < len(self.peer.orders):
            known = len(ids)
            ids.update(
                {self.peer.orders[n].id: n for n in range(known + 1, len(self.peer.orders) + 1)}
            )
        return [
            (ids[trade.standing_order_id], int(trade.fill_price), trade.fill_quantity)
            for trade in answer.trades
        ]


OURS: tuple[type[Engine], ...] = (V1, V2Matcher, V2Engine, V2EngineMany)
PEERS: tuple[type[Foreign], ...] = (
    MatchingEngine,
    Liquibook,
    OrderlyChaos,
    CythonOrderBook,
    LightMatchingEngine,
    PyOrderBook,
)
