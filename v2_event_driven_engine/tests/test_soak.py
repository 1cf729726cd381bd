"""A long life on a small disk: segments come and go, memory and file descriptors stay flat.

`SOAK_SECONDS` in the environment says how long (default 4; 3600 for an hour). The flow uses no
new order ids once it is warm: ids are remembered for ever by the rulebook, which is growth by
design.
"""

import os
import random
import time
from pathlib import Path

import pytest

from v2_event_driven_engine import (
    CancelOrder,
    Command,
    EventDrivenMatchingEngine,
    ListInstrument,
    NewOrder,
    OrderType,
    ReplaceOrder,
    Side,
)
from v2_event_driven_engine.engine.audit.trail import verify_against_log

from .logs import log_in, recover, storage_of
from .resources import Resources, resources_of

SECONDS = float(os.environ.get("SOAK_SECONDS", "4"))
ORDERS = 500
GROWTH_BYTES_MAX = 8 * 1024 * 1024


def some_replaces(choose: random.Random) -> list[Command]:
    """Orders move about on their side of the book, which never crosses; some are refused."""
    moves: list[Command] = []
    for _ in range(256):
        order_id = choose.randrange(1, ORDERS + 20)
        price = choose.randrange(50, 100) if order_id % 2 else choose.randrange(101, 150)
        moves.append(ReplaceOrder(order_id, 1, price, choose.randrange(1, 1000)))
    moves.append(CancelOrder(10**9, 1))
    return moves


@pytest.mark.once
def test_memory_and_descriptors_stay_flat_and_the_log_stays_right(tmp_path: Path) -> None:
    choose = random.Random(1)
    with EventDrivenMatchingEngine.open(
        tmp_path, instruments=[ListInstrument("ACME", "0.01", "1")], segment_bytes=256 * 1024
    ) as engine:
        for order_id in range(1, ORDERS):
            side, price = (Side.BUY, 99) if order_id % 2 else (Side.SELL, 101)
            engine.submit(NewOrder(order_id, 1, "ACME", side, OrderType.LIMIT, price, 10))
        began = time.monotonic()
        warm: Resources | None = None
        while (life := time.monotonic() - began) < SECONDS:
            for receipt in [engine.submit(command) for command in some_replaces(choose)]:
                receipt.result(30.0)
            if warm is None and life > SECONDS / 4:
                warm = resources_of(os.getpid())
        assert warm is not None
        cold = resources_of(os.getpid())
        assert cold.resident_bytes - warm.resident_bytes < GROWTH_BYTES_MAX
        assert cold.descriptors == warm.descriptors
        sequence, resting, state_hash = engine.state()
    assert resting == ORDERS - 1
    state = recover(tmp_path)
    assert (state.matcher.sequence, state.matcher.state_hash()) == (sequence, state_hash)
    assert verify_against_log(storage_of(tmp_path), log_in(tmp_path))[1] is None
