"""The command line of V2: ``python main.py --help``.

Works from any folder and under any folder name: where Python was not told which package this file
belongs to, the package is imported by the name of the folder (PEP 366).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports: an end, no traceback

if not __package__:
    folder = Path(__file__).resolve().parent
    if "." in folder.name:
        sys.exit(f"{folder}: Python cannot import a folder whose name has a dot; rename it")
    sys.path.insert(0, str(folder.parent))
    __package__ = folder.name
    __import__(__package__)

import argparse
import gc
import io
import json
from contextlib import suppress

from .cli import audit, cluster, replay, run, snapshot, status, stdio, tour, verify
from .cli.exits import OK, SIGNALED, UNUSABLE_DATA, UNUSABLE_INPUT
from .cli.files import FileProblem, complain, discard_standard_output
from .cli.options import Function, Parser
from .cli.output import say
from .cli.signals import Stopped
from .errors import EngineError

MAIN = "main.py"
SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the interpreter from the writer when its sync has returned. Python's
default of 5 ms would be paid on every batch while another thread computes."""

DESCRIPTION = """\
Order matching engine, V2: many producers, one queue, one writer, and a write-ahead log.
Without a subcommand: a tour of a few seconds that needs nothing and leaves nothing.
"""
EPILOG = """\
examples:
  {run:<48} the tour
  {run} run flow.ndjson.xz --json         drive a file through the engine
  {run} stdio --data-dir /tmp/engine      hold a dialogue: one JSON object a line
  {run} replay --until 1000               the book as it was after command 1000
  {run} audit --order 42                  the life of order 42

one line in:   {{"command": "new", "order_id": 1, "participant": 7, "symbol": "AAPL", "side": "BUY",
                "type": "LIMIT", "price": 10125, "quantity": 100}}
               after {{"command": "list_instrument", "symbol": "AAPL", "tick_size": "0.01",
                "lot_size": "1"}}; the other commands are in README.md

exit status:   0 all good; 1 malformed lines or a failed check; 2 usage, or a file that cannot be
               opened; 3 the data directory is damaged, in use or not usable; 130 / 143 after
               SIGINT / SIGTERM, with everything answered in the log
"""


def parser(program: str, *, whole: bool = True) -> argparse.ArgumentParser:
    """The command line of `program`; unless `whole`, without what `cluster` has below it."""
    run_by = f"python {MAIN}" if program == MAIN else program
    top: argparse.ArgumentParser = Parser(
        prog=program,
        description=DESCRIPTION,
        epilog=EPILOG.format(run=run_by),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.set_defaults(function=tour.tour, program=program, run_by=run_by)
    commands = top.add_subparsers(metavar="COMMAND")
    for each in (run, stdio, status, verify, replay, audit, snapshot, tour):
        each.add(commands)
    cluster.add(commands, whole=whole)
    return top


def main(arguments: list[str], program: str = MAIN) -> int:
    """Run one command line and return its exit status."""
    options = argparse.Namespace(program=program)
    for stream in (sys.stdout, sys.stderr):  # what an encoding cannot show is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        options = parser(program, whole="cluster" in arguments).parse_args(arguments)
        carry_out: Function = options.function
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        gc.disable()  # while a log is replayed nearly everything made stays: nothing to collect
        return carry_out(options)
    except Stopped as stopped:
        return SIGNALED + stopped.number
    except KeyboardInterrupt:
        return SIGNALED + signal.SIGINT
    except FileProblem as error:
        return _complain(options, str(error), UNUSABLE_INPUT)
    except BrokenPipeError:
        discard_standard_output()
        return OK
    except (EngineError, OSError, MemoryError) as error:
        return _complain(options, str(error) or "there is too little memory", UNUSABLE_DATA)


def console() -> int:
    """The same as an installed command."""
    return main(sys.argv[1:], "order-matching")


def _complain(options: argparse.Namespace, message: str, status: int) -> int:
    if getattr(options, "json", False):
        with suppress(FileProblem, BrokenPipeError):  # it is standard output that fails, perhaps
            say(json.dumps({"ok": False, "error": message, "sequence": None, "state_hash": None}))
    complain(options.program, message)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
