"""The architecture map, and the pages with the source that it leads to.

Both follow from the files that are there, and V2's floors from the test that guards them. So
neither can name a file that is gone, or miss a new one: a test compares them with a new run.
"""

import html
from pathlib import Path
from typing import NamedTuple

from v2_event_driven_engine.tests import test_floors as floors

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("v2_event_driven_engine", "v1_order_matching_engine")
WIDTH = 480
CHARACTER, PADDING, BOX, GAP = 8.2, 12, 24, 6
"""Units of the picture: a character's width, the room in a box, its height, between two boxes."""


class Floor(NamedTuple):
    """Files that belong together: a box of the map and a page of source."""

    package: str
    name: str
    says: str
    files: tuple[str, ...]
    """Paths inside the package."""

    @property
    def page(self) -> str:
        """The page's name: `v2_market`."""
        return f"{self.package[:2]}_{self.name.replace(' ', '_')}"


V2_SAYS = {
    "main": "the program",
    "cli": "subcommands; no rule, no format of the log",
    "cluster": "the log on several machines; nodes, clients",
    "engine": "queue, writer, answers",
    "audit": "the trail for people; needed by nobody",
    "log": "the log, its bytes, recovery; knows no rule",
    "market": "the rules; no I/O, no clock, no thread",
    "errors": "what may be raised",
}
V1_PARTS = {
    "program": ("the program and what it is made of", ("main.py", "utils/")),
    "engine": ("the rules, and one lock around them", ("engine/", "concurrency/")),
    "nouns": ("commands, orders, errors", ("models/", "errors.py")),
}


def all_floors() -> list[Floor]:
    """Every floor of V2, the highest first, then the parts of V1."""
    v2 = [
        Floor(
            PACKAGES[0],
            floor,
            V2_SAYS[floor],
            tuple(name for name in floors.files() if floors.floor_of(name) == floor),
        )
        for floor in reversed(floors.FLOORS)
    ]
    package = PROJECT / PACKAGES[1]
    names = [path.relative_to(package).as_posix() for path in sorted(package.rglob("*.py"))]
    v1 = [
        Floor(package.name, part, says, tuple(n for n in names if n.startswith(places)))
        for part, (says, places) in V1_PARTS.items()
    ]
    return v2 + v1


def anchor(name: str) -> str:
    """The id of a file's heading on its page."""
    return name.removesuffix(".py").replace("/", "-")


def addresses() -> dict[str, str]:
    """For each file its address in the site."""
    return {
        f"{floor.package}/{name}": f"reference/source/{floor.page}/#{anchor(name)}"
        for floor in all_floors()
        for name in floor.files
    }


def pages() -> dict[str, str]:
    """The pages of source, by the name of their file."""
    return {f"{floor.page}.md": _page(floor) for floor in all_floors()}


def _page(floor: Floor) -> str:
    version = floor.package[:2].upper()
    rows = [
        "---",
        "search: { exclude: true }",
        "---",
        "",
        f"# {version}: {floor.name}",
        "",
        f"The files of `{floor.package}/` on this floor, as they are: {floor.says}.",
        "[The map](../map.md) shows all floors.",
        "",
    ]
    for name in floor.files:
        rows += [
            f"## `{name}` {{#{anchor(name)}}}",
            "",
            "`````` {.python}",
            f'--8<-- "{floor.package}/{name}"',
            "``````",
            "",
        ]
    return "\n".join(rows)


def drawing(package: str) -> str:
    """The map of one version: its floors as an SVG whose boxes are links."""
    parts: list[str] = []
    top = 0.0
    for floor in all_floors():
        if floor.package == package:
            drawn, height = _floor(floor, top)
            parts += drawn
            top += height + 8
    label = f"The files of {package}, floor by floor. Each box leads to its file."
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {top:.0f}" role="group" aria-label="{label}">',
            *parts,
            "</svg>",
            "",
        ]
    )


def _floor(floor: Floor, top: float) -> tuple[list[str], float]:
    """The drawing of a floor from `top` down, and its height."""
    boxes: list[str] = []
    left, row = 10.0, top + 30
    for name in floor.files:
        short = name.rpartition("/")[2].removesuffix(".py")
        if short == "__init__":
            continue
        width = len(short) * CHARACTER + PADDING
        if left + width > WIDTH - 8:
            left, row = 10.0, row + BOX + GAP
        boxes.append(
            f'<a href="../source/{floor.page}/#{anchor(name)}"><title>{html.escape(name)}</title>'
            f'<rect class="box" x="{left:.0f}" y="{row:.0f}" width="{width:.0f}" height="{BOX}"/>'
            f'<text class="mono mid" x="{left + width / 2:.0f}" y="{row + 16:.0f}">{short}</text>'
            "</a>"
        )
        left += width + GAP
    height = row + BOX + 10 - top
    size = f'width="{WIDTH - 2}" height="{height:.0f}"'
    ground = f'<rect class="frame" x="1" y="{top + 1:.0f}" {size}/>'
    name = (
        f'<text class="bold" x="10" y="{top + 20:.0f}">{floor.name}</text>'
        f'<text class="small soft" x="{24 + len(floor.name) * 8.6:.0f}" y="{top + 20:.0f}">'
        f"{html.escape(floor.says)}</text>"
    )
    return [ground, name, *boxes], height
