"""The table of clients: bounded, equal everywhere, and as good after `dump` and `load`."""

import random
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2_event_driven_engine.cluster import sessions as sessions_module
from v2_event_driven_engine.cluster.sessions import (
    FORGOTTEN_AFTER,
    KEPT_ANSWERS,
    OPEN_REQUESTS_MAX,
    Answer,
    Origin,
    Sessions,
    origins_in,
    tag_of,
)
from v2_event_driven_engine.engine.events import AnyEvent, OrderCanceled
from v2_event_driven_engine.errors import StoreError
from v2_event_driven_engine.models.enums import CancelReason


def happened(first: int, count: int) -> list[list[AnyEvent]]:
    """Events of so many commands."""
    return [
        [OrderCanceled(sequence, 0, 5, sequence, 1, CancelReason.USER, 1)]
        for sequence in range(first, first + count)
    ]


def noted(sessions: Sessions, first: int, *origins: tuple[int, int, int]) -> list[Answer]:
    """Enter a batch of requests: (client, number, commands) each."""
    outcomes = happened(first, sum(commands for _, _, commands in origins))
    return sessions.note([Origin(*each) for each in origins], first, outcomes)


def test_a_request_is_found_by_its_number_with_its_place_and_events() -> None:
    sessions = Sessions()
    answers = noted(sessions, 1, (7, 1, 2), (8, 1, 1), (7, 2, 1))
    assert [(each.number, each.first_sequence) for each in answers] == [(1, 1), (1, 3), (2, 4)]
    assert [sessions.last_number(client) for client in (7, 8, 9)] == [2, 1, 0]
    assert sessions.answer(7, 1) is answers[0]
    assert msgspec.msgpack.decode(answers[0].encoded) == msgspec.msgpack.decode(
        msgspec.msgpack.encode(happened(1, 2))
    )
    assert [sessions.answer(*which) for which in ((7, 0), (7, 3), (9, 1))] == [None] * 3
    assert list(sessions) == [8, 7], "who was silent for longest comes first"


@pytest.mark.parametrize("number", [1, 3])
def test_a_number_that_does_not_follow_is_refused(number: int) -> None:
    sessions = Sessions()
    noted(sessions, 1, (7, 1, 1))
    with pytest.raises(StoreError, match=f"client 7: request {number} in the log after 1"):
        noted(sessions, 2, (7, number, 1))


def test_a_client_that_is_not_known_begins_near_the_end_of_the_log() -> None:
    sessions = Sessions()
    assert sessions.next_number(7, 1, 0) == 1
    assert sessions.next_number(7, 5, 0) == 5
    end = 3 * FORGOTTEN_AFTER
    oldest = end - FORGOTTEN_AFTER // 2 + 1
    assert [sessions.next_number(7, n, end) for n in (1, oldest - 1, oldest)] == [0, 0, oldest]
    noted(sessions, end + 1, (7, oldest, 1))
    assert [sessions.next_number(7, n, end + 1) for n in (1, oldest)] == [oldest + 1] * 2


@pytest.mark.parametrize("commands", [1, 3])
def test_requests_of_another_size_than_their_batch_are_refused(commands: int) -> None:
    with pytest.raises(StoreError, match=f"a batch of {commands} commands has another size"):
        Sessions().note([Origin(7, 1, commands)], 1, happened(1, 2))


def test_as_many_answers_are_kept_as_a_window_needs() -> None:
    assert OPEN_REQUESTS_MAX * 2 == KEPT_ANSWERS
    sessions = Sessions()
    for number in range(1, 201):
        noted(sessions, number, (7, number, 1))
    assert sessions.answer(7, 200 - KEPT_ANSWERS) is None
    assert all(sessions.answer(7, 201 - back) for back in range(1, KEPT_ANSWERS + 1))


def test_a_silent_client_is_forgotten_by_sequence_and_not_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions_module, "FORGOTTEN_AFTER", 100)
    sessions = Sessions()
    noted(sessions, 1, (7, 1, 1))
    noted(sessions, 2, (8, 1, 1))
    noted(sessions, 3, (9, 1, 98))
    noted(sessions, 101, (9, 2, 1))
    assert list(sessions) == [7, 8, 9]
    noted(sessions, 102, (9, 3, 1))
    assert list(sessions) == [8, 9], "7 was silent for more than 100 commands"
    noted(sessions, 103, (8, 2, 1))
    assert sessions.last_number(7) == 0
    noted(sessions, 104, (9, 4, 200))
    noted(sessions, 304, (10, 1, 1))
    assert list(sessions) == [9, 10]


Batches = list[list[tuple[int, int]]]
batches = st.lists(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4), max_size=30
)


def grown(flow: Batches, cuts: random.Random | None = None) -> Sessions:
    """A table of these batches of (client, commands); where cut, it goes on from its bytes."""
    sessions, first = Sessions(), 1
    for some in flow:
        numbers = {client: sessions.last_number(client) for client, _ in some}
        origins = []
        for client, commands in some:
            numbers[client] += 1
            origins.append((client, numbers[client], commands))
        noted(sessions, first, *origins)
        first += sum(commands for _, commands in some)
        if cuts is not None and cuts.random() < 0.3:
            sessions = Sessions.load(sessions.dump())
    return sessions


@settings(deadline=None)
@given(flow=batches, seed=st.integers())
def test_a_table_goes_on_from_its_bytes(flow: Batches, seed: int) -> None:
    """So what is forgotten, too, is a function of the log alone, whoever began from a snapshot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions_module, "FORGOTTEN_AFTER", 10)
        patch.setattr(sessions_module, "KEPT_ANSWERS", 3)
        whole = grown(flow)
        other = grown(flow, random.Random(seed))
    assert (other.dump(), other.hash(), list(other)) == (whole.dump(), whole.hash(), list(whole))


@settings(deadline=None)
@given(flow=batches, at=st.integers(0), client=st.integers(1, 5))
def test_equal_hashes_are_equal_tables(flow: Batches, at: int, client: int) -> None:
    changed = [list(some) for some in flow]
    if flow:
        changed[at % len(flow)].append((client, 1))
        assert grown(changed).hash() != grown(flow).hash()
    assert grown(flow).hash() == grown(flow).hash()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.integers(1), st.integers(1, 1024))))
def test_a_tag_is_read_as_it_was_written(which: list[tuple[int, int, int]]) -> None:
    origins = [Origin(client, number % 2**63, commands) for client, number, commands in which]
    assert origins_in(tag_of(origins)) == origins


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    for read in (origins_in, Sessions.load):
        with suppress(StoreError):
            assert read(data) is not None
    for other in (b"", b"\xc1", b"\x01", data + b"\xc1"):
        with pytest.raises(StoreError, match="a batch without its requests"):
            origins_in(other)
        with pytest.raises(StoreError, match="this is not a table of sessions"):
            Sessions.load(other)
