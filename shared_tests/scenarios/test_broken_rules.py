"""The scenarios under test: break a rule of the reference, and some scenario must notice."""

from __future__ import annotations

import pytest

from ..engines.engine import Engine
from .broken_rules import EDGE, RULES, SCENARIOS, load_broken
from .runner import ScenarioRunner
from .scenario import Scenario

pytestmark = pytest.mark.once


def first_complaint(engine: type[Engine], scenarios: list[Scenario]) -> str | None:
    for scenario in scenarios:
        try:
            ScenarioRunner(engine()).run(scenario)
        except Exception as error:  # a broken engine may fail in any way
            return f"{scenario.name}: {error}"
    return None


@pytest.mark.parametrize(("mistake", "piece", "instead"), RULES, ids=[rule[0] for rule in RULES])
def test_a_broken_rule_fails_a_scenario(
    mistake: str, piece: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = load_broken("reference.py", piece, instead, monkeypatch)
    assert first_complaint(broken, SCENARIOS), f"no scenario notices that {mistake}"


@pytest.mark.parametrize(("mistake", "piece", "instead"), EDGE, ids=[rule[0] for rule in EDGE])
def test_a_broken_edge_fails_a_scenario(
    mistake: str, piece: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = load_broken("input.py", piece, instead, monkeypatch)
    assert first_complaint(broken, SCENARIOS), f"no scenario notices that {mistake}"


def test_an_unbroken_reference_passes_every_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_broken("reference.py", "class Reference(", "class Reference(", monkeypatch)
    assert first_complaint(whole, SCENARIOS) is None
