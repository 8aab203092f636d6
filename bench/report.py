"""What a run has found: as tables and charts for people, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench import svg
from bench.bounds import bound
from bench.findings import Chart, Findings, Goal, Table, cell

# Where the output is no terminal: no column is cut off.
WIDTH = 132
RESULTS = Path(__file__).resolve().parent / "results"
PROBLEMS_SHOWN = 8
# How the interpreter was built, as it says itself.
BUILT = {
    None: "(it does not say how it was built)",
    True: "(built with profile-guided optimisation)",
    False: "(built without profile-guided optimisation)",
}
MARKS = {None: ("not measured", "yellow"), True: ("met", "green"), False: ("missed", "red")}


@dataclass(frozen=True)
class Report:
    """What the phases have found, by name in the order in which they ran."""

    machine: Mapping[str, Any]
    seconds: float
    phases: Mapping[str, Findings]
    measured_at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ"))

    @property
    def goals(self) -> list[Goal]:
        return [goal for found in self.phases.values() for goal in found.goals]

    @property
    def missed(self) -> dict[str, list[str]]:
        """The goals that are missed, by what bounds them."""
        by_bound: dict[str, list[str]] = {}
        for goal in self.goals:
            if goal.met is False:
                by_bound.setdefault(bound(goal.name), []).append(goal.name)
        return by_bound

    @property
    def charts(self) -> list[Chart]:
        return [chart for found in self.phases.values() for chart in found.charts]

    @property
    def problems(self) -> list[str]:
        """Why the figures cannot be believed."""
        return [
            line
            for name, found in self.phases.items()
            for line in (f"{name}: {problem}" for problem in _shortened(found.problems))
        ]

    @property
    def notes(self) -> list[str]:
        """What was measured differently than usual, or not at all."""
        return [f"{name}: {note}" for name, found in self.phases.items() for note in found.notes]

    def json(self) -> bytes:
        """Rounded to five significant digits: no figure is more exact."""
        body = {
            "measured_at": self.measured_at,
            "machine": self.machine,
            "seconds": self.seconds,
            "goals": [asdict(goal) | {"met": goal.met} for goal in self.goals],
            "problems": self.problems,
            "notes": self.notes,
            "phases": {name: found.figures for name, found in self.phases.items()},
        }
        return orjson.dumps(_rounded(body), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)

    def show(self, console: Console) -> None:
        if not console.is_terminal:
            console.width = WIDTH
        console.print(self._headline(), highlight=False)
        for found in self.phases.values():
            for table in found.tables:
                console.print(f"\n{table.title}", style="bold", highlight=False, markup=False, soft_wrap=True)
                console.print(_drawn(table))
        console.print("\nGoals", style="bold")
        console.print(_goal_table(self.goals))
        for why, names in self.missed.items():
            console.print(f"missed: {', '.join(names)}: {why}", highlight=False, markup=False, soft_wrap=True)
        for note in self.notes:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        for problem in self.problems:
            console.print(Text.assemble(("wrong: ", "red"), problem))

    def text(self) -> str:
        """What `show` shows, without colours."""
        console = Console(file=StringIO(), width=WIDTH)
        with console.capture() as captured:
            self.show(console)
        return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"

    def svg(self) -> str:
        return svg.page("Holdfast, measured", self._headline(), self.goals, self.charts)

    def keep(self, name: str | None = None, folder: Path = RESULTS) -> Path:
        """Write all three files; returns their path without suffix. Without `name` they are named by the time."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name or self.measured_at)
        for suffix, content in (
            (".json", self.json()),
            (".txt", self.text().encode()),
            (".svg", self.svg().encode()),
        ):
            path.with_suffix(suffix).write_bytes(content)
        return path

    def _headline(self) -> str:
        about = self.machine
        built = BUILT[about.get("python_optimised_by_profile")]
        return (
            f"{self.measured_at} · {about['cores']} cores of {about['processor']}, {about['memory_gib']} GiB · "
            f"{about['system']}, Python {about['python']} {built}, PostgreSQL {about['postgres']}, "
            f"Redis {about['redis']}"
        )


def _shortened(problems: Sequence[str]) -> list[str]:
    """Each problem once, however often it was found, and not too many of them."""
    counted = [f"{text} ({count:,} times)" if count > 1 else text for text, count in Counter(problems).items()]
    left = len(counted) - PROBLEMS_SHOWN
    return [*counted[:PROBLEMS_SHOWN], *([f"and {left} more problems"] if left > 0 else [])]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value


def _drawn(table: Table) -> RichTable:
    drawn = RichTable()
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn


def _goal_table(goals: Sequence[Goal]) -> RichTable:
    drawn = _drawn(Table("", ("", "before", "figure", "goal", "reach for", ""), ()))
    drawn.columns[0].no_wrap = False  # so that no figure is cut off
    for goal in goals:
        mark, colour = MARKS[goal.met]
        digits = 0 if goal.limit >= 1000 or isinstance(goal.figure, int) else 2
        before = "" if goal.before is None else f"{goal.before:,g}"
        limit = f"{'≥' if goal.at_least else '≤'} {goal.limit:,g} {goal.unit}"
        reach = "" if goal.reach is None else f"{goal.reach:,g}"
        drawn.add_row(Text(goal.name), before, cell(goal.figure, digits), Text(limit), reach, Text(mark, colour))
    return drawn
