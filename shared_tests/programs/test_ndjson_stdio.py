"""`python main.py stdio`: NDJSON in, NDJSON out, as another program sees it (rulebook 8)."""

from __future__ import annotations

import json
from typing import Any

from ..engines.engine import LONGEST_ERROR, Command, encode, timeless
from ..engines.examples import LIST, STATE, order
from ..reference.strategies import random_commands
from ..reference.stream import comparable, expected_answers
from .program import Dialogue, Program, answers, assert_quiet, lines_of


def test_a_session_is_answered_line_by_line_as_the_reference_does(program: Program) -> None:
    lines = lines_of([LIST, *random_commands(7, 1500)])
    questions: list[bytes] = [
        STATE,
        b'{"query":"order","order_id":17}',
        b'{"query":"order","order_id":9223372036854775807}',
        b'{"query":"book","symbol":"ABC"}',
        b'{"query":"book","symbol":"ABC","depth":2}',
        b'{"query":"book","symbol":"NONE","depth":null}',
        b"",
        b" \t ",
        b"\r",
        b"oops",
        b'{"query":"book","symbol":"ABC","depth":0}',
    ]
    for number, question in enumerate(questions * 20):
        lines.insert(number * 7 % len(lines), question)
    finished = program.run("stdio", given=b"\n".join(lines) + b"\n")
    assert finished.returncode == 1, "there were malformed lines"
    assert_quiet(finished.stderr)
    given, expected = comparable(answers(finished.stdout)), expected_answers(lines)
    for answer, expectation in zip(given, expected, strict=False):
        assert answer == expectation
    assert len(given) == len(expected)


def test_every_event_has_exactly_its_fields_and_time_never_goes_backwards(
    program: Program,
) -> None:
    output = program.converse(lines_of([LIST, *random_commands(8, 400)]))
    latest = 0
    for event in output:
        if event["event"] == "malformed":
            assert event.keys() == {"event", "line", "error"}
            continue
        assert type(event["timestamp_ns"]) is int
        assert event["timestamp_ns"] >= latest > -1
        latest = event["timestamp_ns"]
    assert latest > 1_600_000_000 * 10**9, "nanoseconds since 1970"


def test_nothing_in_is_nothing_out(program: Program) -> None:
    finished = program.run("stdio")
    assert (finished.returncode, finished.stdout) == (0, b"")
    assert_quiet(finished.stderr)


def test_good_lines_end_with_status_0_and_malformed_ones_with_1(program: Program) -> None:
    refused = {"command": "cancel", "order_id": 9, "participant": 9}
    good = program.run("stdio", given=b"\n".join(lines_of([LIST, refused])) + b"\n")
    assert good.returncode == 0, "a refusal is an answer, not an error"
    bad = program.run("stdio", given=encode(LIST) + b"\n{}\n" + STATE + b"\n")
    assert bad.returncode == 1
    events = [answer["event"] for answer in answers(bad.stdout)]
    assert events[-2:] == ["malformed", "state"], "the stream goes on"


def test_lines_are_counted_as_an_editor_counts_them(program: Program) -> None:
    output = program.converse([b"", b"{", b"\r", b" ", STATE, b"\t\r", b"[]", encode(LIST), b"x"])
    lines = [answer["line"] for answer in output if answer["event"] == "malformed"]
    assert lines == [2, 7, 9]
    assert len(output) == 5


def test_a_carriage_return_before_the_line_end_is_white_space(program: Program) -> None:
    given = b"".join(line + b"\r\n" for line in [*lines_of([LIST, order(1)]), b"", STATE])
    finished = program.run("stdio", given=given)
    assert finished.returncode == 0
    assert [answer["event"] for answer in answers(finished.stdout)] == [
        "instrument_listed",
        "order_accepted",
        "state",
    ]


def test_the_last_line_needs_no_line_end(program: Program) -> None:
    finished = program.run("stdio", given=encode(LIST) + b"\n" + STATE)
    assert finished.returncode == 0
    assert answers(finished.stdout)[-1]["event"] == "state"


def test_the_malformed_answer_names_line_and_field(program: Program) -> None:
    spoilt = {**order(1), "price": 1.5}
    (answer,) = program.converse([encode(spoilt)])
    assert answer["event"] == "malformed"
    assert answer["line"] == 1
    assert answer["error"].startswith("price")


def test_a_line_of_a_megabyte_gets_a_short_answer_and_the_stream_goes_on(
    program: Program,
) -> None:
    long = [
        b"x" * 1_000_000,
        encode({**order(1), "side": "x" * 1_000_000}),
        encode({**order(1), "x" * 1_000_000: 1}),
        b'{"query":"order","order_id":' + b"1" * 1_000_000 + b"}",
    ]
    output = program.converse([*long, encode(LIST)])
    assert [answer["event"] for answer in output] == ["malformed"] * 4 + ["instrument_listed"]
    assert all(len(answer["error"]) <= LONGEST_ERROR for answer in output[:4])


def test_output_is_one_compact_json_object_a_line_in_utf_8(program: Program) -> None:
    finished = program.run("stdio", given=encode(LIST) + b'\n{"command":"caf\xc3\xa9"}\n\xff\n')
    for line in finished.stdout.decode("utf-8").splitlines():
        assert isinstance(json.loads(line), dict)
        assert "\r" not in line
    assert finished.stdout.endswith(b"}\n")


def test_queries_are_not_sequenced_and_see_everything_before_them(program: Program) -> None:
    lines = [
        STATE,
        encode(LIST),
        b'{"query":"order","order_id":1}',
        encode(order(1)),
        b'{"query":"order","order_id":1}',
        b'{"query":"book","symbol":"ABC"}',
        encode(order(2, "SELL", quantity=2)),
        STATE,
        b'{"query":"order","order_id":1}',
        b'{"query":"order","order_id":2}',
        encode({"command": "cancel", "order_id": 1, "participant": 1}),
        b'{"query":"book","symbol":"ABC"}',
        STATE,
    ]
    output = timeless(program.converse(lines))
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert output[0] == {"event": "state", "sequence": 0, "resting_orders": 0, "state_hash": empty}
    assert output == expected_answers(lines)
    statuses = [answer["status"] for answer in output if answer["event"] == "order"]
    assert statuses == ["UNKNOWN", "NEW", "PARTIALLY_FILLED", "FILLED"]


def test_another_program_can_hold_a_dialogue(program: Program) -> None:
    """Each line is answered before the next is written: nothing waits in a buffer."""
    with Dialogue(program) as dialogue:
        assert dialogue.ask(LIST)["event"] == "instrument_listed"
        for order_id in range(1, 60):
            side = "SELL" if order_id % 2 else "BUY"
            assert dialogue.ask(order(order_id, side, quantity=1))["event"] == "order_accepted"
            if side == "BUY":
                assert dialogue.hear()["event"] == "trade_executed"
            assert dialogue.ask(STATE)["sequence"] == order_id + 1
        assert dialogue.ask(b"?")["event"] == "malformed"
        dialogue.say(b"")
        assert dialogue.ask(STATE)["resting_orders"] == 1
        assert dialogue.end() == 1


def test_half_a_line_is_not_answered_before_its_end_arrives(program: Program) -> None:
    with Dialogue(program) as dialogue:
        line = encode(LIST)
        assert dialogue.process.stdin is not None
        dialogue.process.stdin.write(line[:20])
        dialogue.process.stdin.flush()
        dialogue.say(line[20:])
        assert dialogue.hear()["event"] == "instrument_listed"
        assert dialogue.end() == 0


def test_much_input_before_any_output_is_read_does_not_deadlock(program: Program) -> None:
    lines = lines_of(
        [LIST, *(order(number, price=100 + number % 7) for number in range(1, 20_000))]
    )
    output = program.converse(lines)
    assert len(output) == len(lines)
    assert output[-1]["sequence"] == len(lines)


def test_the_order_of_a_long_queue_of_huge_orders_does_not_overflow(program: Program) -> None:
    """The sum of a level may leave 64 bits, in which many JSON writers stop."""
    commands: list[Command] = [LIST]
    commands += [order(number, price=2**63 - 1, quantity=2**63 - 1) for number in range(1, 5)]
    output: list[dict[str, Any]] = program.converse(
        [*lines_of(commands), b'{"query":"book","symbol":"ABC"}']
    )
    assert output[-1]["bids"] == [[2**63 - 1, 4 * (2**63 - 1), 4]]
