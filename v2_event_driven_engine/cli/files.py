"""Flows in, answers out: the files and streams of the command line.

There is one way to wait (`StopSignals`, for a descriptor and for a signal at once), one way to
write (`Output`, which waits where the reader is slow), and one way to complain (`complain`).
"""

import errno
import gzip
import io
import lzma
import os
import select
import stat
import sys
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ..engine.log.storage import open_descriptor, reason
from .signals import Stopped, StopSignals, wait_for

CHUNK_BYTES = 512 * 1024
XZ_MEMORY_BYTES = 256 * 1024 * 1024
"""What unpacking an `.xz` may take. The strongest usual packing, `xz -9`, asks for a quarter."""
FINISH_LINE_SECONDS = 1.0
"""How long after a signal a reader is waited for, so that the line that was begun is whole."""
STANDARD = "-"
"""The name that is standard input."""

Identity = tuple[int, int]
"""Which file it is, whatever its names: device and number on it."""

UseOf = Callable[[Identity], str]
"""What a file, or a directory that a file is in, is used for, or an empty text."""

PARENT_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
"""How a directory is opened in which a file is made; it need not be readable."""


class FileProblem(Exception):
    """An input or output that cannot be opened, read or written; the message names it."""


def shown(name: str | os.PathLike[str]) -> str:
    """A name or line for people. What is no text, or a terminal would obey, is escaped."""
    text = os.fspath(name).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def complain(program: str, message: str) -> None:
    """Say what is wrong on standard error, if that can be written."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"{program}: {shown(message)}", file=sys.stderr, flush=True)


def identity(descriptor: int) -> Identity:
    """Which file a descriptor is."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def open_files() -> dict[Identity, str]:
    """Which regular files are open in this process, and as what."""
    descriptors = {0, 1, 2}
    with suppress(OSError):  # this system does not tell
        descriptors.update(map(int, os.listdir("/dev/fd")))  # noqa: PTH208  # numbers, no paths
    found: dict[Identity, str] = {}
    for descriptor in sorted(descriptors):
        with suppress(OSError):  # it is closed
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                use = "a standard stream" if descriptor <= 2 else "a file that is open already"
                found.setdefault(identity(descriptor), use)
    return found


def refuse_if_used(name: str, use: str) -> None:
    """Refuse to write a file whose use is given; an empty text is none.

    Raises:
        FileProblem: it is used.
    """
    if use:
        raise FileProblem(f"{name}: this is {use}; name another file for the events")


@contextmanager
def unused_parent(path: Path, used: UseOf) -> Iterator[tuple[int, str]]:
    """The directory that a path leads into, past all links, and the last name of the path there.

    Raises:
        FileProblem: it or a directory above it is used.
        OSError: it cannot be opened.
    """
    real = Path(os.path.realpath(path))
    parent = open_descriptor(os.fspath(real.parent), PARENT_FLAGS)
    try:
        for above in range(len(real.parents)):  # by what it is: it may have another name too
            directory = os.stat("../" * above or ".", dir_fd=parent)
            refuse_if_used(shown(path), used((directory.st_dev, directory.st_ino)))
        yield parent, real.name
    finally:
        os.close(parent)


def refuse_own_input(descriptor: int, name: str) -> None:
    """Refuse an input that is also standard output: it would grow as fast as it is read.

    Raises:
        FileProblem: it is.
    """
    with suppress(OSError):  # one of them is closed
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if regular and identity(descriptor) == identity(1):
            raise FileProblem(
                f"{name}: standard output goes to the same file; send it to another one"
            )


def standard_input() -> int:
    """The descriptor of standard input, for a dialogue.

    Raises:
        FileProblem: it is closed, or is also standard output.
    """
    if sys.stdin is None:
        raise FileProblem("standard input: it is closed; open it")
    descriptor = sys.stdin.fileno()
    refuse_own_input(descriptor, "standard input")
    return descriptor


class _Waiting(io.RawIOBase):
    """A descriptor to read from, which waits for input and for a signal at once.

    Raises `Stopped` from a read once a signal came.
    """

    def __init__(self, descriptor: int, stop: StopSignals) -> None:
        self.descriptor = descriptor
        self._stop = stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if not self._stop.readable(self.descriptor, wait=True):
                self._stop.check()
            with suppress(BlockingIOError):
                return os.readv(self.descriptor, [buffer])


class _Unpacked(io.RawIOBase):
    """What is in an `.xz` file, unpacked in memory that is bounded: `LZMAFile` knows no bound."""

    def __init__(self, packed: io.BufferedIOBase) -> None:
        self._packed = packed
        self._begin()

    def _begin(self) -> None:
        self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            more = b""
            if self._decoder.eof:
                more = self._next_stream()
                if not more:
                    return 0
                self._begin()
            elif self._decoder.needs_input:
                more = self._packed.read1(CHUNK_BYTES)
                if not more:
                    raise EOFError("it ends in the middle")
            data = self._unpack(more, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _unpack(self, more: bytes, size: int) -> bytes:
        try:
            return self._decoder.decompress(more, size)
        except lzma.LZMAError as error:
            if "limit" not in str(error):
                raise
            most = XZ_MEMORY_BYTES // 1024**2
            raise lzma.LZMAError(
                f"to unpack it takes more memory than the {most} MiB that are allowed; "
                "unpack it with another program"
            ) from None

    def _next_stream(self) -> bytes:
        """The beginning of one more stream, past the zeros that may pad the last, or nothing."""
        more = self._decoder.unused_data
        while not more.strip(b"\0"):
            more = self._packed.read1(CHUNK_BYTES)
            if not more:
                break
        return more.lstrip(b"\0")


class FlowFile:
    """An order-flow file, read in chunks: plain, `.gz`, `.xz`, or `-` for standard input."""

    def __init__(self, name: str, stop: StopSignals) -> None:
        self.name = shown(name)
        self.size: int | None = None
        """Bytes on disk, None where that is not known."""
        self._owned = name != STANDARD
        if not self._owned and sys.stdin is None:
            raise FileProblem("standard input: it is closed; name an NDJSON file, or open it")
        self.open_before = open_files()
        """Which other files were open when this one was opened, and as what."""
        try:
            if self._owned:  # a FIFO that has no writer yet is waited for when it is read
                self._descriptor = open_descriptor(name, os.O_RDONLY)
            else:
                self._descriptor = 0
            found = os.fstat(self._descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise FileProblem(
                f"{self.name}: {reason(error)}; name an NDJSON file, or - for standard input"
            ) from error
        self._regular = stat.S_ISREG(found.st_mode)
        if self._regular:
            self.size = found.st_size
        self.identity = identity(self._descriptor)
        refuse_own_input(self._descriptor, self.name)
        raw = io.BufferedReader(_Waiting(self._descriptor, stop), CHUNK_BYTES)
        suffix = Path(name).suffix.lower()
        if suffix == ".gz":
            self._stream: Any = gzip.GzipFile(fileobj=raw)
        elif suffix == ".xz":
            self._stream = io.BufferedReader(_Unpacked(raw), CHUNK_BYTES)
        else:
            self._stream = raw

    def chunks(self) -> Iterator[bytes]:
        """Chunk by chunk to the end, or until a signal comes."""
        while True:
            try:
                chunk = self._stream.read1(CHUNK_BYTES)
            except Stopped:
                return
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise FileProblem(f"{self.name}: cannot be read: {error}") from error
            if not chunk:
                return
            yield chunk

    def position(self) -> int:
        """How many of `size` bytes have been read."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR) if self._regular else 0

    def close(self) -> None:
        """Close the file, once."""
        if self._owned:
            self._owned = False
            os.close(self._descriptor)


class Output:
    """Where answers go: a descriptor that is written in full, however slow its reader."""

    def __init__(self, descriptor: int, name: str, stop: StopSignals | None = None) -> None:
        """With `stop`, waiting for the reader ends with `Stopped` once a signal came."""
        self._descriptor = descriptor
        self._name = name
        self._stop = stop
        self._stopped = False
        self._blocks = stop is not None and os.get_blocking(descriptor)
        """Whether a write may block, so that a signal could not end it."""
        if self._blocks and (own := _opened_again(descriptor)) is not None:
            self._descriptor = own
            weakref.finalize(self, os.close, own)
            self._blocks = False

    def write(self, data: bytes) -> None:
        """Write all of `data`, past Python's buffer.

        Raises:
            BrokenPipeError: the reader has gone.
            Stopped: a signal came while this waited for the reader. The line that was begun is
                written to its end, if the reader takes it soon. From then on nothing is written.
            FileProblem: it cannot be written.
        """
        written = 0
        try:
            with memoryview(data) as view:
                while written < len(data):
                    self._check()
                    try:
                        written += self._write_some(view[written:])
                    except BlockingIOError:
                        if not self._wait():
                            self._stopped = True
                            end = data.find(b"\n", written) + 1 or len(data)
                            if written > 0 and not data.endswith(b"\n", 0, written):
                                self._finish(view[written:end])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise FileProblem(f"{self._name}: {reason(error)}") from error

    def _write_some(self, data: memoryview) -> int:
        """Write what there is room for, at least a byte; BlockingIOError if there is none."""
        if self._blocks:
            if not wait_for(self._descriptor, to_write=True, seconds=0):
                raise BlockingIOError
            data = data[: select.PIPE_BUF]  # there is room for so much
        return os.write(self._descriptor, data)

    def _check(self) -> None:
        if self._stopped and self._stop is not None:
            self._stop.check()

    def _wait(self) -> bool:
        """Wait for the reader; False if a signal came first."""
        if self._stop is None:
            return wait_for(self._descriptor, to_write=True)
        return self._stop.writable(self._descriptor)

    def _finish(self, line: memoryview) -> None:
        """Write the rest of a line, if the reader takes it soon."""
        deadline = time.monotonic() + FINISH_LINE_SECONDS
        while len(line):
            with suppress(BlockingIOError):
                line = line[self._write_some(line) :]
            seconds = max(0.0, deadline - time.monotonic())
            if not wait_for(self._descriptor, to_write=True, seconds=seconds):
                return


def _opened_again(descriptor: int) -> int | None:
    """A pipe or terminal once more, so that writing does not block; None where that cannot be.

    Whoever shares the descriptor still blocks: only what is opened anew may be made different.
    """
    if not (stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor)):
        return None
    with suppress(OSError):  # it is another user's, or this system cannot do it
        return open_descriptor(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NOCTTY)
    return None


def standard_output(stop: StopSignals | None = None) -> Output:
    """Standard output.

    Raises:
        FileProblem: it is closed.
    """
    if sys.stdout is None:
        raise FileProblem("standard output: it is closed; open it")
    return Output(1, "standard output", stop)


class _Written(io.RawIOBase):
    """Standard output as a file, which waits for its reader as `Output` does."""

    def __init__(self) -> None:
        self._output = standard_output()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def write(self, data: Any) -> int:
        self._output.write(bytes(data))
        return len(data)


def standard_output_as_text() -> TextIO:
    """Standard output for those who print. Raises as `standard_output`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    raw: Any = _Written()  # not buffered: what could not be written is not tried again at the end
    return io.TextIOWrapper(raw, encoding, "backslashreplace", write_through=True)


def discard_standard_output() -> None:
    """Let nothing more reach standard output, whose reader has gone: closing it would fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def write_to_standard_output(data: bytes) -> None:
    """Write all of `data` to standard output. Raises as `Output.write`."""
    standard_output().write(data)


class EventsFile:
    """The file that `run --events` writes."""

    def __init__(self, path: Path, used: UseOf, stop: StopSignals) -> None:
        """Open it, and empty it unless it is used.

        Raises:
            FileProblem: it is used, or cannot be written.
        """
        name = shown(path)
        try:
            with unused_parent(path, used) as (parent, last_name):
                try:
                    self._descriptor = open_descriptor(os.fspath(path), os.O_WRONLY)
                except FileNotFoundError:  # made in that directory, wherever a link leads meanwhile
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                    self._descriptor = open_descriptor(last_name, flags, parent)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise FileProblem(
                f"{name}: {reason(error)}; name a file that can be written"
            ) from error
        try:
            refuse_if_used(name, used(identity(self._descriptor)))
        except BaseException:
            os.close(self._descriptor)
            raise
        with suppress(OSError):  # a terminal or a pipe cannot be emptied
            os.ftruncate(self._descriptor, 0)
        self.write = Output(self._descriptor, name, stop).write

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
