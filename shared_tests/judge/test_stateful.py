"""Long dialogues that Hypothesis makes up as it goes: commands, queries, and for V2 catastrophes.

A machine has rules, each a step that may be taken at any time, and invariants that are checked
after each step. The reference is the model: it gets the same and must always answer the same.
What the machines add to sequences of commands that are drawn in advance (`test_agreement.py`) is
that a step may be anything, at any place: a question, a malformed line, and where there is a log, a
kill, a power failure in the middle of a write, a snapshot, a look at the past. If something fails,
Hypothesis prints the shortest dialogue that it finds, as a program.
"""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import v2_event_driven_engine as v2
from v2_event_driven_engine.cli import ndjson as v2_ndjson
from v2_event_driven_engine.engine.log.recovery import earliest_start, follow, newest_start
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.log.storage import DirectoryStorage, Storage
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.tests.logs import (
    open_log,
    process,
    recover,
    replay,
    sequencer_on,
    take_snapshot,
)
from v2_event_driven_engine.tests.simulated_disk import PowerFailure, SimulatedDisk

from ..engines.adapters import V1, V2Engine, V2Matcher, v2_event
from ..engines.engine import MAX, Command, Engine, Event, Malformed, encode, timeless
from ..reference.reference import Reference
from .judge import Judged

SYMBOLS = ("ABC", "DEF")
SEGMENT_BYTES = 4096  # small, so that a dialogue fills more than one

symbols = st.sampled_from([SYMBOLS[0]] * 8 + [SYMBOLS[1]] * 3 + ["NONE"])
participants = st.sampled_from([1, 2, 3])
sides = st.sampled_from(["BUY", "SELL"])
prices = st.sampled_from([*range(98, 103)] * 6 + [0, 1, MAX])
sizes = st.sampled_from([*range(1, 7)] * 4 + [0, MAX])
preventions = st.sampled_from(["NONE", "NONE", "CANCEL_TAKER", "CANCEL_MAKER", "CANCEL_BOTH"])
choices = st.integers(0, MAX)  # which of so many
seldom = st.integers(0, 9).map(lambda number: number == 9)
orders = st.fixed_dictionaries(
    {
        "participant": participants,
        "symbol": symbols,
        "side": sides,
        "quantity": sizes,
        "self_trade_prevention": preventions,
    }
)
batches = st.lists(st.tuples(sides, prices, sizes), max_size=8)
seeds = st.integers(0, 2**32 - 1)


class Market(RuleBasedStateMachine):
    """The rules that every machine has: what one may say to any engine."""

    ids: Bundle[int] = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.model = Reference()
        self.history: list[Command] = []
        self.hashes = [self.model.state_hash()]  # after 0, 1, 2 ... commands
        self.next_id = itertools.count(1)

    @abstractmethod
    def execute(self, commands: list[Command]) -> list[list[Event]]:
        """Execute some commands, all at once where the engine knows batches."""

    def remember(self, commands: list[Command]) -> list[list[Event]]:
        """Let the model do the same, and return what it answers."""
        answers = []
        for command in commands:
            answers.append(timeless(self.model.execute(command)))
            self.history.append(command)
            self.hashes.append(self.model.state_hash())
        return answers

    def send(self, *commands: Command) -> None:
        answers = self.execute([*commands])
        assert [timeless(events) for events in answers] == self.remember([*commands])

    def new(self, **terms: object) -> int:
        """Send an order with the next id."""
        order_id = next(self.next_id)
        self.send({"command": "new", "order_id": order_id, **terms})
        return order_id

    @initialize()
    def list_the_instruments(self) -> None:
        for symbol in SYMBOLS:
            self.send(listing(symbol))

    @rule(symbol=symbols)
    def list_an_instrument(self, symbol: str) -> None:
        self.send(listing(symbol))

    @rule(target=ids, order=orders, price=prices, post_only=seldom)
    def order(self, order: Command, price: int, post_only: bool) -> int:
        return self.new(**order, type="LIMIT", price=price, post_only=post_only)

    @rule(target=ids, order=orders, price=prices, how=st.sampled_from(["IOC", "FOK"]))
    def order_now_or_never(self, order: Command, price: int, how: str) -> int:
        return self.new(**order, type="LIMIT", price=price, time_in_force=how)

    @rule(target=ids, order=orders, how=st.sampled_from([None, "IOC", "FOK", "GTC"]))
    def order_at_any_price(self, order: Command, how: str | None) -> int:
        return self.new(**order, type="MARKET", time_in_force=how)

    @rule(batch=batches)
    def send_a_batch(self, batch: list[tuple[str, int, int]]) -> None:
        self.send(*self.numbered(batch))

    def numbered(self, batch: list[tuple[str, int, int]]) -> list[Command]:
        return [limit_order(next(self.next_id), *terms) for terms in batch]

    @precondition(lambda self: self.model.resting)
    @rule(which=choices, stranger=seldom)
    def cancel(self, which: int, stranger: bool) -> None:
        self.send({"command": "cancel", **self.whose(which, stranger)})

    @precondition(lambda self: self.model.resting)
    @rule(which=choices, stranger=seldom, by=sizes)
    def reduce(self, which: int, stranger: bool, by: int) -> None:
        self.send({"command": "reduce", **self.whose(which, stranger), "by": by})

    @precondition(lambda self: self.model.resting)
    @rule(which=choices, stranger=seldom, price=st.none() | prices, quantity=sizes)
    def replace(self, which: int, stranger: bool, price: int | None, quantity: int) -> None:
        terms = {"price": price, "quantity": quantity}
        self.send({"command": "replace", **self.whose(which, stranger), **terms})

    @rule(order_id=ids, price=prices, kind=st.sampled_from(["new", "cancel", "reduce", "replace"]))
    def speak_of_any_id_ever_used(self, order_id: int, price: int, kind: str) -> None:
        whose = {"order_id": order_id, "participant": 1}
        fields = {"reduce": {"by": 1}, "replace": {"price": price}}.get(kind, {})
        again = limit_order(order_id, "BUY", price, 1)
        self.send(again if kind == "new" else {"command": kind, **whose, **fields})

    @rule(participant=participants, symbol=st.none() | symbols)
    def mass_cancel(self, participant: int, symbol: str | None) -> None:
        self.send({"command": "mass_cancel", "participant": participant, "symbol": symbol})

    def whose(self, which: int, stranger: bool) -> Command:
        """The fields that name a resting order and its owner, or somebody else."""
        order = self.model.resting[which % len(self.model.resting)]
        participant = order.participant % 3 + 1 if stranger else order.participant
        return {"order_id": order.order_id, "participant": participant}


def listing(symbol: str) -> Command:
    sizes = {"tick_size": "0.01", "lot_size": "1"}
    return {"command": "list_instrument", "symbol": symbol, **sizes}


def limit_order(order_id: int, side: str, price: int, quantity: int) -> Command:
    named = {"command": "new", "order_id": order_id, "participant": 1, "symbol": "ABC"}
    return {**named, "side": side, "type": "LIMIT", "price": price, "quantity": quantity}


# -- Any engine -----------------------------------------------------------------------------------


class EngineMachine(Market):
    """An engine in memory, with the judge looking on, and the reference as its model."""

    make: Callable[[], Engine]

    def __init__(self) -> None:
        super().__init__()
        self.engine = Judged(type(self).make())

    def execute(self, commands: list[Command]) -> list[list[Event]]:
        return [self.engine.execute(command) for command in commands]

    @rule(
        line=st.sampled_from(
            [
                b"",
                b"{",
                b'{"command":"cancel","order_id":1}',
                b'{"command":"new","order_id":0}',
                b'{"command":"reduce","order_id":1,"participant":1,"by":1.0}',
                b'{"command":"mass_cancel","participant":1}',
            ]
        )
    )
    def send_a_malformed_line(self, line: bytes) -> None:
        with pytest.raises(Malformed):
            self.engine.execute_line(line)

    @rule(order_id=Market.ids)
    def ask_for_an_order(self, order_id: int) -> None:
        assert self.engine.order(order_id) == self.model.order(order_id)

    @rule(order_id=st.integers(1, MAX))
    def ask_for_any_order(self, order_id: int) -> None:
        assert self.engine.order(order_id) == self.model.order(order_id)

    @rule(symbol=symbols, depth=st.sampled_from([1, 2, 3, MAX]))
    def ask_for_a_book(self, symbol: str, depth: int) -> None:
        assert self.engine.book(symbol, depth) == self.model.book(symbol, depth)

    @invariant()
    def the_state_is_the_models(self) -> None:
        assert self.engine.state_hash() == self.model.state_hash()
        assert self.engine.resting_orders == self.model.resting_orders
        assert self.engine.sequence == self.model.sequence

    @invariant()
    def the_engine_agrees_with_itself(self) -> None:
        self.engine.check_invariants()

    def teardown(self) -> None:
        self.engine.close()


class ReferenceMachine(EngineMachine):
    make = Reference


class V1Machine(EngineMachine):
    make = V1


class V2MatcherMachine(EngineMachine):
    make = V2Matcher


class V2MemoryMachine(EngineMachine):
    @staticmethod
    def make() -> Engine:
        return V2Engine(v2.EventDrivenMatchingEngine.in_memory())


# -- V2 with its log ------------------------------------------------------------------------------


def as_v2(command: Command) -> v2.Command:
    """Read the command with V2's own reader."""
    parsed = v2_ndjson.parse(encode(command))
    assert isinstance(parsed, v2.Command)
    return parsed


class LogMachine(Market):
    """V2 with a log. Whatever happens to it, the log has what was answered."""

    @property
    @abstractmethod
    def storage(self) -> Storage:
        """Where the log is."""

    @abstractmethod
    def start(self) -> None:
        """Open the log and go on."""

    @abstractmethod
    def close(self) -> None:
        """Shut down cleanly."""

    @abstractmethod
    def kill(self) -> None:
        """End without a last word, as kill -9 does; what was written is there, synced or not."""

    @abstractmethod
    def state(self) -> tuple[int, int, str]:
        """Sequence, resting orders, state hash."""

    @rule()
    def shut_down_and_start_again(self) -> None:
        self.close()
        self.start()

    @rule()
    def kill_and_start_again(self) -> None:
        self.kill()
        self.start()

    @rule()
    def write_a_snapshot(self) -> None:
        with suppress(v2.DirectoryUnusable):  # no command is durable yet
            state, _ = take_snapshot(self.storage)
            self.check_past(state.matcher, state.matcher.sequence)

    @precondition(lambda self: self.history)
    @rule(at=st.integers(0, MAX), from_the_start=st.booleans())
    def look_at_the_past(self, at: int, from_the_start: bool) -> None:
        until = 1 + at % len(self.history)
        log, snapshots = WalEventStore(self.storage), Snapshots(self.storage)
        start = earliest_start(log, snapshots) if from_the_start else newest_start(snapshots, until)
        past = follow(log, start, until=until)
        self.check_past(past.matcher, until)

    def check_past(self, matcher: Matcher, sequence: int) -> None:
        assert matcher.sequence == sequence
        assert matcher.state_hash() == self.hashes[sequence]

    @invariant()
    def the_state_is_the_models(self) -> None:
        expected = (self.model.sequence, self.model.resting_orders, self.hashes[-1])
        assert self.state() == expected

    @invariant()
    def replays_with_and_without_snapshots_give_all_of_the_state(self) -> None:
        whole = replay(self.storage).matcher
        self.check_past(whole, len(self.history))
        assert all_of(recover(self.storage).matcher) == all_of(whole)


def all_of(matcher: Matcher) -> object:
    """All that a matcher knows, the state hash's omissions included."""
    resting = [
        (
            (symbol, side, order.level.price, order.order_id, order.participant, order.remaining),
            (order.status, order.self_trade_prevention, order.post_only),
        )
        for symbol, side, order in matcher.resting_orders()
    ]
    ids = (*matcher.orders, *matcher.finished)
    statuses = {order_id: matcher.order(order_id) for order_id in ids}
    return resting, statuses, matcher.sequence, matcher.last_trade_id, matcher.instruments


class PowerMachine(LogMachine):
    """The log on a simulated disk, which loses what was not synced when its power fails.

    The writer's work is done without its thread, so that a failure can be had at any call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimulatedDisk()
        self.clock = itertools.count(1)
        self.sequencer: Sequencer
        self.start()

    @property
    def storage(self) -> Storage:
        return self.disk

    def start(self) -> None:
        state, log = open_log(self.disk, segment_bytes=SEGMENT_BYTES)
        self.sequencer = sequencer_on(state, log, self.clock.__next__)

    def close(self) -> None:
        self.sequencer.close()
        self.kill()

    def kill(self) -> None:
        self.disk = self.disk.restarted()

    def execute(self, commands: list[Command]) -> list[list[Event]]:
        answers = process(self.sequencer, *map(as_v2, commands))
        return [[v2_event(event) for event in events] for events in answers]

    def state(self) -> tuple[int, int, str]:
        matcher = self.sequencer.matcher
        matcher.check_invariants()
        return matcher.sequence, matcher.resting_order_count(), matcher.state_hash()

    @rule()
    def fall_idle(self) -> None:
        self.sequencer.idle()

    @rule(seed=seeds)
    def lose_power(self, seed: int) -> None:
        self.disk = self.disk.crash_image(random.Random(seed))
        self.start()

    @rule(batch=batches, calls=st.integers(1, 30), seed=seeds)
    def lose_power_at_a_call(
        self, batch: list[tuple[str, int, int]], calls: int, seed: int
    ) -> None:
        """Start again and send a batch; the power fails at some call in this, or right after.

        What was answered is there. Of what was not, a first part may be.
        """
        commands = self.numbered(batch)
        answered = len(self.history)
        self.disk = self.disk.restarted(crash_at=calls)
        with suppress(PowerFailure):
            self.start()
            self.execute(commands)
            answered += len(commands)
        self.disk = self.disk.crash_image(random.Random(seed))
        self.start()
        kept = self.sequencer.matcher.sequence
        assert answered <= kept <= len(self.history) + len(commands)
        self.remember(commands[: kept - len(self.history)])


class DirectoryMachine(LogMachine):
    """The whole engine, writer thread and all, on real files."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="stateful-"))
        self.lives = itertools.count(1)
        self.directory = self.place / "0"
        self.engine: v2.EventDrivenMatchingEngine
        self.start()

    @property
    def storage(self) -> Storage:
        return DirectoryStorage(self.directory)

    def start(self) -> None:
        self.engine = v2.EventDrivenMatchingEngine.open(
            self.directory, audit=False, segment_bytes=SEGMENT_BYTES
        )

    def close(self) -> None:
        self.engine.close()

    def kill(self) -> None:
        """Go on with a copy of the files, made while the engine had them open."""
        copy = self.place / str(next(self.lives))
        shutil.copytree(self.directory, copy)
        self.engine.close()
        self.directory = copy

    def execute(self, commands: list[Command]) -> list[list[Event]]:
        receipts = [self.engine.submit(as_v2(command)) for command in commands]
        answers = [receipt.result(timeout=60) for receipt in receipts]
        return [[v2_event(event) for event in events] for events in answers]

    def state(self) -> tuple[int, int, str]:
        return self.engine.state()

    def teardown(self) -> None:
        try:
            self.engine.close()
        finally:
            shutil.rmtree(self.place)


# The share of the profile's examples that a machine gets, and how many steps each has.
MACHINES: dict[str, tuple[type[Market], float, int]] = {
    "reference": (ReferenceMachine, 0.25, 40),
    "v1": (V1Machine, 0.5, 40),
    "v2-matcher": (V2MatcherMachine, 0.5, 40),
    "v2-memory": (V2MemoryMachine, 0.1, 40),
    "v2-power-failures": (PowerMachine, 1.0, 30),
    "v2-directory": (DirectoryMachine, 0.1, 20),
}


@pytest.mark.parametrize("name", MACHINES)
def test_whatever_happens_the_engine_is_what_the_model_is(name: str) -> None:
    machine, share, steps = MACHINES[name]
    examples = max(1, round(settings().max_examples * share))
    profile = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(machine, settings=profile)
