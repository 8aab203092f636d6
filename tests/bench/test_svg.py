"""The chart of the results: well-formed, with every goal and curve in it, and readable in the dark."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from bench.findings import Chart, Goal, Series
from bench.svg import page, ticks, times_better

SVG = "{http://www.w3.org/2000/svg}"


def drawn(goals: Sequence[Goal] = (), charts: Sequence[Chart] = ()) -> ElementTree.Element:
    return ElementTree.fromstring(page("Title", "on a <fast> machine", goals, charts))


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_every_goal_is_shown_with_its_figure_and_whether_it_is_met() -> None:
    root = drawn(
        [
            Goal("quick", 2.0, 4.0, False, "ms"),
            Goal("many", 500.0, 1000.0, True, "a second"),
            Goal("unknown", None, 3.0, False, "s"),
            Goal("nothing wrong", 0, 0, False, "seats"),
        ]
    )
    labels = texts(root)
    assert {"quick", "many", "unknown", "nothing wrong", "on a <fast> machine"} <= set(labels)
    assert {"met: 2 (≤ 4 ms)", "missed: 500 (≥ 1,000 a second)", "not measured (≤ 3 s)"} <= set(labels)
    bars = [
        element.get("class") for element in root.iter(f"{SVG}rect") if element.get("class") in ("met", "missed")
    ]
    assert bars == ["met", "missed", "met"]


@pytest.mark.parametrize(
    ("figure", "limit", "at_least", "better"),
    [(2, 4, False, 2), (8, 4, False, 0.5), (8, 4, True, 2), (0, 0, False, 1), (0, 5, False, 4), (3, 0, False, 0)],
)
def test_distance_from_the_limit_is_a_factor(figure: float, limit: float, at_least: bool, better: float) -> None:
    assert times_better(Goal("", figure, limit, at_least, "")) == better


def test_every_curve_is_drawn_within_its_chart() -> None:
    chart = Chart("Latency", "s", "ms", [Series("p50", [(0, 1), (1, 3)]), Series("p99", [(0, 5), (1, 50)])])
    root = drawn((), [chart, chart])
    lines = list(root.iter(f"{SVG}polyline"))
    assert len(lines) == 4
    for line in lines:
        for point in (line.get("points") or "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 464
            assert 0 <= y <= 280
    assert {"Latency", "p50", "p99", "ms", "s"} <= set(texts(root))


@pytest.mark.parametrize("points", [[], [(3, 3)], [(0, 0), (1, 0)], [(1, -2), (2, 7)]])
def test_a_chart_of_few_points_or_none_is_drawn(points: list[tuple[float, float]]) -> None:
    root = drawn((), [Chart("Little", "x", "y", [Series("one", points)])])
    assert "Little" in texts(root)
    assert ("nothing was measured" in texts(root)) == (not points)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 7), (-3, 12), (5, 5), (0, 0), (0, 0.004), (0, 123_456)])
def test_ticks_span_the_values(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8


def test_the_chart_follows_the_dark_scheme() -> None:
    assert "prefers-color-scheme: dark" in page("Title", "", (), ())
