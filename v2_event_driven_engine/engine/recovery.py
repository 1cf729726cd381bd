"""From the bytes on disk to the state they stand for.

Recovery = newest good snapshot + the log behind it, applied by the same matcher that ran live. The
log also has the events that the engine gave out; they are derived again and compared byte for byte,
so a rulebook that changed, or a bug, is found before anything is answered.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from ..errors import (
    DirectoryUnusable,
    LogDamaged,
    MatcherBug,
    ReplayDivergence,
    StoreError,
    UnsupportedFormat,
)
from . import snapshot
from .audit_logger import AUDIT_LOG, last_audited_sequence
from .events import AnyEvent
from .matcher import Matcher
from .storage import Storage
from .wal_event_store import SEGMENT_BYTES, UNFINISHED_SEGMENT, WalEventStore
from .wal_format import decode_outcomes, encode_outcomes
from .wal_reader import (
    START,
    LogReader,
    Position,
    StoredBatch,
    TornTail,
    segment_name,
    segment_numbers,
)

Progress = Callable[[int], None]


@dataclass(slots=True)
class Recovered:
    """A state, and how it was come by."""

    matcher: Matcher
    position: Position
    """Behind the last batch: where a new segment continues."""
    unrecorded: list[list[AnyEvent]] = field(default_factory=list)
    """Events of the last commands, derived now, that the log does not have yet."""
    torn: TornTail | None = None
    durable_sequence: int = 0
    """Up to where the log itself says that it is durable; what is behind that may be in flight."""
    commands_replayed: int = 0
    snapshot_sequence: int = 0
    warnings: list[str] = field(default_factory=list)
    """What was passed over, in sentences."""


def recover(
    storage: Storage,
    *,
    until: int | None = None,
    from_the_start: bool = False,
    progress: Progress | None = None,
    divergences: list[ReplayDivergence] | None = None,
) -> Recovered:
    """Rebuild the state that the directory stands for; with ``until``, as of that sequence.

    ``from_the_start`` replays everything there is, instead of what is behind the newest snapshot.
    Nothing is changed. ``progress`` is called with the sequence reached after each batch. With
    ``divergences``, the first of each batch is put there instead of being raised.
    O(snapshot + commands behind it).

    Raises:
        LogDamaged, UnsupportedFormat, ReplayDivergence, MatcherBug: see ``errors.py``.
    """
    state = _starting_point(storage, until, from_the_start=from_the_start)
    reader = LogReader(storage, state.position)
    if until is None or state.matcher.sequence < until:
        for batch in reader:
            try:
                _check_outcomes(batch, state.unrecorded)
            except ReplayDivergence as divergence:
                if divergences is None:
                    raise
                divergences.append(divergence)
            _apply(batch, state, until)
            state.durable_sequence = batch.header.durable_sequence
            if progress is not None:
                progress(state.matcher.sequence)
            if until is not None and state.matcher.sequence >= until:
                break
    state.position = reader.position
    state.torn = reader.torn
    return state


def open_log(
    storage: Storage, *, segment_bytes: int = SEGMENT_BYTES, progress: Progress | None = None
) -> tuple[Recovered, WalEventStore]:
    """Recover under the directory's lock and open a new segment for writing behind the end.

    Raises:
        Like :func:`recover`, and LogDamaged where the audit log knows of a later sequence.
    """
    state = recover(storage, progress=progress)
    audited = last_audited_sequence(storage)
    if audited > state.matcher.sequence:
        raise LogDamaged(
            segment_name(max(state.position.segment, 1)), state.position.offset,
            state.position.next_sequence,
            f"the log ends here but {AUDIT_LOG} knows of sequence {audited}",
        )  # fmt: skip
    if state.position.segment:
        _rewrite_last_segment(storage, state)
    store = WalEventStore(storage, state.position, segment_bytes=segment_bytes)
    return state, store


def _rewrite_last_segment(storage: Storage, state: Recovered) -> None:
    """Make durable what has just been read, and set a torn tail aside.

    What a read shows may come from memory only: written and never synced when the engine was
    killed, or left there by a sync that failed, after which a second sync of the same file may
    report success and do nothing. So the segment is written anew, to a new file, and takes the
    old one's name.
    """
    position = state.position
    name = segment_name(position.segment)
    data = storage.read(name)
    if state.torn is not None:
        aside = storage.create(f"{name}.torn")
        aside.write_at(0, data[position.offset : position.offset + state.torn.length])
        aside.close()
    whole = data[: position.offset]
    if not position.closed:
        whole = whole.ljust(len(data), b"\0")
    file = storage.create(UNFINISHED_SEGMENT)
    file.write_at(0, whole)
    file.sync()
    file.close()
    storage.rename(UNFINISHED_SEGMENT, name)
    storage.sync_directory()


def _starting_point(storage: Storage, until: int | None, *, from_the_start: bool) -> Recovered:
    """The newest snapshot at or before ``until`` that is good, or the very beginning.

    Where the oldest segments have been taken away, the beginning is the oldest snapshot.
    """
    names = snapshot.newest_first(storage)
    numbers = segment_numbers(storage)
    if from_the_start:
        names = names[-1:] if numbers and numbers[0] > 1 else []
    warnings = []
    for name in names:
        if until is not None and snapshot.sequence_of(name) > until:
            continue
        try:
            found = snapshot.read(storage, name)
            matcher = snapshot.restore(found)
        except StoreError as error:
            warnings.append(f"{error}; an older one, or the whole log, is used instead")
            continue
        if from_the_start:
            warnings.append(f"segments before {numbers[0]} are not here: replayed from {name} on")
        return Recovered(
            matcher,
            found.position,
            unrecorded=found.unrecorded,
            durable_sequence=matcher.sequence,
            snapshot_sequence=matcher.sequence,
            warnings=warnings,
        )
    return Recovered(Matcher(), START, warnings=warnings)


def take_snapshot(storage: Storage, *, progress: Progress | None = None) -> tuple[Recovered, str]:
    """Write the state down, by replaying the log beside the engine that may be writing it.

    The state is that of the last sequence which the log says is durable, at the place right
    behind its batch: what is written behind that may still be lost with the power, and a snapshot
    must never know more than the log. Returns the state and the snapshot's name.

    Raises:
        DirectoryUnusable: no command is durable yet.
    """
    durable = _starting_point(storage, None, from_the_start=False)
    for batch in LogReader(storage, durable.position):
        durable.durable_sequence = batch.header.durable_sequence
    if durable.durable_sequence == 0:
        raise DirectoryUnusable("the log holds no command yet: there is nothing to write down")
    state = recover(storage, until=durable.durable_sequence, progress=progress)
    name = snapshot.write(storage, snapshot.take(state.matcher, state.position, state.unrecorded))
    return state, name


def _check_outcomes(batch: StoredBatch, derived: list[list[AnyEvent]]) -> None:
    """Compare what the log says happened with what has just been derived, and forget both."""
    if batch.body.outcomes_first != batch.header.first_sequence - len(derived):
        raise LogDamaged(
            batch.file, batch.offset, batch.body.outcomes_first, "recorded events are missing"
        )
    expected = list(derived)
    derived.clear()
    if bytes(batch.body.outcomes) != encode_outcomes(expected):
        raise _divergence(batch, expected)


def _divergence(batch: StoredBatch, derived: list[list[AnyEvent]]) -> StoreError:
    try:
        recorded = decode_outcomes(batch.body.outcomes)
    except msgspec.DecodeError as error:
        return UnsupportedFormat(f"{batch.file}: byte {batch.offset}: unknown event ({error})")
    sequence = batch.body.outcomes_first
    for there, here in zip(recorded, derived, strict=False):
        for index in range(max(len(there), len(here))):
            left = there[index] if index < len(there) else "nothing"
            right = here[index] if index < len(here) else "nothing"
            if left != right:
                return ReplayDivergence(sequence, index, str(left), str(right))
        sequence += 1
    return ReplayDivergence(
        sequence, 0, f"{len(recorded)} commands' events", f"{len(derived)} commands' events"
    )


def _apply(batch: StoredBatch, state: Recovered, until: int | None) -> None:
    matcher = state.matcher
    commands = batch.body.commands
    first = batch.header.first_sequence
    if until is not None:
        commands = commands[: until - first + 1]
    try:
        state.unrecorded += matcher.apply_all(batch.header.timestamp_ns, commands)
    except Exception as error:
        raise MatcherBug(
            f"{batch.file}: byte {batch.offset}: sequence {matcher.sequence} "
            f"({commands[matcher.sequence - first]}) makes the matcher fail "
            f"({type(error).__name__}: {error}). The log is intact; open it with a version that "
            f"is mended."
        ) from error
    state.commands_replayed += len(commands)
