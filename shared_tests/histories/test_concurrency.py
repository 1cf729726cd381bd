"""Many real threads at V1 and V2: every history is linearizable, in the engine's own order too.

Random scripts of a few clients are played again and again; each history must satisfy both judges
of `judges.py`. Longer runs, with the log on disk too, must satisfy the witness.

The number of short histories grows with HYPOTHESIS_PROFILE, as everything random here does. A seed
gives the same scripts again but not the same interleaving, so a failure prints the whole history.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2

from ..engines.adapters import V1, V2Engine
from .histories import Call, Desk, perform
from .judges import black_box_objection, witness_objection
from .linearizability import timeline
from .plays import long_play, short_play

pytestmark = pytest.mark.usefixtures("short_turns")

HISTORIES = 5 * settings().max_examples
CLIENTS, COMMANDS = 8, 2000  # of the long runs


def yielding_clock() -> int:
    """Give the time, and let the other threads go first: they find the engine in mid-command."""
    time.sleep(0)
    return time.time_ns()


CLOCKS: list[Callable[[], int]] = [time.time_ns, yielding_clock]


def v1_history(seed: int) -> list[Call]:
    return perform(short_play(seed), Desk(V1(v1.MatchingEngine(CLOCKS[seed % 2]))))


def v2_history(seed: int) -> list[Call]:
    max_batch = [1, 2, 1024][seed % 3]
    engine = v2.EventDrivenMatchingEngine.in_memory(clock=CLOCKS[seed % 2], max_batch=max_batch)
    with closing(engine):
        return perform(short_play(seed), Desk(V2Engine(engine)))


def overlaps(history: list[Call]) -> int:
    """Count the operations that another one has begun within."""
    return sum(
        any(one.invoked < other.invoked < one.returned for other in history) for one in history
    )


@pytest.mark.parametrize("history_of", [v1_history, v2_history])
def test_every_short_history_is_linearizable(history_of: Callable[[int], list[Call]]) -> None:
    overlapping = 0
    for seed in range(HISTORIES):
        history = history_of(seed)
        for objection in (witness_objection(history), black_box_objection(history)):
            assert objection is None, f"seed {seed}: {objection}\n{timeline(history)}"
        overlapping += overlaps(history)
    assert overlapping >= HISTORIES, "the clients hardly met: these histories prove nothing"


def test_the_short_histories_are_dense() -> None:
    """Requests that have nothing to do with each other may swap places unnoticed."""
    seen: list[str] = []
    for seed in range(100):
        for call in v1_history(seed):
            assert isinstance(call.answer, list | dict)
            events = call.answer if isinstance(call.answer, list) else [call.answer]
            seen += [event.get("reason") or event["event"] for event in events]
    for often, least in {
        "trade_executed": 100,
        "order_replaced": 40,
        "order_reduced": 20,
        "USER": 40,
        "TOO_LATE": 100,
        "DUPLICATE_ORDER_ID": 50,
        "MASS_CANCEL": 10,
        "book": 200,
    }.items():
        assert seen.count(often) >= least, often


def test_a_long_run_of_v1_is_explained_by_its_sequences_and_by_its_own_replay() -> None:
    engine = v1.MatchingEngine(yielding_clock, record=True)
    version = V1(engine)
    history = perform(long_play(1, CLIENTS, COMMANDS), Desk(version))
    assert witness_objection(history) is None
    engine.check_invariants()

    replayed, events = v1.replay(engine.history)
    assert replayed.state() == engine.state()
    shown = [version.shown(each) for each in events]
    commands = [call.answer for call in history if "command" in call.request]
    assert sorted(commands, key=lambda answer: answer[0]["sequence"]) == shown  # type: ignore[index]


def long_run_of_v2(engine: v2.EventDrivenMatchingEngine, in_flight: int) -> tuple[int, int, str]:
    """Let clients have several commands in flight, so that batches are large; check the witness."""
    with closing(engine):
        history = perform(long_play(2, CLIENTS, COMMANDS), Desk(V2Engine(engine)), in_flight)
        state = engine.state()
    assert witness_objection(history) is None
    assert state[0] == 1 + CLIENTS * COMMANDS
    return state


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_long_run_of_v2_in_memory_is_explained_by_its_sequences(in_flight: int) -> None:
    long_run_of_v2(v2.EventDrivenMatchingEngine.in_memory(), in_flight)


def test_a_long_run_of_v2_on_disk_is_explained_by_its_sequences_and_recovered(
    tmp_path: Path,
) -> None:
    state = long_run_of_v2(v2.EventDrivenMatchingEngine.open(tmp_path / "data", audit=False), 8)
    with v2.EventDrivenMatchingEngine.open(tmp_path / "data", audit=False) as recovered:
        assert recovered.state() == state
