"""Histories of real threads at an engine: who asked what, when, and what the answer was.

The clock is a counter that all threads share. Each draws from it just before a call and just after
its return. So if one return has a lower number than another invocation, that call was really over
before the other began. The converse is not certain, because a thread may lose its turn between the
call and the counter: a history then says less than it could, but nothing that is wrong.
"""

from __future__ import annotations

import itertools
import json
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import msgspec

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2

from .adapters import V1, V2Engine, Version
from .concurrent_plays import Play, Request, Script
from .engine import Event, encode
from .linearizability import Operation

DEADLINE_SECONDS = 300
"""For everything that is waited for: only what hangs takes so long, however busy the machine."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer of a call that raised. No sequential engine gives it."""

    error: str


Answer: TypeAlias = list[Event] | dict[str, Any] | Failed
"""The events of a command, or what a query is answered with. A query's answer may have a sequence:
the engine then says itself of which moment it is."""

Call: TypeAlias = Operation[Request, Answer]

Finish: TypeAlias = Callable[[], Any]
Begin: TypeAlias = Callable[[], Finish]


class Desk(ABC):
    """Where clients put their requests to an engine.

    NDJSON is read and written outside of the call, so that what lies between invocation and return
    is the engine's alone: the shorter it is, the more a history says.
    """

    version: Version

    def prepare(self, request: Request) -> Begin:
        """Return a function that puts the request and returns one that waits for the answer."""
        parsed: Any = self.version.parse(encode(request))
        query = request.get("query")
        if query is None:
            return lambda: self.submit(parsed)
        if query == "state":
            return lambda: _known({"event": query, **self.state()})
        if query == "order":
            order_id = parsed.order_id
            return lambda: _known({"event": query, "order_id": order_id, **self.order(order_id)})
        symbol, depth = parsed.symbol, parsed.depth
        return lambda: _known({"event": query, "symbol": symbol, **self.book(symbol, depth)})

    def show(self, answer: Any) -> Answer:
        """Return an answer in plain values."""
        if isinstance(answer, list):
            return [json.loads(self.version.write(event)) for event in answer]
        shown: Failed | dict[str, Any] = answer
        return shown

    @abstractmethod
    def submit(self, command: Any) -> Finish:
        """Put a command."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Read the state; like every read, with the sequence it belongs to if the engine says."""

    @abstractmethod
    def order(self, order_id: int) -> dict[str, Any]:
        """Read where an order stands."""

    @abstractmethod
    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """Read the best levels of a book."""


class V1Desk(Desk):
    """V1: whoever asks does the work, inside the lock. To put a command is to have its events."""

    def __init__(self, engine: v1.MatchingEngine) -> None:
        self.engine = engine
        self.version = V1(engine)

    def submit(self, command: Any) -> Finish:
        return _known(self.engine.submit(command))

    def state(self) -> dict[str, Any]:
        sequence, resting_orders, state_hash = msgspec.structs.astuple(self.engine.state())
        return {"sequence": sequence, "resting_orders": resting_orders, "state_hash": state_hash}

    def order(self, order_id: int) -> dict[str, Any]:
        view = self.engine.order(order_id)
        return {"sequence": view.sequence, "status": view.status, "remaining": view.remaining}

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        view = self.engine.book(symbol).depth(depth)
        bids, asks = ([[*level] for level in side] for side in (view.bids, view.asks))
        return {"sequence": view.sequence, "bids": bids, "asks": asks}


class V2Desk(Desk):
    """V2: a command is put into the queue, and its receipt waited for."""

    def __init__(self, engine: v2.EventDrivenMatchingEngine) -> None:
        self.engine = engine
        self.version: V2Engine = V2Engine(engine)

    def submit(self, command: Any) -> Finish:
        return partial(self.engine.submit(command).result, DEADLINE_SECONDS)

    def state(self) -> dict[str, Any]:
        sequence, resting_orders, state_hash = self.engine.state()
        return {"sequence": sequence, "resting_orders": resting_orders, "state_hash": state_hash}

    def order(self, order_id: int) -> dict[str, Any]:
        status, remaining = self.version.order(order_id)
        return {"status": status, "remaining": remaining}

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        return {**self.version.book(symbol, depth)}


def perform(play: Play, desk: Desk, in_flight: int = 1) -> list[Call]:
    """Let threads perform the play, and return its history.

    A client waits for every answer before it asks again; or it has several requests `in_flight`,
    which then overlap as those of different clients do.
    """
    clock = itertools.count()
    alone_before = _Client(0, play.prologue, desk, clock, in_flight=1)
    alone_after = _Client(0, play.epilogue, desk, clock, in_flight=1)
    clients = [
        _Client(number, script, desk, clock, in_flight)
        for number, script in enumerate(play.clients, start=1)
    ]
    together = threading.Barrier(len(clients), timeout=DEADLINE_SECONDS)

    def run(client: _Client) -> None:
        together.wait()
        client.ask_all(together.wait if play.in_rounds else None)

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    alone_before.ask_all()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), "a client got no answer in time"
    alone_after.ask_all()
    everybody = (alone_before, *clients, alone_after)
    return [call for client in everybody for call in client.history()]


class _Client:
    """One client of an engine, in one thread; its history is there when the thread is through."""

    def __init__(
        self, number: int, script: Script, desk: Desk, clock: itertools.count[int], in_flight: int
    ) -> None:
        self._number = number
        self._requests = [(request, desk.prepare(request)) for request in script]
        self._desk = desk
        self._clock = clock
        self._in_flight = in_flight
        self._under_way: deque[tuple[Request, int, Finish]] = deque()
        self._calls: list[tuple[Request, Any, int, int]] = []

    def ask_all(self, before_each: Callable[[], object] | None = None) -> None:
        """Ask every request in turn. What is raised is an answer too."""
        for request, begin in self._requests:
            if before_each is not None:
                before_each()
            invoked = next(self._clock)
            begun = _attempt(begin)
            finish = _known(begun) if isinstance(begun, Failed) else begun
            self._under_way.append((request, invoked, finish))
            if len(self._under_way) >= self._in_flight:
                self._finish_oldest()
        while self._under_way:
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        request, invoked, finish = self._under_way.popleft()
        answer = _attempt(finish)
        returned = next(self._clock)
        self._calls.append((request, answer, invoked, returned))

    def history(self) -> list[Call]:
        """Return what was asked and answered, in plain values."""
        return [
            Operation(self._number, request, self._desk.show(answer), invoked, returned)
            for request, answer, invoked, returned in self._calls
        ]


def _known(answer: object) -> Finish:
    """Return a finish that has nothing to wait for."""
    return lambda: answer


def _attempt(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:  # whatever it is: the judges will not like it
        return Failed(f"{type(error).__name__}: {error}")
