"""How fast V2 comes back: `python -m benchmarks.recovery` (about twenty seconds).

One million commands of the synthetic flow are logged, with a snapshot at 900,000; then recovery
is timed from the first command, and from the snapshot. Besides: restoring 100,000 resting orders
from a snapshot alone. Each figure is the median of five, with the smallest and the largest. The
garbage collector is off, as `main.py` has it while it recovers.
"""

import argparse
import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from order_flow import line, synthetic
from v2_event_driven_engine import (
    EventDrivenMatchingEngine,
    ListInstrument,
    NewOrder,
    OrderType,
    Side,
)
from v2_event_driven_engine.engine.events import Command
from v2_event_driven_engine.engine.recovery import recover, take_snapshot
from v2_event_driven_engine.engine.storage import DirectoryStorage
from v2_event_driven_engine.engine.wal_reader import segment_name, segment_numbers
from v2_event_driven_engine.errors import EngineBusy
from v2_event_driven_engine.ndjson import Query, parse

RUNS = 5
RESTING = 100_000


def main() -> None:
    """Log, then recover, and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--commands", type=int, default=1_000_000, metavar="N")
    count: int = parser.parse_args().commands
    gc.disable()
    with tempfile.TemporaryDirectory() as name:
        flow = (commands_of(line(command)) for command in synthetic.commands(count, seed=5))
        log(Path(name), itertools.islice(flow, count * 9 // 10))
        storage = DirectoryStorage(name)
        take_snapshot(storage)
        log(Path(name), flow)
        size = sum(storage.size(segment_name(number)) for number in segment_numbers(storage))
        print(f"{count:,} commands, {size / count:.1f} bytes of log a command, events included")
        median = timed("from the first command", lambda: recover(storage, from_the_start=True))
        print(f"  that is {count / median:,.0f} commands a second")
        timed("from a snapshot at nine tenths", lambda: recover(storage))
    with tempfile.TemporaryDirectory() as name:
        log(Path(name), resting_orders())
        storage = DirectoryStorage(name)
        take_snapshot(storage)
        timed(f"{RESTING:,} resting orders from a snapshot", lambda: recover(storage))


def commands_of(text: bytes) -> Command:
    """The command of a line."""
    request = parse(text.strip())
    assert not isinstance(request, Query)
    return request


def resting_orders() -> Iterable[Command]:
    """Orders on 800 price levels, none of which trades."""
    yield ListInstrument("ACME", "0.01", "1")
    for order_id in range(1, RESTING + 1):
        side, price = (Side.BUY, 999) if order_id % 2 else (Side.SELL, 1000)
        away = order_id // 2 % 400 * (-1 if side is Side.BUY else 1)
        yield NewOrder(order_id, 1, "ACME", side, OrderType.LIMIT, price + away, 5)


def log(data_dir: Path, flow: Iterable[Command]) -> None:
    """Put a flow through an engine on ``data_dir``."""
    with EventDrivenMatchingEngine.open(data_dir, audit=False) as engine:
        receipt = engine.ask(lambda matcher: matcher.sequence + 1)
        for command in flow:
            while True:
                try:
                    receipt = engine.submit(command)
                    break
                except EngineBusy:
                    receipt.result()


def timed(label: str, action: Callable[[], object]) -> float:
    """Print the median, smallest and largest of some runs in seconds; return the median."""
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    print(f"{label:<42} {median:.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})")
    return median


if __name__ == "__main__":
    main()
