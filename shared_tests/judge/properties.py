"""What must hold after every command: each property one function, which never matches an order.

A property is given one `Case`: the state before, the command, the events, the state after. It says
what is wrong, or None. It finds that out by counting, comparing and sorting what is there, not by
doing what the engine should have done.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ..engines.engine import MAX, Command, Event
from ..reference.input import filled_in
from .evidence import (
    LIFECYCLE,
    LIVE,
    NOBODY,
    REFUSALS,
    Case,
    Ledger,
    Resting,
    Taker,
    incoming,
    is_own,
    largest_volume,
    opposite_orders,
    other_side,
    path_of,
    rank_of,
    replaced_terms,
    status_steps,
)

# -- The three properties, and what follows from them (Garg and Sarswat) --------------------------


def p1_the_spread_is_positive(case: Case) -> str | None:
    """P1, positive bid-ask spread: no bid of a book is at or above an ask of it (rulebook 4.2)."""
    for symbol in {order.symbol for order in case.after.resting}:
        bids = [o.price for o in case.after.resting if (o.symbol, o.side) == (symbol, "BUY")]
        asks = [o.price for o in case.after.resting if (o.symbol, o.side) == (symbol, "SELL")]
        if bids and asks and max(bids) >= min(asks):
            return f"{symbol}: bid {max(bids)} meets ask {min(asks)}"
    return None


def p2_price_time_priority(case: Case) -> str | None:
    """P2: if an order trades, every more competitive order of its side is gone (rulebook 4.1).

    Gone means traded in full or taken out by self-trade prevention. Of two orders of a side the
    better price is more competitive, and at one price the one that joined it earlier.
    """
    taker = incoming(case)
    if taker is None or not case.trades:
        return None
    standing = {order.order_id for order in case.after.resting}
    makers = {trade["maker_order_id"] for trade in case.trades}
    path = path_of(case, taker)
    last = max((place for place, o in enumerate(path) if o.order_id in makers), default=0)
    passed = [order.order_id for order in path[:last] if order.order_id in standing]
    if passed:
        return f"{makers} traded before {passed}, which are still there"
    own_side = opposite_orders(case, taker.symbol, other_side(taker.side))
    better = [o for o in own_side if o.price == taker.price or not taker.reaches(o.price)]
    if any(o.order_id in standing - {taker.order_id} for o in better):
        return f"{taker.order_id} traded before {better} of its own side"
    return None


def p3a_only_tradable_orders_trade(case: Case) -> str | None:
    """P3a, conservation: trades are between known orders that may trade, and never overfill.

    The taker is the order that came in; the maker rested before on the other side of the same book,
    at a price that the taker's price reaches. Neither trades more than it had open.
    """
    if not case.trades:
        return None
    taker = incoming(case)
    if taker is None:
        return "a trade, but no order came in"
    path = {order.order_id: order for order in path_of(case, taker)}
    traded: Counter[int] = Counter()
    for trade in case.trades:
        if trade["taker_order_id"] != taker.order_id:
            return f"the taker of trade {trade['trade_id']} did not come in"
        if trade["maker_order_id"] not in path:
            return f"the maker of trade {trade['trade_id']} was not there to trade"
        if trade["quantity"] < 1:
            return f"trade {trade['trade_id']} is empty"
        traded[trade["maker_order_id"]] += trade["quantity"]
    overfilled = [maker for maker in traded if traded[maker] > path[maker].remaining]
    if overfilled or traded.total() > taker.quantity:
        return f"more traded than was open: makers {overfilled}, taker {traded.total()}"
    return None


def p3b_no_bid_is_lost_or_made(case: Case) -> str | None:
    """P3b, conservation: the bids left are the bids before, and the one absorbed, minus traded."""
    return _residual(case, "BUY")


def p3c_no_ask_is_lost_or_made(case: Case) -> str | None:
    """P3c, conservation: the asks left are the asks before, and the one absorbed, minus traded."""
    return _residual(case, "SELL")


def _residual(case: Case, side: str) -> str | None:
    expected = {order.order_id: order for order in case.before.resting if order.side == side}
    taker = incoming(case)
    if taker is not None and taker.side == side:
        expected.pop(taker.order_id, None)
        if taker.time_in_force == "GTC" and taker.price is not None:  # others are never absorbed
            expected[taker.order_id] = Resting(
                taker.symbol, side, taker.price, taker.order_id, taker.participant, taker.quantity
            )
    for event in case.events:
        out: dict[int, int] = {}
        if event["event"] == "trade_executed":
            out = {event[name]: event["quantity"] for name in ("maker_order_id", "taker_order_id")}
        elif event["event"] in ("order_canceled", "order_expired"):
            out = {event["order_id"]: MAX}
        elif event["event"] == "order_reduced":
            by: Any = case.command["by"]
            out = {event["order_id"]: by}
        for order_id, quantity in out.items():
            if order_id in expected:
                order = expected[order_id]
                expected[order_id] = order._replace(remaining=order.remaining - quantity)
    left = {order for order in expected.values() if order.remaining > 0}
    there = {order for order in case.after.resting if order.side == side}
    if left != there:
        return f"missing {left - there}, too many {there - left}"
    return None


def t1_the_traded_volume_is_maximal(case: Case) -> str | None:
    """T1: no more could have been traded, given the taker's limit and its own wishes.

    A FOK that cannot be filled is left to `a_fok_trades_in_full_or_not_at_all`.
    """
    taker = incoming(case)
    if taker is None:
        return None
    largest = largest_volume(taker, path_of(case, taker))
    volume = sum(trade["quantity"] for trade in case.trades)
    if volume != largest and (taker.time_in_force != "FOK" or largest == taker.quantity):
        return f"{volume} traded, {largest} was possible"
    return None


def canonical_fills(events: Iterable[Event]) -> Counter[tuple[int, int]]:
    """How much each pair of orders traded, whatever the number and order of the trades."""
    fills: Counter[tuple[int, int]] = Counter()
    for event in events:
        if event["event"] == "trade_executed":
            fills[event["maker_order_id"], event["taker_order_id"]] += event["quantity"]
    return fills


def t2_the_fills_are_equal(one: Case, other: Case) -> str | None:
    """T2, uniqueness: after the same commands two correct engines have the same canonical fills."""
    ours, theirs = canonical_fills(one.events), canonical_fills(other.events)
    return None if ours == theirs else f"{dict(ours)} here, {dict(theirs)} there"


def t3_the_books_are_equal(one: Case, other: Case) -> str | None:
    """T3, uniqueness: after the same commands two correct engines have the same book."""
    ours, theirs = one.after.resting, other.after.resting
    return None if ours == theirs else f"{ours} here, {theirs} there"


# -- Fills ----------------------------------------------------------------------------------------


def a_trade_is_at_the_makers_price(case: Case) -> str | None:
    """Every fill is at the price at which the maker rested (rulebook 4.3)."""
    prices = {order.order_id: order.price for order in case.before.resting}
    for trade in case.trades:
        if trade["price"] != prices.get(trade["maker_order_id"], trade["price"]):
            return f"trade {trade['trade_id']} at {trade['price']}"
    return None


def the_best_maker_comes_first(case: Case) -> str | None:
    """Makers trade, or are taken out, in the order of their priority (rulebook 4.1)."""
    taker = incoming(case)
    if taker is None:
        return None
    places = {order.order_id: place for place, order in enumerate(path_of(case, taker))}
    met = [event.get("maker_order_id", event.get("order_id")) for event in case.events]
    order = [places[order_id] for order_id in met if order_id in places]
    return None if order == sorted(order) else f"met in the order {met}"


def a_maker_trades_once(case: Case) -> str | None:
    """One taker, one maker: one trade (rulebook 4.3)."""
    counts = Counter(trade["maker_order_id"] for trade in case.trades)
    twice = [maker for maker, count in counts.items() if count > 1]
    return f"{twice} traded more than once" if twice else None


def a_fok_trades_in_full_or_not_at_all(case: Case) -> str | None:
    """A FOK is filled in full, or nothing at all is touched (rulebook 4.6)."""
    taker = incoming(case)
    if taker is None or taker.time_in_force != "FOK":
        return None
    volume = sum(trade["quantity"] for trade in case.trades)
    return None if volume in (0, taker.quantity) else f"{volume} of {taker.quantity} traded"


def a_post_only_order_never_takes(case: Case) -> str | None:
    """Post-only: accepted only if nothing opposite is at or through its price (rulebook 4, 5)."""
    command = case.command
    refused = [e for e in case.events if e.get("reason") == "POST_ONLY_WOULD_TRADE"]
    if command.get("command") == "new" and (refused or not case.refused):
        full = filled_in(command)
        post_only, symbol, side, price = (
            full[name] for name in ("post_only", "symbol", "side", "price")
        )
    elif command.get("command") == "replace" and (refused or not case.refused):
        account = case.account
        post_only, symbol, side = account.post_only, account.symbol, account.side
        price = replaced_terms(case)[0]
    else:
        return None
    probe = Taker(0, 0, symbol, side, price, 1, "GTC", "NONE")
    would_take = bool(path_of(case, probe))
    if refused and not (post_only and would_take):
        return "refused, though it would not have taken"
    if post_only and not refused and (would_take or case.trades):
        return "accepted, though it would take"
    return None


# -- Self-trade prevention ------------------------------------------------------------------------


def nobody_trades_with_himself_who_forbids_it(case: Case) -> str | None:
    """Under a prevention mode the taker's participant is on one side of its trades (rulebook 4)."""
    taker = incoming(case)
    if taker is None or taker.self_trade_prevention == "NONE":
        return None
    own = {o.order_id for o in case.before.resting if o.participant == taker.participant}
    selves = [t["trade_id"] for t in case.trades if t["maker_order_id"] in own]
    return f"trades {selves} are with itself" if selves else None


def prevention_cancels_whom_its_mode_names(case: Case) -> str | None:
    """Own orders that the taker reaches while it has lots open, and the taker, by the mode.

    CANCEL_MAKER: each of these. CANCEL_TAKER: the taker, at the first. CANCEL_BOTH: the first, then
    the taker. A FOK that is not filled touches nothing. Deeper own orders stay (rulebook 4).
    """
    canceled = [e["order_id"] for e in case.events if e.get("reason") == "SELF_TRADE"]
    taker = incoming(case)
    if taker is None:
        return f"{canceled}, but no order came in" if canceled else None
    path = path_of(case, taker)
    killed = taker.time_in_force == "FOK" and largest_volume(taker, path) < taker.quantity
    reached, needed = [], taker.quantity
    for maker in path:
        if needed > 0 and is_own(taker, maker):
            reached.append(maker.order_id)
        elif needed > 0:
            needed -= maker.remaining
    expected = {
        "NONE": [],
        "CANCEL_MAKER": reached,
        "CANCEL_TAKER": [taker.order_id] if reached else [],
        "CANCEL_BOTH": [*reached[:1], taker.order_id] if reached else [],
    }[taker.self_trade_prevention]
    expected = [] if killed else expected
    return None if canceled == expected else f"canceled {canceled}, its mode names {expected}"


# -- The other commands ---------------------------------------------------------------------------


def a_mass_cancel_takes_all_of_one_owner(case: Case) -> str | None:
    """A mass cancel takes out its participant's orders of its symbol, and says how many.

    All of them, no others, in canonical order (rulebook 5).
    """
    if case.command.get("command") != "mass_cancel":
        return None
    participant, symbol = case.command["participant"], case.command["symbol"]
    expected = [
        order.order_id
        for order in case.before.resting
        if order.participant == participant and symbol in (None, order.symbol)
    ]
    canceled = [e["order_id"] for e in case.events if e["event"] == "order_canceled"]
    counts = [e["count"] for e in case.events if e["event"] == "mass_canceled"]
    if canceled != expected or counts != [len(expected)]:
        return f"canceled {canceled} and counted {counts}, there were {expected}"
    return None


def a_refusal_gives_the_first_reason(case: Case) -> str | None:
    """A command is refused if a check fails, for the first that does (rulebook 2, 4, 5).

    POST_ONLY_WOULD_TRADE, always the last check, is left to `a_post_only_order_never_takes`.
    """
    reasons = [e["reason"] for e in case.events if e["event"] in REFUSALS]
    expected = _why_refuse(case)
    if reasons == [] and expected is None:
        return None
    if reasons == ["POST_ONLY_WOULD_TRADE"] and expected is None:
        return None
    return None if reasons == [expected] else f"reasons {reasons}, the first was {expected}"


def _why_refuse(case: Case) -> str | None:
    match case.command.get("command"):
        case "new":
            return _why_refuse_new(case.known, filled_in(case.command))
        case "cancel" | "reduce" | "replace":
            return _why_refuse_change(case)
        case "list_instrument":
            return _why_refuse_listing(case)
    return None


def _why_refuse_new(known: Ledger, command: dict[str, Any]) -> str | None:
    limit = command["type"] == "LIMIT"
    rests = limit and command["time_in_force"] == "GTC"
    checks = {
        "UNKNOWN_SYMBOL": command["symbol"] not in known.instruments,
        "DUPLICATE_ORDER_ID": command["order_id"] in known.accounts,
        "INVALID_PRICE": command["price"] < 1 if limit else command["price"] is not None,
        "INVALID_QUANTITY": command["quantity"] < 1,
        "INVALID_TIME_IN_FORCE": not rests
        and (command["post_only"] or command["time_in_force"] == "GTC"),
    }
    return next((reason for reason, fails in checks.items() if fails), None)


def _why_refuse_change(case: Case) -> str | None:
    account = case.account
    order_id: Any = case.command["order_id"]
    if order_id not in case.known.accounts:
        return "UNKNOWN_ORDER"
    if case.before.orders[order_id][0] not in LIVE:
        return "TOO_LATE"
    if account.participant != case.command["participant"]:
        return "NOT_OWNER"
    if case.command["command"] == "reduce":
        by: Any = case.command["by"]
        return None if 1 <= by <= account.open_lots else "INVALID_QUANTITY"
    if case.command["command"] == "replace":
        price, quantity = replaced_terms(case)
        if price < 1:
            return "INVALID_PRICE"
        return "INVALID_QUANTITY" if quantity < 1 else None
    return None


def _why_refuse_listing(case: Case) -> str | None:
    if case.command["symbol"] in case.known.instruments:
        return "DUPLICATE_SYMBOL"
    for name in ("tick_size", "lot_size"):
        size = str(case.command[name])
        digits = size.replace(".", "", 1)
        if not (digits.isascii() and digits.isdigit() and digits.strip("0")):
            return f"INVALID_{name.upper()}"
    return None


# -- Events ---------------------------------------------------------------------------------------


def the_events_have_the_form_of_their_command(case: Case) -> str | None:
    """Which events may follow which command, and in what order (rulebook 3, 4, 5).

    In letters: an order that comes in is accepted or replaced (a), trades and meets own orders that
    are canceled (t, m), and at last may be canceled (c) or expire (x) itself; or it is refused (r).
    A remainder that may wait never expires. A reduce by all that is open is a cancel.
    """
    command = case.command
    kind = str(command.get("command", "malformed"))
    patterns = {
        "malformed": "",
        "list_instrument": "l|r",
        "new": "r|a[tm]*[cx]?",
        "replace": "r|a[tm]*c?",
        "cancel": "r|c",
        "reduce": "r|d",
        "mass_cancel": "m*M",
    }
    if kind == "new" and filled_in(command)["time_in_force"] == "GTC":
        patterns["new"] = "r|a[tm]*c?"
    if kind == "reduce" and not case.refused:
        account = case.account
        patterns["reduce"] = "c" if command["by"] == account.open_lots else "d"
    letters = "".join(_letter(command, event) for event in case.events)
    reasons = {event["reason"] for event in case.events if event["event"] == "order_canceled"}
    reason = {"cancel": "USER", "reduce": "USER", "mass_cancel": "MASS_CANCEL"}
    if not re.fullmatch(patterns[kind], letters) or reasons - {reason.get(kind, "SELF_TRADE")}:
        return f"{kind} is answered by {[event['event'] for event in case.events]} {reasons or ''}"
    return None


def _letter(command: Command, event: Event) -> str:
    first = {"new": "order_accepted", "replace": "order_replaced"}
    refusal = {"new": "order_rejected", "list_instrument": "instrument_rejected"}
    kind = str(command.get("command"))
    name = event["event"]
    if name in REFUSALS:
        return "r" if name == refusal.get(kind, "cancel_rejected") else "?"
    if name in first.values():
        return "a" if name == first.get(kind) else "?"
    if name == "order_canceled":
        return "c" if event["order_id"] == command.get("order_id") else "m"
    letters = {"trade_executed": "t", "order_expired": "x", "order_reduced": "d"}
    return (letters | {"mass_canceled": "M", "instrument_listed": "l"}).get(name, "?")


def the_events_say_what_is_so(case: Case) -> str | None:
    """What an event repeats is as the command and the order have it (rulebook 3)."""
    taker = incoming(case)
    accounts = dict(case.known.accounts)
    left = {order_id: account.open_lots for order_id, account in accounts.items()}
    if taker is not None:
        left[taker.order_id] = taker.quantity
    for event in case.events:
        expected: dict[str, Any] = {}
        match event["event"]:
            case "order_accepted":
                expected = filled_in(case.command)
            case "order_rejected" | "cancel_rejected":
                expected = {name: case.command[name] for name in ("order_id", "participant")}
                if event["event"] == "cancel_rejected":
                    expected["request"] = str(case.command["command"]).upper()
            case "order_replaced" if taker is not None:
                expected = {"order_id": taker.order_id, "participant": taker.participant}
                expected |= {"price": taker.price, "remaining": taker.quantity}
            case "trade_executed" if taker is not None:
                maker_id = event["maker_order_id"]
                for order_id in (maker_id, taker.order_id):
                    left[order_id] = left.get(order_id, 0) - event["quantity"]
                expected = {
                    "symbol": taker.symbol,
                    "maker_participant": accounts.get(maker_id, NOBODY).participant,
                    "taker_participant": taker.participant,
                    "taker_side": taker.side,
                    "maker_remaining": left[maker_id],
                    "taker_remaining": left[taker.order_id],
                }
            case "order_canceled" | "order_expired" | "order_reduced":
                order_id = event["order_id"]
                if taker is not None and order_id == taker.order_id:
                    expected = {"participant": taker.participant}
                else:
                    expected = {"participant": accounts.get(order_id, NOBODY).participant}
            case "mass_canceled":
                expected = {name: case.command[name] for name in ("participant", "symbol")}
            case "instrument_listed":
                sizes = ("symbol", "tick_size", "lot_size")
                expected = {name: case.command[name] for name in sizes}
            case "instrument_rejected":
                expected = {"symbol": case.command["symbol"]}
        wrong = [name for name in expected if event[name] != expected[name]]
        if wrong:
            return f"{event}: {wrong} should be {[expected[name] for name in wrong]}"
    return None


def sequences_and_indexes_are_dense(case: Case) -> str | None:
    """The next sequence, and index 0, 1, 2 ...; nothing for a malformed line (rulebook 2, 3)."""
    sequence = case.before.sequence + (1 if case.command else 0)
    expected = [(sequence, index) for index in range(len(case.events))]
    numbers = [(event["sequence"], event["index"]) for event in case.events]
    if numbers != expected or case.after.sequence != sequence:
        return f"{numbers} at {case.after.sequence}, not {expected} at {sequence}"
    return None


def trade_ids_are_dense(case: Case) -> str | None:
    """Trades are numbered 1, 2, 3 ... over all symbols (rulebook 3)."""
    numbers = [trade["trade_id"] for trade in case.trades]
    expected = [case.known.trades + 1 + place for place in range(len(numbers))]
    return None if numbers == expected else f"{numbers}, not {expected}"


def time_never_goes_backwards(case: Case) -> str | None:
    """The events of a command have one time, not before the last command's (rulebook 2)."""
    times = {event["timestamp_ns"] for event in case.events}
    if len(times) > 1 or any(time < case.known.timestamp_ns for time in times):
        return f"{times} after {case.known.timestamp_ns}"
    return None


# -- Orders ---------------------------------------------------------------------------------------


def every_lot_is_accounted_for(case: Case) -> str | None:
    """Over an order's whole life no lot appears or vanishes.

    What was submitted, and added by replaces, has been traded, canceled, reduced or expired, or it
    rests.
    """
    there: Counter[int] = Counter()
    for order in case.after.resting:
        there[order.order_id] += order.remaining
    for order_id, account in case.known_after.accounts.items():
        if account.open_lots != there[order_id]:
            return f"{order_id}: {there[order_id]} lots rest, {account} has {account.open_lots}"
    return None


def the_lifecycle_is_followed(case: Case) -> str | None:
    """Every step that an order's status takes is in the table (rulebook 6)."""
    for order_id, before, after in status_steps(case):
        if after not in LIFECYCLE.get(before, ()):
            return f"{order_id}: {before} -> {after}"
    return None


def every_status_is_right(case: Case) -> str | None:
    """Every id can be asked for, and is answered as the events have it (rulebook 6, 8)."""
    accounts = case.known_after.accounts
    for order_id, answer in case.after.orders.items():
        account = accounts.get(order_id, NOBODY)
        if answer != (account.status, account.open_lots if account.status in LIVE else 0):
            return f"{order_id} is said to be {answer}, but {account}"
    return None


def what_has_ended_is_gone(case: Case) -> str | None:
    """A canceled id is gone, and so is one that was filled, has expired or was rejected."""
    accounts = case.known_after.accounts
    ended = {order_id for order_id, account in accounts.items() if account.status not in LIVE}
    there = [order for order in case.after.resting if order.order_id in ended]
    return f"{there} rest, but have ended" if there else None


def no_order_is_a_ghost(case: Case) -> str | None:
    """What rests was once accepted, with just these terms, and rests once."""
    accounts = case.known_after.accounts
    for order in case.after.resting:
        account = accounts.get(order.order_id, NOBODY)
        terms = (account.symbol, account.side, account.price, account.participant)
        if terms != (order.symbol, order.side, order.price, order.participant):
            return f"{order} was never accepted like that"
    twice = [i for i, n in Counter(o.order_id for o in case.after.resting).items() if n > 1]
    return f"{twice} rest more than once" if twice else None


def only_what_may_wait_rests(case: Case) -> str | None:
    """MARKET, IOC and FOK never rest (rulebook 4.5)."""
    accounts = case.known_after.accounts
    for order in case.after.resting:
        account = accounts.get(order.order_id, NOBODY)
        if account.type == "MARKET" or account.time_in_force in ("IOC", "FOK"):
            return f"{order.order_id}, a {account.type} {account.time_in_force}, rests"
    return None


# -- Books ----------------------------------------------------------------------------------------


def each_queue_is_in_order_of_joining(case: Case) -> str | None:
    """FIFO: a level has its orders by when they took their present place (rulebook 4, 5).

    A fill or a reduce keeps the place; a replace takes a new one, at the tail.
    """
    accounts = case.known_after.accounts
    levels: dict[tuple[str, str, int], list[int]] = {}
    for order in case.after.resting:
        joined = accounts.get(order.order_id, NOBODY).joined
        levels.setdefault((order.symbol, order.side, order.price), []).append(joined)
    for level, queue in levels.items():
        if queue != sorted(queue):
            return f"{level} joined in the order {queue}"
    return None


def the_levels_are_sorted(case: Case) -> str | None:
    """Symbols by code point, BUY before SELL, best price first; so are books (rulebook 7, 8)."""
    ranks = [(order.symbol, order.side, rank_of(order)) for order in case.after.resting]
    if ranks != sorted(ranks):
        return f"the canonical order is {ranks}"
    for symbol, book in case.after.books.items():
        bids, asks = ([level[0] for level in book[side]] for side in ("bids", "asks"))
        if bids != sorted(set(bids), reverse=True) or asks != sorted(set(asks)):
            return f"{symbol}: bids {bids}, asks {asks}"
    return None


def no_level_is_empty(case: Case) -> str | None:
    """Every level shown has an order, and every order shown has a lot (rulebook 4.4)."""
    if any(order.remaining < 1 for order in case.after.resting):
        return "an order with nothing left rests"
    for symbol, book in case.after.books.items():
        empty = [level for side in ("bids", "asks") for level in book[side] if min(level) < 1]
        if empty:
            return f"{symbol}: {empty}"
    return None


def the_book_shown_is_the_sum_of_its_orders(case: Case) -> str | None:
    """Price, quantity and number of orders of every level are those of what rests (rulebook 8)."""
    for symbol, book in case.after.books.items():
        for name, side in (("bids", "BUY"), ("asks", "SELL")):
            lots: Counter[int] = Counter()
            orders: Counter[int] = Counter()
            for order in case.after.resting:
                if (order.symbol, order.side) == (symbol, side):
                    lots[order.price] += order.remaining
                    orders[order.price] += 1
            shown = {tuple(level) for level in book[name] if level[1:] != [0, 0]}
            if shown != {(price, lots[price], orders[price]) for price in orders}:
                return f"{symbol}: the {name} shown are {book[name]}"
    return None


def the_state_hash_is_that_of_the_orders(case: Case) -> str | None:
    """The hash is the SHA-256 of the canonical text (rulebook 7): nothing else rests."""
    text = "".join(",".join(str(value) for value in order) + "\n" for order in case.after.resting)
    expected = hashlib.sha256(text.encode()).hexdigest()
    return None if case.after.state_hash == expected else f"it should be {expected}"


Property = Callable[[Case], str | None]

PROPERTIES: dict[str, Property] = {
    each.__name__: each
    for each in (
        p1_the_spread_is_positive,
        p2_price_time_priority,
        p3a_only_tradable_orders_trade,
        p3b_no_bid_is_lost_or_made,
        p3c_no_ask_is_lost_or_made,
        t1_the_traded_volume_is_maximal,
        a_trade_is_at_the_makers_price,
        the_best_maker_comes_first,
        a_maker_trades_once,
        a_fok_trades_in_full_or_not_at_all,
        a_post_only_order_never_takes,
        nobody_trades_with_himself_who_forbids_it,
        prevention_cancels_whom_its_mode_names,
        a_mass_cancel_takes_all_of_one_owner,
        a_refusal_gives_the_first_reason,
        the_events_have_the_form_of_their_command,
        the_events_say_what_is_so,
        sequences_and_indexes_are_dense,
        trade_ids_are_dense,
        time_never_goes_backwards,
        every_lot_is_accounted_for,
        the_lifecycle_is_followed,
        every_status_is_right,
        what_has_ended_is_gone,
        no_order_is_a_ghost,
        only_what_may_wait_rests,
        each_queue_is_in_order_of_joining,
        the_levels_are_sorted,
        no_level_is_empty,
        the_book_shown_is_the_sum_of_its_orders,
        the_state_hash_is_that_of_the_orders,
    )
}
"""What holds after every command of one engine, by name."""

UNIQUENESS = {each.__name__: each for each in (t2_the_fills_are_equal, t3_the_books_are_equal)}
"""What holds between two engines that were sent the same commands."""
