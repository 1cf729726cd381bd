"""LOBSTER's NASDAQ files as an order flow.

LOBSTER (https://lobsterdata.com) writes down what NASDAQ's visible book did to one stock on one
day; `lobster_files` shows the format. A tick is 1/10,000 dollar here, a lot one share.

Such a file says what happened to makers; an order flow says what participants asked for. So the
conversion finds the commands that caused the rows:

| row | becomes |
|---|---|
| type 1, a new limit order | `new` LIMIT GTC under its own id |
| type 2, a partial cancellation | `reduce` |
| type 3, a deletion | `cancel` |
| type 4, an execution | part of the aggressor that caused it (below) |
| type 5 hidden execution, 6 cross, 7 halt | nothing: the visible book does not change |

**Aggressors.** NASDAQ names every maker but not the taker. Consecutive type-4 rows with the same
time and direction are one aggressor: a LIMIT IOC on the other side for their summed size, at the
worst of their prices. Rows that become nothing do not interrupt it. The remainder of an aggressor
that then rests in the book is a type 1 at the same time. It becomes a new order, like any type 1.
It does not trade when it arrives: the aggressor has emptied the levels that it would trade with.

**The book before the first row.** The first row of the order book file is the state after the first
message. With that message undone, each level becomes one synthetic order.

**Ids from before the first row.** A row may name an order whose arrival is not in the file. If it
rested in the seeded book, it is a part of the synthetic order at its price. It is older than every
order that came later, so it is at the head of its level, where the synthetic order is. So its
cancellation becomes a `reduce` of the synthetic order by the same size, and its execution counts as
one of the synthetic order. If the remaining quantity of that synthetic order is smaller, the row is
about an order from outside the file's window: a cancellation is left out, and an execution still
belongs to its aggressor, but its maker is unknown.

Everything belongs to participant 1 except the aggressors, which are participant 2.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .commands import Command, list_instrument
from .errors import UnusableFile
from .lobster_files import (
    BUYS,
    DELETION,
    EXECUTION,
    REDUCTION,
    SELLS,
    SUBMISSION,
    Level,
    Message,
    Progress,
    Source,
    levels_before,
    messages,
    open_source,
)

TICK_SIZE = "0.0001"
LOT_SIZE = "1"
RESTING_PARTICIPANT = 1
AGGRESSOR_PARTICIPANT = 2
FIRST_AGGRESSOR_ID = 1_000_000_000_001  # both above every id of NASDAQ's (ORDER_ID_MAX)
FIRST_SYNTHETIC_ID = 2_000_000_000_001

_SYMBOL = re.compile(r"[A-Z0-9./-]{1,16}")


class Execution(NamedTuple):
    """What NASDAQ says a type-4 row did. `maker` is None for an order from outside the window."""

    maker: int | None
    price: int
    size: int


class Step(NamedTuple):
    """A command of the flow and, for an aggressor, the executions it was made from."""

    command: Command
    executions: tuple[Execution, ...] = ()


def commands(
    messages_path: str | Path,
    book_path: str | Path | None = None,
    symbol: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Command]:
    """Yield the commands of a LOBSTER message file, `list_instrument` first.

    Files may be `.csv`, `.csv.gz` or `.csv.xz`, or the message file a LOBSTER `.zip`, whose order
    book member then seeds the book unless `book_path` names another. Without an order book file the
    book starts empty. The symbol is the file name up to the first `_` unless it is given.
    `progress` is called now and then with the share of the message file read, 0.0 to 1.0.

    Reads as it goes: memory grows with the resting orders, not with the file.

    Raises UnusableFile or MalformedRow.
    """
    for step in steps(messages_path, book_path, symbol, progress):
        yield step.command


def steps(
    messages_path: str | Path,
    book_path: str | Path | None = None,
    symbol: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Step]:
    """As `commands`, each with the executions that it was made from, for the match rate."""
    path = Path(messages_path)
    if book_path is None and path.suffix.lower() == ".zip":
        book_path = path
    with open_source(path, "_message_") as source:
        symbol = _symbol(symbol, source)
        rows = messages(source, progress)
        first = next(rows, None)
        levels = levels_before(first, Path(book_path)) if book_path is not None else {}
        conversion = _Conversion(symbol)
        yield Step(list_instrument(symbol, TICK_SIZE, LOT_SIZE))
        yield from conversion.seed(levels)
        if first is not None:
            yield from conversion.convert(itertools.chain([first], rows))


class _SyntheticOrder:
    """What the first book row shows at one price, minus what later rows took from it."""

    __slots__ = ("left", "order_id")

    def __init__(self, order_id: int, left: int) -> None:
        self.order_id = order_id
        self.left = left


class _Conversion:
    """The conversion rule. It keeps what each order has left by NASDAQ's rows, and no book."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._left: dict[int, int] = {}  # by order id, if the arrival is in the file
        self._synthetic: dict[Level, _SyntheticOrder] = {}
        self._aggressor_ids = itertools.count(FIRST_AGGRESSOR_ID)

    def seed(self, levels: dict[Level, int]) -> Iterator[Step]:
        """One synthetic order per level, asks before bids, each side from its best price on."""
        best_first = sorted(levels, key=lambda level: (level[0], -level[0] * level[1]))
        for order_id, (direction, price) in enumerate(best_first, FIRST_SYNTHETIC_ID):
            size = levels[direction, price]
            self._synthetic[direction, price] = _SyntheticOrder(order_id, size)
            yield Step(self._resting_order(order_id, direction, price, size))

    def convert(self, rows: Iterable[Message]) -> Iterator[Step]:
        """The rows' commands, in order; an aggressor's command comes after its last execution."""
        executed: list[Message] = []
        for message in rows:
            if message.type == EXECUTION:
                if executed and not _same_aggressor(executed[-1], message):
                    yield self._aggressor(executed)
                    executed = []
                executed.append(message)
            elif message.type in {SUBMISSION, REDUCTION, DELETION}:
                if executed:
                    yield self._aggressor(executed)
                    executed = []
                yield from self._change(message)
        if executed:
            yield self._aggressor(executed)

    def _change(self, message: Message) -> Iterator[Step]:
        order_id, size = message.order_id, message.size
        if message.type == SUBMISSION:
            self._left[order_id] = size
            yield Step(self._resting_order(order_id, message.direction, message.price, size))
        elif order_id not in self._left:
            synthetic = self._take_from_synthetic(message)
            if synthetic is not None:
                yield Step(_reduce(synthetic, size))
        elif message.type == REDUCTION:
            self._take_from_known(order_id, size)
            yield Step(_reduce(order_id, size))
        else:
            del self._left[order_id]
            yield Step(
                {"command": "cancel", "order_id": order_id, "participant": RESTING_PARTICIPANT}
            )

    def _aggressor(self, executed: list[Message]) -> Step:
        direction = executed[0].direction
        prices = [message.price for message in executed]
        command = {
            "command": "new",
            "order_id": next(self._aggressor_ids),
            "participant": AGGRESSOR_PARTICIPANT,
            "symbol": self._symbol,
            "side": "BUY" if direction == SELLS else "SELL",
            "type": "LIMIT",
            "price": max(prices) if direction == SELLS else min(prices),
            "quantity": sum(message.size for message in executed),
            "time_in_force": "IOC",
        }
        return Step(command, tuple(self._execution(message) for message in executed))

    def _execution(self, message: Message) -> Execution:
        maker: int | None = message.order_id
        if message.order_id in self._left:
            self._take_from_known(message.order_id, message.size)
        else:
            maker = self._take_from_synthetic(message)
        return Execution(maker, message.price, message.size)

    def _take_from_known(self, order_id: int, size: int) -> None:
        self._left[order_id] -= size
        if self._left[order_id] <= 0:
            del self._left[order_id]

    def _take_from_synthetic(self, message: Message) -> int | None:
        """Take a message's size from the synthetic order at its price; return that order's id."""
        synthetic = self._synthetic.get((message.direction, message.price))
        if synthetic is None or synthetic.left < message.size:
            return None
        synthetic.left -= message.size
        return synthetic.order_id

    def _resting_order(self, order_id: int, direction: int, price: int, size: int) -> Command:
        return {
            "command": "new",
            "order_id": order_id,
            "participant": RESTING_PARTICIPANT,
            "symbol": self._symbol,
            "side": "BUY" if direction == BUYS else "SELL",
            "type": "LIMIT",
            "price": price,
            "quantity": size,
            "time_in_force": "GTC",
        }


def _reduce(order_id: int, by: int) -> Command:
    return {
        "command": "reduce",
        "order_id": order_id,
        "participant": RESTING_PARTICIPANT,
        "by": by,
    }


def _same_aggressor(earlier: Message, later: Message) -> bool:
    return earlier.time == later.time and earlier.direction == later.direction


def _symbol(symbol: str | None, source: Source) -> str:
    candidate = symbol if symbol is not None else source.file_name.partition("_")[0]
    if _SYMBOL.fullmatch(candidate) is None:
        raise UnusableFile(
            f"{source.name}: {candidate!r} is not a symbol (1 to 16 of A-Z 0-9 . - /). LOBSTER's "
            "file names start with the symbol and a '_'; for others give it with --symbol."
        )
    return candidate
