"""What a process takes from its machine, as Linux tells it."""

import os
from pathlib import Path
from typing import NamedTuple


class Resources(NamedTuple):
    """Of one process, at one moment."""

    resident_bytes: int
    descriptors: int


def resources_of(pid: int) -> Resources:
    """Ask for those of a process.

    Raises:
        OSError: there is no such process, or no Linux.
    """
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Resources(pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(process / "fd")))  # noqa: PTH208
