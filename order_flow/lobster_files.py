"""LOBSTER's two files, row by row.

The message file has a row per change of NASDAQ's visible book, the order book file has the best
levels after each:

    34200.004241176,1,16113575,18,5853300,1         time, type, order id, size, price, direction
    5859400,200,5853300,18,5859800,200, ...         ask price, ask size, bid price, bid size, ...

A price is in 1/10,000 dollar. The direction is the side of the order that *rests*: 1 buys and -1
sells.

Files are read row by row, plain or compressed, never as a whole. A row that breaks the format stops
the reading with an error that names it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, TypeAlias

from .errors import MalformedRow, UnusableFile

# The types that change the visible book. 5 is a hidden execution, 6 a cross, 7 a trading halt.
SUBMISSION, REDUCTION, DELETION, EXECUTION = 1, 2, 3, 4
SELLS, BUYS = -1, 1
ORDER_ID_MAX = 10**12 - 1  # NASDAQ's ids are far lower; higher ids are the conversion's own

Progress: TypeAlias = Callable[[float], None]
Level: TypeAlias = tuple[int, int]  # direction, price

# One match checks a row and splits it; only a row that fails is checked field by field.
_FIELDS = {
    "time": rb"\d+(?:\.\d+)?",
    "type": rb"[1-7]",
    "order id": rb"-?\d{1,18}",
    "size": rb"\d{1,18}",
    "price": rb"-?\d{1,18}",
    "direction": rb"-?1",
}
_EXPECTED = {
    "time": "seconds after midnight",
    "type": "1 to 7",
    "order id": "an integer above 0",
    "size": "an integer above 0",
    "price": "an integer above 0, in 1/10,000 dollar",
    "direction": "1 or -1",
}
_ROW = re.compile(b",".join(b"(" + shape + b")" for shape in _FIELDS.values()) + rb"[\r\n]*")
_INTEGER = re.compile(rb"-?\d{1,18}")
_PROGRESS_EVERY_ROWS = 4_096
_LONGEST_ROW_BYTES = 1 << 20  # fifty levels of an order book take 4 KB
_CHUNK_BYTES = 1 << 16
_XZ_MEMORY_BYTES = 1 << 28  # the strongest usual packing, `xz -9`, asks for a quarter of it


class Message(NamedTuple):
    """One row of the message file."""

    line: int
    time: bytes
    type: int
    order_id: int
    size: int
    price: int
    direction: int


def levels_before(first: Message | None, path: Path) -> dict[Level, int]:
    """The size at every level before the first message: the first book row with it undone.

    Raises UnusableFile or MalformedRow, also if the two files do not belong together.
    """
    with open_source(path, "_orderbook_") as source:
        row = next(source.rows(), b"").rstrip(b"\r\n")
    fields = row.split(b",")
    if len(fields) % 4 or not all(_INTEGER.fullmatch(field) for field in fields):
        raise MalformedRow(
            f"{source.name}, line 1: expected four integers per level (ask price, ask size, "
            "bid price, bid size). Is this a LOBSTER order book file?"
        )
    numbers = [int(field) for field in fields]
    levels: dict[Level, int] = {}
    for index in range(0, len(numbers), 2):
        price, size = numbers[index : index + 2]
        if size > 0:  # an unoccupied level has size 0 and a made-up price
            levels[SELLS if index % 4 == 0 else BUYS, price] = size
    if first is not None and first.type <= EXECUTION:
        level = first.direction, first.price
        change = -first.size if first.type == SUBMISSION else first.size
        before = levels.pop(level, 0) + change
        if before < 0:
            raise MalformedRow(
                f"{source.name}, line 1: message 1 adds {first.size} at price {first.price}, but "
                "this row holds less there. Are the two files of the same stock, day and level?"
            )
        if before > 0:
            levels[level] = before
    return levels


def messages(source: Source, progress: Progress | None) -> Iterator[Message]:
    """Every row of a message file, checked. Raises MalformedRow at the first malformed one."""
    for number, row in enumerate(source.rows(), 1):
        match = _ROW.fullmatch(row)
        if match is None:
            _refuse_message(source.name, number, row)
        time, kind, order_id, size, price, direction = match.groups()
        message = Message(
            number, time, int(kind), int(order_id), int(size), int(price), int(direction)
        )
        if message.type <= EXECUTION and not (
            0 < message.order_id <= ORDER_ID_MAX and message.size > 0 and message.price > 0
        ):
            _refuse_message(source.name, number, row)
        if progress is not None and number % _PROGRESS_EVERY_ROWS == 0:
            progress(source.fraction_read())
        yield message


def _refuse_message(name: str, number: int, row: bytes) -> NoReturn:
    """Raise MalformedRow for the first field that is wrong."""
    fields = row.rstrip(b"\r\n").split(b",")
    if len(fields) != len(_FIELDS):
        raise MalformedRow(
            f"{name}, line {number}: expected {len(_FIELDS)} fields ({', '.join(_FIELDS)}), "
            f"found {len(fields)}. Is this a LOBSTER message file?"
        )
    for field, (field_name, shape) in zip(fields, _FIELDS.items(), strict=True):
        if re.fullmatch(shape, field) is None:
            _refuse_field(name, number, field_name, field)
    for index, field_name in ((2, "order id"), (3, "size"), (4, "price")):
        if int(fields[index]) < 1:
            _refuse_field(name, number, field_name, fields[index])
    raise MalformedRow(
        f"{name}, line {number}: order id: {fields[2].decode()} is above {ORDER_ID_MAX}, "
        "and the conversion needs the ids above that for its own orders."
    )


def _refuse_field(name: str, number: int, field_name: str, field: bytes) -> NoReturn:
    found = field[:40].decode("utf-8", "backslashreplace")
    raise MalformedRow(
        f"{name}, line {number}: {field_name}: expected {_EXPECTED[field_name]}, found {found!r}. "
        "Get the file again, or correct the row."
    )


# Opening files


_UNREADABLE = (
    OSError, EOFError, MemoryError, NotImplementedError, RuntimeError, ValueError, IndexError,
    struct.error, lzma.LZMAError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What Python raises for a file that is damaged, or packed in a way that it does not know."""


class Source:
    """The rows of one opened file, its name for messages, and how far it has been read."""

    def __init__(self, name: str, file_name: str, raw: BinaryIO, stream: io.BufferedReader) -> None:
        self.name = name
        self.file_name = file_name
        self._raw = raw
        self._stream = stream
        found = os.fstat(raw.fileno())
        self._size = found.st_size if stat.S_ISREG(found.st_mode) else 0

    def rows(self) -> Iterator[bytes]:
        """The rows with their line ends, one at a time."""
        number = 0
        while row := self._next_row():
            number += 1
            if len(row) > _LONGEST_ROW_BYTES:
                raise MalformedRow(
                    f"{self.name}, line {number}: longer than {_LONGEST_ROW_BYTES:,} bytes. "
                    "Is this a LOBSTER file?"
                )
            yield row

    def _next_row(self) -> bytes:
        try:
            return self._stream.readline(_LONGEST_ROW_BYTES + 1)
        except _UNREADABLE as error:
            raise MalformedRow(
                f"{self.name}: cannot be read to its end: {_reason(error)}. Get the file again."
            ) from error

    def fraction_read(self) -> float:
        """The share of the file on disk (compressed, if it is) that has been read."""
        return self._raw.tell() / self._size if self._size else 0.0  # a pipe cannot tell


class _Unpacked(io.RawIOBase):
    """What is in an .xz file, unpacked in bounded memory: `lzma.open` knows no bound."""

    def __init__(self, packed: BinaryIO) -> None:
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
                more = self._packed.read(_CHUNK_BYTES)
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
                "allowed"
            ) from None

    def _start_of_next_stream(self) -> bytes:
        """Skip the zeros that may be between two streams. Nothing is the end of the file."""
        more = self._decoder.unused_data.lstrip(b"\0")
        while not more and (chunk := self._packed.read(_CHUNK_BYTES)):
            more = chunk.lstrip(b"\0")
        return more


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)


@contextlib.contextmanager
def open_source(path: Path, member_part: str) -> Iterator[Source]:
    """Open a file by the end of its name; of a zip, the member with `member_part` in its name."""
    if str(path) == "-":
        raise UnusableFile("-: name a file of market data, or /dev/stdin for standard input.")
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(path.open("rb"))
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise UnusableFile(f"{path}: cannot be opened: {_reason(error)}.") from error
        suffix = path.suffix.lower()
        name, file_name = str(path), path.name
        stream: Any = raw
        if suffix == ".zip":
            archive, member = _zip_member(path, raw, member_part)
            stack.enter_context(archive)
            name, file_name = f"{path} ({member})", Path(member).name
            try:
                packed = stack.enter_context(archive.open(member))
            except _UNREADABLE as error:  # it is encrypted too, perhaps
                raise UnusableFile(
                    f"{path}: {member} cannot be read from the zip: {_reason(error)}. Unpack the "
                    "zip with another program and name the files themselves."
                ) from error
            stream = io.BufferedReader(packed)
        elif suffix == ".gz":
            stream = io.BufferedReader(stack.enter_context(gzip.open(raw)))
        elif suffix == ".xz":
            stream = io.BufferedReader(_Unpacked(raw), _CHUNK_BYTES)
        yield Source(name, file_name, raw, stream)


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in the words of the operating system where it gives any."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _zip_member(path: Path, raw: BinaryIO, member_part: str) -> tuple[zipfile.ZipFile, str]:
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise UnusableFile(f"{path}: is not a zip file. Get the file again.") from error
    except _UNREADABLE as error:  # it is damaged; or no file, for a zip is read from its end
        raise UnusableFile(
            f"{path}: cannot be read as a zip: {_reason(error)}. Get the file again, or unpack it "
            "with another program and name the files themselves."
        ) from error
    members = [name for name in archive.namelist() if member_part in Path(name).name]
    if len(members) != 1:
        raise UnusableFile(
            f"{path}: expected one member with {member_part!r} in its name, found {len(members)}. "
            "Unpack the zip and name the files themselves."
        )
    return archive, members[0]
