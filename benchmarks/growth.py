"""Does an operation cost more in a large book, and what does an order take of memory?

A book of so many orders on so many levels is filled; then blocks of work are timed on it that
leave it as large as it was: of six operations two cancel an order, drawn at random over the whole
book, two put another at its price, one fills the oldest order of a best level, and one puts another
there. Both engines get the same, in turns. What grows is mostly the way to memory: the orders of a
small book stay in the processor's cache, those of a large one do not.

Memory is what Python's allocator holds (`tracemalloc`) after the work, divided by orders: the
engine's own objects, and the integers that it keeps of the commands. The id of an order that has
ended stays in V1 and V2, which never let an id be used again; `matching-engine` forgets it, and
does take it again. Before the orders that go are counted, others have come and gone: the table of
the resting orders grows once, when the first do, and never again because of them.
"""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

from .engines import V1, Engine, MatchingEngine, V2Matcher
from .findings import Options, Plot, Point, Row, Section, Series, Table, Target
from .measure import interleaved, seconds, still_collector
from .workload import BUY, CANCEL, FIRST_MID, LOTS, Operation, resting, steady

SIZES = (
    (1_000, 1_000),
    (10_000, 1_000),
    (100_000, 1_000),
    (1_000_000, 1_000),
    (100_000, 100_000),
    (1_000_000, 100_000),
)
"""Orders, levels."""
BLOCK = (20_000, 2_000)
"""Operations a block, in a full run and in a quick one."""
LEVELS = 1_000
"""Of the book whose memory is measured."""
GONE = (1_000_000, 10_000)
"""Orders that come and go in it, in a full run and in a quick one: tables that grow in steps have
taken many."""

OBSTACLE = """\
A cancel drawn at random over a million orders finds the order, its neighbours, its level and its
place in the table of ids in memory, not in the processor's cache. Nothing that it does grows with
the book but the search for a level, where one has to be made."""


def measure(options: Options) -> Section:
    """Measure time, then memory."""
    missing = MatchingEngine.missing()
    engines: list[type[Engine]] = [V2Matcher]
    if missing is None:
        engines.append(MatchingEngine)
    time, plot, spread = _time(engines, options)
    memory, per_order = _memory([V1, *engines], options)
    targets = [
        Target(
            "slowest over fastest book, V2's matcher (no ratio to a peer)",
            spread,
            1.5,
            at_least=False,
            obstacle=OBSTACLE,
        ),
        Target("bytes of memory a resting order, V2 (no ratio)", per_order, 200, at_least=False),
    ]
    notes = [
        "Left out: 1,000 and 10,000 orders on 100,000 levels, as there would be more levels than "
        "orders."
    ]
    if options.quick:
        notes.append("Left out, as the run is a quick one: more than 10,000 orders.")
    if missing is not None:
        notes.append(f"`{MatchingEngine.name}` did not run: {missing}.")
    return Section("Growth", __doc__ or "", [time, memory], [plot], targets, notes)


def _time(engines: list[type[Engine]], options: Options) -> tuple[Table, Plot, Series]:
    """All sizes; and how many times as slow the slowest is as the fastest, for V2."""
    sizes = [size for size in SIZES if size[0] <= options.pick(1_000_000, 10_000)]
    found = {size: _times(*size, engines, options) for size in sizes}
    rows = [
        Row(f"{orders:,} orders, {levels:,} levels", [times[engine.name] for engine in engines])
        for (orders, levels), times in found.items()
    ]
    spread = []
    for engine in engines:
        medians = [times[engine.name].median for times in found.values()]
        spread.append(Series.of([max(medians) / min(medians)]))
    rows.append(Row("slowest over fastest", [*spread]))
    curves: dict[str, list[Point]] = {}
    for (orders, levels), times in found.items():
        for name, series in times.items():
            curves.setdefault(f"{name}, {levels:,} levels", []).append(Point(orders, series))
    work = f"Blocks of {options.pick(*BLOCK):,} operations, one filled book a size."
    table = Table("Time", work, [f"{engine.name}, ns an operation" for engine in engines], rows)
    plot = Plot(
        "growth", "An operation in a larger book", "resting orders", "ns", curves, y_scale="linear"
    )
    return table, plot, spread[engines.index(V2Matcher)]


def _times(
    orders: int, levels: int, engines: list[type[Engine]], options: Options
) -> dict[str, Series]:
    """Nanoseconds an operation in books of one size, by engine; the books live side by side."""
    builds: dict[str, Callable[[], float]] = {}
    for engine in engines:
        options.status(f"{orders:,} orders on {levels:,} levels: filling {engine.name}")
        book = engine()
        book.run(resting(orders, levels))
        builds[engine.name] = partial(_block, book, steady(orders, levels), options.pick(*BLOCK))
    interleaved(builds, 1, options.status)  # the first block warms up
    found = interleaved(builds, options.repetitions, options.status)
    return {name: Series.of(times) for name, times in found.items()}


def _block(book: Engine, operations: Iterator[Operation], size: int) -> float:
    part = list(itertools.islice(operations, size))
    return seconds(lambda: book.run(part)) / size * 1e9


def _memory(engines: list[type[Engine]], options: Options) -> tuple[Table, Series]:
    """Bytes a resting order and an id of the past, and the former of V2."""
    count, gone = options.pick(100_000, 10_000), options.pick(*GONE)
    rows: list[Row] = []
    per_order: dict[str, Series] = {}
    for engine in engines:
        options.status(f"memory of {engine.name}")
        with still_collector():
            tracemalloc.start()
            book = engine()
            empty = _held()
            book.run(resting(count, LEVELS))
            full = _held()
            book.run(come_and_gone(count, count))
            before = _held()
            book.run(come_and_gone(2 * count, gone))
            later = _held()
            tracemalloc.stop()
        per_order[engine.name] = Series.of([(full - empty) / count])
        per_id = Series.of([(later - before) / gone])
        rows.append(Row(engine.name, [per_order[engine.name], per_id]))
    work = (
        f"{count:,} orders on {LEVELS:,} levels; {count:,} that are added and canceled; then "
        f"{gone:,} more, which are the orders that are gone."
    )
    columns = ["bytes a resting order", "bytes an order that is gone"]
    return Table("Memory", work, columns, rows), per_order[V2Matcher.name]


def come_and_gone(last_id: int, count: int) -> Iterator[Operation]:
    """Orders that are canceled at once, in a book filled by `resting`; the ids after `last_id`."""
    for order_id in range(last_id + 1, last_id + count + 1):
        yield BUY, order_id, FIRST_MID - 1, LOTS
        yield CANCEL, order_id, 0, 0


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
