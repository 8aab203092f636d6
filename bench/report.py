"""The results of a run: as JSON, and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from bench.cpu import CHARGED
from bench.figures import DrainFigures, Ratio, Ways
from bench.findings import Goal

# For what is not a terminal: no column is cut off.
WIDTH = 116
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Report:
    """Everything that a run found out. `problems` are why its figures can't be believed."""

    machine: Mapping[str, Any]
    seconds: float
    raw_cpu_ms: float | None
    raw_per_second: float | None
    ways: Sequence[Ways] = ()
    ratios: Sequence[Ratio] = ()
    drains: Sequence[DrainFigures] = ()
    goals: Sequence[Goal] = ()
    problems: Sequence[str] = ()
    measured_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def json(self) -> bytes:
        """Rounded to what can be meant: five significant digits."""
        body = asdict(self)
        for goal, mine in zip(body["goals"], self.goals, strict=True):
            goal["met"] = mine.met
        return orjson.dumps(_rounded(body), option=orjson.OPT_INDENT_2)

    def keep(self) -> Path:
        """Write it to the folder of results; says where."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.measured_at.replace(':', '').replace('+0000', 'Z')}.json"
        path.write_bytes(self.json())
        return path

    def show(self, console: Console) -> None:
        if not console.is_terminal:
            console.width = WIDTH
        tables = (_ways_table(self.ways), _cpu_table(self), _drain_table(self.drains), _goal_table(self.goals))
        for table in tables:
            if table.row_count:
                console.print(table)
        for problem in self.problems:
            console.print(f"[red]wrong:[/red] {problem}", highlight=False)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value


def _shown(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _ways_table(ways: Sequence[Ways]) -> Table:
    table = _table(
        "From POST /bookings to confirmed on the socket; latencies in ms, medians over slices",
        "at once", "events", "bookings", "a second", "payable p50", "p99", "paid → told p50", "p99",
    )  # fmt: skip
    for each in ways:
        table.add_row(
            str(each.concurrency),
            "one hot" if each.kind == "hot" else "a hundred",
            str(each.bookings),
            _shown(each.per_second),
            *map(_shown, (each.payable_p50, each.payable_p99, each.notified_p50, each.notified_p99)),
        )
    return table


def _cpu_table(report: Report) -> Table:
    apart = sorted({name for each in report.ways for name in each.cpu_apart})
    title = "CPU of one confirmed booking in ms"
    if report.raw_cpu_ms is not None:
        title += f"; one raw aiohttp POST: {report.raw_cpu_ms:.3f} ms"
    table = _table(title, "at once", "events", *CHARGED, "sum", "× raw", *(f"({name})" for name in apart))
    for each in report.ways:
        table.add_row(
            str(each.concurrency),
            "one hot" if each.kind == "hot" else "a hundred",
            *(_shown(each.cpu[name], 2) for name in CHARGED),
            _shown(each.cpu_sum, 2),
            _shown(each.cpu_raw_multiple),
            *(_shown(each.cpu_apart.get(name), 2) for name in apart),
        )
    return table


def _drain_table(drains: Sequence[DrainFigures]) -> Table:
    table = _table(
        "One booking actor drains a full mailbox of one event; CPU in µs for each entry",
        "entries", "runs", "drained", "a second", "batch", "handler ms", "booking", "postgres", "redis",
    )  # fmt: skip
    for each in drains:
        table.add_row(
            each.kind,
            str(each.runs),
            f"{each.entries:,} of {each.enqueued:,}",
            _shown(each.per_second, 0),
            _shown(each.batch_mean, 0),
            _shown(each.handler_median),
            *(_shown(each.cpu_us.get(name), 0) for name in ("booking", "postgres", "redis")),
        )
    return table


def _goal_table(goals: Sequence[Goal]) -> Table:
    table = _table("Goals", "", "figure", "goal", "")
    marks = {None: "not measured", True: "[green]met[/green]", False: "[red]missed[/red]"}
    for goal in goals:
        limit = f"{'≥' if goal.at_least else '≤'} {goal.limit:,g} {goal.unit}"
        table.add_row(goal.name, _shown(goal.figure, 0 if goal.limit >= 1000 else 2), limit, marks[goal.met])
    return table
