"""A line is at most 65,536 bytes long (rulebook 1); what is beyond costs no memory."""

from __future__ import annotations

import itertools
import resource
import subprocess
from collections.abc import Iterable

import pytest

from ..engines.engine import encode
from ..engines.examples import LIST, STATE, order
from ..reference.stream import LONGEST_LINE, comparable, expected_answers
from .program import DEADLINE_SECONDS, Dialogue, Program, answers, assert_quiet

MEMORY_BYTES = 1 << 30
ENDLESS_LINE_BYTES = 200_000_000
TOO_LONG = {"event": "malformed", "error": "line: longer than 65,536 bytes"}


def padded(line: bytes, length: int) -> bytes:
    """The same JSON object, with blanks in it, as a line of this length."""
    return line[:1] + b" " * (length - len(line)) + line[1:]


def long_lines(filled: Iterable[bytes]) -> list[bytes]:
    lines = [encode(LIST)]
    for line in filled:
        lines += [padded(line, LONGEST_LINE + more) for more in (-1, 0, 1)]
    lines += [b" " * LONGEST_LINE, b" " * (LONGEST_LINE + 1), b"x" * LONGEST_LINE, STATE]
    return lines


@pytest.mark.proves("long line")
@pytest.mark.parametrize("end", [b"\n", b""], ids=["a line feed at the end", "none"])
@pytest.mark.parametrize("length", [LONGEST_LINE - 1, LONGEST_LINE, LONGEST_LINE + 1])
def test_the_longest_line_is_read_and_a_longer_one_is_not(
    program: Program, length: int, end: bytes
) -> None:
    lines = [encode(LIST), padded(encode(order(1)), length)]
    finished = program.run("stdio", given=b"\n".join(lines) + end)
    assert_quiet(finished.stderr)
    second = answers(finished.stdout)[1]
    if length > LONGEST_LINE:
        assert second == {**TOO_LONG, "line": 2}
    else:
        assert second["event"] == "order_accepted"
    assert finished.returncode == (1 if length > LONGEST_LINE else 0)


def test_lines_about_as_long_as_is_allowed_are_answered_as_by_the_reference(
    program: Program,
) -> None:
    lines = long_lines(encode(order(number)) for number in range(1, 4))
    assert comparable(program.converse(lines)) == expected_answers(lines)


def test_a_long_line_may_come_in_pieces(program: Program) -> None:
    lines = long_lines([encode(order(1))])
    with Dialogue(program) as dialogue:
        pipe = dialogue.process.stdin
        assert pipe is not None
        heard = []
        for line, expected in zip(lines, alone(lines), strict=True):
            for start in range(0, len(line), 9_999):
                pipe.write(line[start : start + 9_999])
                pipe.flush()
            dialogue.say(b"")
            heard += [dialogue.hear() for _ in range(expected)]
    assert comparable(heard) == expected_answers(lines)


def alone(lines: list[bytes]) -> list[int]:
    """How many answers each line adds."""
    counts = [len(expected_answers(lines[:number])) for number in range(len(lines) + 1)]
    return [after - before for before, after in itertools.pairwise(counts)]


@pytest.mark.proves("long line")
def test_a_line_without_end_costs_no_memory(program: Program) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    process = subprocess.Popen(
        program.arguments("stdio"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=program.directory,
        env=program.full_environment(),
        preexec_fn=limit,  # noqa: PLW1509  # no thread is running here
    )
    assert process.stdin is not None
    piece = b"x" * 1_000_000
    for _ in range(ENDLESS_LINE_BYTES // len(piece)):
        process.stdin.write(piece)
    output, errors = process.communicate(b"\n" + STATE + b"\n", timeout=DEADLINE_SECONDS)
    assert_quiet(errors)
    assert process.returncode == 1
    malformed, state = answers(output)
    assert malformed == {**TOO_LONG, "line": 1}
    assert state["event"] == "state"
