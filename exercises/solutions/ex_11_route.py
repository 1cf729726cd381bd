"""Exercise 11: which partition gets a command."""

import zlib


def route(command: dict[str, object], partitions: int, owner: dict[int, int]) -> list[int]:
    """`hash` of a text differs from process to process: crc32 does not."""
    symbol = command.get("symbol")
    if isinstance(symbol, str):
        partition = zlib.crc32(symbol.encode()) % partitions
        if command["command"] == "new":
            partition = owner.setdefault(command["order_id"], partition)
        return [partition]
    if command["command"] == "mass_cancel":
        return list(range(partitions))
    return [owner.get(command["order_id"], 0)]
