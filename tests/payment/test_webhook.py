"""`POST /payment/webhook`, in a real process: signed Stripe events are kept, and no other body has an effect."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import asyncpg
import orjson
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from common.contracts.messages import BOOKING_PAYMENTS, PAYMENT_WEBHOOKS
from common.messaging.envelope import Delivery, decode, envelope_for
from common.messaging.redis import connect
from common.messaging.streams import Entry
from common.runtime.health import HEALTH
from common.runtime.settings import load
from common.runtime.telemetry import METRICS
from ops.postgres import Postgres
from payment.app import build_app
from payment.settings import PaymentSettings
from tests.payment.stage import KEY, SECRETS, Stage, booking, sign

Client = TestClient[Any, Any]
URL = "/payment/webhook"
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.created",
    "created": 1,
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "customer"}},
}
BODY_MAX = 4096
LOOK_EVERY_S = 3600


@pytest.fixture
def settings(payment_dsn: str, redis_url: str, wire_url: str) -> PaymentSettings:
    return load(
        PaymentSettings,
        payment_database_url=payment_dsn,
        redis_url=redis_url,
        stripe_secret_key=KEY,
        stripe_webhook_secrets=SECRETS,
        stripe_api_base=wire_url,
        stripe_requests_per_second=1000,
        webhook_body_max_bytes=BODY_MAX,
        stripe_events_catch_up_seconds=LOOK_EVERY_S,
        block_ms=50,
    )


@pytest.fixture
async def process(stage: Stage, settings: PaymentSettings) -> AsyncIterator[Client]:
    """The payment process with its loops running; only webhooks bring it Stripe events."""
    later = stage.clock() + timedelta(seconds=LOOK_EVERY_S)
    for name in ("stripe", "stripe deep"):
        await stage.rows("INSERT INTO event_cursor VALUES ($1, now(), $2)", name, later)
    async with TestClient(TestServer(build_app(settings))) as client:
        yield client


async def post(process: Client, body: bytes, signature: str | None) -> ClientResponse:
    headers = {} if signature is None else {"Stripe-Signature": signature}
    return await process.post(URL, data=body, headers=headers)


def text(event: dict[str, Any]) -> str:
    return orjson.dumps(event).decode()


async def kept(stage: Stage, redis: Redis) -> bool:
    """Whether an event is stored, or was ever put into the mailbox."""
    if await stage.rows("SELECT id FROM stripe_events"):
        return True
    if not await redis.exists(PAYMENT_WEBHOOKS):
        return False
    last: bytes = (await redis.xinfo_stream(PAYMENT_WEBHOOKS))["last-generated-id"]
    return last != b"0-0"


async def test_a_booking_is_made_payable_and_paid(process: Client, stage: Stage, redis_url: str) -> None:
    """From message to message, through the mailboxes and the webhook."""
    wanted = booking()
    reports = Reports(redis_url)
    await stage.bus.publish([envelope_for(wanted.create, wanted.id)])
    made = await reports.next()
    assert made.message.type == "payment.intent_created"

    await stage.pay(made.message.payment.intent_id)
    (event,) = await stage.events("payment_intent.succeeded", of=made.message.payment.intent_id)
    answer = await post(process, text(event).encode(), sign(text(event)))
    assert answer.status == 200
    paid = await reports.next()
    assert paid.message.type == "payment.succeeded"
    assert paid.envelope.subject == str(wanted.id)
    await reports.close()
    assert process.app is not None
    metrics = (await process.app[METRICS].exposition()).decode()
    assert 'holdfast_stripe_calls_total{operation="create_intent",outcome="done"} 1.0' in metrics
    (skew,) = [line.split()[1] for line in metrics.splitlines() if line.startswith("holdfast_stripe_clock_skew_")]
    assert abs(float(skew)) < 2
    assert (await process.get("/health/ready")).status == 200


@pytest.mark.parametrize("ahead_s", [360.0, -360.0])
async def test_a_process_with_a_wrong_clock_accepts_fresh_and_refuses_stale_signatures(
    stage: Stage, settings: PaymentSettings, redis: Redis, ahead_s: float
) -> None:
    """The age of a signature is judged by the measured time, and readiness shows the problem."""
    tomorrow = stage.clock() + timedelta(days=1)
    await stage.rows("INSERT INTO event_cursor VALUES ('stripe', now(), $1)", tomorrow)
    body = text(EVENT)
    stale, good = sign(body, at=time.time() - 330), sign(body, at=time.time() - 270)
    async with TestClient(TestServer(build_app(settings, lambda: time.time() + ahead_s))) as process:
        assert (await post(process, body.encode(), stale)).status == 400
        # Stripe's SDK uses the first of several times, and the age is judged by that one.
        assert (await post(process, body.encode(), f"{stale},t={int(time.time())}")).status == 400
        assert not await kept(stage, redis)
        assert (await post(process, body.encode(), good)).status == 200
        assert await kept(stage, redis)
        assert process.app is not None
        problems, notices = await process.app[HEALTH].examine()
        assert "360.0 s" in notices["clock"]
        assert "clock" not in problems


@pytest.mark.parametrize("secret", SECRETS)
async def test_any_of_the_active_secrets_may_have_signed(
    process: Client, stage: Stage, redis: Redis, secret: str
) -> None:
    """So that secrets can be rotated; signatures by both at once are accepted, too."""
    body = text(EVENT)
    answer = await post(process, body.encode(), sign(body, secret))
    assert (answer.status, await kept(stage, redis)) == (200, True)
    both = f"{sign(body, 'whsec_unknown')},{sign(body, secret).partition(',')[2]}"
    assert (await post(process, body.encode(), both)).status == 200


FORGED = [
    pytest.param(None, id="no signature"),
    pytest.param("", id="empty"),
    pytest.param("t=1,v1=00", id="made up"),
    pytest.param("nonsense", id="not a signature"),
    pytest.param(f"t={int(time.time())},v1=é", id="not of ASCII"),
    pytest.param(f"t={int(time.time())}", id="without a scheme"),
    pytest.param(sign(text(EVENT), "whsec_other"), id="of another secret"),
    pytest.param(sign(text(EVENT) + " "), id="of another body"),
    pytest.param(sign(text(EVENT), at=time.time() - 400), id="too old"),
]


@pytest.mark.parametrize("signature", FORGED)
async def test_a_forged_or_stale_event_changes_nothing(
    process: Client, stage: Stage, redis: Redis, signature: str | None
) -> None:
    """It is answered 400, and nothing is kept."""
    answer = await post(process, text(EVENT).encode(), signature)
    problem = await answer.json()

    assert (answer.status, problem["code"]) == (400, "invalid_signature")
    assert answer.content_type == "application/problem+json"
    assert not await kept(stage, redis)


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'{"object": "charge"}',
        b'{"object":"event"}',
        b"\xff\xfe",
        b'{"object": "v2.core.event"}',
        text({**EVENT, "id": ["evt_1"]}).encode(),
        text({**EVENT, "type": {}}).encode(),
    ],
)
async def test_a_body_that_is_no_event_changes_nothing(
    process: Client, stage: Stage, redis: Redis, body: bytes
) -> None:
    """Also with a valid signature."""
    answer = await post(process, body, sign(body.decode(errors="replace")))

    assert (answer.status, (await answer.json())["code"]) == (400, "malformed_request")
    assert not await kept(stage, redis)


@pytest.mark.parametrize("body", [text(EVENT).encode(), gzip.compress(text(EVENT).encode())])
async def test_a_body_that_is_said_to_be_compressed_changes_nothing(
    process: Client, stage: Stage, redis: Redis, body: bytes
) -> None:
    """Whether it is compressed or not, with a valid signature."""
    headers = {"Stripe-Signature": sign(text(EVENT)), "Content-Encoding": "gzip"}
    answer = await process.post(URL, data=body, headers=headers)

    assert (answer.status, (await answer.json())["code"]) == (415, "unsupported_media_type")
    assert answer.headers["Accept-Encoding"] == "identity"
    assert not await kept(stage, redis)


async def test_a_body_that_does_not_arrive_is_not_waited_for(settings: PaymentSettings) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.get_running_loop().create_future()

    hasty = settings.model_copy(update={"body_seconds": 0.1})
    async with TestClient(TestServer(build_app(hasty))) as process:
        answer = await process.post(URL, data=chunks())
        assert (answer.status, (await answer.json())["code"]) == (408, "request_timeout")
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_limit_is_refused(process: Client, stage: Stage, redis: Redis, chunked: bool) -> None:
    """It is not read to its end, whether it has a length or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    data: Any = chunks() if chunked else b" " * (BODY_MAX + 1)
    answer = await process.post(URL, data=data, headers={"Stripe-Signature": "t=1,v1=0"})

    assert (answer.status, (await answer.json())["code"]) == (400, "payload_too_large")
    assert not await kept(stage, redis)


async def test_an_event_of_the_other_mode_is_ignored(process: Client, stage: Stage, redis: Redis) -> None:
    """A live event with a test key: 200, so that Stripe does not send it again."""
    body = text({**EVENT, "livemode": True})
    answer = await post(process, body.encode(), sign(body))

    assert (answer.status, await kept(stage, redis)) == (200, False)


@pytest.fixture
async def postgres_outage(
    process: Client, stage: Stage, postgres_server: Postgres
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Lets a test end all connections of the database and forbid new ones, until the test ends."""
    connection = await asyncpg.connect(postgres_server.url())

    async def begin() -> None:
        await connection.execute("ALTER DATABASE payment ALLOW_CONNECTIONS false")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'payment'")

    yield begin
    await connection.execute("ALTER DATABASE payment ALLOW_CONNECTIONS true")
    await connection.close()


async def test_while_redis_is_unavailable_postgres_stores_an_event(
    stage: Stage, settings: PaymentSettings, redis: Redis
) -> None:
    body = text(EVENT)
    without = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with TestClient(TestServer(build_app(without))) as process:
        assert (await post(process, body.encode(), sign(body))).status == 200
        assert (await process.get("/health/ready")).status == 503
    assert await kept(stage, redis)


async def test_while_postgres_is_unavailable_the_mailbox_keeps_an_event(
    process: Client, redis: Redis, postgres_outage: Callable[[], Awaitable[None]]
) -> None:
    """Each event, not only the one that met the outage."""
    await postgres_outage()
    for number in range(3):
        body = text({**EVENT, "id": f"evt_{number}"})
        assert (await post(process, body.encode(), sign(body))).status == 200
    assert await redis.xlen(PAYMENT_WEBHOOKS) == 3


async def test_an_event_that_can_be_stored_nowhere_is_answered_503(
    process: Client, redis: Redis, postgres_outage: Callable[[], Awaitable[None]]
) -> None:
    """Postgres is unavailable and Redis takes no writes: 503, and Stripe sends it again."""
    await postgres_outage()
    await redis.config_set("min-replicas-to-write", 1)
    try:
        body = text(EVENT)
        answer = await post(process, body.encode(), sign(body))
        assert (answer.status, (await answer.json())["code"]) == (503, "unavailable")
        assert "Retry-After" in answer.headers
        assert not await redis.xlen(PAYMENT_WEBHOOKS)
    finally:
        await redis.config_set("min-replicas-to-write", 0)


class Reports:
    """Reads the messages to the booking actor, one at a time."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect(redis_url)
        self._last = b"0-0"

    async def next(self) -> Delivery:
        ((stream, ((self._last, fields),)),) = cast(
            Any, await self._redis.xread({BOOKING_PAYMENTS: self._last}, count=1, block=4000)
        )
        return decode(stream.decode(), Entry(self._last, fields))

    async def close(self) -> None:
        await self._redis.aclose()


@pytest.mark.parametrize(
    ("status", "stays"), [("succeeded", False), ("canceled", False), ("requires_action", True)]
)
async def test_an_event_is_stored_without_the_secret_of_an_ended_payment(
    process: Client, redis: Redis, postgres_outage: Callable[[], Awaitable[None]], status: str, stays: bool
) -> None:
    """It may stay in Redis for a long time, as a waiting entry or as a dead letter."""
    await postgres_outage()
    intent = {"id": "pi_1", "object": "payment_intent", "status": status, "client_secret": "pi_1_secret_x"}
    body = text({**EVENT, "data": {"object": intent}})
    assert (await post(process, body.encode(), sign(body))).status == 200
    entries: Any = await redis.xrange(PAYMENT_WEBHOOKS)
    ((_, fields),) = entries
    assert (b"pi_1_secret_x" in fields[b"data"]) is stays
