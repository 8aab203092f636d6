"""The running stack that is measured: real processes on the loopback interface, data in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import asyncpg
from redis.asyncio import Redis

from bench.cpu import Meter
from bench.errors import BenchError
from common.contracts.messages import MAILBOXES
from common.contracts.scopes import OPERATOR
from common.messaging.streams import dead_letters, lengths
from gateway.settings import CLIENT_LIMITS
from ops.actor import ActorProcess
from ops.layout import Ports, Scale
from ops.postgres import Postgres
from ops.stack import Stack
from ops.tokens import make_token

# The limits by which production protects others are off, and nothing runs out in the middle.
SETTINGS = {
    "LOG_LEVEL": "warning",
    "STRIPE_REQUESTS_PER_SECOND": "10000",
    "MAILBOX_LIMIT": "1000000",
    "SANDBOX_RATE_LIMIT": "0",
    "HOLD_SECONDS": "86400",
    # All requests come from one address, and many of them from one subject.
    **dict.fromkeys(CLIENT_LIMITS, "0"),
    # Counted, as always, but never reached.
    "SEATS_PER_OWNER": "1000000",
    "HOLDS_PER_OWNER": "1000000",
    "HOLDS_PER_ADDRESS": "1000000",
    "SEATS_PER_ADDRESS": "1000000",
    "HOLD_PAUSE_SECONDS": "0",
    # A client of the benchmark buys as often as hundreds of customers: beyond its share its intents are deferred.
    "OWNER_STRIPE_CALLS": "10000",
}
ONE_OF_EACH = Scale()
ACTORS = ("gateway", "payment", "booking")
UNIT_AMOUNT = 2500
POLL_SECONDS = 0.01
# Work that is under way has ended after this time, or never will.
WORK_SECONDS_MAX = 30.0

Json = dict[str, Any]


class Stage:
    """A started stack with what a benchmark needs of it."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, redis: Redis) -> None:
        self.stack = stack
        self.session = session
        self.redis = redis
        self.payments: asyncpg.Connection | None = None

    @property
    def gateway_url(self) -> str:
        return self.stack.gateway_url

    @property
    def sandbox_url(self) -> str:
        url = self.stack.sandbox_url
        assert url is not None
        return url

    def token(self, subject: str, *, operator: bool = False) -> str:
        secret = self.stack.jwt_secret
        assert secret is not None
        scopes = [OPERATOR] if operator else []  # which the release before knows, too
        return make_token(secret, self.stack.settings, subject, scopes=scopes)

    def actor(self, name: str) -> ActorProcess:
        child = self.stack.processes[name]
        assert isinstance(child, ActorProcess)
        return child

    def pids(self, *kinds: str) -> dict[str, int]:
        """Process ids by name; of all processes that run unless `kinds` are named."""
        return {
            name: child.pid
            for name, child in self.stack.processes.items()
            if child.running and (not kinds or name.partition("-")[0] in kinds)
        }

    def meter(self) -> Meter:
        """For every process that runs."""
        return Meter(self.pids())

    async def events(self, count: int, capacity: int, name: str) -> list[Json]:
        """New events with one ticket type each, made by an operator."""
        return [await self._event(f"{name} {number}", capacity) for number in range(1, count + 1)]

    async def _event(self, name: str, capacity: int) -> Json:
        body = {
            "name": name,
            "starts_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
            "currency": "eur",
            "ticket_types": [{"name": "Seat", "unit_amount": UNIT_AMOUNT, "capacity": capacity}],
        }
        headers = {"Authorization": f"Bearer {self.token('bench-operator', operator=True)}"}
        async with self.session.post(f"{self.gateway_url}/admin/events", json=body, headers=headers) as response:
            if response.status != 201:
                raise BenchError(f"POST /admin/events: {response.status} {(await response.text())[:300]}")
            event: Json = await response.json()
            return event

    async def wait_until_idle(self) -> None:
        """Until every mailbox is empty and every report of a payment acknowledged: the work that a booking causes
        after its client was notified is part of it."""
        deadline = time.monotonic() + WORK_SECONDS_MAX
        while True:
            left = {name: length for name, length in (await lengths(self.redis, MAILBOXES)).items() if length}
            if not left and (reports := await self._reports()):
                left = {"reports": reports}
            if not left:
                return
            if time.monotonic() > deadline:
                raise BenchError(f"not worked off within {WORK_SECONDS_MAX:.0f} s: {left}")
            await asyncio.sleep(POLL_SECONDS)

    async def _reports(self) -> int:
        """How many payments have a newest version that their booking has not acknowledged."""
        if self.payments is None:
            self.payments = await asyncpg.connect(self.stack.payment_database_url)
        return int(await self.payments.fetchval("SELECT count(*) FROM payments WHERE report_after IS NOT NULL"))

    async def dead_letters(self) -> dict[str, int]:
        """How many dead letters each mailbox has, for mailboxes with any."""
        found = await lengths(self.redis, [dead_letters(mailbox) for mailbox in MAILBOXES])
        return {name: length for name, length in found.items() if length}

    async def stop_actors(self) -> None:
        """Stop all but Postgres, Redis and the sandbox, beginning with the processes that clients reach."""
        for kind in ACTORS:
            names = self.pids(kind)
            await asyncio.gather(*(self.stack.processes[name].stop(at_once=True) for name in names))


S = TypeVar("S", bound=Stage)


@asynccontextmanager
async def running(scale: Scale = ONE_OF_EACH, **settings: str) -> AsyncIterator[Stage]:
    """A stack of its own, stopped and deleted at the end, with `settings` beside SETTINGS. Nothing in the
    environment can point it at servers that are in use."""
    folder = temporary_folder()
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    stack = Stack(folder, ports=Ports.free(), scale=scale, settings={**base, **SETTINGS, **settings})
    try:
        await stack.start()
        async with opened(stack, Stage) as stage:
            yield stage
    finally:
        await remove(stack, folder)


@asynccontextmanager
async def opened(stack: Stack, kind: type[S]) -> AsyncIterator[S]:
    """A stage on a stack that runs, with connections of its own."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=WORK_SECONDS_MAX)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        redis = Redis.from_url(stack.redis_url)
        stage = kind(stack, session, redis)
        try:
            yield stage
        finally:
            await redis.aclose()
            if stage.payments is not None:
                await stage.payments.close()


def temporary_folder() -> Path:
    """For the data of a stack."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    folder.chmod(0o711)  # Postgres' account must be able to pass through
    return folder


async def remove(stack: Stack, folder: Path) -> None:
    """Stop `stack`, and delete its data."""
    await stack.stop()
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        # Threads of an interrupted start still work in the folder: wait for them. The loop can start none from then
        # on, so this is done only where the whole run ends.
        await asyncio.get_running_loop().shutdown_default_executor()
    postgres = stack.processes.get("postgres")
    if isinstance(postgres, Postgres) and postgres.data_dir.exists():
        postgres.remove()
    shutil.rmtree(folder, ignore_errors=True)
