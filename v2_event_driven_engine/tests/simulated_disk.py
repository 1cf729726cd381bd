"""A disk that may lose, tear, zero or garble whatever was not synced, and calls that fail.

It takes the place of a Storage. Every call that changes something is counted; a test can let the
N-th call fail, or stop the world there, and then ask for **crash images**: what the disk might hold
after the power came back. What the model allows:

- a 512-byte sector written since the file's last sync: the new bytes, the old ones, zeros, garbage,
  or new bytes up to some point and old ones after it;
- a file's size changed since its last sync: either size;
- names created, renamed or removed since the directory's last sync: only the first so many of these
  changes, in order (as a journaling file system does);
- a sync that failed: the bytes stay readable, and a later sync of them reports success without
  writing them (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable

SECTOR = 512


class PowerFailure(BaseException):
    """The world stops here. Not an Exception: no handler may carry on."""


class Inode:
    """A file's bytes: as programs see them, and as the platter has them."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = b""
        self.dirty: set[int] = set()
        self.lost: set[int] = set()
        """Sectors of a failed sync: never written, believed clean."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        end = offset + len(data)
        if len(self.content) < end:
            self.content.extend(bytes(end - len(self.content)))
        self.content[offset:end] = data
        touched = set(range(offset // SECTOR, (end + SECTOR - 1) // SECTOR))
        self.dirty |= touched
        self.lost -= touched

    def sync(self) -> None:
        durable = bytearray(self.content)
        for sector in self.lost:
            durable[sector * SECTOR : (sector + 1) * SECTOR] = self._old(sector)
        self.durable = bytes(durable)
        self.dirty = set()

    def fail_sync(self) -> None:
        self.lost |= self.dirty
        self.dirty = set()

    def _old(self, sector: int) -> bytes:
        length = len(self.content[sector * SECTOR : (sector + 1) * SECTOR])
        return self.durable[sector * SECTOR : (sector + 1) * SECTOR].ljust(length, b"\0")[:length]

    # --8<-- [start:image]
    def image(self, choose: random.Random, fates: str) -> Inode:
        """One of the contents that the platter may have after a power failure."""
        size = choose.choice((len(self.durable), len(self.content)))
        image = bytearray(self.content)
        for sector in self.lost | self.dirty:
            start = sector * SECTOR
            new = image[start : start + SECTOR]
            old = self._old(sector)
            match choose.choice(fates):
                case "k" if sector in self.dirty:
                    continue
                case "z":
                    image[start : start + SECTOR] = bytes(len(new))
                case "g":
                    image[start : start + SECTOR] = choose.randbytes(len(new))
                case "t" if sector in self.dirty:
                    torn = choose.randrange(len(new) + 1)
                    image[start : start + SECTOR] = new[:torn] + old[torn:]
                case _:
                    image[start : start + SECTOR] = old
        survivor = Inode()
        survivor.content = image[:size].ljust(size, b"\0")
        survivor.durable = bytes(survivor.content)
        return survivor

    # --8<-- [end:image]


class SimulatedFile:
    """A StorageFile on the simulated disk."""

    def __init__(self, disk: SimulatedDisk, inode: Inode) -> None:
        self._disk = disk
        self._inode = inode

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._disk.before_call("write", lambda: self._inode.write(offset, data[: len(data) // 2]))
        self._inode.write(offset, data)
        self._disk.after_call()

    def sync(self) -> None:
        self._disk.look_on()
        self._disk.before_call("sync", self._inode.fail_sync)
        self._inode.sync()
        self._disk.after_call()

    def begin_sync(self) -> Callable[[], object]:
        return self.sync  # as late as it may be

    def truncate(self, size: int) -> None:
        self._disk.before_call("truncate")
        del self._inode.content[size:]
        self._inode.dirty = {s for s in self._inode.dirty if s * SECTOR < size}
        self._disk.after_call()

    def check_name(self, name: str) -> None:
        if self._disk.names_now.get(name) is not self._inode:
            raise FileNotFoundError(name)

    def close(self) -> None:
        pass


class SimulatedDisk:
    """A Storage on which power and calls may fail.

    `crash_at` stops the world after that many calls. `fail_at` lets that call raise `error`:
    once, or for ever where `for_ever`.
    """

    def __init__(
        self,
        *,
        crash_at: int = 0,
        fail_at: int = 0,
        error: OSError | None = None,
        for_ever: bool = False,
    ) -> None:
        self.calls: list[str] = []
        self.names_now: dict[str, Inode] = {}
        self._names_durable: dict[str, Inode] = {}
        self._changes: list[tuple[str, Inode | None]] = []
        self._crash_at = crash_at
        self._fail_at = fail_at
        self._error = error
        self._for_ever = for_ever
        self._generation = 0
        self.onlooker: Callable[[], object] | None = None
        """Another process, which sees what is written before it is synced."""

    def look_on(self) -> None:
        onlooker, self.onlooker = self.onlooker, None  # it does not look at itself
        if onlooker is not None:
            onlooker()
            self.onlooker = onlooker

    def before_call(self, kind: str, half_done: object = None) -> None:
        self.calls.append(kind)
        number = len(self.calls)
        if self._error is not None and (
            number == self._fail_at or (self._for_ever and number > self._fail_at)
        ):
            if callable(half_done):
                half_done()
            raise self._error

    def after_call(self) -> None:
        if len(self.calls) == self._crash_at:
            raise PowerFailure

    def crash_image(self, choose: random.Random) -> SimulatedDisk:
        """What a new start may find after the power failed now."""
        fates = choose.choice(("k", "d", "kd", "kdz", "kdzg", "kdzgt", "z", "g", "t"))
        names = dict(self._names_durable)
        for name, inode in self._changes[: choose.randint(0, len(self._changes))]:
            if inode is None:
                names.pop(name, None)
            else:
                names[name] = inode
        image = SimulatedDisk()
        image._generation = self._generation
        image.names_now = {name: inode.image(choose, fates) for name, inode in names.items()}
        image._names_durable = dict(image.names_now)
        return image

    def restarted(self, **faults: object) -> SimulatedDisk:
        """The same disk for a new process: nothing was lost, memory and platter still differ."""
        again = SimulatedDisk(**faults)  # type: ignore[arg-type]
        again._generation = self._generation
        again.names_now = self.names_now
        again._names_durable = self._names_durable
        again._changes = self._changes
        return again

    # -- Storage ------------------------------------------------------------------------------

    def lock(self) -> None:
        pass

    def unlock(self) -> None:
        pass

    def names(self) -> list[str]:
        return sorted(self.names_now)

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        if name not in self.names_now:
            raise FileNotFoundError(name)
        end = None if limit < 0 else offset + limit
        return bytes(self.names_now[name].content[offset:end])

    def stream(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.read(name))

    def size(self, name: str) -> int:
        return len(self.names_now[name].content) if name in self.names_now else 0

    def create(self, name: str) -> SimulatedFile:
        self.before_call("create")
        self._change(name, Inode())
        self.after_call()
        return SimulatedFile(self, self.names_now[name])

    def open(self, name: str) -> SimulatedFile:
        self.before_call("open")
        return SimulatedFile(self, self.names_now[name])

    def rename(self, old: str, new: str) -> None:
        self.before_call("rename")
        inode = self.names_now[old]
        self._change(new, inode)
        self._change(old, None)
        self.after_call()

    def remove(self, name: str) -> None:
        self.before_call("remove")
        if name not in self.names_now:
            raise FileNotFoundError(name)
        self._change(name, None)
        self.after_call()

    def remove_abandoned(self, prefix: str) -> None:
        for name in [name for name in self.names() if name.startswith(prefix)]:
            self.remove(name)

    def archive(self, name: str) -> bool:
        return False

    def sync_directory(self) -> None:
        self.before_call("sync_directory")
        self._names_durable = dict(self.names_now)
        self._changes = []
        self.after_call()

    def random64(self) -> int:
        self._generation += 0x9E3779B97F4A7C15
        return self._generation & 0xFFFFFFFFFFFFFFFF

    def _change(self, name: str, inode: Inode | None) -> None:
        self._changes.append((name, inode))
        if inode is None:
            del self.names_now[name]
        else:
            self.names_now[name] = inode
