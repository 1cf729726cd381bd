"""The golden files of the present version: what its log, snapshot and trail look like.

``python -m v2_event_driven_engine.tests.golden_files`` writes them for a version that has none yet.
It never writes over those that are there: they are what programs of that version have written. The
same version writes the same bytes, whenever it is run.
"""

import enum
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec

from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log import format as wal_format
from v2_event_driven_engine.engine.log import snapshot
from v2_event_driven_engine.engine.log.storage import DirectoryStorage
from v2_event_driven_engine.models import enums
from v2_event_driven_engine.models.commands import Command

from . import flow
from .logs import logger_on, open_log, process, sequencer_on, take_snapshot

GOLDEN = Path(__file__).parent / "golden"
OF_THE_LOG = GOLDEN / f"format_{wal_format.FORMAT_VERSION}"
OF_SNAPSHOTS = GOLDEN / f"snapshot_{snapshot.SNAPSHOT_VERSION}"
SCHEMA = "schema.txt"

COMMANDS = 300
SNAPSHOT_AT = 200
"""Here the first run ends; the second goes on from there."""
FIRST_TIME_NS = 1_700_000_000_000_000_000
BATCH_COMMANDS = 8
BATCH_NS = 1_000_003
SEGMENT_BYTES = 8192
GENERATIONS = (
    6582659476249417722, 5203493724193741920, 1342856638155951559, 9398440721405255947,
)  # fmt: skip
"""Drawn once, so that the files are the same each time."""


class _Storage(DirectoryStorage):
    """A directory in which chance gives the same numbers each time."""

    def __init__(self, path: Path, generations: Iterator[int]) -> None:
        super().__init__(path, create=True)
        self.random64 = generations.__next__  # type: ignore[method-assign]


def write(directory: Path) -> None:
    """Write the log of `COMMANDS` commands, a snapshot in the middle, and the audit trail."""
    commands = list(flow.commands(COMMANDS, seed=2012))
    generations = iter(GENERATIONS)
    times = iter(range(FIRST_TIME_NS, FIRST_TIME_NS + COMMANDS * BATCH_NS, BATCH_NS))
    for run in (commands[:SNAPSHOT_AT], commands[SNAPSHOT_AT:]):
        storage = _Storage(directory, generations)
        state, log = open_log(storage, segment_bytes=SEGMENT_BYTES)
        sequencer = sequencer_on(state, log, times.__next__)
        for first in range(0, len(run), BATCH_COMMANDS):
            process(sequencer, *run[first : first + BATCH_COMMANDS])
        sequencer.close()
        log.close()
        if state.matcher.sequence == SNAPSHOT_AT:
            take_snapshot(directory)
    logger = logger_on(DirectoryStorage(directory))
    logger.catch_up()
    logger.close()


# -- The schema: every tag, field, order and type that makes the bytes --------------------------


def described(structure: type[msgspec.Struct]) -> str:
    """Tag, name, and the fields with their types in the order in which they are written."""
    tag = structure.__struct_config__.tag
    return f"{'' if tag is None else f'{tag} '}{structure.__name__}: {fields_of(structure)}"


def fields_of(structure: type[msgspec.Struct]) -> str:
    hints = get_type_hints(structure)
    return ", ".join(f"{name} {shown(hints[name])}" for name in structure.__struct_fields__)


def shown(kind: object) -> str:
    """A type, without the modules that its names come from."""
    if isinstance(kind, type) and not get_args(kind):
        return kind.__name__
    text = str(kind)
    for name, union in (("Command", Command), ("AnyEvent", AnyEvent)):
        text = text.replace(str(union), name)
    return re.sub(r"\b\w+\.", "", text)


def records(union: UnionType) -> list[str]:
    """The structures of a union, by their tags."""

    def tag(structure: type[msgspec.Struct]) -> int:
        found = structure.__struct_config__.tag
        assert isinstance(found, int)
        return found

    return [described(each) for each in sorted(get_args(union), key=tag)]


def description_of_enums() -> list[str]:
    kinds = [kind for kind in vars(enums).values() if isinstance(kind, enum.EnumMeta)]
    return [
        f"{kind.__name__}: {', '.join(f'{each.name} {each.value}' for each in list[Any](kind))}"
        for kind in kinds
        if kind is not enum.IntEnum
    ]


def description_of_the_log() -> str:
    lines = [
        f"segment header {wal_format.SEGMENT_HEADER.format}",
        f"batch header {wal_format.BATCH_HEADER.format}",
        f"body: {fields_of(wal_format.Body)}",
        *records(Command),
        *records(AnyEvent),
        *description_of_enums(),
    ]
    return "\n".join(lines) + "\n"


def description_of_snapshots() -> str:
    lines = [
        f"header {snapshot.HEADER.format}",
        described(snapshot.Snapshot),
        described(snapshot.RestingOrder),
        *records(AnyEvent),
        *description_of_enums(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    for directory, schema in (
        (OF_THE_LOG, description_of_the_log()),
        (OF_SNAPSHOTS, description_of_snapshots()),
    ):
        if directory.exists():
            print(f"{directory}: is there, and stays as it is")
            continue
        write(directory)
        (directory / SCHEMA).write_text(schema, encoding="utf-8")
        print(f"{directory}: written")


if __name__ == "__main__":
    main()
