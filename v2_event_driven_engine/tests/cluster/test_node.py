"""The parts of a node that a history of the simulation does not name."""

import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2_event_driven_engine.cluster import node as node_module
from v2_event_driven_engine.cluster import protocol, sessions
from v2_event_driven_engine.cluster.node import Delivered, Lease, Network, Node, Replies, Turn
from v2_event_driven_engine.cluster.replica import Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.sessions import origins_in
from v2_event_driven_engine.models.commands import CancelOrder, ListInstrument

from .memory_stream import MemoryStream
from .ticking_clock import TickingClock


class CountedLease(Lease):
    """A lease that is always ours."""

    looked_at = 0
    released = 0

    def hold(self) -> bool:
        self.looked_at += 1
        return True

    def release(self) -> None:
        self.released += 1


class Script(Network):
    """A network on which these messages come, some at each look; and then the node stops."""

    def __init__(self, *looks: Sequence[bytes] | Callable[[], Sequence[bytes]]) -> None:
        self.node: Node
        self.replies: list[protocol.Reply] = []
        self.batches: list[int] = []
        """The replies that were sent together."""
        self._looks = list(looks)

    def take(self, seconds: float) -> Sequence[Delivered]:
        if not self._looks:
            self.node.stopping = True
            return ()
        look = self._looks.pop(0)
        return [Delivered(data, "x") for data in (look() if callable(look) else look)]

    def reply(self, replies: Replies) -> None:
        self.replies += [protocol.decode_reply(data) for _, data in replies]
        self.batches.append(len(replies))

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass


def lived(*looks: Sequence[bytes]) -> tuple[Script, CountedLease, MemoryStream]:
    """The life of a node that is the active at once."""
    network, lease, stream = Script([], *looks), CountedLease(), MemoryStream("LOG_0")
    live(network, lease, stream)
    return network, lease, stream


def live(
    network: Script, lease: Lease, stream: MemoryStream, replica: Replica | None = None
) -> None:
    """The life of a node on this log, which ends when the network says so."""
    clock = TickingClock()
    log = ReplicatedEventLog(stream, clock, "a", 1)
    network.node = Node(replica or Replica(), log, lease, network, clock)
    network.node.run()


def submit(number: int, *, client: int = 1, commands: int = 1) -> bytes:
    return protocol.encode(protocol.Submit(client, number, [CancelOrder(1, 1)] * commands))


def test_a_busy_active_keeps_its_lease() -> None:
    """Also where messages come without end, and where all of them are to be ignored."""
    for looks in ([[submit(n)] for n in range(1, 50)], [[submit(7)]] * 50, [[b"?"]] * 50):
        _, lease, _ = lived(*looks)
        assert lease.looked_at >= 50


def test_a_standby_bids_for_the_lease_only_where_it_has_read_the_whole_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gets it while it is far behind keeps all others waiting."""
    monkeypatch.setattr(node_module, "FOLLOW_BATCHES", 10)
    _, _, stream = lived(*([submit(number)] for number in range(1, 96)))
    network, lease = Script(*[[]] * 20), CountedLease()
    replica = Replica()
    bids: list[int] = []

    def hold() -> bool:
        bids.append(replica.sequence)
        return True

    monkeypatch.setattr(lease, "hold", hold)
    live(network, lease, stream, replica)
    assert bids[0] == 95


def test_whoever_ends_gives_the_lease_back() -> None:
    """Also a standby: it may have got the lease just now."""
    assert lived([submit(1)])[1].released == 1
    network, lease, stream = Script(), CountedLease(), MemoryStream("LOG_0")
    log = ReplicatedEventLog(stream, TickingClock(), "a", 1)
    node = Node(Replica(), log, lease, network, TickingClock())
    node.stopping = True
    node.run()
    assert (lease.released, stream.messages) == (1, [])


def test_what_is_not_understood_is_answered_without_an_append() -> None:
    network, _, stream = lived([b"?"], [submit(0)])
    assert len(stream.messages) == 1, "the epoch"
    assert [type(reply) for reply in network.replies] == [protocol.Refused] * 2


def test_an_answer_of_too_many_bytes_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be: and then the client would repeat its request for ever."""
    requests = [submit(1), submit(2, commands=9), submit(2, commands=9)]
    (few, many, again) = lived(requests)[0].replies
    assert isinstance(few, protocol.Answered)
    assert isinstance(many, protocol.Answered)
    monkeypatch.setattr(protocol, "ANSWER_BYTES_MAX", len(many.events) - 1)
    assert lived(requests)[0].replies == [few, protocol.Forgotten(2), protocol.Forgotten(2)]
    assert again == many


# -- Turns --------------------------------------------------------------------------------------


def entries(stream: MemoryStream) -> list[int]:
    """The number of commands in each batch."""
    log = ReplicatedEventLog(stream, TickingClock(), "b", 2)
    return [len(batch.commands) for batch in log.read() if batch.commands]


OPEN = 4


def requests_in(stream: MemoryStream) -> list[tuple[int, int]]:
    """The client and the number of each request in the log."""
    log = ReplicatedEventLog(stream, TickingClock(), "b", 2)
    return [
        (origin.client, origin.number)
        for batch in log.read()
        if batch.commands
        for origin in origins_in(batch.tag)
    ]


def test_a_turn_ends_where_there_are_too_many_commands_or_bytes() -> None:
    limit = node_module.BATCH_COMMANDS_MAX
    most = protocol.REQUEST_COMMANDS_MAX
    numbers = range(1, 2 * limit // most + 2)
    network, _, stream = lived([submit(n, commands=most) for n in numbers])
    assert entries(stream) == [limit, limit, most]
    assert [reply.number for reply in network.replies] == [*numbers]  # type: ignore[union-attr]

    turn = Turn()
    request = protocol.Submit(1, 1, [CancelOrder(1, 1)])
    assert turn.has_room(request, node_module.BATCH_BYTES_MAX + 1), "one is always taken"
    turn.add(request, Delivered(bytes(1000), "x"))
    assert turn.has_room(request, node_module.BATCH_BYTES_MAX - 1000)
    assert not turn.has_room(request, node_module.BATCH_BYTES_MAX - 999)


def test_a_client_that_is_forgotten_in_the_middle_of_a_look_has_no_request_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is appended for others changes the sessions; the log would have a request too many."""
    monkeypatch.setattr(sessions, "FORGOTTEN_AFTER", 3)
    monkeypatch.setattr(node_module, "BATCH_COMMANDS_MAX", 4)
    network, _, stream = lived(
        [submit(1)],
        [submit(1, client=2, commands=4)],
        [submit(2, client=2, commands=4), submit(2)],
        [submit(3, client=2)],
    )
    assert entries(stream) == [1, 4, 4, 1]
    assert [reply.number for reply in network.replies] == [1, 1, 2, 3]  # type: ignore[union-attr]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), max_size=30))
def test_whatever_comes_in_one_turn_acts_once_and_in_order(requests: list[tuple[int, int]]) -> None:
    network, _, stream = lived([submit(number, client=client) for client, number in requests])
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    answered = 0
    for client, number in requests:
        first.setdefault(client, number)
        if number <= last.get(client, number - 1) + 1:
            last[client] = max(number, last.get(client, 0))
            answered += 1
    assert sum(entries(stream)) == sum(last[client] - first[client] + 1 for client in last)
    assert len(network.replies) == answered


steps = st.lists(
    st.sampled_from(("sends", "repeats", "sends late")) | st.integers(1, 30), max_size=40
)


@settings(deadline=None)
@given(steps=steps, choose=st.randoms(use_true_random=False))
def test_a_client_acts_once_and_in_order_even_if_it_is_forgotten(
    steps: list[str | int], choose: random.Random
) -> None:
    """It sends and repeats while others send so many commands; what it sends may come late."""
    sent: list[bytes] = []
    others = 0

    def look(step: str | int) -> list[bytes]:
        nonlocal others
        if isinstance(step, int):
            others += 1
            return [submit(others, client=1, commands=step)]
        if step == "repeats":
            return [choose.choice(sent)] if sent else []
        executed = [number for client, number in requests_in(stream) if client == 2]
        if not sent:
            first.append(network.node.replica.sequence + 1)
            arrived.append(step == "sends")
        elif not executed or first[0] + len(sent) - executed[-1] > OPEN:
            return []  # the window is full
        sent.append(submit(first[0] + len(sent), client=2))
        return [sent[-1]] if step == "sends" else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "FORGOTTEN_AFTER", 40)
        first: list[int] = []
        arrived: list[bool] = []
        stream = MemoryStream("LOG_0")
        network = Script([], *(partial(look, step) for step in steps))
        live(network, CountedLease(), stream)
    executed = [number for client, number in requests_in(stream) if client == 2]
    assert len(executed) >= sum(arrived)
    assert executed == list(range(first[0], first[0] + len(executed)) if executed else [])


def test_the_largest_request_fits_into_an_entry() -> None:
    """With whatever its commands say: so there is no request that no node can carry out."""
    most = "0" * protocol.SIZE_TEXT_MAX
    command = ListInstrument("A" * 16, most, most)
    requests = [
        protocol.encode(protocol.Submit(1, number, [command] * protocol.REQUEST_COMMANDS_MAX))
        for number in (1, 2, 3)
    ]
    _, _, stream = lived(requests)
    assert sum(entries(stream)) == 3 * protocol.REQUEST_COMMANDS_MAX
