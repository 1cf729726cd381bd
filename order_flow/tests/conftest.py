"""Small LOBSTER files made by the tests, and the real ones where they are present."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lobster"

WriteCsv = Callable[[str, str], Path]


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Write rows, given as indented lines, to a file of a name; return its path."""

    def write(name: str, rows: str) -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{row.strip()}\n" for row in rows.strip().splitlines()))
        return path

    return write


@pytest.fixture
def real_data() -> Path:
    """The folder of NASDAQ's real files, which this project may use but not pass on."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no LOBSTER files in {REAL_DATA} (free samples: https://lobsterdata.com)")
    return REAL_DATA
