"""The seam to the operating system: everything durable goes through :class:`Storage`.

The log, the snapshots and their recovery are written against this small interface, so that a
simulated disk, which can lose or tear whatever was not synced, may stand in its place. What a
caller may rely on: **only what a sync has confirmed survives a power failure**. Bytes of a file
are durable after ``sync`` of that file; that a name exists, or is gone, after ``sync_directory``.
"""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from ..errors import DirectoryInUse, DirectoryUnusable

ARCHIVE = "archive"


class StorageFile(Protocol):
    """A file open for writing."""

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``, or raise OSError."""

    def sync(self) -> None:
        """Return once the bytes written so far are durable, or raise OSError: then nobody knows."""

    def truncate(self, size: int) -> None:
        """Cut the file, or raise OSError."""

    def close(self) -> None:
        """Give the file back. Makes nothing durable."""


class Storage(Protocol):
    """A flat directory of files, held by one writer at a time."""

    def lock(self) -> None:
        """Become the one writer.

        Raises:
            DirectoryInUse: there is one, in this process or another.
        """

    def unlock(self) -> None:
        """Let the next writer in."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        """The content of a file from ``offset`` on: all of it, or at most ``limit`` bytes."""

    def size(self, name: str) -> int:
        """Bytes in a file, 0 if there is none."""

    def create(self, name: str) -> StorageFile:
        """Open for writing, emptied if it exists."""

    def open(self, name: str) -> StorageFile:
        """Open an existing file for writing."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing one that has it."""

    def remove(self, name: str) -> None:
        """Delete a file."""

    def archive(self, name: str) -> None:
        """Put a file aside, where it is found no less."""

    def sync_directory(self) -> None:
        """Return once all names are durable."""

    def random64(self) -> int:
        """64 bits that no earlier call gave."""


class _File:
    """A StorageFile of the operating system."""

    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # a short write is legal: go on, or meet the error behind it
            with memoryview(data) as view:
                written += os.pwrite(self._descriptor, view[written:], offset + written)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


class DirectoryStorage:
    """A :class:`Storage` in a directory of the local file system.

    With ``create`` the directory is made if it is missing; without, nothing is ever changed by
    opening it, and it works on a directory that is read-only or in use by a writer. Archived files
    are in its folder ``archive/`` and are read like the others.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path = Path(path)
        try:
            if create:
                self._make()
            os.listdir(self.path)  # noqa: PTH208  # the plainest way to ask whether it is readable
        except OSError as error:
            raise DirectoryUnusable(
                f"{self.path}: {error.strerror}; name another directory with --data-dir"
            ) from error

    def _make(self) -> None:
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        for made in missing:  # a new directory is durable once its parent is synced
            _sync_directory(made.parent)

    def lock(self) -> None:
        # flock, not lockf: it also keeps a second engine of this very process out.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DirectoryInUse(
                f"{self.path}: another engine has this directory open; stop that one, or name "
                f"another directory with --data-dir"
            ) from error
        self._lock_descriptor = descriptor

    def unlock(self) -> None:
        os.close(self._lock_descriptor)

    def names(self) -> list[str]:
        names = {entry.name for entry in self.path.iterdir() if entry.is_file()}
        if (self.path / ARCHIVE).is_dir():
            names |= {entry.name for entry in (self.path / ARCHIVE).iterdir()}
        return sorted(names)

    def _find(self, name: str) -> Path:
        path = self.path / name
        archived = self.path / ARCHIVE / name
        return archived if not path.exists() and archived.exists() else path

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        with self._find(name).open("rb", buffering=0) as file:
            file.seek(offset)
            return file.readall() if limit < 0 else file.read(limit) or b""

    def size(self, name: str) -> int:
        path = self._find(name)
        return path.stat().st_size if path.exists() else 0

    def archive(self, name: str) -> None:
        folder = self.path / ARCHIVE
        if not folder.exists():
            folder.mkdir()
            self.sync_directory()
        (self.path / name).rename(folder / name)
        _sync_directory(folder)
        self.sync_directory()

    def create(self, name: str) -> StorageFile:
        return _File(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def open(self, name: str) -> StorageFile:
        return _File(self.path / name, os.O_WRONLY)

    def rename(self, old: str, new: str) -> None:
        (self.path / old).replace(self.path / new)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def sync_directory(self) -> None:
        _sync_directory(self.path)

    def random64(self) -> int:
        return int.from_bytes(os.urandom(8), "little")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
