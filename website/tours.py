"""The tours of both versions as recordings: real runs, with the moments at which each part came.

    python -m website.record tours

A run is as long and says such figures as the machine makes it, so only this command records anew; a
test compares what does not depend on the machine. `NAME.json` is for the player of the page,
`NAME.txt` the same as plain text.
"""

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TOURS = PROJECT / "docs" / "assets" / "tours"
COMMANDS = {
    "v1": "python v1_order_matching_engine/main.py",
    "v2": "python v2_event_driven_engine/main.py",
}
COLUMNS = 66
"""Narrow enough for a phone, wide enough for every table of a tour."""
QUIET_SECONDS = 0.05
"""What comes within this time is one moment."""
STYLE = re.compile(r"\x1b\[([\d;]*)m")
STYLES = {"1": "bold", "31": "ask", "91": "ask", "32": "good", "92": "good"}
"""What is kept of a terminal's styles, by the name that the page has for it."""

Run = tuple[str, str]
"""A style, or nothing, and the text that has it."""


def record(name: str) -> None:
    """Run a tour, and write down what it says and when."""
    moments = _run(COMMANDS[name])
    shown = [(milliseconds, _runs(text)) for milliseconds, text in moments]
    TOURS.mkdir(exist_ok=True)
    content = {"command": COMMANDS[name], "columns": COLUMNS, "moments": shown}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace(",[[", ",\n[[")
    (TOURS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (TOURS / f"{name}.txt").write_text(plain(shown), encoding="utf-8")


def plain(moments: list[tuple[int, list[Run]]]) -> str:
    """A recording as text."""
    whole = "".join(text for _, runs in moments for _, text in runs)
    return "\n".join(line.rstrip() for line in whole.splitlines()) + "\n"


def _run(command: str) -> list[tuple[int, str]]:
    """What a command prints, in moments: milliseconds from its start, and text."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    words = [sys.executable, *command.split()[1:]]
    began = time.monotonic()
    moments: list[tuple[int, bytes]] = []
    with subprocess.Popen(
        words, cwd=PROJECT, env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        quiet = True
        while True:
            if not select.select([descriptor], [], [], QUIET_SECONDS)[0]:
                quiet = True
                continue
            piece = os.read(descriptor, 65_536)
            if not piece:
                break
            if quiet:
                moments.append((round((time.monotonic() - began) * 1000), b""))
            moments[-1] = (moments[-1][0], moments[-1][1] + piece)
            quiet = False
    if process.returncode != 0:
        raise RuntimeError(f"{command}: exit status {process.returncode}")
    return [(milliseconds, piece.decode()) for milliseconds, piece in moments]


def _runs(text: str) -> list[Run]:
    """Text with the escapes of a terminal, as runs of one style."""
    runs: list[Run] = []
    style = ""
    for index, part in enumerate(STYLE.split(text)):
        if index % 2:
            style = " ".join(STYLES[code] for code in part.split(";") if code in STYLES)
        elif part:
            runs.append((style, part))
    return runs


def main() -> None:
    """Record both tours."""
    for name in COMMANDS:
        record(name)
