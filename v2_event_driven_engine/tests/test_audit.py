"""The audit trail: complete, each event exactly once, readable, and its edits are evident."""

import os
from pathlib import Path

import msgspec
import pytest

from v2_event_driven_engine import EventDrivenMatchingEngine, ListInstrument
from v2_event_driven_engine.cli.inspect import sentence
from v2_event_driven_engine.engine import audit_logger
from v2_event_driven_engine.engine.audit_event import AuditLine
from v2_event_driven_engine.engine.audit_follower import follow
from v2_event_driven_engine.engine.audit_logger import (
    AUDIT_LOG,
    FIRST_CHAIN,
    AuditLogger,
    chained,
    last_audited_sequence,
    read_lines,
    verify_against_log,
    verify_chain,
)
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.recovery import take_snapshot
from v2_event_driven_engine.engine.storage import DirectoryStorage
from v2_event_driven_engine.engine.trade import TradeExecuted
from v2_event_driven_engine.engine.wal_reader import segment_name
from v2_event_driven_engine.errors import LogDamaged, StoreError

from .faults import proves
from .flow import commands
from .memory_storage import MemoryStorage
from .test_log import run_engine


def write_trail(data_dir: Path) -> bytes:
    """Complete the trail as the process beside an engine does, and return it."""
    logger = AuditLogger(DirectoryStorage(data_dir))
    logger.catch_up()
    logger.close()
    return (data_dir / AUDIT_LOG).read_bytes()


def expected_lines(answered: list[list[AnyEvent]]) -> list[tuple[int, int, str]]:
    """Which lines there must be: one an event, two a trade."""
    return [
        (event.sequence, event.index, liquidity)
        for events in answered
        for event in events
        for liquidity in (["TAKER", "MAKER"] if isinstance(event, TradeExecuted) else [""])
    ]


def test_seals_stand_every_so_many_commands_and_survive_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_logger, "SEAL_EVERY", 10)
    for part in range(4):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in list(commands(42, 1))[part * 12 : part * 12 + 12]:
                engine.submit(command)
        write_trail(tmp_path)
        if part == 1:
            take_snapshot(DirectoryStorage(tmp_path))
    trail = (tmp_path / AUDIT_LOG).read_bytes()
    seals = [
        line["sequence"]
        for line in read_lines(tmp_path / AUDIT_LOG)
        if line["event"] == "trail_sealed"
    ]
    assert seals == [10, 20, 30, 40]
    assert verify_chain(tmp_path / AUDIT_LOG)[1] is None
    assert verify_against_log(tmp_path / AUDIT_LOG, DirectoryStorage(tmp_path))[1] is None
    (tmp_path / AUDIT_LOG).unlink()
    assert write_trail(tmp_path) == trail


@proves("audit rewritten")
def test_a_trail_rewritten_with_a_good_chain_still_differs_from_the_log(tmp_path: Path) -> None:
    run_engine(tmp_path, 20)
    write_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    chain, forged = FIRST_CHAIN, []
    for number, line in enumerate(read_lines(path)):
        del line["chain"]
        if number == 5:
            line["participant"] = 99
        text, chain = chained(msgspec.convert(line, AuditLine), chain)
        forged.append(text)
    path.write_bytes(b"".join(forged))
    assert verify_chain(path)[1] is None
    bad = verify_against_log(path, DirectoryStorage(tmp_path))[1]
    assert bad is not None
    assert (bad.line, bad.problem) == (6, "not what the log recorded")


def lines_there(data_dir: Path) -> list[tuple[int, int, str]]:
    return [
        (line["sequence"], line["index"], line.get("liquidity", ""))
        for line in read_lines(data_dir / AUDIT_LOG)
    ]


def test_every_event_has_its_lines_exactly_once(tmp_path: Path) -> None:
    answered = run_engine(tmp_path, 400)
    write_trail(tmp_path)
    assert lines_there(tmp_path) == expected_lines(answered)
    assert verify_chain(tmp_path / AUDIT_LOG) == (len(expected_lines(answered)), None)


@proves("audit behind")
def test_a_trail_torn_anywhere_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    run_engine(tmp_path, 30)
    whole = write_trail(tmp_path)
    storage = MemoryStorage.copy_of(tmp_path)
    for size in range(len(whole)):
        storage.files[AUDIT_LOG] = bytearray(whole[:size])
        AuditLogger(storage).catch_up()
        assert storage.files[AUDIT_LOG] == whole


@proves("audit behind")
def test_a_lost_trail_is_rebuilt_to_the_same_bytes(tmp_path: Path) -> None:
    run_engine(tmp_path, 100)
    whole = write_trail(tmp_path)
    (tmp_path / AUDIT_LOG).unlink()
    assert write_trail(tmp_path) == whole


def test_the_process_beside_the_engine_completes_the_trail_by_the_time_it_is_closed(
    tmp_path: Path,
) -> None:
    with EventDrivenMatchingEngine.open(tmp_path) as engine:
        answered = [engine.submit(command).result(30.0) for command in commands(200, 1)]
    assert lines_there(tmp_path) == expected_lines(answered)
    with EventDrivenMatchingEngine.open(tmp_path) as engine:
        answered.append(engine.cancel(1, 1).result(30.0))
    assert lines_there(tmp_path) == expected_lines(answered)


@proves("audit ahead")
def test_a_trail_that_knows_more_than_the_log_means_that_the_log_lost_something(
    tmp_path: Path,
) -> None:
    run_engine(tmp_path, 60)
    write_trail(tmp_path)
    (tmp_path / segment_name(1)).unlink()
    with pytest.raises(LogDamaged, match=r"audit\.log knows of sequence 60"):
        EventDrivenMatchingEngine.open(tmp_path, audit=False)


@proves("audit edited")
def test_any_edit_of_the_trail_is_found_at_its_line(tmp_path: Path) -> None:
    run_engine(tmp_path, 20)
    lines = write_trail(tmp_path).splitlines(keepends=True)
    path = tmp_path / AUDIT_LOG
    edits = {
        "edited": [*lines[:4], lines[4].replace(b'"sequence":', b'"sequence":1'), *lines[5:]],
        "deleted": [*lines[:4], *lines[5:]],
        "inserted": [*lines[:4], lines[2], *lines[4:]],
        "reordered": [*lines[:4], lines[5], lines[4], *lines[6:]],
    }
    for name, edited in edits.items():
        path.write_bytes(b"".join(edited))
        good, broken = verify_chain(path)
        assert broken is not None, name
        assert (good, broken.line) == (4, 5), name


def test_the_last_audited_sequence_is_found_behind_lines_of_any_length(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        for symbol in ("A", "B"):
            engine.submit(ListInstrument(symbol, "0." + "0" * 200_000 + "1", "1")).result(30.0)
    write_trail(tmp_path)
    assert last_audited_sequence(DirectoryStorage(tmp_path)) == 2


def test_the_life_of_an_order_reads_as_sentences(tmp_path: Path) -> None:
    run_engine(tmp_path, 300)
    write_trail(tmp_path)
    told = [sentence(line) for line in read_lines(tmp_path / AUDIT_LOG)]
    for word in ("listed, tick", "accepted:", "bought", "sold", "as taker", "as maker", "canceled",
                 "refused:", "reduced;", "replaced:", "expired", "rejected:"):  # fmt: skip
        assert any(word in line for line in told), word


def test_a_refused_instrument_is_told_too(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        for tick_size in ("0.01", "0.02"):
            engine.submit(ListInstrument("ACME", tick_size, "1")).result(30.0)
    write_trail(tmp_path)
    told = [sentence(line) for line in read_lines(tmp_path / AUDIT_LOG)]
    assert told[1].endswith("ACME not listed: DUPLICATE_SYMBOL")


def test_a_trail_ending_in_something_else_is_refused_and_named(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    (tmp_path / AUDIT_LOG).write_bytes(write_trail(tmp_path) + b"a note by hand\n")
    with pytest.raises(StoreError, match=r"audit\.log: the last line is not an audit line"):
        EventDrivenMatchingEngine.open(tmp_path, audit=False)
    with pytest.raises(StoreError, match=r"line \d+: not an audit line"):
        list(read_lines(tmp_path / AUDIT_LOG))
    (tmp_path / AUDIT_LOG).unlink()
    EventDrivenMatchingEngine.open(tmp_path, audit=False).close()


def test_a_torn_last_line_is_not_counted_and_not_called_an_edit(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    whole = write_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    path.write_bytes(whole[:-5])
    lines = whole.count(b"\n")
    assert verify_chain(path) == (lines - 1, None)
    assert verify_against_log(path, DirectoryStorage(tmp_path)) == (lines - 1, None)
    assert len(list(read_lines(path))) == lines - 1


def test_a_trail_of_more_than_the_log_recorded_is_found_by_verify(tmp_path: Path) -> None:
    run_engine(tmp_path / "long", 20)
    run_engine(tmp_path / "short", 19)
    (tmp_path / "short" / AUDIT_LOG).write_bytes(b"")
    forged = write_trail(tmp_path / "short")
    place = audit_logger.last_place(DirectoryStorage(tmp_path / "short"))
    extra, _ = chained(AuditLine(20, "order_accepted", 0), place.chain)
    (tmp_path / "short" / AUDIT_LOG).write_bytes(forged + extra)
    good, bad = verify_against_log(
        tmp_path / "short" / AUDIT_LOG, DirectoryStorage(tmp_path / "short")
    )
    assert bad is not None
    assert (good, bad.problem) == (forged.count(b"\n"), "the log recorded no such event")


def test_a_logger_that_is_up_to_date_writes_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    logger = AuditLogger(DirectoryStorage(tmp_path))
    assert logger.catch_up() > 0
    assert logger.catch_up() == 0
    logger.close()


def test_a_trail_behind_the_newest_snapshot_is_completed_from_an_older_place(
    tmp_path: Path,
) -> None:
    run_engine(tmp_path, 60)
    whole = write_trail(tmp_path)
    take_snapshot(DirectoryStorage(tmp_path))
    (tmp_path / AUDIT_LOG).write_bytes(whole[: len(whole) // 2])
    assert write_trail(tmp_path) == whole


def test_the_trail_is_written_in_pieces_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 60)
    whole = write_trail(tmp_path)
    (tmp_path / AUDIT_LOG).unlink()
    monkeypatch.setattr(audit_logger, "WRITE_BYTES", 100)
    assert write_trail(tmp_path) == whole


def test_the_follower_ends_with_its_lifeline_and_leaves_a_complete_trail(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    lifeline, engine_end = os.pipe()
    os.close(engine_end)
    follow(tmp_path, lifeline)
    os.close(lifeline)
    lines, bad = verify_against_log(tmp_path / AUDIT_LOG, DirectoryStorage(tmp_path))
    assert (bad, lines > 60) == (None, True)
