"""How many of NASDAQ's executions strict price-time priority reproduces from a converted flow.

The flow of `lobster` says who wanted to trade, but not with whom. A book that follows it by the
rulebook's priority finds makers, and NASDAQ's file names the makers that really traded: so both can
be compared.

**The measure.** The unit is one type-4 row: maker, price and size. An aggressor's rows, in file
order, are compared lot by lot with the fills of its one command, in the order they happen. A row is
*reproduced* if each of its lots was filled, by the same maker, at the same price. For an order from
before the file the maker is the synthetic order of its level (see `lobster`). A row whose maker
is unknown counts as not reproduced. A row whose lots are shifted by an earlier difference does too.

Nothing is corrected: a difference stays in the book until the end of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .book import Book, Fill
from .lobster import Execution, steps
from .lobster_files import Progress


@dataclass(slots=True)
class MatchRate:
    """The result. Every execution is in exactly one of the three counts.

    `maker_unseen`: the order executed was never in the file, nor in the part of the book that its
    first book row shows. `other_maker`: it was there, and the book matched another order.
    """

    symbol: str
    aggressors: int = 0
    reproduced: int = 0
    maker_unseen: int = 0
    other_maker: int = 0

    @property
    def executions(self) -> int:
        """All type-4 rows."""
        return self.reproduced + self.maker_unseen + self.other_maker

    @property
    def rate(self) -> float:
        """The share reproduced, 0.0 to 1.0; 1.0 for a file without executions."""
        return self.reproduced / self.executions if self.executions else 1.0


def measure(
    messages_path: str | Path,
    book_path: str | Path | None = None,
    symbol: str | None = None,
    progress: Progress | None = None,
) -> MatchRate:
    """Convert a LOBSTER file, follow the flow in a price-time book, and compare every execution.

    Arguments and errors are those of `lobster.commands`.
    """
    book = Book()
    flow = steps(messages_path, book_path, symbol, progress)
    result = MatchRate(next(flow).command["symbol"])
    for step in flow:
        fills = book.apply(step.command)
        if step.executions:
            result.aggressors += 1
        for execution, reproduced in zip(
            step.executions, compare(step.executions, fills), strict=True
        ):
            if reproduced:
                result.reproduced += 1
            elif execution.maker is None:
                result.maker_unseen += 1
            else:
                result.other_maker += 1
    return result


def compare(executions: Iterable[Execution], fills: Iterable[Fill]) -> Iterator[bool]:
    """Whether each of one aggressor's executions is reproduced by its fills, compared lot by lot.

    One fill may answer several executions, of a synthetic order that replaces several makers:

    >>> list(compare([Execution(7, 100, 5), Execution(7, 100, 3)], [Fill(7, 100, 8)]))
    [True, True]

    A wrong maker, or one with too little quantity, makes its execution count as not reproduced:

    >>> list(compare([Execution(7, 100, 5), Execution(8, 100, 5)], [Fill(7, 100, 4)]))
    [False, False]
    """
    remaining_fills = iter(fills)
    maker, price, left = 0, 0, 0
    for execution in executions:
        wanted = execution.size
        same = True
        while wanted:
            if not left:
                maker, price, left = next(remaining_fills, (0, 0, wanted))
            lots = min(wanted, left)
            same = same and maker == execution.maker and price == execution.price
            wanted -= lots
            left -= lots
        yield same
