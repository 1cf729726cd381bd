"""What can go wrong between a market-data file and an order flow.

    OrderFlowError
    ├── UnusableFile    it cannot be opened, or is not what its name says   (exit status 2)
    └── MalformedRow    it was opened, and one row breaks the format        (exit status 1)

Both messages are for a person at a terminal: the file, the place in it, what was expected, and what
to do.
"""


class OrderFlowError(Exception):
    """The root: catch it to catch everything that this package raises on purpose."""


class UnusableFile(OrderFlowError):
    """A file is missing, unreadable or of another kind. Name the right file and run again."""


class MalformedRow(OrderFlowError):
    """A row breaks the format, or a compressed file ends in the middle.

    Every command made from earlier rows has already been yielded and is valid. Get the file again
    from its source: if a row were skipped, the book would be wrong from there on.
    """
