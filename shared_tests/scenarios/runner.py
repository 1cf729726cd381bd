"""Runs a scenario against an engine and compares every event, field by field.

A scenario's phrase names only what the reader needs (`4 buys 3@100 from 1`). The runner works out
what is left out: it keeps its own small ledger of who owns which order and how much of it is open,
counts sequences, indexes and trades, and so arrives at the complete events that the engine must
give. A field that is wrong, missing or too many fails the scenario, whether the phrase names it or
not.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ..engines.engine import Engine, Event, Malformed, timeless
from ..reference.input import filled_in
from .scenario import Scenario, ScenarioError, Step, decode, parse_number, parse_phrase


class ScenarioFailed(AssertionError):
    """The engine did not do what the scenario says. The message starts with file and line."""


class ScenarioRunner:
    """One run of one scenario."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sequence = 0
        self.trades = 0
        self.clock = 0
        self.orders: dict[int, dict[str, Any]] = {}  # id -> participant, symbol and open quantity

    def run(self, scenario: Scenario) -> None:
        """Run every step.

        Raises:
            ScenarioFailed: at the first step that goes differently.
        """
        if not scenario.empty:
            listing = {"symbol": "ABC", "tick_size": "0.01", "lot_size": "1"}
            self.engine.execute({"command": "list_instrument", **listing})
            self.sequence = 1
        for step in scenario.steps:
            if step.question:
                self.ask(step)
            else:
                self.send(step)
            self.engine.check_invariants()
            self.expect(step, "sequence", self.engine.sequence, self.sequence)

    # -- Commands -----------------------------------------------------------------------------

    def send(self, step: Step) -> None:
        malformed = re.fullmatch(r"malformed ?([a-z_]*)", "; ".join(step.phrases))
        try:
            events = self.engine.execute_line(step.line)
        except Malformed as error:
            if malformed is None:
                raise ScenarioFailed(f"{step.where}: {step.text}\n  malformed: {error}") from error
            if malformed[1] not in str(error):
                raise ScenarioFailed(
                    f"{step.where}: the message does not name {malformed[1]}: {error}"
                ) from error
            return
        if malformed is not None:
            raise ScenarioFailed(f"{step.where}: {step.text}\n  was not refused: {events}")
        self.sequence += 1
        self.check_clock(step, events)
        self.expect(step, "events", timeless(events), self.expected_events(step))

    def check_clock(self, step: Step, events: list[Event]) -> None:
        for event in events:
            if event["timestamp_ns"] < self.clock:
                raise ScenarioFailed(f"{step.where}: time goes backwards: {event}")
            self.clock = event["timestamp_ns"]
            if self.clock != events[0]["timestamp_ns"]:
                raise ScenarioFailed(f"{step.where}: one command, two timestamps: {events}")

    def expected_events(self, step: Step) -> list[Event]:
        command = decode(step.line)
        phrases = [parse_phrase(phrase, step.where) for phrase in step.phrases]
        rejected = any(phrase["event"] == "rejected" for phrase in phrases)
        events = []
        if command["command"] == "new" and not rejected:
            events.append(self.accepted(command))
        if command["command"] == "list_instrument" and not phrases:
            phrases = [{"event": "instrument_listed"}]
        events += [self.complete(step, command, phrase) for phrase in phrases]
        return [
            {**event, "sequence": self.sequence, "index": index}
            for index, event in enumerate(events)
        ]

    def accepted(self, command: dict[str, Any]) -> Event:
        self.orders[command["order_id"]] = {
            "participant": command["participant"],
            "symbol": command["symbol"],
            "open": command["quantity"],
        }
        return {"event": "order_accepted", **filled_in(command)}

    def complete(self, step: Step, command: dict[str, Any], phrase: Event) -> Event:
        """Add to an event what its phrase leaves out."""
        event = {**phrase}
        if event["event"] == "trade_executed":
            self.trades += 1
            event["trade_id"] = self.trades
            for role in ("maker", "taker"):
                order = self.known(step, event[f"{role}_order_id"])
                order["open"] -= event["quantity"]
                event["symbol"] = order["symbol"]
                event[f"{role}_participant"] = order["participant"]
                event[f"{role}_remaining"] = order["open"]
        elif event["event"] == "rejected":
            if command["command"] == "new":
                event |= {"event": "order_rejected", "order_id": command["order_id"]}
                event["participant"] = command["participant"]
            else:
                event |= {"event": "instrument_rejected", "symbol": command["symbol"]}
        elif event["event"] == "instrument_listed":
            event |= {name: command[name] for name in ("symbol", "tick_size", "lot_size")}
        elif event["event"] == "cancel_rejected":
            event |= {name: command[name] for name in ("order_id", "participant")}
            event["request"] = command["command"].upper()
        elif event["event"] == "mass_canceled":
            event["symbol"] = command["symbol"]
        else:
            order = self.known(step, event["order_id"])
            event["participant"] = order["participant"]
            order["open"] = event["remaining"]
        return event

    def known(self, step: Step, order_id: int) -> dict[str, Any]:
        if order_id not in self.orders:
            raise ScenarioError(f"{step.where}: no order {order_id} was accepted so far")
        return self.orders[order_id]

    # -- Questions ----------------------------------------------------------------------------

    def ask(self, step: Step) -> None:
        if step.question == "order":
            status, remaining = self.engine.order(step.arguments["order_id"])
            self.expect(step, "order", f"{status} {remaining}", _status(step.phrases[0]))
        elif step.question == "book":
            book = self.engine.book(**step.arguments)
            self.expect(step, "book", book, _book(step))
        elif step.question == "resting":
            expected = parse_number(step.phrases[0])
            self.expect(step, "resting orders", self.engine.resting_orders, expected)
        elif step.question == "sequence":
            self.expect(step, "sequence", self.engine.sequence, parse_number(step.phrases[0]))
        else:
            self.expect(step, "hash", self.engine.state_hash(), _hash(step.phrases))

    def expect(self, step: Step, what: str, actual: object, expected: object) -> None:
        if actual == expected:
            return
        raise ScenarioFailed(
            f"{step.where}: {step.text}\n  {what} expected: {expected}\n  {what} given:    {actual}"
        )


def _status(answer: str) -> str:
    status, _, remaining = answer.partition(" ")
    return f"{status} {parse_number(remaining or '0')}"


def _book(step: Step) -> dict[str, list[list[int]]]:
    book: dict[str, list[list[int]]] = {}
    for phrase in step.phrases:
        side, _, levels = phrase.partition(" ")
        book[side] = []
        for level in [] if levels == "none" else levels.split(","):
            match = re.fullmatch(r"(\d+|max)@(\d+|max)/(\d+)", level.strip())
            if match is None:
                raise ScenarioError(f"{step.where}: not QUANTITY@PRICE/ORDERS: {level.strip()!r}")
            quantity, price, orders = (parse_number(text) for text in match.groups())
            book[side].append([price, quantity, orders])
    return book


def _hash(phrases: list[str]) -> str:
    if phrases == ["empty"]:
        return "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    if re.fullmatch("[0-9a-f]{64}", phrases[0]):
        return phrases[0]
    text = "".join(f"{line}\n" for line in phrases)
    return hashlib.sha256(text.encode()).hexdigest()
