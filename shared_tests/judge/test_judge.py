"""Every property of the judge, for every engine, after every command; and a judge that complains.

No test here compares an engine with another one, but the two on uniqueness: the properties stand on
their own feet. A failure names the property.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from ..engines.adapters import V1, V2Matcher
from ..engines.engine import Command, Engine, Event, Malformed, encode
from ..reference.reference import Reference
from ..reference.strategies import command_sequences, random_commands
from ..scenarios.broken_rules import RULES, SCENARIOS, load_broken
from ..scenarios.scenario import Scenario, parse_scenario
from .evidence import LIVE, Case, Resting, State
from .judge import Broken, Judged, complaints
from .properties import (
    PROPERTIES,
    UNIQUENESS,
    t2_the_fills_are_equal,
    t3_the_books_are_equal,
)

JUDGED: dict[str, Callable[[], Engine]] = {"reference": Reference, "v1": V1, "v2": V2Matcher}


def send(engine: Engine, commands: Iterable[Command]) -> None:
    for command in commands:
        with suppress(Malformed):
            engine.execute_line(encode(command))


# -- The properties hold --------------------------------------------------------------------------


@pytest.mark.parametrize("name", JUDGED)
def test_every_property_holds_after_every_command(name: str) -> None:
    @settings(max_examples=max(1, settings().max_examples // 4))
    @given(command_sequences())
    def holds(commands: list[Command]) -> None:
        send(Judged(JUDGED[name]()), commands)

    holds()


@pytest.mark.once
@pytest.mark.parametrize("name", PROPERTIES)
def test_for_every_engine(name: str) -> None:
    """The same, property by property, so that a report says at a glance which ones hold."""

    @settings(max_examples=max(4, settings().max_examples // 20))
    @given(command_sequences(20, 60))
    def holds(commands: list[Command]) -> None:
        for make in JUDGED.values():
            send(Judged(make(), [name]), commands)

    holds()


@pytest.mark.parametrize("name", UNIQUENESS)
def test_for_every_two_engines(name: str) -> None:
    """T2 and T3: equal fills and equal books after every prefix."""

    @settings(max_examples=max(1, settings().max_examples // 8))
    @given(command_sequences())
    def holds(commands: list[Command]) -> None:
        engines = [Judged(make(), []) for make in JUDGED.values()]
        for command in commands:
            send_to_all(engines, command)
            one, *others = [engine.case for engine in engines]
            for other in others:
                assert one is not None
                assert other is not None
                problem = UNIQUENESS[name](one, other)
                assert problem is None, f"{name}: {problem}"

    holds()


def send_to_all(engines: Iterable[Engine], command: Command) -> None:
    for engine in engines:
        send(engine, [command])


@pytest.mark.parametrize("name", JUDGED)
def test_every_property_holds_over_a_long_session(name: str) -> None:
    send(Judged(JUDGED[name]()), random_commands(5, 400))


def play(engine: Engine, scenario: Scenario) -> None:
    """Send the commands of a scenario, whatever comes of them."""
    if not scenario.empty:
        sizes = {"tick_size": "0.01", "lot_size": "1"}
        send(engine, [{"command": "list_instrument", "symbol": "ABC", **sizes}])
    for step in scenario.steps:
        if not step.question:
            with suppress(Malformed):
                engine.execute_line(step.line)


@pytest.mark.parametrize("name", JUDGED)
def test_every_property_holds_in_every_scenario(name: str) -> None:
    for scenario in SCENARIOS:
        play(Judged(JUDGED[name]()), scenario)


# -- The judge complains about engines that are broken --------------------------------------------

BEYOND_THE_JUDGE = {
    "depth is ignored": "the judge looks at whole books only",
}


@pytest.mark.once
@pytest.mark.parametrize(("mistake", "piece", "instead"), RULES, ids=[rule[0] for rule in RULES])
def test_the_judge_alone_notices_that(
    mistake: str, piece: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every mistake that the scenarios are tested with, found without knowing what is right."""
    broken = load_broken("reference.py", piece, instead, monkeypatch)
    assert (first_complaint(broken) is None) == (mistake in BEYOND_THE_JUDGE)


def first_complaint(broken: type[Engine]) -> str | None:
    try:
        for scenario in SCENARIOS:
            play(Judged(broken()), scenario)
        for seed in range(3):
            send(Judged(broken()), random_commands(seed, 150))
    except Broken as complaint:
        return str(complaint)
    except (AssertionError, KeyError) as error:  # its lifecycle stopped it before the judge could
        return f"the engine stopped: {error!r}"
    return None


# -- The judge complains about traces that were doctored ------------------------------------------
#
# One trace a property, doctored so that nothing but this property sees it. That takes some care: an
# engine that goes wrong usually breaks several properties at once.


def trial(story: str) -> Case:
    """Play a story, in the notation of the scenarios, and return the case of its last command."""
    engine = Judged(Reference())
    play(engine, parse_scenario(f"# Rulebook 4.\n{story}", "story"))
    assert engine.case is not None
    return engine.case


def showing(state: State, resting: Iterable[Resting]) -> State:
    """The state with another book, and with the levels and the hash of that book."""
    resting = tuple(resting)
    levels: dict[tuple[str, str, int], list[int]] = {}
    for order in resting:
        level = levels.setdefault((order.symbol, order.side, order.price), [order.price, 0, 0])
        level[1] += order.remaining
        level[2] += 1
    books = {
        symbol: {
            "bids": sorted(
                (levels[at] for at in levels if at[:2] == (symbol, "BUY")), reverse=True
            ),
            "asks": sorted(levels[at] for at in levels if at[:2] == (symbol, "SELL")),
        }
        for symbol in state.books
    }
    text = "".join(",".join(str(value) for value in order) + "\n" for order in resting)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return replace(state, resting=resting, books=books, state_hash=digest)


def telling(case: Case, events: Sequence[Event], resting: Iterable[Resting] | None = None) -> Case:
    """The case with other events and another book, and with all that follows from them."""
    numbered = [event | {"index": index} for index, event in enumerate(events)]
    trades = [event for event in numbered if event["event"] == "trade_executed"]
    for trade_id, trade in enumerate(trades, case.known.trades + 1):
        trade["trade_id"] = trade_id
    case = replace(case, events=numbered)
    orders = {
        order_id: (account.status, account.open_lots if account.status in LIVE else 0)
        for order_id, account in case.known_after.accounts.items()
    }
    after = case.after if resting is None else showing(case.after, resting)
    return replace(case, after=replace(after, orders={**case.after.orders, **orders}))


def rewriting(case: Case, order_id: int, in_books: bool = True, **terms: Any) -> Case:
    """The case as if an order had always had other terms: for the judge, in the books."""
    account = replace(case.known.accounts[order_id], **terms)
    known = replace(case.known, accounts={**case.known.accounts, order_id: account})

    def rewritten(state: State) -> State:
        if not in_books:
            return state
        resting = [o._replace(**terms) if o.order_id == order_id else o for o in state.resting]
        return showing(state, resting)

    return replace(case, known=known, before=rewritten(case.before), after=rewritten(case.after))


def event_of(case: Case, name: str, **fields: Any) -> Event:
    """The first event of that name, with some fields changed."""
    return next(event for event in case.events if event["event"] == name) | fields


def ask(order_id: int, quantity: int, price: int = 100, participant: int = 0) -> Resting:
    return Resting("ABC", "SELL", price, order_id, participant or order_id, quantity)


def bid(order_id: int, quantity: int, price: int = 100) -> Resting:
    return Resting("ABC", "BUY", price, order_id, order_id, quantity)


QUIET = "sell 1 5@100\nsell 2 5@100\nsell 3 5@101\nbuy 4 5@99\ncancel 9"


def a_crossed_book() -> Case:
    return rewriting(trial(QUIET), 4, price=100)


def the_younger_of_two_trades() -> Case:
    case = trial("sell 1 5@100\nsell 2 5@100\nbuy 3 5@100")
    trade = event_of(case, "trade_executed", maker_order_id=2, maker_participant=2)
    return telling(case, [case.events[0], trade], [ask(1, 5)])


def a_maker_gives_more_than_it_has() -> Case:
    case = trial("sell 1 3@100\nsell 2 5@100\nbuy 3 6@100")
    accepted, first, second = case.events
    first = first | {"quantity": 4, "taker_remaining": 2}
    second = second | {"quantity": 2, "maker_remaining": 3}
    account = replace(case.known.accounts[1], submitted=4)  # so that its life adds up
    known = replace(case.known, accounts={**case.known.accounts, 1: account})
    return telling(replace(case, known=known), [accepted, first, second], [ask(2, 3)])


def a_bid_is_reduced_by_too_little() -> Case:
    case = trial("buy 1 5@100\nreduce 1 2")
    return telling(case, [event_of(case, "order_reduced", remaining=4)], [bid(1, 4)])


def an_ask_is_reduced_by_too_much() -> Case:
    case = trial("sell 1 5@100\nreduce 1 2")
    return telling(case, [event_of(case, "order_reduced", remaining=2)], [ask(1, 2)])


def an_ioc_trades_less_than_it_could() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100 ioc")
    trade = event_of(case, "trade_executed", quantity=3, maker_remaining=2, taker_remaining=2)
    expired = {**trade, "event": "order_expired", "order_id": 2, "participant": 2, "remaining": 2}
    return telling(case, [case.events[0], trade, expired], [ask(1, 2)])


def a_trade_at_the_takers_price() -> Case:
    case = trial("sell 1 5@99\nbuy 2 5@100")
    return telling(case, [case.events[0], event_of(case, "trade_executed", price=100)])


def the_worse_price_first() -> Case:
    case = trial("sell 1 5@100\nsell 2 5@101\nbuy 3 10@101")
    accepted, first, second = case.events
    swapped = [second | {"taker_remaining": 5}, first | {"taker_remaining": 0}]
    return telling(case, [accepted, *swapped])


def one_maker_two_trades() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100")
    accepted, trade = case.events
    first = trade | {"quantity": 2, "maker_remaining": 3, "taker_remaining": 3}
    return telling(case, [accepted, first, trade | {"quantity": 3}])


def a_fok_trades_in_part() -> Case:
    case = trial("sell 1 3@100\nbuy 2 5@100 fok")
    other = trial("sell 1 3@100\nbuy 2 5@100 ioc")
    return telling(case, [case.events[0], *other.events[1:]], [])


def a_post_only_order_takes() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100 post-only")
    accepted, trade = trial("sell 1 5@100\nbuy 2 5@100").events
    return telling(case, [accepted | {"post_only": True}, trade], [])


def an_order_meets_its_own_and_trades_first() -> Case:
    case = trial("sell 1 2@100 by 7\nsell 2 5@100\nbuy 3 3@100 by 7 stp cancel_maker")
    accepted, canceled, trade = case.events
    itself = trade | {"maker_order_id": 1, "maker_participant": 7}
    itself |= {"quantity": 1, "maker_remaining": 1, "taker_remaining": 2}
    trade = trade | {"quantity": 2, "maker_remaining": 3}
    events = [accepted, itself, canceled | {"remaining": 1}, trade]
    return telling(case, events, [ask(2, 3)])


def an_own_order_after_the_last_lot_is_canceled() -> Case:
    case = trial("sell 1 5@100\nsell 2 2@100 by 7\nbuy 3 5@100 by 7 stp cancel_maker")
    canceled = {
        **case.events[0],
        "event": "order_canceled",
        "order_id": 2,
        "participant": 7,
        "remaining": 2,
        "reason": "SELF_TRADE",
    }
    return telling(case, [*case.events, canceled], [])


def a_mass_cancel_forgets_an_order() -> Case:
    case = trial("sell 1 5@100 by 7\nsell 2 5@101 by 7\nmass-cancel 7")
    first, _, done = case.events
    return telling(case, [first, done | {"count": 1}], [ask(2, 5, 101, 7)])


def a_stranger_cancels() -> Case:
    case = trial("sell 1 5@100\ncancel 1")
    return replace(case, command={**case.command, "participant": 2})


def a_rest_that_may_wait_expires() -> Case:
    case = trial("sell 1 5@100")
    accepted = case.events[0]
    expired = {**accepted, "event": "order_expired", "remaining": 5}
    return telling(case, [accepted, expired], [])


def a_trade_names_another_participant() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100")
    return telling(case, [case.events[0], event_of(case, "trade_executed", maker_participant=3)])


def an_index_is_left_out() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100")
    return replace(case, events=[case.events[0], event_of(case, "trade_executed", index=2)])


def a_trade_id_is_left_out() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100")
    return replace(case, events=[case.events[0], event_of(case, "trade_executed", trade_id=2)])


def the_clock_is_set_back() -> Case:
    case = trial("sell 1 5@100\ncancel 1")
    return replace(case, events=[event_of(case, "order_canceled", timestamp_ns=1)])


def a_cancel_takes_out_fewer_lots_than_there_were() -> Case:
    case = trial("sell 1 5@100\ncancel 1")
    return replace(case, events=[event_of(case, "order_canceled", remaining=4)])


def a_filled_order_expires() -> Case:
    case = trial("sell 1 5@100\nbuy 2 5@100 ioc")
    expired = {**case.events[1], "event": "order_expired", "order_id": 2, "participant": 2}
    return telling(case, [*case.events, expired | {"remaining": 0}])


def a_partly_filled_order_is_called_new() -> Case:
    case = trial("sell 1 5@100\nbuy 2 3@100")
    return replace(case, after=replace(case.after, orders={**case.after.orders, 1: ("NEW", 2)}))


def a_canceled_order_still_rests() -> Case:
    case = trial(QUIET)
    orders = {**case.after.orders, 1: ("CANCELED", 0)}
    case = replace(case, after=replace(case.after, orders=orders))
    return rewriting(case, 1, in_books=False, status="CANCELED")


def an_order_changes_hands() -> Case:
    case = trial(QUIET)
    known = case.known
    return replace(rewriting(case, 1, participant=8), known=known)


def an_ioc_rests() -> Case:
    return rewriting(trial(QUIET), 1, in_books=False, time_in_force="IOC")


def two_orders_change_places() -> Case:
    case = trial(QUIET)
    four, one, two, three = case.after.resting
    return replace(case, after=showing(case.after, [four, two, one, three]))


def the_worse_level_first() -> Case:
    case = trial(QUIET)
    four, one, two, three = case.after.resting
    return replace(case, after=showing(case.after, [four, three, one, two]))


def shown_asks(*levels: list[int]) -> Case:
    case = trial(QUIET)
    asks = [*levels, *case.after.books["ABC"]["asks"][len(levels) :]]
    return replace(
        case, after=replace(case.after, books={"ABC": {"bids": [[99, 5, 1]], "asks": asks}})
    )


def an_empty_level() -> Case:
    return shown_asks([100, 10, 2], [101, 5, 1], [102, 0, 0])


def a_level_of_the_wrong_size() -> Case:
    return shown_asks([100, 9, 2])


def a_hash_of_something_else() -> Case:
    case = trial(QUIET)
    return replace(case, after=replace(case.after, state_hash=hashlib.sha256().hexdigest()))


DOCTORED: dict[str, Callable[[], Case]] = {
    "p1_the_spread_is_positive": a_crossed_book,
    "p2_price_time_priority": the_younger_of_two_trades,
    "p3a_only_tradable_orders_trade": a_maker_gives_more_than_it_has,
    "p3b_no_bid_is_lost_or_made": a_bid_is_reduced_by_too_little,
    "p3c_no_ask_is_lost_or_made": an_ask_is_reduced_by_too_much,
    "t1_the_traded_volume_is_maximal": an_ioc_trades_less_than_it_could,
    "a_trade_is_at_the_makers_price": a_trade_at_the_takers_price,
    "the_best_maker_comes_first": the_worse_price_first,
    "a_maker_trades_once": one_maker_two_trades,
    "a_fok_trades_in_full_or_not_at_all": a_fok_trades_in_part,
    "a_post_only_order_never_takes": a_post_only_order_takes,
    "nobody_trades_with_himself_who_forbids_it": an_order_meets_its_own_and_trades_first,
    "prevention_cancels_whom_its_mode_names": an_own_order_after_the_last_lot_is_canceled,
    "a_mass_cancel_takes_all_of_one_owner": a_mass_cancel_forgets_an_order,
    "a_refusal_gives_the_first_reason": a_stranger_cancels,
    "the_events_have_the_form_of_their_command": a_rest_that_may_wait_expires,
    "the_events_say_what_is_so": a_trade_names_another_participant,
    "sequences_and_indexes_are_dense": an_index_is_left_out,
    "trade_ids_are_dense": a_trade_id_is_left_out,
    "time_never_goes_backwards": the_clock_is_set_back,
    "every_lot_is_accounted_for": a_cancel_takes_out_fewer_lots_than_there_were,
    "the_lifecycle_is_followed": a_filled_order_expires,
    "every_status_is_right": a_partly_filled_order_is_called_new,
    "what_has_ended_is_gone": a_canceled_order_still_rests,
    "no_order_is_a_ghost": an_order_changes_hands,
    "only_what_may_wait_rests": an_ioc_rests,
    "each_queue_is_in_order_of_joining": two_orders_change_places,
    "the_levels_are_sorted": the_worse_level_first,
    "no_level_is_empty": an_empty_level,
    "the_book_shown_is_the_sum_of_its_orders": a_level_of_the_wrong_size,
    "the_state_hash_is_that_of_the_orders": a_hash_of_something_else,
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_only_this_property_sees_through_a_doctored_trace(name: str) -> None:
    found = complaints(DOCTORED[name]())
    assert {*found} == {name}, found


def test_other_fills_break_uniqueness() -> None:
    one = trial("sell 1 5@100\nsell 2 5@100\nbuy 3 5@100")
    trade = event_of(one, "trade_executed", maker_order_id=2)
    other = replace(one, events=[one.events[0], trade])
    assert t2_the_fills_are_equal(one, one) is None
    assert t2_the_fills_are_equal(one, other) is not None
    assert t3_the_books_are_equal(one, other) is None


def test_another_book_breaks_uniqueness() -> None:
    one, other = trial(QUIET), two_orders_change_places()
    assert t3_the_books_are_equal(one, one) is None
    assert t3_the_books_are_equal(one, other) is not None
    assert t2_the_fills_are_equal(one, other) is None


def test_a_fill_in_two_parts_is_the_same_fill() -> None:
    assert (
        t2_the_fills_are_equal(trial("sell 1 5@100\nbuy 2 5@100"), one_maker_two_trades()) is None
    )


def test_a_broken_property_is_named() -> None:
    class Generous(Reference):
        def order(self, order_id: int) -> tuple[str, int]:
            status, remaining = super().order(order_id)
            return status, remaining + 1

    with pytest.raises(Broken, match="every_status_is_right: "):
        play(Judged(Generous()), parse_scenario("# Rulebook 4.\nsell 1 5@100", "story"))
