"""The client's side of the requests to one partition, without a network and without time."""

import math
from typing import Any

import msgspec
import pytest

from v2_event_driven_engine import (
    AnswerForgotten,
    CancelOrder,
    EngineStopped,
    MalformedCommand,
)
from v2_event_driven_engine.cluster.protocol import (
    REQUEST_COMMANDS_MAX,
    Answered,
    AskSession,
    Behind,
    Busy,
    Forgotten,
    Refused,
    Submit,
    Told,
    WrongPartition,
    decode_request,
    encode,
)
from v2_event_driven_engine.cluster.session import (
    BUSY_SECONDS,
    PATIENCE_SECONDS,
    REPEAT_SECONDS,
    REPEATS_BEFORE_ASKING,
    Part,
    Session,
    Whole,
)
from v2_event_driven_engine.cluster.sessions import (
    FORGOTTEN_AFTER,
    KEPT_ANSWERS,
    OPEN_REQUESTS_MAX,
)
from v2_event_driven_engine.engine.receipt import Submitted

CLIENT = 7


def command(number: int = 1) -> Submitted[Any]:
    return Submitted(CancelOrder(number, 1))


def submitted(session: Session, count: int) -> list[Submitted[Any]]:
    receipts = [command(number) for number in range(1, count + 1)]
    for receipt in receipts:
        session.submit(receipt)
    return receipts


def numbers(messages: list[bytes]) -> list[int | str]:
    """The numbers of requests; a question is its name."""
    requests = map(decode_request, messages)
    return [each.number if isinstance(each, Submit) else type(each).__name__ for each in requests]


def answer(number: int, first: int, commands: int = 1, epoch: int = 1) -> bytes:
    return encode(Answered(number, epoch, first, msgspec.Raw(encode([[]] * commands))))


def told(last: int, sequence: int = 1, epoch: int = 1) -> bytes:
    return encode(Told(epoch, sequence, msgspec.Raw(encode(last))))


def fresh(sequence: int = 0, patience: float = PATIENCE_SECONDS) -> Session:
    """A session of a new client, whose log ends at `sequence`."""
    session = Session(CLIENT, "partition 0", patience=patience)
    session.heard(told(0, sequence), 0.0)
    return session


def begun(patience: float = PATIENCE_SECONDS) -> Session:
    """A session of a client that the nodes know, whose next request has the number 1."""
    session = fresh(patience=patience)
    session._is_known = True
    return session


def test_requests_are_numbered_and_sent_once_until_they_are_answered() -> None:
    session = begun()
    assert (session.messages(0.0), session.due) == ([], math.inf)
    one, two = submitted(session, 1), submitted(session, 1)
    assert numbers(session.messages(1.0)) == [1]
    assert (session.messages(1.1), session.due) == ([], 1.0 + REPEAT_SECONDS)
    assert session.commands == 2
    assert (one[0].done, two[0].done) == (False, False)


def test_what_waits_goes_together_in_one_request() -> None:
    session = begun()
    for _ in range(OPEN_REQUESTS_MAX):
        submitted(session, 1)
        assert len(session.messages(0.0)) == 1
    late = submitted(session, REQUEST_COMMANDS_MAX + 5)
    assert session.messages(0.1) == [], "the window is full"
    session.heard(answer(1, 1), 0.1)
    [message] = session.messages(0.1)
    request = decode_request(message)
    assert isinstance(request, Submit)
    assert (request.number, len(request.commands)) == (OPEN_REQUESTS_MAX + 1, REQUEST_COMMANDS_MAX)
    session.heard(answer(2, 2), 0.1)
    assert numbers(session.messages(0.1)) == [OPEN_REQUESTS_MAX + 2]
    session.heard(answer(OPEN_REQUESTS_MAX + 1, 100, REQUEST_COMMANDS_MAX), 0.2)
    assert [receipt.done for receipt in late] == [True] * REQUEST_COMMANDS_MAX + [False] * 5


def test_the_window_is_counted_from_the_oldest_that_is_open() -> None:
    """Else its answer could be forgotten by the nodes while it is still being asked for."""
    session = begun()
    sent = 0
    for _ in range(KEPT_ANSWERS):
        submitted(session, 1)
        sent += len(session.messages(0.0))
        if sent > 1:
            session.heard(answer(sent, sent), 0.0)
    assert sent == OPEN_REQUESTS_MAX
    session.heard(answer(1, 1), 0.1)
    assert numbers(session.messages(0.1)) == [OPEN_REQUESTS_MAX + 1]


def test_all_open_ones_are_repeated_in_order_and_with_the_same_bytes() -> None:
    session = begun()
    sent = []
    for _ in range(5):
        submitted(session, 1)
        sent += session.messages(0.0)
    session.heard(answer(1, 1), 0.1)
    assert session.due == 0.1 + REPEAT_SECONDS
    session.heard(answer(3, 3), 0.3)
    assert session.due == 0.1 + REPEAT_SECONDS, "the oldest one is still waiting"
    assert session.messages(0.49) == []
    assert session.messages(0.5) == [sent[1], sent[3], sent[4]]
    assert session.messages(0.6) == []
    session.announced()
    assert session.messages(0.6) == [sent[1], sent[3], sent[4]]
    session.heard(encode(Busy()), 0.7)
    assert session.messages(0.7) == []
    assert session.messages(0.7 + BUSY_SECONDS) == [sent[1], sent[3], sent[4]]
    for number in (2, 4, 5):
        session.heard(answer(number, number), 0.8)
    assert (session.due, session.commands, session.sequence) == (math.inf, 0, 5)
    session.announced()
    assert session.messages(99.0) == []


def test_an_answer_of_an_older_epoch_than_one_that_was_seen_is_ignored() -> None:
    session = begun()
    [one] = submitted(session, 1)
    session.messages(0.0)
    [two] = submitted(session, 1)
    session.messages(0.0)
    session.heard(answer(2, 9, epoch=5), 0.1)
    assert two.done
    session.heard(answer(1, 8, epoch=4), 0.1)
    assert not one.done
    session.heard(answer(1, 8, epoch=6), 0.1)
    assert one.done


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", encode([11, 1]), encode(Behind(7)), answer(9, 1), answer(1, 1, commands=2),
     encode([11, 1, 1, 1, 5]), encode([99]), told(0, 0)],
)  # fmt: skip
def test_what_is_no_answer_to_it_changes_nothing(data: bytes) -> None:
    session = fresh()
    [receipt] = submitted(session, 1)
    session.messages(0.0)
    session.heard(data, 0.1)
    assert (receipt.done, session.commands, session.failure) == (False, 1, None)
    session.heard(answer(1, 1), 0.1)
    assert receipt.done


def test_a_refused_request_ends_the_session_and_says_so() -> None:
    session = begun()
    [before], _ = submitted(session, 1), session.messages(0.0)
    [refused], _ = submitted(session, 1), session.messages(0.0)
    [after], _ = submitted(session, 1), session.messages(0.0)
    session.heard(answer(1, 1), 0.0)
    session.heard(encode(Refused(2, "price", "too high (in commands[0])")), 0.0)
    assert before.done
    with pytest.raises(MalformedCommand, match=r"^price: too high"):
        refused.result(0)
    with pytest.raises(EngineStopped, match="was not carried out; go on with another client"):
        after.result(0)
    assert (session.messages(99.0), session.due, session.commands) == ([], math.inf, 0)
    assert isinstance(session.failure, EngineStopped)


def test_a_busy_node_leaves_a_session_alone_that_waits_for_nothing() -> None:
    """It says so to a repetition that its own answer has crossed."""
    session = begun()
    [receipt] = submitted(session, 1)
    session.messages(0.0)
    assert numbers(session.messages(REPEAT_SECONDS)) == [1]
    session.heard(answer(1, 1), 0.5)
    session.heard(encode(Busy()), 0.6)
    assert receipt.done
    assert (session.due, session.messages(0.6 + PATIENCE_SECONDS)) == (math.inf, [])


def test_a_request_in_the_wrong_partition_waits_for_the_table() -> None:
    session = begun()
    [receipt] = submitted(session, 1)
    session.messages(0.0)
    wrong = WrongPartition(1, "A", 4)
    session.heard(encode(wrong), 0.1)
    assert (session.misrouted, receipt.done) == ([wrong], False)
    assert numbers(session.messages(1.0)) == [1], "until the node knows the table, too"


def test_an_answer_that_is_not_kept_any_more_fails_its_receipt_only() -> None:
    session = begun()
    [lost], _ = submitted(session, 1), session.messages(0.0)
    [other], _ = submitted(session, 1), session.messages(0.0)
    session.heard(encode(Forgotten(1)), 0.0)
    session.heard(answer(2, 2), 0.0)
    with pytest.raises(AnswerForgotten, match="was carried out, so long ago"):
        lost.result(0)
    assert (other.done, session.failure) == (True, None)


def test_a_client_that_the_nodes_have_forgotten_is_told_so() -> None:
    session = begun()
    submitted(session, 1)
    session.messages(0.0)
    session.heard(answer(1, 40), 0.0)
    [receipt] = submitted(session, 1)
    now, sent = 10.0, session.messages(10.0)
    while "AskSession" not in numbers(sent):
        now += REPEAT_SECONDS
        sent = session.messages(now)
        assert numbers(sent)[0] == 2
    assert now > 10.0 + REPEATS_BEFORE_ASKING * REPEAT_SECONDS - 0.01
    assert decode_request(sent[1]) == AskSession(True, 40, CLIENT)
    session.heard(told(0, sequence=39), now)
    assert session.failure is None, "it was asked before the last answer"
    session.heard(told(1, sequence=41), now)
    assert session.failure is None, "the nodes know the request before it"
    session.heard(told(0, sequence=50), now)
    with pytest.raises(EngineStopped, match="have forgotten client 7"):
        receipt.result(0)


def test_it_asks_first_and_goes_on_after_the_last_request_of_its_client() -> None:
    session = Session(CLIENT, "partition 0")
    session.announced()
    assert session.messages(5.0) == [], "there is nothing to do yet"
    submitted(session, 2)
    assert numbers(session.messages(5.0)) == ["AskSession"]
    assert session.messages(5.1) == []
    assert numbers(session.messages(5.0 + REPEAT_SECONDS)) == ["AskSession"]
    session.heard(told(41), 5.5)
    assert numbers(session.messages(5.5)) == [42]
    submitted(session, 1)
    assert numbers(session.messages(5.5)) == [43], "it is known"
    session.heard(told(41), 5.6)
    assert (session.messages(5.6), session.failure) == ([], None)


def test_the_first_request_of_a_new_client_is_alone_until_it_is_answered() -> None:
    session = fresh(sequence=40)
    submitted(session, 1)
    assert numbers(session.messages(0.0)) == [41]
    submitted(session, 1)
    submitted(session, 1)
    assert session.messages(0.0) == []
    session.heard(told(0, 50), 0.1)
    assert session.failure is None, "it has not arrived yet, perhaps"
    session.heard(answer(41, 51), 0.1)
    assert numbers(session.messages(0.1)) == [42]
    submitted(session, 1)
    assert numbers(session.messages(0.1)) == [43]


def test_a_new_client_whose_first_request_is_too_old_is_told_so() -> None:
    session = fresh(sequence=40)
    [receipt] = submitted(session, 1)
    session.messages(0.0)
    session.heard(told(0, 40 + FORGOTTEN_AFTER // 2), 0.1)
    assert session.failure is None
    session.heard(told(0, 41 + FORGOTTEN_AFTER // 2), 0.1)
    with pytest.raises(EngineStopped, match="have forgotten client 7"):
        receipt.result(0)


def test_without_any_answer_it_gives_up() -> None:
    session = begun(patience=3.0)
    [receipt] = submitted(session, 1)
    session.messages(10.0)
    [later] = submitted(session, 1)
    session.messages(12.0)
    session.heard(encode(Busy()), 12.5)
    assert session.messages(15.0), "a node is there"
    assert session.messages(15.6) == []
    for each in (receipt, later):
        with pytest.raises(EngineStopped, match="no node has answered for 3 s"):
            each.result(0)


def test_a_whole_is_resolved_when_all_its_parts_are() -> None:
    session = begun()
    whole = Whole(events=[[] for _ in range(3)], parts=2)
    session.submit(Part([CancelOrder(1, 1), CancelOrder(2, 1)], [0, 2], whole))
    session.messages(0.0)
    session.submit(Part([CancelOrder(3, 1)], [1], whole))
    session.messages(0.0)
    assert session.commands == 3
    session.heard(answer(2, 3), 0.0)
    assert not whole.done
    session.heard(answer(1, 1, commands=2), 0.0)
    assert whole.result(0) == [[], [], []]
    assert session.commands == 0


def test_the_end_fails_what_is_open_and_what_waits() -> None:
    session = begun()
    receipts = submitted(session, 3)
    session.messages(0.0)
    receipts += submitted(session, 3)
    assert (session.oldest, session.unanswered) == (receipts[0], receipts)
    session.end("because")
    for receipt in receipts:
        with pytest.raises(EngineStopped, match="because"):
            receipt.result(0)
    assert (session.oldest, session.unanswered, session.commands) == (None, [], 0)
