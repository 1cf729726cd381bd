"""Mutation testing: every small mechanical change to the rules must make some test fail.

`mutmut` turns comparisons around, moves constants by one, drops conditions, replaces arguments;
one change at a time, a *mutant*. It runs on a copy of the project, in one process that forks for
every mutant, so that a thousand take minutes. Here it gets its settings, and what it finds becomes
`docs/mutation.md`.

A mutant that survives either shows a missing test or changes nothing that can be seen. For the
second kind, `equivalent.txt` has a reason each::

    == v2 order_book
    -            if self.best is None or level.rank < self.best.rank:
    +            if self.best is None or level.rank <= self.best.rank:
    The level was empty and the best one is not: they are two, and their ranks differ.

Survivors that only spell a text for people differently are counted and not listed. Exit status 1
if a mutant survived for no known reason.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..programs.program import PROGRAMS, ROOT
from .hunt import copy_of_the_project
from .patch import ALIASES

MUTATED = {
    "v1": ["matcher", "checks", "order_book", "register", "commands", "lifecycle"],
    "v2": ["matcher", "market_state", "finished", "order_book"],
}
"""The files that are changed, by their aliases in `files.txt`. V2's lifecycle is a table: it has no
function to change."""

TESTS = {
    "v1": ["tests/test_order_book.py", "tests/test_lifecycle.py", "tests/test_engine.py"],
    "v2": ["tests/test_order_book.py", "tests/test_finished.py"],
}
SHARED_TESTS = [
    "shared_tests/scenarios/test_scenarios.py",
    "shared_tests/reference/test_malformed_input.py",
]
SELECTED = {"v1": "v1 or not follows", "v2": "(matcher or not follows) and not cost"}
"""Of the scenarios, those of the version's quickest build. What ids cost in memory is not measured:
that is slow where mutmut looks at every call."""

TIMEOUT_FACTOR = 3
START_SECONDS = 20
"""A mutant that does not end is given up after so many times what a start and its tests take: too
early, and a busy machine would kill mutants."""

EQUIVALENT = Path(__file__).with_name("equivalent.txt")
PAGE = ROOT / "docs" / "mutation.md"

# What mutmut notes as the exit status of the tests for a mutant.
SURVIVED = (0, 33)  # no test failed, or none ran
NOT_TESTED = (None, 34)  # interrupted, skipped


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: the lines that it changed."""

    version: str
    alias: str
    old: str
    new: str

    @property
    def file(self) -> str:
        """The file's path below the version's folder."""
        return ALIASES[self.version][self.alias]

    @property
    def is_wording(self) -> bool:
        """Whether only the words inside a text differ; a single word may be a field's name."""
        return _without_texts(self.old) == _without_texts(self.new)


def _without_texts(line: str) -> str:
    return re.sub(r'"[^" ]* [^"]*"', '""', line)


@dataclass(frozen=True)
class Result:
    """What became of all mutants of one file."""

    version: str
    alias: str
    mutants: int
    survivors: list[Survivor]

    @property
    def file(self) -> str:
        """The file's path below the version's folder."""
        return ALIASES[self.version][self.alias]


def settings(version: str) -> str:
    """Return mutmut's settings as the text of a setup.cfg."""
    folder = PROGRAMS[version].name
    lists = {
        "source_paths": [folder],
        "only_mutate": [f"{folder}/{ALIASES[version][alias]}" for alias in MUTATED[version]],
        "also_copy": [*(path.name for path in PROGRAMS.values()), "shared_tests", "conftest.py"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-k", SELECTED[version]],
        "pytest_add_cli_args_test_selection": [
            *SHARED_TESTS,
            f"shared_tests/engines/test_{version}_inside.py",
            *(f"{folder}/{test}" for test in TESTS[version]),
        ],
    }
    text = "[mutmut]\n"
    text += f"timeout_multiplier = {TIMEOUT_FACTOR}\ntimeout_constant = {START_SECONDS}\n"
    for name, values in lists.items():
        text += f"{name} =\n" + "".join(f"    {value}\n" for value in values)
    return text


def mutate(version: str, jobs: int) -> list[Result]:
    """Try every mutant of one version."""
    with copy_of_the_project() as copy:
        (copy / "setup.cfg").write_text(settings(version), encoding="utf-8")
        command = [mutmut(), "run", "--max-children", str(jobs)]
        subprocess.run(command, cwd=copy, check=True)
        return [result(copy, version, alias) for alias in MUTATED[version]]


def mutmut() -> str:
    """Find the program beside this interpreter or on the path."""
    program = shutil.which("mutmut", path=Path(sys.executable).parent) or shutil.which("mutmut")
    if program is None:
        sys.exit("mutmut is not installed: nox -s mutation")
    return program


def result(copy: Path, version: str, alias: str) -> Result:
    """Read what mutmut noted about one file."""
    file = ALIASES[version][alias]
    meta = copy / "mutants" / PROGRAMS[version].name / f"{file}.meta"
    statuses: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    missing = [name for name, status in statuses.items() if status in NOT_TESTED]
    if missing:
        sys.exit(f"{len(missing)} mutants of {file} were not tested: {missing[0]} ...")
    survivors = [
        Survivor(version, alias, *changed_lines(copy, name))
        for name, status in statuses.items()
        if status in SURVIVED
    ]
    return Result(version, alias, len(statuses), survivors)


def changed_lines(copy: Path, name: str) -> tuple[str, str]:
    """The lines that a mutant takes away, and those that replace them."""
    shown = subprocess.run(
        [mutmut(), "show", name], cwd=copy, check=True, capture_output=True, text=True
    ).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    return tuple(  # type: ignore[return-value]
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )


def read_reasons(text: str) -> dict[Survivor, str]:
    """Read `equivalent.txt`: why some mutants cannot be distinguished from the original."""
    reasons = {}
    for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        title, *lines = part.strip().split("\n")
        version, _, alias = title.partition(" ")
        old, new = (
            "\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
        )
        reason = " ".join(line for line in lines if not line.startswith(("-", "+")))
        reasons[Survivor(version, alias, old, new)] = reason
    return reasons


# -- The page ---------------------------------------------------------------------------------

HEAD = """\
# Mutation testing

<!-- Written by `python -m shared_tests.planted_bugs.mutation`; changes by hand are lost. -->

Where [planted bugs](planted_bugs.md) are mistakes that somebody thought of, mutants are made by a
machine ([mutmut](https://mutmut.readthedocs.io/)): every comparison turned, every constant moved,
every argument replaced, one at a time. Each should make a test fail. The tests are the golden
scenarios, the malformed lines and a version's own quick tests; random sessions are left out, so
that whatever is killed here is killed by a test that says in words what is wrong.

**{killed} of {mutants} mutants are killed, {score:.1%}.** {wording} survive because they only spell
a text for people differently, {equivalent} because they cannot be distinguished from the original:
these are listed below with the reason. {unknown} survive for no known reason.

```
nox -s mutation
```

"""


def page(results: Sequence[Result], reasons: dict[Survivor, str]) -> str:
    """The whole page as Markdown."""
    survivors = [survivor for each in results for survivor in each.survivors]
    kinds = Counter(kind(survivor, reasons) for survivor in survivors)
    mutants = sum(each.mutants for each in results)
    killed = mutants - len(survivors)
    text = HEAD.format(
        killed=killed,
        mutants=mutants,
        score=killed / mutants,
        wording=kinds["wording"],
        equivalent=kinds["equivalent"],
        unknown=kinds["unknown"],
    )
    text += "| version | file | mutants | killed | wording | equivalent | unknown |\n"
    text += "|---|---|--:|--:|--:|--:|--:|\n"
    for each in results:
        counts = Counter(kind(survivor, reasons) for survivor in each.survivors)
        figures = [each.mutants, each.mutants - len(each.survivors)]
        figures += [counts[name] for name in ("wording", "equivalent", "unknown")]
        cells = " | ".join(map(str, figures))
        text += f"| {each.version.upper()} | `{each.file}` | {cells} |\n"
    return text + "".join(listing(survivors, reasons))


def kind(survivor: Survivor, reasons: dict[Survivor, str]) -> str:
    """Say why a mutant survived."""
    if survivor in reasons:
        return "equivalent"
    return "wording" if survivor.is_wording else "unknown"


def listing(survivors: Sequence[Survivor], reasons: dict[Survivor, str]) -> Iterator[str]:
    """Yield the survivors that need a reason, and the reason."""
    yield "\n## Survivors and why\n"
    for survivor in survivors:
        if kind(survivor, reasons) == "wording":
            continue
        reason = reasons.get(survivor, "**No reason is known: a test is missing.**")
        lines = [f"-{line}" for line in survivor.old.splitlines()]
        lines += [f"+{line}" for line in survivor.new.splitlines()]
        title = f"{survivor.version.upper()} `{survivor.file}`"
        yield f"\n{title}: {reason}\n\n```diff\n" + "\n".join(lines) + "\n```\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shared_tests.planted_bugs.mutation")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="how many at once")
    jobs = parser.parse_args().jobs
    results = [each for version in PROGRAMS for each in mutate(version, jobs)]
    reasons = read_reasons(EQUIVALENT.read_text(encoding="utf-8"))
    PAGE.write_text(page(results, reasons), encoding="utf-8")
    print(f"written: {PAGE}")
    survivors = {survivor for each in results for survivor in each.survivors}
    for reason in reasons.keys() - survivors:
        print(f"no such survivor any more: {reason}", file=sys.stderr)
    unknown = [survivor for survivor in survivors if kind(survivor, reasons) == "unknown"]
    for survivor in unknown:
        print(f"SURVIVED  {survivor}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
