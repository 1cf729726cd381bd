"""One flow, one outcome: in every process, under every hash seed, on every Python.

The digest below was taken once. Whatever runs this test (the test sessions do so on each Python
that is there) must come to the same bytes, timestamps aside.
"""

from __future__ import annotations

import hashlib
import json

from order_flow import synthetic

from ..engines.engine import Engine, encode, timeless
from .program import Program, answers

COMMANDS = [encode(command) for command in synthetic.commands(400, seed=1)]
EVENTS_DIGEST = "6dc8e2a656158aa537d4986482dcf7b4df283ef9c54a877a01e256fdc25351ae"
STATE_HASH = "a7b728a2294cfaba10d21ab57c9f28473e1335b29a037e674516809c54859e23"


def digest(events: list[dict[str, object]]) -> str:
    text = "".join(json.dumps(event, sort_keys=True) + "\n" for event in events)
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_engine_gives_the_events_that_were_once_written_down(engine: Engine) -> None:
    events = [event for line in COMMANDS for event in engine.execute_line(line)]
    assert (digest(timeless(events)), engine.state_hash()) == (EVENTS_DIGEST, STATE_HASH)


def test_every_program_does_so_under_any_hash_seed(program: Program) -> None:
    for seed in ("0", "1", "4294967295"):
        seeded = Program(
            program.name, program.folder, program.directory / seed, {"PYTHONHASHSEED": seed}
        )
        seeded.directory.mkdir()
        finished = seeded.run("stdio", given=b"\n".join(COMMANDS))
        assert digest(timeless(answers(finished.stdout))) == EVENTS_DIGEST
