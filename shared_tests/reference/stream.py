"""What `stdio` must answer to a stream of lines (rulebook 8), by means of the reference engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engines.engine import LONGEST_ERROR, Event, Malformed, timeless
from .input import parse_line
from .reference import Reference

LONGEST_LINE = 65_536
"""Bytes, without the line feed; a longer line is malformed, whatever is in it (rulebook 1)."""

MALFORMED = "any short text"
"""In the place of the error text, the one thing that each version may choose."""


def expected_answers(lines: Iterable[bytes]) -> list[Event]:
    """Answer every line, without timestamps and with `MALFORMED` for every error text."""
    engine = Reference()
    answers: list[Event] = []
    for number, line in enumerate(lines, start=1):
        if len(line) > LONGEST_LINE:
            answers.append({"event": "malformed", "line": number, "error": MALFORMED})
            continue
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


def comparable(output: Iterable[Event]) -> list[Event]:
    """Leave out the timestamps, and the wording of errors, which must only be short."""
    shown = timeless(output)
    for answer in shown:
        if answer["event"] == "malformed":
            assert 0 < len(answer["error"]) <= LONGEST_ERROR
            answer["error"] = MALFORMED
    return shown
