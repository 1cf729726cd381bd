"""`snapshot`: write the state down, so that the next start is faster."""

import argparse

from ..engine.event_log import Place
from ..engine.log.recovery import take_snapshot
from .directory import open_for_reading, report_of
from .exits import OK
from .options import Subcommands, add_subcommand
from .output import progress_bar, show
from .signals import StopSignals


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "Write the state down, so that the next start is faster."
    parser = add_subcommand(commands, "snapshot", text, snapshot)
    parser.add_argument(
        "--archive", action="store_true",
        help="move segments that no kept snapshot needs, and what was kept aside, to archive/, "
        "where they are still found",
    )  # fmt: skip


def snapshot(options: argparse.Namespace) -> int:
    """Write a snapshot; with `--archive` move what a start no longer needs."""
    directory = open_for_reading(options.data_dir)
    log, snapshots = directory.log, directory.snapshots
    with StopSignals() as stop, progress_bar("snapshot", None, stop) as advance:
        state, name = take_snapshot(log, snapshots, progress=advance)
        report = {**report_of(state), "file": str(directory.storage.path / name)}
        if options.archive:
            places = [Place(found.place) for _, found in snapshots.readable()]
            segments = log.archive_before(places[-1]) if places else []
            report["archived"] = segments + [
                name for name in directory.kept_aside() if directory.storage.archive(name)
            ]
    show(options, report)
    return OK
