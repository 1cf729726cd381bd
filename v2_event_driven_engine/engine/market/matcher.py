"""The rulebook as a deterministic state machine: commands in, events out.

The matcher reads no clock, draws no random number, starts no thread and does no I/O. Sequence and
timestamp come in with the commands; everything that goes out is in the events. Two matchers that
get the same commands give the same events and have the same `Matcher.state_hash`: recovery, replay
and standbys depend on that and on nothing else.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from ...errors import IllegalTransition, SequenceGap
from ...models.commands import (
    CancelOrder,
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
    ReduceOrder,
    ReplaceOrder,
)
from ...models.enums import (
    CancelReason,
    CancelRequest,
    OrderStatus,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from ...models.order import ACCEPT, CANCEL, EXPIRE, FILL, PARTIAL_FILL, REJECT
from ..events import (
    AnyEvent,
    CancelRejected,
    InstrumentListed,
    InstrumentRejected,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
)
from ..order_book import BookSide, Order, OrderBook
from ..trade import TradeExecuted
from .market_state import MarketState

# Names of the hot path, bound once: a global lookup is cheaper than an attribute of an enumeration.
BUY = Side.BUY
SELL = Side.SELL
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
"""Larger than any rank: the limit of a MARKET order, which has no price."""

DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)
"""Digits with an optional point. There is one way to match it, so it is O(length) for any text."""


class Matcher(MarketState):
    """One rulebook over one state.

    Invariants
      1. `sequence` is that of the last command applied; the next one must be one higher.
      2. No book is crossed after a command.
      3. Those of the state: see `MarketState`.
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

    def apply(
        self, first_sequence: int, timestamp_ns: int, commands: Iterable[Command]
    ) -> list[list[AnyEvent]]:
        """Apply the next commands, the first of which has `first_sequence`; the events of each.

        A command is O(log levels) and O(1) for each fill; a MassCancel walks over all orders of
        the symbol. If the matcher fails, `sequence` is that of the command at which it failed.

        Raises:
            SequenceGap: `first_sequence` is not the next one; nothing was changed.
            IllegalTransition: an order was in a status that it cannot be in.
        """
        sequence = self.sequence
        if first_sequence != sequence + 1:
            raise SequenceGap(f"sequence {first_sequence} after {sequence}")
        handlers = self._apply
        happened = []
        try:
            for command in commands:
                sequence += 1
                happened.append(handlers[type(command)](command, sequence, timestamp_ns))
        except KeyError as error:
            status = error.args[0]
            if type(status) is OrderStatus:
                raise IllegalTransition(f"a step that leads nowhere out of {status.name}") from None
            raise
        finally:
            self.sequence = sequence
        return happened

    # -- NEW: rulebook section 4 --------------------------------------------------------------

    def _new(self, command: NewOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        """Accept, then trade, rest or expire.

        The hot path: it is longer than a function should be, spares most orders the call of
        `_why_not_new`, and has `BookSide.append` written out in it (benchmark: matching).
        """
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
        book = self.books.get(symbol)
        if time_in_force is None:
            time_in_force = GTC if order_type is LIMIT else IOC
        if order_id > self.highest_id:  # an id that counts up need not be looked up
            self.highest_id = order_id
            is_used = False
        else:
            is_used = self.is_used(order_id)
        if (
            is_used
            or book is None
            or price is None
            or price < 1
            or remaining < 1
            or post_only
            or order_type is not LIMIT
        ):  # rare, or invalid; most orders are spared the call
            reason = self._why_not_new(command, time_in_force)
            if reason is not None:
                if not is_used:
                    self.finished.add(order_id, REJECTED)  # used up, whatever the reason
                return [OrderRejected(sequence, 0, timestamp_ns, order_id, participant, reason)]
            book = self.books[symbol]
        events: list[AnyEvent] = [
            OrderAccepted(
                sequence, 0, timestamp_ns, order_id, participant, symbol, side, order_type, price,
                remaining, time_in_force, post_only, prevention,
            )
        ]  # fmt: skip
        if price is None:
            price = ANY_RANK if side is BUY else -ANY_RANK
        if side is BUY:
            own = book.bids
            opposite = book.asks
            rank = -price
            limit_rank = price
        else:
            own = book.asks
            opposite = book.bids
            rank = price
            limit_rank = -price
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
                self.finished.add(order_id, status)
                return events
        if time_in_force is GTC:
            level = own.find(rank) or own.make_level(price)
            tail = level.tail
            self.orders[order_id] = order = Order(
                level, participant, remaining, status, tail, None, order_id, prevention, post_only
            )
            level.tail = order  # as BookSide.append
            if tail is not None:
                tail.next = order
            else:
                level.head = order
                if own.best is None or rank < own.best.rank:
                    own.best = level
        else:
            self.finished.add(order_id, EXPIRE[status])
            events.append(
                OrderExpired(sequence, len(events), timestamp_ns, order_id, participant, remaining)
            )
        return events

    def _why_not_new(self, command: NewOrder, time_in_force: TimeInForce) -> RejectReason | None:
        """The first check that fails, in the rulebook's order."""
        book = self.books.get(command.symbol)
        if book is None:
            return RejectReason.UNKNOWN_SYMBOL
        if self.is_used(command.order_id):
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
        """Whether a FOK would fill in full. Changes no order. O(orders looked at)."""
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
        """Trade against the best orders until filled, at the limit, or stopped by prevention.

        Returns the remaining quantity (0 too where prevention canceled the remainder) and the
        taker's status. The hot loop, with `FinishedOrders.add` and `BookSide.remove` written out
        in it (benchmark: matching); sequence and time are those of the first event.
        """
        first = events[0]
        sequence = first.sequence
        timestamp_ns = first.timestamp_ns
        orders = self.orders
        finished = self.finished
        quantity_before = remaining
        symbol = opposite.symbol
        taker_side = SELL if opposite.side is BUY else BUY
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
            filled = maker.order_id
            del orders[filled]
            if filled < finished.end:
                finished.start[filled] = FILL[maker.status]  # as FinishedOrders.add
            else:
                finished.add(filled, FILL[maker.status])
            level.head = younger = maker.next  # as BookSide.remove
            if younger is not None:
                younger.previous = None
            else:
                level.tail = None
                opposite.best = level = opposite.next_used_level(level)
            if not remaining:
                break
        if not remaining:
            status = FILL[status]
        elif remaining < quantity_before:
            status = PARTIAL_FILL[status]
        return remaining, status

    # -- CANCEL, REDUCE, REPLACE, MASS CANCEL: rulebook section 5 -----------------------------

    def _cancel(self, command: CancelOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        order_id = command.order_id
        participant = command.participant
        order = self.orders.pop(order_id, None)  # cheaper than a look and a deletion
        if order is None or order.participant != participant:
            if order is not None:
                self.orders[order_id] = order
            return [
                CancelRejected(
                    sequence, 0, timestamp_ns, order_id, participant,
                    CancelRequest.CANCEL, self._why_not_change(order_id),
                )
            ]  # fmt: skip
        finished = self.finished
        if order_id < finished.end:
            finished.start[order_id] = CANCEL[order.status]  # as FinishedOrders.add
        else:
            finished.add(order_id, CANCEL[order.status])
        order.level.side.remove(order)
        return [
            OrderCanceled(sequence, 0, timestamp_ns, order_id, participant, USER, order.remaining)
        ]

    def _why_not_change(self, order_id: int) -> RejectReason:
        """Why a request is refused for an order that does not rest or is another owner's."""
        if order_id in self.orders:
            return RejectReason.NOT_OWNER
        if self.finished.number(order_id) != 0:
            return RejectReason.TOO_LATE
        return RejectReason.UNKNOWN_ORDER

    def _finish(self, order: Order, status: OrderStatus) -> None:
        """A resting order is gone: only how it ended is kept."""
        del self.orders[order.order_id]
        self.finished.add(order.order_id, status)

    def _reduce(self, command: ReduceOrder, sequence: int, timestamp_ns: int) -> list[AnyEvent]:
        order_id, participant, by = command.order_id, command.participant, command.by
        order = self.orders.get(order_id)
        if order is None or order.participant != participant:
            reason = self._why_not_change(order_id)
        elif by < 1 or by > order.remaining:
            reason = RejectReason.INVALID_QUANTITY
        elif by == order.remaining:
            self._finish(order, CANCEL[order.status])
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
        if order is None or order.participant != participant:
            reason: RejectReason | None = self._why_not_change(order_id)
        else:
            reason = self._why_not_replace(order, command)
        if reason is not None:
            return [
                CancelRejected(
                    sequence, 0, timestamp_ns, order_id, participant, CancelRequest.REPLACE, reason
                )
            ]
        assert order is not None, "an order that may be replaced is live"
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
            self._finish(order, status)
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
            self._finish(order, CANCEL[order.status])
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
        """Cancel a resting order while another order's command is carried out."""
        first = events[0]
        self._finish(maker, CANCEL[maker.status])
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
        elif not is_above_zero(tick_size):
            reason = RejectReason.INVALID_TICK_SIZE
        elif not is_above_zero(lot_size):
            reason = RejectReason.INVALID_LOT_SIZE
        else:
            self.open_book(symbol, tick_size, lot_size)
            return [InstrumentListed(sequence, 0, timestamp_ns, symbol, tick_size, lot_size)]
        return [InstrumentRejected(sequence, 0, timestamp_ns, symbol, reason)]


def is_above_zero(size: str) -> bool:
    """Whether a text is digits with an optional point, and above 0. O(length).

    >>> [is_above_zero(size) for size in ("1", "0.01", "5.", ".5")]
    [True, True, True, True]
    >>> any(is_above_zero(size) for size in ("", ".", "0", "0.00", "1e-2", "+1", " 1", "1\\n"))
    False
    """
    return DECIMAL.fullmatch(size) is not None and size.strip("0.") != ""
