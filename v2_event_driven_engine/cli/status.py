"""`status`: what is in a data directory."""

import argparse
import time
from contextlib import suppress

from ..engine.audit.trail import AUDIT_LOG, end_of_trail
from ..engine.log import snapshot
from ..engine.log.recovery import Progress, recover
from .directory import Directory, open_for_reading, report_of
from .exits import OK
from .options import Subcommands, add_subcommand
from .output import Report, progress_bar, show
from .signals import StopSignals


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "What is in a data directory. Works beside a live engine."
    add_subcommand(commands, "status", text, status)


def status(options: argparse.Namespace) -> int:
    """Show the last sequence, the files, how the last engine ended, how far the audit is."""
    directory = open_for_reading(options.data_dir)
    with StopSignals() as stop, progress_bar("status", None, stop) as advance:
        report = _status(directory, advance)
    show(options, report)
    return OK


def _status(directory: Directory, progress: Progress) -> Report:
    trail = end_of_trail(directory.storage)  # first: beside an engine the log goes on
    state = recover(directory.log, directory.snapshots, progress=progress)
    files = directory.log.files()
    snapshots = [snapshot.sequence_of(name) for name in directory.snapshots.names()]
    aside = directory.kept_aside()
    return {
        **report_of(state),
        "durable_sequence": state.durable_sequence,
        "closed_cleanly": state.closed,
        "torn_tail": state.torn and state.torn._asdict(),
        "segments": len(files),
        "log_bytes": sum(files.values()),
        "snapshots": snapshots,
        "snapshot_age_seconds": _snapshot_age_seconds(directory),
        "commands_since_snapshot": state.matcher.sequence - max(snapshots, default=0),
        "audit_sequence": trail.sequence,
        "audit_lag": state.matcher.sequence - trail.sequence,
        "audit_bytes": directory.storage.size(AUDIT_LOG),
        "kept_aside_files": len(aside),
        "kept_aside_bytes": sum(map(directory.storage.size, aside)),
        **({"audit_problem": trail.problem} if trail.problem else {}),
    }


def _snapshot_age_seconds(directory: Directory) -> int | None:
    """Since the newest snapshot was written; None without one."""
    for name in directory.snapshots.names():
        with suppress(FileNotFoundError):  # a newer one has taken its place
            return round(time.time() - directory.storage.modified(name))
    return None
