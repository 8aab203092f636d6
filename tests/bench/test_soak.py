"""What a soak finds out about memory."""

from __future__ import annotations

import pytest

from bench.soak import Course, Sample, findings, growth


def sample(bookings: int, gateway: float) -> Sample:
    memory = {"gateway-1": gateway, "redis": 10.0}
    return Sample(bookings, memory, memory, 3.0)


def test_growth_counts_only_after_a_process_has_filled_its_caches() -> None:
    """By a line through all samples: a single high or low one changes little."""
    steep_then_flat = [sample(number * 1000, min(80.0 + 10 * number, 100.0)) for number in range(1, 101)]
    assert growth(steep_then_flat, "gateway-1", 100_000) == pytest.approx(0.0)
    grows = [sample(number * 1000, 80.0 + 0.3 * number) for number in range(1, 101)]
    assert growth(grows, "gateway-1", 100_000) == pytest.approx(30.0)
    assert growth(grows[:2], "gateway-1", 1000) is None


def course(wanted: int) -> Course:
    made = Course(wanted, 0.0)
    made.sold = ["a"] * 100
    made.samples = [sample(number, 80.0) for number in range(1, 101)]
    return made


def test_only_our_own_processes_are_judged() -> None:
    found = findings(course(100), 1.0, [])
    assert [(goal.name, goal.met) for goal in found.goals] == [("soak: gateway-1 grows in 100,000 bookings", True)]
    assert [row[0] for row in found.tables[0].rows] == ["gateway-1", "redis", "CPU of a booking, ms"]
    assert not found.notes


def test_a_soak_that_ends_early_has_a_note() -> None:
    assert findings(course(200), 1.0, []).notes == ["100 of 200 bookings in its time"]
