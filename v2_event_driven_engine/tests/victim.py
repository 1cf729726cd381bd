"""A small engine to be hurt: `python -m v2_event_driven_engine.tests.victim DIR COMMANDS SEED`.

It goes on where the log in DIR ends and says `sequence digest` on standard output for every command
once its receipt has resolved; the digest is of its events. Ends with 3 and the reason on standard
error where the engine stops. Other arguments: see `parser`.
"""

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from v2_event_driven_engine import EngineStopped, EventDrivenMatchingEngine, StoreError
from v2_event_driven_engine.engine.events import AnyEvent
from v2_event_driven_engine.engine.log.format import encode_outcomes
from v2_event_driven_engine.engine.receipt import Receipt
from v2_event_driven_engine.models.commands import Command

from .flow import commands


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="victim")
    arguments.add_argument("data_dir", type=Path)
    arguments.add_argument("count", type=int, help="commands of the whole flow")
    arguments.add_argument("seed", type=int)
    arguments.add_argument("--in-flight", type=int, default=3, help="commands without an answer")
    arguments.add_argument("--segment-bytes", type=int, default=8192)
    arguments.add_argument("--audit", action="store_true")
    arguments.add_argument("--without-sync", action="store_true", help="a planted mistake")
    return arguments


def digest(events: list[AnyEvent]) -> str:
    """The events of one command as a word."""
    return encode_outcomes([events]).hex()


def live(engine: EventDrivenMatchingEngine, flow: Iterable[Command], in_flight: int) -> None:
    """Submit a flow; when so many commands wait for their answers, say the older half of these."""
    waiting: deque[Receipt[list[AnyEvent]]] = deque()
    for command in flow:
        waiting.append(engine.submit(command))
        if len(waiting) == in_flight:
            answer(waiting, left=in_flight // 2)
    answer(waiting, left=0)


def answer(waiting: deque[Receipt[list[AnyEvent]]], *, left: int) -> None:
    """Say the oldest answers, until only so many are left."""
    while len(waiting) > left:
        events = waiting.popleft().result(30.0)
        os.write(1, f"{events[0].sequence} {digest(events)}\n".encode())


def main(arguments: list[str]) -> None:
    """Open, live and close."""
    options = parser().parse_args(arguments)
    with EventDrivenMatchingEngine.open(
        options.data_dir, audit=options.audit, segment_bytes=options.segment_bytes
    ) as engine:
        if options.without_sync:
            os.fdatasync = lambda fd: None
        flow = commands(options.count, options.seed)
        live(engine, islice(flow, engine.state().sequence, None), options.in_flight)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (EngineStopped, StoreError) as error:
        print(error, file=sys.stderr)
        sys.exit(3)
