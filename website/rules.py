"""The rulebook, rule by rule, each with the scenarios that show it: from `rules.txt`."""

import html
import re
from pathlib import Path
from typing import NamedTuple

RULES = Path(__file__).resolve().parent / "rules.txt"
PROJECT = RULES.parent.parent
STORIES = PROJECT / "shared_tests" / "scenarios" / "stories"


class Rule(NamedTuple):
    """One rule: a part of the rulebook's text, and what shows that it holds."""

    section: str
    text: str
    stories: tuple[str, ...]
    """Names of scenarios, without `.txt`."""
    tests: tuple[str, ...]
    """Paths of tests, where no scenario can show it."""


def read_rules() -> tuple[dict[str, str], list[Rule]]:
    """The titles of the sections by their numbers, and the rules in order."""
    titles: dict[str, str] = {}
    rules: list[Rule] = []
    section = ""
    text: list[str] = []
    stories: list[str] = []
    tests: list[str] = []

    def finish() -> None:
        if text:
            rules.append(Rule(section, " ".join(text), tuple(stories), tuple(tests)))
        for part in (text, stories, tests):
            part.clear()

    for line in RULES.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\[(\d)\] (.+)", line):
            finish()
            section = heading[1]
            titles[section] = heading[2]
        elif line.startswith("> "):
            if stories or tests:
                finish()
            text.append(line.removeprefix("> "))
        elif line.startswith("test "):
            tests.append(line.removeprefix("test "))
        elif line and not line.startswith("#"):
            stories.append(line)
    finish()
    return titles, rules


def page() -> str:
    """Every rule beside its cases, as part of a page."""
    titles, rules = read_rules()
    rows: list[str] = []
    section = ""
    for rule in rules:
        if rule.section != section:
            section = rule.section
            rows += [f"## {section}. {titles[section]}", ""]
        rows += ['<div class="rule">', f"<p>{_html(rule.text)}</p>", "<div>"]
        for story in rule.stories:
            path = (STORIES / f"{story}.txt").relative_to(PROJECT)
            rows += [
                f'<details class="case"><summary>{story[2:].replace("_", " ")}</summary>',
                '<div class="story">',
                "<pre>",
                f'--8<-- "{path}"',
                "</pre>",
                "</div>",
                "</details>",
            ]
        rows += [f"<p>No scenario; tested by <code>{test}</code>.</p>" for test in rule.tests]
        rows += ["</div>", "</div>", ""]
    return "\n".join(rows)


def _html(text: str) -> str:
    """The little Markdown that is in a rule."""
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
