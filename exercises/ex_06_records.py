"""Exercise 6: records that know whether they are whole."""


def frame(body: bytes) -> bytes:
    """The body with all that is needed to read it back and to notice damage."""
    raise NotImplementedError("an exercise: yours to write")


def read(data: bytes) -> tuple[list[bytes], int]:
    """The bodies from the beginning on that are whole, and the offset where the rest begins."""
    raise NotImplementedError("an exercise: yours to write")
