"""What is special about the log on a stream; what all logs promise is in `test_log_contract`."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2_event_driven_engine.cluster.entry import (
    BATCH,
    ENTRY_BYTES_MAX,
    EPOCH,
    HEADER,
    OUTCOME_BYTES_MAX,
    BatchBody,
    EpochBody,
    batch_body,
    checksum_in,
    decode_batch,
    decode_entry,
    encode_entry,
)
from v2_event_driven_engine.cluster.replica import OUT_BYTES_MAX, Replica
from v2_event_driven_engine.cluster.replicated_log import EntryReader, Position, ReplicatedEventLog
from v2_event_driven_engine.cluster.sessions import Origin, tag_of
from v2_event_driven_engine.cluster.stream import PATIENCE_SECONDS, Attempt
from v2_event_driven_engine.engine.event_log import START, Place
from v2_event_driven_engine.engine.log.recovery import recover
from v2_event_driven_engine.engine.market.views import State
from v2_event_driven_engine.engine.receipt import SubmittedMany
from v2_event_driven_engine.errors import (
    BatchTooLarge,
    Fenced,
    LogDamaged,
    LogUnavailable,
    ReplayDivergence,
    UnsupportedFormat,
)
from v2_event_driven_engine.models.commands import (
    Command,
    ListInstrument,
    MassCancel,
    NewOrder,
)
from v2_event_driven_engine.models.enums import OrderType, Side

from ..flow import commands
from ..logs import batch_of, sequencer_on
from .golden_entries import Golden, make
from .memory_stream import MemoryStream, OneCopyDamaged, no_clock
from .test_entry import sealed
from .ticking_clock import TickingClock

FLOW = list(commands(60, seed=3))


@pytest.fixture(scope="module")
def golden() -> Golden:
    return make()


def log_of(messages: Sequence[bytes]) -> ReplicatedEventLog:
    stream = MemoryStream("LOG_0")
    stream.messages = list(messages)
    return ReplicatedEventLog(stream, no_clock, "z", 1)


# -- Doubt ----------------------------------------------------------------------------------------


class Deposed(MemoryStream):
    """A stream whose leader does not know yet what is at the end."""

    unknown = 0

    def get(self, position: int) -> bytes | None:
        if self.unknown:
            self.unknown -= 1
            return None
        return super().get(position)


def test_a_deposed_leader_is_not_taken_for_damage() -> None:
    """Reading goes on behind commands whose events are not recorded: these are fetched again."""
    stream = Deposed("LOG_0")
    log = ReplicatedEventLog(stream, TickingClock(), "a", 1)
    log.start(START)
    log.append(batch_of(1, FLOW[0]))
    (batch,) = log.read()
    for unknown in (0, 1, 5):
        stream.unknown = unknown
        again = ReplicatedEventLog(stream, TickingClock(), "b", 2)
        assert list(again.read(batch.place)) == []
    stream.unknown = 1_000_000
    clock = TickingClock()
    with pytest.raises(LogDamaged, match="entry 2 is missing"):
        list(ReplicatedEventLog(stream, clock, "b", 3).read(batch.place))
    assert clock.now > PATIENCE_SECONDS


class Doubtful(MemoryStream):
    """A stream of which no answer comes, whether it has stored a message or not."""

    stores = True
    answers = False

    def attempt(self, messages: Sequence[bytes], position: int) -> Attempt:
        known = super().attempt(messages, position) if self.stores else Attempt.UNKNOWN
        return known if self.answers else Attempt.UNKNOWN


def test_a_doubt_is_resolved_by_what_is_there() -> None:
    stream = Doubtful("LOG_0")
    log = ReplicatedEventLog(stream, TickingClock(), "a", 1)
    log.start(START)
    log.append(batch_of(1, FLOW[0]))
    assert len(stream.messages) == 2
    stream.stores = False
    with pytest.raises(LogUnavailable, match="message 3 could not be added for 60 s"):
        log.append(batch_of(2, FLOW[1]))


def test_the_message_of_another_writer_is_a_fence() -> None:
    stream = MemoryStream("LOG_0")
    first = ReplicatedEventLog(stream, no_clock, "a", 1)
    first.start(START)
    second = ReplicatedEventLog(stream, no_clock, "a", 2)
    second.start(START)
    with pytest.raises(Fenced, match="message 2 is another node's"):
        first.append(batch_of(1, FLOW[0]))
    second.append(batch_of(1, FLOW[0]))
    assert (second.epoch, len(stream.messages)) == (2, 3)


def test_one_command_is_always_taken_and_several_of_too_many_bytes_are_not() -> None:
    log = ReplicatedEventLog(MemoryStream("LOG_0"), no_clock, "a", 1)
    log.start(START)
    huge = ListInstrument("A", "0" * ENTRY_BYTES_MAX, "1")
    with pytest.raises(BatchTooLarge, match=r"a batch of \d+ bytes; 4194304 are allowed"):
        log.append(batch_of(1, huge, FLOW[0]))
    log.append(batch_of(1, huge))
    assert [len(batch.commands) for batch in log.read()] == [1]


# -- The chain ------------------------------------------------------------------------------------


def read_through(messages: Sequence[bytes]) -> int:
    """How many entries are read before the reader refuses one."""
    reader = EntryReader("LOG_0", Position())
    for number, message in enumerate(messages):
        try:
            reader.read(message)
        except LogDamaged as error:
            assert error.file == f"LOG_0, entry {number + 1}"  # noqa: PT017
            return number
    return len(messages)


@settings(deadline=None)
@given(at=st.integers(0, 10_000), other=st.integers(0, 10_000))
def test_entries_that_are_missing_doubled_or_in_another_order_are_refused(
    golden: Golden, at: int, other: int
) -> None:
    messages = golden.log
    at, other = at % len(messages), other % len(messages)
    assert read_through(messages) == len(messages)
    assert read_through(messages[:at] + messages[at + 1 :]) == at
    assert read_through([*messages[: at + 1], *messages[at:]]) == at + 1
    if at != other:
        swapped = list(messages)
        swapped[at], swapped[other] = swapped[other], swapped[at]
        assert read_through(swapped) == min(at, other)


@pytest.mark.parametrize(
    ("kind", "epoch", "first", "link", "problem"),
    [
        (EPOCH, 3, 4, 9, "begins epoch 3 after epoch 1"),
        (EPOCH, 1, 4, 9, "begins epoch 1 after epoch 1"),
        (BATCH, 2, 4, 9, "a writer of epoch 2 in epoch 1"),
        (BATCH, 0, 4, 9, "a writer of epoch 0 in epoch 1"),
        (BATCH, 1, 5, 9, "begins at sequence 5"),
        (EPOCH, 2, 3, 9, "begins at sequence 3"),
        (BATCH, 1, 4, 8, "does not follow the entry before it"),
    ],
)
def test_an_entry_of_another_epoch_or_place_is_refused(
    kind: int, epoch: int, first: int, link: int, problem: str
) -> None:
    """Also where its writer knew the link: the fence has failed, and nobody follows."""
    body = batch_body(batch_of(4, FLOW[0])) if kind == BATCH else EpochBody("a", 1, "3")
    message, _ = encode_entry(kind, epoch, first, 5, link, body)
    before = Position(entries=7, link=9, epoch=1, next_sequence=4)
    reader = EntryReader("LOG_0", before)
    with pytest.raises(LogDamaged, match=problem):
        reader.read(message)
    assert reader.position == before


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_copy_of_one_server_that_is_damaged_is_not_believed(golden: Golden, place: str) -> None:
    """By who reads on, and by who starts to write."""
    last = len(golden.log)
    left_out = {"first": 1, "middle": last // 2, "last": last}[place]
    whole = [batch.place for batch in log_of(golden.log).read()]
    for after, expected in ((START, whole), (whole[0], whole[1:])):
        stream = OneCopyDamaged("LOG_0", golden.log, left_out)
        log = ReplicatedEventLog(stream, no_clock, "a", 1)
        assert [batch.place for batch in log.read(after)] == expected
        assert stream.distrusted == (place != "last")
    stream = OneCopyDamaged("LOG_0", golden.log, last)
    ReplicatedEventLog(stream, no_clock, "a", 1).start(whole[-1])
    assert stream.messages[:-1] == golden.log


def test_a_message_that_no_leader_has_is_waited_for(golden: Golden) -> None:
    """The copy of one server is damaged, and the leader that is asked was deposed."""
    stream = OneCopyDamaged("LOG_0", golden.log, 3)
    del stream.messages[2:]
    log = ReplicatedEventLog(stream, no_clock, "a", 1)
    with pytest.raises(LogUnavailable, match="LOG_0, message 3: no leader has it at present"):
        list(log.read())


# -- Places ---------------------------------------------------------------------------------------


def test_reading_goes_on_in_the_middle_with_the_events_that_are_not_recorded(
    golden: Golden,
) -> None:
    """A shortened outcome needs its command, which is before the place."""
    whole = [
        (batch.first_sequence, [list(each) for each in batch.outcomes])
        for batch in log_of(golden.log).read()
        if checksum_in(decode_batch(decode_entry(golden.log[batch.offset - 1]).body).outcomes)
        is None
    ]
    for place in golden.positions:
        rest = [
            (batch.first_sequence, [list(each) for each in batch.outcomes])
            for batch in log_of(golden.log).read(Place(place))
            if checksum_in(decode_batch(decode_entry(golden.log[batch.offset - 1]).body).outcomes)
            is None
        ]
        assert rest == whole[len(whole) - len(rest) :]


def test_a_writer_goes_on_in_the_middle_of_what_was_read(golden: Golden) -> None:
    for number in (1, 7, 20):
        stream = MemoryStream("LOG_0")
        replica = Replica()
        for batch in log_of(golden.log).read():
            if bytes(replica.state.place) == golden.positions[number]:
                break
            replica.apply(batch)
            stream.messages = golden.log[: batch.offset]
        log = ReplicatedEventLog(stream, no_clock, "n", 77)
        log.start(replica.state.place)
        sequencer = sequencer_on(replica.state, log)
        sequencer.process([SubmittedMany(FLOW[:3])], tag_of([Origin(9, 1, 3)]))
        sequencer.barrier()
        state = recover(ReplicatedEventLog(stream, no_clock, "r", 1))
        assert state.matcher.state() == replica.state.matcher.state()


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_other_bytes_are_no_place(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="not a place in a replicated log"):
        list(log_of([]).read(Place(b"\xc1" + data)))


# -- Events of too many bytes ---------------------------------------------------------------------


ORDERS = 200_000


@pytest.fixture(scope="module")
def mass_canceled() -> tuple[MemoryStream, State]:
    """A log of 200,000 orders, all canceled by one command, and the state of its writer.

    The events come with a barrier.
    """
    stream = MemoryStream("LOG_0")
    log = ReplicatedEventLog(stream, no_clock, "a", 1)
    log.start(START)
    replica = Replica()
    sequencer = sequencer_on(replica.state, log)
    orders: list[Command] = [
        NewOrder(n, 1, "A", Side.BUY, OrderType.LIMIT, n % 1000 + 1, 1) for n in range(1, ORDERS)
    ]
    flow: list[Command] = [ListInstrument("A", "1", "1"), *orders]
    for number, at in enumerate(range(0, ORDERS, 2048), 1):
        some = flow[at : at + 2048]
        sequencer.process([SubmittedMany(some)], tag_of([Origin(1, number, len(some))]))
    sequencer.process([SubmittedMany([MassCancel(1, None)])], tag_of([Origin(2, 1, 1)]))
    sequencer.barrier()
    return stream, sequencer.matcher.state()


def test_a_mass_cancel_of_200_000_orders_fits_into_the_log(
    mass_canceled: tuple[MemoryStream, State],
) -> None:
    stream, state = mass_canceled
    assert max(map(len, stream.messages)) < ENTRY_BYTES_MAX
    bodies = [decode_batch(decode_entry(each).body) for each in stream.messages[-2:]]
    assert [checksum_in(body.outcomes) is None for body in bodies] == [True, False]
    replica = Replica()
    for batch in log_of(stream.messages).read():
        replica.apply(batch)
    assert replica.state.matcher.state() == state
    assert (state.sequence, state.resting_orders) == (ORDERS + 1, 0)
    answer = replica.sessions.answer(2, 1)
    assert answer is not None
    assert len(answer.encoded) > OUTCOME_BYTES_MAX
    assert max(len(each.encoded) for each in replica.unpublished) < OUT_BYTES_MAX


def test_a_divergence_of_events_that_are_a_checksum_is_told(
    mass_canceled: tuple[MemoryStream, State],
) -> None:
    messages = mass_canceled[0].messages
    last = messages[-1]
    body = decode_batch(decode_entry(last).body)
    checksum = checksum_in(body.outcomes)
    assert checksum is not None
    other = BatchBody(
        body.commands, body.outcomes_first, msgspec.Raw(msgspec.msgpack.encode(checksum ^ 1)),
        body.closed, body.tag,
    )  # fmt: skip
    changed = sealed(last[: HEADER.size] + msgspec.msgpack.encode(other) + bytes(4))
    with pytest.raises(
        ReplayDivergence,
        match=f"sequence {ORDERS + 1}, .*recorded events with the checksum {checksum ^ 1:08x}",
    ) as caught:
        recover(log_of([*messages[:-1], changed]))
    assert (caught.value.sequence, caught.value.derived) == (ORDERS + 1, "others")
