"""How slices of the growth phase are combined and judged."""

from __future__ import annotations

import pytest

from bench.clients import Sale
from bench.driver import Slice
from bench.growth import FINISHED_GROWTH, SetupSlice, _findings, cells, ratio


def setup_slice(setup: str, processes: int, sales: int, cpu: float) -> SetupSlice:
    sold = tuple(Sale(str(number), 0.1, 0.1) for number in range(sales))
    slice = Slice(64, setup, 1.0, {"booking": cpu, "postgres": cpu, "driver": 100.0}, sold, ())
    return SetupSlice(setup, processes, slice, slice)


THERE_AND_BACK = [
    setup_slice("empty", 1, 10, 0.1),
    setup_slice("full", 1, 10, 0.2),
    setup_slice("full", 2, 10, 0.3),
    setup_slice("full", 2, 30, 0.5),
    setup_slice("full", 1, 30, 0.6),
    setup_slice("empty", 1, 30, 0.7),
]


def test_slices_of_one_kind_are_one_cell() -> None:
    """CPU per booking over all slices of one setup and one number of processes, without the driver."""
    found = cells(THERE_AND_BACK)
    assert [(cell.setup, cell.processes, cell.sales) for cell in found] == [
        ("empty", 1, 40),
        ("full", 1, 40),
        ("full", 2, 40),
    ]
    assert [cell.ms for cell in found] == pytest.approx([40.0, 40.0, 40.0])


def test_growth_is_judged_against_no_finished_bookings_and_against_one_process() -> None:
    """Each goal has its own base."""
    slices = [setup_slice("empty", 1, 10, 0.1), setup_slice("full", 1, 10, 0.12), setup_slice("full", 2, 10, 0.18)]
    finished, processes = _findings(cells(slices), ()).goals
    assert finished.figure == pytest.approx(1.2)
    assert processes.figure == pytest.approx(1.5)
    assert (finished.limit, processes.met) == (FINISHED_GROWTH, False)


def test_a_cell_without_bookings_has_no_figure() -> None:
    """What could not be measured gets no figure."""
    none, some = cells([setup_slice("empty", 1, 0, 0.1), setup_slice("full", 1, 10, 0.1)])
    assert none.ms is None
    assert ratio(some, none) is None
