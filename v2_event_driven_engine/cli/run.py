"""`run`: a file of commands through the engine."""

import argparse
import time
from contextlib import suppress
from pathlib import Path

from ..engine.log.recovery import Progress
from ..engine.log.storage import ARCHIVE, DirectoryStorage
from .files import (
    EventsFile,
    FlowFile,
    Identity,
    UseOf,
    refuse_if_used,
    shown,
    unused_parent,
)
from .opening import exit_status, open_engine
from .options import Subcommands, add_no_audit, add_subcommand, given_name, given_path
from .output import Report, progress_bar, show
from .session import LineSplitter, Session, asks
from .signals import StopSignals

OF_DATA_DIRECTORY = "a file of the data directory"


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "Drive an order-flow file through the engine, on from where the log ends."
    parser = add_subcommand(commands, "run", text, run)
    parser.add_argument(
        "flow", type=given_name, metavar="FLOW",
        help="NDJSON commands; .gz, .xz; - is standard input",
    )  # fmt: skip
    parser.add_argument(
        "--events", type=given_path, metavar="OUT", help="write what stdio would print"
    )
    add_no_audit(parser)


def run(options: argparse.Namespace) -> int:
    """Submit every line of the flow and show what became of them."""
    with StopSignals() as stop:
        return _run(options, stop)


def _run(options: argparse.Namespace, stop: StopSignals) -> int:
    flow = FlowFile(options.flow, stop)
    used = _used_by_run(options, flow)
    if options.events is not None:
        check_unused(options.events, used)
    with open_engine(options, stop) as engine, progress_bar(flow.name, flow.size) as advance:
        events = None if options.events is None else EventsFile(options.events, used, stop)
        session = Session(engine, asks(engine), None if events is None else events.write)
        seconds = drive(flow, session, events, stop, advance)
        state = engine.state()
    summary = {
        "ok": session.malformed == 0,
        "sequence": state.sequence,
        "commands": session.commands,
        "events": session.events,
        "trades": session.trades,
        "resting_orders": state.resting_orders,
        "state_hash": state.state_hash,
        **pace(session, seconds),
        "malformed": session.malformed,
        "data_dir": shown(options.data_dir),
    }
    show(options, summary)
    return exit_status(session, stop, engine)


def drive(
    flow: FlowFile,
    session: Session,
    events: EventsFile | None,
    stop: StopSignals,
    advance: Progress,
) -> float:
    """Submit every line, wait for all answers and close the files; the seconds that it took."""
    splitter = LineSplitter()
    started = time.perf_counter()
    try:
        for chunk in flow.chunks():
            session.feed(splitter.feed(chunk))
            advance(flow.position())
        session.feed(splitter.end() if stop.received is None else ())
    finally:  # what was submitted stays, even if the file cannot be read to its end
        try:
            session.settle()
        finally:
            flow.close()
            if events is not None:
                events.close()
    return time.perf_counter() - started


def pace(session: Session, seconds: float) -> Report:
    """How fast it went."""
    return {
        "seconds": round(seconds, 6),
        "commands_per_second": round(session.commands / seconds) if seconds else 0,
    }


def _used_by_run(options: argparse.Namespace, flow: FlowFile) -> UseOf:
    """What a file or directory is used for by this run, or an empty text."""

    def use(file: Identity) -> str:
        if found := used_as_stream(file, flow):
            return found
        for directory in (options.data_dir, options.data_dir / ARCHIVE):
            with suppress(OSError, ValueError):  # it is missing
                status = directory.stat()
                if file == (status.st_dev, status.st_ino):
                    return OF_DATA_DIRECTORY
        kept = options.data_dir.is_dir() and DirectoryStorage(options.data_dir).identities()
        return OF_DATA_DIRECTORY if kept and file in kept else ""

    return use


def used_as_stream(file: Identity, flow: FlowFile) -> str:
    """What stream of this run a file is, or an empty text."""
    if file == flow.identity:
        return "the flow itself"
    return flow.open_before.get(file, "")


def check_unused(path: Path, used: UseOf) -> None:
    """Refuse an events file that is in use, before anything is begun.

    Raises:
        FileProblem: it is, or a directory that it would be in.
    """
    with suppress(OSError, ValueError):  # there is no such place yet, or opening it will tell
        with unused_parent(path, used):
            pass
        found = path.stat()
        refuse_if_used(shown(path), used((found.st_dev, found.st_ino)))
