"""A rolling upgrade from the release before, under load: both releases run side by side, one process of each kind
goes back and forward again, and nothing is lost."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from bench.baseline.release import Unavailable, unpack
from ops.actor import CHECKOUT, ActorProcess
from ops.layout import Scale
from tests.acceptance.database_rows import rows
from tests.chaos.faults import replace
from tests.chaos.harness import Harness, open_harness
from tests.chaos.judge import Judge
from tests.chaos.load import Load, crowd
from tests.chaos.run import beside
from tests.chaos.test_chaos import SHORT_HOLDS
from tests.chaos.verdict import finish
from tests.common.stage import until
from tests.release_before import BeforeUpgrade

SEED = 5
TWO_OF_EACH = Scale(gateway=2, booking=2, payment=2)
# What the release before reads instead of the names that its settings have now.
FORMER = {
    "DECLINE_SECONDS": "4",
    "RELEASE_SECONDS": "5",
    "EVENT_CATCH_UP_SECONDS": "2",
    "AUTH_JWT_SECRET": "upgraded" * 6,
}
# Most shoppers ask Stripe for more than their share, also while one payment process does not read what is deferred.
SMALL_SHARES = {"OWNER_STRIPE_CALLS": "1", "OWNER_STRIPE_CALL_SECONDS": "60"}
# How many orders come before the fleet changes again.
ORDERS = 15

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def release_before(tmp_path: Path) -> Path:
    try:
        return unpack(tmp_path / "release-before")
    except Unavailable as why:
        pytest.skip(str(why))


async def test_nothing_is_lost_in_a_rolling_upgrade_under_load(tmp_path: Path, release_before: Path) -> None:
    judge = Judge()
    judge.gateways_leave = True
    before = partial(BeforeUpgrade, checkout=release_before)
    async with (
        open_harness(
            tmp_path / "stack", TWO_OF_EACH, judge, SHORT_HOLDS | FORMER | SMALL_SHARES, kind=before
        ) as harness,
        crowd(harness, SEED, rate=7, shoppers=12, former=True) as load,
    ):
        stack = harness.holdfast.stack
        assert isinstance(stack, BeforeUpgrade)
        judge.calm()
        load.gate.set()
        async with beside(load.run()):
            await _orders(load)
            await stack.upgrade_databases()
            for number, checkout in ((1, CHECKOUT), (1, release_before), (1, CHECKOUT), (2, CHECKOUT)):
                await _become(harness, number, checkout)
                await _orders(load)
            verdict = await finish(harness, load)
            (bookings,) = await rows(stack.booking_database_url, "bookings")
    assert any(each["deferred"] for each in bookings)
    assert not judge.broken, "\n".join(map(str, judge.broken))
    assert verdict.audit is not None
    assert verdict.audit.code == 0
    assert any(ending.startswith("confirmed; payment paid") for ending in verdict.endings)


async def _orders(load: Load) -> None:
    """Wait until ORDERS more orders are made."""
    wanted = load.orders + ORDERS

    async def enough() -> bool:
        return load.orders >= wanted

    await until(enough)


async def _become(harness: Harness, number: int, checkout: Path) -> None:
    """Replace one process of each kind by one of the release under `checkout`."""
    names = [f"{kind}-{number}" for kind in vars(TWO_OF_EACH)]
    for name in names:
        process = harness.holdfast.stack.processes[name]
        assert isinstance(process, ActorProcess)
        process.checkout = checkout
    await asyncio.gather(*(replace(harness, name) for name in names))
