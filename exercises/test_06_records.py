"""Exercise 6."""

import pytest

from exercises import exercise

records = exercise("ex_06_records")
BODIES = [b"buy 1", b"", b"sell 2" * 50]


@pytest.fixture
def log() -> bytes:
    return b"".join(map(records.frame, BODIES))


def test_what_was_written_is_read(log):
    assert records.read(log) == (BODIES, len(log))


def test_at_every_truncation_what_is_whole_is_read(log):
    for size in range(len(log)):
        bodies, rest = records.read(log[:size])
        assert bodies == BODIES[: len(bodies)]
        assert len(bodies) < len(BODIES)
        assert rest <= size


def test_every_flipped_bit_is_noticed(log):
    for at in range(len(log)):
        for bit in range(8):
            damaged = bytearray(log)
            damaged[at] ^= 1 << bit
            bodies, rest = records.read(bytes(damaged))
            assert rest <= at
            assert bodies == BODIES[: len(bodies)]


def test_zeros_are_no_record(log):
    bodies, rest = records.read(log + bytes(64))
    assert (bodies, rest) == (BODIES, len(log))
