"""The command line of V1: the tour, `run` and `stdio`.

    python main.py                     the tour: threads, the lock, the replay; a few seconds
    python main.py run FLOW            drive a file of commands through the engine
    python main.py stdio               NDJSON in, NDJSON out, answered at once
    python main.py run --help          what a command is and what comes out

Exit status and subcommands are decided here; the engine never prints, exits or handles a signal.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports: an end, no traceback

if not __package__:
    # Run as a script: import this folder as a package under its own name, wherever it was copied,
    # so that the relative imports below work as they do with `python -m` (PEP 366).
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
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from typing import NamedTuple, NoReturn

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .engine.matching_engine import MatchingEngine
from .errors import StreamError
from .utils.files import STANDARD, EventsFile, FlowFile, patient_standard_output, shown
from .utils.metrics import per_second
from .utils.session import Session
from .utils.signals import GracefulStop, StopRequested
from .utils.tour import show_tour

EXIT_GOOD = 0
EXIT_MALFORMED_OR_FAILED = 1
EXIT_USAGE = 2

_DESCRIPTION = """\
An order matching engine: price-time priority, one lock around everything.

Without a subcommand it shows a tour: several threads send orders to one book, and a replay in one
thread proves that the order in which they won the lock gives every event again. It takes a few
seconds.
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
        """The same as lines for people, under the name of the flow."""
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


def main(arguments: Sequence[str] | None = None, program: str = "main.py") -> int:
    """Carry out one command line and return the exit status."""
    _fill_closed_descriptors()
    stop = GracefulStop()
    stop.install()
    status = EXIT_GOOD
    with redirect_stdout(patient_standard_output(stop) or sys.stdout):
        try:
            status = _dispatch(arguments, stop, program)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the output has gone. That is not a failure, nor does it undo one.
            _abandon_standard_output()
            return status
        except StopRequested:
            _abandon_standard_output()
            return stop.exit_status
        except StreamError as error:
            _complain(program, str(error))
            return EXIT_USAGE
        except OSError as error:  # a file raises StreamError, so this is a `print`
            _complain(program, f"cannot write standard output: {error.strerror}")
            _abandon_standard_output()
            return EXIT_USAGE
        return status


def console() -> int:
    """The same as an installed command."""
    return main(program="order-matching-v1")


def _dispatch(arguments: Sequence[str] | None, stop: GracefulStop, program: str) -> int:
    try:
        options = _parser(program).parse_args(arguments)
    except SystemExit as leaving:  # argparse has printed its help or its error
        return int(leaving.code or 0)
    if sys.stdout is None:
        raise StreamError("cannot open standard output: it is closed")
    command: Callable[[argparse.Namespace, GracefulStop], int] = options.function
    return command(options, stop)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints a terminal shows and does not obey, whatever was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def _file_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no file; give a name")
    return text


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description=_DESCRIPTION,
        epilog=_INTERFACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=_tour)
    subcommands = parser.add_subparsers(title="subcommands", metavar="{run,stdio}")

    run = subcommands.add_parser(
        "run",
        help="drive a file of NDJSON commands through the engine",
        description="Drive a file of NDJSON commands through a new engine and print a summary.",
        epilog=_INTERFACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "flow", type=_file_name, metavar="FLOW",
        help="the file; .gz and .xz are read directly; - stdin",
    )  # fmt: skip
    run.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    run.add_argument(
        "--events", type=_file_name, metavar="OUT", help="write what `stdio` would print; - stdout"
    )
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
    # Nothing of the tour is kept, so a signal may interrupt it anywhere.
    with stop.waiting():
        proved = show_tour()
    return EXIT_GOOD if proved else EXIT_MALFORMED_OR_FAILED


def _stdio(options: argparse.Namespace, stop: GracefulStop) -> int:
    session = Session(MatchingEngine())
    with FlowFile(STANDARD, stop) as flow, EventsFile(STANDARD, stop, flow=flow) as events:
        session.run(flow, events, stop)
    return EXIT_MALFORMED_OR_FAILED if session.malformed else EXIT_GOOD


def _run(options: argparse.Namespace, stop: GracefulStop) -> int:
    session = Session(MatchingEngine())
    stopped = False
    with ExitStack() as stack:
        flow = stack.enter_context(FlowFile(options.flow, stop))
        events = None
        if options.events is not None:
            with stop.waiting():  # opening a named pipe waits for its reader
                events = stack.enter_context(EventsFile(options.events, stop, flow=flow))
        # A progress bar and events on one terminal would write over each other.
        quiet = options.events == STANDARD
        after_chunk = (lambda: None) if quiet else _progress(stack, flow)
        started = time.perf_counter()
        try:
            session.run(flow, events, stop, after_chunk)
        except StopRequested:
            stopped = True
        seconds = time.perf_counter() - started

    state = session.engine.state()
    summary = Summary(
        commands=session.commands,
        events=session.events,
        trades=session.engine.trades,
        resting_orders=state.resting_orders,
        state_hash=state.state_hash,
        seconds=round(seconds, 6),
        commands_per_second=round(per_second(session.commands, seconds), 1),
        malformed=session.malformed,
    )
    if options.json:
        print(json.dumps(summary._asdict()))
    else:
        # If the events go to standard output, the summary for people goes to standard error.
        text = summary.as_text(f"stopped: {flow.name}" if stopped else flow.name)
        if options.events == STANDARD:
            _say_on_standard_error(text)
        else:
            print(text)
    if stopped:
        return stop.exit_status
    return EXIT_MALFORMED_OR_FAILED if session.malformed else EXIT_GOOD


def _progress(stack: ExitStack, flow: FlowFile) -> Callable[[], None]:
    """Show a bar on standard error if it is a terminal; return a function that moves it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return lambda: None
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    stack.enter_context(progress)
    total = flow.total_bytes
    task = progress.add_task("running", total=total)
    if total is None:
        return lambda: None
    return lambda: progress.update(task, completed=flow.position_bytes)


def _fill_closed_descriptors() -> None:
    """Open the null device in the place of every standard stream that is closed.

    Otherwise the next file that is opened would become standard input, output or error. Python has
    seen before that they are closed: `sys.stdin` and its kind are None.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _complain(program: str, message: str) -> None:
    _say_on_standard_error(f"{program}: {shown(message)}")


def _say_on_standard_error(text: str) -> None:
    """Print on standard error if that is possible."""
    if sys.stderr is not None:  # `print` would take standard output instead
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def _abandon_standard_output() -> None:
    """Discard what is still buffered, so that the interpreter's own flush cannot fail."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
