"""What is asked of the operating system: everything durable goes through `Storage`.

The log in files, the snapshots and the audit trail are written against this small interface, so
that a simulated disk, which can lose or tear whatever was not synced, can take its place. What a
caller can depend on: **only what a sync has confirmed survives a power failure**. Bytes of a file
are durable after `sync` of that file; that a name exists, or is gone, after `sync_directory`.
"""

import errno
import fcntl
import os
import stat
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from ...errors import DirectoryInUse, DirectoryUnusable

ARCHIVE = "archive"
COPY_BYTES = 1024 * 1024
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
"""Who may read: the log has every order of every participant. The umask may take more away."""


class StorageFile(Protocol):
    """A file open for writing."""

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, or raise OSError."""

    def sync(self) -> None:
        """Return once the bytes written so far are durable.

        Raises:
            OSError: assume nothing about these bytes, and do not sync them again.
        """

    def begin_sync(self) -> Callable[[], object]:
        """Begin what `sync` does, and return what waits for its end: it raises as `sync` does."""

    def truncate(self, size: int) -> None:
        """Cut the file, or raise OSError."""

    def check_name(self, name: str) -> None:
        """Return if the file still has this name in its directory.

        Raises:
            OSError: it was removed, renamed or replaced: what is written to it is lost.
        """

    def close(self) -> None:
        """Close the file, once; later calls do nothing. Makes nothing durable."""


class Storage(Protocol):
    """A flat directory of files, held by one writer at a time."""

    def lock(self) -> None:
        """Become the one writer.

        Raises:
            DirectoryInUse: there is one, in this process or another.
        """

    def unlock(self) -> None:
        """Let the next writer in. Later calls do nothing."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def read(self, name: str, offset: int, limit: int) -> bytes:
        """At most `limit` bytes of a file, from `offset` on; fewer only at its end.

        Raises:
            FileNotFoundError: there is none.
        """

    def stream(self, name: str) -> BinaryIO:
        """The content of a file, to be read from its beginning. Raises as `read`."""

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

    def remove_abandoned(self, prefix: str) -> None:
        """Remove the files with such names that their makers have given up."""

    def archive(self, name: str) -> bool:
        """Move a file into `archive/`; `names`, `read` and `size` still find it.

        False if it is there already, or another one moves it.
        """

    def sync_directory(self) -> None:
        """Return once all names are durable."""

    def random64(self) -> int:
        """64 bits that no earlier call gave."""


@contextmanager
def new_file(storage: Storage, name: str) -> Iterator[StorageFile]:
    """A new file, to be written and synced; it stays open.

    Where that fails, it is closed, and removed: a disk that is full does not stay full because of
    it.
    """
    file = storage.create(name)
    try:
        yield file
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            with suppress(OSError):
                storage.remove(name)
        raise


def reason(error: Exception) -> str:
    """Why a file cannot be used, in the words of the operating system where it gives any."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def copy_bytes(
    storage: Storage, name: str, begin: int, end: int, target: StorageFile, at: int
) -> None:
    """Write the bytes from `begin` to `end` of a file to `target`, from `at` on. O(bytes)."""
    while begin < end and (piece := storage.read(name, begin, min(COPY_BYTES, end - begin))):
        target.write_at(at, piece)
        begin += len(piece)
        at += len(piece)


def open_descriptor(name: str, flags: int, directory: int | None = None) -> int:
    """Open a file, or a directory, below `directory`, and return its descriptor.

    It is never 0, 1 or 2: where one of these is closed, the rest of the program, or a child, would
    take what is opened here for standard input, output or error. A file that may have to be waited
    for (a FIFO) is not waited for.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(name, flags, FILE_MODE, dir_fd=directory)
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def open_regular(name: str, flags: int, directory: int | None = None) -> int:
    """As `open_descriptor`, for regular files only.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    descriptor = open_descriptor(name, flags, directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file; move it away", name)
    return descriptor


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one; a link that leads in a circle is not."""
    with suppress(OSError):
        return entry.is_file()
    return False


def _same_content(left: BinaryIO, right: BinaryIO) -> bool:
    """Whether two files have the same bytes. O(bytes)."""
    while (piece := left.read(COPY_BYTES)) == right.read(COPY_BYTES):
        if not piece:
            return True
    return False


@contextmanager
def opened_directory(name: str, directory: int | None = None) -> Iterator[int]:
    """The descriptor of a directory below `directory`, for a while."""
    descriptor = open_descriptor(name, os.O_RDONLY | os.O_DIRECTORY, directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _File:
    """A StorageFile of the operating system. It owns its descriptor."""

    def __init__(self, descriptor: int, directory: int) -> None:
        self._descriptor = descriptor
        self._directory = directory
        found = os.fstat(descriptor)
        self._identity = found.st_dev, found.st_ino

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # a short write is legal: go on, or meet the error that cut it
            with memoryview(data) as view:
                written += os.pwrite(self._descriptor, view[written:], offset + written)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def begin_sync(self) -> Callable[[], object]:
        thread = ThreadPoolExecutor(1)
        syncing = thread.submit(self.sync)
        thread.shutdown(wait=False)
        return syncing.result

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def check_name(self, name: str) -> None:
        # The kernel's own idea of the names. To ask by `stat` every time would make the next sync
        # slower by a third: a file whose times were looked at gets finer ones with each write.
        with suppress(OSError):
            directory = os.readlink(f"/proc/self/fd/{self._directory}")  # noqa: PTH115  # quicker
            file = os.readlink(f"/proc/self/fd/{self._descriptor}")  # noqa: PTH115
            if file == f"{directory}/{name}":
                return
        found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        if (found.st_dev, found.st_ino) != self._identity:
            raise OSError(errno.ESTALE, "another file has taken the place of this one", name)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class DirectoryStorage:
    """A `Storage` in a directory of the local file system.

    The directory is held, not named: its path is looked up once, and everything goes through the
    descriptor that was opened then. So the working directory may change, and the directory may get
    another name or another directory its old one: this storage stays in the one that it opened.

    With `create` a missing directory is made. Without, opening changes nothing, and works on a
    directory that is read-only or in use by a writer. Archived files are in its folder `archive/`,
    which may be a link to one elsewhere, and are read like the others.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        if not os.fspath(path):
            raise DirectoryUnusable("an empty name is no directory; name one with --data-dir")
        if "\0" in os.fsdecode(path):
            raise DirectoryUnusable("a name with a null byte is no directory; name another one")
        self.path = Path(path)
        self._lock_descriptor = -1
        try:
            if create:
                self._make()
            self.descriptor = open_descriptor(os.fspath(path), os.O_RDONLY | os.O_DIRECTORY)
            self.close = weakref.finalize(self, os.close, self.descriptor)
            """Give the directory back, once; later calls do nothing."""
            os.scandir(self.descriptor).close()  # is it readable?
        except (OSError, UnicodeError) as error:  # UnicodeError: half a character in the name
            name = str(self.path).encode(errors="backslashreplace").decode()
            raise DirectoryUnusable(
                f"{name}: {reason(error)}; name another directory with --data-dir"
            ) from error

    def _make(self) -> None:
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        for made in reversed(missing):
            made.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        for made in missing:  # a new directory is durable once its parent is synced
            with opened_directory(os.fspath(made.parent)) as parent:
                os.fsync(parent)

    def lock(self) -> None:
        # flock, not lockf: it also keeps a second engine of this very process out. On a descriptor
        # of its own, so that the other one can be handed to a child without the lock.
        descriptor = open_descriptor(".", os.O_RDONLY | os.O_DIRECTORY, self.descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DirectoryInUse(
                f"{self.path}: another engine has this directory open; stop that one, or name "
                f"another directory with --data-dir"
            ) from error
        except OSError:
            os.close(descriptor)
            raise
        self._lock_descriptor = descriptor

    def unlock(self) -> None:
        # Closing would not do where a process was forked meanwhile: it has a copy.
        if self._lock_descriptor >= 0:
            fcntl.flock(self._lock_descriptor, fcntl.LOCK_UN)
            self.forget_lock()

    def forget_lock(self) -> None:
        """Close this process's copy of the lock without unlocking: it is another process's."""
        descriptor, self._lock_descriptor = self._lock_descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def names(self) -> list[str]:
        with os.scandir(self.descriptor) as entries:
            names = {entry.name for entry in entries if _is_file(entry)}
        with (
            suppress(OSError),
            opened_directory(ARCHIVE, self.descriptor) as archive,
            os.scandir(archive) as entries,
        ):
            names |= {entry.name for entry in entries if _is_file(entry)}
        return sorted(names)

    def _open_to_read(self, name: str) -> int:
        try:
            return open_regular(name, os.O_RDONLY, self.descriptor)
        except FileNotFoundError:
            with suppress(NotADirectoryError):  # what has the archive's name may be something else
                return open_regular(f"{ARCHIVE}/{name}", os.O_RDONLY, self.descriptor)
            raise

    def stream(self, name: str) -> BinaryIO:
        return open(self._open_to_read(name), "rb")  # noqa: PTH123  # a descriptor; the caller closes it

    def read(self, name: str, offset: int, limit: int) -> bytes:
        descriptor = self._open_to_read(name)
        try:
            data = os.pread(descriptor, limit, offset)
            while 0 < len(data) < limit:  # a short read is legal
                more = os.pread(descriptor, limit - len(data), offset + len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int:
        for place in (name, f"{ARCHIVE}/{name}"):
            with suppress(FileNotFoundError, NotADirectoryError):
                return os.stat(place, dir_fd=self.descriptor).st_size
        return 0

    def identities(self) -> Iterator[tuple[int, int]]:
        """Device and number of every file in the directory and its archive."""
        for name in self.names():
            for place in (name, f"{ARCHIVE}/{name}"):
                with suppress(OSError):
                    found = os.stat(place, dir_fd=self.descriptor)
                    yield found.st_dev, found.st_ino

    def why_not_ours(self, name: str) -> str:
        """Why what has this name is no file to be read and written; empty if it is, or nothing."""
        with suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                return "not a regular file"
            if not os.access(name, os.R_OK | os.W_OK, dir_fd=self.descriptor):
                return "a file that this user may not read or write"
        return ""

    def modified(self, name: str) -> float:
        """When a file was last written: seconds since 1970."""
        return os.stat(name, dir_fd=self.descriptor).st_mtime

    def archive(self, name: str) -> bool:
        with suppress(FileExistsError):
            os.mkdir(ARCHIVE, DIRECTORY_MODE, dir_fd=self.descriptor)
            self.sync_directory()
        with opened_directory(ARCHIVE, self.descriptor) as archive:
            fcntl.flock(archive, fcntl.LOCK_EX)  # one at a time, of whatever directory
            try:
                source = open_regular(name, os.O_RDONLY, self.descriptor)
                with open(source, "rb") as file:  # noqa: PTH123  # a descriptor
                    self._archive(file, archive, name)
            except FileNotFoundError:  # it is there already, or moved by one that does not lock
                return False
            os.fsync(archive)
        self.sync_directory()
        return True

    def _archive(self, source: BinaryIO, archive: int, name: str) -> None:
        """Move a file, which is open, into the archive."""
        try:
            there = open(open_regular(name, os.O_RDONLY, archive), "rb")  # noqa: SIM115
        except FileNotFoundError:
            try:
                os.rename(name, name, src_dir_fd=self.descriptor, dst_dir_fd=archive)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_to(archive, source, name)
                os.fsync(archive)
                self.remove(name)
            return
        with there:  # copied, and not removed any more; or of another directory
            if not _same_content(source, there):
                raise DirectoryUnusable(
                    f"{self.path}/{ARCHIVE}/{name}: another file has this name; move it away, or "
                    f"let {ARCHIVE} be a folder for this directory alone"
                )
        os.fsync(archive)
        self.remove(name)

    def _copy_to(self, archive: int, source: BinaryIO, name: str) -> None:
        """Copy a file to another file system; there it gets its name once it is durable."""
        unfinished = f"{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        target = _File(open_regular(unfinished, flags, archive), archive)
        offset = 0
        try:
            while piece := source.read(COPY_BYTES):
                target.write_at(offset, piece)
                offset += len(piece)
            target.sync()
        except OSError as error:
            with suppress(OSError):  # a disk that is full does not stay full because of it
                os.unlink(unfinished, dir_fd=archive)
            raise OSError(error.errno, error.strerror, f"{ARCHIVE}/{name}") from error
        finally:
            target.close()
        os.rename(unfinished, name, src_dir_fd=archive, dst_dir_fd=archive)

    def create(self, name: str) -> StorageFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = open_regular(name, flags, self.descriptor)
        with suppress(OSError):  # so that others see that it is being made
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return _File(descriptor, self.descriptor)

    def remove_abandoned(self, prefix: str) -> None:
        for name in self.names():
            if name.startswith(prefix):
                with suppress(OSError):
                    descriptor = open_regular(name, os.O_WRONLY | os.O_NOFOLLOW, self.descriptor)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        self.remove(name)
                    finally:
                        os.close(descriptor)

    def open(self, name: str) -> StorageFile:
        flags = os.O_WRONLY | os.O_NOFOLLOW
        return _File(open_regular(name, flags, self.descriptor), self.descriptor)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self.descriptor)

    def sync_directory(self) -> None:
        os.fsync(self.descriptor)

    def random64(self) -> int:
        return int.from_bytes(os.urandom(8), "little")
