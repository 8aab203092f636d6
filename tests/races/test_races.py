"""Rounds of many clients for few seats, with kills: a short part of what `make races` plays."""

from __future__ import annotations

import pytest

from tests.races.fleet import InProcess
from tests.races.run import play

ROUNDS = 6


@pytest.mark.timeout(180)
async def test_few_seats_are_sold_once_whichever_actor_is_killed(fleet: InProcess, seed: str) -> None:
    result = await play(seed, range(ROUNDS), fleet)
    print("\n".join(result.lines()))  # noqa: T201
    assert result.rounds == ROUNDS
    assert result.killed.total() > ROUNDS / 4
    assert min(result.totals[name] for name in ("granted", "refused", "payments", "cancels", "expired")) > 0
