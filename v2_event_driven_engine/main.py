"""The command line of V2: ``python main.py --help``.

Works from any folder and under any folder name: where Python was not told which package this file
belongs to, the package is imported by the name of the folder (PEP 366).
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    folder = Path(__file__).resolve().parent
    if "." in folder.name:
        sys.exit(f"{folder}: Python cannot import a folder whose name has a dot; rename it")
    sys.path.insert(0, str(folder.parent))
    __package__ = folder.name
    __import__(__package__)

import argparse
import gc
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .cli import inspect
from .cli.stopping import Stopped, StopSignals
from .cli.stream import (
    EventsFile,
    FileProblem,
    FlowFile,
    LineSplitter,
    Session,
    converse,
    write_to_standard_output,
)
from .cli.tour import tour, victim
from .engine.audit_logger import last_audited_sequence
from .engine.event_engine import EventDrivenMatchingEngine
from .engine.matcher import Matcher
from .errors import EngineError

OK = 0
CHECK_FAILED = 1
UNUSABLE_INPUT = 2
UNUSABLE_DATA = 3
SIGNALED = 128

DEFAULT_DATA_DIR = Path(__file__).resolve().parent / "data"
SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the interpreter from the writer when its sync has returned. Python's
default of 5 ms would be paid on every batch while another thread computes."""

DESCRIPTION = """\
Order matching engine, V2: many producers, one queue, one writer, and a write-ahead log.
Without a subcommand: a tour of a few seconds that needs nothing and leaves nothing.
"""
EPILOG = """\
examples:
  python main.py                                   the tour
  python main.py run flow.ndjson.xz --json         drive a file through the engine
  python main.py stdio --data-dir /tmp/engine      hold a dialogue: one JSON object a line
  python main.py replay --until 1000               the book as it was after command 1000
  python main.py audit --order 42                  the life of order 42

one line in:   {"command": "new", "order_id": 1, "participant": 7, "symbol": "AAPL", "side": "BUY",
                "type": "LIMIT", "price": 10125, "quantity": 100}
               after {"command": "list_instrument", "symbol": "AAPL", "tick_size": "0.01",
                "lot_size": "1"}; the other commands are in README.md

exit status:   0 all good; 1 malformed lines or a failed check; 2 usage, or a file that cannot be
               opened; 3 the data directory is damaged, in use or not usable; 130 / 143 after
               SIGINT / SIGTERM, with everything answered in the log
"""


def parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str, *, output: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument(
            "--data-dir", type=Path, default=DEFAULT_DATA_DIR, metavar="DIR",
            help="where the log, the snapshots and the audit log are (default: %(default)s)",
        )  # fmt: skip
        if output:
            sub.add_argument("--json", action="store_true", help="print one JSON object, last")
        return sub

    run = add("run", "Drive an order-flow file through the engine, on from where the log ends.")
    run.add_argument("flow", metavar="FLOW", help="NDJSON commands; .gz, .xz; - is standard input")
    run.add_argument("--events", type=Path, metavar="OUT", help="write what stdio would print")
    stdio = add("stdio", "NDJSON on standard input and output; a dialogue.", output=False)
    for writer in (run, stdio):
        writer.add_argument(
            "--no-audit", action="store_true",
            help="leave the audit log to a later start, which completes it",
        )  # fmt: skip
    add("status", "What is in a data directory. Works beside a live engine.")
    add("verify", "Replay everything and compare; check every checksum and the audit chain.")
    replay = add("replay", "Rebuild the state from the log, now or as of an earlier sequence.")
    replay.add_argument("--until", type=int, metavar="SEQ", help="stop after this sequence")
    replay.add_argument(
        "--diff", action="store_true",
        help="replay everything and show each event that is not the recorded one",
    )  # fmt: skip
    audit = add("audit", "Tell what happened, in sentences, from the audit log.")
    audit.add_argument("--order", type=int, metavar="ID", help="only this order")
    audit.add_argument("--participant", type=int, metavar="P", help="only this participant")
    audit.add_argument("--symbol", metavar="S", help="only this instrument")
    audit.add_argument("--since", metavar="TIME", help="from 2026-11-22 or 2026-11-22T09:30 … on")
    audit.add_argument("--until", metavar="TIME", help="up to and with such a day, minute …")
    audit.add_argument("--verify", action="store_true", help="check the hash chain instead")
    snapshot = add("snapshot", "Write the state down, so that the next start is faster.")
    snapshot.add_argument(
        "--archive", action="store_true",
        help="move segments that no kept snapshot needs to archive/, where they are still found",
    )  # fmt: skip
    # Not listed: the process that the tour kills.
    hidden = commands.add_parser("tour-victim")
    hidden.add_argument("--data-dir", type=Path, required=True)
    return top


def main(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    options = parser().parse_args(arguments)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    gc.disable()  # while a log is replayed nearly everything that is made stays: nothing to collect
    try:
        return _dispatch(options)
    except Stopped as stopped:
        return SIGNALED + stopped.number
    except KeyboardInterrupt:
        return SIGNALED + signal.SIGINT
    except FileProblem as error:
        return _complain(options, str(error), UNUSABLE_INPUT)
    except BrokenPipeError:
        # Whoever read us has gone. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except (EngineError, OSError) as error:
        return _complain(options, str(error), UNUSABLE_DATA)


def _complain(options: argparse.Namespace, message: str, status: int) -> int:
    if getattr(options, "json", False):
        with suppress(FileProblem, BrokenPipeError):  # it is standard output that fails, perhaps
            _say(json.dumps({"ok": False, "error": message, "sequence": None, "state_hash": None}))
    print(f"main.py: {message}", file=sys.stderr)
    return status


def _say(line: str) -> None:
    write_to_standard_output(line.encode() + b"\n")


def _dispatch(options: argparse.Namespace) -> int:
    match options.command:
        case None:
            tour(Path(__file__).resolve(), _TourConsole(highlight=False))
            return OK
        case "tour-victim":
            victim(options.data_dir)
            return OK
        case "run":
            with StopSignals() as stop:
                return _run(options, stop)
        case "stdio":
            with StopSignals() as stop:
                return _stdio(options, stop)
        case "audit" if not options.verify:
            return _audit(options)
        case _:
            with StopSignals() as stop:
                return _inspect(options, stop)


# -- run and stdio -------------------------------------------------------------------------------


def _open_engine(options: argparse.Namespace, stop: StopSignals) -> EventDrivenMatchingEngine:
    with _bar("recovering", None, stop) as advance:
        engine = EventDrivenMatchingEngine.open(
            options.data_dir, audit=not options.no_audit, progress=advance
        )
    torn = engine.recovered.torn
    for warning in engine.recovered.warnings:
        print(f"main.py: {warning}", file=sys.stderr)
    if torn is not None:
        print(
            f"main.py: {torn.file}: byte {torn.offset}: the last engine was stopped while it wrote "
            f"a batch that was never answered; its {torn.length} bytes are ignored from now on",
            file=sys.stderr,
        )
    gc.freeze()  # what has been recovered stays: the collector need not look at it
    gc.enable()
    return engine


def _stdio(options: argparse.Namespace, stop: StopSignals) -> int:
    if sys.stdin is None or sys.stdout is None:
        raise FileProblem("standard input and output: they must be open")
    with _open_engine(options, stop) as engine:
        session = Session(engine, write_to_standard_output)
        converse(session, stop, sys.stdin.fileno())
    return _status(session, stop)


def _run(options: argparse.Namespace, stop: StopSignals) -> int:
    flow = FlowFile(options.flow)
    events = None if options.events is None else EventsFile(options.events, options.flow)
    with _open_engine(options, stop) as engine, _bar(flow.name, flow.size) as advance:
        session = Session(engine, None if events is None else events.write)
        splitter = LineSplitter()
        started = time.perf_counter()
        try:
            for chunk in flow.chunks(stop):
                session.feed(splitter.feed(chunk))
                advance(flow.position())
            session.feed(splitter.end() if stop.received is None else [])
        finally:  # an unreadable rest of the file does not take back what was submitted
            session.settle()
            flow.close()
            if events is not None:
                events.close()
        seconds = time.perf_counter() - started
        sequence, resting, state_hash = engine.state()
    summary = {
        "ok": session.malformed == 0,
        "sequence": sequence,
        "commands": session.commands,
        "events": session.events,
        "trades": session.trades,
        "resting_orders": resting,
        "state_hash": state_hash,
        "seconds": round(seconds, 6),
        "commands_per_second": round(session.commands / seconds) if seconds else 0,
        "malformed": session.malformed,
        "data_dir": str(options.data_dir),
    }
    _report(options, summary)
    return _status(session, stop)


def _status(session: Session, stop: StopSignals) -> int:
    if stop.received is not None:
        return SIGNALED + stop.received
    return CHECK_FAILED if session.malformed else OK


# -- Looking at a directory ----------------------------------------------------------------------


def _inspect(options: argparse.Namespace, stop: StopSignals) -> int:
    storage = inspect.open_for_reading(options.data_dir)
    with _bar(options.command, None, stop) as advance:
        match options.command:
            case "status":
                report = inspect.status(storage, advance)
            case "verify":
                report = inspect.verify(storage, advance)
            case "snapshot":
                report = inspect.write_snapshot(storage, advance, archive=options.archive)
            case "replay":
                if options.until is not None and options.until < 0:
                    raise FileProblem("--until: choose a sequence of 0 or more")
                report, state = inspect.replay(storage, options.until, advance, diff=options.diff)
            case _:
                report = {
                    **inspect.replay(storage, None, advance)[0],
                    **inspect.audit_verify(storage),
                }
    if options.command == "replay" and not options.json:
        _print_books(state.matcher)
    _report(options, report)
    return OK if report["ok"] else CHECK_FAILED


def _audit(options: argparse.Namespace) -> int:
    storage = inspect.open_for_reading(options.data_dir)
    selection = inspect.Selection(
        options.order, options.participant, options.symbol, options.since, options.until
    )
    lines = inspect.audit_lines(storage, selection)
    if options.json:
        report = inspect.replay(storage, last_audited_sequence(storage), lambda _: None)[0]
        write_to_standard_output(json.dumps(report)[:-1].encode() + b', "lines": [')
        for number, line in enumerate(lines):
            write_to_standard_output((", " * (number > 0) + json.dumps(line)).encode())
        _say("]}")
        return OK
    shown = []
    for line in lines:
        _say(inspect.sentence(line))
        if options.order is not None:
            shown.append(line)
    if shown:
        _say("")
        for row in inspect.table(shown):
            _say(row)
    return OK


def _print_books(matcher: Matcher) -> None:
    for symbol, book in matcher.books.items():
        _say(f"{symbol}: best ten levels, price x quantity (orders)")
        for side, rows in (("ask", book.asks.depth(10)[::-1]), ("bid", book.bids.depth(10))):
            for price, quantity, orders in rows:
                _say(f"  {side} {price:>12} x {quantity:<10} ({orders})")


def _report(options: argparse.Namespace, report: dict[str, Any]) -> None:
    if options.json:
        _say(json.dumps(report))
        return
    width = max(map(len, report))
    for key, value in report.items():
        shown = f"{value:,}" if type(value) is int else value
        _say(f"{key.replace('_', ' '):<{width}}  {shown}")


class _TourConsole(Console):
    """A console that treats a closed pipe like the rest of this program: see :func:`main`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _bar:  # used like a function
    """A progress bar on a terminal, nothing elsewhere; gives the function that moves it."""

    def __init__(self, label: str, total: int | None, stop: StopSignals | None = None) -> None:
        """With ``stop``, moving the bar raises ``Stopped`` once a signal came."""
        self._stop = stop
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.completed:,}"), TimeRemainingColumn(),
            console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(label, total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        return self._advance

    def _advance(self, completed: int) -> None:
        if self._stop is not None:
            self._stop.check()
        self._bar.update(self._task, completed=completed)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
