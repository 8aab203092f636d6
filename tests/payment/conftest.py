"""Real Postgres and Redis, started once; the sandbox as Stripe; one database, emptied between tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from stripe import StripeClient

from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.postgres.database import Database, open_database
from common.runtime.health import Gate
from common.runtime.telemetry import Metrics
from payment.handlers import PaymentHandlers
from payment.lost import LostRows
from payment.orphans import OrphanTerms
from payment.rate_limiter import StripeRateLimiter
from payment.reconciler import PaymentReconciler
from payment.repository import Store
from payment.sdk import open_client
from payment.strays import Strays
from payment.stripe_api import StripeApi, StripeMetrics
from sandbox.app import LEDGER
from sandbox.app import build_app as build_sandbox
from tests.payment.stage import KEY, TABLES, Clock, Stage, seconds_for_calls
from tests.payment.wire import Wire
from tests.sandbox.stand import without_webhooks
from tests.servers import empty

TIMEOUT_S = 0.8
ASKING_S = 3.0
# What Stripe knows of one test would make each list that a later one reads longer.
LEDGER_TABLES = ("objects", "events", "deliveries", "moves", "idempotency_keys")
ORPHANS = OrphanTerms(grace=timedelta(minutes=10), most=3)


@pytest.fixture(scope="session")
async def payment_dsn(migrated_database: Callable[..., Awaitable[str]]) -> str:
    return await migrated_database("payment")


@pytest.fixture(scope="session")
def redis_url(redis_database: Callable[[str], str]) -> str:
    return redis_database("payment")


@pytest.fixture(scope="session")
async def database(payment_dsn: str) -> AsyncIterator[Database]:
    async with open_database(payment_dsn, 10) as database:
        yield database


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[TestServer]:
    """It sends no webhooks by itself: tests deliver its Stripe events, in whatever order they like."""
    server = TestServer(build_sandbox(without_webhooks()))
    async with server:
        yield server


@pytest.fixture(scope="session")
def wire(sandbox: TestServer) -> Wire:
    return Wire(str(sandbox.make_url("/")).rstrip("/"))


@pytest.fixture(scope="session")
async def wire_url(wire: Wire) -> AsyncIterator[str]:
    async with wire.listening() as url:
        yield url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def clean(database: Database, redis: Redis, wire: Wire, sandbox: TestServer) -> None:
    wire.reset()
    for table in LEDGER_TABLES:
        sandbox.app[LEDGER].write(f"DELETE FROM {table}")
    async with database.connection() as connection:
        await empty(connection, TABLES)
        await connection.execute("UPDATE installation SET stripe_account = NULL")


@pytest.fixture
async def stage(clean: None, database: Database, redis: Redis, wire: Wire, wire_url: str) -> AsyncIterator[Stage]:
    """The payment actor's parts, wired as in `payment.app`, without its loops."""
    async with (
        open_client(KEY, wire_url, concurrency=100) as client,
        ClientSession() as session,
    ):
        yield build_stage(client, session, database, redis, wire)
    wire.released.set()


def build_stage(
    client: StripeClient,
    session: ClientSession,
    database: Database,
    redis: Redis,
    wire: Wire,
    memory_max: int = 100,
) -> Stage:
    gate = Gate("stripe")
    gate.open()
    clock = Clock()
    rate_limiter = StripeRateLimiter(redis, key="stripe:turns:test", per_second=5000)
    stripe = StripeApi(client, rate_limiter, StripeMetrics(CollectorRegistry()), gate, TIMEOUT_S, clock)
    bus = Publisher(redis, source="/payment/test")
    metrics = Metrics()
    store = Store(database, memory_max, metrics)
    lost = LostRows(Strays(store, stripe, clock, metrics.orphans, ORPHANS, ASKING_S))
    return Stage(
        database=database,
        bus=bus,
        store=store,
        handlers=PaymentHandlers(store, stripe, clock, lost, **seconds_for_calls(ASKING_S)),
        stripe=stripe,
        reconciler=PaymentReconciler(store, bus, clock),
        clock=clock,
        wire=wire,
        stripe_url=wire.target,
        session=session,
        gate=gate,
        metrics=metrics,
        lost=lost,
    )
