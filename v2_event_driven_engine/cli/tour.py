"""The tour: what V2 is about, shown on a real process that is really killed."""

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..engine.audit_logger import AUDIT_LOG, read_lines
from ..engine.event_engine import EventDrivenMatchingEngine
from ..engine.events import AnyEvent, CancelOrder, Command, ListInstrument, MassCancel, NewOrder
from ..engine.matcher import Matcher
from ..engine.receipt import Receipt
from ..engine.recovery import recover
from ..engine.storage import DirectoryStorage
from ..engine.wal_format import encode_outcomes
from ..engine.wal_reader import LogReader
from ..errors import EngineBusy
from ..models.enums import OrderType, Side, TimeInForce
from .inspect import sentence
from .stream import write_to_standard_output

PRODUCERS = 4
SYMBOL = "ACME"
ANSWERS_BEFORE_THE_KILL = 20_000
LONGEST_WAIT_SECONDS = 10.0
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
                order_id, participant, SYMBOL, side, OrderType.LIMIT, price,
                choose.randrange(1, 200),
                TimeInForce.IOC if choose.random() < 0.1 else TimeInForce.GTC,
            )  # fmt: skip


def victim(data_dir: Path) -> None:
    """The process that will be killed: producers submit without end; every answer is told at once.

    A line "sequence, digest of the events" goes to standard output only after the receipt resolved.
    """
    sys.setswitchinterval(0.0005)
    with EventDrivenMatchingEngine.open(
        data_dir, instruments=[ListInstrument(SYMBOL, "0.01", "1")]
    ) as engine:
        telling = threading.Lock()
        threads = [
            threading.Thread(target=_produce, args=(engine, participant, telling), daemon=True)
            for participant in range(1, PRODUCERS + 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


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
            told = []
            for receipt in waiting:
                events = receipt.result()
                told.append(f"{events[0].sequence} {_digest(events)}\n")
            with one_at_a_time:
                write_to_standard_output("".join(told).encode())
            waiting.clear()


def _digest(events: list[AnyEvent]) -> str:
    return encode_outcomes([events]).hex()


def tour(main_file: Path, console: Console) -> None:
    """The whole tour. Takes a few seconds and leaves nothing behind."""
    console.rule("V2: one queue, one writer, a log before anything happens")
    console.print(
        f"{PRODUCERS} producer threads in a child process submit orders without a lock. One writer "
        "takes what is queued, writes it to the log, syncs once, and only then matches and "
        "answers. In the middle of this the child gets SIGKILL: no warning, no clean-up."
    )
    with tempfile.TemporaryDirectory(prefix="matching-engine-tour-") as name:
        data_dir = Path(name)
        answered, seconds = _run_and_kill(main_file, data_dir)
        console.print(
            f"\n[bold]1. Killed[/bold] after {len(answered):,} answers in {seconds:.1f} s. "
            "They were written down by this process, outside of the victim."
        )
        _recover_and_compare(data_dir, answered, console)
        _life_of_an_order(data_dir, console)
    console.print(
        "\nNext: python main.py run FLOW, then status, verify, replay --until N, audit --order ID. "
        "python main.py --help tells more."
    )


def _run_and_kill(main_file: Path, data_dir: Path) -> tuple[dict[int, str], float]:
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, str(main_file), "tour-victim", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    lines: list[bytes] = []
    for line in child.stdout:
        lines.append(line)
        enough = len(lines) == ANSWERS_BEFORE_THE_KILL
        if enough or time.monotonic() - started > LONGEST_WAIT_SECONDS:
            child.send_signal(signal.SIGKILL)
            break
    seconds = time.monotonic() - started
    lines += child.stdout.read().splitlines(keepends=True)  # said before it died: promised
    child.stdout.close()
    child.wait()
    answered = {}
    for line in lines:
        if line.endswith(b"\n"):
            sequence, digest = line.decode().split()
            answered[int(sequence)] = digest
    return answered, seconds


def _recover_and_compare(data_dir: Path, answered: dict[int, str], console: Console) -> None:
    started = time.perf_counter()
    with EventDrivenMatchingEngine.open(data_dir) as engine:
        seconds = time.perf_counter() - started
        recovered = engine.recovered
        sequence, resting, state_hash = engine.state()
    torn = recovered.torn
    console.print(
        f"\n[bold]2. Recovered[/bold] {sequence:,} commands in {seconds:.2f} s; {resting:,} orders "
        f"rest, state hash {state_hash[:16]}… "
        + (
            f"A torn batch of {torn.length:,} bytes behind them was never answered and is ignored."
            if torn
            else "The log ended between two batches."
        )
    )
    storage = DirectoryStorage(data_dir)
    matcher = Matcher()
    same = different = 0
    for batch in LogReader(storage):
        happened = matcher.apply_all(batch.header.timestamp_ns, batch.body.commands)
        for sequence, events in enumerate(happened, batch.header.first_sequence):
            if sequence in answered:
                if answered[sequence] == _digest(events):
                    same += 1
                else:
                    different += 1
    lost = len(answered) - same - different
    again = recover(storage).matcher.state_hash()
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for label, value in (
        ("answers given before the kill", len(answered)),
        ("found in the log with the same events, byte for byte", same),
        ("lost", lost),
        ("different", different),
        ("durable but not answered yet when it died", sequence - same),
    ):
        table.add_row(label, f"{value:,}")
    console.print("\n[bold]3. Proof[/bold]")
    console.print(table)
    verdict = "the same state hash" if again == state_hash else "ANOTHER STATE HASH"
    console.print(f"   A second replay gives {verdict}.")
    if lost or different or again != state_hash:
        raise SystemExit(1)


def _life_of_an_order(data_dir: Path, console: Console) -> None:
    console.print("\n[bold]4. The life of one order[/bold], as the audit log tells it:")
    lives: dict[int, list[str]] = {}
    for line in read_lines(data_dir / AUDIT_LOG):
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
