"""What each participant is told, whatever is lost on the way."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from v2_event_driven_engine import LogDamaged, LogUnavailable
from v2_event_driven_engine.cluster import drop_copy, replica
from v2_event_driven_engine.cluster.client import Wire
from v2_event_driven_engine.cluster.drop_copy import (
    AGAIN_MAX,
    WAITING_MAX,
    Copy,
    DropCopy,
    GivenAgain,
    Subscriber,
    concerned,
)
from v2_event_driven_engine.cluster.node import Delivered
from v2_event_driven_engine.cluster.replicated_log import ReplicatedEventLog
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.market.matcher import Matcher

from ..flow import commands
from .in_process import Cluster
from .memory_stream import MemoryStream, OneCopyDamaged

FLOW = list(commands(2000, seed=11))
PARTICIPANTS = (1, 2, 3)


def events_of(cluster: Cluster) -> list[AnyEvent]:
    """All that happened, derived by another matcher."""
    matcher = Matcher()
    log = ReplicatedEventLog(cluster.logs[0], cluster.clock, "test", 0)
    return [
        event
        for batch in log.read()
        for events in matcher.apply(batch.first_sequence, batch.timestamp_ns, batch.commands)
        for event in events
    ]


def drop_copy_of(cluster: Cluster, stopping: Callable[[], bool]) -> DropCopy:
    streams = cluster.outs[0], cluster.logs[0]
    return DropCopy(*streams, cluster.servers, cluster.clock, 0, stopping)


@contextmanager
def copying(cluster: Cluster) -> Iterator[DropCopy]:
    """A drop copy that runs meanwhile."""
    ended = threading.Event()
    copy = drop_copy_of(cluster, ended.is_set)
    thread = threading.Thread(target=copy.run, daemon=True)
    thread.start()
    try:
        yield copy
    finally:
        ended.set()
        thread.join()


class Heard:
    """A participant, and the messages that came."""

    def __init__(self, cluster: Cluster, participant: int, after: int = 0) -> None:
        self.copies: list[Copy] = []
        self.participant = participant
        self.came = threading.Condition()
        self.subscriber = Subscriber(
            cluster.servers, 0, participant, self._heard, inbox=f"in.{participant}", after=after
        )

    def _heard(self, copy: Copy) -> None:
        with self.came:
            self.copies.append(copy)
            self.came.notify()

    def wait_for(self, events: list[AnyEvent]) -> None:
        """Wait until all of its events have come; ask again at times, as a client would."""
        own = [event for event in events if self.participant in concerned(event)]

        def complete() -> bool:
            return sum(len(copy.events) for copy in self.copies) >= len(own)

        with self.came:
            for _ in range(100):
                if self.came.wait_for(complete, 0.3):
                    break
                self.subscriber.ask()
        assert [event for copy in self.copies for event in copy.events] == own
        first = self.copies[0].number
        numbers = [copy.number for copy in self.copies]
        assert numbers == list(range(first, first + len(numbers)))


def carry_out(cluster: Cluster, first: int, last: int) -> None:
    with cluster.client(7) as client:
        for at in range(first, last, 40):
            client.submit_many(FLOW[at : at + 40]).result(60)


Loses = Callable[[str, bytes], bool]


def every(count: int, kind: str) -> Loses:
    """Loses every so-many-th message of a kind."""
    seen = 0

    def loses(subject: str, _data: bytes) -> bool:
        nonlocal seen
        seen += subject.startswith(kind)
        return subject.startswith(kind) and seen % count == 0

    return loses


@pytest.mark.parametrize(
    "loses",
    [every(10**9, "evt."), every(3, "evt."), every(2, "in."), every(1, "evt.")],
    ids=["nothing", "some", "some replies", "everything that was sent"],
)
def test_everybody_hears_their_events_once_and_in_order(loses: Loses) -> None:
    cluster = Cluster()
    with copying(cluster):
        heard = [Heard(cluster, participant) for participant in PARTICIPANTS]
        cluster.servers.loses = loses
        for run in range(4):
            if run:
                cluster.start()
            carry_out(cluster, 500 * run, 500 * (run + 1))
            cluster.stop()
        for each in heard:
            each.wait_for(events_of(cluster))
    cluster.servers.close()
    assert cluster.failures == []


class Post(Wire):
    """Keeps what is sent, and brings what it is told to, at once."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._listeners: dict[str, Callable[[Delivered], None]] = {}

    def send(self, messages: Iterable[tuple[str, bytes]], reply_to: str = "") -> None:
        self.sent += [data for _, data in messages]

    def subscribe(self, subject: str, heard: Callable[[Delivered], None]) -> Any:
        self._listeners[subject] = heard

    def end(self, *subscriptions: Any) -> None:
        pass

    def answered(self) -> None:
        pass

    def unanswered(self) -> None:
        pass

    def bring(self, subject: str, message: Copy | GivenAgain) -> None:
        self._listeners[subject](Delivered(msgspec.msgpack.encode(message), ""))


def test_what_is_missing_is_heard_though_more_waits_behind_it_than_is_kept() -> None:
    post = Post()
    heard: list[Copy] = []
    subscriber = Subscriber(post, 0, 7, heard.append, inbox="in.7")
    old, last = 3 * AGAIN_MAX, 3 * AGAIN_MAX + 2 * WAITING_MAX
    copies = [Copy(7, number, number, []) for number in range(1, last + 1)]
    for copy in copies[old:]:
        post.bring("evt.0.7", copy)
    assert heard == []
    while subscriber.number < last:
        before = subscriber.number
        given = copies[before : before + AGAIN_MAX]
        post.sent.clear()
        post.bring("in.7", GivenAgain(last, given))
        assert subscriber.number > before
        assert len(post.sent) == (subscriber.number < last), "it asks on, until it has all"
    assert heard == copies


def test_it_may_run_twice() -> None:
    cluster = Cluster()
    with copying(cluster), copying(cluster):
        heard = Heard(cluster, 1)
        carry_out(cluster, 0, 500)
        cluster.stop()
        heard.wait_for(events_of(cluster))
    cluster.servers.close()  # once everything is delivered, what came twice too
    heard.wait_for(events_of(cluster))
    assert heard.subscriber._waiting == {}, "what came again is not kept"


def test_numbers_stay_when_it_starts_again() -> None:
    cluster = Cluster()
    carry_out(cluster, 0, 1000)
    cluster.stop()
    with copying(cluster):
        before = Heard(cluster, 1)
        before.wait_for(events_of(cluster))
        before.subscriber.close()
    with copying(cluster):
        again = Heard(cluster, 1)
        again.wait_for(events_of(cluster))
        assert again.copies == before.copies
        again.subscriber.close()
        middle = before.copies[10].number
        rest = Heard(cluster, 1, after=middle)
        with rest.came:
            assert rest.came.wait_for(lambda: len(rest.copies) == len(before.copies) - 11, 60)
        assert rest.copies == before.copies[11:]
    cluster.servers.close()


def test_what_is_too_large_for_out_is_derived_from_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica, "OUT_BYTES_MAX", 1700)
    monkeypatch.setattr(drop_copy, "EVENTS_TOGETHER", 7)
    cluster = Cluster()
    carry_out(cluster, 0, 1000)
    cluster.stop()
    assert sum(len(message) < 30 for message in cluster.outs[0].messages) > 5
    with copying(cluster):
        for participant in PARTICIPANTS:
            heard = Heard(cluster, participant)
            heard.wait_for(events_of(cluster))
            assert max(len(copy.events) for copy in heard.copies) == 7
    cluster.servers.close()


@pytest.mark.parametrize("left_out", [9, 20], ids=["middle", "last"])
@pytest.mark.parametrize("in_log", [False, True], ids=["events in OUT", "events in LOG only"])
def test_one_damaged_copy_of_out_is_not_believed(
    in_log: bool, left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_log:
        monkeypatch.setattr(replica, "OUT_BYTES_MAX", 1700)
    cluster = Cluster()
    carry_out(cluster, 0, 800)
    cluster.stop()
    out = cluster.outs[0] = OneCopyDamaged("OUT_0", cluster.outs[0].messages, left_out)
    with copying(cluster):
        heard = [Heard(cluster, participant) for participant in PARTICIPANTS]
        for each in heard:
            each.wait_for(events_of(cluster))
    assert len(out.messages) == 20
    assert out.distrusted == (left_out < 20)


class Elected(MemoryStream):
    """A stream that cannot be asked so many times, in which nothing new is read either."""

    def __init__(self, stream: MemoryStream, problem: Callable[[], None]) -> None:
        super().__init__(stream.name)
        self.messages = stream.messages
        self.unanswered = 0
        self._problem = problem

    def _silent(self) -> bool:
        if not self.unanswered:
            return False
        self.unanswered -= 1
        self._problem()
        return True

    def get(self, position: int) -> bytes | None:
        return None if self._silent() else super().get(position)

    def last(self) -> int:
        return 0 if self._silent() else super().last()

    def after(self, position: int, seconds: float = 0.0) -> Sequence[bytes]:
        return () if self.unanswered else super().after(position)


def no_leader() -> None:
    raise LogUnavailable("its leader did not answer")


def a_deposed_leader() -> None:
    """One that answers, and has nothing."""


@pytest.mark.parametrize("problem", [no_leader, a_deposed_leader])
def test_it_goes_on_while_a_leader_is_elected(
    problem: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a participant asks meanwhile is not answered; it asks again, and is."""
    monkeypatch.setattr(replica, "OUT_BYTES_MAX", 1700)
    cluster = Cluster()
    carry_out(cluster, 0, 500)
    cluster.stop()
    expected = events_of(cluster)
    out, log = Elected(cluster.outs[0], problem), Elected(cluster.logs[0], problem)
    cluster.outs[0], cluster.logs[0] = out, log
    log.unanswered = 2
    with copying(cluster):
        Heard(cluster, 1).wait_for(expected)
        assert log.unanswered == 0, "it was asked for what is too large for OUT"
        out.unanswered = log.unanswered = 2
        Heard(cluster, 2).wait_for(expected)
        assert (out.unanswered, log.unanswered) == (0, 0)
    cluster.servers.close()


def test_out_that_is_not_what_the_log_makes_of_it_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "OUT_BYTES_MAX", 1700)
    cluster = Cluster()
    carry_out(cluster, 0, 200)
    cluster.stop()
    cluster.servers.close()
    messages: list[Any] = cluster.outs[0].messages
    [*_, large] = [n for n, message in enumerate(messages) if len(message) < 30]
    for damaged in (messages[large][:-1] + b"\x01", b"\xff"):
        messages[large] = damaged
        copy = drop_copy_of(cluster, lambda: False)
        with pytest.raises(LogDamaged, match=f"OUT_0, message {large + 1}"):
            copy.run()
