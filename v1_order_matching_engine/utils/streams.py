"""Bytes in and out: plain, gzip and xz files, standard input and output, and lines.

Everything is read and written in pieces, so a flow may be larger than memory. Failures are
`StreamError`s that name the file; a closed pipe stays a `BrokenPipeError`, which is no failure.
"""

import gzip
import io
import lzma
import os
import stat
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import StreamError

STANDARD = "-"
"""The name that stands for standard input or output."""

_CHUNK_BYTES = 1 << 16


class FlowReader:
    """A flow of bytes, decompressed according to its extension. `-` is standard input.

    StreamError from here on means: not there, not readable, or damaged.
    """

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == STANDARD else path
        try:
            is_standard = path == STANDARD
            file = io.FileIO(0 if is_standard else path, closefd=not is_standard)
            self._raw: io.BufferedReader = io.BufferedReader(file)
            self.file_status = os.fstat(self._raw.fileno())
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise StreamError(f"cannot open {self.name}: {_reason(error)}") from None
        self._stream = _decompressed(self._raw, path)

    @property
    def total_bytes(self) -> int | None:
        """The size on the disk, before decompression; None if this is not a regular file."""
        status = self.file_status
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def position_bytes(self) -> int:
        """How much of `total_bytes` has been read."""
        return self._raw.tell()

    def read(self) -> bytes:
        """Return what there is, waiting only if there is nothing; b"" is the end."""
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


class AnswerWriter:
    """Where answers go: a file, or standard output for `-`. Every write is passed on at once."""

    def __init__(self, path: str, *, flow: FlowReader) -> None:
        self.name = "standard output" if path == STANDARD else path
        try:
            is_standard = path == STANDARD
            if not is_standard and _is_same_file(path, flow):
                raise StreamError(f"cannot write {path}: it is the flow itself")
            file = io.FileIO(1 if is_standard else path, "w", closefd=not is_standard)
            self._file = io.BufferedWriter(file)
        except (OSError, ValueError) as error:
            raise StreamError(f"cannot open {self.name}: {_reason(error)}") from None

    def write(self, data: bytes) -> None:
        """Write and flush. BrokenPipeError if nobody reads any more."""
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
        # All was flushed by `write`; what that could not write cannot be written now either.
        with suppress(OSError):
            self._file.close()


class LineSplitter:
    """Cuts chunks into lines. Linear, also for a line that spans many chunks."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that are complete now, without their `\\n`."""
        self._pending.append(chunk)
        if b"\n" not in chunk:
            return []
        *lines, rest = b"".join(self._pending).split(b"\n")
        self._pending = [rest]
        return lines

    def finish(self) -> list[bytes]:
        """Return the last line if it has no line end: it counts all the same."""
        rest = b"".join(self._pending)
        self._pending = []
        return [rest] if rest else []


def _decompressed(
    raw: io.BufferedReader, path: str
) -> io.BufferedReader | gzip.GzipFile | lzma.LZMAFile:
    extension = Path(path).suffix.lower()
    if extension == ".gz":
        return gzip.GzipFile(fileobj=raw)
    return lzma.LZMAFile(raw) if extension == ".xz" else raw


def _is_same_file(path: str, flow: FlowReader) -> bool:
    """Whether writing to this path would destroy the flow while it is being read."""
    try:
        same = os.path.samestat(Path(path).stat(), flow.file_status)
    except FileNotFoundError:
        return False
    return same and flow.total_bytes is not None


def _reason(error: Exception) -> str:
    """The operating system's words alone, without number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
