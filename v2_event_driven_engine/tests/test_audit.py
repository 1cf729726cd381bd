"""The audit trail: complete, each event exactly once, readable, and its edits are evident."""

import errno
import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import pytest

from v2_event_driven_engine import (
    DirectoryUnusable,
    EventDrivenMatchingEngine,
    ListInstrument,
    LogDamaged,
    MassCancel,
    NewOrder,
    OrderType,
    SelfTradePrevention,
    Side,
    StoreError,
    TradeExecuted,
)
from v2_event_driven_engine.cli.audit import sentence
from v2_event_driven_engine.engine import audit_event, audit_logger
from v2_event_driven_engine.engine.audit import trail
from v2_event_driven_engine.engine.audit.follower import follow
from v2_event_driven_engine.engine.audit.trail import (
    AUDIT_LOG,
    FIRST_CHAIN,
    chained,
    read_lines,
    verify_against_log,
    verify_chain,
)
from v2_event_driven_engine.engine.audit_event import AuditEvent
from v2_event_driven_engine.engine.events import (
    EVENT_NAMES,
    AnyEvent,
    InstrumentListed,
    InstrumentRejected,
    MassCanceled,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReduced,
    OrderReplaced,
)
from v2_event_driven_engine.engine.log import reader
from v2_event_driven_engine.engine.log.reader import (
    SEGMENT_NAME,
    segment_name,
    segment_numbers,
)
from v2_event_driven_engine.engine.log.storage import DirectoryStorage, Storage
from v2_event_driven_engine.models.commands import Command

from .faults import proves
from .flow import commands
from .logs import log_in, logger_on, open_log, process, sequencer_on, take_snapshot
from .memory_storage import MemoryFile, MemoryStorage
from .simulated_disk import SimulatedDisk
from .test_log import run_engine


def write_trail(data_dir: Path) -> bytes:
    """Complete the trail as the process beside an engine does, and return it."""
    logger = logger_on(DirectoryStorage(data_dir))
    logger.catch_up()
    logger.close()
    return (data_dir / AUDIT_LOG).read_bytes()


def text_of(line: AuditEvent) -> str:
    """A line as `chained` takes it."""
    return msgspec.json.encode(line).decode().removesuffix("}")


def expected_lines(answered: list[list[AnyEvent]]) -> list[tuple[int, int, str]]:
    """Which lines there must be: one an event, two a trade."""
    return [
        (event.sequence, event.index, liquidity)
        for events in answered
        for event in events
        for liquidity in (["TAKER", "MAKER"] if isinstance(event, TradeExecuted) else [""])
    ]


def test_seals_follow_every_so_many_commands_and_survive_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_event, "SEAL_EVERY", 10)
    for part in range(4):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in list(commands(42, 1))[part * 12 : part * 12 + 12]:
                engine.submit(command)
        write_trail(tmp_path)
        if part == 1:
            take_snapshot(tmp_path)
    whole = (tmp_path / AUDIT_LOG).read_bytes()
    seals = [
        line["sequence"]
        for line in read_lines(DirectoryStorage(tmp_path))
        if line["event"] == "trail_sealed"
    ]
    assert seals == [10, 20, 30, 40]
    assert verify_chain(DirectoryStorage(tmp_path))[1] is None
    assert verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path))[1] is None
    (tmp_path / AUDIT_LOG).unlink()
    assert write_trail(tmp_path) == whole


@proves("audit rewritten")
def test_a_trail_rewritten_with_a_good_chain_still_differs_from_the_log(tmp_path: Path) -> None:
    run_engine(tmp_path, 20)
    write_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    chain, forged = FIRST_CHAIN, []
    for number, line in enumerate(read_lines(DirectoryStorage(tmp_path))):
        del line["chain"]
        if number == 5:
            line["participant"] = 99
        text, chain = chained([text_of(msgspec.convert(line, AuditEvent))], chain)
        forged.append(text)
    path.write_bytes(b"".join(forged))
    assert verify_chain(DirectoryStorage(tmp_path))[1] is None
    bad = verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path))[1]
    assert bad is not None
    assert (bad.line, bad.problem) == (6, "not what the log recorded")


def every_kind_of_command(count: int, seed: int) -> Iterator[Command]:
    """A flow that makes every event, with names and sizes that JSON has to escape."""
    choose = random.Random(seed)
    yield ListInstrument('\x07\\"\u00e9/', "0.01", "1")
    yield ListInstrument("B", 'no "size"', "1")
    for number, command in enumerate(commands(count, seed)):
        yield command
        participant = choose.randrange(1, 4)
        match choose.randrange(24):
            case 0:
                yield NewOrder(
                    10**12 + number, participant, "\x07\\\"\u00e9/", choose.choice(list(Side)),
                    OrderType.LIMIT, choose.randrange(1, 10), 2**63 - 1 - choose.randrange(9),
                )  # fmt: skip
            case 1:
                yield NewOrder(
                    10**12 + number, participant, "ACME", choose.choice(list(Side)),
                    OrderType.MARKET, quantity=choose.randrange(1, 30),
                    self_trade_prevention=choose.choice(list(SelfTradePrevention)),
                )  # fmt: skip
            case 2:
                yield MassCancel(participant, None)
            case 3:
                yield ListInstrument("ACME", "0.02", "1")


class Said(NamedTuple):
    """What the lines of an order say besides its id."""

    instrument: str
    participant: int
    side: str
    type: str
    validity: str
    price: int | None


def expected_trail(answered: Sequence[Sequence[AnyEvent]]) -> bytes:
    """The trail of some events, from their first one on, written by another piece of code.

    One `AuditEvent` a line, encoded as JSON; nothing of it is in the product.
    """
    orders: dict[int, Said] = {}
    texts, chain = [], FIRST_CHAIN

    def add(**fields: object) -> None:
        nonlocal chain
        text = msgspec.json.encode(AuditEvent(**fields))  # type: ignore[arg-type]
        chain = hashlib.sha256(chain.encode() + text).hexdigest()[:32]
        texts.append(text[:-1] + b',"chain":"' + chain.encode() + b'"}\n')

    for number, events in enumerate(answered):
        if number and number % audit_event.SEAL_EVERY == 0:
            add(sequence=number, event="trail_sealed")
        for event in events:
            seconds, nanoseconds = divmod(event.timestamp_ns, 10**9)
            when = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
            about: dict[str, object] = {
                "sequence": event.sequence,
                "event": EVENT_NAMES[type(event)],
                "index": event.index,
                "time": f"{when}.{nanoseconds:09}Z",
            }
            fields: dict[str, Any] = {
                name: getattr(event, name) for name in event.__struct_fields__
            }
            for name in ("reason", "request"):
                if name in fields:
                    about[name] = fields[name].name
            match event:
                case TradeExecuted():
                    taker, maker = event.taker_order_id, event.maker_order_id
                    for own, other, remaining, liquidity in (
                        (taker, maker, event.taker_remaining, "TAKER"),
                        (maker, taker, event.maker_remaining, "MAKER"),
                    ):
                        said = orders[own]._replace(price=event.price)._asdict()
                        add(
                            **about, **said, order_id=own, remaining_quantity=remaining,
                            traded_quantity=event.quantity, trade_id=event.trade_id,
                            liquidity=liquidity, counterparty_order_id=other,
                        )  # fmt: skip
                case OrderAccepted():
                    orders[event.order_id] = said_of = Said(
                        event.symbol, event.participant, event.side.name, event.type.name,
                        event.time_in_force.name, event.price,
                    )  # fmt: skip
                    add(
                        **about, **said_of._asdict(), order_id=event.order_id,
                        initial_quantity=event.quantity, remaining_quantity=event.quantity,
                    )  # fmt: skip
                case OrderCanceled() | OrderExpired() | OrderReduced() | OrderReplaced():
                    if isinstance(event, OrderReplaced):
                        orders[event.order_id] = orders[event.order_id]._replace(price=event.price)
                    gone = isinstance(event, OrderCanceled | OrderExpired)
                    add(
                        **about, **orders[event.order_id]._asdict(), order_id=event.order_id,
                        remaining_quantity=0 if gone else event.remaining,
                    )  # fmt: skip
                case MassCanceled():
                    about.update(participant=event.participant, canceled_orders=event.count)
                    add(**about, instrument=event.symbol)
                case InstrumentListed() | InstrumentRejected():
                    sizes = {name: fields.get(name) for name in ("tick_size", "lot_size")}
                    add(**about, instrument=event.symbol, **sizes)
                case _:
                    add(**about, order_id=event.order_id, participant=event.participant)
    return b"".join(texts)


@pytest.mark.parametrize("seed", range(3))
def test_the_trail_is_byte_for_byte_what_its_events_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(audit_event, "SEAL_EVERY", 100)
    state, log = open_log(DirectoryStorage(tmp_path), segment_bytes=64 * 1024)
    times = itertools.count(1_764_209_400_000_000_000, 123_456_789)
    sequencer = sequencer_on(state, log, lambda: next(times))
    flow = list(every_kind_of_command(1500, seed))
    answered = []
    for start in range(0, len(flow), 7):
        answered += process(sequencer, *flow[start : start + 7])
    sequencer.close()
    assert {type(event) for events in answered for event in events} == set(EVENT_NAMES)
    assert write_trail(tmp_path) == expected_trail(answered)


def lines_there(data_dir: Path) -> list[tuple[int, int, str]]:
    return [
        (line["sequence"], line["index"], line.get("liquidity", ""))
        for line in read_lines(DirectoryStorage(data_dir))
    ]


def test_every_event_has_its_lines_exactly_once(tmp_path: Path) -> None:
    answered = run_engine(tmp_path, 400)
    write_trail(tmp_path)
    assert lines_there(tmp_path) == expected_lines(answered)
    assert verify_chain(DirectoryStorage(tmp_path)) == (len(expected_lines(answered)), None)


@pytest.mark.once
@proves("audit behind")
def test_a_trail_torn_anywhere_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    run_engine(tmp_path, 30)
    whole = write_trail(tmp_path)
    storage = MemoryStorage.copy_of(tmp_path)
    for size in range(len(whole)):
        storage.files[AUDIT_LOG] = bytearray(whole[:size])
        logger_on(storage).catch_up()
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
    with pytest.raises(LogDamaged, match=r"sequence 60 is known to have been durable"):
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
        good, broken = verify_chain(DirectoryStorage(tmp_path))
        assert broken is not None, name
        assert (good, broken.line) == (4, 5), name


def test_the_last_audited_sequence_is_found_after_lines_of_any_length(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        long = "0." + "0" * 65_000 + "1"
        for symbol in ("A", "B"):
            engine.submit(ListInstrument(symbol, long, long)).result(30.0)
    write_trail(tmp_path)
    assert trail.end_of_trail(DirectoryStorage(tmp_path)).sequence == 2


def test_the_life_of_an_order_reads_as_sentences(tmp_path: Path) -> None:
    run_engine(tmp_path, 300)
    write_trail(tmp_path)
    said = [sentence(line) for line in read_lines(DirectoryStorage(tmp_path))]
    for word in ("listed, tick", "accepted:", "bought", "sold", "as taker", "as maker", "canceled",
                 "refused:", "reduced;", "replaced:", "expired", "rejected:"):  # fmt: skip
        assert any(word in line for line in said), word


def test_a_refused_instrument_is_in_the_trail_too(tmp_path: Path) -> None:
    with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
        for tick_size in ("0.01", "0.02"):
            engine.submit(ListInstrument("ACME", tick_size, "1")).result(30.0)
    write_trail(tmp_path)
    said = [sentence(line) for line in read_lines(DirectoryStorage(tmp_path))]
    assert said[1].endswith("ACME not listed: DUPLICATE_SYMBOL")


@proves("audit damaged")
@pytest.mark.parametrize("seals", [False, True], ids=["no seal", "seals"])
def test_a_trail_spoiled_after_its_last_seal_but_one_is_mended_from_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seals: bool
) -> None:
    """Zeros, other bytes, no text, no JSON, another line, a line without an end: whatever it is."""
    monkeypatch.setattr(audit_event, "SEAL_EVERY", 30 if seals else 10_000)
    run_engine(tmp_path, 100)
    whole = write_trail(tmp_path)
    last_but_one = whole.rfind(b"trail_sealed", 0, whole.rfind(b"trail_sealed"))
    begin = whole.find(b"\n", last_but_one) + 1 if seals else 0
    spoils = (b"\0", b"\xff", b"x", b"}", b"\n", b'"sequence":1,')
    for number in range(8 * len(spoils)):
        at = begin + number * (len(whole) - begin - 20) // (8 * len(spoils))
        for length in (1, 15, 3000):
            spoil = (spoils[number % len(spoils)] * length)[:length]
            spoiled = whole[:at] + spoil + whole[at + length :]
            storage = MemoryStorage.copy_of(tmp_path)
            storage.files[AUDIT_LOG] = bytearray(spoiled)
            logger = logger_on(storage)
            logger.catch_up()
            assert storage.files[AUDIT_LOG] == whole
            aside = [name for name in storage.names() if "damaged" in name]
            assert len(aside) == len(logger.warnings)
            assert bool(aside) or spoiled == whole or at + length >= whole.rindex(b"\n", 0, -1)


@proves("audit damaged")
def test_a_line_without_end_is_damage_and_not_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read in pieces, so that it takes no more memory than the longest line of a trail."""
    run_engine(tmp_path, 60)
    whole = write_trail(tmp_path)
    longest = max(map(len, whole.splitlines(keepends=True)))
    monkeypatch.setattr(trail, "LONGEST_LINE_BYTES", longest + 1)
    half = whole.index(b"\n", len(whole) // 2) + 1
    for length, aside in ((longest, 0), (longest + 1, 1), (20 * longest, 1)):
        storage = MemoryStorage.copy_of(tmp_path)
        storage.files[AUDIT_LOG] = bytearray(whole[:half] + b"x" * length)
        logger = logger_on(storage)
        logger.catch_up()
        assert storage.files[AUDIT_LOG] == whole
        assert len([name for name in storage.names() if "damaged" in name]) == aside
        assert ["a line without an end" in warning for warning in logger.warnings] == [True] * aside


@proves("audit damaged")
def test_a_spoiled_trail_never_refuses_a_start_and_is_whole_after_it(tmp_path: Path) -> None:
    run_engine(tmp_path, 60)
    whole = write_trail(tmp_path)
    for spoiled in (b"a note by hand\n", bytes(10_000), whole + b"{}\n", b"\xff\n" + whole):
        (tmp_path / AUDIT_LOG).write_bytes(spoiled)
        EventDrivenMatchingEngine.open(tmp_path).close()
        assert (tmp_path / AUDIT_LOG).read_bytes() == whole


def gigabytes(path: Path) -> None:
    path.touch()
    os.truncate(path, 2 << 30)


def unreadable(path: Path) -> None:
    path.write_bytes(b"of somebody else")
    path.chmod(0)


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to a file": lambda path: path.symlink_to(Path(__file__)),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "gigabytes": gigabytes,
    "an unreadable file": unreadable,
}


@proves("audit damaged")
@pytest.mark.parametrize("kind", IN_ITS_PLACE)
def test_what_is_in_the_place_of_the_trail_and_cannot_be_one_gets_another_name(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path, 60)
    whole = write_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    path.unlink()
    IN_ITS_PLACE[kind](path)
    before = path.lstat().st_ino, path.lstat().st_size
    if kind == "an unreadable file":  # root may read everything
        monkeypatch.setattr("os.access", lambda *_, **__: False)
    engine = EventDrivenMatchingEngine.open(tmp_path)
    engine.close()
    assert not engine.audit_is_behind
    assert path.read_bytes() == whole
    [aside] = tmp_path.glob(f"{AUDIT_LOG}.damaged-*")
    assert (aside.lstat().st_ino, aside.lstat().st_size) == before
    [warning] = engine.recovered.warnings
    assert aside.name in warning


@proves("audit ahead")
def test_a_trail_that_may_not_be_written_still_tells_what_the_log_has_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine(tmp_path / "more", 60)
    whole = write_trail(tmp_path / "more")
    run_engine(tmp_path / "less", 20)
    (tmp_path / "less" / AUDIT_LOG).write_bytes(whole)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    for _ in range(2):
        with pytest.raises(LogDamaged):
            EventDrivenMatchingEngine.open(tmp_path / "less")
    assert (tmp_path / "less" / AUDIT_LOG).read_bytes() == whole


@proves("audit ahead")
def test_a_trail_that_cannot_be_read_just_now_is_no_trail_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it tells of the log is not passed over where the disk fails."""
    run_engine(tmp_path, 20)
    whole = write_trail(tmp_path)
    stream = DirectoryStorage.stream

    def failing(storage: DirectoryStorage, name: str) -> BinaryIO:
        if name == AUDIT_LOG:
            raise OSError(errno.EIO, "the disk fails")
        return stream(storage, name)

    monkeypatch.setattr(DirectoryStorage, "stream", failing)
    with pytest.raises(DirectoryUnusable, match="the disk fails"):
        EventDrivenMatchingEngine.open(tmp_path)
    assert (tmp_path / AUDIT_LOG).read_bytes() == whole


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    for line in (b"a note by hand\n", b"{}\n", b"\xff\n", b'{"sequence":[1],"event":"x"}\n'):
        (tmp_path / AUDIT_LOG).write_bytes(write_trail(tmp_path) + line)
        with pytest.raises(StoreError, match=r"line \d+: not an audit line"):
            list(read_lines(DirectoryStorage(tmp_path)))
        (tmp_path / AUDIT_LOG).unlink()


@proves("audit without its past")
def test_a_lost_trail_begins_at_the_oldest_snapshot_where_the_log_does(tmp_path: Path) -> None:
    for part in range(3):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False) as engine:
            for command in list(commands(90, 1))[part * 30 : part * 30 + 30]:
                engine.submit(command)
        if part:
            take_snapshot(tmp_path)
    (tmp_path / segment_name(1)).unlink()
    logger = logger_on(DirectoryStorage(tmp_path))
    assert logger.catch_up() > 20
    logger.close()
    assert ["goes on from the oldest snapshot" in warning for warning in logger.warnings] == [True]
    first, *_, last = read_lines(DirectoryStorage(tmp_path))
    assert (first["sequence"], last["sequence"]) == (61, 90)
    assert verify_chain(DirectoryStorage(tmp_path))[1] is None


def test_a_torn_last_line_is_not_counted_and_not_called_an_edit(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    whole = write_trail(tmp_path)
    path = tmp_path / AUDIT_LOG
    path.write_bytes(whole[:-5])
    lines = whole.count(b"\n")
    assert verify_chain(DirectoryStorage(tmp_path)) == (lines - 1, None)
    assert verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path)) == (lines - 1, None)
    assert len(list(read_lines(DirectoryStorage(tmp_path)))) == lines - 1


def test_a_trail_of_more_than_the_log_recorded_is_found_by_verify(tmp_path: Path) -> None:
    run_engine(tmp_path / "long", 20)
    run_engine(tmp_path / "short", 19)
    (tmp_path / "short" / AUDIT_LOG).write_bytes(b"")
    forged = write_trail(tmp_path / "short")
    end = trail.end_of_trail(DirectoryStorage(tmp_path / "short"))
    extra, _ = chained([text_of(AuditEvent(20, "order_accepted", 0))], end.chain)
    (tmp_path / "short" / AUDIT_LOG).write_bytes(forged + extra)
    good, bad = verify_against_log(DirectoryStorage(tmp_path / "short"), log_in(tmp_path / "short"))
    assert bad is not None
    assert (good, bad.problem) == (forged.count(b"\n"), "the log recorded no such event")


def test_a_logger_that_is_up_to_date_writes_nothing(tmp_path: Path) -> None:
    run_engine(tmp_path, 10)
    logger = logger_on(DirectoryStorage(tmp_path))
    assert logger.catch_up() > 0
    assert logger.catch_up() == 0
    logger.close()


def test_a_trail_older_than_the_newest_snapshot_is_completed_from_an_older_place(
    tmp_path: Path,
) -> None:
    run_engine(tmp_path, 60)
    whole = write_trail(tmp_path)
    take_snapshot(tmp_path)
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
    follow(DirectoryStorage(tmp_path), lifeline)
    os.close(lifeline)
    lines, bad = verify_against_log(DirectoryStorage(tmp_path), log_in(tmp_path))
    assert (bad, lines > 60) == (None, True)


# -- A follower beside an engine ---------------------------------------------------------------


class Recorder(MemoryStorage):
    """Keeps what its files were after each step of a writer; a write has two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[dict[str, bytes]] = []

    def step(self) -> None:
        self.moments.append({name: bytes(content) for name, content in self.files.items()})

    def create(self, name: str) -> MemoryFile:
        self.files[name] = bytearray()
        self.step()
        return RecordedFile(self, self.files[name])

    def open(self, name: str) -> MemoryFile:
        return RecordedFile(self, self.files[name])

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self.step()


class RecordedFile(MemoryFile):
    def __init__(self, recorder: Recorder, content: bytearray) -> None:
        super().__init__(content)
        self._recorder = recorder

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        for part in (data[: len(data) // 2], data):
            super().write_at(offset, part)
            self._recorder.step()

    def truncate(self, size: int) -> None:
        super().truncate(size)
        self._recorder.step()


class Beside(MemoryStorage):
    """A directory in which a writer may take some steps before each look of a reader."""

    def __init__(self, moments: list[dict[str, bytes]], steps: Callable[[], int]) -> None:
        super().__init__()
        self._moments = iter(moments)
        self._steps = steps
        self.at_the_end = False

    def look(self) -> None:
        for _ in range(self._steps()):
            moment = next(self._moments, None)
            if moment is None:
                self.at_the_end = True
                return
            trail = self.files.get(AUDIT_LOG)
            self.files = {name: bytearray(content) for name, content in moment.items()}
            if trail is not None:
                self.files[AUDIT_LOG] = trail

    def names(self) -> list[str]:
        self.look()
        return super().names()

    def size(self, name: str) -> int:
        self.look()
        return super().size(name)

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        self.look()
        return super().read(name, offset, limit)


def lives(storage: Storage, segment_bytes: int, count: int) -> None:
    """Some engines one after the other; every second one is killed."""
    flow = list(commands(count, 1))
    for life in range(4):
        sequencer = sequencer_on(*open_log(storage, segment_bytes=segment_bytes))
        part = flow[life * count // 4 : (life + 1) * count // 4]
        for start in range(0, len(part), 5):
            process(sequencer, *part[start : start + 5])
            if start % 3 == 0:
                sequencer.idle()
        if life % 2:
            sequencer.close()


History = tuple[list[dict[str, bytes]], bytes]


@pytest.fixture(scope="module", name="history")
def _history() -> History:
    """The moments of some lives, and the whole trail of their log."""
    recorder = Recorder()
    lives(recorder, 4096, 200)
    storage = MemoryStorage()
    storage.files = {name: bytearray(content) for name, content in recorder.moments[-1].items()}
    logger_on(storage).catch_up()
    assert len(segment_numbers(storage)) > 8
    return recorder.moments, bytes(storage.files[AUDIT_LOG])


@pytest.mark.once
@proves("audit behind")
def test_a_follower_misses_nothing_and_refuses_nothing_whenever_it_looks(history: History) -> None:
    moments, whole = history
    for seed in range(40):
        choose = random.Random(seed)
        often, most, kills = (choose.choice(c) for c in ((0.05, 0.2, 0.5), (1, 4, 8), (0, 0.1, 1)))

        def steps(choose=choose, often=often, most=most) -> int:  # type: ignore[no-untyped-def]
            return choose.randint(1, most) if choose.random() < often else 0

        beside = Beside(moments, steps)
        logger = logger_on(beside)
        while not beside.at_the_end:
            logger.catch_up()
            if choose.random() < kills:
                logger = logger_on(beside)
        logger.catch_up()
        logger.close()
        assert beside.files[AUDIT_LOG] == whole, f"seed {seed}"


@pytest.mark.once
def test_a_log_that_goes_on_in_a_new_segment_between_two_looks_is_not_called_damaged(
    history: History,
) -> None:
    moments, whole = history
    counts = map(segment_count, moments)
    begun = [n for n, (old, new) in enumerate(itertools.pairwise(counts), 1) if new > old]
    for moment in begun:
        for look in range(40):
            steps = itertools.chain([moment + 1], [0] * look, [6], itertools.repeat(0))
            beside = Beside(moments, steps.__next__)
            logger = logger_on(beside)
            logger.catch_up()
            logger.catch_up()
            assert whole.startswith(beside.files[AUDIT_LOG])


def segment_count(files: Iterable[str]) -> int:
    return sum(bool(SEGMENT_NAME.fullmatch(name)) for name in files)


class Counter(MemoryStorage):
    """Counts what a reader asks for."""

    listings = 0
    bytes_read = 0

    def names(self) -> list[str]:
        self.listings += 1
        return super().names()

    def read(self, name: str, offset: int = 0, limit: int = -1) -> bytes:
        data = super().read(name, offset, limit)
        self.bytes_read += len(data)
        return data


def test_a_follower_reads_in_pieces_and_lists_directories_only_at_the_end_of_a_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "WINDOW_BYTES", 4096)
    storage = Counter()
    sequencer = sequencer_on(*open_log(storage, segment_bytes=64 * 1024))
    logger = logger_on(storage)
    logger.catch_up()
    ends = 0
    for command in commands(400, 1):
        segments = len(storage.files)
        process(sequencer, command)
        ended = len(storage.files) > segments
        ends += ended
        storage.listings = storage.bytes_read = 0
        logger.catch_up()
        assert storage.listings == ended
        logger.catch_up()
        assert storage.listings == ended
        assert storage.bytes_read < 6 * 4096
    assert ends == 3
    logger.close()
    assert verify_against_log(storage, log_in(storage))[1] is None


def test_a_batch_that_is_larger_than_a_piece_is_read_by_a_follower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "WINDOW_BYTES", 700)
    storage = MemoryStorage()
    sequencer = sequencer_on(*open_log(storage, segment_bytes=64 * 1024))
    logger = logger_on(storage)
    logger.catch_up()
    flow = list(commands(300, 1))
    for start in range(0, 300, 30):
        process(sequencer, *flow[start : start + 30])
        sequencer.idle()
        logger.catch_up()
        assert verify_against_log(storage, log_in(storage))[1] is None
        assert trail.end_of_trail(storage).sequence == start + 30


def test_between_two_seals_the_trail_is_synced_however_large_a_batch_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit_event, "SEAL_EVERY", 10)
    disk = SimulatedDisk()
    sequencer = sequencer_on(*open_log(disk, segment_bytes=64 * 1024))
    process(sequencer, *commands(100, 1))
    sequencer.idle()
    logger = logger_on(disk)
    calls = len(disk.calls)
    logger.catch_up()
    assert disk.calls[calls:] == ["sync", "write"] * 9 + ["write"]


def test_the_events_of_one_command_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_event, "SEAL_EVERY", 100)
    monkeypatch.setattr(audit_logger, "WRITE_BYTES", 1000)
    written: list[int] = []

    def write_at(file: MemoryFile, offset: int, data: bytes | bytearray | memoryview) -> None:
        written.append(len(data))
        real(file, offset, data)

    storage = MemoryStorage()
    sequencer = sequencer_on(*open_log(storage, segment_bytes=64 * 1024))
    process(sequencer, ListInstrument("A", "1", "1"))
    for order_id in range(1, 2001):
        process(sequencer, NewOrder(order_id, 1, "A", Side.BUY, OrderType.LIMIT, order_id, 1))
    process(sequencer, MassCancel(1, None))
    sequencer.idle()
    logger = logger_on(storage)
    real = MemoryFile.write_at
    monkeypatch.setattr(MemoryFile, "write_at", write_at)
    assert logger.catch_up() == 4002 + 20
    assert max(written) < 1000 + 100 * 400
    assert verify_against_log(storage, log_in(storage)) == (4002 + 20, None)


def test_every_event_has_a_sentence_and_an_unknown_one_is_refused() -> None:
    line: dict[str, object] = dict.fromkeys(AuditEvent.__struct_fields__, "")
    for name in EVENT_NAMES.values():
        assert sentence({**line, "event": name, "sequence": 1, "index": 0})
    with pytest.raises(StoreError, match="'twelfth_event'"):
        sentence({**line, "event": "twelfth_event"})
