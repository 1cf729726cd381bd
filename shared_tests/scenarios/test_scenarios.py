"""Every golden scenario against every engine; and the scenarios themselves under test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..engines.engine import Engine, Event
from ..reference.reference import LIFECYCLE, Reference
from .runner import ScenarioFailed, ScenarioRunner
from .scenario import ScenarioError, parse_scenario, read_scenario

SCENARIOS = sorted((Path(__file__).parent / "stories").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_engine_follows_the_scenario(engine: Engine, path: Path) -> None:
    ScenarioRunner(engine).run(read_scenario(path))


# -- The scenarios are complete ---------------------------------------------------------------


class Witness(Reference):
    """A reference engine that notes what it says."""

    seen: set[str]

    def execute_line(self, line: bytes) -> list[Event]:
        events = super().execute_line(line)
        for event in events:
            reason, request = event.get("reason"), event.get("request")
            self.seen |= {event["event"], f"{reason}", f"{request} {reason}"}
        return events

    def order(self, order_id: int) -> tuple[str, int]:
        status, remaining = super().order(order_id)
        self.seen.add(status)
        return status, remaining


def everything_that_can_happen() -> Iterator[str]:
    yield from ("instrument_listed", "instrument_rejected", "order_accepted", "order_rejected")
    yield from ("trade_executed", "order_canceled", "order_expired", "order_reduced")
    yield from ("order_replaced", "mass_canceled", "cancel_rejected")
    yield from ("DUPLICATE_SYMBOL", "INVALID_TICK_SIZE", "INVALID_LOT_SIZE")
    yield from ("UNKNOWN_SYMBOL", "DUPLICATE_ORDER_ID", "INVALID_PRICE", "INVALID_QUANTITY")
    yield from ("INVALID_TIME_IN_FORCE", "POST_ONLY_WOULD_TRADE")
    yield from ("USER", "SELF_TRADE", "MASS_CANCEL", "UNKNOWN")
    for request in ("CANCEL", "REDUCE", "REPLACE"):
        yield from (f"{request} {why}" for why in ("UNKNOWN_ORDER", "TOO_LATE", "NOT_OWNER"))
    yield from ("REDUCE INVALID_QUANTITY", "REPLACE INVALID_PRICE", "REPLACE INVALID_QUANTITY")
    yield "REPLACE POST_ONLY_WOULD_TRADE"
    reachable = set(LIFECYCLE).union(*LIFECYCLE.values())
    yield from sorted(reachable - {"PENDING_NEW"})  # this one is never seen from outside


def test_the_scenarios_show_every_event_every_reason_and_every_status() -> None:
    seen: set[str] = set()
    for path in SCENARIOS:
        witness = Witness()
        witness.seen = seen
        ScenarioRunner(witness).run(read_scenario(path))
    assert [what for what in everything_that_can_happen() if what not in seen] == []


@pytest.mark.parametrize("section", range(1, 9))
def test_every_section_of_the_rulebook_has_scenarios_that_name_it(section: int) -> None:
    named = [path for path in SCENARIOS if path.name.startswith(f"{section}_")]
    assert named
    for path in named:
        assert re.match(rf"# Rulebook [^\n]*\b{section}\b", path.read_text()), path.name


# -- A scenario that is wrong says so ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("buy 1 5@100", "x.txt:1: a scenario starts with '# Rulebook'"),
        ("# Rulebook 4\nbye 1 5@100", "x.txt:2: no such command or question: 'bye'"),
        ("# Rulebook 4\n\nbuy one 5@100", "x.txt:3: not a number: 'one'"),
        ("# Rulebook 4\nbuy 1", "x.txt:2: QUANTITY@PRICE is missing at the end"),
        ("# Rulebook 4\nbuy 1 5@100 slowly", "x.txt:2: no such option: 'slowly'"),
        ("# Rulebook 4\nbuy 1 5@100 =>", "x.txt:2: nothing after '=>'"),
        ("# Rulebook 4\n=> listed", "x.txt:2: '=>' goes on with the line above"),
        ("# Rulebook 4\nlist DEF\nempty", "x.txt:3: 'empty' must come first"),
        ("# Rulebook 4\norder 1", "x.txt:2: a question needs '=>' and its answer"),
        ("# Rulebook 4\ncancel 1 please", "x.txt:2: not understood: 'please'"),
        ("# Rulebook 4\nbuy 1 5@100 => 1 gets 5", "x.txt:2: no such event: '1 gets 5'"),
        ("# Rulebook 4\nbuy 1 5@100 => 1 buys 5@9 from 2", "x.txt:2: no order 2 was accepted"),
        ("# Rulebook 4\nbook => bids 5; asks none", "x.txt:2: not QUANTITY@PRICE/ORDERS: '5'"),
    ],
)
def test_a_mistake_in_a_scenario_is_reported_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match="^" + re.escape(message)):
        ScenarioRunner(Reference()).run(parse_scenario(text, "x.txt"))


@pytest.mark.parametrize(
    "line",
    [
        "buy 9 1@1 => 9 expired 1",
        "buy 9 1@1 => rejected INVALID_PRICE",
        "buy 9 1@1 => malformed",
        "buy 9 2@100",
        "buy 9 2@100 => 9 buys 2@101 from 1",
        "buy 9 2@100 => 9 buys 1@100 from 1; 9 buys 1@100 from 1",
        "buy 9 2@100 => 9 buys 2@100 from 1; 9 expired 0",
        "cancel 1 => refused TOO_LATE",
        "cancel 1 => 1 canceled 4 USER",
        "cancel 1 => 1 canceled 5 MASS_CANCEL",
        "mass-cancel 1 => 1 mass-canceled 1",
        "buy 9 1 => malformed quantity",
        "order 1 => NEW 4",
        "order 1 => FILLED",
        "book => bids none; asks 5@100/2",
        "resting => 2",
        "sequence => 1",
        "hash => empty",
    ],
)
def test_a_scenario_that_expects_the_wrong_thing_fails(line: str) -> None:
    text = f"# Rulebook 4\nsell 1 5@100\n{line}"
    with pytest.raises(ScenarioFailed, match=r"^x\.txt:3: "):
        ScenarioRunner(Reference()).run(parse_scenario(text, "x.txt"))
