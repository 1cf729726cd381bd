"""The checksum's function: the package's own, however it is found."""

import sys
from pathlib import Path

import crc32c
import pytest

from v2_event_driven_engine.engine.log.checksum import load

CHECK_VALUE = 0xE3069283
"""CRC-32C of the digits 1 to 9."""


def test_the_function_is_found_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256))
    monkeypatch.delitem(sys.modules, "crc32c")
    function = load()
    assert "crc32c" not in sys.modules
    assert function(b"123456789") == CHECK_VALUE
    assert function(data, 7) == crc32c.crc32c(data, 7)


def test_a_package_of_another_shape_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "crc32c.py").write_text("def crc32c(data, value=0):\n    return 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "crc32c")
    assert load()(b"123456789") == 5
    (tmp_path / "crc32c.py").unlink()
    (tmp_path / "crc32c").mkdir()
    (tmp_path / "crc32c" / "__init__.py").write_text("def crc32c(data, value=0):\n    return 6\n")
    monkeypatch.delitem(sys.modules, "crc32c")
    assert load()(b"123456789") == 6
