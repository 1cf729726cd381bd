"""Bugs as patches: whole lines of source, old and new.

    == 4.5 an IOC rests
    v1 matcher
    -        if time_in_force is TimeInForce.GTC:
    +        if command.price is not None:
    v2 matcher
    -        if time_in_force is GTC and price is not None:
    +        if price is not None:

After `==` come the section of the rulebook and the name. A version and the alias of a file begin
an edit (a version may need several); `files.txt` says where the file is, so that a file's move is
one line. The lines of an edit begin with `-` (goes away), `+` (comes in its place) or a blank
(stays; it only says where), as in a diff. There are no line numbers: the old lines must be in the
file exactly once, so a list that no longer fits the source is noticed instead of planting nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..programs.program import PROGRAMS

BUGS_FILE = Path(__file__).with_name("bugs.txt")
ALIASES_FILE = Path(__file__).with_name("files.txt")
VERSIONS = tuple(PROGRAMS)


class BugListError(Exception):
    """The list cannot be read or no longer fits the source; the message names bug and file."""


@dataclass(frozen=True)
class Edit:
    """Some consecutive lines of one file and what replaces them."""

    alias: str  # the file's name in `files.txt`
    old: str
    new: str


@dataclass
class Bug:
    """One mistake, as each version would make it."""

    section: str
    name: str
    edits: dict[str, list[Edit]] = field(default_factory=lambda: {name: [] for name in VERSIONS})


def read_aliases(text: str) -> dict[str, dict[str, str]]:
    """The table of `files.txt`: version, then alias, to a path below the version's folder.

    Raises:
        BugListError: a line of the table is not a version, an alias and a path, or an alias is
            given twice.
    """
    aliases: dict[str, dict[str, str]] = {version: {} for version in VERSIONS}
    _, _, table = text.partition("\n\n")
    for line in filter(None, table.split("\n")):
        version, *rest = line.split()
        if version not in VERSIONS or len(rest) != 2:
            raise BugListError(f"expected a version, an alias and a path: {line!r}")
        alias, file = rest
        if alias in aliases[version]:
            raise BugListError(f"two files of {version} are called {alias!r}")
        aliases[version][alias] = file
    return aliases


ALIASES = read_aliases(ALIASES_FILE.read_text(encoding="utf-8"))


def read_bugs(path: Path = BUGS_FILE) -> list[Bug]:
    """Read the whole list.

    Raises:
        BugListError: a line is not understood, or two bugs have the same name.
    """
    _, *parts = re.split(r"^== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bugs = [parse_bug(part) for part in parts]
    names = [bug.name for bug in bugs]
    for name in names:
        if names.count(name) > 1:
            raise BugListError(f"two bugs are called {name!r}")
    return bugs


def parse_bug(text: str) -> Bug:
    """Read one bug: the text after `==`.

    Raises:
        BugListError: a line is not understood, an alias is unknown, an edit changes nothing, or
            there is no edit for one of the versions.
    """
    title, *lines = text.rstrip("\n").split("\n")
    section, _, name = title.partition(" ")
    bug = Bug(section, name)
    version, alias, old, new = "", "", "", ""
    for line in [*lines, ""]:
        if line[:1] in ("-", "+", " ") and alias:
            old += "" if line[0] == "+" else line[1:] + "\n"
            new += "" if line[0] == "-" else line[1:] + "\n"
            continue
        if alias:
            bug.edits[version].append(Edit(alias, old, new))
        version, _, alias = line.partition(" ")
        old, new = "", ""
        if line and (version not in VERSIONS or not alias):
            raise BugListError(f"{name}: expected a version and an alias: {line!r}")
        if line and alias not in ALIASES[version]:
            raise BugListError(f"{name}: files.txt has no {alias!r} of {version}")
    for version, edits in bug.edits.items():
        if not edits:
            raise BugListError(f"{name}: nothing for {version}")
        for edit in edits:
            if not edit.old or edit.old == edit.new:
                raise BugListError(f"{name}: an edit of {edit.alias} that changes nothing")
    return bug


def plant(bug: Bug, version: str, root: Path) -> None:
    """Apply the bug's edits for one version to the project in `root`.

    Raises:
        BugListError: an edit does not fit.
    """
    for edit in bug.edits[version]:
        path = root / PROGRAMS[version].name / ALIASES[version][edit.alias]
        path.write_text(edited(path.read_text(encoding="utf-8"), bug, edit), encoding="utf-8")


def edited(source: str, bug: Bug, edit: Edit) -> str:
    """The source with one edit made.

    Raises:
        BugListError: the old lines are not in the source exactly once, or the result is not Python.
    """
    places = [match.start() for match in re.finditer(f"^{re.escape(edit.old)}", source, re.M)]
    if len(places) != 1:
        raise BugListError(
            f"{bug.name}: these lines are in {edit.alias} {len(places)} times:\n{edit.old}"
        )
    start, end = places[0], places[0] + len(edit.old)
    source = source[:start] + edit.new + source[end:]
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise BugListError(f"{bug.name}: {edit.alias}: {error}") from error
    return source
