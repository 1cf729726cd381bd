"""What `stdio` must answer to a stream of lines (rulebook 8), by means of the reference engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .engine import Event, Malformed, timeless
from .reference import Reference
from .reference_input import parse_line

MALFORMED = "any short text"
"""Stands for the error text, the one thing that is up to the version."""


def expected_answers(lines: Iterable[bytes]) -> list[Event]:
    """Answer every line, without timestamps and with `MALFORMED` for every error text."""
    engine = Reference()
    answers: list[Event] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip(b" \t\r\n"):
            continue
        try:
            request = parse_line(line)
            if "query" in request:
                answers.append(answer_query(engine, request))
            else:
                answers += timeless(engine.execute_line(line))
        except Malformed:
            answers.append({"event": "malformed", "line": number, "error": MALFORMED})
    return answers


def answer_query(engine: Reference, query: dict[str, Any]) -> Event:
    """Answer one query."""
    if query["query"] == "state":
        resting = {"resting_orders": engine.resting_orders, "state_hash": engine.state_hash()}
        return {"event": "state", "sequence": engine.sequence, **resting}
    if query["query"] == "order":
        status, remaining = engine.order(query["order_id"])
        outcome = {"sequence": engine.sequence, "status": status, "remaining": remaining}
        return {"event": "order", "order_id": query["order_id"], **outcome}
    book = engine.book(query["symbol"], query["depth"])
    return {"event": "book", "symbol": query["symbol"], "sequence": engine.sequence, **book}
