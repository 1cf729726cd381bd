"""`verify`: replay everything and compare; and the check of the audit trail."""

import argparse

from ..engine.audit.trail import BadLine, verify_against_log, verify_chain
from ..engine.log import snapshot
from ..engine.log.recovery import Progress, Recovered, earliest_start, follow, snapshot_of
from ..engine.log.snapshot import Snapshots
from ..errors import StoreError
from .directory import Directory, open_for_reading, report_of
from .exits import CHECK_FAILED, OK
from .options import Subcommands, add_subcommand
from .output import Report, progress_bar, show
from .signals import StopSignals


def add(commands: Subcommands) -> None:
    """Register the subcommand."""
    text = "Replay everything and compare; check every checksum and the audit chain."
    add_subcommand(commands, "verify", text, verify)


def verify(options: argparse.Namespace) -> int:
    """Read every byte, replay every command and compare every recorded event; check each snapshot
    and every line of the audit trail against the log."""
    directory = open_for_reading(options.data_dir)
    with StopSignals() as stop, progress_bar("verify", None, stop) as advance:
        report = _verify(directory, advance)
    show(options, report)
    return OK if report["ok"] else CHECK_FAILED


def _verify(directory: Directory, progress: Progress) -> Report:
    log, snapshots = directory.log, directory.snapshots
    state = earliest_start(log, snapshots)
    problems: dict[str, str | None] = dict.fromkeys(snapshots.names())
    """What is wrong with each snapshot, once the replay has come to its place; empty if nothing."""

    def reached(sequence: int) -> None:
        name = snapshot.name_of(sequence)
        if name in problems and problems[name] is None:
            problems[name] = _problem(snapshots, name, state)
        progress(sequence)

    reached(state.matcher.sequence)
    follow(log, state, progress=reached)
    report = {**report_of(state), "commands_verified": state.commands_replayed}
    for name, problem in problems.items():
        if problem is None:
            return {**report, "ok": False, "error": f"{name}: not the state of that sequence"}
        if problem:
            return {**report, "ok": False, "error": problem}
    if state.snapshot_sequence:  # the log does not begin with the first command any more
        return {**report, **chain_report(directory)}
    return {**report, **_trail_report(directory, *verify_against_log(directory.storage, log))}


def _problem(snapshots: Snapshots, name: str, state: Recovered) -> str | None:
    """In what a snapshot differs from the replay, or an empty text; None at another place."""
    try:
        found = snapshots.read(name)
        matcher = snapshot.restore(found)
    except FileNotFoundError:
        return ""  # a newer one has taken its place
    except StoreError as error:
        return str(error)
    if found.place != state.place:
        return None
    field = snapshot.difference(found, matcher, snapshot_of(state), state.matcher)
    return f"{name}: {field}: not as a replay of the log has it" if field else ""


def chain_report(directory: Directory) -> Report:
    """Whether the hash chain of the audit trail is whole."""
    return _trail_report(directory, *verify_chain(directory.storage))


def _trail_report(directory: Directory, lines: int, bad: BadLine | None) -> Report:
    """How a check of the audit trail ended."""
    if bad is None:
        return {"ok": True, "audit_lines": lines}
    return {
        "ok": False,
        "audit_lines": lines,
        "error": f"{directory.audit_log}: line {bad.line}: {bad.problem}; to have the trail "
        f"rebuilt from the log, move this file away and start the engine",
    }
