"""What tests with real threads have in common."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Make threads lose their turn far more often than they would, so that they get mixed up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
