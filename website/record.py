"""The sessions that pages show until a reader starts the engine, and where there is none.

    python -m website.record            all that is the same in each run
    python -m website.record tours      the tours of both versions, as they run on this machine

For each `<div class="engine" id="…">` of docs/ the lines in its <pre> are run, and their frames are
written to docs/assets/recorded/. A test compares the files with a new run.
"""

import html
import json
import re
import sys
from pathlib import Path

from . import charts, rules, sources, tours
from .log_map import BATCH_FIELDS, SEGMENT_FIELDS, Field, texts
from .session import Session

DOCS = Path(__file__).resolve().parent.parent / "docs"
GENERATED = Path(__file__).resolve().parent / "recorded"
"""Parts of pages, which the pages include."""
RECORDED = DOCS / "assets" / "recorded"
SOURCE_PAGES = DOCS / "reference" / "source"
TEXTS = "texts.json"
"""What the fields of the log are for, once for all engines."""
SOURCES = "sources.json"
"""Where in the site the source of a file is."""
ENGINE = re.compile(r'<div class="engine"([^>]*)>\s*<pre>(.*?)</pre>', re.DOTALL)


def recordings() -> dict[str, str]:
    """For each engine on a page, the name of its file and what belongs in it.

    Raises:
        ValueError: an engine has no id, or that of another one.
    """
    found = {
        TEXTS: json.dumps(texts(), indent=1) + "\n",
        SOURCES: json.dumps(sources.addresses(), indent=1) + "\n",
    }
    for page in sorted(DOCS.rglob("*.md")):
        for attributes, script in ENGINE.findall(page.read_text(encoding="utf-8")):
            name = re.search(r'id="([a-z0-9-]+)"', attributes)
            if name is None or f"{name[1]}.json" in found:
                raise ValueError(f"{page}: an engine needs an id of its own")
            shown = re.search(r'data-show="([a-z ]*)"', attributes)
            parts = shown[1].split() if shown else ["book"]
            found[f"{name[1]}.json"] = _recorded(html.unescape(script), parts)
    return found


def _recorded(script: str, parts: list[str]) -> str:
    session = Session()
    frames = [session.frame(), *session.run(script)]
    for frame in frames:
        for part in ("log", "audit"):
            if part not in parts:
                del frame[part]
    return json.dumps(frames, separators=(",", ":")) + "\n"


def generated() -> dict[str, str]:
    """The parts of pages, by the name of their file."""
    drawn = {f"chart_{chart.name}.html": charts.figure(chart) for chart in charts.CHARTS}
    maps = {f"map_{name[:2]}.svg": sources.drawing(name) for name in sources.PACKAGES}
    parts = {"log_fields.md": _log_fields(), "rules.md": rules.page(), **maps}
    return {**parts, **drawn, **charts.sentences()}


def _log_fields() -> str:
    segment, batch = _table(SEGMENT_FIELDS), _table(BATCH_FIELDS)
    rows = ["## Segment header", "", *segment, "", "## Batch header", "", *batch, ""]
    return "\n".join(rows)


def _table(fields: tuple[Field, ...]) -> list[str]:
    rows = ["| at | bytes | field | says | against |", "|---|---|---|---|---|"]
    at = 0
    for field in fields:
        rows.append(f"| {at} | {field.size} | {field.name} | {field.says} | {field.against} |")
        at += field.size
    return rows


def main() -> None:
    """Write the files, and remove those of engines that are gone."""
    for name, text in generated().items():
        (GENERATED / name).write_text(text, encoding="utf-8")
    for folder, pattern, wanted in (
        (RECORDED, "*.json", recordings()),
        (SOURCE_PAGES, "*.md", sources.pages()),
    ):
        folder.mkdir(exist_ok=True)
        for file in folder.glob(pattern):
            if file.name not in wanted:
                file.unlink()
        for name, text in wanted.items():
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["tours"]:
        tours.main()
    else:
        main()
