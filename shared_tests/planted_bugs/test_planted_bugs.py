"""The list of planted bugs fits the source. That they are killed takes minutes: see the thorough
test beside this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..programs.program import PROGRAMS
from .mutation import MUTATED
from .patch import (
    ALIASES,
    VERSIONS,
    Bug,
    BugListError,
    Edit,
    edited,
    parse_bug,
    read_aliases,
    read_bugs,
)

BUGS = read_bugs()
SOURCE = "if a:\n    b\n    b\n"


def test_there_are_many_bugs_and_each_is_planted_in_both_versions() -> None:
    assert len(BUGS) >= 30
    assert all(bug.edits[version] for bug in BUGS for version in VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_alias_names_a_file_and_is_needed(version: str) -> None:
    used = {edit.alias for bug in BUGS for edit in bug.edits[version]}
    assert used | set(MUTATED[version]) == set(ALIASES[version])
    for file in ALIASES[version].values():
        assert (PROGRAMS[version] / file).is_file()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_fits_the_source_exactly_once_and_parses(bug: Bug, version: str) -> None:
    sources: dict[Path, str] = {}
    for edit in bug.edits[version]:
        path = PROGRAMS[version] / ALIASES[version][edit.alias]
        before = sources.get(path) or path.read_text(encoding="utf-8")
        sources[path] = edited(before, bug, edit)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    c\n", "    d\n", "are in x 0 times"),
        ("    b\n", "    c\n", "are in x 2 times"),
        ("b\n", "c\n", "are in x 0 times"),
        ("if a:\n", "if a\n", "expected ':'"),
    ],
)
def test_a_patch_that_does_not_fit_says_so(old: str, new: str, complaint: str) -> None:
    with pytest.raises(BugListError, match=complaint):
        edited(SOURCE, Bug("4", "x"), Edit("x", old, new))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("4 x\nv1 matcher\n-a\n+b\n", "x: nothing for v2"),
        ("4 x\nv3 matcher\n-a\n+b\n", "x: expected a version and an alias: 'v3 matcher'"),
        ("4 x\nv1 engine/a.py\n-a\n+b\n", "x: files.txt has no 'engine/a.py' of v1"),
        ("4 x\nv1 matcher\n a\nv2 matcher\n-a\n+b\n", "x: an edit of matcher that changes nothing"),
        ("4 x\n-a\n+b\n", "x: expected a version and an alias: '-a'"),
    ],
)
def test_a_list_that_cannot_be_read_says_so(text: str, complaint: str) -> None:
    with pytest.raises(BugListError, match=complaint):
        parse_bug(text)


def test_a_table_of_files_is_read() -> None:
    text = "What this is.\n\nv1 a  x/a.py\n\nv2 a  b.py\n"
    assert read_aliases(text) == {"v1": {"a": "x/a.py"}, "v2": {"a": "b.py"}}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("v3 b b.py", "expected a version, an alias and a path: 'v3 b b.py'"),
        ("v1 b", "expected a version, an alias and a path: 'v1 b'"),
        ("v1 a b.py", "two files of v1 are called 'a'"),
    ],
)
def test_a_table_of_files_that_cannot_be_read_says_so(line: str, complaint: str) -> None:
    with pytest.raises(BugListError, match=complaint):
        read_aliases(f"What this is.\n\nv1 a a.py\n{line}\n")
