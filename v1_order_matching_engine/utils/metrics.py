"""Throughput and latency, measured in integers."""

from collections.abc import Iterable
from typing import NamedTuple, Self


def per_second(count: int, seconds: float) -> float:
    """How many a second; 0.0 if no time has passed. O(1).

    >>> per_second(500, 2.0)
    250.0
    """
    return count / seconds if seconds > 0 else 0.0


class LatencySummary(NamedTuple):
    """Latencies in nanoseconds; 99 in 100 samples do not exceed p99.

    There is no average, because it hides the long waits.
    """

    samples: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int

    @classmethod
    def of(cls, samples_ns: Iterable[int]) -> Self:
        """The summary of some samples, by nearest rank: every figure is a sample. O(n log n).

        Raises:
            ValueError: there are no samples.

        >>> LatencySummary.of(range(1, 1001)).p99_ns
        990
        """
        ordered = sorted(samples_ns)
        if not ordered:
            raise ValueError("no samples to summarise")
        ranks = (_rank(len(ordered), per_mille) for per_mille in (500, 900, 990, 999, 1000))
        return cls(len(ordered), *(ordered[rank] for rank in ranks))


def _rank(count: int, per_mille: int) -> int:
    """The position, from 0, of the smallest sample that per_mille of all do not exceed."""
    return -(-count * per_mille // 1000) - 1
