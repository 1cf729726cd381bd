"""Histories of a simulated cluster. HISTORIES says how many; SEED repeats a single one."""

import os
from collections import Counter

import pytest

from .histories import History, live
from .world import FAULTS, Broken

PARTS = 8
HISTORIES = int(os.environ.get("HISTORIES", "240"))
SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else range(HISTORIES)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_invariant_is_broken_in_any_history(part: int) -> None:
    for seed in SEEDS[part::PARTS]:
        live(seed)


def test_all_that_may_go_wrong_does() -> None:
    met: Counter[str] = Counter()
    for seed in range(60):
        met += live(seed).world.met
    wanted = {
        "UNKNOWN append", "REFUSED append", "stored late", "stale leader", "no leader",
        "wrong lease", "lost message", "doubled message", "busy", "nobody there", "two actives",
        "snapshot", "empty start", "Fenced", *FAULTS, "checksum in LOG", "checksum in OUT",
        "barrier", *(f"replied {reply}" for reply in (
            "Answered", "Told", "Behind", "Refused", "WrongPartition", "Forgotten"
        )),
    }  # fmt: skip
    assert sorted(wanted - met.keys()) == []


def told(seed: int) -> tuple[object, ...]:
    history = History(seed)
    history.run()
    return (
        history.world.steps, history.world.now, history.cluster.log.messages,
        history.cluster.out.messages, sorted(history.judge.operations),
    )  # fmt: skip


def test_one_seed_is_one_history() -> None:
    assert told(11) == told(11)
    assert told(11) != told(12)


def test_what_a_history_breaks_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: History) -> None:
        raise Broken("an invariant")

    monkeypatch.setattr(History, "run", broken)
    with pytest.raises(Broken, match="SEED=5: an invariant"):
        live(5)
