"""Bytes in and out: plain, gzip and xz files, standard input and output, and lines.

Everything is read and written in pieces, so a flow may be larger than memory. A failure is a
`StreamError` that names the file. A closed pipe stays a `BrokenPipeError`: it is not a failure.

Whoever is at the other end may be slow, or may have made the stream non-blocking (ssh and node do
so): then `poll` waits. Not `select`, which knows no descriptor above 1,023.
"""

import gzip
import io
import lzma
import os
import select
import stat
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import StreamError
from .signals import GracefulStop

STANDARD = "-"
"""The name of standard input or output."""

LONGEST_LINE_BYTES = 65_536
"""Without the line feed; a longer line is malformed."""

_CHUNK_BYTES = 1 << 16


def shown(name: str) -> str:
    """A file's name for people: what is no text, or would move the cursor, is escaped.

    >>> shown("a[1] \\n \\udcff")
    'a[1] \\\\n \\\\udcff'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


class _PatientInput(io.FileIO):
    """A file to read from. Where there is nothing yet it waits for input or a signal."""

    def __init__(self, path: str, stop: GracefulStop) -> None:
        if path == STANDARD:
            super().__init__(0, closefd=False)
        else:
            super().__init__(path, opener=_open_at_once)
        self._stop = stop

    def readinto(self, buffer: Any) -> int:
        while True:
            self._stop.wait_for_input(self.fileno())
            count: int | None = super().readinto(buffer)
            if count is not None:
                return count


class _PatientOutput(io.FileIO):
    """A file to write to. Where it takes nothing at the moment it waits until it does."""

    def write(self, data: Any) -> int:
        while True:
            count: int | None = super().write(data)
            if count is not None:
                return count
            waiting = select.poll()
            waiting.register(self.fileno(), select.POLLOUT)
            waiting.poll()


def patient_standard_output() -> io.TextIOWrapper | None:
    """Standard output for `print`: it waits for its reader, and escapes what it cannot encode.

    None if standard output is closed, or is not Python's own.
    """
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_PatientOutput(1, "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors="backslashreplace",
        line_buffering=sys.stdout.line_buffering,
    )


class FlowFile:
    """A flow of bytes to be read, decompressed according to its extension; `-` is standard input.

    Raises:
        StreamError: it cannot be opened.
    """

    def __init__(self, path: str, stop: GracefulStop) -> None:
        self.name = "standard input" if path == STANDARD else shown(path)
        if path == STANDARD and sys.stdin is None:
            raise StreamError("cannot open standard input: it is closed")
        try:
            raw: io.RawIOBase = _PatientInput(path, stop)
            self._raw: io.BufferedReader = io.BufferedReader(raw, _CHUNK_BYTES)
            self.file_status = os.fstat(self._raw.fileno())
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise StreamError(f"cannot open {self.name}: {_reason(error)}") from None
        self._stream = _decompressed(self._raw, path)

    @property
    def total_bytes(self) -> int | None:
        """The size on the disk, before decompression; None if it is not a regular file."""
        status = self.file_status
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def position_bytes(self) -> int:
        """How much of `total_bytes` has been read."""
        return self._raw.tell()

    def read(self) -> bytes:
        """The next bytes, at least one; b"" is the end. It waits only if there are none yet.

        Raises:
            StreamError: it cannot be read, or is damaged.
        """
        try:
            return self._stream.read1(_CHUNK_BYTES)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise StreamError(f"cannot read {self.name}: {_reason(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._raw.close()


class EventsFile:
    """Where the answers go: a file, or standard output for `-`.

    A file that is there is emptied only once it is known that nothing else uses it.

    Raises:
        StreamError: it cannot be opened, or is the flow or another file that is in use.
    """

    def __init__(self, path: str, *, flow: FlowFile) -> None:
        self.name = "standard output" if path == STANDARD else shown(path)
        try:
            if path == STANDARD:
                file = _PatientOutput(1, "w", closefd=False)
            else:
                file = _PatientOutput(path, "w", opener=_open_without_emptying)
        except (OSError, ValueError) as error:
            raise StreamError(f"cannot open {self.name}: {_reason(error)}") from None
        self._file = io.BufferedWriter(file)
        if path != STANDARD:
            if use := _use(os.fstat(file.fileno()), flow):
                self._file.close()
                raise StreamError(f"cannot write {self.name}: it is {use}")
            with suppress(OSError):  # a pipe or a terminal cannot be emptied
                file.truncate(0)

    def write(self, data: bytes) -> None:
        """Write and flush.

        Raises:
            BrokenPipeError: the reader has gone.
            StreamError: it cannot be written.
        """
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamError(f"cannot write {self.name}: {_reason(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # `write` has flushed everything; what it could not write cannot be written now either.
        with suppress(OSError):
            self._file.close()


class LineSplitter:
    """Chunks in, lines out; a line may span any number of chunks. O(bytes).

    Of a line that is too long only the beginning is kept: enough to see that it is too long.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their line feeds."""
        *lines, unfinished = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._pending) + lines[0]
            self._pending.clear()
        if len(self._pending) <= LONGEST_LINE_BYTES:
            self._pending += unfinished
        return lines

    def finish(self) -> list[bytes]:
        """The last line, if the flow did not end with a line feed."""
        last = bytes(self._pending)
        self._pending.clear()
        return [last] if last else []


def _decompressed(
    raw: io.BufferedReader, path: str
) -> io.BufferedReader | gzip.GzipFile | lzma.LZMAFile:
    extension = Path(path).suffix.lower()
    if extension == ".gz":
        return gzip.GzipFile(fileobj=raw)
    return lzma.LZMAFile(raw) if extension == ".xz" else raw


def _open_at_once(path: str, flags: int) -> int:
    """Open a named pipe, too, that nobody writes to yet: it is waited for when it is read."""
    return os.open(path, flags | os.O_NONBLOCK)


def _open_without_emptying(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _use(file: os.stat_result, flow: FlowFile) -> str:
    """What a file is used for already, if writing to it would destroy that; else nothing."""
    is_pipe = stat.S_ISFIFO(file.st_mode)
    if not is_pipe and not stat.S_ISREG(file.st_mode):
        return ""
    if os.path.samestat(file, flow.file_status):
        return "the flow itself"
    for descriptor, name in enumerate(("input", "output", "error")):
        if not is_pipe and os.path.samestat(file, os.fstat(descriptor)):
            return f"standard {name}"
    return ""


def _reason(error: Exception) -> str:
    """The words of the operating system, without number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
