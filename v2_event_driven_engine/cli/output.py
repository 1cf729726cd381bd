"""What the program shows: lines and reports on standard output, progress on a terminal."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .files import discard_standard_output, shown, write_to_standard_output
from .signals import StopSignals

Report = dict[str, Any]


def say(line: str) -> None:
    """Print one line. What standard output cannot show, or a terminal would obey, is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    write_to_standard_output(shown(line).encode(encoding, "backslashreplace") + b"\n")


def show(options: argparse.Namespace, report: Report) -> None:
    """Print a report: as one JSON object with `--json`, else as a table.

    It is the last thing that is said. If nobody reads it, the exit status still tells.
    """
    width = max(map(len, report))
    try:
        if options.json:
            say(json.dumps(report))
            return
        for key, value in report.items():
            shown = f"{value:,}" if type(value) is int else value
            say(f"{key.replace('_', ' '):<{width}}  {shown}")
    except BrokenPipeError:
        discard_standard_output()


@contextmanager
def progress_bar(
    label: str, total: int | None, stop: StopSignals | None = None
) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere; gives the function that moves it.

    With `stop`, moving the bar raises `Stopped` once a signal came.
    """

    def check(_completed: int) -> None:
        if stop is not None:
            stop.check()

    if sys.stderr is None or not sys.stderr.isatty():
        yield check
        return
    # Only now: it is a sixth of the time in which the program starts (benchmark: end_to_end).
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.completed:,}"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task(label, total=total)

    def advance(completed: int) -> None:
        check(completed)
        bar.update(task, completed=completed)

    with bar:
        yield advance
