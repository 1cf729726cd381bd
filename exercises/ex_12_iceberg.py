"""Exercise 12a: an iceberg order."""

from dataclasses import dataclass

from exercises.small_book import Book, Order


@dataclass
class Iceberg(Order):
    """`lots` is what is shown now; `hidden` is under water; `peak` is shown at a time."""

    hidden: int = 0
    peak: int = 0


class BookWithIcebergs(Book):
    """A book in which the next part of an iceberg joins the tail when the shown part is filled.

    An iceberg that comes in as a taker trades with all it has, and then shows at most its peak.
    """
