"""The program that the judge starts, once for every flow, and talks to over NDJSON.

    python -m shared_tests.tracebook.adapter v1

    judge    {"type": "hello", "config": {…}}            {"type": "event", "index": 1, …} …
    adapter  {"type": "ready", "engine": {…}}            {"type": "observation", "index": 1, …} …

    judge    {"type": "snapshot", "index": 400}          {"type": "finish", "event_count": 400}
    adapter  {"type": "snapshot", "state": {…}, …}       {"type": "complete", "event_count": 400}

Each answer is due within 5 seconds, the end of the program within half a second of `complete`; so
the engine is closed and its directory removed before that is said. Whatever goes wrong is answered
with `error` and exit status 2: the judge then reports it as a failure of the adapter, not as a
difference of the rules.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..engines.adapters import ENGINES
from .candidate import Candidate, Message, NotInTheRulebook, Settings

CANDIDATES = {"v1": "v1", "v2": "v2-memory", "v2-disk": "v2-disk"}
"""What the program can be asked for, and which build of `ENGINES` that is."""

PROTOCOL = {"protocol": "tracebook.conformance", "protocol_version": 1}


class ProtocolError(Exception):
    """The judge said something that is not in its protocol."""


def parse(line: str) -> Message:
    """Read one message; decimals stay decimals."""
    message = json.loads(line, parse_float=Decimal)
    if not isinstance(message, dict):
        raise ProtocolError("a message is an object")
    return message


def answers(name: str, candidate: Candidate, messages: Iterator[Message]) -> Iterator[Message]:
    """Yield the answer to every message after `hello` and before `finish`."""
    yield {"type": "ready", **PROTOCOL, "engine": identity(name)}
    count = 0
    for message in messages:
        match message:
            case {"type": "event", "index": index, "event": event} if index == count + 1:
                count = index
                yield candidate.observe(index, with_all_fields(event))
            case {"type": "snapshot", "index": index} if index == count:
                yield {"type": "snapshot", "index": index, "state": candidate.state()}
            case {"type": "finish", "event_count": total} if total == count:
                return
            case _:
                raise ProtocolError(f"unexpected after event {count}: {message}")
    raise ProtocolError(f"the input ended after event {count}, without finish")


def greeted(hello: Message) -> Settings:
    """Check the first message and return what it asks for."""
    expected = {"type": "hello", **PROTOCOL}
    if {name: hello.get(name) for name in expected} != expected:
        raise ProtocolError(f"the first message is {expected}, not {hello}")
    return Settings.from_config(hello["config"])


def identity(name: str) -> Message:
    """How the engine is named in the judge's reports."""
    return {"name": f"order-matching-engine {name}", "version": "0.1.0", "language": "Python"}


def with_all_fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event in which what was left out is there with its default."""
    defaults = {"order_type": "LIMIT", "price": None, "quantity": None, "owner": -1}
    return defaults | dict(event)


def serve(name: str, messages: Iterator[Message]) -> None:
    """Answer the messages of one run."""
    settings = greeted(next(messages))
    count = 0
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(ENGINES[CANDIDATES[name]](Path(directory))) as engine,
    ):
        for answer in answers(name, Candidate(engine, settings), messages):
            say(answer)
            count = answer.get("index", count)
    say({"type": "complete", "event_count": count})


def main(arguments: Iterable[str]) -> int:
    """Serve one run; return the exit status."""
    (name,) = arguments
    try:
        serve(name, (parse(line) for line in sys.stdin if line.strip()))
    except NotInTheRulebook as error:
        say({"type": "error", "code": "NOT_IN_THE_RULEBOOK", "message": str(error)})
        return 2
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        say({"type": "error", "code": "ADAPTER_ERROR", "message": message})
        return 2
    return 0


def say(answer: Message) -> None:
    """Write one message, at once."""
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
