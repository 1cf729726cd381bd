"""The checker itself, on histories made by hand, and against trying every order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeAlias

import pytest

from .linearizability import Model, Operation, linearization

Asked: TypeAlias = tuple[str, int]
Step: TypeAlias = Operation[Asked, int]
Sequential: TypeAlias = Model[Asked, int, Any]


class Register(Model[Asked, int, int]):
    """One number. `read` answers it, `write` answers what it writes, `add` the sum."""

    def initial(self) -> int:
        return 0

    def step(self, state: int, request: Asked, answer: int) -> int | None:
        kind, value = request
        after = {"read": state, "write": value, "add": state + value}[kind]
        return after if answer == after else None


class Queue(Model[Asked, int, tuple[int, ...]]):
    """First in, first out. `take` answers 0 if there is nothing."""

    def initial(self) -> tuple[int, ...]:
        return ()

    def step(self, state: tuple[int, ...], request: Asked, answer: int) -> tuple[int, ...] | None:
        kind, value = request
        if kind == "put":
            return (*state, value)
        head = state[0] if state else 0
        return state[1:] if answer == head else None


def read(answer: int, invoked: int, returned: int) -> Step:
    return Operation(1, ("read", 0), answer, invoked, returned)


def write(value: int, invoked: int, returned: int) -> Step:
    return Operation(2, ("write", value), value, invoked, returned)


def add(value: int, answer: int, invoked: int, returned: int) -> Step:
    return Operation(3, ("add", value), answer, invoked, returned)


def put(value: int, invoked: int, returned: int) -> Step:
    return Operation(1, ("put", value), value, invoked, returned)


def take(answer: int, invoked: int, returned: int) -> Step:
    return Operation(2, ("take", 0), answer, invoked, returned)


LINEARIZABLE: dict[str, tuple[Sequential, list[Step]]] = {
    "nothing happened": (Register(), []),
    "one after the other": (Register(), [write(1, 0, 1), read(1, 2, 3)]),
    "a read during a write sees the old value": (Register(), [write(1, 0, 3), read(0, 1, 2)]),
    "a read during a write sees the new value": (Register(), [write(1, 0, 3), read(1, 1, 2)]),
    "the old value, then the new one": (
        Register(), [write(1, 0, 5), read(0, 1, 2), read(1, 3, 4)]
    ),
    "writes that overlap may end either way": (
        Register(), [write(1, 0, 3), write(2, 1, 2), read(1, 4, 5)]
    ),
    "what was invoked later may come first": (
        Register(), [write(1, 0, 4), write(2, 1, 5), read(2, 2, 3), read(1, 6, 7)]
    ),
    "two additions, both counted": (Register(), [add(1, 2, 0, 3), add(1, 1, 1, 2)]),
    "an answer from an operation that has not returned": (Queue(), [put(7, 0, 3), take(7, 1, 2)]),
    "puts that overlap come out in either order": (
        Queue(), [put(1, 0, 2), put(2, 1, 3), take(2, 4, 5), take(1, 6, 7)]
    ),
}  # fmt: skip

NOT_LINEARIZABLE: dict[str, tuple[Sequential, list[Step]]] = {
    "a stale read": (Register(), [write(1, 0, 1), read(0, 2, 3)]),
    "a read of what was never written": (Register(), [write(1, 0, 3), read(2, 1, 2)]),
    "a read from the future": (Register(), [read(1, 0, 1), write(1, 2, 3)]),
    "the new value, then the old one": (
        Register(), [write(1, 0, 5), read(1, 1, 2), read(0, 3, 4)]
    ),
    "two readers see two writes in opposite orders": (
        Register(),
        [write(1, 0, 10), write(2, 1, 11), read(1, 2, 3), read(2, 4, 5), read(1, 6, 7)],
    ),
    "a lost update: both add to the same number": (
        Register(), [add(1, 1, 0, 3), add(1, 1, 1, 2)]
    ),
    "an update that is answered and then gone": (Register(), [add(1, 1, 0, 1), read(0, 2, 3)]),
    "reordered: the second comes out first": (
        Queue(), [put(1, 0, 1), put(2, 2, 3), take(2, 4, 5), take(1, 6, 7)]
    ),
    "taken twice": (Queue(), [put(1, 0, 1), take(1, 2, 4), take(1, 3, 5)]),
    "nothing there, although it had been put": (Queue(), [put(1, 0, 1), take(0, 2, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEARIZABLE)
def test_a_linearizable_history_is_accepted(name: str) -> None:
    model, history = LINEARIZABLE[name]
    order = linearization(history, model)
    assert order is not None
    assert explains(order, history, model)


@pytest.mark.parametrize("name", NOT_LINEARIZABLE)
def test_a_history_that_is_not_linearizable_is_refused(name: str) -> None:
    model, history = NOT_LINEARIZABLE[name]
    assert linearization(history, model) is None


def explains(order: Sequence[Step], history: Sequence[Step], model: Sequential) -> bool:
    """Whether the order is one of the history, respects real time and gives the answers."""
    if sorted(map(id, order)) != sorted(map(id, history)):
        return False
    if any(later.returned < one.invoked for one, later in itertools.combinations(order, 2)):
        return False
    state: object | None = model.initial()
    for operation in order:
        if state is None:
            return False
        state = model.step(state, operation.request, operation.answer)
    return state is not None


def random_history(random: Random) -> list[Step]:
    """Return up to five operations with intervals and answers that are as good as arbitrary."""
    count = random.randint(1, 5)
    times = random.sample(range(2 * count), 2 * count)
    history = []
    for client in range(count):
        invoked, returned = sorted(times[2 * client : 2 * client + 2])
        kind, value = random.choice(["read", "write", "add"]), random.choice([1, 2])
        answer = value if kind == "write" else random.choice([0, 1, 2, 3])
        history.append(Operation(client, (kind, value), answer, invoked, returned))
    return history


def test_the_search_agrees_with_trying_every_order() -> None:
    verdicts = []
    for seed in range(1500):
        history = random_history(Random(seed))
        order = linearization(history, Register())
        orders = itertools.permutations(history)
        possible = any(explains(each, history, Register()) for each in orders)
        assert (order is not None) == possible, f"seed {seed}"
        assert order is None or explains(order, history, Register()), f"seed {seed}"
        verdicts.append(possible)
    assert verdicts.count(True) >= 300
    assert verdicts.count(False) >= 300


def test_the_verdict_does_not_depend_on_how_the_history_is_listed() -> None:
    for seed in range(200):
        history = random_history(Random(seed))
        verdicts = {
            linearization(each, Register()) is None for each in itertools.permutations(history)
        }
        assert len(verdicts) == 1, f"seed {seed}"


class CountingRegister(Register):
    """Counts how often it is asked."""

    steps = 0

    def step(self, state: int, request: Asked, answer: int) -> int | None:
        self.steps += 1
        return super().step(state, request, answer)


def test_a_dead_end_is_looked_at_once() -> None:
    """Ten reads at once, then one that is wrong: 10! orders, but only 2^10 sets of reads."""
    history = [Operation(n, ("read", 0), 0, n, 30 + n) for n in range(10)]
    history.append(read(7, 50, 51))
    model = CountingRegister()
    assert linearization(history, model) is None
    assert model.steps <= 10 * 2**10


def test_operations_one_after_the_other_are_not_searched_at_all() -> None:
    history = [add(1, n + 1, 2 * n, 2 * n + 1) for n in range(200)]
    model = CountingRegister()
    assert linearization(history, model) == history
    assert model.steps == len(history)


def test_an_operation_must_return_after_it_was_invoked() -> None:
    with pytest.raises(AssertionError, match="returns after it was invoked"):
        replace(read(0, 1, 2), returned=1)
