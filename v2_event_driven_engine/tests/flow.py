"""A small seeded order flow for the tests of the log: it trades, rests, cancels and refuses."""

import random
from collections.abc import Iterable, Iterator

from v2_event_driven_engine import (
    CancelOrder,
    ListInstrument,
    MassCancel,
    NewOrder,
    OrderType,
    ReduceOrder,
    ReplaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from v2_event_driven_engine.engine.market.matcher import Matcher
from v2_event_driven_engine.models.commands import Command

SYMBOL = "ACME"


def commands(count: int, seed: int) -> Iterator[Command]:
    """``count`` commands, the first of which lists the instrument."""
    choose = random.Random(seed)
    yield ListInstrument(SYMBOL, "0.01", "1")
    for order_id in range(1, count):
        participant = choose.randrange(1, 4)
        roll = choose.random()
        known = choose.randrange(max(1, order_id - 20), order_id + 1)
        if roll < 0.15:
            yield CancelOrder(known, participant)
        elif roll < 0.2:
            yield ReduceOrder(known, participant, choose.randrange(1, 4))
        elif roll < 0.25:
            yield ReplaceOrder(
                known, participant, choose.randrange(95, 106), choose.randrange(1, 9)
            )
        elif roll < 0.26:
            yield MassCancel(participant, SYMBOL)
        else:
            if choose.random() < 0.03:  # an id that was used before
                order_id = known  # noqa: PLW2901
            yield NewOrder(
                order_id, participant, SYMBOL, choose.choice(list(Side)), OrderType.LIMIT,
                choose.randrange(95, 106), choose.randrange(1, 9),
                choose.choice([TimeInForce.GTC] * 6 + [TimeInForce.IOC, TimeInForce.FOK]),
                False, choose.choice(list(SelfTradePrevention)),
            )  # fmt: skip


def state_hashes(flow: Iterable[Command]) -> list[str]:
    """The state hash after 0, 1, 2 … commands of a flow."""
    matcher = Matcher()
    hashes = [matcher.state_hash()]
    for sequence, command in enumerate(flow, 1):
        matcher.apply(sequence, 0, [command])[0]
        hashes.append(matcher.state_hash())
    return hashes
