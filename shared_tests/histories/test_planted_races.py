"""Who tests the tests: plant a race in an engine, and each judge must object to a history of it.

A race shows only when threads meet in a window that may be a few instructions wide. So the windows
are held open: at certain points a thread waits at a `Turnstile` until another one has come along.
The same engines without the mistake, slowed down in the same way, must pass.

A history in which a call raised does not count: the judges must object, and not some check inside
the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from v2_event_driven_engine import Command, EngineStopped, Receipt, Side
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.log.memory import NoEventLog
from v2_event_driven_engine.engine.log.recovery import Recovered
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.order_book import BookSide, Order
from v2_event_driven_engine.engine.receipt import Asked, Question, Request, Submitted
from v2_event_driven_engine.engine.sequencer import Sequencer

from ..engines.adapters import V1, V2Engine
from .histories import Call, Desk, Failed, perform
from .judges import Judge, black_box_objection, witness_objection
from .linearizability import timeline
from .plays import EVERYTHING, short_play

pytestmark = pytest.mark.usefixtures("short_turns")

CAUGHT_WITHIN = 200
"""Histories. The mistake that is hardest to catch shows in one history of six or so."""

PATIENCE_SECONDS = 0.002
"""How long a thread waits for another one that perhaps cannot come, because of a lock."""


class Turnstile:
    """Whoever comes here waits until the next one does, or until patience is at an end."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._arrived = threading.Condition()

    def __call__(self) -> None:
        with self._arrived:
            self._arrivals += 1
            mine = self._arrivals
            self._arrived.notify_all()
            self._arrived.wait_for(lambda: self._arrivals != mine, PATIENCE_SECONDS)


class SlowDict(dict[int, Any]):
    """A table of orders. After each look-up and each change the others may catch up."""

    def __init__(self, pause: Callable[[], None]) -> None:
        super().__init__()
        self._pause = pause

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        self._pause()
        return found

    def get(self, key: int, default: Any = None) -> Any:
        found = super().get(key, default)
        self._pause()
        return found

    def pop(self, key: int, default: Any = None) -> Any:
        found = super().pop(key, default)
        self._pause()
        return found

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self._pause()


# -- V1 -------------------------------------------------------------------------------------------


class SlowV1(v1.MatchingEngine):
    """V1 with its windows held open, under its lock."""

    def __init__(self) -> None:
        super().__init__()
        self._matcher.register.live = SlowDict(Turnstile())


class NoLock:
    """What is there when a lock has been forgotten."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


class WithoutLock(SlowV1):
    """Lets everybody in at once."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = NoLock()  # type: ignore[assignment]


class StaleBooks(v1.MatchingEngine):
    """Shows whoever reads a book the copy that the reader before had taken, and calls it new."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[tuple[str, int], v1.Depth] = {}

    def depth_with_sequence(self, symbol: str, levels: int) -> tuple[int, v1.Depth]:
        sequence, fresh = super().depth_with_sequence(symbol, levels)
        stale = self._copies.get((symbol, levels), fresh)
        self._copies[symbol, levels] = fresh
        return sequence, stale


# -- V2 -------------------------------------------------------------------------------------------


class SlowSide(BookSide):
    """One side of a book. After each order that leaves it the others may catch up."""

    pause: Callable[[], None]

    def remove(self, order: Order) -> None:
        super().remove(order)
        self.pause()


class SlowMatcher(Matcher):
    """The rules of V2 with their windows held open."""

    def __init__(self) -> None:
        super().__init__()
        self.pause = Turnstile()
        self.orders = SlowDict(self.pause)

    def open_book(self, symbol: str, tick_size: str, lot_size: str) -> None:
        super().open_book(symbol, tick_size, lot_size)
        book = self.books[symbol]
        book.bids, book.asks = SlowSide(symbol, Side.BUY), SlowSide(symbol, Side.SELL)
        book.bids.pause = book.asks.pause = self.pause


class StartedV2(v2.EventDrivenMatchingEngine):
    """V2 around a matcher of the test's own, without a log."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        log = NoEventLog()
        log.start(START)
        super().__init__(Recovered(matcher), log)
        self.prepare(log)
        self._writer.start()

    def prepare(self, log: NoEventLog) -> None:
        """Change what is to be changed before the writer starts."""


class SlowV2(StartedV2):
    """V2 with its windows held open, on the writer's thread."""

    def __init__(self) -> None:
        self.slow = SlowMatcher()
        super().__init__(self.slow)


class AppliedByCallers(SlowV2):
    """Saves the way through the queue: whoever submits a command applies it."""

    def submit(self, command: Command) -> Receipt[Any]:
        receipt: Receipt[Any] = Receipt()
        [receipt.answer] = self.matcher.apply(self.matcher.sequence + 1, 0, [command])
        return receipt


class ReadByCallers(SlowV2):
    """Saves the way through the queue for reads, which change nothing, after all."""

    def ask(self, question: Question) -> Receipt[Any]:
        receipt: Receipt[Any] = Receipt()
        receipt.answer = question(self.matcher)
        self.slow.pause()
        return receipt


class AnsweringFirst(Sequencer):
    """Answers a command, and only with the next batch applies it to what everybody reads."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._visible = Matcher()
        self._answered: list[Command] = []

    def process(self, requests: Sequence[Request], tag: bytes = b"") -> list[Any]:
        answers = super().process([self._redirected(request) for request in requests])
        self._visible.apply(self._visible.sequence + 1, 0, self._answered)
        self._answered = [each.command for each in requests if isinstance(each, Submitted)]
        return answers

    def _redirected(self, request: Request) -> Request:
        if not isinstance(request, Asked):
            return request
        return Asked(lambda _matcher: request.question(self._visible))


class AnsweredEarly(StartedV2):
    """An engine with that sequencer."""

    def __init__(self) -> None:
        super().__init__(Matcher())

    def prepare(self, log: NoEventLog) -> None:
        self._sequencer = AnsweringFirst(self.matcher, log, self.subscribers, lambda: 0)


# -- The tests ------------------------------------------------------------------------------------

Engine: TypeAlias = v1.MatchingEngine | v2.EventDrivenMatchingEngine

NO_REPLACE = EVERYTHING | {"replace": 0}
"""Callers that all move the same order may tie V2's queue of a price into an endless loop."""

MANY_READS = {"new": 12, "replace": 24, "order": 12, "book": 36}
"""Books are read while orders leave one price and have not come to the next."""

MISTAKES: dict[str, tuple[Callable[[], Engine], Mapping[str, int]]] = {
    "V1 without its lock": (WithoutLock, EVERYTHING),
    "V1 with stale books": (StaleBooks, EVERYTHING),
    "V2 applies on the caller's thread": (AppliedByCallers, NO_REPLACE),
    "V2 reads on the caller's thread": (ReadByCallers, MANY_READS),
    "V2 answers before it applies": (AnsweredEarly, EVERYTHING),
}
"""What goes wrong, and what is asked for it to show."""


def history_of(engine: Engine, seed: int, weights: Mapping[str, int]) -> list[Call]:
    play = short_play(seed, weights)
    if isinstance(engine, v1.MatchingEngine):
        return perform(play, Desk(V1(engine)))
    try:
        return perform(play, Desk(V2Engine(engine)))
    finally:
        with suppress(EngineStopped):  # a broken engine may have met its own checks
            engine.close()


@pytest.mark.parametrize("judge", [witness_objection, black_box_objection])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_both_judges_object_to_a_planted_race(mistake: str, judge: Judge) -> None:
    make, weights = MISTAKES[mistake]
    for seed in range(CAUGHT_WITHIN):
        history = history_of(make(), seed, weights)
        failed = any(isinstance(call.answer, Failed) for call in history)
        if not failed and judge(history) is not None:
            return
    pytest.fail(f"{CAUGHT_WITHIN} histories, and nothing was noticed")


@pytest.mark.parametrize("make", [SlowV1, SlowV2])
@pytest.mark.parametrize("weights", [EVERYTHING, MANY_READS], ids=["everything", "many reads"])
def test_without_the_mistake_the_slow_engines_pass(
    make: Callable[[], Engine], weights: Mapping[str, int]
) -> None:
    for seed in range(4):
        history = history_of(make(), seed, weights)
        for objection in (witness_objection(history), black_box_objection(history)):
            assert objection is None, f"seed {seed}: {objection}\n{timeline(history)}"
