"""Docstrings of the source as Markdown: examples in a fence, lists after a blank line."""

import re
from typing import Any

import griffe

ITEM = re.compile(r"\s*(?:\d+\.|-) ")
SENTENCE = re.compile(r" {4}[^ :][^:]*")


class Markdown(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called once for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """The text with what Markdown needs, and reStructuredText does not.

    >>> print(as_markdown("Invariants\\n  1. one\\n  2. two"))
    Invariants
    <BLANKLINE>
    1. one
    2. two
    """
    lines: list[str] = []
    fenced = literal = raising = False
    for line in text.split("\n"):
        raising = line == "Raises:" or (raising and line.startswith("    "))
        if raising and SENTENCE.fullmatch(line):  # a remark on all of them, after their list
            lines += ["", line.strip()]
            continue
        if line.lstrip().startswith(">>>") and not fenced:
            lines += ["", "```pycon"]
            fenced = True
        elif fenced and not line.strip():
            lines.append("```")
            fenced = False
        before = lines[-1] if lines else ""
        if not fenced and ITEM.match(line):
            if before.strip() and not ITEM.match(before) and not before.startswith("   "):
                lines.append("")
            line = line.strip() if line.startswith("  ") and not literal else line  # noqa: PLW2901
        if line.rstrip().endswith("::") and not fenced:
            literal = True
            line = line.rstrip()[:-2] + ("" if line.strip() == "::" else ":")  # noqa: PLW2901
        lines.append(line)
    return "\n".join([*lines, "```"] if fenced else lines)
