"""Dense order flows: few prices, long queues.

A sparse flow hardly tests time priority: where only one order is at a price, the oldest and the
youngest are the same. Here some hundred orders share a dozen prices, so that nearly every fill has
many makers to choose from, and only the right one will do.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

from benchmarks.peers.protocol import Cancel, Command, Limit, Side

FARTHEST = 5
"""How many ticks from the middle of the market the most patient orders are."""

OVERLAP = 2
"""By how many ticks the least patient reach beyond the middle: buyers above it, sellers below."""

LIFETIME = 2000
"""After how many later orders an order is canceled, in case it is still there. That keeps the
queues from growing for ever; many of these cancels name an order that is gone, and are refused."""


def dense_flow(commands: int, seed: int) -> Iterator[Command]:
    """Yield that many commands; the same for the same seed, whatever the engines do with them."""
    flow = _endless_flow(random.Random(seed))
    return (next(flow) for _ in range(commands))


def _endless_flow(chance: random.Random) -> Iterator[Command]:
    middle = 10_000
    recent: deque[int] = deque()
    for order_id in range(1, 2**63):
        if order_id % 2000 == 0:
            middle += chance.randint(-3, 3)  # the market moves, and old orders find themselves far
        side: Side = "BUY" if chance.random() < 0.5 else "SELL"
        distance = chance.randint(-OVERLAP, FARTHEST)
        price = middle - distance if side == "BUY" else middle + distance
        quantity = chance.randint(1, 10)
        if chance.random() < 0.01:
            quantity *= 30  # sweeps through several levels
        yield Limit(order_id, side, price, quantity)
        recent.append(order_id)
        if chance.random() < 0.3:
            yield Cancel(chance.choice(recent))
        if len(recent) > LIFETIME:
            yield Cancel(recent.popleft())
