"""Differential tests: the versions and the reference answer random commands alike, event by event.

The rulebook promises more than equal outcomes: V1 and V2 fed the same commands give the same events
(timestamps aside) and the same state hash after *every* command (section 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given, settings

from ..reference.reference import Reference
from ..reference.strategies import SYMBOLS, command_sequences, random_commands
from .adapters import DURABLE, ENGINES, IN_MEMORY
from .engine import Command, Engine, Event, Malformed, encode, timeless

SYMBOLS_TO_LOOK_AT = (*SYMBOLS, "LATE", "NONE")


def answer(engine: Engine, command: Command) -> list[Event] | str:
    try:
        return timeless(engine.execute_line(encode(command)))
    except Malformed:
        return "malformed"


def assert_agreement(engines: dict[str, Engine], commands: list[Command], every: int = 1) -> None:
    """Feed all engines; compare every answer, the state after each `every`, and all of it at last.

    The first engine is the one that the others are compared with.
    """
    (_, first), *others = engines.items()
    for number, command in enumerate(commands):
        expected = answer(first, command)
        for name, engine in others:
            assert (name, answer(engine, command)) == (name, expected)
        if number % every == 0 or number == len(commands) - 1:
            expected_state = (first.state_hash(), first.sequence, first.resting_orders)
            for name, engine in others:
                state = (engine.state_hash(), engine.sequence, engine.resting_orders)
                assert (name, state) == (name, expected_state)
    for engine in engines.values():
        engine.check_invariants()
    for order_id in range(1, len(commands) + 2):
        for name, engine in others:
            assert (name, engine.order(order_id)) == (name, first.order(order_id))
    for symbol in SYMBOLS_TO_LOOK_AT:
        for depth in (1, 3, 1000):
            for name, engine in others:
                assert (name, engine.book(symbol, depth)) == (name, first.book(symbol, depth))


def fresh(stack: ExitStack, names: list[str], directory: Path) -> dict[str, Engine]:
    engines: dict[str, Engine] = {"reference": Reference()}
    for name in names:
        engines[name] = stack.enter_context(closing(ENGINES[name](directory)))
    return engines


@given(command_sequences())
def test_all_engines_agree_on_every_event_and_every_state(commands: list[Command]) -> None:
    with ExitStack() as stack:
        assert_agreement(fresh(stack, IN_MEMORY, Path()), commands)


@pytest.mark.parametrize("name", DURABLE)
def test_the_engine_with_its_log_on_disk_agrees_too(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    examples = max(2, settings().max_examples // 20)

    @settings(max_examples=examples)
    @given(command_sequences(20, 60))
    def agrees(commands: list[Command]) -> None:
        with ExitStack() as stack:
            directory = tmp_path_factory.mktemp("data")
            assert_agreement(fresh(stack, [name], directory), commands, every=10)

    agrees()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_engines_agree_over_a_long_session(seed: int) -> None:
    with ExitStack() as stack:
        commands: list[Command] = [*random_commands(seed, 4000)]
        assert_agreement(fresh(stack, IN_MEMORY, Path()), commands, every=5)


def kinds(commands: list[Command]) -> Iterator[str]:
    engine = Reference()
    for command in commands:
        events = answer(engine, command)
        if isinstance(events, str):
            yield events
        else:
            for event in events:
                yield event["event"] if "reason" not in event else event["reason"]


def test_the_random_sessions_are_dense() -> None:
    """Agreement on nothing would be easy: everything must happen, and often enough to matter."""
    seen = list(kinds([*random_commands(1, 4000)]))
    assert seen.count("trade_executed") >= 500
    assert seen.count("order_accepted") >= 1000
    for often in ("order_expired", "order_replaced", "order_reduced", "mass_canceled", "malformed"):
        assert seen.count(often) >= 50, often
    reasons = (
        "DUPLICATE_ORDER_ID INVALID_PRICE INVALID_QUANTITY INVALID_TIME_IN_FORCE USER NOT_OWNER"
    )
    reasons += " POST_ONLY_WOULD_TRADE SELF_TRADE TOO_LATE UNKNOWN_ORDER UNKNOWN_SYMBOL MASS_CANCEL"
    for reason in reasons.split():
        assert seen.count(reason) >= 25, reason
