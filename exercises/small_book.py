"""A small matcher: price-time priority on one symbol, slow and short."""

from dataclasses import dataclass


@dataclass
class Order:
    """A resting order, or one that is coming in."""

    number: int
    side: str
    price: int
    lots: int


@dataclass(frozen=True)
class Fill:
    """A trade: who took from whom, how much, at what price."""

    taker: int
    maker: int
    lots: int
    price: int


class Book:
    """All resting orders in one list, in the order in which they came."""

    def __init__(self) -> None:
        self.resting: list[Order] = []

    def best(self, taker: Order) -> Order | None:
        """The maker that this taker meets next; `min` and `max` take the oldest of equals."""
        others = [order for order in self.resting if order.side != taker.side]
        if taker.side == "buy":
            maker = min(others, key=lambda order: order.price, default=None)
            return maker if maker and maker.price <= taker.price else None
        maker = max(others, key=lambda order: order.price, default=None)
        return maker if maker and maker.price >= taker.price else None

    def submit(self, taker: Order) -> list[Fill]:
        """Trade, and let the remainder rest."""
        fills = []
        while taker.lots and (maker := self.best(taker)):
            lots = min(taker.lots, maker.lots)
            taker.lots -= lots
            maker.lots -= lots
            fills.append(Fill(taker.number, maker.number, lots, maker.price))
            if not maker.lots:
                self.filled(maker)
        if taker.lots:
            self.resting.append(taker)
        return fills

    def filled(self, maker: Order) -> None:
        """A maker has nothing open any more."""
        self.resting.remove(maker)
