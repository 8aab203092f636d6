"""Shows how a run goes: one table that is updated on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.chaos.load import Load
from tests.chaos.monkey import Monkey
from tests.chaos.run import Run, Shown


@contextmanager
def display() -> Iterator[Shown]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(run: Run, load: Load, monkey: Monkey) -> None:
            live.update(_table(run, load, monkey), refresh=True)

        yield show


class _Lines:
    """Prints each entry of the diary once."""

    def __init__(self) -> None:
        self._printed = 0

    def __call__(self, run: Run, load: Load, monkey: Monkey) -> None:
        for entry in monkey.diary[self._printed :]:
            print(f"chaos: {entry.at:7.2f} s  {entry.text}", file=sys.stderr, flush=True)  # noqa: T201
        self._printed = len(monkey.diary)


def _table(run: Run, load: Load, monkey: Monkey) -> Table:
    judge = load.judge
    ends = sum((shopper.endings.total() for shopper in load.shoppers), 0)
    statuses = dict.fromkeys(("2xx", "4xx", "503", "other 5xx", "no answer"), 0)
    for (_, status), number in judge.answers.items():
        statuses[_kind(status)] += number
    table = Table("", "", title=f"Chaos, seed {run.seed}", show_header=False, title_justify="left")
    table.add_row("time", f"{judge.now:.0f} of {run.seconds:.0f} s")
    table.add_row("now", monkey.doing)
    table.add_row("faults", f"{monkey.done.total()} done, {monkey.struck.total()} strokes")
    table.add_row("orders", f"{load.orders}, {ends} at their end, {len(load.under_way)} under way")
    table.add_row("answers", ", ".join(f"{number} {kind}" for kind, number in statuses.items() if number))
    table.add_row("sockets closed", ", ".join(f"{code}: {number}" for code, number in sorted(load.closes.items())))
    worst = max((seconds for all in monkey.healed.values() for seconds in all), default=0.0)
    table.add_row("slowest healing", f"{worst:.1f} s")
    broken = len(judge.broken)
    style = "bold red" if broken else "green"
    table.add_row("promises broken", f"[{style}]{broken}[/]")
    for each in judge.broken[-3:]:
        table.add_row("", f"{each.at:.1f} s {each.promise}: {each.what[:100]}", style="red")
    return table


def _kind(status: str) -> str:
    if not status.isdecimal():
        return "no answer"
    if status == "503":
        return status
    return {"2": "2xx", "4": "4xx"}.get(status[0], "other 5xx")
