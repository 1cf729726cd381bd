"""A judge that never matches: it looks at what an engine did and says which property is broken.

It is shown one command at a time: the state before, the command, the events, the state after. Each
property (`properties.py`) is a small function that says what is wrong with that, or nothing. None
of them finds out what *should* happen by doing it; they count, compare and sort. So the judge is a
witness of another kind than the reference engine, which is a matching engine itself.

The core is a theorem. Garg and Sarswat ("The Design and Regulation of Exchanges: A Formal
Approach", FSTTCS 2022, LIPIcs 250, 39:1-39:21, doi 10.4230/LIPIcs.FSTTCS.2022.39) proved in Coq
that for a continuous double auction three properties leave no freedom at all: a positive bid-ask
spread (P1), price-time priority (P2) and conservation (P3) determine book and fills after every
instruction. It follows that the traded volume is as large as it can be (T1), and that two engines
with the three properties agree on fills (T2) and book (T3). Their model is limit orders and
cancels; what this rulebook has besides (time in force, post-only, self-trade prevention, replace
...) gets properties of its own, in the same manner.

The judge remembers of each order what commands and events have said about it (`evidence.Account`),
never what the engine keeps inside. What it asks of the engine is what rests, in canonical order;
that this is the truth follows from the state hash, which the judge computes for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..engines.adapters import V1, V2Engine, V2Matcher
from ..engines.engine import MAX, Command, Engine, Event, Forwarding, Malformed
from .evidence import Case, Ledger, Resting, State
from .properties import PROPERTIES


def complaints(case: Case, properties: Iterable[str] = PROPERTIES) -> dict[str, str]:
    """Every property that the case breaks, by name, with what is wrong."""
    found = {name: PROPERTIES[name](case) for name in properties}
    return {name: problem for name, problem in found.items() if problem is not None}


class Broken(AssertionError):
    """An engine broke a property. The message starts with the property's name."""


def resting_orders_of(engine: Engine) -> tuple[Resting, ...]:
    """Every resting order in the engine's canonical order.

    No interface has this, so it looks inside; that it sees the truth is proved by the state hash.
    """
    if isinstance(engine, V1):
        rules = engine.engine._matcher
        return tuple(
            Resting(o.symbol, o.side.name, o.price, o.order_id, o.participant, o.remaining)
            for o in rules.orders_in_canonical_order()
        )
    if isinstance(engine, V2Matcher):
        return _of_matcher(engine.matcher)
    if isinstance(engine, V2Engine):
        rows: tuple[Resting, ...] = engine.engine.ask(_of_matcher).result(timeout=60)
        return rows
    reference: Any = engine  # or what a test has made of its source
    return tuple(
        Resting(o.symbol, o.side, o.price, o.order_id, o.participant, o.remaining)
        for o in reference._canonical()
    )


def _of_matcher(matcher: Any) -> tuple[Resting, ...]:
    return tuple(
        Resting(symbol, side.name, o.level.price, o.order_id, o.participant, o.remaining)
        for symbol, side, o in matcher.resting_orders()
    )


class Judged(Forwarding):
    """An engine whose every command is judged; it may be used wherever an engine may.

    It raises `Broken` at the first command after which one of `properties` does not hold.
    """

    def __init__(self, engine: Engine, properties: Iterable[str] = PROPERTIES) -> None:
        super().__init__(engine)
        self.properties = tuple(properties)
        self.known = Ledger()
        self.mentioned = {MAX}  # an id that is never used
        self.symbols: set[str] = set()
        self.state = self.look()
        self.case: Case | None = None

    def look(self) -> State:
        """All that the engine shows of itself now."""
        engine = self.engine
        return State(
            engine.sequence,
            resting_orders_of(engine),
            {order_id: engine.order(order_id) for order_id in self.mentioned},
            {symbol: engine.book(symbol, MAX) for symbol in self.symbols},
            engine.state_hash(),
        )

    def execute_line(self, line: bytes) -> list[Event]:
        malformed: Malformed | None = None
        command: Command = {}
        events: list[Event] = []
        if self.engine.refusal(line) is None:
            command = json.loads(line)
            self._mention(command)
        try:
            events = self.engine.execute_line(line)
        except Malformed as error:
            malformed, command = error, {}
        case = Case(self.known, self.state, command, events, self.look())
        for name, problem in complaints(case, self.properties).items():
            raise Broken(f"{name}: {problem}\nafter {command or line!r}\nwhich gave {events}")
        self.case = case
        self.known, self.state = case.known_after, case.after
        if malformed is not None:
            raise malformed
        return events

    def _mention(self, command: Command) -> None:
        """Watch what the command speaks of, from before it is executed."""
        order_id, symbol = command.get("order_id"), command.get("symbol")
        ids = {order_id} if isinstance(order_id, int) else set()
        symbols = {symbol} if isinstance(symbol, str) else set()
        if ids - self.mentioned or symbols - self.symbols:
            self.mentioned |= ids
            self.symbols |= symbols
            self.state = self.look()
