"""`stdio`: NDJSON on standard input and output."""

import argparse

from .files import standard_input, standard_output
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
    descriptor = standard_input()
    with StopSignals() as stop:
        write = standard_output(stop).write
        with open_engine(options, stop) as engine:
            session = Session(engine, asks(engine), write)
            converse(session, stop, descriptor)
        return exit_status(session, stop, engine)
