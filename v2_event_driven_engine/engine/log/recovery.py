"""From a log to the state that it stands for.

Recovery is the newest good snapshot and the log after it, applied by the same matcher that ran
live. The log also has the events that the engine gave out; they are derived again and compared, so
rules that changed, or a bug, are found before anything is answered.

A state begins somewhere (`newest_start`, `earliest_start`) and then follows the log (`follow`).
`recover` is the usual way: as little as possible is replayed.
"""

from collections.abc import Callable
from itertools import zip_longest

import msgspec

from ...errors import DirectoryUnusable, LogDamaged, MatcherBug, ReplayDivergence, StoreError
from ..event_log import START, Batch, Place, ReadableLog, TornTail
from ..events import AnyEvent
from ..market.matcher import Matcher
from . import snapshot
from .snapshot import Snapshot, Snapshots

Progress = Callable[[int], None]
"""Is called with the sequence that was reached, after each batch."""


class Recovered(msgspec.Struct):
    """The recovered state, and what recovery found."""

    matcher: Matcher = msgspec.field(default_factory=Matcher)
    place: Place = START
    """After the last batch that was read: where the log goes on."""
    timestamp_ns: int = 0
    closed: bool = False
    """Whether the last batch closed the log at a clean shutdown."""
    unrecorded: list[list[AnyEvent]] = []
    """Events of the last commands, derived now, that the log does not have yet."""
    torn: TornTail | None = None
    durable_sequence: int = 0
    """Up to where the log itself says that it is durable; what comes after may be in flight."""
    commands_replayed: int = 0
    snapshot_sequence: int = 0
    warnings: list[str] = []
    """What was passed over, in sentences."""


def recover(
    log: ReadableLog,
    snapshots: Snapshots | None = None,
    *,
    until: int | None = None,
    progress: Progress | None = None,
) -> Recovered:
    """The state that the log stands for; with `until`, as of that sequence.

    Nothing is changed. O(snapshot + commands after it).

    Raises:
        LogDamaged, UnsupportedFormat, ReplayDivergence, MatcherBug: see `errors.py`.
    """
    return follow(log, newest_start(snapshots, until), until=until, progress=progress)


def newest_start(snapshots: Snapshots | None, until: int | None = None) -> Recovered:
    """The newest good snapshot at or before `until`, or the empty market. O(snapshot)."""
    if snapshots is None:
        return Recovered()
    return _first_good(
        snapshots,
        lambda names: [n for n in names if until is None or snapshot.sequence_of(n) <= until],
    )


def earliest_start(log: ReadableLog, snapshots: Snapshots | None = None) -> Recovered:
    """The empty market; or the oldest good snapshot, where the beginning of the log is gone."""
    first = log.first_sequence()
    if first == 1 or snapshots is None:
        return Recovered()
    state = _first_good(snapshots, lambda names: names[::-1])
    if state.snapshot_sequence:
        name = snapshot.name_of(state.snapshot_sequence)
        state.warnings.append(f"the log begins at sequence {first}: replayed from {name} on")
    return state


def _first_good(snapshots: Snapshots, usable: Callable[[list[str]], list[str]]) -> Recovered:
    """The first good one of those that `usable` chooses from all names."""
    gone = True
    while gone:  # beside one who takes snapshots: newer ones have taken the place of those listed
        gone = False
        warnings = []
        for name in usable(snapshots.names()):
            try:
                state = restored(snapshots.read(name))
            except FileNotFoundError:
                gone = True
                continue
            except StoreError as error:
                warnings.append(f"{error}; another one, or the whole log, is used instead")
                continue
            state.warnings = warnings
            return state
    return Recovered(warnings=warnings)


def restored(found: Snapshot) -> Recovered:
    """The state in a snapshot. O(orders · log levels).

    Raises:
        StoreError: it contradicts itself, or the state hash is another one.
    """
    return Recovered(
        snapshot.restore(found),
        place=Place(found.place),
        timestamp_ns=found.timestamp_ns,
        closed=found.closed,
        unrecorded=found.unrecorded,
        durable_sequence=found.sequence,
        snapshot_sequence=found.sequence,
    )


def refuse(divergence: ReplayDivergence) -> None:
    """End the replay at a divergence."""
    raise divergence


# --8<-- [start:follow]
def follow(
    log: ReadableLog,
    state: Recovered,
    *,
    until: int | None = None,
    progress: Progress | None = None,
    diverged: Callable[[ReplayDivergence], None] = refuse,
) -> Recovered:
    """Bring `state` on to the end of the log, or to the sequence `until`, and return it.

    `diverged` gets the first divergence of each batch; if it returns, the replay goes on.

    Raises:
        As `recover`.
    """
    if until is not None and state.matcher.sequence >= until:
        return state
    for batch in log.read(state.place):
        step(state, batch, until=until, diverged=diverged)
        if progress is not None:
            progress(state.matcher.sequence)
        if until is not None and state.matcher.sequence >= until:
            return state
    state.torn = log.torn
    return state


def step(
    state: Recovered,
    batch: Batch,
    *,
    until: int | None = None,
    diverged: Callable[[ReplayDivergence], None] = refuse,
) -> None:
    """Bring `state` on by the batch that comes next. `state.unrecorded` then has its events.

    Raises:
        As `recover`.
    """
    if (divergence := _divergence(batch, state.unrecorded)) is not None:
        diverged(divergence)
    state.unrecorded = _apply(batch, state.matcher, until)
    state.commands_replayed += len(state.unrecorded)
    state.place = batch.place
    state.timestamp_ns = batch.timestamp_ns
    state.closed = batch.closed
    state.durable_sequence = batch.durable_sequence


# --8<-- [end:follow]


def take_snapshot(
    log: ReadableLog, snapshots: Snapshots, *, progress: Progress | None = None
) -> tuple[Recovered, str]:
    """Write a snapshot, by replaying the log beside the engine that may be writing it.

    The state is that of the last sequence which the log says is durable, at the place right after
    its batch: what is written after it may still be lost with the power, and a snapshot must never
    know more than the log. Returns the state and the snapshot's name.

    Raises:
        DirectoryUnusable: no command is durable yet.
    """
    state = newest_start(snapshots)
    durable = state.durable_sequence
    for batch in log.read(state.place):
        durable = batch.durable_sequence
    if durable == 0:
        raise DirectoryUnusable(
            "the log holds no command yet: there is nothing to take a snapshot of"
        )
    follow(log, state, until=durable, progress=progress)
    return state, snapshots.write(snapshot_of(state))


def snapshot_of(state: Recovered, attached: bytes = b"") -> Snapshot:
    """The snapshot that `restored` makes the state of again. O(orders)."""
    return snapshot.take(
        state.matcher,
        timestamp_ns=state.timestamp_ns,
        place=state.place,
        closed=state.closed,
        unrecorded=state.unrecorded,
        attached=attached,
    )


def _divergence(batch: Batch, derived: list[list[AnyEvent]]) -> ReplayDivergence | None:
    """The first difference between the events that a batch records and those derived, if any."""
    first = batch.outcomes_first
    if first != batch.first_sequence - len(derived):
        raise LogDamaged(batch.file, batch.offset, first, "recorded events are missing")
    recorded = batch.outcomes
    if recorded == derived:
        return None
    for sequence, (there, here) in enumerate(zip_longest(recorded, derived, fillvalue=()), first):
        for index, (left, right) in enumerate(zip_longest(there, here)):
            if left != right:
                return _difference(sequence, index, left, right)
    raise MatcherBug(f"{batch.file}: byte {batch.offset}: events differ, and none of them does")


def _difference(
    sequence: int, index: int, recorded: AnyEvent | None, derived: AnyEvent | None
) -> ReplayDivergence:
    if recorded is None or derived is None or type(recorded) is not type(derived):
        return ReplayDivergence(sequence, index, "", _shown(recorded), _shown(derived))
    for field_name in derived.__struct_fields__:
        left, right = getattr(recorded, field_name), getattr(derived, field_name)
        if left != right:
            about = f"{type(derived).__name__}.{field_name}"
            return ReplayDivergence(sequence, index, about, repr(left), repr(right))
    raise MatcherBug(f"sequence {sequence}: {recorded} is not itself")


def _shown(event: AnyEvent | None) -> str:
    return "no event" if event is None else str(event)


def _apply(batch: Batch, matcher: Matcher, until: int | None) -> list[list[AnyEvent]]:
    first = batch.first_sequence
    commands = batch.commands if until is None else batch.commands[: until - first + 1]
    try:
        return matcher.apply(first, batch.timestamp_ns, commands)
    except Exception as error:
        culprit = commands[max(0, matcher.sequence - first)] if commands else "no command"
        raise MatcherBug(
            f"{batch.file}: byte {batch.offset}: sequence {matcher.sequence} ({culprit}) makes the "
            f"matcher fail ({type(error).__name__}: {error}). The log is intact; open it with a "
            f"version in which this is corrected."
        ) from error
