"""The command line: `python -m order_flow`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from . import lobster, match_rate, synthetic
from .commands import Command, write_lines
from .errors import MalformedRow, UnusableFile
from .lobster_files import Progress

EXIT_MALFORMED = 1
EXIT_USAGE = 2
EXIT_SIGNAL = 128  # and the number of the signal
_PROGRESS_EVERY_COMMANDS = 4_096

_DESCRIPTION = """\
Turn market data into an order flow: a file of commands, one JSON object a line,
that either version of the engine runs. The flow goes to standard output."""

_EXAMPLES = """\
examples:
  A day of NASDAQ's real orders (samples: https://lobsterdata.com):
    python -m order_flow lobster LOBSTER_SampleFile_AMZN_2012-06-21_5.zip > amzn.ndjson

  A million commands, the same on every machine with seed 7:
    python -m order_flow synthetic --commands 1000000 --seed 7 > flow.ndjson

  Directly into an engine, without a file in between:
    python -m order_flow synthetic --commands 100000 --seed 7 \\
      | python v1_order_matching_engine/main.py run -

exit status: 0 all good; 1 a row of the market data is malformed (the lines before it
are written); 2 usage, or a file that cannot be opened or written; 130 or 143 stopped
by Ctrl-C or SIGTERM, after a whole line."""

_LOBSTER = """\
Convert LOBSTER's files. Submissions, reductions and deletions become new, reduce and cancel.
Executions with one time and direction become the one IOC order that caused them. Hidden
executions, crosses and halts do not reach the visible book and are left out."""

_LOBSTER_EXAMPLES = """\
examples:
  python -m order_flow lobster AAPL_2012-06-21_34200000_37800000_message_50.csv.xz \\
    --book AAPL_2012-06-21_34200000_37800000_orderbook_50.csv.xz > aapl.ndjson

  From LOBSTER's zip, with the flow compressed again:
  python -m order_flow lobster LOBSTER_SampleFile_AMZN_2012-06-21_5.zip | xz > amzn.ndjson.xz"""

_MATCH_RATE = """\
Convert LOBSTER's files, let a small book match the flow by strict price-time priority, and
report how many of NASDAQ's executions it reproduces: the same maker, price and size."""

_MATCH_RATE_EXAMPLES = """\
example:
  python -m order_flow match-rate LOBSTER_SampleFile_AMZN_2012-06-21_5.zip"""

_SYNTHETIC = """\
Draw a flow from the zero-intelligence model of Cont, Stoikov and Talreja (2010): limit orders,
market orders and cancels arrive at random at the rates they estimated. Eight participants, and
a small documented share of every instruction that the rulebook has."""

_SYNTHETIC_EXAMPLES = """\
examples:
  python -m order_flow synthetic --commands 20 --seed 1
  python -m order_flow synthetic --commands 1000000 --seed 7 --plain > plain.ndjson"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    if sys.stdout is None:
        _complain("standard output is closed; send it to a file or pipe.")
        return EXIT_USAGE
    try:
        if options.command != "synthetic":
            _refuse_own_input(options.messages, options.book)
            _say_what_is_waited_for(options.messages, options.book)
        if options.command == "match-rate":
            _print_match_rate(options)
        elif options.command == "lobster":
            with _progress(hidden=sys.stdout.isatty()) as progress:
                flow = lobster.commands(options.messages, options.book, options.symbol, progress)
                return _write(flow)
        else:
            with _progress(hidden=sys.stdout.isatty()) as progress:
                flow = synthetic.commands(options.commands, options.seed, plain=options.plain)
                return _write(_counted(flow, options.commands, progress))
    except UnusableFile as error:
        _complain(str(error))
        return EXIT_USAGE
    except MalformedRow as error:
        _complain(str(error))
        return EXIT_MALFORMED
    except BrokenPipeError:
        _discard_output()  # the reader of the flow has closed the pipe
    except OSError as error:
        _complain(f"standard output: {error.strerror}.")
        _discard_output()
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT
    return 0


class _Stopped(Exception):
    """A signal came while the next command was being made."""


class _PatientOutput(io.FileIO):
    """Standard output, also where somebody has made it non-blocking: it waits for its reader."""

    def write(self, data: Any) -> int:
        while True:
            count: int | None = super().write(data)
            if count is not None:
                return count
            waiting = select.poll()
            waiting.register(self.fileno(), select.POLLOUT)
            waiting.poll()


def _complain(message: str) -> None:
    """Say it on standard error, if there is one; `print` would take standard output instead."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"order_flow: {_shown(message)}", file=sys.stderr, flush=True)


def _shown(text: str) -> str:
    """A text for people: what is no text, or what a terminal would obey, is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _refuse_own_input(*paths: str | None) -> None:
    """Refuse to write the flow to a file that it is made from: it would grow without end.

    Raises UnusableFile.
    """
    output = os.fstat(sys.stdout.fileno())
    for path in paths:
        with contextlib.suppress(OSError, ValueError):  # whoever opens it will say so
            if (
                path is not None
                and stat.S_ISREG(output.st_mode)
                and os.path.samestat(Path(path).stat(), output)
            ):
                raise UnusableFile(
                    f"{path}: standard output goes to the same file; send it to another one."
                )


def _say_what_is_waited_for(*paths: str | None) -> None:
    """Tell a person at a terminal that it is a pipe or a terminal that is read."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):  # whoever opens it will say so
            if path is not None and _at_a_terminal() and not Path(path).is_file():
                mode = Path(path).stat().st_mode
                if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
                    _complain(f"reading {path}, and waiting for its rows")


def _at_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _write(flow: Iterable[Command]) -> int:
    """Write the flow to standard output; return the exit status.

    The first SIGINT or SIGTERM ends the flow after a whole line. A second one kills at once:
    the reader of the pipe may have stopped reading.
    """
    received: list[int] = []
    making = False

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        if making:  # perhaps it waits for market data, and no line is half written
            raise _Stopped

    def until_stopped() -> Iterator[Command]:
        nonlocal making
        with contextlib.suppress(_Stopped):
            making = True
            for command in flow:
                making = False
                if received:
                    return
                yield command
                making = True
                if received:
                    return
        making = False

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # Not sys.stdout.buffer: under PYTHONUNBUFFERED that one may write a part and leave it there.
    with io.BufferedWriter(_PatientOutput(sys.stdout.fileno(), "wb", closefd=False)) as stream:
        write_lines(until_stopped(), stream)
    return EXIT_SIGNAL + received[0] if received else 0


def _discard_output() -> None:
    """Discard what is still buffered: flushing it at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints a terminal shows and does not obey, whatever was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(_shown(message))


def _file_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no file; give a name")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = _teaching_parser(
        _Parser, prog="python -m order_flow", text=_DESCRIPTION, examples=_EXAMPLES
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    convert = _teaching_parser(
        subparsers.add_parser,
        "lobster",
        help="convert NASDAQ order flow from LOBSTER's files",
        text=_LOBSTER,
        examples=_LOBSTER_EXAMPLES,
    )
    measure = _teaching_parser(
        subparsers.add_parser,
        "match-rate",
        help="compare NASDAQ's executions with strict price-time priority",
        text=_MATCH_RATE,
        examples=_MATCH_RATE_EXAMPLES,
    )
    for reader in (convert, measure):
        reader.add_argument(
            "messages",
            type=_file_name,
            metavar="MESSAGES",
            help="message file: .csv, .csv.gz, .csv.xz, or LOBSTER's .zip with both files in it",
        )
        reader.add_argument(
            "--book",
            type=_file_name,
            metavar="ORDERBOOK",
            help="order book file, whose first row seeds the book (default: the one in the zip; "
            "without any the book starts empty)",
        )
        reader.add_argument("--symbol", help="default: the message file's name up to its first '_'")

    draw = _teaching_parser(
        subparsers.add_parser,
        "synthetic",
        help="draw a flow from a seeded stochastic model",
        text=_SYNTHETIC,
        examples=_SYNTHETIC_EXAMPLES,
    )
    draw.add_argument(
        "--commands", type=_at_least(1), required=True, metavar="N", help="how many, 1 or more"
    )
    draw.add_argument(
        "--seed", type=_at_least(0), required=True, metavar="S", help="0 or more; same S, same flow"
    )
    draw.add_argument(
        "--plain", action="store_true", help="only what the paper has: limit, market, cancel"
    )
    return parser


def _teaching_parser(
    make: Callable[..., argparse.ArgumentParser],
    *positional: str,
    text: str,
    examples: str,
    **named: str,
) -> argparse.ArgumentParser:
    return make(
        *positional,
        description=text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **named,
    )


def _at_least(minimum: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {minimum} or more")
        return number

    return whole_number


def _print_match_rate(options: argparse.Namespace) -> None:
    with _progress(hidden=False) as progress:
        result = match_rate.measure(options.messages, options.book, options.symbol, progress)
    print(f"{result.symbol}: {result.executions:,} executions by {result.aggressors:,} aggressors")
    for label, count in (
        ("same maker, price and size", result.reproduced),
        ("another maker had priority", result.other_maker),
        ("maker was never in the file", result.maker_unseen),
    ):
        share = count / result.executions if result.executions else 0.0
        print(f"  {label:<28}{count:>9,}{share:>9.2%}")
    sys.stdout.flush()


@contextlib.contextmanager
def _progress(*, hidden: bool) -> Iterator[Progress | None]:
    """A bar on standard error, if that is a terminal; called with the share done, 0.0 to 1.0."""
    if hidden or not _at_a_terminal():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 (only when there is a terminal to draw on)
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("order flow", total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


def _counted(flow: Iterator[Command], total: int, progress: Progress | None) -> Iterator[Command]:
    if progress is None:
        yield from flow
        return
    for number, command in enumerate(flow, 1):
        if number % _PROGRESS_EVERY_COMMANDS == 0:
            progress(number / total)
        yield command


if __name__ == "__main__":
    sys.exit(main())
