"""The proof is worth what the independence of its witnesses is worth.

Two versions that share code share mistakes. So each version imports itself, the standard library
and what its own `requirements*.txt` list, and nothing else; and the reference imports neither.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..programs.program import PROGRAMS

REFERENCE = Path(__file__).parents[1] / "reference"


def imported(path: Path) -> Iterator[str]:
    """Yield the first part of every absolute import in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_version_imports_itself_the_standard_library_and_its_requirements(name: str) -> None:
    folder = PROGRAMS[name]
    listed = "".join(p.read_text(encoding="utf-8") for p in folder.glob("requirements*.txt"))
    required = {re.split(r"\W", line)[0] for line in listed.splitlines() if line[:1].isalpha()}
    files = [path for path in folder.rglob("*.py") if "tests" not in path.parts]
    assert len(files) > 10
    for path in files:
        strangers = {*imported(path)} - sys.stdlib_module_names - required - {folder.name}
        assert strangers == set(), path


@pytest.mark.parametrize("module", ["reference.py", "input.py", "stream.py"])
def test_the_reference_imports_neither_version(module: str) -> None:
    assert {*imported(REFERENCE / module)} <= sys.stdlib_module_names
