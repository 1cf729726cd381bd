"""`stdio`: NDJSON on standard input and output."""

import argparse
import sys

from .files import FileProblem, refuse_own_input, standard_output
from .opening import exit_status, open_engine
from .options import Subcommands, add_no_audit, add_subcommand
from .session import Session, asks, converse
from .signals import StopSignals


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "NDJSON on standard input and output; a dialogue."
    add_no_audit(add_subcommand(commands, "stdio", text, stdio, report=False))


def stdio(options: argparse.Namespace) -> int:
    """Answer standard input to its end."""
    if sys.stdin is None:
        raise FileProblem("standard input: it is closed; open it")
    refuse_own_input(sys.stdin.fileno(), "standard input")
    with StopSignals() as stop:
        write = standard_output(stop).write
        with open_engine(options, stop) as engine:
            session = Session(engine, asks(engine), write)
            converse(session, stop, sys.stdin.fileno())
        return exit_status(session, stop, engine)
