"""Exercise 8: a chain over lines."""

import hashlib


def chained(lines: list[str]) -> list[str]:
    """Carry the hash from line to line."""
    found = []
    chain = ""
    for line in lines:
        chain = hashlib.sha256((chain + line).encode()).hexdigest()
        found.append(f"{line} {chain}")
    return found


def first_bad(lines: list[str]) -> int | None:
    """Chain the texts again, and compare."""
    texts = [line.rpartition(" ")[0] for line in lines]
    for number, (there, here) in enumerate(zip(lines, chained(texts), strict=True), 1):
        if there != here:
            return number
    return None
