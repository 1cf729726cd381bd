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
        "nothing behind the first hole is applied; the end is at least the last answer",
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
    "snapshot gap": ("the log ends before, or is not the one of, the snapshot", "REFUSE"),
    "old generation": ("bytes of an older generation where a batch should be", "never validate"),
    "failed call": (
        "EIO or ENOSPC from the N-th call, once or for ever; a file size limit",
        "STOP before any answer; a restart loses nothing",
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
        "an older one and a longer replay, with a warning",
    ),
    "permission": ("permission denied", "REFUSE, touch nothing"),
    "unknown": (
        "an unknown record, format or rulebook version with a good checksum",
        "REFUSE with a typed error",
    ),
    "divergence": ("replay gives other events than were recorded", "REFUSE at the first of them"),
    "poison": (
        "a command that makes the matcher fail",
        "STOP; the log is intact; verify points at the command",
    ),
    "queue full": (
        "the queue is full",
        "BUSY before a sequence is given; nothing is dropped after",
    ),
    "audit behind": (
        "the audit log torn, missing or behind",
        "completed from the log, each event exactly once",
    ),
    "audit ahead": ("the audit log knows of more than the log has", "REFUSE"),
    "audit edited": (
        "the audit log edited; lines deleted, inserted, reordered",
        "audit --verify names the first bad line",
    ),
    "audit rewritten": ("the audit log rewritten with a good chain", "verify names the first line"),
    "consumer": ("a subscriber raises", "it is dropped; the engine and the others go on"),
}

Test = TypeVar("Test", bound=Callable[..., Any])
MODULES = (
    "test_audit", "test_engine", "test_faults", "test_log", "test_power_failure", "test_real_calls",
)  # fmt: skip
TABLE = Path(__file__).resolve().parents[2] / "docs" / "fault_table.md"


def proves(*rows: str) -> Callable[[Test], Test]:
    """Mark a test as the proof of these rows."""
    unknown = set(rows) - set(FAULTS)
    assert not unknown, unknown
    mark: Callable[[Test], Test] = pytest.mark.proves(*rows)
    return mark


def proofs() -> dict[str, list[str]]:
    """The tests of each row, as ``module.test``."""
    found: dict[str, list[str]] = {row: [] for row in FAULTS}
    for name in MODULES:
        module = importlib.import_module(f"{__package__}.{name}")
        for test_name, test in inspect.getmembers(module, inspect.isfunction):
            for mark in getattr(test, "pytestmark", []):
                if mark.name == "proves" and test.__module__ == module.__name__:
                    for row in mark.args:
                        found[row].append(f"{name}.{test_name}")
    return found


def table() -> str:
    """The page of the documentation."""
    lines = [
        "# Faults and answers",
        "",
        "Generated from the tests by `python -m v2_event_driven_engine.tests.faults`; a test fails",
        "when a row has no proof. STOP: answer nothing more, say why, leave a log that recovers.",
        "REFUSE: do not start, exit with 3, name file, offset and sequence, change nothing.",
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
