"""Histories of real threads at an engine: who asked what, when, and what the answer was.

The clock is a counter that all threads share. Each draws from it just before a call and just after
its return. So if one return has a lower number than another invocation, that call was really over
before the other began. The converse is not certain, because a thread may lose its turn between the
call and the counter: a history then says less than it could, but nothing that is wrong.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..engines.adapters import DEADLINE_SECONDS, Version, plain_book, plain_order
from ..engines.engine import Event, encode
from .linearizability import Operation
from .plays import Play, Request, Script


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


class Desk:
    """Where clients put their requests to an engine.

    NDJSON is read and written outside of the call, so that what lies between invocation and return
    is the engine's alone: the shorter it is, the more a history says.
    """

    def __init__(self, version: Version) -> None:
        self.version = version

    def prepare(self, request: Request) -> Begin:
        """Return a function that puts the request and returns one that waits for the answer."""
        version = self.version
        parsed: Any = version.parse(encode(request))
        match request.get("query"):
            case None:
                return lambda: version.submit(parsed)
            case "state":
                return lambda: _known(version.view_state())
            case "order":
                return lambda: _known(version.view_order(parsed.order_id))
            case _:
                return lambda: _known(version.view_book(parsed.symbol, parsed.depth))

    def show(self, request: Request, answer: Any) -> Answer:
        """An answer in plain values, with a sequence if the engine says which moment it shows."""
        if isinstance(answer, Failed):
            return answer
        shown: dict[str, Any]
        match request.get("query"):
            case None:
                return self.version.shown(answer)
            case "state":
                resting = {"resting_orders": answer.resting_orders, "state_hash": answer.state_hash}
                shown = {"event": "state", **resting}
            case "order":
                status, remaining = plain_order(answer)
                order_id = request["order_id"]
                shown = {"event": "order", "order_id": order_id, "status": status}
                shown["remaining"] = remaining
            case _:
                shown = {"event": "book", "symbol": request["symbol"], **plain_book(answer)}
        return {**shown, "sequence": answer.sequence} if hasattr(answer, "sequence") else shown


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
        """What was asked and answered, in plain values."""
        return [
            Operation(self._number, request, self._desk.show(request, answer), invoked, returned)
            for request, answer, invoked, returned in self._calls
        ]


def _known(answer: object) -> Finish:
    """A finish that has nothing to wait for."""
    return lambda: answer


def _attempt(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:  # whatever it is: the judges will not like it
        return Failed(f"{type(error).__name__}: {error}")
