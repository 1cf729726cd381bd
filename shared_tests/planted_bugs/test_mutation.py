"""What is around mutation testing; the mutants themselves take minutes: `nox -s mutation`."""

from __future__ import annotations

import pytest

from ..programs.program import PROGRAMS
from .mutation import EQUIVALENT, MUTATED, Result, Survivor, page, read_reasons
from .patch import ALIASES

REASONS = read_reasons(EQUIVALENT.read_text(encoding="utf-8"))
ALIAS = "order_book"
FILE = ALIASES["v1"][ALIAS]


@pytest.mark.parametrize("survivor", REASONS, ids=lambda survivor: survivor.new.strip())
def test_a_reason_is_about_lines_that_are_still_there(survivor: Survivor) -> None:
    assert REASONS[survivor]
    assert survivor.alias in MUTATED[survivor.version]
    source = (PROGRAMS[survivor.version] / survivor.file).read_text(encoding="utf-8")
    lines = "\n".join([*(line.strip() for line in source.splitlines()), ""])
    assert f"\n{survivor.old}\n" in lines


@pytest.mark.parametrize(
    ("old", "new", "is_wording"),
    [
        ('assert best, "no best"', 'assert best, "XXno bestXX"', True),
        ('assert best, "no best"', 'assert not best, "no best"', False),
        ('check("by", self.by)', 'check("XXbyXX", self.by)', False),
        ('raise Error("a", text)', "raise Error(None, text)", False),
    ],
)
def test_a_mutant_inside_a_text_is_only_worded_differently(
    old: str, new: str, is_wording: bool
) -> None:
    assert Survivor("v1", ALIAS, old, new).is_wording is is_wording


def test_the_page_lists_survivors_with_a_reason_apart_from_those_without() -> None:
    known = Survivor("v1", ALIAS, "a < b", "a <= b")
    unknown = Survivor("v1", ALIAS, "b < c", "b <= c")
    wording = Survivor("v1", ALIAS, 'say("no one")', 'say("NO ONE")')
    results = [Result("v1", ALIAS, 8, [known, unknown, wording])]
    text = page(results, {known: "They are never equal."})
    assert "**5 of 8 mutants are killed, 62.5%.**" in text
    assert f"| V1 | `{FILE}` | 8 | 5 | 1 | 1 | 1 |" in text
    assert "They are never equal.\n\n```diff\n-a < b\n+a <= b\n```" in text
    assert "a test is missing.**\n\n```diff\n-b < c\n+b <= c\n```" in text
    assert "say(" not in text
