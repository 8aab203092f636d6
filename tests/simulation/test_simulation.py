"""Seeded schedules keep every promise, a seed gives the same story twice, and every planted mistake is found."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import pytest

from ops.postgres import Postgres
from tests.simulation.faults import Fault, Point
from tests.simulation.planted import PLANTED, RARE
from tests.simulation.regressions import REGRESSIONS
from tests.simulation.run import Result, Results, Runner, make_databases
from tests.simulation.seeds import COVERING, SHOWN_BY

SEEDS = sorted({*COVERING, *REGRESSIONS})
# How many seeds are tried, until one shows the mistake.
PLANTED_SEEDS_MAX = 150
# When it takes more, each half a second of CPU, a warning says that the chosen seed shows the mistake no longer.
SEEDS_STALE = 5
# What is in the stories that are played twice: a standby takes over from a database, and Stripe is unavailable for
# a while, so that payment probes it until it is back.
TWICE = (Fault.STANDBY_TOOK_OVER, Fault.STRIPE_OUTAGE)
# How a booking can end; the reasons are those of `common.contracts.statuses.Reason`.
ENDINGS = {
    "confirmed",
    "cancelled by_customer",
    "cancelled by_operator",
    "cancelled event_cancelled",
    "cancelled hold_expired",
    "cancelled payment_canceled",
    "cancelled refunded",
    "failed payment_mismatch",
    "failed payment_rejected",
    "failed sold_out",
}


@pytest.fixture(scope="module")
async def urls(postgres_server: Postgres) -> list[tuple[str, str]]:
    return await make_databases(postgres_server, 1)


async def play(runner: Runner, seeds: Iterable[int]) -> tuple[Results, dict[int, Result]]:
    """Play seeds until the first one that fails. Returns the results, and each by its seed."""
    results, kept = Results(), {}

    def seen(result: Result) -> bool:
        results.add(result)
        kept[result.seed] = result
        return not results.failed

    await runner.play(seeds, seen)
    return results, kept


def story_of_the_first_failure(results: Results) -> str:
    """The story of the first seed that failed."""
    first = results.first
    return "" if first is None else f"seed {first.seed}: {first.violations}\n{first.story}"


@pytest.fixture(scope="module")
async def played(urls: list[tuple[str, str]]) -> tuple[Results, dict[int, Result]]:
    return await play(Runner(urls, all_stories=True), SEEDS)


@pytest.mark.timeout(600)
async def test_promises_are_kept_whatever_fails(played: tuple[Results, dict[int, Result]]) -> None:
    """Over its seeds every fault strikes, processes die at every point, and bookings end in every way."""
    results, _ = played
    assert not results.failed, story_of_the_first_failure(results)
    assert {each.value for each in Fault} <= results.coverage.faults.keys()
    assert {each.value for each in Point} <= results.coverage.crashes.keys()
    assert results.coverage.endings.keys() >= ENDINGS


@pytest.mark.timeout(600)
async def test_a_seed_gives_the_same_story_twice(
    urls: list[tuple[str, str]], played: tuple[Results, dict[int, Result]]
) -> None:
    """Whichever seeds were played before it, in another process, and however slow the machine is."""
    _, there = played
    having = {fault: [seed for seed in SEEDS if fault.value in there[seed].coverage["faults"]] for fault in TWICE}
    seeds = sorted({SEEDS[0], SEEDS[-1], *(found[0] for found in having.values())})
    _, back = await play(Runner(urls, planted="the_machine_is_slow", all_stories=True), reversed(seeds))
    for seed in seeds:
        assert there[seed].story == back[seed].story


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mistake", [each for each in PLANTED if each not in RARE])
async def test_a_mistake_is_found(urls: list[tuple[str, str]], mistake: str) -> None:
    seeds = (SHOWN_BY.get(mistake, 1), *range(1, PLANTED_SEEDS_MAX + 1))
    results, _ = await play(Runner(urls, planted=mistake), seeds)
    assert results.failed, f"{mistake} is not found by {PLANTED_SEEDS_MAX} seeds"
    if results.done > SEEDS_STALE:
        warnings.warn(f"{mistake} took {results.done} seeds: run python -m tests.simulation.choose", stacklevel=1)
