"""Check every model and every planted mistake, and print what Spin found. Status 1: not as it is.

With `--publish` the tables and the picture of `docs/reference/models.md` are written too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from .check import MISTAKES, SETTINGS, ModelUnchecked, Outcome, Setting, check, missing, version
from .page import PICTURE, PICTURED, TABLE, picture, tables


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m shared_tests.models", description="Check the models in docs/models."
    )
    parser.add_argument("--only", metavar="WORD", default="", help="those with this in their name")
    parser.add_argument("--publish", action="store_true", help="write what the page shows")
    arguments = parser.parse_args()
    if problem := missing():
        print(f"the models cannot be checked: {problem}", file=sys.stderr)
        return 2
    chosen = [each for each in (*SETTINGS, *MISTAKES) if arguments.only in each.name]
    if not chosen or (arguments.publish and arguments.only):
        parser.error("nothing has this in its name" if not chosen else "--publish wants them all")

    outcomes: dict[Setting, Outcome] = {}
    wrong = 0
    for number, setting in enumerate(chosen, 1):
        try:
            with tempfile.TemporaryDirectory() as folder:
                beginning = f"{number}/{len(chosen)} {setting.name}"
                outcome = check(setting, Path(folder), progress_after(beginning))
        except ModelUnchecked as error:
            print(f"{setting.name}: {error}", file=sys.stderr)
            wrong += 1
            continue
        outcomes[setting] = outcome
        problem = "" if right(setting, outcome) else "  WRONG"
        wrong += bool(problem)
        print(f"{beginning}: {summary(outcome)}{problem}", flush=True)
        if problem or arguments.only:
            print(*(f"  {who}: {what}" for who, what in outcome.story), sep="\n")
    print(f"{sum(outcome.seconds for outcome in outcomes.values()):.0f} s of one processor")
    if arguments.publish and not wrong:
        TABLE.write_text(tables(outcomes, version(), os.cpu_count() or 1), encoding="utf-8")
        PICTURE.write_text(picture(outcomes[PICTURED]), encoding="utf-8")
        print(f"written: {TABLE} and {PICTURE}")
    return 1 if wrong else 0


def right(setting: Setting, outcome: Outcome) -> bool:
    """Whether every claim is kept, or a planted mistake breaks the one that it should."""
    return outcome.claim == setting.offends and not outcome.unreached


def summary(outcome: Outcome) -> str:
    what = f"{outcome.states:,} states, {outcome.megabytes} MB, {outcome.seconds:.1f} s"
    if outcome.claim:
        return f"{what}; {outcome.steps} steps break claim {outcome.claim}"
    unreached = "".join(f"; never reached: {each}" for each in outcome.unreached)
    return f"{what}; {outcome.depth:,} steps at most{unreached}"


def progress_after(beginning: str) -> Callable[[int], None] | None:
    """Shows the states so far, on a terminal only; the result is printed over it."""
    if not sys.stdout.isatty():
        return None
    return lambda states: print(f"\r{beginning}: {states:,} states", end="\r", flush=True)


if __name__ == "__main__":
    sys.exit(main())
