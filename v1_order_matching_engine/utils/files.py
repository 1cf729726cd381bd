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
from .signals import GracefulStop, StopRequested

STANDARD = "-"
"""The name of standard input or output."""

LONGEST_LINE_BYTES = 65_536
"""Without the line feed; a longer line is malformed."""

_CHUNK_BYTES = 1 << 16
_FINISH_LINE_MILLISECONDS = 1000  # after a signal, for a reader that is only slow
_XZ_MEMORY_BYTES = 1 << 28  # the strongest usual packing, `xz -9`, asks for a quarter of it


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
    """A file to write to, all or nothing. Where it takes no more it waits for room or a signal.

    It never blocks, whatever the descriptor does: it writes to a pipe, a terminal or a socket only
    as much as there is room for. A regular file always has room.
    """

    def __init__(self, file: int | str, stop: GracefulStop, **how: Any) -> None:
        super().__init__(file, "w", **how)
        self._stop = stop
        self._room = select.poll()
        self._room.register(self.fileno(), select.POLLOUT)
        is_regular = stat.S_ISREG(os.fstat(self.fileno()).st_mode)
        self._at_once = None if is_regular else select.PIPE_BUF

    def write(self, data: Any) -> int:
        """Write all of `data`.

        Raises:
            StopRequested: a signal came and there was no room. The line that was begun is written
                to its end, if the reader makes room for it soon.
        """
        with memoryview(data) as view:
            left = view
            while left:
                if (left := self._write_some(left)) and not self._stop.wait_for_room(self.fileno()):
                    self._finish_line(view, len(view) - len(left))
                    raise StopRequested
            return len(view)

    def _write_some(self, data: memoryview, milliseconds: int = 0) -> memoryview:
        """Write for as long as there is room, or comes within some time; return what is left."""
        while data and self._room.poll(milliseconds):
            data = data[super().write(data[: self._at_once]) or 0 :]
        return data

    def _finish_line(self, data: memoryview, written: int) -> None:
        begun, rest = bytes(data[:written]), data[written:]
        if begun and not begun.endswith(b"\n"):
            end = bytes(rest).find(b"\n") + 1
            self._write_some(rest[: end or None], _FINISH_LINE_MILLISECONDS)


def patient_standard_output(stop: GracefulStop) -> io.TextIOWrapper | None:
    """Standard output for `print`: it waits for its reader, and escapes what it cannot encode.

    None if standard output is closed, or is not Python's own.
    """
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_PatientOutput(1, stop, closefd=False)),
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
        if stat.S_ISREG(self.file_status.st_mode) and _is_open(self.file_status, 1):
            raise StreamError(
                f"cannot read {self.name}: standard output goes to the same file; "
                "send it to another one"
            )
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

    def __init__(self, path: str, stop: GracefulStop, *, flow: FlowFile) -> None:
        self.name = "standard output" if path == STANDARD else shown(path)
        try:
            if path == STANDARD:
                self._file = _PatientOutput(1, stop, closefd=False)
            else:
                self._file = _PatientOutput(path, stop, opener=_open_without_emptying)
        except (OSError, ValueError) as error:
            raise StreamError(f"cannot open {self.name}: {_reason(error)}") from None
        if path != STANDARD:
            if use := _use(self._file.fileno(), flow):
                self._file.close()
                raise StreamError(f"cannot write {self.name}: it is {use}")
            with suppress(OSError):  # a pipe or a terminal cannot be emptied
                self._file.truncate(0)

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            BrokenPipeError: the reader has gone.
            StopRequested: a signal came while this waited for the reader.
            StreamError: it cannot be written.
        """
        try:
            self._file.write(data)
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


class _Unpacked(io.RawIOBase):
    """What is in an .xz file, unpacked in bounded memory: `lzma.LZMAFile` has no bound."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed = packed
        self._decoder = _decoder()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            more = b""
            if self._decoder.eof:
                more = self._start_of_next_stream()
                if not more:
                    return 0
                self._decoder = _decoder()
            elif self._decoder.needs_input:
                more = self._packed.read1(_CHUNK_BYTES)
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
            raise lzma.LZMAError(
                f"unpacking it takes more memory than the {_XZ_MEMORY_BYTES >> 20} MiB that are "
                "allowed; unpack it with another program"
            ) from None

    def _start_of_next_stream(self) -> bytes:
        """Skip the zeros that may be between two streams. Nothing is the end of the file."""
        more = self._decoder.unused_data.lstrip(b"\0")
        while not more and (chunk := self._packed.read1(_CHUNK_BYTES)):
            more = chunk.lstrip(b"\0")
        return more


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)


def _decompressed(raw: io.BufferedReader, path: str) -> io.BufferedReader | gzip.GzipFile:
    extension = Path(path).suffix.lower()
    if extension == ".gz":
        return gzip.GzipFile(fileobj=raw)
    return io.BufferedReader(_Unpacked(raw), _CHUNK_BYTES) if extension == ".xz" else raw


def _open_at_once(path: str, flags: int) -> int:
    """Open a named pipe, too, that nobody writes to yet: it is waited for when it is read."""
    return os.open(path, flags | os.O_NONBLOCK)


def _open_without_emptying(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _use(descriptor: int, flow: FlowFile) -> str:
    """What a file is used for already, if writing to it would destroy that; else nothing."""
    file = os.fstat(descriptor)
    is_pipe = stat.S_ISFIFO(file.st_mode)
    if not is_pipe and not stat.S_ISREG(file.st_mode):
        return ""
    if os.path.samestat(file, flow.file_status):
        return "the flow itself"
    if is_pipe:
        return ""
    for standard, name in enumerate(("input", "output", "error")):
        if _is_open(file, standard):
            return f"standard {name}"
    others = _descriptors() - {descriptor}
    return "open already" if any(_is_open(file, other) for other in others) else ""


def _descriptors() -> set[int]:
    """Every descriptor that is open, where the system tells."""
    try:
        return {int(name) for name in os.listdir("/dev/fd")}  # noqa: PTH208  # numbers, no paths
    except OSError:
        return set()


def _is_open(file: os.stat_result, descriptor: int) -> bool:
    try:
        return os.path.samestat(file, os.fstat(descriptor))
    except OSError:  # it is closed
        return False


def _reason(error: Exception) -> str:
    """The words of the operating system, without number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
