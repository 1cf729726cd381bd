"""The list of planted bugs fits the source. That they are killed takes minutes: see the thorough
test beside this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..programs import PROGRAMS
from .patch import VERSIONS, Bug, BugListError, Edit, edited, parse_bug, read_bugs

BUGS = read_bugs()
SOURCE = "if a:\n    b\n    b\n"


def test_there_are_many_bugs_and_each_is_planted_in_both_versions() -> None:
    assert len(BUGS) >= 30
    assert all(bug.edits[version] for bug in BUGS for version in VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_fits_the_source_exactly_once_and_parses(bug: Bug, version: str) -> None:
    sources: dict[Path, str] = {}
    for edit in bug.edits[version]:
        path = PROGRAMS[version] / edit.file
        before = sources.get(path) or path.read_text(encoding="utf-8")
        sources[path] = edited(before, bug, edit)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    c\n", "    d\n", "stand in x.py 0 times"),
        ("    b\n", "    c\n", "stand in x.py 2 times"),
        ("b\n", "c\n", "stand in x.py 0 times"),
        ("if a:\n", "if a\n", "expected ':'"),
    ],
)
def test_a_patch_that_does_not_fit_says_so(old: str, new: str, complaint: str) -> None:
    with pytest.raises(BugListError, match=complaint):
        edited(SOURCE, Bug("4", "x"), Edit("x.py", old, new))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("4 x\nv1 a.py\n-a\n+b\n", "x: nothing for v2"),
        ("4 x\nv3 a.py\n-a\n+b\n", "x: expected a version and a file: 'v3 a.py'"),
        ("4 x\nv1 a.py\n a\nv2 a.py\n-a\n+b\n", "x: an edit of a.py that changes nothing"),
        ("4 x\n-a\n+b\n", "x: expected a version and a file: '-a'"),
    ],
)
def test_a_list_that_cannot_be_read_says_so(text: str, complaint: str) -> None:
    with pytest.raises(BugListError, match=complaint):
        parse_bug(text)
