"""The faults that the log must survive, and its answer to each: the table of the documentation.

A test that proves a row says so with ``@proves("row")``. ``python -m
v2_event_driven_engine.tests.faults`` writes the table from the tests; a test fails when a row has
no test or the published table is not the generated one.

STOP: answer nothing more, say why, leave a log that recovers. REFUSE: do not start, exit with 3,
name file, offset and sequence, change nothing.
"""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

FAULTS = {
    "kill": (
        "kill -9 at any system call, also during recovery",
        "every answered command survives, once; the state is an exact prefix of what was sent",
    ),
    "torn write": (
        "a write torn at any byte of the last batch",
        "the unanswered batch is dropped, reported, and kept aside",
    ),
    "power": (
        "power loss: what was not synced is kept, lost, zeroed or garbage, sector by sector",
        "nothing after the first hole is applied; the end is at least the last answer",
    ),
    "power cut": (
        "an ext4 file system shut down again and again, its journal not flushed, while the engine, "
        "its audit process and snapshots write",
        "every answered command survives, once; the next start is not refused, its trail is whole",
    ),
    "sparse": (
        "a file of gigabytes or a terabyte, most of it a hole; sizes, counts and lengths that lie, "
        "with a good checksum",
        "refused or passed over with a typed error, in bounded memory and time",
    ),
    "kept aside": (
        "a torn tail, or a damaged end of the audit log, is put aside",
        "its bytes are durable before they are cut off; counted by status, moved by snapshot "
        "--archive",
    ),
    "beside others": (
        "a snapshot, a segment or the trail is removed, archived, replaced or mended while a "
        "program reads it",
        "no false alarm",
    ),
    "zeros": ("a tail of zeros", "a clean end"),
    "cut": ("a file cut short anywhere", "REFUSE"),
    "bit flip": ("a flipped bit anywhere before the last batch, headers included", "REFUSE"),
    "bit flip in the last batch": (
        "a flipped bit in the last batch",
        "REFUSE if a seal, a snapshot or the audit log attests it; else dropped and reported",
    ),
    "order of batches": ("a batch doubled, swapped or missing", "REFUSE"),
    "missing segment": ("a segment is missing", "REFUSE"),
    "last segments": (
        "the last segments are missing, any number of them",
        "REFUSE: a finished segment says, durably, that the log goes on",
    ),
    "foreign segment": (
        "a segment of a copy of the directory in the place of the right one",
        "REFUSE: a finished segment names the generation of the next",
    ),
    "before a snapshot": (
        "damage in the segment of the newest snapshot, before its place; older segments missing, "
        "cut or exchanged",
        "REFUSE; other damage of older segments is found by verify",
    ),
    "events alone": (
        "a flipped bit in a batch of events alone, before the last commands",
        "REFUSE; the commands after it are never taken for unanswered",
    ),
    "events alone at the end": (
        "a flipped bit in a batch of events alone, with nothing after it",
        "dropped and reported; no command is lost, and replay gives the events again",
    ),
    "end of zeros": (
        "the end of the last segment became zeros",
        "REFUSE if a seal, a snapshot or the audit log attests it; else taken for the end",
    ),
    "crash loop": (
        "a start that is killed before its first command, again and again",
        "the empty segment is used again; nothing grows",
    ),
    "snapshot gap": ("the log ends before, or is not the one of, the snapshot", "REFUSE"),
    "old generation": ("bytes of an older generation where a batch should be", "never validate"),
    "failed call": (
        "EIO or ENOSPC from the N-th call, once or for ever; a file size limit",
        "STOP before any answer; a restart loses nothing",
    ),
    "rotation": (
        "the next segment cannot be made: the disk is full",
        "STOP; nothing unfinished stays, no descriptor is closed twice; a restart goes on",
    ),
    "failed start": (
        "a start that fails: a full disk, damage, a directory in use",
        "REFUSE; no file, thread, descriptor or lock is left",
    ),
    "short write": ("the system writes less than asked", "the write is finished"),
    "failed sync": (
        "EIO from fdatasync",
        "STOP; no retry; a restart writes the segment anew instead of trusting the page cache",
    ),
    "directory": (
        "a name not yet durable after create or rename",
        "the directory is synced before the name is relied on",
    ),
    "two engines": (
        "a second engine on the directory, in another process or in this one",
        "refused at once; the first is unharmed",
    ),
    "readers": (
        "status, verify, replay and audit on a live or read-only directory",
        "they work and change nothing",
    ),
    "clock": ("the clock steps back", "time stands still; replay reads no clock"),
    "snapshot damage": (
        "a partial, damaged or too new snapshot",
        "an older one and a longer replay, with a warning; two that can be read are kept",
    ),
    "snapshot name": (
        "a snapshot under the name of another sequence",
        "not believed: as a damaged one",
    ),
    "snapshot lies": (
        "a snapshot that lies outside of its state hash, with a good checksum",
        "passed over, or REFUSE, if it contradicts itself or the log at its place; else a start "
        "believes it, and verify names the field",
    ),
    "two snapshots": (
        "two snapshots are taken at once, or one was never finished",
        "each has a temporary name of its own; what was abandoned is removed",
    ),
    "archive elsewhere": (
        "the archive is on another file system",
        "copied and synced there before the original goes",
    ),
    "permission": ("permission denied", "REFUSE, touch nothing"),
    "unknown": (
        "an unknown record, format or rulebook version with a good checksum",
        "REFUSE with a typed error",
    ),
    "old format": (
        "a log or a snapshot of an older version",
        "read, compared and gone on with",
    ),
    "hostile bytes": (
        "bytes that lie about themselves, with a good checksum: counts, lengths, depth",
        "refused or passed over with a typed error, in bounded time and memory",
    ),
    "divergence": ("replay gives other events than were recorded", "REFUSE at the first of them"),
    "poison": (
        "a command that makes the matcher fail",
        "STOP; the log is intact; verify names the command",
    ),
    "queue full": (
        "the queue is full",
        "BUSY before a sequence is given; nothing is dropped after",
    ),
    "audit behind": (
        "the audit log torn, missing or behind",
        "completed from the log, each event exactly once",
    ),
    "another directory": (
        "the working directory changes, or the data directory is renamed and its name taken",
        "the engine and its audit process stay in the directory that was opened",
    ),
    "segment gone": (
        "the segment is removed, renamed or replaced while the engine runs, or the directory "
        "removed",
        "STOP before any answer",
    ),
    "privacy": (
        "other users of the machine",
        "new files are 0640, a new directory 0750, or tighter by the umask",
    ),
    "standard descriptors": (
        "standard input, output or error is closed",
        "no file of the log ever gets one of their numbers",
    ),
    "fork": (
        "the process forks",
        "the child's engine is closed and holds nothing; the parent's is unharmed",
    ),
    "audit process": (
        "the audit process is killed, hangs, is told to stop, or finds foreign modules",
        "started again and reported; closing takes a minute at most, the directory is free before",
    ),
    "audit full": (
        "the disk is full, or a sync fails, for the audit log alone",
        "the engine goes on; reported, exit status 1; the next start completes the trail",
    ),
    "long size": ("a tick size of 200,000 digits", "looked at once, in bounded time"),
    "long line": (
        "a line of more than 65,536 bytes, or without an end",
        "malformed; the stream goes on, and what follows in the line is not kept",
    ),
    "other kind of file": (
        "a FIFO or a directory in the place of a file, a file in that of the directory",
        "never waited for; as if it were missing, or refused with a typed error",
    ),
    "streams": (
        "an output that is slow or non-blocking; an input that is idle, a FIFO or closed",
        "waited for, or refused in one sentence; every answer arrives whole",
    ),
    "signals": (
        "SIGINT or SIGTERM while the program waits for input or for a reader",
        "ends at once, with whole answers and the log closed cleanly",
    ),
    "output onto input": (
        "events to be written over the flow, a stream that is in use, or a file of the log",
        "refused before anything is emptied",
    ),
    "names and limits": (
        "file names that are no UTF-8, more than 1,024 open descriptors, no room for files",
        "as usual, or refused in one sentence",
    ),
    "audit damaged": (
        "zeros, other bytes, foreign or endless lines in the audit log since its last seal but "
        "one; a folder, a link, a pipe or a file of somebody else in its place",
        "kept aside, reported, and completed from the log; a start is never refused for it",
    ),
    "audit without its past": (
        "the audit log lost, and the log's beginning taken away",
        "the trail goes on from the oldest snapshot, reported",
    ),
    "audit ahead": ("the audit log knows of more than the log has", "REFUSE"),
    "audit edited": (
        "the audit log edited; lines deleted, inserted, reordered",
        "audit --verify names the first bad line",
    ),
    "audit rewritten": ("the audit log rewritten with a good chain", "verify names the first line"),
    "consumer": ("a subscriber raises", "it is dropped; the engine and the others go on"),
    "question": (
        "a question that raises, or something that is no question",
        "its own receipt raises; refused before it is queued",
    ),
    "waits for itself": (
        "a subscriber or a question waits for the engine",
        "WriterBlocked, and no deadlock",
    ),
}

Test = TypeVar("Test", bound=Callable[..., Any])
PROJECT = Path(__file__).resolve().parents[2]
TABLE = PROJECT / "docs" / "fault_table.md"
STANDS_ALONE = not (TABLE.parent.is_dir() and (PROJECT / "shared_tests").is_dir())
"""Whether this folder was copied elsewhere: then some proofs, and the page, are not beside it."""
MODULES = [
    f"{__package__}.{name}"
    for name in (
        "test_aside", "test_audit", "test_beside", "test_bounds", "test_engine", "test_evolution",
        "test_faults", "test_log", "test_machine", "test_power_cut", "test_power_failure",
        "test_real_calls", "test_snapshots", "test_submit_many",
    )
]  # fmt: skip
PROGRAMS = [
    f"shared_tests.programs.{name}"
    for name in (
        "test_crash", "test_environments", "test_log_commands", "test_long_lines",
        "test_run_command",
    )
]  # fmt: skip
"""Tests of the program from outside. They mark themselves, for they import neither version."""


def proves(*rows: str) -> Callable[[Test], Test]:
    """Mark a test as the proof of these rows."""
    unknown = set(rows) - set(FAULTS)
    assert not unknown, unknown
    mark: Callable[[Test], Test] = pytest.mark.proves(*rows)
    return mark


def proofs() -> dict[str, list[str]]:
    """The tests of each row, as ``module.test``."""
    found: dict[str, list[str]] = {row: [] for row in FAULTS}
    for name in MODULES + ([] if STANDS_ALONE else PROGRAMS):
        module = importlib.import_module(name)
        for test_name, test in inspect.getmembers(module, inspect.isfunction):
            for mark in getattr(test, "pytestmark", []):
                if mark.name == "proves" and test.__module__ == module.__name__:
                    for row in mark.args:
                        found[row].append(f"{name.rpartition('.')[2]}.{test_name}")
    return found


def table() -> str:
    """The page of the documentation."""
    lines = [
        "# Faults and answers",
        "",
        "Generated from the tests by `python -m v2_event_driven_engine.tests.faults`; a test fails",
        "when a row has no proof. The tests are in `v2_event_driven_engine/tests/` and, those of",
        "the program seen from outside, in `shared_tests/programs/`.",
        "",
        "STOP: answer nothing more, say why, leave a log that recovers. REFUSE: do not start, exit",
        "with 3, name file, offset and sequence where there is one, change nothing.",
        "",
        "| fault | answer | proved by |",
        "|---|---|---|",
    ]
    tests = proofs()
    for row, (fault, answer) in FAULTS.items():
        names = ", ".join(f"`{name}`" for name in tests[row])
        lines.append(f"| {fault} | {answer} | {names} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table())
