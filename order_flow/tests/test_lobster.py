"""Every clause of the conversion rule, on files of a few rows."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from order_flow import Command, MalformedRow, UnusableFile, lobster, lobster_files

from .conftest import WriteCsv

MESSAGES = "XYZ_2020-01-02_34200000_57600000_message_2.csv"
ORDERBOOK = "XYZ_2020-01-02_34200000_57600000_orderbook_2.csv"
AGGRESSOR = lobster.FIRST_AGGRESSOR_ID
SYNTHETIC = lobster.FIRST_SYNTHETIC_ID


def brief(command: Command) -> str:
    """A command as a few words, such as "new 7 BUY 10@100 GTC"."""
    kind = command["command"]
    if kind == "new":
        return (
            f"new {command['order_id']} {command['side']} {command['quantity']}@{command['price']} "
            f"{command['time_in_force']}"
        )
    if kind == "reduce":
        return f"reduce {command['order_id']} by {command['by']}"
    return f"{kind} {command.get('order_id', '')}".strip()


def flow(write_csv: WriteCsv, messages: str, book: str | None = None) -> list[str]:
    """What a message file becomes, without its list_instrument."""
    book_path = write_csv(ORDERBOOK, book) if book is not None else None
    commands = list(lobster.commands(write_csv(MESSAGES, messages), book_path))
    assert commands[0]["command"] == "list_instrument"
    return [brief(command) for command in commands[1:]]


def test_the_first_command_lists_the_instrument_with_the_symbol_of_the_file_name(
    write_csv: WriteCsv,
) -> None:
    assert list(lobster.commands(write_csv(MESSAGES, ""))) == [
        {
            "command": "list_instrument",
            "symbol": "XYZ",
            "tick_size": "0.0001",
            "lot_size": "1",
        }
    ]


def test_a_symbol_that_is_given_wins_over_the_file_name(write_csv: WriteCsv) -> None:
    [first] = lobster.commands(write_csv(MESSAGES, ""), symbol="BRK.A")
    assert first["symbol"] == "BRK.A"


def test_a_file_name_that_starts_with_no_symbol_is_refused(write_csv: WriteCsv) -> None:
    with pytest.raises(UnusableFile, match="--symbol"):
        list(lobster.commands(write_csv("messages.csv", "")))


def test_submissions_reductions_and_deletions_become_new_reduce_and_cancel(
    write_csv: WriteCsv,
) -> None:
    assert flow(
        write_csv,
        """
        34200.1,1,11,50,1000000,1
        34200.2,1,12,60,1000500,-1
        34200.3,2,11,20,1000000,1
        34200.4,3,12,60,1000500,-1
        """,
    ) == [
        "new 11 BUY 50@1000000 GTC",
        "new 12 SELL 60@1000500 GTC",
        "reduce 11 by 20",
        "cancel 12",
    ]


def test_a_new_order_carries_exactly_the_fields_of_the_rulebook(write_csv: WriteCsv) -> None:
    commands = list(
        lobster.commands(write_csv(MESSAGES, "34200.1,1,11,50,1000000,1\n34200.2,4,11,5,1000000,1"))
    )
    assert commands[1:] == [
        {
            "command": "new",
            "order_id": 11,
            "participant": 1,
            "symbol": "XYZ",
            "side": "BUY",
            "type": "LIMIT",
            "price": 1_000_000,
            "quantity": 50,
            "time_in_force": "GTC",
        },
        {
            "command": "new",
            "order_id": AGGRESSOR,
            "participant": 2,
            "symbol": "XYZ",
            "side": "SELL",
            "type": "LIMIT",
            "price": 1_000_000,
            "quantity": 5,
            "time_in_force": "IOC",
        },
    ]


def test_executions_of_one_time_and_side_become_one_ioc_order_at_their_worst_price(
    write_csv: WriteCsv,
) -> None:
    buys = flow(write_csv, "34200.1,4,11,5,100,-1\n34200.1,4,12,6,102,-1\n34200.1,4,13,7,101,-1")
    sells = flow(write_csv, "34200.1,4,11,5,100,1\n34200.1,4,12,6,98,1\n34200.1,4,13,7,99,1")
    assert buys == [f"new {AGGRESSOR} BUY 18@102 IOC"]
    assert sells == [f"new {AGGRESSOR} SELL 18@98 IOC"]


@pytest.mark.parametrize(
    "second_row",
    ["34200.2,4,12,6,100,-1", "34200.1,4,12,6,100,1"],
    ids=["another time", "another side"],
)
def test_executions_that_differ_in_time_or_side_are_two_aggressors(
    write_csv: WriteCsv, second_row: str
) -> None:
    commands = flow(write_csv, f"34200.1,4,11,5,100,-1\n{second_row}")
    assert [command.split()[1] for command in commands] == [str(AGGRESSOR), str(AGGRESSOR + 1)]


def test_a_submission_ends_an_aggressor_even_at_the_same_time(write_csv: WriteCsv) -> None:
    assert flow(
        write_csv,
        """
        34200.1,4,11,5,100,-1
        34200.1,1,20,3,100,1
        34200.1,4,12,6,100,-1
        """,
    ) == [
        f"new {AGGRESSOR} BUY 5@100 IOC",
        "new 20 BUY 3@100 GTC",
        f"new {AGGRESSOR + 1} BUY 6@100 IOC",
    ]


def test_hidden_executions_crosses_and_halts_become_nothing_and_interrupt_nothing(
    write_csv: WriteCsv,
) -> None:
    assert flow(
        write_csv,
        """
        34200.1,4,11,5,100,-1
        34200.1,5,0,100,100,-1
        34200.1,6,-1,9000,100,-1
        34200.1,7,0,0,-1,-1
        34200.1,4,12,6,100,-1
        """,
    ) == [f"new {AGGRESSOR} BUY 11@100 IOC"]


def test_the_first_book_row_without_the_first_submission_seeds_one_order_a_level(
    write_csv: WriteCsv,
) -> None:
    assert flow(
        write_csv,
        "34200.1,1,11,20,99,1",
        "101,40,99,50,103,60,98,70\n999,999,998,998,997,997,996,996",
    ) == [
        f"new {SYNTHETIC} SELL 40@101 GTC",
        f"new {SYNTHETIC + 1} SELL 60@103 GTC",
        f"new {SYNTHETIC + 2} BUY 30@99 GTC",
        f"new {SYNTHETIC + 3} BUY 70@98 GTC",
        "new 11 BUY 20@99 GTC",
    ]


def test_a_level_that_only_the_first_submission_made_is_not_seeded(write_csv: WriteCsv) -> None:
    commands = flow(write_csv, "34200.1,1,11,50,99,1", "101,40,99,50")
    assert commands == [f"new {SYNTHETIC} SELL 40@101 GTC", "new 11 BUY 50@99 GTC"]


@pytest.mark.parametrize("message_type", [2, 3, 4])
def test_what_the_first_message_took_away_is_put_back(
    write_csv: WriteCsv, message_type: int
) -> None:
    commands = flow(write_csv, f"34200.1,{message_type},11,5,100,-1", "101,40,99,50")
    assert commands[:3] == [
        f"new {SYNTHETIC} SELL 5@100 GTC",
        f"new {SYNTHETIC + 1} SELL 40@101 GTC",
        f"new {SYNTHETIC + 2} BUY 50@99 GTC",
    ]


def test_levels_without_orders_are_not_seeded(write_csv: WriteCsv) -> None:
    commands = flow(write_csv, "34200.1,5,0,5,100,-1", "101,40,99,50,9999999999,0,-9999999999,0")
    assert commands == [f"new {SYNTHETIC} SELL 40@101 GTC", f"new {SYNTHETIC + 1} BUY 50@99 GTC"]


def test_cancellations_of_unseen_orders_reduce_the_synthetic_order_of_their_level(
    write_csv: WriteCsv,
) -> None:
    commands = flow(
        write_csv,
        """
        34200.1,5,0,1,100,-1
        34200.2,2,7,10,101,-1
        34200.3,3,8,30,101,-1
        """,
        "101,40,99,50",
    )
    assert commands[2:] == [f"reduce {SYNTHETIC} by 10", f"reduce {SYNTHETIC} by 30"]


def test_a_cancellation_of_more_than_the_synthetic_order_has_left_is_left_out(
    write_csv: WriteCsv,
) -> None:
    commands = flow(
        write_csv,
        """
        34200.1,5,0,1,100,-1
        34200.2,4,7,15,101,-1
        34200.3,3,8,26,101,-1
        34200.4,3,9,25,101,-1
        34200.5,3,10,1,105,-1
        """,
        "101,40,99,50",
    )
    assert commands[2:] == [f"new {AGGRESSOR} BUY 15@101 IOC", f"reduce {SYNTHETIC} by 25"]


def test_an_execution_names_the_order_seen_or_the_synthetic_one_or_none(
    write_csv: WriteCsv,
) -> None:
    steps = list(
        lobster.steps(
            write_csv(
                MESSAGES,
                """
                34200.1,1,11,20,101,-1
                34200.2,4,7,40,101,-1
                34200.2,4,11,20,101,-1
                34200.2,4,8,1,101,-1
                """,
            ),
            write_csv(ORDERBOOK, "101,60,99,50"),
        )
    )
    assert steps[-1].executions == ((SYNTHETIC, 101, 40), (11, 101, 20), (None, 101, 1))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".GZ", ".XZ"])
def test_a_compressed_file_gives_the_same_flow(
    write_csv: WriteCsv, tmp_path: Path, suffix: str
) -> None:
    plain = write_csv(MESSAGES, "34200.1,1,11,20,101,-1\n34200.2,4,11,5,101,-1")
    compressed = tmp_path / (MESSAGES + suffix)
    opener = gzip.open if suffix.lower() == ".gz" else lzma.open
    with opener(compressed, "wb") as stream:
        stream.write(plain.read_bytes())
    assert list(lobster.commands(compressed)) == list(lobster.commands(plain))


def test_a_zip_needs_no_further_names(write_csv: WriteCsv, tmp_path: Path) -> None:
    messages = write_csv(MESSAGES, "34200.1,1,11,20,101,-1")
    book = write_csv(ORDERBOOK, "101,60,99,50")
    archive = tmp_path / "sample.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in (messages, book):
            writer.write(path, path.name)
    assert list(lobster.commands(archive)) == list(lobster.commands(messages, book))


@pytest.mark.parametrize(
    ("flags", "method", "problem"),
    [(1, zipfile.ZIP_STORED, "encrypted"), (0, 9, "compression")],
    ids=["encrypted", "deflate64"],
)
def test_a_zip_of_another_kind_is_to_be_unpacked_with_another_program(
    tmp_path: Path, flags: int, method: int, problem: str
) -> None:
    archive = tmp_path / "sample.ZIP"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr(MESSAGES, "34200.1,1,11,20,101,-1")
    packed = bytearray(archive.read_bytes())
    kind = flags.to_bytes(2, "little") + method.to_bytes(2, "little")
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = packed.index(header) + offset
        packed[start : start + 4] = kind
    archive.write_bytes(packed)
    with pytest.raises(UnusableFile, match=f"{problem}.*Unpack the zip"):
        list(lobster.commands(archive))


def test_a_zip_without_the_wanted_member_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "sample.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("read-me.txt", "nothing")
    with pytest.raises(UnusableFile, match="_message_"):
        list(lobster.commands(archive))


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("34200.1,1,11,20,101", "line 2: expected 6 fields"),
        ("nine,1,11,20,101,1", "line 2: time: expected seconds after midnight, found 'nine'"),
        ("34200.1,8,11,20,101,1", "line 2: type: expected 1 to 7, found '8'"),
        ("34200.1,1,0,20,101,1", "line 2: order id: expected an integer above 0, found '0'"),
        ("34200.1,1,2000000000001,20,101,1", "line 2: order id: 2000000000001 is above"),
        ("34200.1,1,11,0,101,1", "line 2: size: expected an integer above 0, found '0'"),
        ("34200.1,1,11,20,-1,1", "line 2: price: expected an integer above 0"),
        ("34200.1,1,11,20,101.5,1", "line 2: price: expected an integer above 0"),
        ("34200.1,1,11,20,101,0", "line 2: direction: expected 1 or -1, found '0'"),
        ("", "line 2: expected 6 fields"),
    ],
)
def test_a_malformed_row_is_named_with_its_line_and_field(
    tmp_path: Path, row: str, error: str
) -> None:
    path = tmp_path / MESSAGES
    path.write_text(f"34200.1,1,10,20,101,1\n{row}\n34200.3,1,12,20,101,1\n")
    commands = lobster.commands(path)
    assert [next(commands)["command"], next(commands)["command"]] == ["list_instrument", "new"]
    with pytest.raises(MalformedRow) as raised:
        next(commands)
    assert str(raised.value).startswith(f"{path}, {error}")


@pytest.mark.parametrize("row", ["101,40,99", "101,40,99,fifty", ""])
def test_a_malformed_book_row_is_named(write_csv: WriteCsv, row: str) -> None:
    with pytest.raises(MalformedRow, match=r"orderbook_2\.csv, line 1: expected four integers"):
        flow(write_csv, "34200.1,1,11,20,101,-1", row)


def test_an_order_book_file_of_another_day_is_noticed(write_csv: WriteCsv) -> None:
    with pytest.raises(MalformedRow, match="same stock, day and level"):
        flow(write_csv, "34200.1,1,11,20,101,-1", "102,60,99,50")


def test_a_compressed_file_that_ends_in_the_middle_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / (MESSAGES + ".xz")
    path.write_bytes(lzma.compress(b"34200.1,1,11,20,101,-1\n" * 10_000)[:-50])
    with pytest.raises(MalformedRow, match="cannot be read to its end"):
        list(lobster.commands(path))


def test_progress_is_told_as_a_share_that_never_falls(write_csv: WriteCsv) -> None:
    rows = "\n".join(f"34200.1,1,{order_id},20,101,-1" for order_id in range(1, 20_001))
    shares: list[float] = []
    list(lobster.commands(write_csv(MESSAGES, rows), progress=shares.append))
    assert len(shares) >= 4
    assert shares == sorted(shares)
    assert shares[0] > 0.0
    assert shares[-1] <= 1.0


# -- Files that nobody should have made -----------------------------------------------------------


def packed(path: Path, data: bytes) -> Path:
    """Write a file, packed as its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MESSAGES, data)
            archive.writestr(ORDERBOOK, data)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    else:
        path.write_bytes(lzma.compress(data, preset=0) if path.suffix == ".xz" else data)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".zip"])
@pytest.mark.parametrize("long", ["messages", "book"])
def test_a_row_without_end_is_named_and_takes_little_memory(
    tmp_path: Path, suffix: str, long: str
) -> None:
    row = b"1" * 2**26
    good = tmp_path / MESSAGES
    good.write_bytes(b"34200.1,1,11,20,101,-1\n")
    path = packed(tmp_path / f"XYZ_message_1{suffix}", row)
    messages, book = (good, path) if long == "book" else (path, good)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedRow) as caught:
            list(lobster.commands(messages, book))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(path))
    assert ", line 1: longer than 1,048,576 bytes" in str(caught.value)
    assert peak < 2**24


def test_several_xz_streams_are_one_file(tmp_path: Path) -> None:
    rows = [b"34200.1,1,%d,20,101,-1\n" % number for number in (11, 12)]
    path = tmp_path / (MESSAGES + ".xz")
    path.write_bytes(lzma.compress(rows[0]) + bytes(8) + lzma.compress(rows[1]) + bytes(4))
    assert len(list(lobster.commands(path))) == 3


def test_an_xz_file_that_asks_for_too_much_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobster_files, "_XZ_MEMORY_BYTES", 2**20)
    path = packed(tmp_path / (MESSAGES + ".xz"), b"34200.1,1,11,20,101,-1\n")
    path.write_bytes(lzma.compress(path.read_bytes(), preset=9))
    with pytest.raises(MalformedRow, match="more memory than the 1 MiB that are allowed"):
        list(lobster.commands(path))


@pytest.mark.once
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_with_any_byte_damaged_is_read_or_refused(tmp_path: Path, method: int) -> None:
    """Python's own exceptions for it are many; none of them comes out."""
    path = tmp_path / "sample.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(MESSAGES, "34200.1,1,11,20,101,-1\n" * 20)
        archive.writestr(ORDERBOOK, "101,60,99,50\n")
    whole = path.read_bytes()
    for place in range(len(whole)):
        for value in {0, 0xFF, 0x80 ^ whole[place], 1 ^ whole[place]} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with contextlib.suppress(MalformedRow, UnusableFile):
                list(lobster.commands(path))
        path.write_bytes(whole[:place])
        with contextlib.suppress(MalformedRow, UnusableFile):
            list(lobster.commands(path))
