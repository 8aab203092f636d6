"""How the start is judged."""

from __future__ import annotations

import os

from bench.start import MIB, Idle, _findings, memory


def test_memory_is_that_of_a_process_with_its_children() -> None:
    """It is more than nothing, and the proportional share is at most the resident one."""
    resident, proportional = memory(os.getpid())
    assert resident > MIB
    assert proportional is None or 0 < proportional <= resident


def test_the_slowest_and_the_largest_are_judged() -> None:
    """Only Holdfast's own processes, each started alone; the start of all at once and the servers
    are just shown."""
    idle = {
        "postgres": Idle(500 * MIB, None, 0.0),
        "gateway-1": Idle(80 * MIB, 60 * MIB, 0.0),
        "sandbox": Idle(50 * MIB, 40 * MIB, 0.0),
    }
    found = _findings(5.0, [3.0, 2.0], {"gateway-1": 1.6, "sandbox": 0.4}, {"gateway-1": 1.7}, idle)
    again, ready, largest = found.goals
    assert (again.figure, again.met) == (2.5, True)
    assert (ready.figure, ready.met) == (1.6, False)
    assert (largest.figure, largest.met) == (80.0, True)
    assert [row[0] for row in found.tables[1].rows] == list(idle)
