"""What the pages ask of the engine, said with the engine's own parts. No rule, no format here.

A `Session` is one market on a simulated disk. It takes lines of text and gives a frame for each:
the book, what was said, the bytes of the log, the audit trail. The page runs it in Pyodide;
`record.py` and the tests run it in CPython, and get the same frames, because the clock is part of
it.

A line is one of:

    buy 4 4@100              a command in the notation of the scenarios (shared_tests/scenarios)
    {"command": "cancel", …} a command as NDJSON
    buy 4 4@100 | cancel 2   several commands in one batch, which is written and synced once
    order 2                  a question: order, book, resting, sequence, hash
    !recover                 what happens to the engine, its disk or its trail: see `DEEDS`
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from msgspec import structs

from shared_tests.scenarios.scenario import ScenarioError, Step, parse_scenario
from v2_event_driven_engine import (
    Command,
    EngineError,
    ListInstrument,
    MalformedCommand,
    NewOrder,
    StoreError,
)
from v2_event_driven_engine.cli import ndjson
from v2_event_driven_engine.cli.audit import sentence
from v2_event_driven_engine.engine.audit.trail import (
    AUDIT_LOG,
    end_of_trail,
    read_lines,
    verify_against_log,
    verify_chain,
)
from v2_event_driven_engine.engine.audit_logger import AuditLogger
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log import recovery
from v2_event_driven_engine.engine.log.format import SECTOR
from v2_event_driven_engine.engine.log.recovery import Recovered
from v2_event_driven_engine.engine.log.snapshot import Snapshots
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.engine.order_book import BookSide
from v2_event_driven_engine.engine.receipt import Submitted
from v2_event_driven_engine.engine.sequencer import Sequencer
from v2_event_driven_engine.engine.subscribers import Subscribers
from v2_event_driven_engine.engine.wal_event_store import WalEventStore
from v2_event_driven_engine.tests.simulated_disk import PowerFailure, SimulatedDisk

from .log_map import regions

SEGMENT_BYTES = 16 * 1024
"""Small, so that a page can show a whole segment."""
OPENING_NS = 1_767_346_200_000_000_000
"""2026-01-02 09:30 UTC: the clock of the pages begins here, and gains a millisecond a batch."""
FATES = {
    "kept": ("k", "the disk had written all of it"),
    "lost": ("d", "the disk had written none of it"),
    "torn": ("t", "the disk had written the beginning of each sector"),
    "zeros": ("z", "the disk shows zeros in its place"),
    "garbage": ("g", "the disk shows other bytes in its place"),
}
"""What may have become of sectors that were written and not synced, when the power comes back."""

Frame = dict[str, Any]
Item = TypeVar("Item")


class Fate(random.Random):
    """Makes the choices of `SimulatedDisk.crash_image`, the same for every sector."""

    def __init__(self, letter: str) -> None:
        super().__init__(1)
        self.letter = letter

    def choice(self, seq: Any) -> Any:
        """Of the fates the one that was asked for; else the last, which is what was written."""
        return self.letter if isinstance(seq[0], str) else seq[-1]

    def randint(self, a: int, b: int) -> int:
        """Of the names that were changed all."""
        return b

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """Where a sector is torn: behind a batch's header, in its body."""
        return min(64, start - 1)


class ChangedRules(Matcher):
    """A matcher with a rule that the log was not written under: at most 5 lots an order."""

    def apply(
        self, first_sequence: int, timestamp_ns: int, commands: Iterable[Command]
    ) -> list[list[AnyEvent]]:
        """Apply the commands with their quantities capped."""
        capped = [
            structs.replace(command, quantity=min(5, command.quantity))
            if isinstance(command, NewOrder)
            else command
            for command in commands
        ]
        return super().apply(first_sequence, timestamp_ns, capped)


class NotPossible(Exception):
    """What was asked for cannot be done now; the text says why."""


class Session:
    """One market, from an empty disk on.

    Invariants
      1. Everything that a frame shows is read from the engine, its disk or its trail.
      2. The same lines give the same frames, in any Python.
    """

    def __init__(self, *, symbols: Sequence[str] = ("ABC",)) -> None:
        self.disk = SimulatedDisk()
        self.sequencer: Sequencer | None = None
        self.store: WalEventStore | None = None
        self.powered = True
        self.answered = 0
        self.owners: list[str] = []
        self.clock_ns = OPENING_NS
        self.said: list[dict[str, str]] = []
        self.asked_for = ""
        self._open()
        listings = [ListInstrument(symbol, "0.01", "1") for symbol in symbols]
        self._process(listings)
        self.said = []

    # -- Lines ---------------------------------------------------------------------------------

    def run(self, text: str) -> list[Frame]:
        """The frames of some lines; blank lines and comments (#) have none."""
        lines = [line.strip() for line in text.splitlines()]
        return [self.line(line) for line in lines if line and not line.startswith("#")]

    def line(self, line: str) -> Frame:
        """Do what one line says. Whatever it says, the answer is a frame."""
        self.said = []
        self.asked_for = line
        try:
            if line.startswith("!"):
                self._deed(line[1:])
            else:
                self._submit(line)
        except (NotPossible, MalformedCommand, ScenarioError) as error:
            self._say("bad", str(error))
        except EngineError as error:
            self._say("bad", f"{type(error).__name__}: {error}")
        return self.frame()

    def _submit(self, line: str) -> None:
        if line.startswith("{"):
            self._process([self._parsed(line.encode())])
            return
        steps = [self._step(part.strip()) for part in line.split("|")]
        commands = [self._parsed(step.line) for step in steps if not step.question]
        if commands:
            self._process(commands)
        for step in steps:
            if step.question:
                self._say("answer", self._answer(step))

    def _step(self, text: str) -> Step:
        """One command or question of the notation. An earlier order's owner is remembered."""
        text = text.partition("=>")[0].strip()
        lines = ["# Rulebook 1", *self.owners, f"{text} => ?"]
        try:
            step = parse_scenario("\n".join(lines), "line").steps[-1]
        except ScenarioError as error:
            raise ScenarioError(str(error).partition(": ")[2]) from None
        if text.startswith(("buy ", "sell ")) and " by " in text:
            self.owners.append(text)
        return step

    @staticmethod
    def _parsed(line: bytes) -> Command:
        command = ndjson.parse(line)
        if not isinstance(command, Command):
            raise MalformedCommand("command", "a query: ask with `order 4` or `book`")
        return command

    def _process(self, commands: Sequence[Command]) -> None:
        """One batch, as the writer's thread does it."""
        sequencer = self._running()
        answers = sequencer.process([Submitted[Any](command) for command in commands])
        self.answered = sequencer.matcher.sequence
        for events in answers:
            for event in events:
                self._say(*spoken(event))

    def _running(self) -> Sequencer:
        if self.sequencer is None:
            raise NotPossible("the engine is down: !recover")
        return self.sequencer

    def _answer(self, step: Step) -> str:
        matcher = self._running().matcher
        arguments = step.arguments
        if step.question == "order":
            status, remaining = matcher.order(arguments["order_id"])
            return f"order {arguments['order_id']}: {status.name}, {remaining} open"
        if step.question == "book":
            bids, asks = matcher.depth(arguments["symbol"], arguments["depth"])
            return f"bids {_levels(bids)}; asks {_levels(asks)}"
        if step.question == "resting":
            return f"{matcher.resting_order_count()} orders rest"
        if step.question == "sequence":
            return f"sequence {matcher.sequence}"
        return matcher.state_hash()

    def _say(self, kind: str, text: str) -> None:
        self.said.append({"kind": kind, "text": text})

    # -- Deeds ---------------------------------------------------------------------------------

    def _deed(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        deed = DEEDS.get(name)
        if deed is None:
            raise NotPossible(f"no such thing: !{name}; there are !{', !'.join(DEEDS)}")
        deed(self, rest.strip())

    def unsynced(self, rest: str) -> None:
        """The commands are written, and the power fails before the sync returns."""
        self._running()
        self.disk.onlooker = self._power_fails
        try:
            self._submit(rest)
        except PowerFailure:
            self._down()
            self.powered = False
            self._say("bad", "the batch was written; the power failed before its sync returned")
            self._say("note", "nobody got an answer")
        finally:
            self.disk.onlooker = None

    def plug(self, _: str) -> None:
        """The power fails between two batches."""
        self._running()
        self._down()
        self.powered = False
        self._say("bad", "the power failed; the engine and its memory are gone")

    def kill(self, _: str) -> None:
        """The process is killed. The machine runs on, and so does the system's page cache."""
        self._running()
        self._down()
        self._say("bad", "the engine was killed; the machine runs on")

    def power(self, rest: str) -> None:
        """The power comes back. The rest says what the disk has of what was not synced."""
        if self.powered:
            raise NotPossible("the power is on")
        if rest not in FATES:
            raise NotPossible(f"say which: !power {', !power '.join(FATES)}")
        letter, meaning = FATES[rest]
        self.disk = self.disk.crash_image(Fate(letter))
        self.powered = True
        self._say("note", f"the power is back; of what was not synced, {meaning}")

    def flip(self, rest: str) -> None:
        """A bit of the last segment flips on the disk: `!flip OFFSET [BIT]`, `!flip batch N`."""
        name, data = self.segment()
        words = rest.split()
        try:
            if words[0] == "batch":
                bodies = [region for region in regions(data) if region["kind"].endswith("body")]
                offset, bit = int(bodies[int(words[1]) - 1]["from"]), 0
            else:
                offset, bit = int(words[0], 0), int(words[1]) if len(words) > 1 else 0
            inside = 0 <= offset < len(data) and 0 <= bit < 8
        except (ValueError, IndexError):
            inside = False
        if not inside:
            raise NotPossible("say where: !flip OFFSET [BIT] or !flip batch NUMBER")
        inode = self.disk.names_now[name]
        inode.content[offset] ^= 1 << bit
        inode.durable = bytes(inode.content)
        self._say("bad", f"bit {bit} of byte {offset:#x} of {name} has flipped on the disk")
        if self.sequencer is not None:
            self._say("note", "the engine runs on: it reads the log only at a start")

    def rules(self, _: str) -> None:
        """A program with a changed rule (at most 5 lots an order) replays the log."""
        try:
            recovery.follow(WalEventStore(self.disk), Recovered(ChangedRules()))
        except StoreError as error:
            self._say("bad", f"refused: {type(error).__name__}: {error}")
        else:
            self._say("note", "no recorded event differs under the changed rule")

    def recover(self, _: str) -> None:
        """A new start: the log is read, replayed, and every recorded event compared."""
        if self.sequencer is not None:
            raise NotPossible("the engine is running; first end it: !plug or !kill")
        if not self.powered:
            raise NotPossible("there is no power; say what the disk has kept: !power kept")
        try:
            state = self._open()
        except EngineError as error:
            self._down()
            self._say("bad", f"refused: {type(error).__name__}: {error}")
            return
        assert self.sequencer is not None
        if state.torn is None:
            self._say("note", "the log ends between two batches")
        else:
            torn = state.torn
            self._say("note", f"torn tail: {torn.length} bytes at {torn.offset:#x}, kept aside")
        found = self.sequencer.matcher.sequence
        self._say("good", f"recovered {found} commands; the events recorded are those of replay")
        if found < self.answered:
            self._say("bad", f"answered were {self.answered}; lost: {self.answered - found}")
        else:
            self._say("good", f"answered were {self.answered}; lost: none")

    def idle(self, _: str) -> None:
        """Nothing comes for a while: the events of the last batch go into the log."""
        sequencer = self._running()
        if not sequencer.has_unrecorded:
            raise NotPossible("the log has every event already")
        sequencer.idle()
        self._say("note", "the events of the last commands are in the log now")

    def close(self, _: str) -> None:
        """A clean shutdown: the last events, and the mark that closes the log."""
        sequencer = self._running()
        sequencer.close()
        assert self.store is not None
        self.store.close()
        self._down()
        self._say("note", "the log is closed, with a mark that says so; the engine has ended")

    def audit(self, _: str) -> None:
        """The audit process reads the log and completes its trail."""
        logger = AuditLogger(self.disk, WalEventStore(self.disk))
        written = logger.catch_up()
        logger.close()
        for warning in logger.warnings:
            self._say("bad", warning)
        self._say("note", f"{written} lines added to the audit trail")

    def edit(self, rest: str) -> None:
        """Somebody edits a line of the audit trail: `!edit LINE`, counted from 1."""
        lines = self._trail().splitlines(keepends=True)
        if not rest.isdigit() or not 1 <= int(rest) <= len(lines):
            raise NotPossible(f"say which line: !edit 1 … !edit {len(lines)}")
        number = int(rest)
        before = lines[number - 1]
        after = before.replace(b'"participant":', b'"participant":9', 1)
        if after == before:
            raise NotPossible("that line names no participant: take another")
        lines[number - 1] = after
        inode = self.disk.names_now[AUDIT_LOG]
        inode.content = bytearray(b"".join(lines))
        inode.durable = bytes(inode.content)
        self._say("bad", f"line {number} of {AUDIT_LOG} now names another participant")

    def verify(self, _: str) -> None:
        """The chain of the trail is checked, and every line is derived from the log again."""
        self._trail()
        count, bad = verify_chain(self.disk)
        if bad is None:
            count, bad = verify_against_log(self.disk, WalEventStore(self.disk))
        if bad is None:
            self._say("good", f"{count} lines: the chain is whole, and the log says the same")
        else:
            self._say("bad", f"line {bad.line}: {bad.problem}")

    def _trail(self) -> bytes:
        if AUDIT_LOG not in self.disk.names():
            raise NotPossible("there is no audit trail yet: !audit")
        return self.disk.read(AUDIT_LOG)

    @staticmethod
    def _power_fails() -> None:
        raise PowerFailure

    def _down(self) -> None:
        self.sequencer = self.store = None

    def _open(self) -> Recovered:
        """Recover and start the log, in the steps of `EventDrivenMatchingEngine.open`."""
        store = WalEventStore(self.disk, segment_bytes=SEGMENT_BYTES)
        state = recovery.recover(store, Snapshots(self.disk))
        store.start(state.place, witnessed=end_of_trail(self.disk).sequence)
        self.store = store
        self.sequencer = Sequencer(
            state.matcher, store, Subscribers(), self._clock,
            timestamp_ns=state.timestamp_ns, unrecorded=state.unrecorded,
        )  # fmt: skip
        return state

    def _clock(self) -> int:
        self.clock_ns += 1_000_000
        return self.clock_ns

    # -- Looking -------------------------------------------------------------------------------

    def segment(self) -> tuple[str, bytes]:
        """The last segment of the log: its name and its bytes."""
        name = max(name for name in self.disk.names() if _is_segment(name))
        return name, self.disk.read(name)

    def frame(self) -> Frame:
        """All that a page shows of this moment, in plain values."""
        matcher = None if self.sequencer is None else self.sequencer.matcher
        return {
            "line": self.asked_for,
            "said": self.said,
            "up": matcher is not None,
            "power": self.powered,
            "answered": self.answered,
            **market_of(matcher or Matcher()),
            "log": self._log(),
            "audit": self._audit(),
        }

    def at(self, sequence: int) -> Frame:
        """The market after a sequence, from the log alone. The engine is not asked."""
        self.said = []
        self.asked_for = f"replay until {sequence}"
        try:
            found = recovery.recover(WalEventStore(self.disk), until=sequence)
        except StoreError as error:
            self._say("bad", f"{type(error).__name__}: {error}")
            return self.frame()
        self._say("note", f"replayed {found.commands_replayed} commands from the log")
        return {**self.frame(), "up": True, **market_of(found.matcher)}

    def _log(self) -> Frame:
        name, data = self.segment()
        found = regions(data)
        used = max(region["to"] for region in found)
        shown = min(len(data), -used % SECTOR + used + SECTOR)
        return {
            "file": name,
            "size": len(data),
            "files": [[name, self.disk.size(name)] for name in self.disk.names()],
            "hex": data[:shown].hex(),
            "regions": found,
            "unsynced": sorted(self.disk.names_now[name].dirty),
        }

    def _audit(self) -> list[str]:
        if AUDIT_LOG not in self.disk.names():
            return []
        try:
            return [sentence(line) for line in read_lines(self.disk)]
        except (EngineError, KeyError, ValueError) as error:
            return [f"not readable: {error}"]


def _is_segment(name: str) -> bool:
    return name.startswith("events.wal.") and name.removeprefix("events.wal.").isdigit()


DEEDS: dict[str, Callable[[Session, str], None]] = {
    "unsynced": Session.unsynced,
    "plug": Session.plug,
    "kill": Session.kill,
    "power": Session.power,
    "recover": Session.recover,
    "flip": Session.flip,
    "rules": Session.rules,
    "idle": Session.idle,
    "close": Session.close,
    "audit": Session.audit,
    "edit": Session.edit,
    "verify": Session.verify,
}
"""What a line that begins with `!` may name."""


def market_of(matcher: Matcher) -> Frame:
    """Every book with its queues, and the figures of the whole state."""
    sequence, resting, state_hash = matcher.state()
    return {
        "sequence": sequence,
        "resting": resting,
        "trades": matcher.last_trade_id,
        "hash": state_hash,
        "books": [
            {
                "symbol": symbol,
                "bids": list(_side(matcher.books[symbol].bids)),
                "asks": list(_side(matcher.books[symbol].asks)),
            }
            for symbol in sorted(matcher.books)
        ],
    }


def _side(side: BookSide) -> Iterator[Frame]:
    for level in side.used_levels():
        orders = [
            {"id": order.order_id, "open": order.remaining, "by": order.participant}
            for order in level
        ]
        yield {"price": level.price, "open": sum(o["open"] for o in orders), "orders": orders}


def _levels(levels: Sequence[tuple[int, int, int]]) -> str:
    shown = [f"{quantity}@{price}/{orders}" for price, quantity, orders in levels]
    return ", ".join(shown) or "none"


def spoken(event: AnyEvent) -> tuple[str, str]:
    """An event in the notation of the scenarios, and the kind of thing that it is."""
    fields = json.loads(ndjson.encode_events([[event]]))
    kind, text = PHRASES[fields["event"]]
    if fields["event"] == "trade_executed":
        buys = fields["taker_side"] == "BUY"
        fields["does"], fields["whom"] = ("buys", "from") if buys else ("sells", "to")
    if fields["event"] == "order_accepted":
        fields["at"] = "" if fields["price"] is None else f"@{fields['price']}"
    if fields["event"] == "order_replaced":
        fields["at"] = f"@{fields['price']}"
    return kind, text.format_map(fields)


PHRASES = {
    "instrument_listed": ("accepted", "{symbol} listed"),
    "instrument_rejected": ("refused", "{symbol} rejected {reason}"),
    "order_accepted": ("accepted", "{order_id} accepted: {side} {quantity}{at} {time_in_force}"),
    "order_rejected": ("refused", "{order_id} rejected {reason}"),
    "trade_executed": (
        "trade", "{taker_order_id} {does} {quantity}@{price} {whom} {maker_order_id}"
    ),
    "order_canceled": ("gone", "{order_id} canceled {remaining} {reason}"),
    "order_expired": ("gone", "{order_id} expired {remaining}"),
    "order_reduced": ("accepted", "{order_id} reduced to {remaining}"),
    "order_replaced": ("accepted", "{order_id} replaced {remaining}{at}"),
    "mass_canceled": ("gone", "{participant} mass-canceled {count}"),
    "cancel_rejected": ("refused", "{order_id} {request} refused {reason}"),
}  # fmt: skip


# -- The border to the page: JSON text, because JavaScript's integers end at 2^53 ----------------

_sessions: dict[str, Session] = {}
"""The sessions of a page, by the name that the page gives each."""


def page_begin(name: str, text: str) -> str:
    """Begin a session anew, with these lines: the frames of its beginning and of each line."""
    session = _sessions[name] = Session()
    return json.dumps([session.frame(), *session.run(text)])


def page_run(name: str, text: str) -> str:
    """Continue a session; the frames of these lines."""
    return json.dumps(_sessions[name].run(text))


def page_at(name: str, sequence: int) -> str:
    """A session's market after a sequence, by replay."""
    return json.dumps(_sessions[name].at(sequence))
