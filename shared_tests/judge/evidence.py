"""What the judge looks at: states, commands, events, and what it remembers of each order.

Everything here is arithmetic over commands and events. The only things asked of an engine are those
in `State`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from ..engines.engine import Book, Command, Event
from ..reference.input import filled_in

LIFECYCLE = {  # rulebook 6
    "UNKNOWN": {"NEW", "REJECTED"},  # an id never used: PENDING_NEW is never to be seen
    "NEW": {"PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"},
    "PARTIALLY_FILLED": {"PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"},
}
LIVE = ("NEW", "PARTIALLY_FILLED")
REFUSALS = ("order_rejected", "cancel_rejected", "instrument_rejected")

TERMS = (
    "participant",
    "symbol",
    "side",
    "type",
    "price",
    "time_in_force",
    "post_only",
    "self_trade_prevention",
)


class Resting(NamedTuple):
    """One order of the book, as the canonical state has it (rulebook 7)."""

    symbol: str
    side: str
    price: int
    order_id: int
    participant: int
    remaining: int


@dataclass(frozen=True)
class State:
    """All that an engine shows of itself at one moment."""

    sequence: int
    resting: tuple[Resting, ...]  # in the engine's order
    orders: Mapping[int, tuple[str, int]]  # status and open quantity of every id ever mentioned
    books: Mapping[str, Book]
    state_hash: str


@dataclass(frozen=True)
class Account:
    """One order id: its terms, and where its lots went. From commands and events alone.

    Invariant: `submitted + replaced == traded + canceled + reduced + expired + open_lots`.
    """

    participant: int
    symbol: str = ""
    side: str = ""
    type: str = ""
    price: int | None = None
    time_in_force: str = ""
    post_only: bool = False
    self_trade_prevention: str = "NONE"
    joined: int = 0  # the sequence of the command that gave it its present place
    status: str = "UNKNOWN"
    submitted: int = 0
    replaced: int = 0  # what replaces added to the open quantity, or took from it
    traded: int = 0
    canceled: int = 0
    reduced: int = 0
    expired: int = 0

    @property
    def open_lots(self) -> int:
        gone = self.traded + self.canceled + self.reduced + self.expired
        return self.submitted + self.replaced - gone


NOBODY = Account(0)
"""The account of an id that was never used."""


@dataclass(frozen=True)
class Ledger:
    """What the judge remembers."""

    accounts: Mapping[int, Account] = field(default_factory=dict)
    instruments: frozenset[str] = frozenset()
    trades: int = 0
    timestamp_ns: int = 0


@dataclass(frozen=True)
class Case:
    """One command and all there is to know about it. `command` is empty for a malformed line."""

    known: Ledger  # before the command
    before: State
    command: Command
    events: Sequence[Event]
    after: State

    @cached_property
    def refused(self) -> bool:
        return any(event["event"] in REFUSALS for event in self.events)

    @cached_property
    def trades(self) -> list[Event]:
        return [event for event in self.events if event["event"] == "trade_executed"]

    @cached_property
    def account(self) -> Account:
        """What was known before of the order that the command names."""
        order_id: Any = self.command["order_id"]
        return self.known.accounts.get(order_id, NOBODY)

    @cached_property
    def known_after(self) -> Ledger:
        return advance(self)


@dataclass(frozen=True)
class Taker:
    """An order that comes in, new or replaced, as its command describes it."""

    order_id: int
    participant: int
    symbol: str
    side: str
    price: int | None  # None: at any price
    quantity: int
    time_in_force: str
    self_trade_prevention: str

    def reaches(self, price: int) -> bool:
        """Whether its own price allows a trade at this one."""
        if self.price is None:
            return True
        return price <= self.price if self.side == "BUY" else price >= self.price


def incoming(case: Case) -> Taker | None:
    """The order that came in, or None if there was none, or it was refused."""
    command = case.command
    kind = command.get("command")
    if case.refused or kind not in ("new", "replace"):
        return None
    order_id: Any = command["order_id"]
    if kind == "new":
        full = filled_in(command)
        names = ("participant", "symbol", "side", "price", "quantity")
        terms = [full[name] for name in (*names, "time_in_force", "self_trade_prevention")]
        return Taker(order_id, *terms)
    account = case.account
    price, quantity = replaced_terms(case)
    return Taker(
        order_id,
        account.participant,
        account.symbol,
        account.side,
        price,
        quantity,
        "GTC",
        account.self_trade_prevention,
    )


def replaced_terms(case: Case) -> tuple[int, int]:
    """The price and quantity that a replace asks for: null keeps."""
    price: Any = case.command.get("price")
    quantity: Any = case.command.get("quantity")
    return (
        (case.account.price or 0) if price is None else price,
        case.account.open_lots if quantity is None else quantity,
    )


def opposite_orders(case: Case, symbol: str, side: str) -> list[Resting]:
    """What rested on the other side before, best price first, oldest first.

    The age is the judge's own: the sequence at which an order took its place.
    """
    accounts = case.known.accounts
    found = [o for o in case.before.resting if (o.symbol, o.side) == (symbol, other_side(side))]
    return sorted(found, key=lambda o: (rank_of(o), accounts.get(o.order_id, NOBODY).joined))


def path_of(case: Case, taker: Taker) -> list[Resting]:
    """The orders that the taker's price reaches, the most competitive one first."""
    opposite = opposite_orders(case, taker.symbol, taker.side)
    return [order for order in opposite if taker.reaches(order.price)]


def is_own(taker: Taker, maker: Resting) -> bool:
    """Whether self-trade prevention forbids that these two trade."""
    return maker.participant == taker.participant and taker.self_trade_prevention != "NONE"


def largest_volume(taker: Taker, path: Sequence[Resting]) -> int:
    """The most that could be traded: what is asked, or what may be had (rulebook 4).

    Own orders cannot be had; nor, unless the taker's mode is CANCEL_MAKER, can any order after
    one.
    """
    volume = 0
    for maker in path:
        if not is_own(taker, maker):
            volume += maker.remaining
        elif taker.self_trade_prevention != "CANCEL_MAKER":
            break
    return min(volume, taker.quantity)


def other_side(side: str) -> str:
    return "SELL" if side == "BUY" else "BUY"


def rank_of(order: Resting) -> int:
    return -order.price if order.side == "BUY" else order.price


# -- The judge's memory ---------------------------------------------------------------------------


def advance(case: Case) -> Ledger:
    """What is known after the command: the ledger moved on by what the events say."""
    known = case.known
    accounts = dict(known.accounts)
    instruments = set(known.instruments)
    for event in case.events:
        name = event["event"]
        if name == "order_accepted":
            terms = filled_in(case.command)
            accounts[event["order_id"]] = Account(
                joined=event["sequence"],
                submitted=terms["quantity"],
                **{name: terms[name] for name in TERMS},
            )
        elif name == "order_rejected" and event["order_id"] not in accounts:
            accounts[event["order_id"]] = Account(event["participant"])
        elif name == "order_replaced":
            account = accounts.get(event["order_id"], NOBODY)
            accounts[event["order_id"]] = replace(
                account,
                price=event["price"],
                joined=event["sequence"],
                replaced=account.replaced + event["remaining"] - account.open_lots,
            )
        elif name == "trade_executed":
            for order_id in (event["maker_order_id"], event["taker_order_id"]):
                account = accounts.get(order_id, NOBODY)
                accounts[order_id] = replace(account, traded=account.traded + event["quantity"])
        elif name == "order_reduced":
            account = accounts.get(event["order_id"], NOBODY)
            gone = account.open_lots - event["remaining"]
            accounts[event["order_id"]] = replace(account, reduced=account.reduced + gone)
        elif name in ("order_canceled", "order_expired"):
            account = accounts.get(event["order_id"], NOBODY)
            column = name.removeprefix("order_")
            total = getattr(account, column) + event["remaining"]
            accounts[event["order_id"]] = replace(account, **{column: total})
        elif name == "instrument_listed":
            instruments.add(event["symbol"])
    for order_id, _, status in status_steps(case):
        accounts[order_id] = replace(accounts.get(order_id, NOBODY), status=status)
    return Ledger(
        accounts,
        frozenset(instruments),
        known.trades + len(case.trades),
        max([known.timestamp_ns, *(event["timestamp_ns"] for event in case.events)]),
    )


def status_steps(case: Case) -> Iterator[tuple[int, str, str]]:
    """Yield (order id, status before, status after) for all that the events say of statuses."""
    statuses = {order_id: account.status for order_id, account in case.known.accounts.items()}
    for event in case.events:
        for order_id, status in _says(event):
            before = statuses.get(order_id, "UNKNOWN")
            if event["event"] == "order_rejected" and before != "UNKNOWN":
                continue  # a second NEW leaves the first as it is (rulebook 1)
            yield order_id, before, status
            statuses[order_id] = status


def _says(event: Event) -> list[tuple[int, str]]:
    if event["event"] == "trade_executed":
        return [
            (event["maker_order_id"], "PARTIALLY_FILLED" if event["maker_remaining"] else "FILLED"),
            (event["taker_order_id"], "PARTIALLY_FILLED" if event["taker_remaining"] else "FILLED"),
        ]
    status = {
        "order_accepted": "NEW",
        "order_rejected": "REJECTED",
        "order_canceled": "CANCELED",
        "order_expired": "EXPIRED",
    }.get(event["event"])
    return [] if status is None else [(event["order_id"], status)]
