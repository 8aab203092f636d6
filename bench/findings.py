"""What a phase of the benchmark has found, in the form in which it is judged, printed, drawn and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """`figure` must be at most, or at least, `limit`; None: it was not measured. `before` is the figure of the
    release before on the reference machine; `reach` is better than the limit, and worth reaching for."""

    name: str
    figure: float | None
    limit: float
    at_least: bool
    unit: str
    before: float | None = None
    reach: float | None = None

    @property
    def met(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass(frozen=True)
class Table:
    """Cells are ready to be printed; the first column is text, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Series:
    """One line of a chart: points (x, y) in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """`x` and `y` say what the axes show, with the unit."""

    title: str
    x: str
    y: str
    series: Sequence[Series]


@dataclass(frozen=True)
class Findings:
    """`figures` are kept as JSON; `problems` say why they cannot be believed: with one, the run has failed. `notes`
    say what was measured differently than usual, or not at all, and why."""

    figures: Mapping[str, Any]
    tables: Sequence[Table] = ()
    goals: Sequence[Goal] = ()
    charts: Sequence[Chart] = ()
    problems: Sequence[str] = field(default=())
    notes: Sequence[str] = ()


def cell(value: float | None, digits: int = 1) -> str:
    """A figure as a table shows it."""
    return "–" if value is None else f"{value:,.{digits}f}"
