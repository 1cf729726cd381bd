"""Two ways to judge a concurrent history of an engine, with nothing in common but the reference.

`witness_objection` believes that the commands were done in the order of their sequences. It holds
the engine to this account of its own: every event, every read and real time must agree with it. It
takes histories of any length.

`black_box_objection` asks for no account and tries every order that real time allows, until one
explains the answers. It takes short histories only.

What the first accepts the second must accept too, which checks them both. The second accepts more,
because sequences may be wrong where no other part of an answer is. Neither can object to what no
client has seen, nor to an interleaving that did not happen.
"""

from __future__ import annotations

import copy
from bisect import bisect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import astuple, dataclass, field, replace
from itertools import accumulate
from typing import TypeAlias

from ..engines.engine import encode, timeless
from ..reference.input import parse_line
from ..reference.reference import Reference
from ..reference.stream import answer_query
from .histories import Answer, Call, Failed
from .linearizability import Model, linearization
from .plays import Request

Judge: TypeAlias = Callable[[Sequence[Call]], str | None]
"""Says what is wrong with a history, None if nothing is."""


# -- By witness -----------------------------------------------------------------------------------


def witness_objection(history: Sequence[Call]) -> str | None:
    """Judge a history by the order that the engine itself gives it.

    1. Nothing was raised, and the commands have the sequences 1, 2, 3 …
    2. The order respects real time: what had returned before another was invoked comes before it.
    3. Done in this order, one after the other, the commands have the same events in the reference.
    4. Each read shows the reference's state at one point of this order. The point respects real
       time too, towards the commands and towards the other reads.
    """
    for call in history:
        if isinstance(call.answer, Failed):
            return f"{call.request} raised {call.answer.error}"
    reads = [call for call in history if "query" in call.request]
    commands = sorted((call for call in history if "command" in call.request), key=_sequence)
    latest_invoked = -1
    for sequence, command in enumerate(commands, start=1):
        if _sequence(command) != sequence:
            return f"sequence {sequence} is missing, or was given twice"
        if command.returned < latest_invoked:
            return f"sequence {sequence} had returned before a lower one was invoked"
        latest_invoked = max(latest_invoked, command.invoked)
    return _objection_to_answers(commands, reads)


def _sequence(command: Call) -> int:
    assert isinstance(command.answer, list), "only what did not fail is compared"
    sequence: int = command.answer[0]["sequence"]
    return sequence


def _objection_to_answers(commands: Sequence[Call], reads: Sequence[Call]) -> str | None:
    """Do the commands again; see to it that all events are the same and every read has a point."""
    looking: list[list[int]] = [[] for _ in range(len(commands) + 1)]
    for number, window in enumerate(_windows(commands, reads)):
        for sequence in window:
            looking[sequence].append(number)
    points: list[list[int]] = [[] for _ in reads]
    engine = Reference()
    for sequence, observers in enumerate(looking):
        if sequence > 0:
            command = commands[sequence - 1]
            expected = timeless(engine.execute(command.request))
            assert isinstance(command.answer, list)
            if timeless(command.answer) != expected:
                return f"sequence {sequence}: {command.answer} should have been {expected}"
        for number in observers:
            if _shows(reads[number], engine):
                points[number].append(sequence)
    return _objection_to_points(reads, points)


def _windows(commands: Sequence[Call], reads: Sequence[Call]) -> list[range]:
    """Return, for each read, the sequences that may be the last one whose outcome it shows.

    All that returned before it was invoked are at or below; none that was invoked after it returned
    is. O((commands + reads) * log(commands)).
    """
    by_return = sorted(commands, key=lambda command: command.returned)
    returns = [command.returned for command in by_return]
    finished = [0, *accumulate((_sequence(command) for command in by_return), max)]
    by_invocation = sorted(commands, key=lambda command: command.invoked)
    invocations = [command.invoked for command in by_invocation]
    yet_to_begin = [
        len(commands) + 1,
        *accumulate((_sequence(command) for command in reversed(by_invocation)), min),
    ]
    return [
        range(
            finished[bisect(returns, read.invoked)],
            yet_to_begin[len(commands) - bisect(invocations, read.returned)],
        )
        for read in reads
    ]


def _shows(read: Call, engine: Reference) -> bool:
    """Whether this is what the engine in its present state answers."""
    expected = answer_query(engine, parse_line(encode(read.request)))
    if isinstance(read.answer, dict) and "sequence" not in read.answer:
        del expected["sequence"]
    return read.answer == expected


def _objection_to_points(reads: Sequence[Call], points: Sequence[Sequence[int]]) -> str | None:
    """Give each read a point, not before that of any read that had returned when it was invoked.

    To give each the earliest that is possible leaves most room for those that come later.
    """
    placed: list[tuple[int, int]] = []  # when a read had returned, and its point
    for read, possible in sorted(zip(reads, points, strict=True), key=lambda pair: pair[0].invoked):
        if not possible:
            return f"no state that {read.request} may show is the one that it shows"
        earliest = max((point for returned, point in placed if returned < read.invoked), default=0)
        point = next((point for point in possible if point >= earliest), None)
        if point is None:
            return f"{read.request} shows an older state than an earlier read"
        placed.append((read.returned, point))
    return None


# -- As a black box -------------------------------------------------------------------------------


def black_box_objection(history: Sequence[Call]) -> str | None:
    """Judge a short history by its answers alone: sequences and timestamps are taken away first."""
    if linearization([_unnumbered(call) for call in history], MarketModel()) is None:
        return "no order of the requests explains the answers"
    return None


def _unnumbered(call: Call) -> Call:
    if isinstance(call.answer, Failed):
        return call
    if isinstance(call.answer, dict):
        return replace(call, answer=_without_sequence(call.answer))
    return replace(call, answer=[_without_sequence(event) for event in timeless(call.answer)])


def _without_sequence(fields: dict[str, object]) -> dict[str, object]:
    return {name: fields[name] for name in fields if name != "sequence"}


@dataclass(frozen=True)
class Market:
    """One state of the reference engine, as a value. The engine in it is never changed."""

    engine: Reference = field(compare=False)
    contents: Hashable

    @classmethod
    def of(cls, engine: Reference) -> Market:
        """Describe the engine by all that its future depends on."""
        orders = tuple(map(astuple, engine.orders.values()))
        resting = tuple(order.order_id for order in engine.resting)
        return cls(engine, (tuple(engine.instruments), orders, resting, engine.trades))


class MarketModel(Model[Request, Answer, Market]):
    """The sequential engine that a concurrent one claims to be: the reference."""

    def initial(self) -> Market:
        return Market.of(Reference())

    def step(self, state: Market, request: Request, answer: Answer) -> Market | None:
        if "query" in request:
            asked = parse_line(encode(request))
            expected = _without_sequence(answer_query(state.engine, asked))
            return state if answer == expected else None
        engine = copy.deepcopy(state.engine)
        events = [_without_sequence(event) for event in timeless(engine.execute(request))]
        return Market.of(engine) if answer == events else None
