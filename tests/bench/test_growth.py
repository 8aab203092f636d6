"""How slices of the growth phase are combined and judged."""

from __future__ import annotations

import pytest

from bench.clients import Sale
from bench.driver import Slice
from bench.growth import SETTLED_GROWTH, Taken, _findings, cells, ratio


def taken(place: str, processes: int, sales: int, cpu: float) -> Taken:
    sold = tuple(Sale(str(number), 0.1, 0.1) for number in range(sales))
    slice = Slice(64, place, 1.0, {"booking": cpu, "postgres": cpu, "driver": 100.0}, sold, ())
    return Taken(place, processes, slice, slice)


THERE_AND_BACK = [
    taken("empty", 1, 10, 0.1),
    taken("full", 1, 10, 0.2),
    taken("full", 2, 10, 0.3),
    taken("full", 2, 30, 0.5),
    taken("full", 1, 30, 0.6),
    taken("empty", 1, 30, 0.7),
]


def test_slices_of_one_kind_are_one_cell() -> None:
    """CPU per booking over all slices of one place and one number of processes, without the driver."""
    found = cells(THERE_AND_BACK)
    assert [(cell.place, cell.processes, cell.sales) for cell in found] == [
        ("empty", 1, 40),
        ("full", 1, 40),
        ("full", 2, 40),
    ]
    assert [cell.ms for cell in found] == pytest.approx([40.0, 40.0, 40.0])


def test_growth_is_judged_against_nothing_settled_and_against_one_process() -> None:
    """Each goal has its own base."""
    slices = [taken("empty", 1, 10, 0.1), taken("full", 1, 10, 0.12), taken("full", 2, 10, 0.18)]
    settled, processes = _findings(cells(slices), ()).goals
    assert settled.figure == pytest.approx(1.2)
    assert processes.figure == pytest.approx(1.5)
    assert (settled.limit, processes.met) == (SETTLED_GROWTH, False)


def test_a_cell_without_bookings_has_no_figure() -> None:
    """What could not be measured gets no figure."""
    none, some = cells([taken("empty", 1, 0, 0.1), taken("full", 1, 10, 0.1)])
    assert none.ms is None
    assert ratio(some, none) is None
