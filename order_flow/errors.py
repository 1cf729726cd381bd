"""What can go wrong between a market-data file and an order flow.

    OrderFlowError
    ├── UnusableFile    it cannot be opened, or is not what its name says   (exit status 2)
    └── MalformedRow    it was opened, and one row makes no sense           (exit status 1)

Both messages are written for the person at the terminal: the file, where in it, what was expected,
and what to do.
"""


class OrderFlowError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""


class UnusableFile(OrderFlowError):
    """A file is missing, unreadable or of another kind. Name the right file and run again."""


class MalformedRow(OrderFlowError):
    """A row breaks the format, or a compressed file ends in the middle.

    Every command made from earlier rows has already been handed out and is sound. Get the file
    again from its source: a row that is skipped in silence would leave a wrong book behind it.
    """
