"""Is the cluster what its log says? A fresh replay, held against OUT and against every node."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from ..engine.log.recovery import Progress
from .replica import Replica
from .replicated_log import ReplicatedEventLog
from .stream import Clock, Stream, doubted, fetch

OUT_SECONDS = 1.0


class Said(Protocol):
    """What a node has said of itself: a `protocol.Status`."""

    @property
    def node(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def state_hash(self) -> str: ...
    @property
    def sessions_hash(self) -> str: ...


class Verified(NamedTuple):
    """What the replay gave, and whatever did not agree with it, in sentences."""

    replica: Replica
    entries: int
    out_messages: int
    """Of OUT, that were compared."""
    nodes: list[str]
    """Whose hashes were compared."""
    problems: list[str]


def verify(
    log: Stream,
    out: Stream,
    clock: Clock,
    said: Iterable[Said],
    progress: Progress = lambda _: None,
) -> Verified:
    """Replay the whole of LOG, and compare. It works beside a cluster that goes on. O(commands).

    `said` is what the nodes have said before: each is compared at the sequence where it was then.

    Raises:
        ReplayDivergence, LogDamaged, UnsupportedFormat, MatcherBug: of LOG; see `errors.py`.
        LogUnavailable: nobody answered.
    """
    waiting = sorted(said, key=lambda each: each.sequence)
    nodes = [each.node for each in waiting]
    problems: list[str] = []
    replica = Replica()
    end_of_out = out.last()
    fetched: deque[bytes] = deque()
    compared = 0
    due = deque(waiting)
    reader = ReplicatedEventLog(log, clock, "verify", 0)
    _compare(replica, due, problems)
    for batch in reader.read():
        replica.apply(batch)
        _compare(replica, due, problems)
        for each in tuple(replica.unpublished):
            replica.published(each.number)
            if each.number <= end_of_out:
                compared += 1
                if each.encoded != _message(out, each.number, fetched, each.encoded):
                    problems.append(f"{out.name}: message {each.number} is not what the log gives")
        progress(replica.sequence)
    problems += [f"node {each.node}: sequence {each.sequence} is not in the log" for each in due]
    if compared < end_of_out:
        problems.append(f"{out.name}: {end_of_out} messages; the log gives {compared}")
    return Verified(replica, reader.position.entries, compared, nodes, problems)


def _message(stream: Stream, position: int, fetched: deque[bytes], expected: bytes) -> bytes:
    """A message; of the leader if it is not the expected one. `fetched` are those from it on."""
    while not fetched:
        fetched.extend(fetch(stream, position - 1, OUT_SECONDS))
    message = fetched.popleft()
    if message == expected:
        return message
    there = doubted(stream, position, message)
    if there != message:
        fetched.clear()
    return there


def _compare(replica: Replica, due: deque[Said], problems: list[str]) -> None:
    """Compare the nodes that were where the replay is now."""
    while due and due[0].sequence <= replica.sequence:
        node = due.popleft()
        found = replica.state.matcher.state_hash(), replica.sessions.hash()
        if node.sequence != replica.sequence:
            problems.append(f"node {node.node}: no batch ends at its sequence {node.sequence}")
        elif (node.state_hash, node.sessions_hash) != found:
            problems.append(
                f"node {node.node}: at sequence {node.sequence} it has another state: "
                f"{node.state_hash} and {node.sessions_hash}, the log gives {found[0]} and "
                f"{found[1]}"
            )
