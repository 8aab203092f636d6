"""A rush on the screen: what becomes of all clients, four times a second; without a terminal, as plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.findings import cell
from bench.rush.tally import Sample, Tally

BLOCKS = " ▁▂▃▄▅▆▇█"
CHART_WIDTH = 72
# Without a terminal, one line for this many samples.
LINE_EVERY = 4

Curve = Callable[[Sample], float | None]


def spark(values: Sequence[float | None], width: int = CHART_WIDTH) -> str:
    """The values as blocks from nothing to the largest; at most `width` characters, whatever their number."""
    known = [value or 0.0 for value in values]
    if len(known) > width:
        edges = [round(number * len(known) / width) for number in range(width + 1)]
        known = [max(known[start:end]) for start, end in pairwise(edges)]
    highest = max(known, default=0.0)
    if not highest:
        return BLOCKS[0] * len(known)
    return "".join(BLOCKS[round(value / highest * (len(BLOCKS) - 1))] for value in known)


def drawn(tally: Tally) -> RenderableType:
    """The tally as it is now, and its course up to now."""
    samples = tally.samples
    if not samples:
        return Text("")
    now = samples[-1]
    return Panel(
        Group(_bars(tally, now), Text(), _curves(samples)),
        title=f"{tally.clients:,} clients for {tally.seats:,} seats · {now.at:.1f} s",
        title_align="left",
        width=CHART_WIDTH + 40,
    )


def _bars(tally: Tally, now: Sample) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=12)
    grid.add_column(width=40)
    grid.add_column()
    rows = (
        ("came", now.came, tally.clients, "cyan", f"{now.came:,} of {tally.clients:,}"),
        ("seats", now.held + now.sold, tally.seats, "yellow", f"{now.held:,} held, {now.sold:,} sold"),
        ("paid", now.sold, tally.seats, "green", f"{now.sold:,} of {tally.seats:,}"),
        ("refused", now.refused, tally.clients, "magenta", f"{now.refused:,} were refused: sold out"),
        ("asking", now.asking, tally.clients, "blue", f"{now.asking:,} have no answer yet"),
    )
    for name, count, total, colour, text in rows:
        bar = ProgressBar(total=max(total, 1), completed=count, complete_style=colour, finished_style=colour)
        grid.add_row(Text(name), bar, Text(text))
    wrong = Text(f"{len(tally.problems):,} problems", "red") if tally.problems else Text("no problems", "green")
    again = f"{tally.sent_back:,} times asked to come again (503)"
    grid.add_row(Text("turned away"), Text(again), wrong)
    return grid


def _curves(samples: Sequence[Sample]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=12)
    grid.add_column(width=CHART_WIDTH, no_wrap=True)
    grid.add_column(justify="right")
    step = samples[-1].at / max(len(samples) - 1, 1) or 1.0
    curves: tuple[tuple[str, Curve, int], ...] = (
        ("sold", lambda each: each.sold, 0),
        ("held", lambda each: each.held, 0),
        ("answers/s", lambda each: each.answers / step, 0),
        ("come again/s", lambda each: each.sent_back / step, 0),
        ("p50 ms", lambda each: each.p50, 0),
        ("p99 ms", lambda each: each.p99, 0),
    )
    for name, curve, digits in curves:
        values = [curve(each) for each in samples]
        highest = max((value for value in values if value is not None), default=None)
        grid.add_row(Text(name), Text(spark(values)), Text(f"up to {cell(highest, digits)}"))
    return grid


def line(sample: Sample) -> str:
    return (
        f"rush: {sample.at:5.1f} s  came {sample.came:,}, asking {sample.asking:,}, held {sample.held:,}, "
        f"sold {sample.sold:,}, refused {sample.refused:,}, p99 {cell(sample.p99, 0)} ms"
    )


class Screen:
    """Where a rush is shown."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live

    def began(self, text: str) -> None:
        self._console.print(f"rush: {text}", highlight=False, soft_wrap=True)

    def sampled(self, tally: Tally) -> None:
        if self._live is not None:
            self._live.update(drawn(tally))
        elif len(tally.samples) % LINE_EVERY == 1:
            self._console.print(line(tally.samples[-1]), highlight=False, soft_wrap=True)


@contextmanager
def shown(console: Console) -> Iterator[Screen]:
    if not console.is_terminal:
        yield Screen(console, None)
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield Screen(live.console, live)
