"""How Holdfast and the reference design are compared, with made-up slices."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.clients import Sale
from bench.compare import Rush, _course
from bench.driver import Slice
from bench.sides import alternated, times


def slice_of(seconds: float, sales: int, cpu: float, payable: float) -> Slice:
    sold = [Sale(str(number), payable, 2 * payable) for number in range(sales)]
    return Slice(64, "hot", seconds, {"gateway": cpu, "postgres": cpu, "driver": 100.0, "sandbox": 100.0}, sold, ())


def test_each_slice_is_compared_with_its_neighbour() -> None:
    """The median of the pairs' ratios: CPU without driver and sandbox, bookings a second, latencies."""
    ours = [slice_of(1.0, 10, 0.1, 0.02), slice_of(2.0, 10, 0.2, 0.04), slice_of(1.0, 10, 0.1, 0.02)]
    theirs = [slice_of(2.0, 10, 0.2, 0.04), slice_of(6.0, 10, 0.6, 0.12), slice_of(4.0, 10, 0.4, 0.08)]
    found = times(ours, theirs)
    assert found == pytest.approx((3.0, 3.0, 3.0, 3.0, 3.0))


def test_slice_without_sales_is_left_out() -> None:
    """If one side sold nothing, there is no ratio; the other slices count."""
    one, none = slice_of(1.0, 10, 0.1, 0.02), slice_of(1.0, 0, 0.1, 0.02)
    assert times([one, one], [none, slice_of(2.0, 10, 0.2, 0.04)]) == pytest.approx((2.0, 2.0, 2.0, 2.0, 2.0))
    assert times([none], [none]) == (None, None, None, None, None)


@pytest.mark.parametrize("count", [1, 49, 50, 51, 500, 503])
def test_course_of_a_rush(count: int) -> None:
    """The line of a chart ends at the last answer, and has few points."""
    rush = Rush([number / 100 for number in range(count)], {201: count})
    course = _course(rush)
    assert course[-1] == (rush.seconds, count)
    assert len(course) <= 102
    assert all(one < other for one, other in pairwise(course))


def test_sides_alternate_forth_and_back() -> None:
    """No side is always first, nor always after the same other one."""
    assert "".join(alternated("AB", 4)) == "ABBAABBA"
    assert "".join(alternated("ABC", 2)) == "ABCCBA"
