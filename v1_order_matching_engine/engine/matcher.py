"""The rules of the rulebook: state and command in, events out.

`Matcher` starts no thread, takes no lock, does no I/O and reads no clock: sequence and time come
with the command. So the same commands always give the same events and the same books, and a run of
many threads can be replayed by one.
"""

from collections.abc import Iterator
from typing import Final, assert_never

from ..errors import InvariantBroken
from ..models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from ..models.enums import (
    CancelReason,
    CancelRequest,
    OrderStatus,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from ..models.fields import INT64_MAX
from ..models.order import TERMINAL, Order
from .checks import can_fill, is_above_zero, why_not_new, why_not_replace
from .events import (
    CancelRejected,
    Event,
    InstrumentListed,
    InstrumentRejected,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    TradeExecuted,
)
from .order_book import BookSide, OrderBook
from .register import OrderRegister

# The worst price for the buyer or seller: every level is inside it. A MARKET is a LIMIT at it.
_WORST_PRICE: Final = {Side.BUY: INT64_MAX, Side.SELL: 1}

_DEFAULT_TIME_IN_FORCE: Final = {
    OrderType.LIMIT: TimeInForce.GTC,
    OrderType.MARKET: TimeInForce.IOC,
}


class Matcher:
    """Every order ever sent and every book, changed by one command at a time.

    Invariants:
    1. Those of every book and of the register; both have the same resting orders.
    2. No book is crossed: its best bid is below its best ask.
    3. Trade ids are 1, 2, 3 ... over all symbols; `trades` is the last one.
    """

    def __init__(self) -> None:
        self.books: dict[str, OrderBook] = {}
        self.register = OrderRegister()
        self.trades = 0

    def apply(self, command: Command, sequence: int, timestamp_ns: int) -> list[Event]:
        """Carry out one command and return its events, in order.

        Raises:
            IllegalTransition: an order would break its lifecycle, which is a bug. The state may be
                half changed: do not use it any more.
        """
        match command:
            case NewOrder():
                return self._new(command, sequence, timestamp_ns)
            case CancelOrder():
                return self._cancel(command, sequence, timestamp_ns)
            case ReduceOrder():
                return self._reduce(command, sequence, timestamp_ns)
            case ReplaceOrder():
                return self._replace(command, sequence, timestamp_ns)
            case MassCancel():
                return self._mass_cancel(command, sequence, timestamp_ns)
            case ListInstrument():
                return self._list_instrument(command, sequence, timestamp_ns)
            case _:
                assert_never(command)

    def orders_in_canonical_order(self) -> Iterator[Order]:
        """All resting orders: symbols by code point, BUY first, best price first, oldest first."""
        for symbol in sorted(self.books):
            yield from self.books[symbol].orders()

    # --- instruments -----------------------------------------------------------------------------

    def _list_instrument(
        self, command: ListInstrument, sequence: int, timestamp_ns: int
    ) -> list[Event]:
        symbol, tick_size, lot_size = command.symbol, command.tick_size, command.lot_size
        reason = None
        if symbol in self.books:
            reason = RejectReason.DUPLICATE_SYMBOL
        elif not is_above_zero(tick_size):
            reason = RejectReason.INVALID_TICK_SIZE
        elif not is_above_zero(lot_size):
            reason = RejectReason.INVALID_LOT_SIZE
        if reason is not None:
            return [InstrumentRejected(sequence, 0, timestamp_ns, symbol, reason)]
        self.books[symbol] = OrderBook(symbol)
        return [InstrumentListed(sequence, 0, timestamp_ns, symbol, tick_size, lot_size)]

    # --- new orders ------------------------------------------------------------------------------

    def _new(self, command: NewOrder, sequence: int, timestamp_ns: int) -> list[Event]:
        order_id, participant, side = command.order_id, command.participant, command.side
        time_in_force = command.time_in_force or _DEFAULT_TIME_IN_FORCE[command.type]
        book = self.books.get(command.symbol)
        if book is None:
            return self._reject(command, RejectReason.UNKNOWN_SYMBOL, sequence, timestamp_ns)
        if self.register.is_used(order_id):
            reason = RejectReason.DUPLICATE_ORDER_ID
            return self._reject(command, reason, sequence, timestamp_ns)
        why_not = why_not_new(command, time_in_force, book)
        if why_not is not None:
            return self._reject(command, why_not, sequence, timestamp_ns)

        order = Order(
            order_id,
            participant,
            command.symbol,
            side,
            _WORST_PRICE[side] if command.price is None else command.price,
            command.quantity,
            command.self_trade_prevention,
            command.post_only,
        )
        order.move_to(OrderStatus.NEW)
        events: list[Event] = [
            OrderAccepted(
                sequence,
                0,
                timestamp_ns,
                order_id,
                participant,
                command.symbol,
                side,
                command.type,
                command.price,
                command.quantity,
                time_in_force,
                command.post_only,
                command.self_trade_prevention,
            )
        ]
        opposite = book.opposite(side)
        if time_in_force is not TimeInForce.FOK or can_fill(order, opposite):
            self._match(order, opposite, events, sequence, timestamp_ns)
        if order.status in TERMINAL:
            return events
        if time_in_force is TimeInForce.GTC:
            self._rest(order, book)
        else:
            self.register.close(order, OrderStatus.EXPIRED)
            events.append(
                OrderExpired(
                    sequence, len(events), timestamp_ns, order_id, participant, order.remaining
                )
            )
        return events

    def _reject(
        self, command: NewOrder, reason: RejectReason, sequence: int, timestamp_ns: int
    ) -> list[Event]:
        self.register.reject(command.order_id)
        return [
            OrderRejected(sequence, 0, timestamp_ns, command.order_id, command.participant, reason)
        ]

    # --- matching --------------------------------------------------------------------------------

    # --8<-- [start:match]
    def _match(
        self,
        taker: Order,
        opposite: BookSide,
        events: list[Event],
        sequence: int,
        timestamp_ns: int,
    ) -> None:
        """Sweep the opposite side, best price first, oldest first, until the taker's limit.

        The taker ends FILLED, CANCELED by self-trade prevention, or with a remainder, which the
        caller puts into the book or lets expire. O(1) per order met, plus O(log levels) per level
        emptied.
        """
        buying = taker.side is Side.BUY
        limit = taker.price
        prevention = taker.self_trade_prevention
        preventing = prevention is not SelfTradePrevention.NONE
        while taker.remaining and (level := opposite.best) is not None:
            if level.price > limit if buying else level.price < limit:
                break
            maker = level.oldest
            if preventing and maker.participant == taker.participant:
                if prevention is not SelfTradePrevention.CANCEL_TAKER:
                    opposite.remove(maker)
                    events.append(
                        self._cancel_remainder(
                            maker, CancelReason.SELF_TRADE, sequence, len(events), timestamp_ns
                        )
                    )
                if prevention is not SelfTradePrevention.CANCEL_MAKER:
                    events.append(
                        self._cancel_remainder(
                            taker, CancelReason.SELF_TRADE, sequence, len(events), timestamp_ns
                        )
                    )
                    return
                continue
            quantity = min(taker.remaining, maker.remaining)
            opposite.take(maker, quantity)
            taker.remaining -= quantity
            self.register.fill(maker)
            self.register.fill(taker)
            self.trades += 1
            events.append(
                TradeExecuted(
                    sequence,
                    len(events),
                    timestamp_ns,
                    self.trades,
                    taker.symbol,
                    maker.price,
                    quantity,
                    maker.order_id,
                    taker.order_id,
                    maker.participant,
                    taker.participant,
                    taker.side,
                    maker.remaining,
                    taker.remaining,
                )
            )

    # --8<-- [end:match]

    # --- cancel, reduce, replace, mass cancel ----------------------------------------------------

    def _cancel(self, command: CancelOrder, sequence: int, timestamp_ns: int) -> list[Event]:
        order = self.register.find(command.order_id, command.participant)
        if isinstance(order, RejectReason):
            return _refuse(command, CancelRequest.CANCEL, order, sequence, timestamp_ns)
        self._side_of(order).remove(order)
        return [self._cancel_remainder(order, CancelReason.USER, sequence, 0, timestamp_ns)]

    def _reduce(self, command: ReduceOrder, sequence: int, timestamp_ns: int) -> list[Event]:
        order = self.register.find(command.order_id, command.participant)
        if isinstance(order, RejectReason):
            return _refuse(command, CancelRequest.REDUCE, order, sequence, timestamp_ns)
        if not 1 <= command.by <= order.remaining:
            reason = RejectReason.INVALID_QUANTITY
            return _refuse(command, CancelRequest.REDUCE, reason, sequence, timestamp_ns)
        if command.by == order.remaining:
            self._side_of(order).remove(order)
            return [self._cancel_remainder(order, CancelReason.USER, sequence, 0, timestamp_ns)]
        self._side_of(order).take(order, command.by)
        return [
            OrderReduced(
                sequence, 0, timestamp_ns, order.order_id, order.participant, order.remaining
            )
        ]

    def _replace(self, command: ReplaceOrder, sequence: int, timestamp_ns: int) -> list[Event]:
        order = self.register.find(command.order_id, command.participant)
        if isinstance(order, RejectReason):
            return _refuse(command, CancelRequest.REPLACE, order, sequence, timestamp_ns)
        price = order.price if command.price is None else command.price
        quantity = order.remaining if command.quantity is None else command.quantity
        book = self.books[order.symbol]
        reason = why_not_replace(order, price, quantity, book)
        if reason is not None:
            return _refuse(command, CancelRequest.REPLACE, reason, sequence, timestamp_ns)

        # Out of the book before anything else: an order must never meet its own old entry.
        book.side(order.side).remove(order)
        order.price, order.remaining = price, quantity
        events: list[Event] = [
            OrderReplaced(
                sequence, 0, timestamp_ns, order.order_id, order.participant, price, quantity
            )
        ]
        self._match(order, book.opposite(order.side), events, sequence, timestamp_ns)
        if order.status not in TERMINAL:
            self._rest(order, book)
        return events

    def _mass_cancel(self, command: MassCancel, sequence: int, timestamp_ns: int) -> list[Event]:
        """O(resting orders of the symbols named): there is no index by participant."""
        symbols = sorted(self.books) if command.symbol is None else [command.symbol]
        doomed = [
            order
            for symbol in symbols
            if symbol in self.books
            for order in self.books[symbol].orders()
            if order.participant == command.participant
        ]
        events: list[Event] = []
        for index, order in enumerate(doomed):
            self._side_of(order).remove(order)
            events.append(
                self._cancel_remainder(
                    order, CancelReason.MASS_CANCEL, sequence, index, timestamp_ns
                )
            )
        events.append(
            MassCanceled(
                sequence,
                len(events),
                timestamp_ns,
                command.participant,
                command.symbol,
                len(doomed),
            )
        )
        return events

    # --- shared by the above ---------------------------------------------------------------------

    def _side_of(self, order: Order) -> BookSide:
        return self.books[order.symbol].side(order.side)

    def _rest(self, order: Order, book: OrderBook) -> None:
        book.side(order.side).add(order)
        self.register.live[order.order_id] = order

    def _cancel_remainder(
        self, order: Order, reason: CancelReason, sequence: int, index: int, timestamp_ns: int
    ) -> OrderCanceled:
        """Close an order that its caller has taken out of the book, or that never was in it."""
        self.register.close(order, OrderStatus.CANCELED)
        return OrderCanceled(
            sequence,
            index,
            timestamp_ns,
            order.order_id,
            order.participant,
            order.remaining,
            reason,
        )

    def check_invariants(self) -> None:
        """Check every book and the register. O(every order ever sent).

        Raises:
            InvariantBroken: the state contradicts itself.
        """
        for book in self.books.values():
            book.check_invariants()
            bid, ask = book.bids.best, book.asks.best
            if bid is not None and ask is not None and bid.price >= ask.price:
                raise InvariantBroken(f"{book.symbol}: bid {bid.price} meets ask {ask.price}")
        resting = {order.order_id: order for order in self.orders_in_canonical_order()}
        self.register.check_invariants(resting)


def _refuse(
    command: CancelOrder | ReduceOrder | ReplaceOrder,
    request: CancelRequest,
    reason: RejectReason,
    sequence: int,
    timestamp_ns: int,
) -> list[Event]:
    return [
        CancelRejected(
            sequence, 0, timestamp_ns, command.order_id, command.participant, request, reason
        )
    ]
