"""The tour: what V2 is about, shown on a real process that is really killed."""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.audit.trail import read_lines
from ..engine.event_engine import EventDrivenMatchingEngine
from ..engine.events import AnyEvent
from ..engine.log.format import encode_outcomes
from ..engine.log.recovery import recover
from ..engine.market.matcher import Matcher
from ..engine.receipt import Receipt
from ..errors import EngineBusy
from ..models.commands import CancelOrder, Command, ListInstrument, MassCancel, NewOrder
from ..models.enums import OrderType, Side, TimeInForce
from .audit import sentence
from .directory import open_for_reading
from .exits import CHECK_FAILED, OK
from .files import standard_output_as_text, write_to_standard_output
from .options import Subcommands
from .signals import StopSignals

if TYPE_CHECKING:
    from rich.console import Console

MAIN_FILE = Path(__file__).resolve().parents[1] / "main.py"
PRODUCERS = 4
SYMBOL = "ACME"
ANSWERS_BEFORE_THE_KILL = 20_000
LONGEST_WAIT_SECONDS = 10.0
DEFAULT_WIDTH = 80
"""Columns, where COLUMNS is 0: nothing at all would be shown."""
MID = 10_000


def producer_flow(participant: int) -> Iterator[Command]:
    """An endless, seeded flow of one producer: limit orders near the middle, and cancels."""
    choose = random.Random(participant)
    number = 0
    while True:
        number += 1
        order_id = participant * 10_000_000 + number
        roll = choose.random()
        if roll < 0.35 and number > 10:
            yield CancelOrder(order_id - choose.randrange(1, 10), participant)
        elif roll < 0.3502:
            yield MassCancel(participant, SYMBOL)
        else:
            side = choose.choice((Side.BUY, Side.SELL))
            price = MID + choose.randrange(-8, 9) - (3 if side is Side.BUY else -3)
            yield NewOrder(
                order_id=order_id,
                participant=participant,
                symbol=SYMBOL,
                side=side,
                type=OrderType.LIMIT,
                price=price,
                quantity=choose.randrange(1, 200),
                time_in_force=TimeInForce.IOC if choose.random() < 0.1 else TimeInForce.GTC,
            )


def add(commands: Subcommands) -> None:
    """Register, unlisted, the program of the process that the tour kills."""
    parser = commands.add_parser("tour-victim")
    parser.set_defaults(function=victim)
    parser.add_argument("--data-dir", type=Path, required=True)


def victim(options: argparse.Namespace) -> int:
    """The process that will be killed: producers submit without end, and say every answer at once.

    A line "sequence, digest of the events" goes to standard output only after the receipt resolved.
    It has no audit process, which would outlive it: the next start completes the trail.
    """
    with EventDrivenMatchingEngine.open(
        options.data_dir, instruments=[ListInstrument(SYMBOL, "0.01", "1")], audit=False
    ) as engine:
        one_at_a_time = threading.Lock()
        threads = [
            threading.Thread(
                target=_produce, args=(engine, participant, one_at_a_time), daemon=True
            )
            for participant in range(1, PRODUCERS + 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return OK


def _produce(
    engine: EventDrivenMatchingEngine, participant: int, one_at_a_time: threading.Lock
) -> None:
    flow = producer_flow(participant)
    waiting: list[Receipt[list[AnyEvent]]] = []
    for command in flow:
        while True:
            try:
                waiting.append(engine.submit(command))
                break
            except EngineBusy:
                waiting[-1].result()
        if len(waiting) == 64:
            lines = []
            for receipt in waiting:
                events = receipt.result()
                lines.append(f"{events[0].sequence} {_digest(events)}\n")
            try:
                with one_at_a_time:
                    write_to_standard_output("".join(lines).encode())
            except BrokenPipeError:  # the tour was killed
                return
            waiting.clear()


def _digest(events: list[AnyEvent]) -> str:
    return encode_outcomes([events]).hex()


def _console() -> Console:
    """A console that treats a closed pipe like the rest of this program: see `main.main`."""
    from rich.console import Console  # noqa: PLC0415  # as in `output.progress_bar`

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = QuietConsole(highlight=False, file=standard_output_as_text())
    console.width = console.width or DEFAULT_WIDTH
    return console


def tour(options: argparse.Namespace) -> int:
    """The whole tour. It takes a few seconds and leaves nothing on the disk."""
    with StopSignals() as stop:
        return _tour(options, stop)


def _tour(options: argparse.Namespace, stop: StopSignals) -> int:
    console = _console()
    console.rule("V2: one queue, one writer, a log before anything happens")
    console.print(
        f"{PRODUCERS} producer threads in a child process submit orders without a lock. One writer "
        "takes what is queued, writes it to the log, syncs once, and only then matches and "
        "answers. In the middle of this the child gets SIGKILL: no warning, no clean-up."
    )
    with tempfile.TemporaryDirectory(prefix="matching-engine-tour-") as name:
        data_dir = Path(name)
        answered, seconds = _run_and_kill(data_dir, stop)
        console.print(
            f"\n[bold]1. Killed[/bold] after {len(answered):,} answers in {seconds:.1f} s. "
            "They were written down by this process, outside of the victim."
        )
        if not _recover_and_compare(data_dir, answered, console, stop):
            return CHECK_FAILED
        _life_of_an_order(data_dir, console)
    console.print(
        f"\nNext: {options.run_by} run FLOW, then status, verify, replay --until N, audit "
        f"--order ID. {options.run_by} --help says more."
    )
    return OK


def _run_and_kill(data_dir: Path, stop: StopSignals) -> tuple[dict[int, str], float]:
    """What the process answered before it was killed, and after how many seconds it was.

    Raises:
        Stopped: a signal came; the process is killed too.
    """
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, str(MAIN_FILE), "tour-victim", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for the tour
    )
    assert child.stdout is not None
    lines: list[bytes] = []
    for line in child.stdout:
        lines.append(line)
        enough = len(lines) == ANSWERS_BEFORE_THE_KILL
        late = time.monotonic() - started > LONGEST_WAIT_SECONDS
        if enough or late or stop.received is not None:
            child.send_signal(signal.SIGKILL)
            break
    seconds = time.monotonic() - started
    lines += child.stdout.read().splitlines(keepends=True)  # what it said before it died
    child.stdout.close()
    child.wait()
    stop.check()
    answered = {}
    for line in lines:
        if line.endswith(b"\n"):
            sequence, digest = line.decode().split()
            answered[int(sequence)] = digest
    return answered, seconds


def _recover_and_compare(
    data_dir: Path, answered: dict[int, str], console: Console, stop: StopSignals
) -> bool:
    """Whether every answer is in the log, with the same events."""
    started = time.perf_counter()
    with EventDrivenMatchingEngine.open(data_dir, progress=lambda _: stop.check()) as engine:
        seconds = time.perf_counter() - started
        recovered = engine.recovered
        state = engine.state()
    torn = recovered.torn
    console.print(
        f"\n[bold]2. Recovered[/bold] {state.sequence:,} commands in {seconds:.2f} s; "
        f"{state.resting_orders:,} orders rest, state hash {state.state_hash[:16]}… "
        + (
            f"A torn batch of {torn.length:,} bytes after them was never answered and is ignored."
            if torn
            else "The log ended between two batches."
        )
    )
    log = open_for_reading(data_dir).log
    matcher = Matcher()
    same = different = 0
    for batch in log.read():
        stop.check()
        happened = matcher.apply(batch.first_sequence, batch.timestamp_ns, batch.commands)
        for sequence, events in enumerate(happened, batch.first_sequence):
            if sequence in answered:
                if answered[sequence] == _digest(events):
                    same += 1
                else:
                    different += 1
    lost = len(answered) - same - different
    again = recover(log).matcher.state_hash()
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for label, value in (
        ("answers given before the kill", len(answered)),
        ("found in the log with the same events, byte for byte", same),
        ("lost", lost),
        ("different", different),
        ("durable but not answered yet when it died", state.sequence - same),
    ):
        table.add_row(label, f"{value:,}")
    console.print("\n[bold]3. Proof[/bold]")
    console.print(table)
    verdict = "the same state hash" if again == state.state_hash else "ANOTHER STATE HASH"
    console.print(f"   A second replay gives {verdict}.")
    return not lost and not different and again == state.state_hash


def _life_of_an_order(data_dir: Path, console: Console) -> None:
    console.print("\n[bold]4. The life of one order[/bold], from the audit log:")
    lives: dict[int, list[str]] = {}
    for line in read_lines(open_for_reading(data_dir).storage):
        order_id = line.get("order_id")
        if order_id is None:
            continue
        life = lives.setdefault(order_id, [])
        life.append("   " + sentence(line))
        if len(life) >= 5 and line.get("remaining_quantity") == 0:
            break
        if line.get("remaining_quantity") == 0:
            del lives[order_id]
    _, longest = max((len(life), life) for life in lives.values())
    console.print("\n".join(longest), soft_wrap=True)
