"""`replay`: the state as of a sequence, rebuilt from the log."""

import argparse

from ..engine.event_engine import DEFAULT_DEPTH
from ..engine.log.recovery import Progress, Recovered, earliest_start, follow, recover
from ..engine.market.matcher import Matcher
from ..errors import ReplayDivergence, StoreError
from .directory import Directory, open_for_reading, report_of
from .exits import CHECK_FAILED, OK
from .files import FileProblem
from .options import Subcommands, add_subcommand
from .output import Report, progress_bar, say, show
from .signals import StopSignals


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "Rebuild the state from the log, now or as of an earlier sequence."
    parser = add_subcommand(commands, "replay", text, replay)
    parser.add_argument("--until", type=int, metavar="SEQ", help="stop after this sequence")
    parser.add_argument(
        "--diff", action="store_true",
        help="replay everything and show, of each batch, the first event that is not as recorded",
    )  # fmt: skip


def replay(options: argparse.Namespace) -> int:
    """Show the books and the report of the state."""
    directory = open_for_reading(options.data_dir)
    until = options.until
    if until is not None and until < 0:
        raise FileProblem("--until: choose a sequence of 0 or more")
    with StopSignals() as stop, progress_bar("replay", None, stop) as advance:
        if options.diff:
            report, state = _differences(directory, until, advance)
        else:
            state = state_as_of(directory, until, advance)
            report = replay_report(state)
    if not options.json:
        _show_books(state.matcher)
    show(options, report)
    return OK if report["ok"] else CHECK_FAILED


def state_as_of(directory: Directory, until: int | None, progress: Progress) -> Recovered:
    """The state as of `until`, or the newest, rebuilt from the log.

    Raises:
        StoreError: the log ends before `until`.
    """
    state = recover(directory.log, directory.snapshots, until=until, progress=progress)
    return _at(directory, until, state)


def _differences(
    directory: Directory, until: int | None, progress: Progress
) -> tuple[Report, Recovered]:
    """As `state_as_of`, from the first command on; what differs does not end the replay."""
    found: list[ReplayDivergence] = []
    log = directory.log
    start = earliest_start(log, directory.snapshots)
    state = follow(log, start, until=until, progress=progress, diverged=found.append)
    report = replay_report(_at(directory, until, state))
    report["ok"] = not found
    report["differences"] = [
        {
            "sequence": each.sequence,
            "index": each.index,
            "field": each.field,
            "recorded": each.recorded,
            "derived": each.derived,
        }
        for each in found
    ]
    if found:
        report["error"] = str(found[0])
    return report, state


def _at(directory: Directory, until: int | None, state: Recovered) -> Recovered:
    if until is not None and state.matcher.sequence < until:
        raise StoreError(
            f"{directory.storage.path}: the log ends at sequence {state.matcher.sequence}; "
            f"choose --until from 0 to there"
        )
    return state


def replay_report(state: Recovered) -> Report:
    """The report of a state that was rebuilt."""
    return {**report_of(state), "instruments": list(state.matcher.instruments)}


def _show_books(matcher: Matcher) -> None:
    for symbol in matcher.books:
        say(f"{symbol}: best ten levels, price x quantity (orders)")
        bids, asks = matcher.depth(symbol, DEFAULT_DEPTH)
        for side, levels in (("ask", asks[::-1]), ("bid", bids)):
            for price, quantity, orders in levels:
                say(f"  {side} {price:>12} x {quantity:<10} ({orders})")
