"""What the documentation shows of a run: two tables, the stories of the mistakes, a picture."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ..programs.program import ROOT
from .check import MISTAKES, SETTINGS, Outcome, Setting

TABLE = ROOT / "website" / "recorded" / "models.md"
PICTURE = ROOT / "docs" / "assets" / "pictures" / "zombie.svg"
PICTURED = MISTAKES[-1]

HEAD = """\
<!-- Written by `python -m shared_tests.models --publish`; changes by hand are lost. -->

One run of {version}, on a machine with {cores} cores that does other work too. The time is that of
the processor, without the compiler.

| model | states | longest run, steps | memory, MB | time, s |
|---|---|---|---|---|
"""
MISTAKES_HEAD = """
| planted mistake | states | shortest run, steps | breaks | time, s |
|---|---|---|---|---|
"""
STORY = """
??? example "{name} (`{model}.pml`, `{macro}`)"

    ``` {{.text .wrap}}
{lines}
    ```
"""


def row(setting: Setting, outcome: Outcome) -> str:
    """One line of a table; the header says what its columns are."""
    if setting.offends:
        return (
            f"| {setting.name} | {outcome.states:,} | {outcome.steps} | claim {outcome.claim} of "
            f"`{setting.model}.pml` | {outcome.seconds:.1f} |"
        )
    return (
        f"| {setting.name} | {outcome.states:,} | {outcome.depth:,} | {outcome.megabytes:,} | "
        f"{outcome.seconds:.1f} |"
    )


def tables(outcomes: Mapping[Setting, Outcome], version: str, cores: int) -> str:
    """What the page includes."""
    text = HEAD.format(version=version, cores=cores)
    text += "".join(f"{row(setting, outcomes[setting])}\n" for setting in SETTINGS)
    text += MISTAKES_HEAD
    text += "".join(f"{row(mistake, outcomes[mistake])}\n" for mistake in MISTAKES)
    for mistake in MISTAKES:
        story = outcomes[mistake].story
        width = max(len(who) for who, _ in story)
        lines = "\n".join(f"    {who:<{width}}  {what}" for who, what in story)
        name = mistake.name[0].upper() + mistake.name[1:]
        text += STORY.format(
            name=name, model=mistake.model, macro=mistake.macros[0], lines=lines
        )  # fmt: skip
    return text


# -- The picture: one line for each who takes part, one row for each thing that is done ---------

LANE = 22
ROW = 30
TOP = 44


def picture(outcome: Outcome) -> str:
    """The story of a broken claim as a drawing in the site's colours."""
    lanes = list(dict.fromkeys(who for who, _ in outcome.story))
    bottom = TOP + ROW * len(outcome.story)
    told = " ".join(f"{who}: {what}." for who, what in outcome.story)
    out = [
        f'<svg viewBox="0 0 480 {bottom + 12}" role="img" aria-labelledby="pic-zombie">'
        f'<title id="pic-zombie">{escape(told)} Claim {outcome.claim} is broken.</title>'
    ]
    for lane, who in enumerate(lanes):
        x = 12 + LANE * lane
        out.append(f'<path class="rule" d="M{x} {TOP - 20}V{bottom - 8}"/>')
        out.append(f'<text class="small soft" x="{x - 6}" y="{TOP - 28}">{_short(who)}</text>')
    text_at = 12 + LANE * len(lanes)
    last = len(outcome.story) - 1
    for number, (who, what) in enumerate(outcome.story):
        x, y = 12 + LANE * lanes.index(who), TOP + ROW * number
        bad = number == last
        if bad:
            width = 480 - text_at
            out.append(
                f'<rect class="badf" x="{text_at - 2}" y="{y - 17}" width="{width}" height="26" '
                f'rx="4"/>'
            )
        out.append(f'<path class="ink{"" if bad else " faint"}" d="M{x} {y - 4}H{text_at - 4}"/>')
        out.append(f'<circle class="dot" cx="{x}" cy="{y - 4}" r="5"/>')
        style = "small bad bold" if bad else "small"
        out.append(
            f'<text class="{style}" x="{text_at + 6}" y="{y}">{escape(who)} {escape(what)}</text>'
        )
    return "\n".join([*out, "</svg>"]) + "\n"


def _short(who: str) -> str:
    """A letter or a digit for the head of a line: R0, R1, Q."""
    word, _, number = who.partition(" ")
    return f"{word[0].upper()}{number}"
