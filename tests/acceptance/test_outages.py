"""Whatever keeps Redis or Postgres from serving: each process survives it, reports not ready, and recovers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

import booking.app
import common.messaging.batch
import common.messaging.consumer
import common.messaging.dependencies
import common.messaging.listener
import common.postgres.database
import common.runtime.background
import gateway.app
import payment.app
from booking.settings import BookingSettings
from common.contracts.messages import ListEvents
from common.messaging.redis import connect
from common.runtime.backoff import Backoff
from common.runtime.health import HEALTH
from common.runtime.outages import Outage
from common.runtime.supervisor import SUPERVISOR
from gateway.settings import GatewaySettings
from gateway.waiters import CALLS
from ops.child import free_port
from ops.redis import RedisServer, embedded_redis
from payment.settings import PaymentSettings
from tests.common.stage import until

Apps = Mapping[str, web.Application]
ALL, ACTORS, GATEWAY = {"booking", "payment", "gateway"}, {"booking", "payment"}, {"gateway"}
# What the processes' user of Redis may do, until a test removes a command.
USER = ("ACL", "SETUSER", "app", "on", ">password", "~*", "&*", "+@all")


@pytest.fixture
async def own_redis() -> AsyncIterator[RedisServer]:
    async with embedded_redis() as server:
        yield server


@pytest.fixture
async def databases(migrated_database: Callable[..., Awaitable[str]]) -> dict[str, str]:
    return {name: await migrated_database(name, f"outages_{name}") for name in ("booking", "payment")}


@asynccontextmanager
async def processes(redis_url: str, databases: dict[str, str]) -> AsyncIterator[Apps]:
    """One process of each kind, inside this one; there is no Stripe."""
    both: dict[str, Any] = {"redis_url": redis_url, "block_ms": 50, "_env_file": None}
    apps: Apps = {
        "booking": booking.app.build_app(
            BookingSettings(booking_database_url=databases["booking"], queue_ms=50, **both)
        ),
        "payment": payment.app.build_app(
            PaymentSettings(
                payment_database_url=databases["payment"],
                stripe_secret_key=cast(Any, "sk_test_outages"),
                stripe_webhook_secrets=("whsec_" + "outages" * 6,),
                stripe_api_base=cast(Any, f"http://127.0.0.1:{free_port()}"),
                stripe_events_catch_up_seconds=0.05,
                **both,
            )
        ),
        "gateway": gateway.app.build_app(
            GatewaySettings(auth_jwt_secrets=("outages" * 6,), mailbox_sample_ms=20, **both)
        ),
    }
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(TestServer(app))
        yield apps


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (
        common.runtime.background,
        common.messaging.listener,
        common.messaging.consumer,
        common.messaging.dependencies,
        common.messaging.batch,
    ):
        monkeypatch.setattr(module, "Backoff", lambda *_, **__: Backoff(0.01, 0.05))


async def problems(apps: Apps) -> dict[str, dict[str, str]]:
    """The problems of each process that is not ready."""
    found = {name: await app[HEALTH].problems() for name, app in apps.items()}
    return {name: reasons for name, reasons in found.items() if reasons}


async def until_ready(apps: Apps) -> None:
    async def ready() -> bool:
        return not await problems(apps)

    await until(ready)


async def until_not_ready(apps: Apps, names: set[str], what: str) -> None:
    async def not_ready() -> bool:
        return names <= (await problems(apps)).keys()

    try:
        await until(not_ready, 8)
    except TimeoutError:
        pytest.fail(f"{what}: still ready: {names - (await problems(apps)).keys()}")


def assert_no_task_failed(apps: Apps, what: str) -> None:
    assert not [name for name, app in apps.items() if app[SUPERVISOR].failed], what


async def list_events(apps: Apps) -> None:
    """A call goes from the gateway to the booking actor, and its reply comes back."""
    answer = await apps["gateway"][CALLS].call(ListEvents(limit=1), "events", timeout_s=10)
    assert answer["items"] == []


class RedisFaults:
    """Ways in which Redis cannot serve; each ends with its context."""

    def __init__(self, server: RedisServer, operator: Redis) -> None:
        self._server = server
        self._operator = cast(Any, operator)

    @asynccontextmanager
    async def setting(self, name: str, value: str) -> AsyncIterator[None]:
        (before,) = (await self._operator.config_get(name)).values()
        await self._operator.config_set(name, value)
        yield
        await self._operator.config_set(name, before)

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[None]:
        await self._operator.replicaof("127.0.0.1", 1)
        yield
        await self._operator.replicaof("NO", "ONE")

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        async with self.setting("lua-time-limit", "1"), connect(self._server.url) as other:
            script = asyncio.create_task(cast(Any, other.eval("while true do end", 0)))
            yield

            async def killed() -> bool:
                try:
                    return bool(await self._operator.script_kill())
                except Outage:
                    return False

            await until(killed)
            await asyncio.wait([script])
            script.exception()

    @asynccontextmanager
    async def without(self, command: str) -> AsyncIterator[None]:
        await self._operator.execute_command("ACL", "SETUSER", "app", f"-{command}")
        yield
        await self._operator.execute_command(*USER)

    @asynccontextmanager
    async def another_password(self) -> AsyncIterator[None]:
        await self._operator.execute_command("ACL", "SETUSER", "app", "resetpass", ">another")
        await self._operator.execute_command("CLIENT", "KILL", "USER", "app")
        yield
        await self._operator.execute_command(*USER)

    @asynccontextmanager
    async def restart(self) -> AsyncIterator[None]:
        await self._server.stop()
        yield
        await self._server.start()
        await self._operator.execute_command(*USER)


@pytest.mark.timeout(120)
async def test_every_process_survives_outages_of_redis(own_redis: RedisServer, databases: dict[str, str]) -> None:
    async with connect(own_redis.url) as operator:
        await cast(Any, operator).execute_command(*USER)
        faults = RedisFaults(own_redis, operator)
        kinds = {
            "replica": (faults.replica(), ALL),
            "replica, once more": (faults.replica(), ALL),
            "full": (faults.setting("maxmemory", "1"), ALL),
            "without replicas": (faults.setting("min-replicas-to-write", "1"), ALL),
            "busy": (faults.busy(), ALL),
            **{
                f"without {command}": (faults.without(command), names)
                for command, names in {
                    "xadd": ALL,
                    "eval": ALL,
                    "xreadgroup": ACTORS,
                    "xautoclaim": ACTORS,
                    "set": ALL,
                    "get": ALL,
                    "xread": GATEWAY,
                    "xlen": GATEWAY,
                }.items()
            },
            "another password": (faults.another_password(), ALL),
            "restart": (faults.restart(), ALL),
        }
        async with processes(f"redis://app:password@127.0.0.1:{own_redis.port}/0", databases) as apps:
            await until_ready(apps)
            for what, (fault, names) in kinds.items():
                async with fault:
                    await until_not_ready(apps, names, what)
                    assert_no_task_failed(apps, what)
                await until_ready(apps)
                assert_no_task_failed(apps, what)
            await cast(Any, operator).execute_command("CLIENT", "KILL", "USER", "app")
            await until_ready(apps)
            await list_events(apps)
            assert_no_task_failed(apps, "connections killed")


class PostgresFaults:
    """Ways in which the database `booking` cannot serve; each ends with its context. `operator` is connected to
    the other database."""

    def __init__(self, operator: asyncpg.Connection, name: str, owner: asyncpg.Connection) -> None:
        self._operator = operator
        self._name = name
        self._owner = owner

    async def end_sessions(self) -> None:
        await self._operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> $2",
            self._name,
            self._owner.get_server_pid(),
        )

    @asynccontextmanager
    async def altered(self, there: str, back: str) -> AsyncIterator[None]:
        await self._operator.execute(f'ALTER DATABASE "{self._name}" {there}')
        await self.end_sessions()
        yield
        await self._operator.execute(f'ALTER DATABASE "{self._name}" {back}')

    @asynccontextmanager
    async def renamed(self, what: str, back: str) -> AsyncIterator[None]:
        await self._owner.execute(f"ALTER TABLE bookings RENAME {what}")
        yield
        await self._owner.execute(back)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        async with self._owner.transaction():
            await self._owner.execute("LOCK TABLE bookings")
            yield


@pytest.mark.timeout(120)
async def test_every_process_survives_outages_of_postgres(
    own_redis: RedisServer, databases: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common.postgres.database, "STATEMENT_TIMEOUT_MS", 200)
    operator, owner = await asyncpg.connect(databases["payment"]), await asyncpg.connect(databases["booking"])
    name = await owner.fetchval("SELECT current_database()")
    faults = PostgresFaults(operator, name, owner)
    read_only = "default_transaction_read_only"
    kinds = {
        "read only": faults.altered(f"SET {read_only} = on", f"RESET {read_only}"),
        "no connections": faults.altered("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
        "no such table": faults.renamed("TO hidden", "ALTER TABLE hidden RENAME TO bookings"),
        "no such column": faults.renamed(
            "settle_after TO hidden", "ALTER TABLE bookings RENAME hidden TO settle_after"
        ),
        "locked": faults.locked(),
    }
    async with processes(own_redis.url, databases) as apps:
        await until_ready(apps)
        for what, fault in kinds.items():
            async with fault:
                await until_not_ready(apps, {"booking"}, what)
                assert_no_task_failed(apps, what)
            await until_ready(apps)
            assert_no_task_failed(apps, what)
        await faults.end_sessions()
        await list_events(apps)
        assert_no_task_failed(apps, "sessions ended")
    await owner.close()
    await operator.close()
