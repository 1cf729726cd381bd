"""The status of every order ever sent: an order id names one order for ever."""

from ..errors import InvariantBroken
from ..models.enums import OrderStatus, RejectReason
from ..models.order import TERMINAL, Order, transition


class OrderRegister:
    """Live orders in full, closed ones by their status alone.

    Invariants:
    1. Between commands `live` holds exactly the orders that rest in the books.
    2. An order id that was ever used is in exactly one of `live` and `closed`, for ever.
    3. Statuses in `live` are not terminal, those in `closed` are.

    Everything but `check_invariants` is O(1).
    """

    __slots__ = ("closed", "live")

    def __init__(self) -> None:
        self.live: dict[int, Order] = {}
        self.closed: dict[int, OrderStatus] = {}

    def is_used(self, order_id: int) -> bool:
        """Whether a NEW with this id was sequenced before, accepted or not."""
        return order_id in self.live or order_id in self.closed

    def find(self, order_id: int, participant: int) -> Order | RejectReason:
        """The live order if this participant may change it, otherwise why not."""
        order = self.live.get(order_id)
        if order is None:
            if order_id in self.closed:
                return RejectReason.TOO_LATE
            return RejectReason.UNKNOWN_ORDER
        return order if order.participant == participant else RejectReason.NOT_OWNER

    def status(self, order_id: int) -> tuple[OrderStatus, int]:
        """Status and open quantity of any id; UNKNOWN if it was never used."""
        order = self.live.get(order_id)
        if order is not None:
            return order.status, order.remaining
        return self.closed.get(order_id, OrderStatus.UNKNOWN), 0

    def reject(self, order_id: int) -> None:
        """Use up the id of a NEW that is refused, unless it was used: the first order stays."""
        if not self.is_used(order_id):
            self.closed[order_id] = transition(OrderStatus.PENDING_NEW, OrderStatus.REJECTED)

    def fill(self, order: Order) -> None:
        """Give an order its status after a fill that `remaining` already shows."""
        if order.remaining:
            order.move_to(OrderStatus.PARTIALLY_FILLED)
        else:
            self.close(order, OrderStatus.FILLED)

    def close(self, order: Order, status: OrderStatus) -> None:
        """End an order that its caller has taken out of the book, or that never was in it."""
        order.move_to(status)
        self.live.pop(order.order_id, None)  # a taker that has never rested is not there
        self.closed[order.order_id] = status

    def check_invariants(self, resting: dict[int, Order]) -> None:
        """Check the register against itself and the orders that rest in the books. O(orders).

        Raises:
            InvariantBroken: they contradict each other.
        """
        if resting != self.live:
            raise InvariantBroken("the books and the register of live orders differ")
        if not self.live.keys().isdisjoint(self.closed):
            raise InvariantBroken("an order is both live and closed")
        if not TERMINAL.issuperset(self.closed.values()):
            raise InvariantBroken("a closed order is not terminal")
        if not TERMINAL.isdisjoint(order.status for order in self.live.values()):
            raise InvariantBroken("a terminal order rests in a book")
