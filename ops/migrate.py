"""Brings the two databases up to date with Tortoise's migrations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from tortoise.context import TortoiseContext
from tortoise.exceptions import BaseORMException
from tortoise.migrations.api import migrate as run_migrations

from common.runtime.urls import postgres_options
from ops.errors import StartError
from ops.installation import AS_IT_IS, Choice, agree_on_installation

# The key of the advisory lock; any number that no other program in the database uses: "holdfast" in ASCII.
LOCK = 0x686F6C6466617374
LOCK_TIMEOUT_S = 120  # for the migrations of another command
# Errors that are printed in one line: of Postgres, asyncpg and Tortoise, and of a wrong URL.
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, BaseORMException, ValueError)


def tortoise_config(app: str, dsn: str, pool_size: int = 5, **connect: Any) -> dict[str, Any]:
    """Tortoise's configuration of the one database that `app` (booking or payment) owns.

    `connect` are asyncpg's own arguments. Statements have no time limit, as a migration may take long. Raises
    ValueError for a wrong URL.
    """
    return {
        "connections": {
            "default": {
                "engine": "tortoise.backends.asyncpg",
                "credentials": postgres_options(dsn) | {"minsize": 0, "maxsize": pool_size} | connect,
            }
        },
        "apps": {
            app: {
                "models": [f"{app}.models"],
                "default_connection": "default",
                "migrations": f"{app}.migrations",
            }
        },
        "use_tz": True,
        "timezone": "UTC",
    }


# For Tortoise's own command line, which makes new migrations by comparing the models with the last ones; it
# does not connect for that.
BOOKING = tortoise_config("booking", "postgresql://127.0.0.1/booking")
PAYMENT = tortoise_config("payment", "postgresql://127.0.0.1/payment")


async def migrate(booking_url: str | None, payment_url: str | None) -> list[str]:
    """As `migrate_with`, without an operator's choice about the installation."""
    return await migrate_with(AS_IT_IS, booking_url, payment_url)


async def migrate_with(choice: Choice, booking_url: str | None, payment_url: str | None) -> list[str]:
    """Apply the missing migrations in the databases that are given; returns those applied, as `app.name`, and what
    was written of the installation id.

    Several may run at once (one in each of several deployments): an advisory lock lets them run one by one. Raises
    StartError when a database cannot be reached or a migration fails.
    """
    applied: list[str] = []
    for app, url in (("booking", booking_url), ("payment", payment_url)):
        if url is not None:
            applied += await _migrate_one(app, url)
    return [*applied, *await agree_on_installation(booking_url, payment_url, choice)]


async def _migrate_one(app: str, url: str) -> list[str]:
    applied: list[str] = []

    def note(event: str, label: str, name: str) -> None:
        if event == "apply_done":
            applied.append(f"{label}.{name}")

    try:
        async with _one_at_a_time(url), TortoiseContext():
            config = tortoise_config(app, url, statement_cache_size=0)
            await run_migrations(config=config, direction="forward", progress=note)
    except FAILURES as error:
        raise StartError(f"database {app} cannot be migrated: {_line(error)}") from error
    return applied


@asynccontextmanager
async def _one_at_a_time(url: str) -> AsyncIterator[None]:
    """Wait until no other process migrates the database, and keep others waiting meanwhile.

    The lock is a transaction's and not a session's: a pooler such as PgBouncer may send a session's next statement
    to another connection, but keeps a transaction on one. For the same reason no statement is prepared by name.
    """
    connection = await asyncpg.connect(**postgres_options(url) | {"timeout": 10, "statement_cache_size": 0})
    try:
        async with connection.transaction():
            # This transaction is idle for as long as the migrations take.
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
            await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            yield
    finally:
        with suppress(asyncpg.InterfaceError):  # the lock ends with its connection, however that ended
            await connection.close()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
