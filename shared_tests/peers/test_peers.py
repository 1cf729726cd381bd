"""V1 and V2 against other people's engines, on limit orders and cancels.

    nox -s peers                           100,000 commands for every peer
    PEER_COMMANDS=1000000 nox -s peers     a million

A peer that is not installed is skipped, so the ordinary run of the tests leaves all of them out.
"""

from __future__ import annotations

import importlib.util
import os
from statistics import mean

import pytest

from benchmarks.peers.adapters import PEERS, SYMBOL
from benchmarks.peers.protocol import Command, Peer

from .flow import dense_flow
from .ours import OURS, Ours

COMMANDS = int(os.environ.get("PEER_COMMANDS", "100_000"))
FLOWS = 5
"""Each with its own seed, from an empty book; together they have `COMMANDS` commands."""


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(PEERS[name][0]) is not None


def compare(engines: dict[str, Peer], number: int, command: Command) -> None:
    """Carry out one command everywhere; fail unless all answers and best levels are equal."""
    answers = {name: engine.execute(command) for name, engine in engines.items()}
    first, *others = answers.values()
    assert others == [first] * len(others), f"command {number}, {command}: {answers}"
    if number % max(engine.looks_every for engine in engines.values()) == 0:
        bests = {name: engine.bests() for name, engine in engines.items()}
        best, *same = bests.values()
        assert same == [best] * len(same), f"after command {number}, {command}: {bests}"


@pytest.mark.parametrize("seed", range(1, FLOWS + 1))
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_the_same_fills_and_best_levels_as_both_versions(name: str, seed: int) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed, or not for this Python: nox -s peers")
    engines = {name: PEERS[name][1]()} | {ours: make() for ours, make in OURS.items()}
    for number, command in enumerate(dense_flow(COMMANDS // FLOWS, seed), start=1):
        compare(engines, number, command)
    for engine in engines.values():
        engine.close()


@pytest.mark.skipif(not any(map(is_installed, PEERS)), reason="no peer is installed")
def test_the_flows_are_dense_so_that_time_priority_decides_most_fills() -> None:
    engine = OURS["v1"]()
    assert isinstance(engine, Ours)
    fills = 0
    queue_lengths = []
    for command in dense_flow(20_000, seed=1):
        answer = engine.execute(command)
        if isinstance(answer, list):
            fills += len(answer)
        best = engine.version.book(SYMBOL, depth=1)
        queue_lengths += [orders for side in best.values() for _, _, orders in side]
    assert fills > 4_000
    assert mean(queue_lengths) > 20
