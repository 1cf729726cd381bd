"""What a benchmark hands back: tables, plots and targets, as plain data.

A benchmark measures and fills these in; `report` writes them down. Neither knows the other, so a
new benchmark needs no new report.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec


class Series(msgspec.Struct, frozen=True):
    """One figure, measured several times.

    >>> Series.of([3.0, 1.0, 2.0, 9.0, 2.5])
    Series(median=2.5, smallest=1.0, largest=9.0, repetitions=5)
    """

    median: float
    smallest: float
    largest: float
    repetitions: int

    @classmethod
    def of(cls, measured: Iterable[float]) -> Series:
        """The series of some measurements, at least one."""
        values = list(measured)
        return cls(statistics.median(values), min(values), max(values), len(values))


class Row(msgspec.Struct, frozen=True):
    """One line of a table: a cell for each column, and what has to be said about it."""

    label: str
    cells: list[Series | str]
    note: str = ""


class Table(msgspec.Struct, frozen=True):
    """Figures that are read together. `work` says what was done, how much of it, and how."""

    title: str
    work: str
    columns: list[str]
    rows: list[Row]


class Point(msgspec.Struct, frozen=True):
    """One measured place of a curve."""

    x: float
    y: Series


class Plot(msgspec.Struct, frozen=True):
    """Curves over a logarithmic or linear axis. `name` is the name of its file."""

    name: str
    title: str
    x: str
    y: str
    curves: dict[str, list[Point]]
    x_scale: Literal["linear", "log"] = "log"
    y_scale: Literal["linear", "log"] = "log"


class Target(msgspec.Struct, frozen=True):
    """What a figure should reach. A figure that could not be taken is None, and not met."""

    figure: str
    measured: Series | None
    bound: float
    at_least: bool = True
    reason: str = ""
    """Why there is no figure, where there is none."""
    obstacle: str = ""
    """What is in the way: printed where the target is missed."""

    @property
    def met(self) -> bool:
        """Whether the median reaches the bound."""
        if self.measured is None:
            return False
        median = self.measured.median
        return median >= self.bound if self.at_least else median <= self.bound


class Section(msgspec.Struct, frozen=True):
    """All that one benchmark found."""

    title: str
    text: str
    """What it is about and how to read it: the benchmark's own docstring."""
    tables: list[Table]
    plots: list[Plot] = []
    targets: list[Target] = []
    notes: list[str] = []
    """What was left out, and why."""


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure, and what to call with what is being done."""

    quick: bool
    repetitions: int
    status: Callable[[str], None]

    def pick(self, full: int, quick: int) -> int:
        """A size: the one of a full run or of a quick one."""
        return quick if self.quick else full


def ratios(ours: list[float], theirs: list[float]) -> Series:
    """How many times as fast: rate by rate, each pair measured right after one another."""
    return Series.of(our / their for our, their in zip(ours, theirs, strict=True))
