"""The exercises of the course: complete `ex_NN_….py` until `test_NN_….py` passes.

    python -m pytest exercises/test_01_fills.py

The solutions are tested in place of the exercises where `EXERCISES=solutions` is set.
"""

import importlib
import os
from types import ModuleType


def exercise(name: str) -> ModuleType:
    """The module to test: the reader's, or the solution."""
    folder = "exercises.solutions" if os.environ.get("EXERCISES") == "solutions" else "exercises"
    return importlib.import_module(f"{folder}.{name}")
