"""Charts and sentences with the figures of docs/benchmarks.json, in the colours of the pages.

A chart is horizontal bars: the median, a line from the smallest to the largest repetition, and the
median as text. Nothing is rounded to look better.
"""

import html
import json
import re
from pathlib import Path
from typing import NamedTuple

BENCHMARKS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.json"
LEFT, RIGHT, ROW = 216, 404, 25
"""Where bars begin and end, and the height of a row, in units of the picture (480 wide)."""


class Bar(NamedTuple):
    """One row: medians and extremes in the unit of the chart."""

    label: str
    median: float
    smallest: float
    largest: float


class Chart(NamedTuple):
    """What is drawn: rows of one table, by the beginning of their labels."""

    name: str
    section: str
    table: str
    column: int
    caption: str
    rows: tuple[str, ...] = ("",)


CHARTS = (
    Chart(
        "matching", "Matching in memory", "Matching: synthetic", 0,
        "Operations a second on one symbol, in memory, events included. The engines do not do the "
        "same work: the page of tables says what each reports.",
    ),
    Chart(
        "producers", "Threads", "Producers", 0,
        "Commands a second, in memory, by the number of threads; V2's have many commands on their "
        "way. V1 loses by switching; V2's producers do not wait for each other.",
        ("V1, threads", "V2 in memory, many"),
    ),
    Chart(
        "batches", "Threads", "V2 durable, by commands a batch", 0,
        "Commands a second with a synced log, by the most commands that may share a sync.",
    ),
    Chart(
        "convoy", "Threads", "V2 durable, beside threads that compute", 0,
        "Microseconds from submit to the durable answer, one order at a time, beside threads that "
        "compute.",
    ),
    Chart(
        "durable", "Durable", "The writer's work alone", 0,
        "Operations a second of the writer's work with a synced log.",
    ),
    Chart(
        "replay", "Recovery", "Replay", 0,
        "Seconds to rebuild the state: by replay of the whole log, and from a "
        "snapshot at nine tenths of it.",
    ),
)  # fmt: skip
"""The charts of the site; each is in `website/recorded/chart_NAME.html`."""


def cells(section: str, table: str, column: int) -> dict[str, Bar]:
    """The figures of one column, by label."""
    report = json.loads(BENCHMARKS.read_text(encoding="utf-8"))
    [found] = [
        candidate
        for part in report["sections"]
        if part["title"] == section
        for candidate in part["tables"]
        if candidate["title"] == table
    ]
    return {
        row["label"]: Bar(
            row["label"], *(row["cells"][column][key] for key in ("median", "smallest", "largest"))
        )
        for row in found["rows"]
        if isinstance(row["cells"][column], dict)
    }


def figure(chart: Chart) -> str:
    """The chart as a figure of a page: a picture, its text alternative, and a caption."""
    bars = [
        bar
        for label, bar in cells(chart.section, chart.table, chart.column).items()
        if label.startswith(chart.rows)
    ]
    longest = max(bar.largest for bar in bars)
    height = ROW * len(bars) + 4
    said = "; ".join(f"{bar.label}: {_text(bar.median)}" for bar in bars)
    drawn = [_row(bar, number, longest) for number, bar in enumerate(bars)]
    return "\n".join(
        [
            '<figure class="pic chart">',
            f'<svg viewBox="0 0 480 {height}" role="img" aria-labelledby="chart-{chart.name}">',
            f'<title id="chart-{chart.name}">{html.escape(f"{chart.caption} {said}")}</title>',
            *drawn,
            "</svg>",
            f"<figcaption>{html.escape(chart.caption)}</figcaption>",
            "</figure>",
            "",
        ]
    )


def _row(bar: Bar, number: int, longest: float) -> str:
    top = ROW * number + 3
    middle = top + 9
    scale = (RIGHT - LEFT) / longest
    kind = "askf" if bar.label.startswith("V1") else "bidf"
    if not bar.label.startswith(("V1", "V2", "at most", "busy")):
        kind = "box"
    low, high = LEFT + bar.smallest * scale, LEFT + bar.largest * scale
    label = html.escape(_short(bar.label))
    return (
        f'<text class="small end" x="{LEFT - 8}" y="{middle + 4}">{label}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{bar.median * scale:.1f}" height="18"/>'
        f'<path class="ink" d="M{low:.1f} {middle}H{high:.1f}"/>'
        f'<text class="small" x="{max(high, LEFT) + 6:.1f}" y="{middle + 4}">'
        f"{_text(bar.median)}</text>"
    )


def _short(label: str) -> str:
    """A label that fits beside its bar."""
    label = label.replace("engine in memory, submit_many", "engine, submit_many")
    label = label.replace("from the first command", "whole log")
    label = label.replace("from a snapshot at nine tenths", "snapshot")
    label = re.sub(r"^(V\d).*, threads: (\d+)$", r"\1, threads: \2", label)
    return re.sub(r"^busy threads: (\d), switch interval", r"\1 busy, switch", label)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def sentences() -> dict[str, str]:
    """Parts of pages that name figures, by the name of their file."""
    rate = cells("Threads", "Producers", 0)
    wait = cells("Threads", "Producers", 1)
    one, two, many = (rate[f"V1, threads: {n}"].median for n in (1, 2, 16))
    lone, own = wait["V2 in memory, waiting, threads: 1"].median, wait["V1, threads: 1"].median
    return {
        "findings.md": findings(),
        "threads_question.md": (
            f"V1 handles {_thousands(one)} commands a second from one thread on the machine\n"
            "of the [benchmarks](../benchmarks.md#producers). How many from two threads?\n"
        ),
        "threads_answer.md": (
            f"{_thousands(two).capitalize()}. A thread is interrupted while it holds the\n"
            "lock, and the other must wait until it runs again. From sixteen threads it was\n"
            f"{_thousands(many)}.\n"
        ),
        "waiting.md": (
            "A producer that waits for each answer before it sends the next command must be\n"
            f"woken by another thread every time: {lone:.0f} µs in memory, where V1 needs\n"
            f"{own:.0f}. V2 is for those who send many commands before they wait.\n"
        ),
    }


def findings() -> str:
    """What the charts say, in sentences with the figures of the run."""
    memory = cells("Matching in memory", "Matching: synthetic", 0)
    threads = cells("Threads", "Producers", 0)
    log = cells("Durable", "The writer's work alone", 0)
    convoy = cells("Threads", "V2 durable, beside threads that compute", 0)
    replay = cells("Recovery", "Replay", 0)

    def times(figures: dict[str, Bar], label: str, other: str) -> str:
        return f"{figures[label].median / figures[other].median:.1f} times"

    def wait(busy: int, interval: str) -> str:
        label = f"busy threads: {busy}, switch interval {interval} ms"
        return f"{convoy[label].median:,.0f}"

    many, one = "V2 in memory, many on their way, threads:", "V1, threads: 1"
    whole, snapshot = "V2, from the first command", "V2, from a snapshot at nine tenths"
    batch = "V2, audit on, batch"
    sentences = (
        f"V2's matcher alone does {times(memory, 'V2, matcher alone', 'V1')} as many operations a "
        "second as V1; with everything around it, and one producer, "
        f"{times(memory, 'V2, engine in memory', 'V1')}.",
        f"A second thread takes V1 from {_thousands(threads[one].median)} to "
        f"{_thousands(threads['V1, threads: 2'].median)} commands a second.",
        f"V2 with one producer does {times(threads, f'{many} 1', one)} what V1 does with one "
        f"thread; with four, {times(threads, f'{many} 4', one)}.",
        "With one sync for up to 1,024 commands the writer's work is "
        f"{times(log, f'{batch} 1,024', f'{batch} 1')} as fast as with a sync for each.",
        f"Beside one thread that computes, a durable answer takes {wait(1, '5')} µs instead of "
        f"{wait(0, '5')}; with a switch interval of 0.5 ms, {wait(1, '0.5')} µs.",
        "From a snapshot at nine tenths of the log, recovery is "
        f"{times(replay, whole, snapshot)} as fast.",
    )
    return "".join(f"- {sentence}\n" for sentence in sentences)


def _thousands(value: float) -> str:
    return f"about {round(value, -3):,.0f}"
