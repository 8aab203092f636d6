"""All that an actor's process is built from works together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from common.contracts.messages import SyncPayment
from common.messaging.consumer import Subscription
from common.messaging.envelope import Delivery
from common.messaging.unknown import unknown_messages
from common.runtime.health import HEALTH
from common.runtime.settings import ActorSettings
from common.runtime.supervisor import SUPERVISOR
from common.runtime.telemetry import METRICS
from common.runtime.web import new_app
from common.wiring import (
    PUBLISHER,
    SUBSCRIPTIONS,
    clock_context,
    consumers_context,
    database_context,
    redis_context,
)
from ops.redis import RedisServer
from tests.common.stage import STREAM, Recorder, Stage, sync, until


@asynccontextmanager
async def process(redis_url: str, database_url: str, handler: Recorder) -> AsyncIterator[web.Application]:
    settings = ActorSettings(redis_url=redis_url, block_ms=20)
    app = new_app()
    app[SUBSCRIPTIONS] = [Subscription(STREAM, {SyncPayment: handler})]
    app.cleanup_ctx.extend(
        (
            redis_context("payment", settings, reads=(STREAM,)),
            database_context("payment", settings, database_url, 2),
            clock_context(settings, time.time),
            consumers_context("payment", settings),
        )
    )
    async with TestServer(app):
        yield app


async def ready(app: web.Application) -> bool:
    return not await app[HEALTH].problems()


async def without_redis(app: web.Application) -> bool:
    return set(await app[HEALTH].problems()) == {"redis", STREAM}


def length(app: web.Application) -> float | None:
    return app[METRICS].registry.get_sample_value("holdfast_mailbox_length", {"mailbox": STREAM})


async def sample(app: web.Application) -> None:
    for sampler in app[METRICS].samplers:
        await sampler()


async def test_an_actor_process_reads_handles_and_reports_its_health(
    redis_url: str, database_url: str, stage: Stage
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def act(_: Sequence[Delivery]) -> None:
        begun.set()
        await release.wait()

    handler = Recorder(act)
    async with process(redis_url, database_url, handler) as app:
        await until(lambda: ready(app))
        await app[PUBLISHER].publish([sent := sync()])
        await begun.wait()
        await stage.redis.xadd(unknown_messages(STREAM), {"type": "of_a_newer_release"}, id="1000-0")
        await sample(app)
        assert length(app) == 1
        registry, labels = app[METRICS].registry, {"mailbox": STREAM}
        assert registry.get_sample_value("holdfast_unknown_messages", labels) == 1
        assert (registry.get_sample_value("holdfast_unknown_oldest_seconds", labels) or 0) > 1e9
        release.set()
    # The process has ended, and has finished what it read.
    assert handler.handled == [sent.subject]
    assert await stage.left() == 0
    assert not app[SUPERVISOR].failed


async def test_a_process_lives_on_without_redis_and_is_not_ready(own_redis: RedisServer, database_url: str) -> None:
    async with process(own_redis.url, database_url, Recorder()) as app:
        await until(lambda: ready(app))
        await own_redis.stop()
        await until(lambda: without_redis(app))
        await sample(app)
        await own_redis.start()
        await until(lambda: ready(app))
