"""Which partition has which symbol: a table in the stream CTRL, and who reads it.

Message n of CTRL is version n of the whole table, as JSON. A new version is added behind the one
that it was made from, so of two clients that assign at the same time one has to read again. How
many partitions there are is decided once. A symbol that has a partition stays there: the ids of its
orders are known nowhere else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from ..engine.log.format import UNREADABLE
from ..errors import Fenced, LogDamaged, LogUnavailable, MalformedCommand, StoreError
from .stream import Clock, Stream, append

PARTITIONS_MAX = 256
SYMBOLS_MAX = 100_000
"""In one table: every version of it is a message."""
LOOK_AGAIN_SECONDS = 1.0
"""How old the table of a node may be when it meets a symbol that is not in there."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the table."""

    version: int
    partitions: int
    symbols: dict[str, int]


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Table).decode


class SymbolTable:
    """The table, as one client or one node has it. All calls come from one thread at a time."""

    def __init__(self, control: Stream, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    def create(self, partitions: int) -> Table:
        """The table of so many partitions; it is made if there is none yet.

        Raises:
            StoreError: there is one, of another number of partitions, which cannot be changed.
            LogUnavailable: see `stream.append`.
        """
        if not 0 < partitions <= PARTITIONS_MAX:
            raise StoreError(f"{partitions} partitions; expected 1 to {PARTITIONS_MAX}")
        first = Table(1, partitions, {})
        if not self._control.last():
            with suppress(Fenced):  # somebody was faster
                append(self._control, [_encode(first)], 1, self._clock)
        table = self.read()
        if table.partitions != partitions:
            raise StoreError(
                f"{self._control.name}: this cluster was made with {table.partitions} partitions, "
                f"not with {partitions}; their number cannot be changed"
            )
        return table

    def read(self) -> Table:
        """The newest version. One question to the stream, or two. O(symbols).

        Raises:
            StoreError: there is none: no cluster was made here.
            LogDamaged: it is not a table.
            LogUnavailable: nobody answered.
        """
        version = self._control.last()
        data = self._control.get(version) if version else None
        if data is None:
            raise StoreError(f"{self._control.name}: there is no table: no cluster was made here")
        try:
            table = _decode(data)
        except UNREADABLE as error:
            raise self._damaged(version, str(error)) from None
        if table.version != version or not all(
            0 <= partition < table.partitions for partition in table.symbols.values()
        ):
            raise self._damaged(version, "the table contradicts itself")
        return table

    def _damaged(self, version: int, problem: str) -> LogDamaged:
        return LogDamaged(f"{self._control.name}, message {version}", 0, 0, problem)

    def assign(self, symbols: Iterable[str]) -> Table:
        """A version in which all these symbols have a partition: new ones where the fewest are.

        Raises:
            MalformedCommand: the table is full.
            LogUnavailable: see `stream.append`.
        """
        return self._add(dict.fromkeys(sorted(symbols)))

    def adopt(self, places: Mapping[str, int]) -> Table:
        """A version in which these symbols are where they are: for a cluster that was restored.

        One that has a partition already stays there. Raises as `assign`.
        """
        return self._add(places)

    def _add(self, places: Mapping[str, int | None]) -> Table:
        """A version with all these symbols; None is where the fewest are."""
        while True:
            table = self.read()
            missing = [symbol for symbol in places if symbol not in table.symbols]
            if not missing:
                return table
            if len(table.symbols) + len(missing) > SYMBOLS_MAX:
                raise MalformedCommand("symbol", f"the cluster has {SYMBOLS_MAX:,} symbols already")
            sizes = Counter(table.symbols.values())
            assigned = dict(table.symbols)
            for symbol in missing:
                place = places[symbol]
                if place is None:
                    place = min(range(table.partitions), key=lambda each: (sizes[each], each))
                assigned[symbol] = place
                sizes[place] += 1
            next_one = Table(table.version + 1, table.partitions, assigned)
            with suppress(Fenced):  # somebody has assigned symbols meanwhile: read again
                append(self._control, [_encode(next_one)], next_one.version, self._clock)


class OtherPartitions:
    """What a node of one partition asks about a symbol: the `table` of `node.Node`.

    A symbol that has no partition yet is nobody else's. It may be known here a little late that it
    has: a client assigns a symbol before it lists it, and so it comes to the right node anyway.
    """

    def __init__(self, table: SymbolTable, clock: Clock, partition: int) -> None:
        self._table = table
        self._clock = clock
        self._partition = partition
        self._known = table.read()
        self._read_at = clock.monotonic()

    def __call__(self, symbol: str) -> int | None:
        """None, or the version of the table by which the symbol is of another partition."""
        if self._known.partitions == 1:
            return None
        place = self._known.symbols.get(symbol)
        if place is None and self._clock.monotonic() - self._read_at > LOOK_AGAIN_SECONDS:
            self._read_at = self._clock.monotonic()
            try:
                self._known = self._table.read()
            except LogUnavailable:
                return None
            place = self._known.symbols.get(symbol)
        return None if place in (None, self._partition) else self._known.version
