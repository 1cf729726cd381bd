"""A small engine to be hurt: ``python -m v2_event_driven_engine.tests.victim DIR COMMANDS SEED``.

It goes on where the log in DIR ends and says ``sequence`` on standard output for every command once
its receipt has resolved. Ends with 3 and a word on standard error where the engine stops.
"""

import os
import sys
from pathlib import Path

from v2_event_driven_engine import EventDrivenMatchingEngine
from v2_event_driven_engine.errors import EngineStopped, StoreError

from .flow import commands

SEGMENT_BYTES = 8192
BATCH = 3


def live(data_dir: Path, count: int, seed: int) -> None:
    """Submit the rest of the flow, a few commands at a time."""
    with EventDrivenMatchingEngine.open(
        data_dir, audit=False, segment_bytes=SEGMENT_BYTES
    ) as engine:
        rest = list(commands(count, seed))[engine.state()[0] :]
        for start in range(0, len(rest), BATCH):
            receipts = [engine.submit(command) for command in rest[start : start + BATCH]]
            for receipt in receipts:
                os.write(1, b"%d\n" % receipt.result(30.0)[0].sequence)


if __name__ == "__main__":
    try:
        live(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except (EngineStopped, StoreError) as error:
        print(error, file=sys.stderr)
        sys.exit(3)
