"""A Storage in memory, for tests that damage a log many thousand times."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path


class MemoryFile:
    """A StorageFile whose bytes are a bytearray."""

    def __init__(self, content: bytearray) -> None:
        self.content = content

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if len(self.content) < offset + len(data):
            self.content.extend(bytes(offset + len(data) - len(self.content)))
        self.content[offset : offset + len(data)] = data

    def sync(self) -> None:
        pass

    def begin_sync(self) -> Callable[[], object]:
        return self.sync

    def truncate(self, size: int) -> None:
        del self.content[size:]

    def check_name(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryStorage:
    """A Storage whose files are in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self._generation = 0

    @classmethod
    def copy_of(cls, directory: Path) -> MemoryStorage:
        """The files of a directory, as they are now."""
        storage = cls()
        for path in directory.iterdir():
            storage.files[path.name] = bytearray(path.read_bytes())
        return storage

    def lock(self) -> None:
        pass

    def unlock(self) -> None:
        pass

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        end = None if limit < 0 else offset + limit
        return bytes(self.files[name][offset:end])

    def stream(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.read(name))

    def size(self, name: str) -> int:
        return len(self.files.get(name, b""))

    def create(self, name: str) -> MemoryFile:
        self.files[name] = bytearray()
        return MemoryFile(self.files[name])

    def open(self, name: str) -> MemoryFile:
        return MemoryFile(self.files[name])

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    def remove(self, name: str) -> None:
        del self.files[name]

    def remove_abandoned(self, prefix: str) -> None:
        for name in [name for name in self.names() if name.startswith(prefix)]:
            self.remove(name)

    def archive(self, name: str) -> bool:
        return False

    def sync_directory(self) -> None:
        pass

    def random64(self) -> int:
        self._generation += 0x9E3779B97F4A7C15
        return self._generation & 0xFFFFFFFFFFFFFFFF
