"""Every sequence of commands over a small alphabet, sent to V1, V2's matcher and the reference.

Random tests find what happens often; this finds what happens at all, as long as it happens early.
The small-scope hypothesis (Jackson, "Software Abstractions", 2006) says that most mistakes do.

The walk is breadth first over *states* rather than sequences. Two sequences that leave all three
engines in the same state have the same future, so the second one is counted but not walked again.
What counts as the same state decides whether that is honest:

- of V1 and V2 it is everything that their objects hold, field by field, found by walking over the
  objects (`anatomy`), so that nothing hidden can be forgotten. Left out are the sequence number and
  the time, which engines only copy into events, and V1's lock.
- of the reference it is the same, but an order that has ended is its status: the reference asks for
  nothing else of it.

A state that was met before, after a sequence no longer than this one, has had its whole future
checked. The one symmetry that is used is in `Alphabet.commands`: participants are names, so the
first order is always participant 1's. Sides are not mirrored and prices not shifted: engines treat
those by different code.

At each step a fresh pair of engines replays the sequence so far, which is cheaper than copying
them; the reference is copied. A step takes about 60 microseconds of one processor of 2024.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from types import BuiltinMethodType
from typing import Any, NamedTuple

import msgspec

import v1_order_matching_engine as v1
from v1_order_matching_engine.utils import ndjson as v1_ndjson
from v2_event_driven_engine.cli import ndjson as v2_ndjson
from v2_event_driven_engine.engine.market.matcher import Matcher

from ..engines.adapters import v2_event
from ..engines.engine import Command, encode
from ..reference.input import parse_line
from ..reference.reference import LIFECYCLE, Reference

LISTING = {"command": "list_instrument", "symbol": "ABC", "tick_size": "0.01", "lot_size": "1"}
OURS = ("v1_order_matching_engine", "v2_event_driven_engine", "shared_tests")
Used = tuple[tuple[int, bool], ...]  # of every id used so far, in order: its owner; is it live?
Key = bytes


@dataclass(frozen=True)
class Alphabet:
    """What may be sent. Ids are given out in order: 1, 2, 3 ..."""

    prices: tuple[int, ...]
    sizes: tuple[int, ...]
    times_in_force: tuple[str, ...] = ("GTC", "IOC", "FOK")
    preventions: tuple[str, ...] = ("NONE", "CANCEL_TAKER", "CANCEL_MAKER", "CANCEL_BOTH")
    resting_preventions: tuple[str, ...] | None = (
        None  # of GTC, where they matter for replaces only
    )
    post_only: bool = True
    market: bool = True
    changes: bool = True  # cancel, reduce, replace, mass cancel, and an id used twice
    participants: tuple[int, ...] = (1, 2)

    def commands(self, used: Used) -> Iterator[Command]:
        """Yield every command that may come next."""
        participants = self.participants if used else self.participants[:1]
        new = len(used) + 1
        for participant, side in itertools.product(participants, ("BUY", "SELL")):
            order = {"command": "new", "order_id": new, "participant": participant}
            for terms in self._orders():
                yield {**order, "symbol": "ABC", "side": side, **terms}
        if self.changes:
            for order_id, (owner, live) in enumerate(used, 1):
                yield from self._changes(order_id, owner, live)
            yield from self._refusable(new, 1)
            for participant in participants:
                yield {"command": "mass_cancel", "participant": participant, "symbol": None}

    def _orders(self) -> Iterator[Command]:
        for time_in_force, size in itertools.product(self.times_in_force, self.sizes):
            waits = time_in_force == "GTC"
            for prevention in (waits and self.resting_preventions) or self.preventions:
                terms: dict[str, object] = {"quantity": size, "self_trade_prevention": prevention}
                terms |= {"time_in_force": time_in_force}
                for price in self.prices:
                    yield {"type": "LIMIT", "price": price, **terms}
                if self.market and not waits:
                    yield {"type": "MARKET", **terms}
        if self.post_only:  # it never takes, so its self-trade prevention never matters
            for size, price in itertools.product(self.sizes, self.prices):
                yield {"type": "LIMIT", "price": price, "quantity": size, "post_only": True}

    def _changes(self, order_id: int, owner: int, live: bool) -> Iterator[Command]:
        """Yield all that may be wanted of an order, and what is refused to others or too late."""
        again = {"symbol": "ABC", "side": "BUY", "type": "LIMIT", "price": self.prices[0]}
        ours = {"order_id": order_id, "participant": owner}
        yield {"command": "new", **ours, **again, "quantity": 1}
        for participant in self.participants:
            if participant != owner or not live:
                yield from self._refusable(order_id, participant)
        if not live:
            return
        yield {"command": "cancel", **ours}
        for size in self.sizes:
            yield {"command": "reduce", **ours, "by": size}
        for price, quantity in itertools.product((None, *self.prices), (None, *self.sizes)):
            if price is not None or quantity is not None:
                yield {"command": "replace", **ours, "price": price, "quantity": quantity}

    def _refusable(self, order_id: int, participant: int) -> Iterator[Command]:
        whose = {"order_id": order_id, "participant": participant}
        yield {"command": "cancel", **whose}
        yield {"command": "reduce", **whose, "by": 1}
        yield {"command": "replace", **whose, "price": self.prices[0], "quantity": None}


class Readings(NamedTuple):
    """One command as each of the three reads it."""

    v1: Any
    v2: Any
    reference: dict[str, Any]


@cache
def read(line: bytes) -> Readings:
    return Readings(v1_ndjson.parse(line), v2_ndjson.parse(line), parse_line(line))


@cache
def letters(alphabet: Alphabet, used: Used) -> tuple[bytes, ...]:
    return tuple(encode(command) for command in alphabet.commands(used))


@dataclass(frozen=True)
class Node:
    """A state, and one of the shortest sequences that lead to it."""

    lines: tuple[bytes, ...]
    reference: Reference

    def next_lines(self, alphabet: Alphabet) -> tuple[bytes, ...]:
        orders = self.reference.orders
        used = [orders[order_id] for order_id in sorted(orders)]
        return letters(alphabet, tuple((o.participant, o.status in LIFECYCLE) for o in used))


@dataclass(frozen=True)
class Exhausted:
    """How much was walked."""

    sequences: int  # every one of them, whether walked or known from another one
    steps: int  # commands executed on all three and compared
    states: int  # different ones from which the walk went on


def exhaust(
    alphabet: Alphabet, length: int, processes: int = 1, engine: Callable[[], Any] = Reference
) -> Exhausted:
    """Walk all sequences of up to `length` commands; AssertionError where the engines differ."""
    root = Node((), engine())
    root, root_key = step(root, encode(LISTING), keyed=True)
    graph: dict[Key, Counter[Key]] = {}
    sizes: dict[Key, int] = {}
    frontier = {root_key: root}
    for _ in range(length - 1):
        following: dict[Key, Node] = {}
        for key, node in frontier.items():
            graph[key] = Counter()
            for line in node.next_lines(alphabet):
                child, child_key = step(node, line, keyed=True)
                graph[key][child_key] += 1
                if child_key not in graph and child_key not in frontier:
                    following.setdefault(child_key, child)
            sizes[key] = graph[key].total()
        frontier = following
    sizes |= dict(zip(frontier, expand(frontier.values(), alphabet, processes), strict=True))
    steps, states = sum(sizes.values()), len(sizes)
    return Exhausted(count_sequences(root_key, length, graph, sizes), steps, states)


def expand(nodes: Any, alphabet: Alphabet, processes: int) -> list[int]:
    """Take the last step from each node; return how many there were."""
    nodes = list(nodes)
    if processes == 1:
        return [expand_last(node, alphabet) for node in nodes]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        return list(pool.map(expand_last, nodes, itertools.repeat(alphabet), chunksize=64))


def expand_last(node: Node, alphabet: Alphabet) -> int:
    lines = node.next_lines(alphabet)
    for line in lines:
        step(node, line)
    return len(lines)


def count_sequences(
    root: Key, length: int, graph: dict[Key, Counter[Key]], sizes: dict[Key, int]
) -> int:
    """Count the paths, by how many lead to each state."""
    total = 0
    ways: Counter[Key] = Counter({root: 1})
    for depth in range(length):
        total += sum(count * sizes[key] for key, count in ways.items())
        if depth < length - 1:
            following: Counter[Key] = Counter()
            for key, count in ways.items():
                for child, edges in graph[key].items():
                    following[child] += count * edges
            ways = following
    return total


def step(node: Node, line: bytes, *, keyed: bool = False) -> tuple[Node, Key]:
    """Send one more command to all three, compare all they show, and return where that leads."""
    one, two = replayed(node.lines)
    command = read(line)
    sequence = len(node.lines) + 1
    reference = copied(node.reference)
    expected = executed(reference, command.reference)
    assert ("v1", msgspec.to_builtins(one.submit(command.v1))) == ("v1", expected), (node, line)
    [events] = two.apply(sequence, sequence, [command.v2])
    answered = [v2_event(event) for event in events]
    assert ("v2", answered) == ("v2", expected), (node, line)
    state_hash = reference.state_hash()
    assert one.state_hash() == state_hash, (node, line)
    assert two.state_hash() == state_hash, (node, line)
    child = Node((*node.lines, line), reference)
    if not keyed:
        return child, b""
    for order_id in range(1, len(reference.orders) + 2):
        view = one.order(order_id)
        assert (view.status, view.remaining) == reference.order(order_id), (node, line)
        status, remaining = two.order(order_id)
        assert (status.name, remaining) == reference.order(order_id), (node, line)
    one.check_invariants()
    two.check_invariants()
    return child, key_of(one, two, reference)


def replayed(lines: Sequence[bytes]) -> tuple[v1.MatchingEngine, Matcher]:
    """Return both versions after some commands. Their clocks show the sequence."""
    one, two = v1.MatchingEngine(clock=itertools.count(1).__next__), Matcher()
    for sequence, line in enumerate(lines, 1):
        command = read(line)
        one.submit(command.v1)
        two.apply(sequence, sequence, [command.v2])
    return one, two


def executed(reference: Reference, command: dict[str, Any]) -> list[dict[str, Any]]:
    """As `Reference.execute_line`, for a command that has been read."""
    reference.commands += 1
    reference.events = []
    getattr(reference, "_" + command["command"])(command)
    return reference.events


def copied(reference: Reference) -> Reference:
    copy = type(reference)()
    copy.instruments = [*reference.instruments]
    copy.trades, copy.commands = reference.trades, reference.commands
    copy.orders = {order_id: replace(order) for order_id, order in reference.orders.items()}
    copy.resting = [copy.orders[order.order_id] for order in reference.resting]
    return copy


# -- When two states are the same -----------------------------------------------------------------


def key_of(one: v1.MatchingEngine, two: Matcher, reference: Reference) -> Key:
    """A name for the state of all three: equal only if everything in it is."""
    parts: list[object] = []
    seen: dict[int, int] = {}
    anatomy(one._matcher, parts, seen)
    kept = {name: value for name, value in vars(two).items() if name not in ("sequence", "_apply")}
    anatomy(kept, parts, seen)
    orders = {i: o if o.status in LIFECYCLE else o.status for i, o in reference.orders.items()}
    anatomy([orders, reference.resting, reference.instruments, reference.trades], parts, seen)
    return hashlib.sha256(repr(parts).encode()).digest()


def anatomy(value: Any, parts: list[object], seen: dict[int, int]) -> None:
    """Append all that an object holds, and what that holds, to `parts`.

    An object met before, and there are rings of them, is named by when it was met: so equal parts
    mean equal shapes, links included.
    """
    if value is None or isinstance(value, (bool, int, str, Enum)):
        parts.append(value)
        return
    if isinstance(value, bytearray):
        parts.append(bytes(value))
        return
    if isinstance(value, BuiltinMethodType):
        parts.append(value.__name__)
        anatomy(value.__self__, parts, seen)
        return
    if id(value) in seen:
        parts.append(("met", seen[id(value)]))
        return
    seen[id(value)] = len(seen)
    parts.append(type(value).__name__)
    if isinstance(value, dict):
        parts.append(len(value))
        for name, held in value.items():
            anatomy(name, parts, seen)
            anatomy(held, parts, seen)
    elif isinstance(value, (list, tuple)):
        parts.append(len(value))
        for held in value:
            anatomy(held, parts, seen)
    else:
        kind: Any = type(value)
        for name in fields_of(kind) or vars(value):
            anatomy(getattr(value, name), parts, seen)


@cache
def fields_of(kind: Any) -> tuple[str, ...]:
    """The names of a structure's or slotted object's fields; none for others."""
    assert kind.__module__.partition(".")[0] in OURS, f"{kind} holds what cannot be seen"
    for names in ("__struct_fields__", "__slots__"):
        if hasattr(kind, names):
            return tuple(getattr(kind, names))
    return ()
