"""Files that are much larger than anything an engine writes, and sizes that lie.

Each program runs with a limited address space and a deadline: a file is never read as a whole
before it is known that it can be, and holes are not searched for ever.
"""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from crc32c import crc32c

from v2_event_driven_engine import (
    EventDrivenMatchingEngine,
    LogDamaged,
    MalformedCommand,
    StoreError,
    UnsupportedFormat,
)
from v2_event_driven_engine.engine.audit.trail import (
    AUDIT_LOG,
    LOOK_BACK_BYTES,
    SEAL,
    end_of_trail,
)
from v2_event_driven_engine.engine.log import format as wal_format
from v2_event_driven_engine.engine.log import snapshot
from v2_event_driven_engine.engine.log.format import (
    BATCH_BYTES_MAX,
    BATCH_HEADER,
    BATCH_HEADER_BEFORE_CRC,
    BATCH_MAGIC,
    SECTOR,
    SEGMENT_BYTES_MAX,
    SEGMENT_HEADER,
    TWO_CRCS,
)
from v2_event_driven_engine.engine.log.reader import segment_name
from v2_event_driven_engine.engine.log.snapshot import SNAPSHOT_BYTES_MAX, Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage

from .faults import proves
from .flow import commands
from .logs import recover, take_snapshot
from .memory_storage import MemoryStorage
from .test_faults import Forger
from .test_log import crashed_copy

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60.0
ADDRESS_SPACE_BYTES = 1 << 30
TERABYTE = 1 << 40
SECTORS = 4096
"""Of a segment: it is longer than what a reader has in memory."""

LIMITED = f"""\
import resource, sys
from v2_event_driven_engine.main import main
resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE_BYTES}, {ADDRESS_SPACE_BYTES}))
sys.exit(main(sys.argv[1:]))
"""


def limited(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and complaints of the program, with little memory and time."""
    command = [sys.executable, "-c", LIMITED, *arguments, "--data-dir", str(data_dir)]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in finished.stderr
    return finished.returncode, finished.stdout + finished.stderr


def some_segments(data_dir: Path) -> list[str]:
    """A directory as a crash leaves it: segments, a snapshot, a trail; the segments' names."""
    whole = data_dir.with_name("whole")
    with EventDrivenMatchingEngine.open(whole, segment_bytes=4096, max_batch=8) as engine:
        for command in commands(100, 1):
            engine.submit(command)
    take_snapshot(whole)
    crashed_copy(whole, data_dir)
    return sorted(path.name for path in data_dir.glob("events.wal.*"))


@pytest.mark.once
@proves("sparse")
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_segment_of_a_terabyte_is_refused(tmp_path: Path, which: int) -> None:
    name = some_segments(tmp_path / "data")[which]
    for snapshot_file in (tmp_path / "data").glob("snapshot.*"):
        snapshot_file.unlink()
    os.truncate(tmp_path / "data" / name, TERABYTE)
    for arguments in (["status"], ["verify"], ["replay"], ["audit", "--verify"], ["stdio"]):
        status, said = limited(tmp_path / "data", *arguments)
        assert status == 3, said
        assert name in said
        assert f"{TERABYTE} bytes" in said


@pytest.mark.once
@proves("sparse")
@pytest.mark.parametrize(
    ("size", "empty"),
    [(2 << 30, False), (2 << 30, True), (SNAPSHOT_BYTES_MAX + 1, False), (TERABYTE, False)],
)
def test_a_snapshot_with_a_hole_is_passed_over(tmp_path: Path, size: int, empty: bool) -> None:
    some_segments(tmp_path / "data")
    [path] = (tmp_path / "data").glob("snapshot.*")
    if empty:
        path.write_bytes(b"")
    os.truncate(path, size)
    status, said = limited(tmp_path / "data", "stdio")
    assert status == 0, said
    assert path.name in said
    assert "is used instead" in said
    status, said = limited(tmp_path / "data", "verify")
    assert status == 1
    assert path.name in said


@pytest.mark.once
@proves("sparse")
@pytest.mark.parametrize(("size", "empty"), [(2 << 30, False), (TERABYTE, True)])
def test_a_trail_with_a_hole_is_reported_and_the_engine_starts(
    tmp_path: Path, size: int, empty: bool
) -> None:
    some_segments(tmp_path / "data")
    path = tmp_path / "data" / AUDIT_LOG
    if empty:
        path.write_bytes(b"")
    os.truncate(path, size)
    status, said = limited(tmp_path / "data", "status")
    assert (status, "a line without an end" in said) == (0, True)
    for arguments in (["verify"], ["audit", "--verify"]):
        status, said = limited(tmp_path / "data", *arguments)
        assert (status, "audit.log: line" in said) == (1, True), said
    assert limited(tmp_path / "data", "audit")[0] == 3
    status, said = limited(tmp_path / "data", "stdio")
    assert (status, "it is audit.log.damaged-" in said) == (0, True), said
    assert limited(tmp_path / "data", "audit", "--verify")[0] == 0


def test_a_segment_that_nobody_could_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(MalformedCommand, match=r"segment_bytes: .*at most"):
        EventDrivenMatchingEngine.open(tmp_path / "data", segment_bytes=SEGMENT_BYTES_MAX + 1)
    assert not (tmp_path / "data").exists()


# -- Sizes that lie, with good checksums -------------------------------------------------------


def batch_of_bytes(
    salt: int, body: bytes, *, first: int, count: int, link: int, length: int | None = None
) -> bytes:
    """A batch with good checksums; `length` is what its header says of the body."""
    header = BATCH_HEADER_BEFORE_CRC.pack(
        BATCH_MAGIC ^ salt, len(body) if length is None else length, first, 0, 1, count, link
    )
    padded = body + bytes(-(len(body) + BATCH_HEADER.size) % SECTOR)
    header_crc = crc32c(header, salt)
    return header + TWO_CRCS.pack(header_crc, crc32c(padded, header_crc)) + padded


def log_with(body: bytes, *, count: int = 1, length: int | None = None) -> MemoryStorage:
    """A log of one batch, which never was written by an engine."""
    storage = MemoryStorage()
    header = wal_format.encode_segment_header(1, 7, 1, 0, 8192, 0)
    decoded = wal_format.decode_segment_header(header)
    assert decoded is not None
    batch = batch_of_bytes(7, body, first=1, count=count, link=decoded.crc, length=length)
    storage.files[segment_name(1)] = bytearray((header + batch).ljust(8192, b"\0"))
    return storage


ARRAY_32, MAP_32, TEXT_32, BYTES_32, EXTENSION_32 = b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"
MOST = struct.pack(">I", 2**32 - 1)
DEEP = b"\x91" * 100_000
"""Deeper than any version of Python follows: 3.13 still reads what is 7,000 deep."""


@proves("sparse", "unknown")
@pytest.mark.parametrize(
    "body",
    [
        ARRAY_32 + MOST,
        b"\x96" + ARRAY_32 + MOST,
        b"\x96\x90\x01" + ARRAY_32 + MOST,
        b"\x96\x90\x01\x90\xc2\x00" + BYTES_32 + MOST,
        b"\x96\x91\x98\x01" + TEXT_32 + MOST,
        b"\x96" + MAP_32 + MOST,
        EXTENSION_32 + MOST + b"\x05",
        DEEP,
        b"\x96" + DEEP,
        b"\x96\x90\x01" + DEEP,
    ],
)
def test_a_body_whose_lengths_lie_is_an_unknown_record(body: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="byte 512, sequence 1: "):
        recover(log_with(body))


@proves("sparse")
def test_outcomes_that_lie_are_unknown_events(tmp_path: Path) -> None:
    for outcomes in (ARRAY_32 + MOST, b"\x91" + ARRAY_32 + MOST, DEEP + b"\x90"):
        forger = Forger(tmp_path / str(len(outcomes)))
        forger.write(b"\x96\x90" + msgspec.msgpack.encode(21) + outcomes + b"\xc2\x00\xc4\x00")
        forger.refused("unknown", UnsupportedFormat)


@proves("sparse")
def test_a_body_that_is_longer_than_the_file_is_no_batch() -> None:
    body = msgspec.msgpack.encode([[], 1, [], False, 0, b""])
    state = recover(log_with(body, count=0, length=2**32 - 1))
    assert state.torn is not None


@proves("sparse")
def test_a_batch_that_says_to_be_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    storage = log_with(b"", length=BATCH_BYTES_MAX - SECTOR)
    path = tmp_path / segment_name(1)
    path.write_bytes(storage.files[segment_name(1)])
    os.truncate(path, 2 << 30)
    status, said = limited(tmp_path, "status")
    assert status == 3
    assert "too little memory" in said


class CountedStorage(MemoryStorage):
    """Counts what is read."""

    bytes_read = 0

    def read(self, name: str, offset: int = 0, limit: int = sys.maxsize) -> bytes:
        data = super().read(name, offset, limit)
        self.bytes_read += len(data)
        return data


@proves("sparse")
@pytest.mark.parametrize("sectors", [1, 2, 3000, SECTORS, BATCH_BYTES_MAX // SECTOR])
def test_any_number_of_batches_that_were_made_up_is_read_in_linear_time(
    monkeypatch: pytest.MonkeyPatch, sectors: int
) -> None:
    """Each sector is a good header whose batch would have so many sectors."""
    storage = CountedStorage()
    content = bytearray(wal_format.encode_segment_header(1, 7, 1, 0, SECTORS * SECTOR, 0))
    made_up = batch_of_bytes(7, b"", first=1, count=1, link=0, length=sectors * SECTOR - 48)
    content += (made_up[:-4] + b"....") * (SECTORS - 1)
    storage.files[segment_name(1)] = content
    checksummed = 0

    def counted(data: bytes, crc: int = 0) -> int:
        nonlocal checksummed
        checksummed += len(data)
        return crc32c(data, crc)

    monkeypatch.setattr(wal_format, "crc32c", counted)
    if sectors == 1:
        assert recover(storage).torn is not None
    else:
        with pytest.raises(LogDamaged, match="overlap"):
            recover(storage)
    assert storage.bytes_read < 4 * len(content)
    assert checksummed < 4 * len(content)


class CountedBytes(bytes):
    """Counts how many bytes are searched."""

    searched = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(what, start, end)
        CountedBytes.searched += (len(self) if found < 0 else found) - start
        return found

    def rfind(self, what: Any, start: Any = 0, end: Any = None) -> int:
        found = super().rfind(what, start, end)
        CountedBytes.searched += (len(self) if end is None else end) - max(found, start)
        return found


class CountedStream(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return CountedBytes(super().read(size))


@proves("sparse", "audit damaged")
@pytest.mark.parametrize("lines", [0, 1, 100])
def test_any_number_of_seals_that_were_made_up_is_searched_in_linear_time(
    monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    """Seals without an end of a line, or very many of them in each line."""
    content = SEAL * 20_000
    if lines:
        content = (content[: len(content) // lines] + b"\n") * lines
    assert len(content) > LOOK_BACK_BYTES
    storage = MemoryStorage()
    storage.files[AUDIT_LOG] = bytearray(content)
    monkeypatch.setattr(storage, "stream", lambda name: CountedStream(storage.files[name]))
    monkeypatch.setattr(CountedBytes, "searched", 0)
    assert end_of_trail(storage).size == 0
    assert 0 < CountedBytes.searched < 8 * len(content)


@proves("sparse")
@pytest.mark.parametrize("count", [0, 2, 2**32 - 1])
def test_a_batch_that_lies_about_its_commands_is_refused(count: int) -> None:
    body = msgspec.msgpack.encode([list(commands(1, 1)), 1, [], False, 0, b""])
    with pytest.raises(LogDamaged, match="another number of commands"):
        recover(log_with(body, count=count))


@proves("sparse")
@pytest.mark.parametrize("field", ["base_sequence", "previous", "size", "previous_end"])
@pytest.mark.parametrize("value", [1, 513, 2**40, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_segment_header_that_lies_is_refused_or_harmless(
    tmp_path: Path, field: str, value: int, which: int
) -> None:
    """With a good checksum: it names a size, a place or a sequence that is not."""
    names = some_segments(tmp_path / "data")
    path = tmp_path / "data" / names[which]
    for snapshot_file in (tmp_path / "data").glob("snapshot.*"):
        snapshot_file.unlink()
    data = bytearray(path.read_bytes())
    fields = wal_format.SegmentHeader._make(SEGMENT_HEADER.unpack_from(data))
    changed = fields._replace(**{field: value})  # type: ignore[arg-type]
    data[:SECTOR] = SEGMENT_HEADER.pack(*changed)
    data[SECTOR - 4 : SECTOR] = struct.pack("<I", crc32c(bytes(data[: SECTOR - 4])))
    path.write_bytes(data)
    try:
        EventDrivenMatchingEngine.open(tmp_path / "data", audit=False).close()
    except StoreError:
        return
    told_the_truth = fields == changed
    assert field == "size" or told_the_truth, "a lie about anything else is found"
    assert recover(tmp_path / "data").matcher.sequence == 100


@proves("sparse", "snapshot damage")
def test_a_snapshot_whose_lengths_lie_is_passed_over(tmp_path: Path) -> None:
    some_segments(tmp_path / "data")
    storage = DirectoryStorage(tmp_path / "data")
    [name] = Snapshots(storage).names()
    for body in (ARRAY_32 + MOST, b"\x9a\x64\x00" + BYTES_32 + MOST, DEEP, b"\x9a" + DEEP):
        header = snapshot.HEADER.pack(snapshot.MAGIC, 2, 1, crc32c(body))
        (tmp_path / "data" / name).write_bytes(header + body)
        state = recover(storage)
        assert (state.matcher.sequence, len(state.warnings)) == (100, 1)


@proves("sparse", "snapshot damage")
@pytest.mark.parametrize(
    "changed",
    [
        {"place": b""},
        {"place": b"\xff"},
        {"place": msgspec.msgpack.encode([2**63, 0, 0, 0, 1, 0, False])},
        {"place": msgspec.msgpack.encode([1, 0, 2**63, 0, 101, 0, False])},
        {"place": msgspec.msgpack.encode([-1, 0, -(2**63), 0, 101, 0, False])},
        {"instruments": {"ACME": ("x", "-1")}},
        {"instruments": {}},
        {"orders": [snapshot.RestingOrder("ACME", 1, -5, 2**64 - 1, 0, -1, 1, 1, True)]},  # type: ignore[arg-type]
        {"last_trade_id": -(2**63)},
        {"timestamp_ns": 2**64 - 1},
    ],
    ids=str,
)
def test_a_snapshot_whose_content_lies_is_passed_over_or_refused(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    some_segments(tmp_path / "data")
    storage = DirectoryStorage(tmp_path / "data")
    [name] = Snapshots(storage).names()
    taken = Snapshots(storage).read(name)
    body = msgspec.msgpack.encode(msgspec.structs.replace(taken, **changed))
    header = snapshot.HEADER.pack(snapshot.MAGIC, 2, 1, crc32c(body))
    (tmp_path / "data" / name).write_bytes(header + body)
    try:
        state = recover(storage)
    except StoreError:
        return
    assert state.matcher.sequence == 100
