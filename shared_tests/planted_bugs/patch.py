"""Bugs as patches: whole lines of source, old and new.

    == 4.5 an IOC rests
    v1 engine/rules.py
    -        if time_in_force is TimeInForce.GTC:
    +        if command.price is not None:
    v2 engine/matcher.py
    -        if time_in_force is GTC and price is not None:
    +        if price is not None:

After `==` stand the section of the rulebook and the name. A version and a file begin an edit (a
version may need several). The lines of an edit begin with `-` (goes away), `+` (comes in its
place) or a blank (stays; it only says where), as in a diff. There are no line numbers: the old
lines must stand in the file exactly once, so a list that no longer fits the source is noticed
instead of planting nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..programs import PROGRAMS

BUGS_FILE = Path(__file__).with_name("bugs.txt")
VERSIONS = tuple(PROGRAMS)


class BugListError(Exception):
    """The list cannot be read or no longer fits the source; the message names bug and file."""


@dataclass(frozen=True)
class Edit:
    """Some consecutive lines of one file and what stands there instead."""

    file: str  # below the version's folder
    old: str
    new: str


@dataclass
class Bug:
    """One mistake, as each version would make it."""

    section: str
    name: str
    edits: dict[str, list[Edit]] = field(default_factory=lambda: {name: [] for name in VERSIONS})


def read_bugs(path: Path = BUGS_FILE) -> list[Bug]:
    """Read the whole list; raise `BugListError` at the first line that is not understood."""
    _, *parts = re.split(r"^== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bugs = [parse_bug(part) for part in parts]
    names = [bug.name for bug in bugs]
    for name in names:
        if names.count(name) > 1:
            raise BugListError(f"two bugs are called {name!r}")
    return bugs


def parse_bug(text: str) -> Bug:
    """Read one bug, from what stands behind `==`."""
    title, *lines = text.rstrip("\n").split("\n")
    section, _, name = title.partition(" ")
    bug = Bug(section, name)
    version, file, old, new = "", "", "", ""
    for line in [*lines, ""]:
        if line[:1] in ("-", "+", " ") and file:
            old += "" if line[0] == "+" else line[1:] + "\n"
            new += "" if line[0] == "-" else line[1:] + "\n"
            continue
        if file:
            bug.edits[version].append(Edit(file, old, new))
        version, _, file = line.partition(" ")
        old, new = "", ""
        if line and (version not in VERSIONS or not file):
            raise BugListError(f"{name}: expected a version and a file: {line!r}")
    for version, edits in bug.edits.items():
        if not edits:
            raise BugListError(f"{name}: nothing for {version}")
        for edit in edits:
            if not edit.old or edit.old == edit.new:
                raise BugListError(f"{name}: an edit of {edit.file} that changes nothing")
    return bug


def plant(bug: Bug, version: str, root: Path) -> None:
    """Apply the bug's edits for one version to the project in `root`; they must all fit."""
    for edit in bug.edits[version]:
        path = root / PROGRAMS[version].name / edit.file
        path.write_text(edited(path.read_text(encoding="utf-8"), bug, edit), encoding="utf-8")


def edited(source: str, bug: Bug, edit: Edit) -> str:
    """Return the source with one edit made, provided that it fits once and that it parses."""
    places = [match.start() for match in re.finditer(f"^{re.escape(edit.old)}", source, re.M)]
    if len(places) != 1:
        raise BugListError(
            f"{bug.name}: these lines stand in {edit.file} {len(places)} times:\n{edit.old}"
        )
    start, end = places[0], places[0] + len(edit.old)
    source = source[:start] + edit.new + source[end:]
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise BugListError(f"{bug.name}: {edit.file}: {error}") from error
    return source
