"""The command line of V1: the tour, `run` and `stdio`.

    python main.py                     the tour: threads, the lock, the replay; a few seconds
    python main.py run FLOW            drive a file of commands through the engine
    python main.py stdio               NDJSON in, NDJSON out, as a dialogue
    python main.py run --help          what a command is and what comes out

This file alone prints, exits and handles signals; the library beside it does none of that.
"""

if not __package__:
    # Run as a script: make this folder a package under its own name, wherever it was copied to, so
    # that the relative imports below work as they do with `python -m` (PEP 366).
    import sys
    from importlib import import_module
    from pathlib import Path

    _folder = Path(__file__).resolve().parent
    if "." in _folder.name:
        sys.exit(f"{_folder}: a folder whose name has a '.' cannot be imported; please rename it")
    sys.path.insert(0, str(_folder.parent))
    __package__ = _folder.name
    import_module(__package__)

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .dialogue import Dialogue
from .engine.matcher import MatchingEngine
from .errors import StreamError
from .tour import show_tour
from .utils.metrics import per_second
from .utils.signals import GracefulStop, StopRequested
from .utils.streams import STANDARD, AnswerWriter, FlowReader

EXIT_GOOD = 0
EXIT_MALFORMED_OR_FAILED = 1
EXIT_USAGE = 2

_DESCRIPTION = """\
An order matching engine: price-time priority, one lock around everything.

Without a subcommand it gives a tour: several threads hammer one book, and a replay in one thread
proves that the order in which they won the lock reproduces every event. It takes a few seconds.
"""

_INTERFACE = """\
one JSON object a line; prices in ticks, quantities in lots, both integers:
  {"command":"list_instrument","symbol":"AAPL","tick_size":"0.01","lot_size":"1"}
  {"command":"new","order_id":1,"participant":7,"symbol":"AAPL","side":"SELL",
   "type":"LIMIT","price":10125,"quantity":5}                       (on one line)
     and, if wanted: "time_in_force" GTC, IOC or FOK; "post_only" true;
     "self_trade_prevention" NONE, CANCEL_TAKER, CANCEL_MAKER or CANCEL_BOTH
  {"command":"cancel","order_id":1,"participant":7}
  {"command":"reduce","order_id":1,"participant":7,"by":2}
  {"command":"replace","order_id":1,"participant":7,"price":10130,"quantity":3}
  {"command":"mass_cancel","participant":7,"symbol":null}
  {"query":"state"}   {"query":"order","order_id":1}   {"query":"book","symbol":"AAPL"}

exit status:
  0 all good              1 finished, but met malformed lines
  2 usage, or a file that cannot be opened or read
  130 stopped by Ctrl-C   143 stopped by SIGTERM
"""


class Summary(NamedTuple):
    """What a run did, field by field as `--json` prints it."""

    commands: int  # sequenced by this run
    events: int
    trades: int
    resting_orders: int
    state_hash: str
    seconds: float
    commands_per_second: float
    malformed: int

    def as_text(self, name: str) -> str:
        """The same for people."""
        rows = (
            ("commands", f"{self.commands:,}"),
            ("events", f"{self.events:,}"),
            ("trades", f"{self.trades:,}"),
            ("resting orders", f"{self.resting_orders:,}"),
            ("malformed lines", f"{self.malformed:,}"),
            ("seconds", f"{self.seconds:.2f}, {self.commands_per_second:,.0f} commands a second"),
            ("state hash", self.state_hash),
        )
        return "\n".join([name, *(f"  {label:<16} {value}" for label, value in rows)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return the exit status."""
    stop = GracefulStop()
    stop.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are no text; show them escaped rather than fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _dispatch(arguments, stop)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has had enough. That is no failure.
        _abandon_standard_output()
        return EXIT_GOOD
    except StopRequested:
        return stop.exit_status
    except StreamError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:  # files have their StreamError, so this is a print that failed
        print(f"main.py: cannot write standard output: {error.strerror}", file=sys.stderr)
        _abandon_standard_output()
        return EXIT_USAGE
    return status


def _dispatch(arguments: Sequence[str] | None, stop: GracefulStop) -> int:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as leaving:  # argparse has printed its help or its complaint
        return int(leaving.code or 0)
    command: Callable[[argparse.Namespace, GracefulStop], int] = options.function
    return command(options, stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description=_DESCRIPTION,
        epilog=_INTERFACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=_tour)
    subcommands = parser.add_subparsers(title="subcommands", metavar="{run,stdio}")

    run = subcommands.add_parser(
        "run",
        help="drive a file of NDJSON commands through the engine",
        description="Drive a file of NDJSON commands through a new engine and sum up what it did.",
        epilog=_INTERFACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "flow", metavar="FLOW", help="the file; .gz and .xz are read directly; - stdin"
    )
    run.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    run.add_argument("--events", metavar="OUT", help="write what `stdio` would print; - stdout")
    run.set_defaults(function=_run)

    stdio = subcommands.add_parser(
        "stdio",
        help="read NDJSON from standard input and answer on standard output",
        description="Answer NDJSON commands and queries as they come, until the input ends.",
        epilog=_INTERFACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stdio.set_defaults(function=_stdio)
    return parser


def _tour(options: argparse.Namespace, stop: GracefulStop) -> int:
    # Nothing here outlives the tour, so it may be interrupted anywhere.
    with stop.waiting():
        proved = show_tour()
    return EXIT_GOOD if proved else EXIT_MALFORMED_OR_FAILED


def _stdio(options: argparse.Namespace, stop: GracefulStop) -> int:
    dialogue = Dialogue(MatchingEngine())
    with FlowReader(STANDARD) as reader, AnswerWriter(STANDARD, flow=reader) as writer:
        dialogue.hold(reader, writer, stop)
    return EXIT_MALFORMED_OR_FAILED if dialogue.malformed else EXIT_GOOD


def _run(options: argparse.Namespace, stop: GracefulStop) -> int:
    dialogue = Dialogue(MatchingEngine())
    stopped = False
    with ExitStack() as stack:
        with stop.waiting():  # opening a named pipe may wait for its other end
            reader = stack.enter_context(FlowReader(options.flow))
            writer = None
            if options.events is not None:
                writer = stack.enter_context(AnswerWriter(options.events, flow=reader))
        # A bar and events on one terminal would only write over each other.
        quiet = options.events == STANDARD
        after_chunk = (lambda: None) if quiet else _progress(stack, reader)
        started = time.perf_counter()
        try:
            dialogue.hold(reader, writer, stop, after_chunk)
        except StopRequested:
            stopped = True
        seconds = time.perf_counter() - started

    state = dialogue.engine.state()
    summary = Summary(
        commands=dialogue.commands,
        events=dialogue.events,
        trades=dialogue.engine.trades,
        resting_orders=state.resting_orders,
        state_hash=state.state_hash,
        seconds=round(seconds, 6),
        commands_per_second=round(per_second(dialogue.commands, seconds), 1),
        malformed=dialogue.malformed,
    )
    if options.json:
        print(json.dumps(summary._asdict()))
    else:
        # Where the events have standard output, people are told beside it.
        beside = sys.stderr if options.events == STANDARD else sys.stdout
        print(summary.as_text(f"stopped: {reader.name}" if stopped else reader.name), file=beside)
    if stopped:
        return stop.exit_status
    return EXIT_MALFORMED_OR_FAILED if dialogue.malformed else EXIT_GOOD


def _progress(stack: ExitStack, reader: FlowReader) -> Callable[[], None]:
    """Show a bar on standard error if that is a terminal; return what moves it on."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return lambda: None
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    stack.enter_context(progress)
    total = reader.total_bytes
    task = progress.add_task("running", total=total)
    if total is None:
        return lambda: None
    return lambda: progress.update(task, completed=reader.position_bytes)


def _abandon_standard_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's own flush cannot fail."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
