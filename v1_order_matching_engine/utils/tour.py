"""The tour: many threads send orders to one book, and one thread proves what they did.

It reads no file and writes none. The commands are made from a seed, so two tours send the same.
When which thread wins the lock depends on the machine, so they do not end in the same book.
"""

import random
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from rich.console import Console
from rich.table import Table

from ..engine.events import Event, TradeExecuted
from ..engine.matching_engine import MatchingEngine, replay
from ..engine.views import Depth
from ..models.commands import CancelOrder, Command, NewOrder, ReduceOrder, ReplaceOrder
from ..models.enums import OrderType, SelfTradePrevention, Side, TimeInForce
from .metrics import LatencySummary, per_second

SYMBOL = "ACME"

_THREADS = 4
_COMMANDS_PER_THREAD = 20_000
_SEED = 2012
_MID_PRICE = 10_000  # ticks
_IDS_PER_THREAD = 1_000_000_000
_DEFAULT_WIDTH = 80

# CPython lets a thread run for 5 ms before another gets its turn, so threads rarely meet at the
# lock. With a shorter turn they meet often enough to be of interest.
_TURN_SECONDS = 0.000_05


class ThreadedRun(NamedTuple):
    """What the threads got back."""

    events: list[list[Event]]  # one list a command, by sequence
    latencies_ns: list[int]
    seconds: float


def make_flow(seed: int, participant: int, count: int) -> list[Command]:
    """The commands of one participant: orders around a price, some that trade, and changes.

    Each participant has a range of order ids of its own.
    """
    # Not for secrets; a seed gives the same flow everywhere.
    choose = random.Random(seed * 1_000 + participant)
    next_id = participant * _IDS_PER_THREAD
    sent: list[int] = []
    flow: list[Command] = []
    for _ in range(count):
        dice = choose.random()
        if dice < 0.55 or not sent:
            next_id += 1
            sent.append(next_id)
            flow.append(_new_order(choose, next_id, participant, is_taker=dice < 0.10))
            continue
        order_id = sent.pop(choose.randrange(len(sent)))
        if dice < 0.90:
            flow.append(CancelOrder(order_id, participant))
            continue
        sent.append(order_id)
        if dice < 0.95:
            flow.append(ReduceOrder(order_id, participant, by=1))
        else:
            price = _MID_PRICE + choose.randint(-15, 15)
            flow.append(ReplaceOrder(order_id, participant, price=price))
    return flow


def _new_order(
    choose: random.Random, order_id: int, participant: int, *, is_taker: bool
) -> NewOrder:
    side = choose.choice((Side.BUY, Side.SELL))
    # Makers are mostly on their own side of the middle, takers on the other one.
    away = choose.randint(-12, -4) if is_taker else choose.randint(-1, 20)
    return NewOrder(
        order_id=order_id,
        participant=participant,
        symbol=SYMBOL,
        side=side,
        type=OrderType.LIMIT,
        price=_MID_PRICE - away if side is Side.BUY else _MID_PRICE + away,
        quantity=choose.randint(1, 100),
        time_in_force=TimeInForce.IOC if is_taker else TimeInForce.GTC,
        self_trade_prevention=SelfTradePrevention.CANCEL_MAKER,
    )


def send_from_threads(engine: MatchingEngine, flows: Sequence[Sequence[Command]]) -> ThreadedRun:
    """Send each flow from a thread of its own, all at the same time, and collect the answers."""
    start = threading.Barrier(len(flows) + 1)
    per_thread: list[list[tuple[int, list[Event]]]] = [[] for _ in flows]

    def send(flow: Sequence[Command], answers: list[tuple[int, list[Event]]]) -> None:
        start.wait()
        for command in flow:
            before = time.perf_counter_ns()
            events = engine.submit(command)
            answers.append((time.perf_counter_ns() - before, events))

    # Daemons, so that Ctrl-C need not wait for them.
    threads = [
        threading.Thread(target=send, args=(flow, answers), daemon=True)
        for flow, answers in zip(flows, per_thread, strict=True)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started

    answers = [answer for of_thread in per_thread for answer in of_thread]
    answers.sort(key=lambda answer: answer[1][0].sequence)
    return ThreadedRun([events for _, events in answers], [ns for ns, _ in answers], seconds)


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Newer versions of rich exit here, but a closed pipe is for main.py to handle.
        raise BrokenPipeError


def show_tour() -> bool:
    """Print the tour on standard output, and return whether its proof was right."""
    console = _Console(highlight=False)
    console.width = console.width or _DEFAULT_WIDTH  # with COLUMNS=0 nothing would be shown
    engine = MatchingEngine(record=True)
    listed = engine.list_instrument(SYMBOL, tick_size="0.01", lot_size="1")
    flows = [make_flow(_SEED, thread + 1, _COMMANDS_PER_THREAD) for thread in range(_THREADS)]

    _heading(console, f"1. {_THREADS} threads, one book, one lock")
    console.print(
        f"Each thread is a participant of its own and sends {_COMMANDS_PER_THREAD:,} commands "
        f"(orders, cancels, reductions, replacements) for {SYMBOL} as fast as it can."
    )
    turn_seconds = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        result = send_from_threads(engine, flows)
    finally:
        sys.setswitchinterval(turn_seconds)
    all_events = [listed, *result.events]
    _show_throughput(console, engine, result)

    _heading(console, "2. What the lock costs")
    _show_lock(console, engine, result)

    _heading(console, "3. The proof: replay in one thread")
    proved = _show_replay(console, engine, all_events)

    _heading(console, "4. The last fills and the book after them")
    _show_fills(console, all_events)
    _show_book(console, engine.book(SYMBOL).depth(8))
    return proved


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/bold]")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _show_throughput(console: Console, engine: MatchingEngine, result: ThreadedRun) -> None:
    commands = len(result.events)
    console.print(
        f"{commands:,} commands in {result.seconds:.2f} s "
        f"({per_second(commands, result.seconds):,.0f} a second), {engine.trades:,} trades, "
        f"{engine.resting_orders:,} orders rest."
    )


def _show_lock(console: Console, engine: MatchingEngine, result: ThreadedRun) -> None:
    lock = engine.lock_statistics
    console.print(
        f"The lock was taken {lock.acquisitions:,} times. {lock.contended:,} times "
        f"({100 * lock.contended / lock.acquisitions:.1f} %) another thread held it and the thread "
        f"had to wait: {lock.waited_ns / 1e6:,.0f} ms in all. From a thread's call to its answer, "
        f"waiting included, in microseconds:"
    )
    latency = LatencySummary.of(result.latencies_ns)
    table = _table("half of all", "90 %", "99 %", "99.9 %", "slowest")
    table.add_row(*(f"{ns / 1000:,.1f}" for ns in latency[1:]))
    console.print(table)
    console.print(
        "In the slowest calls the thread lost its turn, with the lock or without it. One lock is "
        "simple and correct; it is not the way to the lowest latency."
    )


def _show_replay(console: Console, engine: MatchingEngine, events: list[list[Event]]) -> bool:
    replayed, replayed_events = replay(engine.history)
    same_events = replayed_events == events
    same_state = replayed.state_hash() == engine.state_hash()
    engine.check_invariants()
    console.print(
        "The order in which the threads win the lock cannot be known before. But it was recorded, "
        "and it alone decides everything:"
    )
    count = sum(map(len, events))
    console.print(f"  {count:,} events, replayed one by one: {_verdict(same_events)}")
    console.print(f"  state hash {engine.state_hash()[:16]}...: {_verdict(same_state)}")
    return same_events and same_state


def _verdict(same: bool) -> str:
    return "[green]the same[/green]" if same else "[red]DIFFERENT: a bug, please report[/red]"


def _show_fills(console: Console, events: list[list[Event]]) -> None:
    trades = [event for group in events for event in group if isinstance(event, TradeExecuted)]
    table = _table("trade", "sequence", "taker", "quantity", "price", "maker's remainder")
    for trade in trades[-5:]:
        table.add_row(
            f"{trade.trade_id:,}",
            f"{trade.sequence:,}",
            trade.taker_side,
            str(trade.quantity),
            _price(trade.price),
            str(trade.maker_remaining),
        )
    console.print(table)


def _show_book(console: Console, depth: Depth) -> None:
    table = _table("orders", "bid", "price", "ask", "orders")
    for level in reversed(depth.asks):
        table.add_row(
            "", "", _price(level.price), f"[red]{level.quantity:,}[/red]", str(level.orders)
        )
    for level in depth.bids:
        table.add_row(str(level.orders), f"[green]{level.quantity:,}[/green]", _price(level.price))
    console.print()
    console.print(table)


def _price(ticks: int) -> str:
    """A price in units of 1, given that the tick is 0.01; computed in integers."""
    return f"{ticks // 100}.{ticks % 100:02}"
