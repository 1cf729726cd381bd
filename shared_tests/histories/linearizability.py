"""Is a concurrent history linearizable? A black-box checker for any sequential model.

An *operation* is one call by one client: what was asked, what was answered, and two points in time,
its invocation and its return. Operations of different clients may overlap.

A history is **linearizable** if one instant can be chosen inside each operation, between invocation
and return, so that doing the operations one at a time in the order of these instants gives the very
answers that were given. To the clients the object is then one that serves one at a time: an answer
never contradicts one that a client already has, and only operations that overlap may swap places.

::

    client 1   |----- write 1 -----|
    client 2            |- read 1 -|                   fine: write, then read
    client 3                          |- read 0 -|     refused: 0 was gone before this read began

The search is that of Wing and Gong, with Lowe's memory of the dead ends. What may come next is any
operation that began before all others that are still to come had returned; try one that the model
accepts, go on, and step back from a dead end. Two ways to do the same operations that lead to the
same state have the same future, so a (set of operations, state) is looked at once. Without that
memory the search takes factorial time; with it, time grows with the number of operations and only
with the number of clients exponentially.

What a verdict is worth: a refusal is proof that the object is wrong. An acceptance says that these
answers could have come from a sequential object, perhaps by luck, and nothing about histories that
did not happen. The checker knows times and answers and nothing else: in which order the object
itself claims to have served is not asked.

Simplification: every operation has returned. One that never does might take effect or not, at any
time after its invocation; the recorder of a history must not lose it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")
State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Operation(Generic[Request, Answer]):
    """One call that has returned. Invariant: `invoked < returned`, on the one clock of all clients.

    The clock need not measure anything; it must only put what happens in order. A counter does.
    """

    client: int
    request: Request
    answer: Answer
    invoked: int
    returned: int

    def __post_init__(self) -> None:
        assert self.invoked < self.returned, "an operation returns after it was invoked"


class Model(ABC, Generic[Request, Answer, State]):
    """The sequential object that the concurrent one claims to be.

    States are values: hashable, equal when they have the same future, never changed by a step.
    """

    @abstractmethod
    def initial(self) -> State:
        """The state in which every history begins."""

    @abstractmethod
    def step(self, state: State, request: Request, answer: Answer) -> State | None:
        """The state after the request, None if it would not have had this answer."""


def linearization(
    history: Iterable[Operation[Request, Answer]], model: Model[Request, Answer, State]
) -> list[Operation[Request, Answer]] | None:
    """The operations in an order that explains every answer, None if there is none.

    The recursion is as deep as the history is long: keep histories short, which also makes what is
    refused readable.

    >>> class Register(Model[str, int, int]):  # asked to "read" or to "write 3"
    ...     def initial(self):
    ...         return 0
    ...     def step(self, state, request, answer):
    ...         if request == "read":
    ...             return state if answer == state else None
    ...         return answer
    >>> write = Operation(1, "write 1", 1, invoked=1, returned=5)
    >>> early = Operation(2, "read", 0, invoked=2, returned=3)  # overlaps the write: 0 or 1 will do
    >>> late = Operation(2, "read", 0, invoked=6, returned=7)  # begins when the write has returned
    >>> [operation.request for operation in linearization([write, early], Register())]
    ['read', 'write 1']
    >>> linearization([write, late], Register()) is None
    True
    """
    operations = sorted(history, key=lambda operation: operation.returned)
    order: list[Operation[Request, Answer]] = []
    dead_ends: set[tuple[int, State]] = set()

    def extend(done: int, state: State) -> bool:
        """Go on after the operations whose bits are set in `done`; leave the way in `order`."""
        if len(order) == len(operations):
            return True
        if (done, state) in dead_ends:
            return False
        open_bits = [bit for bit in range(len(operations)) if not done >> bit & 1]
        first_return = operations[open_bits[0]].returned
        for bit in open_bits:
            operation = operations[bit]
            if operation.invoked < first_return:
                after = model.step(state, operation.request, operation.answer)
                if after is not None:
                    order.append(operation)
                    if extend(done | 1 << bit, after):
                        return True
                    order.pop()
        dead_ends.add((done, state))
        return False

    return order if extend(0, model.initial()) else None


def timeline(history: Sequence[Operation[Request, Answer]]) -> str:
    """Draw a history for a failure message: one operation a line, by invocation."""
    return "\n".join(
        f"[{operation.invoked:>4}, {operation.returned:>4}] client {operation.client}: "
        f"{operation.request} -> {operation.answer}"
        for operation in sorted(history, key=lambda operation: operation.invoked)
    )
