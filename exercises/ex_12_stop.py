"""Exercise 12b: stop orders."""

from exercises.small_book import Book


class BookWithStops(Book):
    """A book with orders that sleep until a trade happens at their stop price or beyond.

    `submit_stop(order, stop)`: a buyer wakes at a trade at `stop` or higher, a seller at `stop` or
    lower. It returns no fills; `submit` returns the fills of the order, and then those of every
    order that wakes because of them, the older one first. A stop sees only trades after it came.
    """
