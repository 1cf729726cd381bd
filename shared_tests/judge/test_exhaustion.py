"""All sequences of commands up to a length, without exception: V1, V2 and the reference agree.

After each command the events are compared, and the state hash; how the walk saves work, and why
that is honest, is said in `exhaustion.py`. The numbers are part of the test: a walk that became
smaller, because an alphabet was changed or because states look more alike than they are, fails.

HYPOTHESIS_PROFILE=quick takes some ten seconds, ci two minutes, thorough as long as it takes; the
latter two use every processor.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ..scenarios.broken_rules import RULES, load_broken
from .exhaustion import Alphabet, Exhausted, exhaust

EVERYTHING = Alphabet((100, 101, 102), (1, 2))
"""Two participants, three prices, two sizes, every instruction and every change."""

QUEUES = Alphabet(
    (100, 101), (1, 2), ("GTC",), ("NONE",), post_only=False, market=False, participants=(1,)
)
"""Limit orders that join, move, shrink, trade and leave: price-time priority, deeper.

One participant is enough: who may not touch an order is EVERYTHING's business.
"""

QUEUES_OF_TWO = replace(QUEUES, participants=(1, 2))

PREVENTION = Alphabet(
    (100,), (1, 2), resting_preventions=("NONE",), post_only=False, market=False, changes=False
)
"""A mixed queue at one price, and every kind of taker: self-trade prevention and FOK, deeper."""

WALKS = {  # profile: what is walked, besides what shorter profiles walk, and how much that is
    "quick": [
        ("everything", EVERYTHING, 2, Exhausted(74_564, 24_520, 62)),
        ("queues", QUEUES, 4, Exhausted(168_588, 23_112, 631)),
        ("prevention", PREVENTION, 4, Exhausted(13_626_180, 33_804, 470)),
    ],
    "ci": [
        ("everything", EVERYTHING, 3, Exhausted(29_866_430, 2_254_287, 5_427)),
    ],
    "thorough": [
        ("queues", QUEUES, 5, Exhausted(5_204_188, 219_332, 5_018)),
        ("queues of two", QUEUES_OF_TWO, 5, Exhausted(28_636_092, 1_320_814, 19_288)),
        ("prevention", PREVENTION, 5, Exhausted(981_084_996, 288_540, 4_008)),
    ],
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
PROCESSES = 1 if PROFILE == "quick" else os.cpu_count() or 1
CHOSEN = [walk for profile in [*WALKS][: [*WALKS].index(PROFILE) + 1] for walk in WALKS[profile]]
pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("alphabet", "length", "expected"),
    [walk[1:] for walk in CHOSEN],
    ids=[f"{name}, up to {length} commands" for name, _, length, _ in CHOSEN],
)
def test_every_sequence_is_answered_alike(
    alphabet: Alphabet, length: int, expected: Exhausted
) -> None:
    assert exhaust(alphabet, length, PROCESSES) == expected


MISTAKES = {  # a mistake of `test_broken_rules.py`, and a walk that is long enough to meet it
    "an id may be used twice": (EVERYTHING, 2),
    "post-only may trade": (EVERYTHING, 2),
    "FOK is an IOC": (PREVENTION, 2),
    "the taker's price counts": (EVERYTHING, 2),
    "the youngest first": (QUEUES, 3),
    "a partly filled maker goes to the tail": (QUEUES, 4),
    "a reduce loses the place": (QUEUES, 4),
    "a replace of nothing keeps the place": (QUEUES, 4),
    "the maker's mode decides": (PREVENTION, 2),
    "own orders after the last lot are reached": (PREVENTION, 3),
    "FOK looks at own orders after the last lot": (PREVENTION, 3),
    "FOK under CANCEL_TAKER passes over own orders": (PREVENTION, 3),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_walk_meets_the_mistake_that(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [(piece, instead)] = [rule[1:] for rule in RULES if rule[0] == mistake]
    broken = load_broken("reference.py", piece, instead, monkeypatch)
    alphabet, length = MISTAKES[mistake]
    with pytest.raises((AssertionError, KeyError)):
        exhaust(alphabet, length, engine=broken)
