"""The reference beside Holdfast: on the same Postgres and Redis, with its own database and stand-in for Stripe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
from redis.asyncio import Redis

from bench.errors import BenchError
from bench.reference.streams import WEBHOOKS
from bench.stage import POLL_SECONDS, WORK_SECONDS_MAX, Stage
from ops.actor import ActorProcess
from ops.child import HOST, Child, free_port
from ops.migrate import migrate
from ops.postgres import Postgres

DATABASE = "reference"
SANDBOX = "sandbox"
# Holdfast has three processes on the same two cores.
PROCESSES = 2
SHARED = ("postgres", "redis")


class ReferenceStage(Stage):
    """What a benchmark needs of the reference, under the names that Holdfast's stage uses: the process that answers
    clients is a gateway."""

    def __init__(
        self, beside: Stage, redis: Redis, children: Mapping[str, ActorProcess], database_url: str
    ) -> None:
        super().__init__(beside.stack, beside.session, redis)
        self._children = children
        self.database_url = database_url

    @property
    def gateway_url(self) -> str:
        return self._children["gateway-1"].url

    @property
    def sandbox_url(self) -> str:
        return self._children[SANDBOX].url

    def pids(self, *kinds: str) -> dict[str, int]:
        shared = {name: self.stack.processes[name] for name in SHARED}
        running: dict[str, Child] = {**shared, **self._children}
        return {
            name: child.pid
            for name, child in running.items()
            if child.running and (not kinds or name.partition("-")[0] in kinds)
        }

    async def wait_until_idle(self) -> None:
        deadline = time.monotonic() + WORK_SECONDS_MAX
        while left := await self.redis.xlen(WEBHOOKS):
            if time.monotonic() > deadline:
                raise BenchError(f"the reference has {left} webhooks left after {WORK_SECONDS_MAX:.0f} s")
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def beside(stage: Stage, processes: int = PROCESSES) -> AsyncIterator[ReferenceStage]:
    """The reference, started and stopped while `stage` runs."""
    database_url = await _database(stage)
    redis_url = f"{stage.stack.redis_url.removesuffix('/0')}/1"
    children = _children(stage, processes, database_url, redis_url)
    try:
        async with asyncio.TaskGroup() as group:
            for child in children.values():
                group.create_task(child.start())
        redis = Redis.from_url(redis_url)
        try:
            yield ReferenceStage(stage, redis, children, database_url)
        finally:
            await redis.aclose()
    finally:
        await asyncio.gather(*(child.stop() for child in children.values()))


async def _database(stage: Stage) -> str:
    postgres = stage.stack.processes["postgres"]
    assert isinstance(postgres, Postgres)
    connection = await asyncpg.connect(postgres.url())
    try:
        await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()
    url = postgres.url(DATABASE)
    # One database has the tables of both. Each brings a table `installation`, which the reference does not use.
    await migrate(url, None)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE installation")
    finally:
        await connection.close()
    await migrate(None, url)
    return url


def _children(stage: Stage, processes: int, database_url: str, redis_url: str) -> dict[str, ActorProcess]:
    logs, port, sandbox_port = stage.stack.logs, free_port(), free_port()
    sandbox = {
        **stage.actor(SANDBOX).environment,
        "SANDBOX_LEDGER": str(stage.stack.data_dir / "reference.sqlite3"),
        "SANDBOX_WEBHOOK_URL": f"http://{HOST}:{port}/payment/webhook",
    }
    sandbox.pop("SANDBOX_SMTP_PORT", None)  # the design sends no mail, and the other sandbox has this port
    # It does what payment does, too.
    environment = {
        **stage.actor("payment-1").environment,
        **stage.actor("gateway-1").environment,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STRIPE_API_BASE": f"http://{HOST}:{sandbox_port}",
        "REUSE_PORT": "true",
    }
    own = [
        ActorProcess(
            f"gateway-{number}",
            "bench.reference",
            port,
            logs / f"reference-{number}.log",
            environment,
            "/health/ready",
        )
        for number in range(1, processes + 1)
    ]
    log = logs / "reference-sandbox.log"
    stand_in = ActorProcess(SANDBOX, "sandbox", sandbox_port, log, sandbox, "/_sandbox/health")
    return {child.name: child for child in (stand_in, *own)}
