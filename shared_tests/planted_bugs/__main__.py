"""Hunt the planted bugs and write `docs/planted_bugs.md`. Exit status 1 if one got away."""

from __future__ import annotations

import argparse
import sys
import time

from .hunt import NO_BUG, hunt_all
from .page import PAGE, complaints, page
from .patch import read_bugs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shared_tests.planted_bugs")
    parser.add_argument("--only", metavar="NAME", default="", help="bugs with this in their name")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="how many at once")
    arguments = parser.parse_args()
    bugs = [bug for bug in read_bugs() if arguments.only in bug.name]
    if not bugs:
        parser.error(f"no bug has {arguments.only!r} in its name")

    started = time.monotonic()
    verdicts = []
    for verdict in hunt_all(bugs, arguments.jobs):
        verdicts.append(verdict)
        progress = f"{len(verdicts)}/{2 * len(bugs) + 2}"
        killed_by = verdict.killed_by.rpartition("::")[2] or "-"
        print(f"{progress:>8}  {verdict.version}  {verdict.bug}: {killed_by}", flush=True)
    print(f"{time.monotonic() - started:.0f} s")

    wrong = complaints(verdicts)
    fails_anyway = any(verdict.bug == NO_BUG and verdict.killed_by for verdict in verdicts)
    if not arguments.only and not fails_anyway:  # a test that fails anyway kills nothing
        PAGE.write_text(page(bugs, verdicts), encoding="utf-8")
        print(f"written: {PAGE}")
    for complaint in wrong:
        print(f"WRONG  {complaint}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
