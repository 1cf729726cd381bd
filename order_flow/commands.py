"""Commands as plain values, and the line writer that turns them into an order-flow file.

A command here is a `dict` with the rulebook's own field names, in the rulebook's order; optional
fields that have their default value are left out. A file of them is NDJSON: one JSON object a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO, TypeAlias

import msgspec

Command: TypeAlias = dict[str, Any]

_BATCH = 1_000
_encoder = msgspec.json.Encoder()


def list_instrument(symbol: str, tick_size: str, lot_size: str) -> Command:
    """The command that every flow starts with.

    >>> list_instrument("AAPL", tick_size="0.0001", lot_size="1")["command"]
    'list_instrument'
    """
    return {
        "command": "list_instrument",
        "symbol": symbol,
        "tick_size": tick_size,
        "lot_size": lot_size,
    }


def line(command: Command) -> bytes:
    """One command as one line of NDJSON, its line end included.

    >>> line({"command": "cancel", "order_id": 1, "participant": 7})
    b'{"command":"cancel","order_id":1,"participant":7}\\n'
    """
    return _encoder.encode(command) + b"\n"


def write_lines(commands: Iterable[Command], stream: BinaryIO) -> int:
    """Write every command as a line; return how many. Holds no more than 1,000 of them in memory.

    If `commands` raises (a malformed row), the lines before that point are written first,
    so what is on the stream is always a whole number of commands.

    >>> import io
    >>> stream = io.BytesIO()
    >>> write_lines([list_instrument("AAPL", "0.0001", "1")], stream)
    1
    """
    written = 0
    batch: list[Command] = []
    try:
        for command in commands:
            batch.append(command)
            if len(batch) == _BATCH:
                lines = _encoder.encode_lines(batch)
                written += len(batch)
                batch.clear()
                stream.write(lines)
    finally:
        stream.write(_encoder.encode_lines(batch))
    return written + len(batch)
