"""The judge's language on one side, the rulebook's on the other.

What the judge says, and what the engine gets:

- A *symbol* may be longer than ours. The engine knows them as S1, S2 … in the order of appearance.
- An *order id* is unique among the active orders of one symbol, and free again afterwards; ours
  name one order for ever, engine-wide. So every `new` gets a fresh id. Only while the judge's id is
  in use does it get the same one: then it is the engine that says DUPLICATE_ORDER_ID.
- An *owner* is any integer, and -1 is no owner. Participants are 1, 2 … in the order of appearance.
- *Price* and *quantity* are decimals: see `units`.
- LIMIT is LIMIT GTC, MARKET is MARKET IOC without the price, IOC and FOK are LIMIT IOC and FOK.
- The *self-trade policy* holds for a whole run: NONE, CANCEL_RESTING, CANCEL_INCOMING are our NONE,
  CANCEL_MAKER, CANCEL_TAKER, said by every order; but NONE by those of no owner, who may trade with
  each other.
- `cancel`, `reduce` (by an amount) and `replace` (a new price or remaining quantity, or both; the
  place is lost) are the same here, sent by the order's own participant.
- `clear` becomes one `mass_cancel` for every participant with an order in the book.

What the engine answers, and what the judge gets:

- UNKNOWN_ORDER and TOO_LATE are ORDER_NOT_ACTIVE; DUPLICATE_ORDER_ID is itself; any other refusal
  is INVALID_ORDER for a `new` or `reduce`, INVALID_REPLACEMENT for a `replace`.
- What was accepted is applied, whatever came of it: a FOK that expires untouched, a MARKET on an
  empty book.
- To the judge a symbol has a book from its first `new` or `clear` on, even one that was refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..engines.engine import MAX, Command, Engine, Event
from .queues import Queues, Resting
from .units import Units, canonical

Message = dict[str, Any]

NOBODY = -1
NEVER_USED = MAX
"""An order id that no `new` gets: what a cancel names if the judge's id was never seen."""

ORDER_TYPES = {
    "LIMIT": ("LIMIT", "GTC"),
    "MARKET": ("MARKET", "IOC"),
    "IOC": ("LIMIT", "IOC"),
    "FOK": ("LIMIT", "FOK"),
}
POLICIES = {"NONE": "NONE", "CANCEL_RESTING": "CANCEL_MAKER", "CANCEL_INCOMING": "CANCEL_TAKER"}
REASONS = {
    "UNKNOWN_ORDER": "ORDER_NOT_ACTIVE",
    "TOO_LATE": "ORDER_NOT_ACTIVE",
    "DUPLICATE_ORDER_ID": "DUPLICATE_ORDER_ID",
}
OTHER_REASONS = {
    "new": "INVALID_ORDER",
    "reduce": "INVALID_ORDER",
    "replace": "INVALID_REPLACEMENT",
    "cancel": "INVALID_CANCEL",
}


class NotInTheRulebook(Exception):
    """The judge wants something that the rulebook does not have. Leave the case out, by name."""


@dataclass(frozen=True)
class Settings:
    """What holds for a whole run."""

    units: Units
    self_trade_prevention: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read what the judge says in its first message."""
        if config["matching_algorithm"] != "fifo":
            raise NotInTheRulebook(f"{config['matching_algorithm']} allocation")
        units = Units(Decimal(config["tick_size"]), config["quantity_decimal_places"])
        return cls(units, POLICIES[config["self_trade_policy"]])


@dataclass(frozen=True)
class Book:
    """One of the judge's symbols."""

    name: str
    symbol: str  # the engine's
    latest: dict[int, int]  # the judge's order id -> the engine's, of its latest use


class Candidate:
    """One engine under the judge's eyes, from the first event to the last."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.units = settings.units
        self.books: dict[str, Book] = {}
        self.queues = Queues()
        self.participants: dict[int, int] = {}  # owner -> participant
        self.owners: dict[int, int] = {}  # participant -> owner
        self.judges_ids: dict[int, int] = {}  # the engine's order id -> the judge's
        self.last_order_id = 0

    # --- what the judge sends --------------------------------------------------------------------

    def observe(self, index: int, event: Mapping[str, Any]) -> Message:
        """Carry out one event of the judge's and say what came of it."""
        if event["op"] in ("new", "clear"):
            self._open_book(event["symbol"])
        events = [each for command in self._commands(event) for each in self._execute(command)]
        state = self.state()
        return {
            "type": "observation",
            "index": index,
            "outcome": outcome(event["op"], events),
            "trades": [self._trade(event["symbol"], each) for each in events if is_trade(each)],
            "state_hash": digest(state),
            "resting_order_count": len(self.queues.orders),
        }

    def state(self) -> Message:
        """Every queue of every book, in the order of priority."""
        return {
            "books": [
                {
                    "symbol": book.name,
                    "bids": [self._shown(o) for o in self.queues.side(book.symbol, "BUY")],
                    "asks": [self._shown(o) for o in self.queues.side(book.symbol, "SELL")],
                }
                for _, book in sorted(self.books.items())
            ]
        }

    # --- into the rulebook's language ------------------------------------------------------------

    def _commands(self, event: Mapping[str, Any]) -> list[Command]:
        match event["op"]:
            case "new":
                return [self._new(event)]
            case "cancel":
                return [self._named("cancel", event)]
            case "reduce":
                return [self._named("reduce", event) | {"by": self._lots(event)}]
            case "replace":
                changes = {"price": self._ticks(event), "quantity": self._lots(event)}
                return [self._named("replace", event) | changes]
            case "clear":
                return self._mass_cancels(self.books[event["symbol"]].symbol)
        raise ValueError(f"op: {event['op']!r}")

    def _new(self, event: Mapping[str, Any]) -> Command:
        book = self.books[event["symbol"]]
        order_type, time_in_force = ORDER_TYPES[event["order_type"]]
        anonymous = event["owner"] == NOBODY
        return {
            "command": "new",
            "order_id": self._id_for_new(book, event["order_id"]),
            "participant": self._participant(event["owner"]),
            "symbol": book.symbol,
            "side": event["side"],
            "type": order_type,
            "price": self._ticks(event) if order_type == "LIMIT" else None,
            "quantity": self._lots(event),
            "time_in_force": time_in_force,
            "self_trade_prevention": "NONE" if anonymous else self.settings.self_trade_prevention,
        }

    def _id_for_new(self, book: Book, judges_id: int) -> int:
        latest = book.latest.get(judges_id)
        if latest in self.queues.orders:
            return latest  # still open: the engine shall refuse it
        self.last_order_id += 1
        book.latest[judges_id] = self.last_order_id
        self.judges_ids[self.last_order_id] = judges_id
        return self.last_order_id

    def _named(self, command: str, event: Mapping[str, Any]) -> dict[str, object]:
        """A command that names an order, in the name of its participant."""
        book = self.books.get(event["symbol"])
        order_id = book.latest.get(event["order_id"], NEVER_USED) if book else NEVER_USED
        order = self.queues.orders.get(order_id)
        participant = order.participant if order else 1  # whoever: there is nothing to own
        return {"command": command, "order_id": order_id, "participant": participant}

    def _mass_cancels(self, symbol: str) -> list[Command]:
        orders = self.queues.orders.values()
        participants = {order.participant for order in orders if order.symbol == symbol}
        return [
            {"command": "mass_cancel", "participant": participant, "symbol": symbol}
            for participant in sorted(participants)
        ]

    def _ticks(self, event: Mapping[str, Any]) -> int | None:
        return None if event["price"] is None else self.units.ticks(event["price"])

    def _lots(self, event: Mapping[str, Any]) -> int | None:
        return None if event["quantity"] is None else self.units.lots(event["quantity"])

    def _participant(self, owner: int) -> int:
        participant = self.participants.setdefault(owner, len(self.participants) + 1)
        self.owners[participant] = owner
        return participant

    def _open_book(self, name: str) -> None:
        if name in self.books:
            return
        symbol = f"S{len(self.books) + 1}"
        self.books[name] = Book(name, symbol, {})
        tick_size, lot_size = canonical(self.units.tick_size), canonical(self.units.lot_size)
        listing = {"command": "list_instrument", "symbol": symbol}
        self._execute(listing | {"tick_size": tick_size, "lot_size": lot_size})

    def _execute(self, command: Command) -> list[Event]:
        """Send one command; make sure that its events tell the whole truth about the books."""
        events = self.engine.execute(command)
        self.queues.follow(events)
        assert self.queues.state_hash() == self.engine.state_hash(), command
        return events

    # --- back into the judge's language ----------------------------------------------------------

    def _trade(self, name: str, event: Event) -> Message:
        maker = self.judges_ids[event["maker_order_id"]]
        taker = self.judges_ids[event["taker_order_id"]]
        buys = event["taker_side"] == "BUY"
        return {
            "symbol": name,
            "buy_order_id": taker if buys else maker,
            "sell_order_id": maker if buys else taker,
            "price": self.units.price(event["price"]),
            "quantity": self.units.quantity(event["quantity"]),
        }

    def _shown(self, order: Resting) -> Message:
        assert order.price is not None, "only a LIMIT rests"
        return {
            "order_id": self.judges_ids[order.order_id],
            "price": self.units.price(order.price),
            "remaining_quantity": self.units.quantity(order.remaining),
            "owner": self.owners[order.participant],
            "order_type": "LIMIT",
        }


def is_trade(event: Event) -> bool:
    """Whether the event is a fill."""
    return bool(event["event"] == "trade_executed")


def outcome(op: str, events: list[Event]) -> Message:
    """Whether the engine did what the command asks, and otherwise why not.

    >>> outcome("replace", [{"event": "cancel_rejected", "reason": "INVALID_QUANTITY"}])["reason"]
    'INVALID_REPLACEMENT'
    """
    for event in events:
        if event["event"] in ("order_rejected", "cancel_rejected"):
            reason = event["reason"]
            named = REASONS.get(reason, OTHER_REASONS[op])
            return {"status": "rejected", "reason": named, "message": reason}
    return {"status": "applied", "reason": None, "message": None}


def digest(state: Message) -> str:
    """The judge's hash of a state: SHA-256 of its JSON, keys sorted, without spaces."""
    text = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
