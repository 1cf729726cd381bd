"""V1 and V2 behind the one interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .engine import Engine
from .reference import Reference

ENGINES: dict[str, Callable[[Path], Engine]] = {
    "reference": lambda _directory: Reference(),
}
