"""A booking process uses Postgres' time: a wrong clock of its own harms nothing, and is reported."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer

from booking.app import RECONCILER, build_app
from booking.settings import BookingSettings
from common.contracts.messages import BOOKING_PAYMENTS
from common.runtime.health import HEALTH
from common.runtime.outages import Outage
from common.runtime.settings import load
from common.runtime.telemetry import METRICS
from common.wiring import CLOCK
from tests.booking.stage import Stage
from tests.common.stage import until

AHEAD_S = 20 * 60.0


@asynccontextmanager
async def process(dsn: str, redis_url: str, ahead_s: float) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    settings = load(BookingSettings, booking_database_url=dsn, redis_url=redis_url, block_ms=20)
    async with TestClient(TestServer(build_app(settings, lambda: time.time() + ahead_s))) as client:
        yield client


@pytest.mark.parametrize("ahead_s", [AHEAD_S, -AHEAD_S])
async def test_holds_end_by_the_time_of_the_database(
    stage: Stage, booking_dsn: str, redis_database: Callable[[str], str], ahead_s: float
) -> None:
    show = await stage.show(10)
    open_one, over = await stage.pending(show), await stage.pending(show)
    past = "UPDATE bookings SET expires_at = now() - interval '1 s', settle_after = now() WHERE id = $1"
    await stage.rows(past, over.id)
    async with process(booking_dsn, redis_database("booking"), ahead_s) as client:
        app = client.app
        assert app is not None

        async def ended() -> bool:
            return (await stage.row(over))["closing"] == "hold_expired"  # type: ignore[no-any-return]

        await until(ended)
        await app[RECONCILER].run_once()
        assert (await stage.row(open_one))["closing"] is None
        (made,) = await stage.rows("SELECT clock_timestamp() AS now")
        assert abs(app[CLOCK]() - made["now"]) < timedelta(seconds=1)

        async def ready() -> bool:
            return (await client.get("/health/ready")).status == 200

        await until(ready)
        problems, notices = await app[HEALTH].examine()
        assert not problems
        assert "1200.0 s" in notices["clock"]
        offset = app[METRICS].registry.get_sample_value("holdfast_clock_offset_seconds", {"source": "postgres"})
        assert offset == pytest.approx(ahead_s, abs=1)


async def test_nothing_acts_before_the_time_is_known(
    stage: Stage, booking_dsn: str, redis_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def silent(*_: object) -> None:
        await never.wait()

    monkeypatch.setattr("common.postgres.database.Database.read_clock", silent)
    held = await stage.pending(await stage.show(10))
    past = "UPDATE bookings SET expires_at = now() - interval '1 s', settle_after = now() WHERE id = $1"
    await stage.rows(past, held.id)
    async with process(booking_dsn, redis_database("booking"), AHEAD_S) as client:
        app = client.app
        assert app is not None
        with pytest.raises(Outage, match="not known"):
            await app[RECONCILER].run_once()
        assert (await client.get("/health/ready")).status == 503
        problems, _ = await app[HEALTH].examine()
        assert {"clock", BOOKING_PAYMENTS} <= problems.keys()
        assert (await stage.row(held))["closing"] is None
