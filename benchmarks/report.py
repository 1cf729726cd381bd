"""From findings to a page: Markdown tables, plots as SVG, and the figures as JSON.

The same findings make the same bytes: the plots carry no date and no random ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from .findings import Plot, Point, Section, Series, Table, Target
from .peers.adapters import load

HEADER = """\
# Benchmarks

    {command}

made this page; it is not edited by hand. Its figures are in
[benchmarks.json](benchmarks.json), too.
{warning}
A figure is a median, followed by the smallest and the largest in parentheses; repetitions:
{repetitions}, unless a table says otherwise. What is compared was measured in turns, A, B, C, A, B,
C …, in one process, and a ratio is the median of the ratios of such turns. Each section was
measured in a process of its own.

{machine}

The disk of a virtual machine may answer a sync within some tens of microseconds; a disk of your own
may take a hundred times as long, and then everything that says "durable" looks different. Run it
there.

## Targets"""
QUICK = """
!!! warning "A quick run"

    Few operations and few repetitions: good for seeing that everything runs, and for nothing else.
"""


class Findings(msgspec.Struct, frozen=True):
    """All that one run found."""

    command: str
    quick: bool
    repetitions: int
    machine: dict[str, str]
    sections: list[Section]
    failed: list[str] = []
    """The benchmarks that ended with an error."""


def write(findings: Findings, folder: Path) -> Path:
    """Write `benchmarks.json`, `benchmarks.md` and `plots/`; return the page's path."""
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(findings), indent=1)
    (folder / "benchmarks.json").write_bytes(encoded + b"\n")
    drawn = {
        plot.name
        for section in findings.sections
        for plot in section.plots
        if _draw(plot, plots / f"{plot.name}.svg")
    }
    path = folder / "benchmarks.md"
    path.write_text(page(findings, drawn))
    return path


def page(findings: Findings, drawn: set[str]) -> str:
    """The whole page; `drawn` names the plots that are there."""
    machine = _grid(["machine", ""], [[key, text] for key, text in findings.machine.items()])
    parts = [
        HEADER.format(
            command=findings.command,
            warning=QUICK if findings.quick else "",
            repetitions=findings.repetitions,
            machine=machine,
        ),
        _targets([target for section in findings.sections for target in section.targets]),
    ]
    if findings.failed:
        parts.append(f"**Not measured**, as they failed: {', '.join(findings.failed)}.")
    for section in findings.sections:
        parts += [f"## {section.title}", section.text.strip()]
        parts += [_table(table) for table in section.tables]
        parts += [f"![{p.title}](plots/{p.name}.svg)" for p in section.plots if p.name in drawn]
        parts += section.notes
    return "\n\n".join(parts) + "\n"


def _targets(targets: Sequence[Target]) -> str:
    if not targets:
        return "None belongs to what was measured."
    rows = []
    for target in targets:
        figure = target.reason if target.measured is None else number(target.measured)
        bound = f"{'≥' if target.at_least else '≤'} {target.bound:g}"
        rows.append([target.figure, figure, bound, "yes" if target.met else "**missed**"])
    missed = [
        f"- Missed: {target.figure}. {target.obstacle}".rstrip()
        for target in targets
        if not target.met
    ]
    verdict = "\n".join(missed) or "All are met."
    return (
        "Ratios are to `matching-engine`, on the same operations, unless the line says "
        "otherwise.\n\n" + _grid(["figure", "measured", "target", "met?"], rows) + f"\n\n{verdict}"
    )


def _table(table: Table) -> str:
    notes = any(row.note for row in table.rows)
    head = ["", *table.columns, *([""] if notes else [])]
    rows = [
        [row.label, *map(number, row.cells), *([row.note] if notes else [])] for row in table.rows
    ]
    return f"### {table.title}\n\n{table.work}\n\n{_grid(head, rows)}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(cell: Series | str) -> str:
    """A cell as it is printed.

    >>> number(Series.of([1234.5, 1300.0, 1400.0])), number(Series.of([0.123]))
    ('1,300 (1,234 to 1,400)', '0.123')
    """
    if isinstance(cell, str):
        return cell
    middle = _round(cell.median)
    if cell.repetitions == 1:
        return middle
    return f"{middle} ({_round(cell.smallest)} to {_round(cell.largest)})"


def _round(value: float) -> str:
    """Three digits at least, and no more after the point than that takes."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def _draw(plot: Plot, path: Path) -> bool:
    """Draw the curves with the spread around them; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    load("matplotlib").use("svg")
    pyplot = load("matplotlib.pyplot")
    style: dict[str, Any] = {"svg.hashsalt": "benchmarks", "svg.fonttype": "none"}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        for name, points in plot.curves.items():
            _curve(axes, name, points)
        axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
        axes.set(xscale=plot.x_scale, yscale=plot.y_scale)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
    return True


def _curve(axes: Any, name: str, points: Sequence[Point]) -> None:
    places = [point.x for point in points]
    axes.plot(places, [point.y.median for point in points], marker="o", label=name)
    low = [point.y.smallest for point in points]
    axes.fill_between(places, low, [point.y.largest for point in points], alpha=0.2)
