"""Fixtures and Hypothesis profiles of the conformance suite.

HYPOTHESIS_PROFILE=quick      (default) a few seconds, for every save
HYPOTHESIS_PROFILE=ci         a minute or so, for every push
HYPOTHESIS_PROFILE=thorough   as long as it takes, for a night
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from .engines.adapters import ENGINES
from .engines.engine import Engine
from .programs.program import PROGRAMS, Program

# No example and no drawing of one is timed: a busy machine is no failure.
for profile, examples in (("quick", 40), ("ci", 400), ("thorough", 10_000)):
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


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
