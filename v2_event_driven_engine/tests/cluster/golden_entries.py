"""The golden file of the present version of the entries: what LOG and OUT look like.

``python -m v2_event_driven_engine.tests.cluster.golden_entries`` writes it for a version that has
none yet, and never writes over one. The same version writes the same bytes, whenever it is run.
"""

import itertools
from pathlib import Path
from unittest import mock

import msgspec

from v2_event_driven_engine.cluster import entry
from v2_event_driven_engine.cluster.replica import OutMessage, Replica
from v2_event_driven_engine.cluster.replicated_log import Position, ReplicatedEventLog
from v2_event_driven_engine.cluster.sessions import Origin, tag_of
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.receipt import SubmittedMany
from v2_event_driven_engine.models.commands import Command

from .. import flow
from ..golden_files import GOLDEN, SCHEMA, description_of_enums, fields_of, records
from ..logs import sequencer_on
from .memory_stream import MemoryStream, no_clock

OF_ENTRIES = GOLDEN / f"entry_{entry.ENTRY_VERSION}"
FILE = "cluster.msgpack"
COMMANDS = 300
BATCH_COMMANDS = 8
EPOCH_BATCHES = 10
OUTCOME_BYTES_MAX = 400
"""So that some batches have a checksum."""
FIRST_TIME_NS = 1_700_000_000_000_000_000


class Golden(msgspec.Struct, frozen=True):
    """What is in the file."""

    log: list[bytes]
    out: list[bytes]
    sessions: bytes
    state_hash: str
    positions: list[bytes]
    """The place after each batch."""


def make() -> Golden:
    """Several writers, one after the other, carry out a flow of three clients."""
    stream = MemoryStream("LOG_0")
    commands = list(flow.commands(COMMANDS, seed=2012))
    numbers = {client: itertools.count(1) for client in (1, 2, 3)}
    batches = [commands[at : at + BATCH_COMMANDS] for at in range(0, COMMANDS, BATCH_COMMANDS)]
    with (
        mock.patch("platform.python_version", return_value="3.11.0"),
        mock.patch.object(entry, "OUTCOME_BYTES_MAX", OUTCOME_BYTES_MAX),
    ):
        for epoch, first in enumerate(range(0, len(batches), EPOCH_BATCHES)):
            log = ReplicatedEventLog(stream, no_clock, "abc"[epoch % 3], 1000 + epoch)
            replica = Replica()
            for batch in log.read():
                replica.apply(batch)
            log.start(replica.state.place)
            times = iter(range(FIRST_TIME_NS + first, 2 * FIRST_TIME_NS, 1_000_003))
            sequencer = sequencer_on(replica.state, log, times.__next__)
            for number, some in enumerate(batches[first : first + EPOCH_BATCHES], first):
                client = number % 3 + 1
                origins = [Origin(client, next(numbers[client]), len(some))]
                sequencer.process([SubmittedMany(some)], tag_of(origins))
                if number % 4 == 0:
                    sequencer.barrier()
    replica = Replica()
    positions = []
    for batch in ReplicatedEventLog(stream, no_clock, "d", 1).read():
        replica.apply(batch)
        positions.append(bytes(batch.place))
    return Golden(
        stream.messages,
        [each.encoded for each in replica.unpublished],
        replica.sessions.dump(),
        replica.state.matcher.state_hash(),
        positions,
    )


def description() -> str:
    """Every tag, field, order and type that makes the bytes."""
    lines = [
        f"entry header {entry.HEADER.format}, link {entry.LINK.format}",
        f"batch: {fields_of(entry.BatchBody)}",
        f"epoch: {fields_of(entry.EpochBody)}",
        f"tag: list of {fields_of(Origin)}",
        f"message of OUT: {fields_of(OutMessage)}",
        f"place: {', '.join(Position._fields)}",
        *records(Command),
        *records(AnyEvent),
        *description_of_enums(),
    ]
    return "\n".join(lines) + "\n"


def main(directory: Path = OF_ENTRIES) -> None:
    if directory.exists():
        print(f"{directory}: is there, and stays as it is")
        return
    directory.mkdir()
    (directory / FILE).write_bytes(msgspec.msgpack.encode(make()))
    (directory / SCHEMA).write_text(description(), encoding="utf-8")
    print(f"{directory}: written")


if __name__ == "__main__":
    main()
