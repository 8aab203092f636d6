"""Rounds of many clients for few seats, with kills: a short part of what `make races` plays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.races.fleet import InProcess
from tests.races.run import play

ROUNDS = 6


@pytest.mark.timeout(180)
async def test_few_seats_are_sold_once_whichever_actor_is_killed(fleet: InProcess, seed: str) -> None:
    rounds = ROUNDS
    result = await play(seed, range(rounds), fleet)
    if fleet.killed.total() <= rounds / 4:
        # About every second round kills an actor, by chance: too few of six rounds are judged by all of four times
        # as many.
        rounds *= 4
        more = await play(seed, range(ROUNDS, rounds), fleet)
        result = replace(more, rounds=result.rounds + more.rounds, totals=result.totals + more.totals)
    print("\n".join(result.lines()))  # noqa: T201
    assert result.rounds == rounds
    assert result.killed.total() > rounds / 4
    assert min(result.totals[name] for name in ("granted", "refused", "payments", "cancels", "expired")) > 0
