"""Who tests the tests: plant a race in an engine, and each judge must object to a history of it.

A race shows only when threads meet in a window that may be a few instructions wide. So the windows
are held open: at certain points a thread waits at a `Turnstile` until another one has come along.
The same engines without the mistake, slowed down in the same way, must pass.

A history in which a call raised does not count: the judges must object, and not some check inside
the engine.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec
import pytest

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2
from v2_event_driven_engine.engine.events import Command
from v2_event_driven_engine.engine.matcher import Matcher
from v2_event_driven_engine.engine.order_book import BookSide
from v2_event_driven_engine.engine.receipt import Receipt
from v2_event_driven_engine.engine.recovery import Recovered
from v2_event_driven_engine.engine.sequencer import Request, Sequencer
from v2_event_driven_engine.engine.wal_event_store import MemoryEventStore
from v2_event_driven_engine.engine.wal_reader import START
from v2_event_driven_engine.errors import EngineStopped
from v2_event_driven_engine.models.enums import Side
from v2_event_driven_engine.models.order import Order

from .concurrent_histories import Call, Failed, V1Desk, V2Desk, perform
from .concurrent_plays import EVERYTHING, short_play
from .history_judges import Judge, black_box_objection, witness_objection
from .linearizability import timeline

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
    """A table of orders. Behind each look-up and each change the others may catch up."""

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
    """V1 with its windows held open, behind its lock."""

    def __init__(self) -> None:
        super().__init__()
        self._rules.register.live = SlowDict(Turnstile())


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

    def _depth(self, symbol: str, levels: int) -> v1.Depth:
        fresh = super()._depth(symbol, levels)
        stale = self._copies.get((symbol, levels), fresh)
        self._copies[symbol, levels] = fresh
        return msgspec.structs.replace(stale, sequence=fresh.sequence)


# -- V2 -------------------------------------------------------------------------------------------


class SlowSide(BookSide):
    """One side of a book. Behind each order that leaves it the others may catch up."""

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


class SlowV2(v2.EventDrivenMatchingEngine):
    """V2 with its windows held open, on the writer's thread."""

    def __init__(self) -> None:
        self.matcher = SlowMatcher()
        super().__init__(Recovered(self.matcher, START), MemoryEventStore())


class AppliedByCallers(SlowV2):
    """Saves the way through the queue: whoever submits a command applies it."""

    def submit(self, command: Command) -> Receipt[Any]:
        receipt: Receipt[Any] = Receipt()
        receipt.answer = self.matcher.apply(self.matcher.sequence + 1, 0, command)
        return receipt


class ReadByCallers(SlowV2):
    """Saves the way through the queue for reads, which change nothing, after all."""

    def _enqueue(self, request: Request) -> Receipt[Any]:
        if not callable(request):
            return super()._enqueue(request)
        receipt: Receipt[Any] = Receipt()
        receipt.answer = request(self.matcher)
        self.matcher.pause()
        return receipt


class AnsweringFirst(Sequencer):
    """Answers a command, and only with the next batch applies it to what everybody reads."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._visible = Matcher()
        self._answered: list[Command] = []

    def process(self, requests: Sequence[Request]) -> list[Any]:
        answers = super().process([self._redirected(request) for request in requests])
        for command in self._answered:
            self._visible.apply(self._visible.sequence + 1, 0, command)
        self._answered = [request for request in requests if not callable(request)]
        return answers

    def _redirected(self, request: Request) -> Request:
        return (lambda _matcher: request(self._visible)) if callable(request) else request


class AnsweredEarly(v2.EventDrivenMatchingEngine):
    """An engine with that sequencer."""

    def __init__(self) -> None:
        state, store = Recovered(Matcher(), START), MemoryEventStore()
        super().__init__(state, store)
        self._sequencer = AnsweringFirst(state, store, self.event_log, lambda: 0)


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


@pytest.fixture(autouse=True)
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def history_of(engine: Engine, seed: int, weights: Mapping[str, int]) -> list[Call]:
    play = short_play(seed, weights)
    if isinstance(engine, v1.MatchingEngine):
        return perform(play, V1Desk(engine))
    try:
        return perform(play, V2Desk(engine))
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
