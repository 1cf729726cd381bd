"""Time is given once, by the sequencer, and never goes back: max(previous, clock) (rulebook 2).

A clock is set back when an operator, a time server or a leap second wants it. The order of events
must not be in doubt because of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path

import pytest

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2

from .adapters import V1, V2Engine
from .engine import Engine

Clock = Callable[[], int]

WITH_A_CLOCK: dict[str, Callable[[Clock], Engine]] = {
    "v1": lambda clock: V1(v1.MatchingEngine(clock=clock)),
    "v2": lambda clock: V2Engine(v2.EventDrivenMatchingEngine.in_memory(clock=clock)),
}
MASS_CANCEL = {"command": "mass_cancel", "participant": 1, "symbol": None}


def ticking(*times: int) -> Clock:
    remaining: Iterator[int] = iter(times)
    return lambda: next(remaining)


@pytest.mark.parametrize("name", WITH_A_CLOCK)
def test_a_clock_that_is_set_back_does_not_set_events_back(name: str) -> None:
    times = [5, 7, 3, 7, 6, 8, 1, 9]
    with closing(WITH_A_CLOCK[name](ticking(*times))) as engine:
        stamped = [engine.execute(MASS_CANCEL)[0]["timestamp_ns"] for _ in times]
    assert stamped == [*accumulate(times, max)]


def test_a_clock_that_was_set_back_while_v2_was_down_does_not_set_events_back(
    tmp_path: Path,
) -> None:
    stamped = []
    for time in (1000, 400, 2000):
        log = v2.EventDrivenMatchingEngine.open(tmp_path, audit=False, clock=ticking(time, time))
        with closing(V2Engine(log)) as engine:
            stamped.append(engine.execute(MASS_CANCEL)[0]["timestamp_ns"])
    assert stamped == [1000, 1000, 2000]
