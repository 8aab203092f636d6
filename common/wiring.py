"""Resources that several processes open in the same way, as aiohttp cleanup contexts under typed keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import structlog
from aiohttp import web
from redis.asyncio import Redis

from common.messaging.consumer import Consumer, Subscription, run_all
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.messaging.redis import connect, read_clock, writable
from common.messaging.streams import lengths
from common.messaging.unknown import waiting
from common.postgres.database import Database, open_database
from common.runtime.background import background
from common.runtime.clock import Bounds, Clock
from common.runtime.health import HEALTH
from common.runtime.outages import RedisOutage
from common.runtime.settings import ActorSettings
from common.runtime.supervisor import SUPERVISOR, wait_at_most
from common.runtime.telemetry import METRICS

Context = Callable[[web.Application], AsyncIterator[None]]

REDIS = web.AppKey("redis", Redis)
PUBLISHER = web.AppKey("publisher", Publisher)
DATABASE = web.AppKey("database", Database)
CLOCK = web.AppKey("clock", Clock)
# The mailboxes that the process reads, each with its handlers.
SUBSCRIPTIONS = web.AppKey[Sequence[Subscription]]("subscriptions")

# At the start the process waits this many seconds for the time. During an outage of the time's server it starts all
# the same, and what acts by time does not run.
CLOCK_SECONDS = 1.0

log = structlog.get_logger()


def redis_context(
    process: str, settings: ActorSettings, *, reads: Sequence[str] = (), adds: Sequence[str] = ()
) -> Context:
    """REDIS and PUBLISHER. The process starts also during an outage of Redis: each use then raises RedisOutage.

    `reads` and `adds`: the mailboxes that the process reads, and the others that it adds to. Its metrics have their
    lengths and no others, since its user in Redis may see no others.
    """

    async def context(app: web.Application) -> AsyncIterator[None]:
        redis = app[REDIS] = connect(settings.redis_url)
        app[PUBLISHER] = Publisher(redis, source=f"/{process}/{settings.instance}")
        app[HEALTH].check("redis", lambda: writable(redis))

        async def sample_lengths() -> None:
            try:
                for mailbox, length in (await lengths(redis, (*reads, *adds))).items():
                    app[METRICS].mailbox_length.labels(mailbox).set(length)
                for mailbox, unknown in (await waiting(redis, reads)).items():
                    app[METRICS].unknown_messages.labels(mailbox).set(unknown.messages)
                    app[METRICS].unknown_oldest.labels(mailbox).set(unknown.oldest_s)
            except RedisOutage as error:
                log.debug("mailbox lengths not sampled", error=str(error))

        app[METRICS].samplers.append(sample_lengths)
        yield
        await app[PUBLISHER].close()
        await redis.aclose()

    return context


def database_context(name: str, settings: ActorSettings, dsn: str, pool_size: int) -> Context:
    """DATABASE: the one database that the process `name` owns."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        async with open_database(dsn, pool_size, handler_timeout_ms=settings.handler_timeout_ms) as database:
            app[DATABASE] = database
            app[HEALTH].check("database", database.ping)
            yield

    return context


def clock_context(settings: ActorSettings, own: Callable[[], float]) -> Context:
    """CLOCK, measured: the time of the database, or of Redis where the process has none. `own`: this process' own
    wall clock, which is only compared."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        async def read(monotonic: Callable[[], float]) -> Bounds:
            if DATABASE in app:
                return await app[DATABASE].read_clock(monotonic)
            return await read_clock(app[REDIS], monotonic)

        source, skew_max_s = "postgres" if DATABASE in app else "redis", settings.clock_skew_max_seconds
        clock = app[CLOCK] = Clock(source, read, skew_max_s=skew_max_s, offset=app[METRICS].clock_offset, own=own)

        app[HEALTH].notice("clock", clock.own_clock_problem)
        async with background(app, "clock", clock.run) as gate:
            await wait_at_most(gate.opened, CLOCK_SECONDS)
            yield

    return context


def consumers_context(process: str, settings: ActorSettings) -> Context:
    """The consumers of SUBSCRIPTIONS, none of which waits for another; at the end they finish and acknowledge what
    they read."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        async def reachable() -> None:
            await writable(app[REDIS])
            await app[DATABASE].ping()
            app[CLOCK]()

        consumers = [
            Consumer(
                subscription,
                Mailbox(
                    app[REDIS],
                    subscription.stream,
                    group=process,
                    consumer=settings.instance,
                    claim_idle_ms=settings.claim_idle_ms,
                    shared=True,
                ),
                app[PUBLISHER],
                settings,
                app[METRICS],
                app[HEALTH].gate(subscription.stream),
                reachable=reachable,
            )
            for subscription in app[SUBSCRIPTIONS]
        ]

        async def stop(_: web.Application | None = None) -> None:
            for consumer in consumers:
                consumer.stop()

        task = app[SUPERVISOR].spawn("consumers", run_all(consumers))
        app.on_shutdown.append(stop)  # while clients still get their answers
        yield
        await stop()
        await app[SUPERVISOR].finish(task, settings.shutdown_seconds)

    return context
