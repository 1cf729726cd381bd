"""The page's session in CPython: it trades, crashes, recovers, and refuses damage."""

import json

import pytest

from website.session import DEEDS, FATES, Session, page_at, page_begin, page_run

TRADE = "sell 1 5@101\nbuy 2 2@101\n"


def said(frame: dict[str, object]) -> list[str]:
    return [thing["text"] for thing in frame["said"]]  # type: ignore[attr-defined]


def last(script: str) -> dict[str, object]:
    return Session().run(script)[-1]


def test_it_trades_and_shows_the_book() -> None:
    frame = last(TRADE)
    assert said(frame) == ["2 accepted: BUY 2@101 GTC", "2 buys 2@101 from 1"]
    assert frame["books"] == [
        {
            "symbol": "ABC",
            "bids": [],
            "asks": [{"price": 101, "open": 3, "orders": [{"id": 1, "open": 3, "by": 1}]}],
        }
    ]


def test_the_owner_of_an_earlier_order_is_remembered() -> None:
    assert said(last("sell 1 5@101 by 7\ncancel 1")) == ["1 canceled 5 USER"]


def test_several_commands_of_one_line_are_one_batch() -> None:
    session = Session()
    before = len(batches(session.frame()))
    frame = session.line("sell 1 5@101 | buy 2 2@101")
    assert len(batches(frame)) == before + 1
    assert frame["sequence"] == 3


def batches(frame: dict[str, object]) -> list[object]:
    regions = frame["log"]["regions"]  # type: ignore[index]
    return [region for region in regions if region["name"] == "command count"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("frob", "no such command or question: 'frob'"),
        ("buy 1 x@1", "not a number: 'x'"),
        ('{"command":"cancel","order_id":1}', "participant: missing"),
        ('{"query":"state"}', "command: a query: ask with `order 4` or `book`"),
        ("{", "line: not JSON"),
        ("!frob", "no such thing: !frob"),
        ("!power kept", "the power is on"),
        ("!recover", "the engine is running"),
        ("!edit 1", "there is no audit trail yet"),
        ("!verify", "there is no audit trail yet"),
        ("!flip", "say where"),
        ("!flip 99999999", "say where"),
        ("!flip batch 99", "say where"),
        ("!flip batch", "say where"),
    ],
)
def test_what_cannot_be_done_is_said(line: str, answer: str) -> None:
    frame = Session().line(line)
    assert said(frame)[0].startswith(answer)
    assert frame["sequence"] == 1


@pytest.mark.parametrize(
    ("fate", "known"), [("kept", True), ("lost", False), ("torn", False), ("zeros", False)]
)
def test_a_batch_whose_sync_never_returned_is_there_whole_or_not_at_all(
    fate: str, known: bool
) -> None:
    session = Session()
    session.run(f"{TRADE}!unsynced buy 3 3@101\n!power {fate}\n!recover")
    status = said(session.line("order 3"))[0]
    assert status == ("order 3: FILLED, 0 open" if known else "order 3: UNKNOWN, 0 open")


@pytest.mark.parametrize("fate", FATES)
def test_after_any_power_failure_nothing_that_was_answered_is_lost(fate: str) -> None:
    frame = last(f"{TRADE}!unsynced buy 3 3@101\n!power {fate}\n!recover")
    assert said(frame)[-1] == "answered were 3; lost: none"


def test_a_torn_batch_is_told_and_set_aside() -> None:
    frame = last(f"{TRADE}!unsynced buy 3 3@101\n!power torn\n!recover")
    assert said(frame)[0].startswith("torn tail: ")


def test_without_power_nothing_can_be_recovered() -> None:
    session = Session()
    session.run(f"{TRADE}!plug")
    assert said(session.line("!recover")) == [
        "there is no power; say what the disk has kept: !power kept"
    ]
    assert said(session.line("buy 9 1@1")) == ["the engine is down: !recover"]


def test_damage_in_the_middle_is_refused() -> None:
    frame = last(f"{TRADE}!plug\n!power kept\n!flip batch 2\n!recover")
    assert said(frame)[0].startswith("refused: LogDamaged: events.wal.000001: byte 1024")
    assert not frame["up"]


def test_damage_of_the_last_batch_is_the_limit_of_the_promise() -> None:
    frame = last(f"{TRADE}!plug\n!power kept\n!flip batch 3\n!recover")
    assert said(frame)[-1] == "answered were 3; lost: 1"


def test_a_batch_of_events_moves_the_limit() -> None:
    frame = last(f"{TRADE}!idle\n!plug\n!power kept\n!flip batch 3\n!recover")
    assert said(frame)[0].startswith("refused: LogDamaged")


def test_a_killed_process_loses_nothing() -> None:
    assert said(last(f"{TRADE}!kill\n!recover"))[-1] == "answered were 3; lost: none"


def test_a_closed_log_goes_on() -> None:
    session = Session()
    session.run(f"{TRADE}!close\n!recover")
    assert said(session.line("order 1")) == ["order 1: PARTIALLY_FILLED, 3 open"]


def test_an_edit_of_the_trail_is_found_at_its_line() -> None:
    session = Session()
    frames = session.run(f"{TRADE}!idle\n!audit\n!verify\n!edit 3\n!verify")
    assert said(frames[-3]) == ["5 lines: the chain is whole, and the log says the same"]
    assert said(frames[-1]) == ["line 3: edited, or a line before it is missing"]


def test_a_changed_rule_is_found_at_the_first_event_that_differs() -> None:
    session = Session()
    assert said(session.run("sell 1 5@101\n!idle\n!rules")[-1]) == [
        "no recorded event differs under the changed rule"
    ]
    text = said(session.run("buy 2 9@101\n!idle\n!rules")[-1])[0]
    assert text.startswith("refused: ReplayDivergence: ")
    assert "sequence 3, event 0, field OrderAccepted.quantity" in text


def test_any_moment_can_be_shown_from_the_log_alone() -> None:
    session = Session()
    frames = {frame["sequence"]: frame for frame in session.run("sell 1 5@101\nbuy 2 2@101")}
    for sequence, frame in frames.items():
        shown = session.at(sequence)
        assert (shown["hash"], shown["books"]) == (frame["hash"], frame["books"])


def test_the_same_lines_give_the_same_frames() -> None:
    script = f"{TRADE}!audit\n!unsynced buy 3 1@101\n!power garbage\n!recover\n!audit"
    assert Session().run(script) == Session().run(script)


def test_the_border_speaks_json_and_keeps_sessions_apart() -> None:
    page_begin("a", TRADE)
    page_begin("b", "")
    [frame] = json.loads(page_run("b", "order 1"))
    assert said(frame) == ["order 1: UNKNOWN, 0 open"]
    assert json.loads(page_at("a", 2))["sequence"] == 2


def test_every_deed_is_explained_where_it_can_be_tried() -> None:
    for deed in DEEDS.values():
        assert deed.__doc__
