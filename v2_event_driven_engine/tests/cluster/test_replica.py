"""A replica, and the messages of OUT that it makes."""

import msgspec
import pytest

from v2_event_driven_engine.cluster import node as node_module
from v2_event_driven_engine.cluster import replica as replica_module
from v2_event_driven_engine.cluster.node import publish
from v2_event_driven_engine.cluster.replica import OutMessage, Replica
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.cluster.sessions import Origin, tag_of
from v2_event_driven_engine.errors import Fenced, LogUnavailable, StoreError

from ..flow import commands
from ..logs import batch_of
from .golden_entries import Golden, make
from .memory_stream import MemoryStream, no_clock
from .ticking_clock import TickingClock

FLOW = list(commands(60, seed=3))


@pytest.fixture(scope="module")
def golden() -> Golden:
    return make()


def followed(golden: Golden, replica: Replica | None = None) -> Replica:
    """A replica that has read the whole log."""
    stream = MemoryStream("LOG_0")
    stream.messages = golden.log
    replica = replica or Replica()
    for batch in ReplicatedEventLog(stream, no_clock, "z", 1).read(replica.state.place):
        replica.apply(batch)
    return replica


def test_out_is_the_events_by_request_and_by_command(golden: Golden) -> None:
    replica = followed(golden)
    assert [each.number for each in replica.unpublished] == list(range(1, replica.batches + 1))
    due = 1
    for each in replica.unpublished:
        message = msgspec.msgpack.decode(each.encoded, type=OutMessage)
        assert message.first_sequence == due
        assert isinstance(message.events, list)
        for request in message.events:
            for events in request:
                assert {event.sequence for event in events} == {due}
                due += 1
    assert due == replica.sequence + 1


def test_a_message_of_out_with_too_many_bytes_is_a_checksum(
    golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = followed(golden).unpublished[0]
    monkeypatch.setattr(replica_module, "OUT_BYTES_MAX", len(first.encoded) - 1)
    message = msgspec.msgpack.decode(first.encoded, type=OutMessage)
    assert (message.first_sequence, type(message.events)) == (1, int)


def test_every_node_may_publish_and_out_is_complete(golden: Golden) -> None:
    out = MemoryStream("OUT_0")
    first, second = followed(golden), followed(golden)
    for _ in range(2):
        assert publish(first, out, no_clock)
    while publish(second, out, no_clock):
        pass
    assert out.messages == golden.out
    while publish(first, out, no_clock):
        pass
    assert (out.messages, len(first.unpublished), len(second.unpublished)) == (golden.out, 0, 0)


def test_another_message_in_out_is_noticed(golden: Golden) -> None:
    out = MemoryStream("OUT_0")
    out.messages = [golden.out[0], golden.out[2]]
    with pytest.raises(Fenced, match="OUT_0: message 2 is another"):
        publish(followed(golden), out, no_clock)


def test_a_message_of_out_that_cannot_come_next_waits_for_the_others(golden: Golden) -> None:
    out, clock = MemoryStream("OUT_0"), TickingClock()
    replica = followed(golden)
    replica.published(3)
    with pytest.raises(LogUnavailable, match="OUT_0: message 4 could not be added for 60 s"):
        publish(replica, out, clock)
    assert out.messages == []
    out.messages = golden.out[:3]
    assert publish(replica, out, clock)
    assert out.messages == golden.out[: 3 + node_module.OUT_TOGETHER]


def test_what_out_has_is_forgotten_also_before_it_is_known(golden: Golden) -> None:
    replica = Replica()
    replica.published(10)
    followed(golden, replica)
    assert [each.number for each in replica.unpublished] == list(range(11, replica.batches + 1))
    replica.published(4)
    assert replica.unpublished[0].number == 11, "OUT does not become shorter"


def test_what_is_attached_to_a_snapshot_is_the_rest_of_a_replica(golden: Golden) -> None:
    whole = followed(golden)
    other = Replica(whole.state, whole.attached())
    assert (other.batches, other.sessions.dump()) == (whole.batches, whole.sessions.dump())
    assert (other.sequence, len(other.unpublished)) == (whole.sequence, 0)


@pytest.mark.parametrize("attached", [b"?", b"\x92\x01\xc4\x01?", b"\x92\x01"])
def test_a_snapshot_that_no_node_has_taken_is_refused(attached: bytes) -> None:
    with pytest.raises(StoreError, match=r"no node has taken|not a table of sessions"):
        Replica(None, attached)


def test_a_batch_of_an_engine_on_one_machine_is_taken_over_without_sessions() -> None:
    stream = MemoryStream("LOG_0")
    log = ReplicatedEventLog(stream, no_clock, "a", 1)
    log.start(followed(Golden([], [], b"", "", [])).state.place)
    log.append(batch_of(1, *FLOW[:3]))
    replica = followed(Golden(stream.messages, [], b"", "", []))
    log.append(
        batch_of(4, FLOW[3], outcomes=replica.state.unrecorded, tag=tag_of([Origin(7, 1, 1)]))
    )
    replica = followed(Golden(stream.messages, [], b"", "", []))
    assert (list(replica.sessions), len(replica.unpublished)) == ([7], 2)
