"""How fast orders are matched in memory, events included.

Every engine gets the same operations, builds its own commands from them and makes all of its
events, all of it timed. Every fill (maker, price, quantity, in order) was compared, in a pass
without a clock, with those of a book that belongs to none of them, and the best levels now and
then; an engine that differs is marked.

The engines do not do the same work. V1, V2 and `matching-engine` make an event for everything that
happens, number it and stamp it. The others report less: `liquibook` and `orderly-chaos` only what
traded, by a call into Python for each fill. V1 takes and gives back a lock for each command. V2's
engine hands every command to another thread and back, which a lone producer gains nothing from:
what it buys is in the sections on the log and on threads. Its rate also depends on where the kernel
lets the two threads run: over a dozen runs it varied by a quarter bound to one processor, and
twofold on two.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from .engines import OURS, PEERS, Engine, Liquibook, MatchingEngine, V2EngineMany, V2Matcher
from .findings import Options, Row, Section, Series, Table, Target, ratios
from .measure import interleaved, seconds
from .workload import Expected, Flow, expected, fragment, mixed, real

SYMBOLS = ("AAPL", "AMZN")


def measure(options: Options) -> Section:
    """Measure all engines over all flows."""
    options.status("making operations")
    flow = mixed(options.pick(200_000, 20_000))
    notes: list[str] = []
    table, rates = compare(flow, [*OURS, *PEERS], options)
    tables = [table]
    real_targets: list[Target] = []
    for symbol in SYMBOLS[: options.pick(2, 1)]:
        whole = real(symbol)
        if whole is None:
            notes.append(f"{symbol}: the file with NASDAQ's order flow is not on this machine.")
            continue
        tables.append(compare(whole, OURS, options)[0])
        part, rates_of_part = compare(fragment(whole), [*OURS, *PEERS], options)
        tables.append(part)
        figure = f"matching {symbol}, limit orders and cancels: V2's matcher, to `liquibook`"
        real_targets.append(_target(figure, Liquibook, 1.05, rates_of_part))
    targets = [
        _target("matching in memory, all events: V2's matcher", MatchingEngine, 2.0, rates),
        _target("matching in memory: V2's matcher, to `liquibook`", Liquibook, 1.0, rates),
        *real_targets,
        *_engine_targets(rates),
    ]
    return Section("Matching in memory", __doc__ or "", tables, targets=targets, notes=notes)


def compare(
    flow: Flow, engines: list[type[Engine]] | tuple[type[Engine], ...], options: Options
) -> tuple[Table, dict[str, list[float]]]:
    """Check each engine once, then time them in turns; a table, and the rates by engine."""
    wanted = expected(flow)
    builds: dict[str, Callable[[], float]] = {}
    remarks: dict[str, str] = {}
    for engine in engines:
        options.status(f"{flow.name}: checking {engine.name}")
        remarks[engine.name] = check(engine, flow, wanted)
        if not remarks[engine.name].startswith(FAILED):
            builds[engine.name] = partial(rate, engine, flow)
    rates = interleaved(builds, options.repetitions, options.status)
    reference = rates.get(MatchingEngine.name)
    rows = []
    for engine in engines:
        name, remark = engine.name, remarks[engine.name]
        found = rates.get(name)
        ratio = ratios(found, reference) if found and reference else "-"
        rows.append(Row(name, [Series.of(found) if found else "-", ratio], remark))
    timed = len(flow.operations) - flow.preload
    trades = sum(map(len, wanted.fills))
    work = f"{timed:,} operations on one symbol, one thread; {trades:,} fills."
    if flow.preload:
        work = f"A book of {flow.preload:,} operations, then {work}"
    columns = ["operations a second", "ratio to `matching-engine`"]
    return Table(f"Matching: {flow.name}", work, columns, rows), rates


FAILED = "did not run: "


def check(engine: type[Engine], flow: Flow, wanted: Expected) -> str:
    """Carry the flow out and compare; "fills agree", or what is wrong."""
    missing = getattr(engine, "missing", lambda: None)()
    if missing is not None:
        return f"{FAILED}{missing}"
    try:
        book = engine()
    except Exception as error:
        return f"{FAILED}{type(error).__name__}: {error}"
    try:
        wrong_best = 0
        for number, answer in enumerate(book.answers(flow.operations), 1):
            if book.fills(answer) != wanted.fills[number - 1]:
                return f"**wrong**: other fills at operation {number:,}"
            look = book.answers_at_once or number == len(flow.operations)
            if look and number in wanted.bests and book.bests() != wanted.bests[number]:
                wrong_best = wrong_best or number
    except Exception as error:  # whatever a peer raises is a finding, not our failure
        return f"{FAILED}{type(error).__name__}: {error}"
    finally:
        book.close()
    if wrong_best:
        return f"fills agree; **wrong** quantity of a best level, seen at {wrong_best:,}"
    return "fills and best levels agree"


def rate(engine: type[Engine], flow: Flow) -> float:
    """Operations a second, after the preload."""
    book = engine()
    try:
        book.run(itertools.islice(flow.operations, flow.preload))
        operations = flow.operations[flow.preload :]
        return len(operations) / seconds(lambda: book.run(operations))
    finally:
        book.close()


def _target(figure: str, peer: type[Engine], bound: float, rates: dict[str, list[float]]) -> Target:
    """V2's matcher against a peer."""
    theirs = rates.get(peer.name)
    if theirs is None:
        return Target(figure, None, bound, reason=f"`{peer.name}` did not run")
    measured = ratios(rates[V2Matcher.name], theirs)
    return Target(figure, measured, bound, obstacle="See [Anatomy](#anatomy).")


def _engine_targets(rates: dict[str, list[float]]) -> list[Target]:
    """What queue, receipts and threads leave of the matcher's rate, and how steadily."""
    share = ratios(rates[V2EngineMany.name], rates[V2Matcher.name])
    spread = Series.of([share.largest / share.smallest])
    name = "V2's engine in memory, one producer with `submit_many`, to V2's matcher"
    obstacle = "The engine checks each command again, and two threads share one interpreter."
    return [
        Target(name, share, 0.6, obstacle=obstacle),
        Target(
            "largest over smallest of that ratio",
            spread,
            1.25,
            at_least=False,
            obstacle="It depends on where the kernel lets the two threads run.",
        ),
    ]
