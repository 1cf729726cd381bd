"""The bytes of the log: what is written is read, nothing else is, and no byte changes unnoticed."""

import struct
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from v2_event_driven_engine.cluster import entry as entry_module
from v2_event_driven_engine.cluster.entry import (
    BATCH,
    EPOCH,
    HEADER,
    BadEntry,
    BatchBody,
    EpochBody,
    batch_body,
    decode_batch,
    decode_entry,
    decode_epoch,
    encode_entry,
)
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import EntryReader, Position, ReplicatedEventLog
from v2_event_driven_engine.engine.event_log import Place
from v2_event_driven_engine.engine.events import OrderAccepted
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.errors import LogDamaged, UnsupportedFormat

from .. import flow
from ..golden_files import SCHEMA
from ..logs import batch_of
from . import golden_entries
from .golden_entries import COMMANDS, FILE, OF_ENTRIES, Golden, description, make
from .memory_stream import MemoryStream, no_clock

FLOW = list(flow.commands(60, seed=3))
HAPPENED = Matcher().apply(1, 5, FLOW)

u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
bodies = st.builds(
    lambda first, count, tag, closed: batch_body(
        batch_of(first, *FLOW[:count], outcomes=HAPPENED[:count], tag=tag, closed=closed)
    ),
    st.integers(100, 2**40), st.integers(0, 40), st.binary(max_size=30), st.booleans(),
)  # fmt: skip
epochs = st.builds(EpochBody, st.text(max_size=20), st.integers(0, 2**63 - 1), st.text(max_size=9))


def sealed(data: bytes) -> bytes:
    """The same bytes with the link that they should have."""
    (previous,) = struct.unpack_from("<I", data, 32)
    return data[:-4] + struct.pack("<I", crc32c(data[:-4], previous))


@settings(deadline=None)
@given(epoch=u64, first=u64, timestamp_ns=u64, previous=u32, body=bodies)
def test_a_batch_is_read_as_it_was_written(
    epoch: int, first: int, timestamp_ns: int, previous: int, body: BatchBody
) -> None:
    data, link = encode_entry(BATCH, epoch, first, timestamp_ns, previous, body)
    entry = decode_entry(data)
    assert entry[:6] == (BATCH, epoch, first, timestamp_ns, previous, link)
    read = decode_batch(entry.body)
    assert msgspec.msgpack.encode(read) == msgspec.msgpack.encode(body)
    assert (read.commands, read.tag, read.closed) == (list(body.commands), body.tag, body.closed)


@settings(deadline=None)
@given(epoch=u64, first=u64, previous=u32, body=epochs)
def test_an_epoch_is_read_as_it_was_written(
    epoch: int, first: int, previous: int, body: EpochBody
) -> None:
    data, link = encode_entry(EPOCH, epoch, first, 0, previous, body)
    entry = decode_entry(data)
    assert entry[:6] == (EPOCH, epoch, first, 0, previous, link)
    assert decode_epoch(entry.body) == body


# -- Whatever else comes is refused, and in two ways only ---------------------------------------


def refused_or_read(data: bytes) -> None:
    """Reading raises what it says, or nothing."""
    try:
        entry = decode_entry(data)
    except (BadEntry, UnsupportedFormat):
        pass
    else:
        for decode in (decode_batch, decode_epoch):
            with suppress(UnsupportedFormat):
                decode(entry.body)
    reader = EntryReader("LOG_0", Position())
    try:
        batch = reader.read(data)
    except (LogDamaged, UnsupportedFormat):
        assert reader.position == Position(), "what was not read is not passed over"
        return
    if batch is not None:
        with suppress(UnsupportedFormat):  # its events are read when they are compared
            assert batch.outcomes != [[HAPPENED[0][0]] * 3]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    refused_or_read(data)
    with pytest.raises(BadEntry):
        decode_entry(data)


@settings(deadline=None)
@given(kind=u8, version=u8, rulebook=u16, body=st.binary(max_size=100))
def test_arbitrary_bodies_are_refused(kind: int, version: int, rulebook: int, body: bytes) -> None:
    for header in ((BATCH, 1, 1), (EPOCH, 1, 1), (kind, version, rulebook)):
        data = HEADER.pack(b"OMEJ", *header, 0, 1, 0, 0) + body + bytes(4)
        refused_or_read(sealed(data))


@settings(deadline=None)
@given(body=bodies, at=st.integers(0), byte=u8, cut=st.integers(0))
def test_changed_bytes_are_refused(body: BatchBody, at: int, byte: int, cut: int) -> None:
    data, _ = encode_entry(BATCH, 0, 1, 7, 0, body)
    changed = bytearray(data)
    changed[at % len(data)] = byte
    if changed != data:
        with pytest.raises((BadEntry, UnsupportedFormat)):
            decode_entry(bytes(changed))
    refused_or_read(bytes(changed))
    refused_or_read(sealed(bytes(changed)))
    with pytest.raises(BadEntry):
        decode_entry(data[: cut % len(data)])


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (4, 3, r"version 1, kind 3; this program knows version 1, kinds 1 and 2"),
        (5, 2, r"version 2, kind 1; this program knows"),
        (6, 2, r"written under rulebook 2; this program replays rulebook 1"),
    ],
)
def test_another_version_is_named(at: int, value: int, problem: str) -> None:
    data, _ = encode_entry(BATCH, 1, 1, 7, 0, batch_body(batch_of(1, FLOW[0])))
    other = bytearray(data)
    other[at] = value
    with pytest.raises(UnsupportedFormat, match=problem):
        decode_entry(sealed(bytes(other)))


# -- Events that are too large ------------------------------------------------------------------


def test_too_many_events_are_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = batch_body(batch_of(61, outcomes=HAPPENED))
    monkeypatch.setattr(entry_module, "OUTCOME_BYTES_MAX", len(whole.outcomes))
    assert batch_body(batch_of(61, outcomes=HAPPENED)) == whole
    monkeypatch.setattr(entry_module, "OUTCOME_BYTES_MAX", len(whole.outcomes) - 1)
    short = batch_body(batch_of(61, outcomes=HAPPENED))
    assert entry_module.checksum_in(short.outcomes) == crc32c(bytes(whole.outcomes))
    assert entry_module.checksum_in(whole.outcomes) is None


# -- The bytes of this version ------------------------------------------------------------------


A_CHANGE = """The bytes have changed: give entries a new version, keep a decoder for the old one,
and let `python -m v2_event_driven_engine.tests.cluster.golden_entries` write its golden file."""


def golden() -> Golden:
    return msgspec.msgpack.decode((OF_ENTRIES / FILE).read_bytes(), type=Golden)


def test_the_schema_of_entries_is_that_of_its_version() -> None:
    assert description() == (OF_ENTRIES / SCHEMA).read_text(encoding="utf-8"), A_CHANGE


def test_the_golden_entries_are_written_again_byte_for_byte() -> None:
    there, again = golden(), make()
    for field in Golden.__struct_fields__:
        assert getattr(there, field) == getattr(again, field), f"{field}: {A_CHANGE}"


def test_the_golden_entries_stay_readable() -> None:
    """From the beginning, and from any place in the middle."""
    there = golden()
    stream = MemoryStream("LOG_0")
    stream.messages = there.log
    replica = Replica()
    for number, batch in enumerate(ReplicatedEventLog(stream, no_clock, "a", 1).read()):
        replica.apply(batch)
        again = ReplicatedEventLog(stream, no_clock, "a", 1)
        rest = [bytes(each.place) for each in again.read(Place(there.positions[number]))]
        assert rest == there.positions[number + 1 :]
    assert (replica.sequence, replica.state.matcher.state_hash()) == (COMMANDS, there.state_hash)
    assert replica.sessions.dump() == there.sessions
    assert [each.encoded for each in replica.unpublished] == there.out


def test_the_golden_entries_have_all_kinds() -> None:
    entries = [decode_entry(message) for message in golden().log]
    assert {entry.kind for entry in entries} == {BATCH, EPOCH}
    bodies = [decode_batch(entry.body) for entry in entries if entry.kind == BATCH]
    assert {entry_module.checksum_in(body.outcomes) is None for body in bodies} == {True, False}
    assert {bool(body.commands) for body in bodies} == {True, False}
    assert {type(event) for events in HAPPENED for event in events} > {OrderAccepted}


def test_golden_entries_are_written_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden_entries.main(tmp_path / "entry_9")
    written = {path.name: path.read_bytes() for path in (tmp_path / "entry_9").iterdir()}
    assert written == {path.name: path.read_bytes() for path in OF_ENTRIES.iterdir()}
    (tmp_path / "entry_9" / SCHEMA).write_bytes(b"precious")
    golden_entries.main(tmp_path / "entry_9")
    assert (tmp_path / "entry_9" / SCHEMA).read_bytes() == b"precious"
    assert "stays as it is" in capsys.readouterr().out
