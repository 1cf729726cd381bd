"""The rulebook as a deterministic function: state and command in, state and events out.

The matcher reads no clock, draws no random number, starts no thread and does no I/O. Sequence and
timestamp come in with the command; everything that goes out is in the events. Whoever feeds the
same commands to two matchers gets the same events and the same :meth:`Matcher.state_hash`:
recovery, replay and standbys rest on that and on nothing else.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import SequenceGap
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
from ..models.order import ACCEPT, CANCEL, EXPIRE, FILL, PARTIAL_FILL, REJECT, Order
from .events import (
    AnyEvent,
    CancelOrder,
    CancelRejected,
    Command,
    InstrumentListed,
    InstrumentRejected,
    ListInstrument,
    MassCancel,
    MassCanceled,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    ReduceOrder,
    ReplaceOrder,
)
from .market_state import MarketState
from .order_book import BookSide, OrderBook
from .trade import TradeExecuted

# Names of the hot path, bound once: a global lookup is cheaper than an attribute of an enumeration.
BUY = Side.BUY
LIMIT = OrderType.LIMIT
MARKET = OrderType.MARKET
GTC = TimeInForce.GTC
IOC = TimeInForce.IOC
FOK = TimeInForce.FOK
NONE = SelfTradePrevention.NONE
CANCEL_TAKER = SelfTradePrevention.CANCEL_TAKER
CANCEL_MAKER = SelfTradePrevention.CANCEL_MAKER
PENDING_NEW = OrderStatus.PENDING_NEW
USER = CancelReason.USER
ACCEPTED = ACCEPT[PENDING_NEW]
REJECTED = REJECT[PENDING_NEW]

ANY_RANK = 2**63
"""Beyond the rank of every price: the limit of an order that has none."""

DECIMAL_ABOVE_ZERO = re.compile(r"(?=.*[1-9])(?:[0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII | re.DOTALL)


class Matcher(MarketState):
    """One rulebook over one state.

    Invariants
      1. ``sequence`` is that of the last command applied; the next one must be one higher.
      2. No book is crossed after a command.
      3. Those of the state: see :class:`MarketState`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._apply: dict[type[Any], Callable[[Any, int, int], list[AnyEvent]]] = {
            NewOrder: self._new,
            CancelOrder: self._cancel,
            ReduceOrder: self._reduce,
            ReplaceOrder: self._replace,
            MassCancel: self._mass_cancel,
            ListInstrument: self._list_instrument,
        }

    def apply(self, sequence: int, timestamp_ns: int, command: Command) -> list[AnyEvent]:
        """Apply one command and return what happened, in order.

        O(log levels) and O(1) for each fill; MassCancel walks all orders of the symbol.
        """
        if sequence != self.sequence + 1:
            raise SequenceGap(f"sequence {sequence} after {self.sequence}")
        self.sequence = sequence
        return self._apply[type(command)](command, sequence, timestamp_ns)

    def apply_all(self, timestamp_ns: int, commands: Iterable[Command]) -> list[list[AnyEvent]]:
        """Apply the next commands, and return what happened for each.

        If the matcher fails, ``sequence`` is that of the command which it failed at. It does what
        as many calls of :meth:`apply` do, in 9/10 of the time.
        """
        handlers = self._apply
        sequence = self.sequence
        happened = []
        for command in commands:
            self.sequence = sequence = sequence + 1
            happened.append(handlers[type(command)](command, sequence, timestamp_ns))
        return happened

    # -- NEW: rulebook section 4 --------------------------------------------------------------

    def _new(self, command: NewOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        """Accept, trade, rest or expire. The measured hot path, kept in one piece."""
        order_id = command.order_id
        participant = command.participant
        symbol = command.symbol
        side = command.side
        order_type = command.type
        price = command.price
        remaining = command.quantity
        time_in_force = command.time_in_force
        post_only = command.post_only
        prevention = command.self_trade_prevention
        orders = self.orders
        book = self.books.get(symbol)
        if time_in_force is None:
            time_in_force = GTC if order_type is LIMIT else IOC
        if (
            book is None
            or order_id in orders
            or price is None
            or price < 1
            or remaining < 1
            or post_only
            or order_type is not LIMIT
        ):  # rare, or invalid; the common kind is spared the call: 6 % of the matcher's speed
            reason = self._why_not_new(command, time_in_force)
            if reason is not None:
                orders.setdefault(order_id, REJECTED)  # used up, whatever the reason
                return [OrderRejected(sequence, 0, timestamp_ns, order_id, participant, reason)]
            book = self.books[symbol]
        events: list[AnyEvent] = [
            OrderAccepted(
                sequence, 0, timestamp_ns, order_id, participant, symbol, side, order_type, price,
                remaining, time_in_force, post_only, prevention,
            )
        ]  # fmt: skip
        if side is BUY:
            own = book.bids
            opposite = book.asks
        else:
            own = book.asks
            opposite = book.bids
        rank = -ANY_RANK if price is None else own.sign * price
        limit_rank = -rank
        best = opposite.best
        status = ACCEPTED
        if best is not None and best.rank <= limit_rank:
            if time_in_force is not FOK or self._fillable(
                opposite, limit_rank, participant, remaining, prevention
            ):
                remaining, status = self._sweep(
                    events, opposite, limit_rank, order_id, participant, remaining, status,
                    prevention,
                )  # fmt: skip
            if remaining == 0:
                orders[order_id] = status
                return events
        if time_in_force is GTC and price is not None:
            level = own.levels.get(rank) or own.make_level(price)
            tail = level.tail
            orders[order_id] = order = Order(
                level, participant, remaining, status, tail, None, order_id, prevention, post_only
            )
            level.tail = order  # BookSide.append, written out here: 5 % of the matcher's speed
            if tail is not None:
                tail.next = order
            else:
                level.head = order
                if own.best is None or rank < own.best.rank:
                    own.best = level
        else:
            orders[order_id] = EXPIRE[status]
            events.append(
                OrderExpired(sequence, len(events), timestamp_ns, order_id, participant, remaining)
            )
        return events

    def _why_not_new(self, command: NewOrder, time_in_force: TimeInForce) -> RejectReason | None:
        """The first check that fails, in the rulebook's order."""
        book = self.books.get(command.symbol)
        if book is None:
            return RejectReason.UNKNOWN_SYMBOL
        if command.order_id in self.orders:
            return RejectReason.DUPLICATE_ORDER_ID
        price = command.price
        if command.type is LIMIT:
            if price is None or price < 1:
                return RejectReason.INVALID_PRICE
            if command.quantity < 1:
                return RejectReason.INVALID_QUANTITY
            if time_in_force is not GTC:
                return RejectReason.INVALID_TIME_IN_FORCE
            if self._would_trade(book, command.side, price):
                return RejectReason.POST_ONLY_WOULD_TRADE
            return None
        if price is not None:
            return RejectReason.INVALID_PRICE
        if command.quantity < 1:
            return RejectReason.INVALID_QUANTITY
        if time_in_force is GTC or command.post_only:
            return RejectReason.INVALID_TIME_IN_FORCE
        return None

    @staticmethod
    def _would_trade(book: OrderBook, side: Side, price: int) -> bool:
        opposite = book.asks if side is BUY else book.bids
        return opposite.best is not None and opposite.best.rank <= opposite.sign * price

    @staticmethod
    def _fillable(
        opposite: BookSide,
        limit_rank: int,
        participant: int,
        quantity: int,
        prevention: SelfTradePrevention,
    ) -> bool:
        """Whether a FOK would fill in full; nothing is touched. O(orders passed)."""
        for level in opposite.used_levels():
            if level.rank > limit_rank:
                return False
            for maker in level:
                if prevention is not NONE and maker.participant == participant:
                    if prevention is not CANCEL_MAKER:
                        return False
                else:
                    quantity -= maker.remaining
                    if quantity <= 0:
                        return True
        return False

    def _sweep(
        self,
        events: list[AnyEvent],
        opposite: BookSide,
        limit_rank: int,
        order_id: int,
        participant: int,
        remaining: int,
        status: OrderStatus,
        prevention: SelfTradePrevention,
    ) -> tuple[int, OrderStatus]:
        """Trade against the best orders until filled, out of reach, or stopped by prevention.

        Returns what remains (0 too where prevention took the rest out) and the taker's status. This
        is the measured hot loop; it is kept in one piece.
        """
        first = events[0]
        sequence = first.sequence
        timestamp_ns = first.timestamp_ns
        orders = self.orders
        symbol = opposite.symbol
        taker_side = Side.SELL if opposite.side is BUY else BUY
        level = opposite.best
        while level is not None and level.rank <= limit_rank:
            maker = level.head
            assert maker is not None, "the best level has an order"
            if prevention is not NONE and maker.participant == participant:
                if prevention is not CANCEL_TAKER:
                    self._take_out(events, maker, CancelReason.SELF_TRADE)
                if prevention is not CANCEL_MAKER:
                    events.append(
                        OrderCanceled(
                            sequence, len(events), timestamp_ns, order_id, participant,
                            CancelReason.SELF_TRADE, remaining,
                        )
                    )  # fmt: skip
                    return 0, CANCEL[status]
                level = opposite.best
                continue
            available = maker.remaining
            quantity = available if available < remaining else remaining
            remaining -= quantity
            available -= quantity
            status = PARTIAL_FILL[status] if remaining else FILL[status]
            self.last_trade_id = trade_id = self.last_trade_id + 1
            events.append(
                TradeExecuted(
                    sequence, len(events), timestamp_ns, trade_id, symbol, level.price, quantity,
                    maker.order_id, order_id, maker.participant, participant, taker_side,
                    available, remaining,
                )
            )  # fmt: skip
            if available:
                maker.remaining = available
                maker.status = PARTIAL_FILL[maker.status]
                break
            orders[maker.order_id] = FILL[maker.status]
            opposite.remove(maker)
            if not remaining:
                break
            level = opposite.best
        return remaining, status

    # -- CANCEL, REDUCE, REPLACE, MASS CANCEL: rulebook section 5 -----------------------------

    def _cancel(self, command: CancelOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        order_id = command.order_id
        participant = command.participant
        order = self.orders.get(order_id)
        if type(order) is not Order or order.participant != participant:
            return [
                CancelRejected(
                    sequence, 0, timestamp_ns, order_id, participant,
                    CancelRequest.CANCEL, self._why_not_change(order),
                )
            ]  # fmt: skip
        self.orders[order_id] = CANCEL[order.status]
        order.level.side.remove(order)
        return [
            OrderCanceled(sequence, 0, timestamp_ns, order_id, participant, USER, order.remaining)
        ]

    @staticmethod
    def _why_not_change(order: Order | OrderStatus | None) -> RejectReason:
        """Why a request for this order is refused, where the order is not live and the owner's."""
        if order is None:
            return RejectReason.UNKNOWN_ORDER
        if isinstance(order, OrderStatus):
            return RejectReason.TOO_LATE
        return RejectReason.NOT_OWNER

    def _reduce(self, command: ReduceOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        order_id, participant, by = command.order_id, command.participant, command.by
        order = self.orders.get(order_id)
        if not isinstance(order, Order) or order.participant != participant:
            reason = self._why_not_change(order)
        elif by < 1 or by > order.remaining:
            reason = RejectReason.INVALID_QUANTITY
        elif by == order.remaining:
            self.orders[order_id] = CANCEL[order.status]
            order.level.side.remove(order)
            return [
                OrderCanceled(
                    sequence, 0, timestamp_ns, order_id, participant, CancelReason.USER, by
                )
            ]
        else:
            order.remaining -= by
            return [OrderReduced(sequence, 0, timestamp_ns, order_id, participant, order.remaining)]
        return [
            CancelRejected(
                sequence, 0, timestamp_ns, order_id, participant, CancelRequest.REDUCE, reason
            )
        ]

    def _replace(self, command: ReplaceOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        order_id, participant = command.order_id, command.participant
        order = self.orders.get(order_id)
        if not isinstance(order, Order) or order.participant != participant:
            reason: RejectReason | None = self._why_not_change(order)
        else:
            reason = self._why_not_replace(order, command)
        if reason is not None:
            return [
                CancelRejected(
                    sequence, 0, timestamp_ns, order_id, participant, CancelRequest.REPLACE, reason
                )
            ]
        assert isinstance(order, Order), "an order that may be replaced is live"
        own = order.level.side
        price = order.level.price if command.price is None else command.price
        remaining = order.remaining if command.quantity is None else command.quantity
        own.remove(order)
        events: list[AnyEvent] = [
            OrderReplaced(sequence, 0, timestamp_ns, order_id, participant, price, remaining)
        ]
        book = self.books[own.symbol]
        opposite = book.asks if own.side is BUY else book.bids
        remaining, status = self._sweep(
            events, opposite, opposite.sign * price, order_id, participant, remaining,
            order.status, order.self_trade_prevention,
        )  # fmt: skip
        if remaining == 0:
            self.orders[order_id] = status
        else:
            order.remaining = remaining
            order.status = status
            order.level = own.level(price)
            own.append(order)
        return events

    def _why_not_replace(self, order: Order, command: ReplaceOrder) -> RejectReason | None:
        if command.price is not None and command.price < 1:
            return RejectReason.INVALID_PRICE
        if command.quantity is not None and command.quantity < 1:
            return RejectReason.INVALID_QUANTITY
        if order.post_only:
            own = order.level.side
            price = order.level.price if command.price is None else command.price
            if self._would_trade(self.books[own.symbol], own.side, price):
                return RejectReason.POST_ONLY_WOULD_TRADE
        return None

    def _mass_cancel(self, command: MassCancel, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        participant, symbol = command.participant, command.symbol
        symbols = sorted(self.books) if symbol is None else [symbol]
        doomed = [
            order
            for name in symbols
            for order in self.orders_of_symbol(name)
            if order.participant == participant
        ]
        events: list[AnyEvent] = []
        for index, order in enumerate(doomed):
            self.orders[order.order_id] = CANCEL[order.status]
            order.level.side.remove(order)
            events.append(
                OrderCanceled(
                    sequence, index, timestamp_ns, order.order_id, participant,
                    CancelReason.MASS_CANCEL, order.remaining,
                )
            )  # fmt: skip
        count = len(doomed)
        events.append(MassCanceled(sequence, count, timestamp_ns, participant, symbol, count))
        return events

    def _take_out(self, events: list[AnyEvent], maker: Order, reason: CancelReason) -> None:
        """Cancel a resting order in the course of another's command."""
        first = events[0]
        self.orders[maker.order_id] = CANCEL[maker.status]
        maker.level.side.remove(maker)
        events.append(
            OrderCanceled(
                first.sequence, len(events), first.timestamp_ns, maker.order_id,
                maker.participant, reason, maker.remaining,
            )
        )  # fmt: skip

    # -- LIST INSTRUMENT: rulebook section 2 --------------------------------------------------

    def _list_instrument(
        self, command: ListInstrument, sequence: int, timestamp_ns: int
    ) -> list[AnyEvent]:
        symbol, tick_size, lot_size = command.symbol, command.tick_size, command.lot_size
        if symbol in self.books:
            reason = RejectReason.DUPLICATE_SYMBOL
        elif not DECIMAL_ABOVE_ZERO.fullmatch(tick_size):
            reason = RejectReason.INVALID_TICK_SIZE
        elif not DECIMAL_ABOVE_ZERO.fullmatch(lot_size):
            reason = RejectReason.INVALID_LOT_SIZE
        else:
            self.open_book(symbol, tick_size, lot_size)
            return [InstrumentListed(sequence, 0, timestamp_ns, symbol, tick_size, lot_size)]
        return [InstrumentRejected(sequence, 0, timestamp_ns, symbol, reason)]
