"""The results as one picture: every goal with its distance from the limit, then the charts, in two columns.

Plain SVG. Its colours follow the reader's light or dark scheme if the viewer passes it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

from bench.findings import Chart, Goal, Series

WIDTH = 1000
MARGIN = 24
GOAL_HEIGHT = 26
# Where the bars of the goals begin and end; the name is left of them, the figure right of them.
BARS_LEFT, BARS_RIGHT = 340, 620
# A goal is drawn as how many times better than its limit the figure is, from a quarter to four times.
REACH = 4.0
CHART_WIDTH, CHART_HEIGHT = 464, 280
# The margins of the plot within its chart.
LEFT, TOP, RIGHT, BOTTOM = 58, 62, 12, 44
TICKS = 5
COLOURS = ("#3b82c4", "#d97706", "#2a9d62", "#c2477f", "#8b6fc9", "#7a8a99")

STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
.head { font-size: 20px; font-weight: 600; } .title { font-size: 13px; font-weight: 600; }
.faint { fill: #59636e; } .page { fill: #ffffff; } .grid { stroke: #d1d9e0; } .limit { stroke: #1f2328; }
.met { fill: #2a9d62; } .missed { fill: #d1453b; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .faint { fill: #9198a1; } .page { fill: #0d1117; } .grid { stroke: #30363d; }
  .limit { stroke: #e6edf3; }
}
"""


def page(title: str, subtitle: str, goals: Sequence[Goal], charts: Sequence[Chart]) -> str:
    head = MARGIN + (76 if goals else 52)
    goals_height = len(goals) * GOAL_HEIGHT + 40 if goals else 0
    rows = ceil(len(charts) / 2)
    height = head + goals_height + rows * (CHART_HEIGHT + MARGIN) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        _text(MARGIN, MARGIN + 16, title, "head"),
        _text(MARGIN, MARGIN + 36, subtitle, "faint"),
    ]
    if goals:
        parts += _goals(goals, head)
    for number, chart in enumerate(charts):
        x = MARGIN + number % 2 * (CHART_WIDTH + MARGIN)
        y = head + goals_height + number // 2 * (CHART_HEIGHT + MARGIN)
        parts += [f'<g transform="translate({x} {y})">', *_chart(chart), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


# --- goals ------------------------------------------------------------------------------------------------


def times_better(goal: Goal) -> float | None:
    """How many times better than its limit a goal's figure is; below 1 it is missed."""
    if goal.figure is None:
        return None
    good, bad = (goal.figure, goal.limit) if goal.at_least else (goal.limit, goal.figure)
    if good == bad:
        return 1.0
    return good / bad if bad else REACH


def _goals(goals: Sequence[Goal], top: float) -> list[str]:
    middle = (BARS_LEFT + BARS_RIGHT) / 2
    bottom = top + len(goals) * GOAL_HEIGHT
    parts = [
        _text(middle - 8, top - 4, "worse", "faint", "end"),
        _text(middle + 8, top - 4, "better than the goal", "faint"),
    ]
    for factor in (1 / REACH, 1 / 2, 2, REACH):
        x = _position(factor)
        parts.append(_line(x, top, x, bottom, "grid"))
        parts.append(_text(x, bottom + 14, f"{factor:g}×", "faint", "middle"))
    for number, goal in enumerate(goals):
        parts += _goal(goal, top + number * GOAL_HEIGHT)
    return [*parts, _line(middle, top - 12, middle, bottom, "limit")]


def _position(better: float) -> float:
    """The position on a logarithmic scale with the limit in the middle."""
    share = log10(min(max(better, 1 / REACH), REACH)) / log10(REACH)
    return (BARS_LEFT + BARS_RIGHT) / 2 + share * (BARS_RIGHT - BARS_LEFT) / 2


def _goal(goal: Goal, y: float) -> list[str]:
    parts = [_text(BARS_LEFT - 10, y + 17, goal.name, "", "end")]
    better = times_better(goal)
    sign = "≥" if goal.at_least else "≤"
    limit = f"{_number(goal.limit)} {goal.unit}"
    if better is None:
        return [*parts, _text(BARS_RIGHT + 10, y + 17, f"not measured ({sign} {limit})", "faint")]
    from_x, to_x = sorted((_position(1), _position(better)))
    style = "met" if goal.met else "missed"
    width = max(to_x - from_x, 2)
    parts.append(f'<rect x="{from_x:.1f}" y="{y + 5:.1f}" width="{width:.1f}" height="16" rx="2" class="{style}"/>')
    mark = "met" if goal.met else "missed"
    parts.append(_text(BARS_RIGHT + 10, y + 17, f"{mark}: {_number(goal.figure or 0)} ({sign} {limit})"))
    return parts


# --- charts -----------------------------------------------------------------------------------------------


def ticks(low: float, high: float) -> list[float]:
    """Round numbers that span from `low` to `high`: a step of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    rough = span / TICKS
    power = 10 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = floor(low / step + 1e-9), max(ceil(high / step - 1e-9), floor(low / step + 1e-9) + 1)
    return [number * step for number in range(first, last + 1)]


def _chart(chart: Chart) -> list[str]:
    series = [each for each in chart.series if each.points]
    parts = [_text(0, 14, chart.title, "title"), *_legend(chart.series)]
    if not series:
        return [*parts, _text(LEFT, TOP + 40, "nothing was measured", "faint")]
    xs = [x for each in series for x, _ in each.points]
    ys = [y for each in series for _, y in each.points]
    across, up = ticks(min(xs), max(xs)), ticks(min(0.0, *ys), max(0.0, *ys))
    wide, high = CHART_WIDTH - LEFT - RIGHT, CHART_HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - across[0]) / (across[-1] - across[0]) * wide,
            TOP + high - (y - up[0]) / (up[-1] - up[0]) * high,
        )

    for value in up:
        _, y = at(across[0], value)
        parts.append(_line(LEFT, y, LEFT + wide, y, "grid"))
        parts.append(_text(LEFT - 6, y + 4, _number(value), "faint", "end"))
    for value in across:
        x, _ = at(value, up[0])
        parts.append(_text(x, TOP + high + 16, _number(value), "faint", "middle"))
    parts.append(_text(LEFT + wide / 2, TOP + high + 34, chart.x, "faint", "middle"))
    parts.append(_text(LEFT - 6, TOP - 8, chart.y, "faint", "end" if len(chart.y) < 8 else "start"))
    for number, each in enumerate(chart.series):
        points = [at(x, y) for x, y in each.points]
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" class="line" stroke="{colour}"/>')
        if len(points) <= TICKS * 2:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return parts


def _legend(series: Sequence[Series]) -> list[str]:
    parts, x = [], 0.0
    for number, each in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="25" width="12" height="4" fill="{colour}"/>')
        parts.append(_text(x + 16, 31, each.name, "faint"))
        x += 30 + 6.2 * len(each.name)
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
