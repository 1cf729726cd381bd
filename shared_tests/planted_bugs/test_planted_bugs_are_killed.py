"""Every planted bug is killed in both versions. Minutes long, so only for a thorough run:

HYPOTHESIS_PROFILE=thorough python -m pytest shared_tests/planted_bugs
"""

from __future__ import annotations

import os

import pytest

from ..programs.program import PROGRAMS
from .hunt import hunt
from .patch import Bug, read_bugs

pytestmark = pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "thorough", reason="HYPOTHESIS_PROFILE is not thorough"
)


@pytest.mark.parametrize("version", PROGRAMS)
@pytest.mark.parametrize("bug", read_bugs(), ids=lambda bug: bug.name)
def test_some_test_fails_with_a_planted_bug(bug: Bug, version: str) -> None:
    assert hunt(bug, version).killed_by


@pytest.mark.parametrize("version", PROGRAMS)
def test_no_test_fails_without_a_planted_bug(version: str) -> None:
    assert not hunt(None, version).killed_by
