"""A story of the shared scenarios, told to three engines: the reference, V1 and V2's matcher."""

import json
from collections.abc import Callable
from typing import Any

from shared_tests.engines.adapters import V1, V2Matcher
from shared_tests.engines.engine import Engine
from shared_tests.reference.reference import Reference
from shared_tests.scenarios.runner import ScenarioFailed, ScenarioRunner
from shared_tests.scenarios.scenario import ScenarioError, parse_scenario

ENGINES: dict[str, Callable[[], Engine]] = {"reference": Reference, "V1": V1, "V2": V2Matcher}


def verdicts(text: str) -> list[dict[str, Any]]:
    """What each engine makes of a story: whether every event is the expected one, else the first
    that is not.
    """
    if not text.lstrip().startswith("#"):
        text = f"# Rulebook 1. Typed in the page.\n{text}"
    try:
        story = parse_scenario(text, "line")
    except ScenarioError as error:
        return [{"engine": name, "ok": False, "problem": str(error)} for name in ENGINES]
    return [_verdict(name, make(), story) for name, make in ENGINES.items()]


def _verdict(name: str, engine: Engine, story: Any) -> dict[str, Any]:
    try:
        ScenarioRunner(engine).run(story)
    except (ScenarioFailed, ScenarioError) as failure:
        return {"engine": name, "ok": False, "problem": str(failure)}
    return {"engine": name, "ok": True, "problem": f"{len(story.steps)} steps as expected"}


def page_story(text: str) -> str:
    """The verdicts as JSON text."""
    return json.dumps(verdicts(text))
