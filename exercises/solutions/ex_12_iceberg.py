"""Exercise 12a: an iceberg order."""

from dataclasses import dataclass

from exercises.small_book import Book, Fill, Order


@dataclass
class Iceberg(Order):
    """`lots` is what is shown now; `hidden` is under water; `peak` is shown at a time."""

    hidden: int = 0
    peak: int = 0

    def show(self) -> None:
        """Bring the next part above the water."""
        total = self.lots + self.hidden
        self.lots = min(self.peak, total)
        self.hidden = total - self.lots


class BookWithIcebergs(Book):
    """A book in which the next part of an iceberg joins the tail when the shown part is filled."""

    def submit(self, taker: Order) -> list[Fill]:
        """A taker trades with all it has; what rests shows its peak."""
        if isinstance(taker, Iceberg):
            taker.lots, taker.hidden = taker.lots + taker.hidden, 0
        fills = super().submit(taker)
        if isinstance(taker, Iceberg):
            taker.show()
        return fills

    def filled(self, maker: Order) -> None:
        """It leaves; where something is hidden, it joins again at the tail."""
        super().filled(maker)
        if isinstance(maker, Iceberg) and maker.hidden:
            maker.show()
            self.resting.append(maker)
