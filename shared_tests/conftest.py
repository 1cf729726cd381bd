"""Fixtures of the conformance suite: each engine, each program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .engines.adapters import ENGINES
from .engines.engine import Engine
from .programs.program import PROGRAMS, Program


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each engine in turn: a test that asks for `engine` runs once for every one of them."""
    engine = ENGINES[request.param](tmp_path)
    yield engine
    engine.close()


@pytest.fixture(params=list(PROGRAMS))
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """Each version's `main.py` in turn, with an empty directory to work in."""
    directory = tmp_path / "work"
    directory.mkdir()
    return Program(request.param, PROGRAMS[request.param], directory)
