"""One benchmark in a process of its own, so that its heap is not the next one's."""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection

from v2_event_driven_engine.main import SWITCH_INTERVAL_SECONDS

from .findings import Options, Section


def measure_apart(
    name: str, quick: bool, repetitions: int, status: Callable[[str], None]
) -> Section | None:
    """Let the module `name` measure; None if it failed, or if its process was killed.

    `status` is called with what is being done.
    """
    spawning = multiprocessing.get_context("spawn")  # nothing is inherited
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_work, args=(theirs, name, quick, repetitions))
    process.start()
    theirs.close()
    try:
        while not isinstance(message := ours.recv(), Section):
            status(f"{name}: {message}")
    except EOFError:
        return None
    finally:
        process.join()
    return message


def _work(parent: Connection, name: str, quick: bool, repetitions: int) -> None:
    """The other process: measure, say what is being done, send the section."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    benchmark = import_module(f"{__package__}.{name}")
    try:
        parent.send(benchmark.measure(Options(quick, repetitions, parent.send)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
