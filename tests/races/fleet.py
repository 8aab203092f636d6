"""Booking and payment actors side by side in this process, wired as in their own `app.py`."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any
from unittest.mock import patch

import structlog
from aiohttp import web

from booking.app import build_app as build_booking
from booking.settings import BookingSettings
from common.contracts.messages import NOTIFICATIONS
from common.messaging import consumer
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.runtime.supervisor import raise_if_cancelled
from common.runtime.web import new_app
from ops.audit.sources import Sources
from ops.layout import HOST
from payment.app import build_app as build_payment
from payment.settings import PaymentSettings
from payment.stripe_objects import Json
from payment.webhook import WEBHOOK, Webhook, receive
from payment.webhook_batches import for_mailbox
from sandbox.app import build_app as build_sandbox
from sandbox.settings import Settings as SandboxSettings
from tests.races.harness import Harness, open_harness
from tests.races.lives import Gate, Life, Point, living
from tests.races.plan import Kill
from tests.races.points import pointed
from tests.sandbox.stand import CONTROL_KEY

KEY = "sk_test_races"
SECRET = "whsec_races"
SIZES = {"booking": 3, "payment": 2}
# Seconds between two times at which the entries of dead actors are made to look old enough to be claimed.
ABANDON_S = 0.05
STOP_S = 10.0
# On a busy machine handlers may take long, so no living actor's entries become claimable by time alone.
SETTINGS: dict[str, Any] = {
    "block_ms": 100,
    "handler_timeout_ms": 60_000,
    "claim_idle_ms": 130_000,
    "consumer_idle_ms": 1000,
    "log_level": "error",
}
# What buyers have is counted, and no limit is reached.
MANY: dict[str, Any] = {"seats_per_owner": 10**6, "holds_per_owner": 10**6, "hold_pause_seconds": 0}
HOUSEKEEPING_S = 0.5


class Fleet(ABC):
    """Actors that can be killed and are then replaced at once. `option` selects this fleet on the command line."""

    option = ""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.killed: Counter[str] = Counter()

    @abstractmethod
    def harm(self, kill: Kill) -> None:
        """Arrange that an actor is killed as `kill` says."""

    @abstractmethod
    async def spare(self) -> None:
        """Cancel kills that have not happened, and wait until all actors are back."""

    @abstractmethod
    def alive(self) -> list[str]:
        """Texts, one of which is in the name of each living consumer."""

    async def abandon(self) -> None:
        """Make the entries of dead actors look old, until cancelled."""
        while True:
            raise_if_cancelled()
            await self.harness.abandon(self.alive())
            await asyncio.sleep(ABANDON_S)


class Actor:
    """One actor after the other under one name: each that is killed gets a successor."""

    def __init__(self, name: str, where: Sources, killed: Counter[str]) -> None:
        self.kind = name.partition("-")[0]
        self.name = name
        self._where = where
        self._killed = killed
        self._generation = count(1)
        self.back = asyncio.Event()
        self.life = Life("")
        self.app: web.Application

    async def live(self) -> None:
        """Run until cancelled; then the last actor stops as a process does at SIGTERM."""
        while True:
            self.life = life = Life(f"{self.name}-{next(self._generation):05}")
            self.app = self._build(life.name)
            runner = web.AppRunner(self.app)
            await life.run(runner.setup())
            self.back.set()
            try:
                await life.dead.wait()
            except asyncio.CancelledError:
                await runner.cleanup()
                raise
            self.back.clear()
            self._killed[life.died_at.value if life.died_at else "at any time"] += 1
            await life.ended()
            # Frees what the killed actor had, so that this process' memory does not grow.
            with suppress(Exception):
                async with asyncio.timeout(STOP_S):
                    await runner.cleanup()

    def _build(self, instance: str) -> web.Application:
        where = self._where
        common: dict[str, Any] = {**SETTINGS, "instance": instance, "redis_url": where.redis_url}
        if self.kind == "booking":
            return build_booking(BookingSettings(**common, **MANY, booking_database_url=where.booking_url))
        return build_payment(
            PaymentSettings(
                **common,
                payment_database_url=where.payment_url,
                stripe_secret_key=where.stripe_key,
                stripe_webhook_secrets=(SECRET,),
                stripe_api_base=where.stripe_base,
                stripe_requests_per_second=5000,
                stripe_events_catch_up_seconds=1,
            )
        )


class InProcess(Fleet):
    """The fleet inside this process."""

    option = "--inside"

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.actors = {
            kind: [Actor(f"{kind}-{number}", harness.where, self.killed) for number in range(1, size + 1)]
            for kind, size in SIZES.items()
        }
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def _all(self) -> list[Actor]:
        return [actor for actors in self.actors.values() for actor in actors]

    def gate(self, kind: str, point: Point, work: str) -> Gate:
        """Stop the first of these actors that reaches the point with this work, see `Gate`."""
        gate = Gate(point, work)
        for actor in self.actors[kind]:
            actor.life.gate = gate
        return gate

    def open_gates(self) -> None:
        for actor in self._all:
            if actor.life.gate is not None:
                actor.life.gate.open.set()
            actor.life.gate = None

    def harm(self, kill: Kill) -> None:
        actors = self.actors[kill.kind]
        life = actors[kill.index % len(actors)].life
        if kill.point is None:
            timers = asyncio.get_running_loop()
            self._timers.append(timers.call_later(kill.after_ms / 1000, life.kill))
        else:
            life.doom = (kill.point, life.reached[kill.point] + kill.nth)

    async def spare(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for actor in self._all:
            actor.life.doom = None
            await actor.back.wait()

    def alive(self) -> list[str]:
        return [actor.life.name for actor in self._all if not actor.life.gone]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(actor.live(), name=actor.name) for actor in self._all]
        tasks.append(asyncio.create_task(self.abandon(), name="abandon"))
        try:
            for actor in self._all:
                await actor.back.wait()
            yield
            assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def stand_in(redis_url: str) -> AsyncIterator[str]:
    """The sandbox and payment's webhook endpoint, which no test kills: it adds each Stripe event to the mailbox,
    where actors compete for it. Yields the sandbox's URL."""
    redis = connect(redis_url)
    door = new_app()
    bus = Publisher(redis, source="/payment/door")

    async def to_mailbox(event: Json, traceparent: str) -> None:
        await bus.publish([for_mailbox(event, traceparent)])

    door[WEBHOOK] = Webhook(to_mailbox, clock=now, secrets=(SECRET,), tolerance_s=300, livemode=False)
    door.router.add_post("/payment/webhook", receive)
    async with serving(door) as door_url:
        settings = SandboxSettings(
            sandbox_ledger=":memory:",
            sandbox_control_key=CONTROL_KEY,
            sandbox_webhook_url=f"{door_url}/payment/webhook",
            sandbox_webhook_secret=SECRET,
            sandbox_webhook_retry_seconds=0.1,
            sandbox_settle_seconds=0.1,
        )
        async with serving(build_sandbox(settings)) as url:
            yield url
    await redis.aclose()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """`app` on a free port, as its process serves it: a request whose client is killed is still finished."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing but critical lines: a line for each message would take longer than the message."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@asynccontextmanager
async def open_fleet(redis_url: str, booking_url: str, payment_url: str) -> AsyncIterator[InProcess]:
    """The fleet, running with these servers."""
    with living(), pointed(), quiet(), patch.object(consumer, "HOUSEKEEPING_SECONDS", HOUSEKEEPING_S):
        async with (
            stand_in(redis_url) as stripe_url,
            open_harness(Sources(booking_url, payment_url, KEY, stripe_url, redis_url), CONTROL_KEY) as harness,
        ):
            await harness.redis.xtrim(NOTIFICATIONS, maxlen=0)
            fleet = InProcess(harness)
            async with fleet.running():
                yield fleet
