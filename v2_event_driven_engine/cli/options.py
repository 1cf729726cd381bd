"""The options that subcommands have in common."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from .files import shown

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Function = Callable[[argparse.Namespace], int]
"""Carries out a subcommand and returns the exit status."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints a terminal shows and does not obey, whatever was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


PACKAGE = Path(__file__).resolve().parents[1]


def default_data_dir() -> Path:
    """`data/` beside `main.py`; for an installed package, a folder of the user's own (XDG)."""
    if PACKAGE.parent.name not in ("site-packages", "dist-packages"):
        return PACKAGE / "data"
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "order-matching"


def given_name(text: str) -> str:
    """The name of a file or directory as an option has it; an empty one is none."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no file and no directory; give a name")
    return text


def given_path(text: str) -> Path:
    """As `given_name`, as a path: an empty one would be the working directory."""
    return Path(given_name(text))


def add_subcommand(
    commands: Subcommands, name: str, text: str, function: Function, *, report: bool = True
) -> argparse.ArgumentParser:
    """Register a subcommand that works on a data directory; with `report` it has `--json`."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(function=function)
    parser.add_argument(
        "--data-dir", type=given_path, default=default_data_dir(), metavar="DIR",
        help="where the log, the snapshots and the audit log are (default: %(default)s)",
    )  # fmt: skip
    if report:
        parser.add_argument("--json", action="store_true", help="print one JSON object, last")
    return parser


def add_no_audit(parser: argparse.ArgumentParser) -> None:
    """`--no-audit`, for the subcommands that run an engine."""
    parser.add_argument(
        "--no-audit", action="store_true",
        help="leave the audit log to a later start, which completes it",
    )  # fmt: skip
