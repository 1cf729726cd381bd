"""Opening an engine for `run` and `stdio`."""

import argparse
import gc

from ..engine.event_engine import EventDrivenMatchingEngine
from .exits import CHECK_FAILED, OK, SIGNALED
from .files import complain
from .output import progress_bar
from .session import Session
from .signals import StopSignals


def open_engine(options: argparse.Namespace, stop: StopSignals) -> EventDrivenMatchingEngine:
    """The engine on the data directory; what recovery passed over goes to standard error."""
    with progress_bar("recovering", None, stop) as advance:
        engine = EventDrivenMatchingEngine.open(
            options.data_dir, audit=not options.no_audit, progress=advance
        )
    torn = engine.recovered.torn
    for warning in engine.recovered.warnings:
        complain(options.program, warning)
    if torn is not None:
        complain(
            options.program,
            f"{torn.file}: byte {torn.offset}: the last engine was stopped while it wrote a batch "
            f"that was never answered; its {torn.length} bytes are ignored from now on",
        )
    gc.freeze()  # what has been recovered stays: the collector need not look at it
    # Hardly anything is made in circles: to look for them after every 700 lists that hold answers
    # is a fiftieth of the time of `stdio` (benchmark: end_to_end).
    gc.set_threshold(100_000)
    gc.enable()
    return engine


def exit_status(session: Session, stop: StopSignals, engine: EventDrivenMatchingEngine) -> int:
    """How the stream ended, once the engine is closed."""
    if stop.received is not None:
        return SIGNALED + stop.received
    return CHECK_FAILED if session.malformed or engine.audit_is_behind else OK
