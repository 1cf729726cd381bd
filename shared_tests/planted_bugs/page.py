"""The generated table: bug by bug, which test found it in which version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from ..programs.program import PROGRAMS, ROOT
from .hunt import NO_BUG, Verdict
from .patch import Bug

PAGE = ROOT / "docs" / "planted_bugs.md"
ROW = "| {} | {} | {} |\n"

HEAD = """\
# Planted bugs

<!-- Written by `python -m shared_tests.planted_bugs`; changes by hand are lost. -->

A test that cannot fail shows nothing. Here one mistake at a time is planted in a copy of a
version's source, as a programmer could have made it, and the tests run there until one fails. The
bugs are in `shared_tests/planted_bugs/bugs.txt`.

**{count} bugs, each in both versions. Killed: V1 {v1} of {count}, V2 {v2} of {count}.**
Without a bug all these tests pass.

The tests run in a fixed order: the scenarios of the section that the bug offends against, the other
scenarios, random sessions, the version's own tests. The table names the **first** test that fails,
so the later a bug is found in that order, the fewer tests see it. A bare name is a scenario.

```sh
python -m shared_tests.planted_bugs                 writes this page
python -m shared_tests.planted_bugs --only "IOC"    shows the verdicts for some bugs
```
"""


def page(bugs: Sequence[Bug], verdicts: Sequence[Verdict]) -> str:
    """The whole page as Markdown."""
    killed_by = {(verdict.bug, verdict.version): verdict.killed_by for verdict in verdicts}
    killed = {
        version: sum(bool(killed_by[bug.name, version]) for bug in bugs) for version in PROGRAMS
    }
    text = HEAD.format(count=len(bugs), **killed)
    for section, some in groupby(bugs, key=lambda bug: bug.section[0]):
        text += f"\n## Rulebook {section}\n\n"
        text += ROW.format("bug", "V1: killed by", "V2: killed by")
        text += ROW.format("---", "---", "---")
        for bug in some:
            cells = [shown(killed_by[bug.name, version]) for version in PROGRAMS]
            text += ROW.format(bug.name, *cells)
    return text


def shown(test: str) -> str:
    """Shorten a test's id to what distinguishes it from others."""
    if not test:
        return "**not killed**"
    scenario = re.search(r"follows_the_scenario\[.*?-?(\d_.+)\]$", test)
    name = scenario[1] if scenario else test.rpartition("/")[2].replace("::", " ")
    return f"`{name}`"


def complaints(verdicts: Sequence[Verdict]) -> list[str]:
    """What is wrong with the tests: bugs not found, and tests that fail without a bug."""
    return [
        f"{verdict.version}: {verdict.bug}: {verdict.killed_by or 'no test fails'}"
        for verdict in verdicts
        if bool(verdict.killed_by) == (verdict.bug == NO_BUG)
    ]
