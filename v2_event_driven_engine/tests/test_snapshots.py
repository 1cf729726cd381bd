"""Snapshots that lie, with a good checksum, a good state hash and a good name.

The state hash covers what rests. What else a snapshot says is compared with itself, with its place
in the log, and by `verify` with a replay; these tests say which lie is found by which.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from crc32c import crc32c
from msgspec.structs import replace

from v2_event_driven_engine import (
    DirectoryUnusable,
    EventDrivenMatchingEngine,
    LogDamaged,
    OrderStatus,
)
from v2_event_driven_engine.engine.event_log import Place
from v2_event_driven_engine.engine.log import snapshot
from v2_event_driven_engine.engine.log.format import RULEBOOK_VERSION
from v2_event_driven_engine.engine.log.reader import position_of
from v2_event_driven_engine.engine.log.snapshot import RestingOrder, Snapshot, Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.main import main
from v2_event_driven_engine.models.enums import SelfTradePrevention

from .faults import proves
from .flow import commands
from .golden_files import GOLDEN
from .logs import recover, take_snapshot

COMMANDS = 150
UNUSED = 10**9
Lie = Callable[[Snapshot], Mapping[str, Any]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a log, and a snapshot after its last command."""
    directory = tmp_path_factory.mktemp("honest")
    with EventDrivenMatchingEngine.open(directory, audit=False, segment_bytes=8192) as engine:
        engine.submit_many(commands(COMMANDS, 1)).result()
    take_snapshot(directory)
    return directory


def lying(honest: Path, directory: Path, lie: Lie) -> str:
    """A copy of the directory whose snapshot lies; the name of that."""
    shutil.copytree(honest, directory, dirs_exist_ok=True)
    snapshots = Snapshots(DirectoryStorage(directory))
    [name] = snapshots.names()
    found = snapshots.read(name)
    told = replace(found, **lie(found))
    assert told != found
    (directory / name).unlink()
    body = msgspec.msgpack.encode(told)
    header = snapshot.HEADER.pack(
        snapshot.MAGIC, snapshot.SNAPSHOT_VERSION, RULEBOOK_VERSION, crc32c(body)
    )
    (directory / snapshot.name_of(told.sequence)).write_bytes(header + body)
    return snapshot.name_of(told.sequence)


def moved(found: Snapshot, **changed: Any) -> bytes:
    return position_of(Place(found.place))._replace(**changed).place


def orders(found: Snapshot, **changed: Any) -> dict[str, list[RestingOrder]]:
    """Another first order."""
    first, *others = found.orders
    return {"orders": [replace(first, **changed), *others]}


def ended(found: Snapshot, order_id: int, status: OrderStatus) -> dict[str, Any]:
    return {"terminal": {**found.terminal, order_id: status}}


def with_other_statuses(found: Snapshot) -> dict[str, Any]:
    number, block = next(iter(found.dense_blocks.items()))
    filled, canceled = int(OrderStatus.FILLED), int(OrderStatus.CANCELED)
    swapped = block.translate(bytes.maketrans(bytes((filled, canceled)), bytes((canceled, filled))))
    return {"dense_blocks": {**found.dense_blocks, number: swapped}}


def other(status: OrderStatus) -> OrderStatus:
    return OrderStatus.NEW if status is not OrderStatus.NEW else OrderStatus.PARTIALLY_FILLED


CONTRADICTIONS: dict[str, Lie] = {
    "sequence": lambda found: {"sequence": found.sequence - 1},
    "time": lambda found: {"timestamp_ns": found.timestamp_ns + 1},
    "closed": lambda found: {"closed": not found.closed},
    "the sequence of the place": lambda found: {"place": moved(found, next_sequence=7)},
    "the time of the place": lambda found: {"place": moved(found, timestamp_ns=1)},
    "trades": lambda found: {"last_trade_id": -1},
    "a filled order rests": lambda found: orders(found, status=OrderStatus.FILLED),
    "an order rests and has ended": lambda found: ended(
        found, found.orders[0].order_id, OrderStatus.FILLED
    ),
    "a new order has ended": lambda found: ended(found, UNUSED, OrderStatus.NEW),
    "an id that is none": lambda found: ended(found, -1, OrderStatus.FILLED),
}

AGAINST_THE_LOG: dict[str, Lie] = {
    "sequence": lambda found: {
        "sequence": found.sequence - 1, "place": moved(found, next_sequence=found.sequence),
    },
    "time": lambda found: {
        "timestamp_ns": found.timestamp_ns + 1,
        "place": moved(found, timestamp_ns=found.timestamp_ns + 1),
    },
    "closed": lambda found: {"closed": True, "place": moved(found, closed=True)},
}  # fmt: skip

BELIEVED: dict[str, tuple[str, Lie]] = {
    "more trades": ("last_trade_id", lambda found: {"last_trade_id": found.last_trade_id + 1}),
    "another size": ("instruments", lambda found: {"instruments": {"ACME": ("7", "7")}}),
    "one instrument more": (
        "instruments", lambda found: {"instruments": {**found.instruments, "NO": ("1", "1")}},
    ),
    "new or partly filled": (
        "orders", lambda found: orders(found, status=other(found.orders[0].status)),
    ),
    "prevention": (
        "orders",
        lambda found: orders(
            found, self_trade_prevention=SelfTradePrevention(
                found.orders[0].self_trade_prevention % len(SelfTradePrevention) + 1
            ),
        ),
    ),
    "post only": ("orders", lambda found: orders(found, post_only=not found.orders[0].post_only)),
    "an id was used": ("finished", lambda found: ended(found, UNUSED, OrderStatus.FILLED)),
    "an id was not used": ("finished", lambda found: {"dense_blocks": {}}),
    "another end": ("finished", with_other_statuses),
}  # fmt: skip


@proves("snapshot lies")
@pytest.mark.parametrize("lie", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_snapshot_that_contradicts_itself_is_passed_over(
    honest: Path, tmp_path: Path, lie: Lie, capfd: pytest.CaptureFixture[str]
) -> None:
    name = lying(honest, tmp_path, lie)
    state = recover(tmp_path)
    assert state.matcher.sequence == COMMANDS
    assert (state.snapshot_sequence, state.commands_replayed) == (0, COMMANDS)
    assert [name in warning for warning in state.warnings] == [True]
    assert name in error_of_verify(tmp_path, capfd)


@proves("snapshot lies")
@pytest.mark.parametrize("lie", AGAINST_THE_LOG.values(), ids=AGAINST_THE_LOG)
def test_a_snapshot_that_the_log_contradicts_at_its_place_is_refused(
    honest: Path, tmp_path: Path, lie: Lie, capfd: pytest.CaptureFixture[str]
) -> None:
    name = lying(honest, tmp_path, lie)
    for _ in range(2):
        with pytest.raises(LogDamaged, match="a snapshot was made here, of another"):
            EventDrivenMatchingEngine.open(tmp_path, audit=False)
    assert name in error_of_verify(tmp_path, capfd)


@proves("snapshot lies")
@pytest.mark.parametrize(("field", "lie"), BELIEVED.values(), ids=BELIEVED)
def test_a_lie_that_contradicts_nothing_is_believed_by_a_start_and_found_by_verify(
    honest: Path, tmp_path: Path, field: str, lie: Lie, capfd: pytest.CaptureFixture[str]
) -> None:
    name = lying(honest, tmp_path, lie)
    state = recover(tmp_path)
    assert (state.snapshot_sequence, state.warnings) == (COMMANDS, [])
    assert error_of_verify(tmp_path, capfd).startswith(f"{name}: {field}")


@proves("snapshot lies")
def test_events_that_the_log_has_not_yet_are_compared_with_it(
    honest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def lie(found: Snapshot) -> Mapping[str, Any]:
        *others, last = found.unrecorded
        return {"unrecorded": [*others, [replace(event, timestamp_ns=3) for event in last]]}

    name = lying(honest, tmp_path, lie)
    assert error_of_verify(tmp_path, capfd).startswith(f"{name}: unrecorded")


def error_of_verify(directory: Path, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert main(["verify", "--json", "--data-dir", str(directory)]) == 1
    return str(json.loads(capfd.readouterr().out)["error"])


@pytest.mark.parametrize(
    "golden", sorted({path.parent for path in GOLDEN.glob("*/snapshot.*")}), ids=lambda p: p.name
)
def test_an_honest_snapshot_of_any_version_is_found_to_be_so(
    golden: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--json", "--data-dir", str(golden)]) == 0
    assert json.loads(capfd.readouterr().out)["ok"]


def test_a_snapshot_after_any_command_is_found_to_be_honest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Segments end between them, and lives of the engine."""
    flow = list(commands(60, 5))
    for life in range(0, 60, 15):
        with EventDrivenMatchingEngine.open(tmp_path, audit=False, segment_bytes=4096) as engine:
            for command in flow[life : life + 15]:
                engine.submit(command).result()
                with suppress(DirectoryUnusable):  # the log vouches for nothing yet
                    take_snapshot(tmp_path)
                assert recover(tmp_path).warnings == []
        assert main(["verify", "--json", "--data-dir", str(tmp_path)]) == 0
        assert json.loads(capfd.readouterr().out)["ok"]
