"""The parts by themselves: Redis, Postgres, the stand-in for Stripe, and a bare aiohttp server."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
import asyncpg
import orjson
import stripe
from redis.asyncio import Redis

from bench import raw
from bench.clients import FORM, order
from bench.cpu import spent
from bench.errors import BenchError
from bench.raw import RawServer
from common.messaging.redis import connect
from ops.actor import ActorProcess
from ops.child import free_port
from ops.migrate import migrate
from ops.postgres import embedded_postgres
from ops.redis import embedded_redis
from payment.sdk import STRIPE_VERSION, open_client

PIPELINE = 100
# As many as Holdfast handles together in one batch.
BATCH = 256
# Clients that want the same row: with more of them, they would only wait for each other.
HOT_CLIENTS = 4
# Requests that Stripe, and the raw server, get at once.
CALLS = 8
POSTS = 64
# As large as a CreateBooking.
ENTRY = {"type": "CreateBooking", "id": "0" * 36, "subject": "0" * 36, "traceparent": "0" * 55, "data": "0" * 200}
STREAM, GROUP = "yardstick", "yardstick"
KEY = "sk_test_yardstick"
AMOUNT = 2500

EVENT = UUID(int=1)
TICKET_TYPE = UUID(int=2)
MAKE_EVENT = f"""
INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, content_hash, created_at)
VALUES ('{EVENT}', 'Evening', now(), 'eur', true, 10, '', now());
INSERT INTO ticket_types (id, event_id, position, name, unit_amount, capacity)
VALUES ('{TICKET_TYPE}', '{EVENT}', 0, 'Seat', 2500, 2000000000)
"""
# Writes the rows that Holdfast writes for a new booking.
TAKE_SEATS = f"UPDATE ticket_types SET held = held + $1, version = version + 1 WHERE id = '{TICKET_TYPE}'"
INSERT = f"""
WITH new AS (SELECT * FROM unnest($1::uuid[]) AS new (id)), inserted AS (
    INSERT INTO bookings (id, owner, event_id, items, amount, currency, status, payment, expires_at, settle_after,
        created_at, updated_at)
    SELECT id, 'bench-' || id, '{EVENT}',
        '[{{"ticket_type_id": "{TICKET_TYPE}", "quantity": 1, "unit_amount": 2500}}]',
        2500, 'eur', 'pending', 'creating', now() + interval '1 day', now() + interval '1 day', now(), now()
    FROM new
)
INSERT INTO booking_transitions (booking_id, version, to_status, payment_status, cause_type, cause_id, at)
SELECT id, 1, 'pending', 'creating', 'CreateBooking', id::text, now() FROM new
"""
COUNTS = "SELECT (SELECT sum(held) FROM ticket_types), (SELECT count(*) FROM bookings)"


@dataclass(frozen=True)
class Sample:
    """One round: `operations` in `seconds` (wall time), and CPU seconds of the client and of the server."""

    operations: int
    seconds: float
    client: float
    server: float


# Works until the deadline (of time.perf_counter), or until nothing is left; returns how many operations it did.
Work = Callable[[float], Awaitable[int]]


@dataclass(frozen=True)
class Yardstick:
    """Something that is done over and over, and the process that serves it."""

    work: Work
    pid: int

    async def round(self, seconds: float) -> Sample:
        served, client, started = spent(self.pid), time.process_time(), time.perf_counter()
        operations = await self.work(started + seconds)
        took = time.perf_counter() - started
        return Sample(operations, took, time.process_time() - client, spent(self.pid) - served)


# --- Redis --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def redis_part(folder: Path) -> AsyncIterator[dict[str, Yardstick]]:
    async with embedded_redis(folder / "redis") as server:
        redis = connect(server.url)
        await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        try:
            yield {
                "xadd": Yardstick(lambda until: _xadd(redis, until), server.pid),
                "xadd_pipelined": Yardstick(lambda until: _xadd_pipelined(redis, until), server.pid),
                "read_acknowledged": Yardstick(lambda until: _read(redis, until), server.pid),
            }
        finally:
            await redis.aclose()


async def _xadd(redis: Redis, until: float) -> int:
    done = 0
    while time.perf_counter() < until:
        await redis.xadd(STREAM, ENTRY)  # type: ignore[arg-type]
        done += 1
    return done


async def _xadd_pipelined(redis: Redis, until: float) -> int:
    done = 0
    while time.perf_counter() < until:
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(PIPELINE):
                pipe.xadd(STREAM, ENTRY)  # type: ignore[arg-type]
            done += len(await pipe.execute())
    return done


async def _read(redis: Redis, until: float) -> int:
    """Reads what the other yardsticks have added, until nothing is left."""
    done = 0
    while time.perf_counter() < until:
        found: Any = await redis.xreadgroup(GROUP, "yardstick", {STREAM: ">"}, count=PIPELINE)
        if not found:
            break
        ids = [id for id, _ in found[0][1]]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.xack(STREAM, GROUP, *ids)
            pipe.xdel(STREAM, *ids)
            acknowledged, _ = await pipe.execute()
        done += acknowledged
    return done


# --- Postgres -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def postgres_part() -> AsyncIterator[dict[str, Yardstick]]:
    async with embedded_postgres() as server, AsyncExitStack() as stack:
        url = server.url("booking")
        await migrate(url, None)
        connections = [await asyncpg.connect(url) for _ in range(HOT_CLIENTS)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        await connections[0].execute(MAKE_EVENT)

        async def one_by_one(until: float) -> int:
            return sum(await asyncio.gather(*(_book(connection, 1, until) for connection in connections)))

        yield {
            "bookings_batched": Yardstick(lambda until: _book(connections[0], BATCH, until), server.pid),
            "bookings_one_by_one": Yardstick(one_by_one, server.pid),
        }
        held, bookings = await connections[0].fetchrow(COUNTS)
        if held != bookings:
            raise BenchError(f"{held} seats are held by {bookings} bookings")


async def _book(connection: asyncpg.Connection, count: int, until: float) -> int:
    """Transactions of `count` bookings each, one after the other."""
    done = 0
    while time.perf_counter() < until:
        ids = [UUID(int=random.getrandbits(128)) for _ in range(count)]
        async with connection.transaction():
            await connection.execute(INSERT, ids)
            await connection.execute(TAKE_SEATS, count)  # last, so that the row's lock is held briefly
        done += count
    return done


# --- Stripe and aiohttp -------------------------------------------------------------------------------------


@asynccontextmanager
async def http_part(folder: Path) -> AsyncIterator[dict[str, Yardstick]]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LOG_LEVEL": "WARNING",
        "SANDBOX_LEDGER": str(folder / "sandbox.sqlite3"),
    }
    sandbox = ActorProcess(
        "sandbox", "sandbox", free_port(), folder / "sandbox.log", environment, "/_sandbox/health"
    )
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        bare = await stack.enter_async_context(raw.process("raw", "bench.raw", folder))
        stack.push_async_callback(sandbox.stop)
        await sandbox.start()
        client = await stack.enter_async_context(open_client(KEY, sandbox.url, concurrency=CALLS))
        yield {
            "stripe_sdk": Yardstick(_many(lambda: _by_sdk(client)), sandbox.pid),
            "stripe_sdk_objects": Yardstick(_many(lambda: _by_objects(client)), sandbox.pid),
            "stripe_bare": Yardstick(_many(lambda: _by_hand(session, sandbox.url)), sandbox.pid),
            "raw_post": Yardstick(lambda until: _post(RawServer(bare, session), until), bare.pid),
        }


def _many(call: Callable[[], Awaitable[None]]) -> Work:
    """CALLS at once, each of which calls again and again."""

    async def client(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            await call()
            done += 1
        return done

    async def work(until: float) -> int:
        try:
            return sum(await asyncio.gather(*(client(until) for _ in range(CALLS))))
        except (stripe.StripeError, aiohttp.ClientError, OSError) as error:
            raise BenchError(f"an intent: {type(error).__name__}: {error}") from None

    return work


def _key() -> str:
    return f"{random.getrandbits(128):032x}"


async def _by_sdk(client: stripe.StripeClient) -> None:
    """One call as Holdfast makes it."""
    await client.raw_request_async(
        "post",
        "/v1/payment_intents",
        amount=AMOUNT,
        currency="eur",
        automatic_payment_methods={"enabled": True},
        metadata={"booking_id": KEY},
        idempotency_key=_key(),
    )


async def _by_objects(client: stripe.StripeClient) -> None:
    await client.v1.payment_intents.create_async(
        {
            "amount": AMOUNT,
            "currency": "eur",
            "automatic_payment_methods": {"enabled": True},
            "metadata": {"booking_id": KEY},
        },
        {"idempotency_key": _key()},
    )


async def _by_hand(session: aiohttp.ClientSession, url: str) -> None:
    form = {
        "amount": AMOUNT,
        "currency": "eur",
        "automatic_payment_methods[enabled]": "true",
        "metadata[booking_id]": KEY,
    }
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Stripe-Version": STRIPE_VERSION,
        "Idempotency-Key": _key(),
        **FORM,
    }
    async with session.post(f"{url}/v1/payment_intents", data=urlencode(form), headers=headers) as response:
        intent = orjson.loads(await response.read())
    if response.status != 200 or intent["amount"] != AMOUNT:
        raise BenchError(f"an intent: {response.status} {intent}")


async def _post(raw: RawServer, until: float) -> int:
    load = await raw.load([order(str(EVENT))], POSTS, max(until - time.perf_counter(), 0.0))
    return load.requests
