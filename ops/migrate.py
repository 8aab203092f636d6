"""Bringing the two databases up to date with Tortoise's own migrations."""

from __future__ import annotations

from contextlib import suppress

import asyncpg
from tortoise.context import TortoiseContext
from tortoise.migrations.api import migrate as run_migrations

from common.database import tortoise_config
from ops.errors import StartError

# Any number, as long as nobody else in the database uses it: "holdfast" in ASCII.
LOCK = 0x686F6C6466617374
LOCK_TIMEOUT_S = 120

# For Tortoise's own command line, which makes new migrations by comparing the models with the last ones; it
# does not connect for that.
BOOKING = tortoise_config("booking", "postgresql://127.0.0.1/booking")
PAYMENT = tortoise_config("payment", "postgresql://127.0.0.1/payment")


async def migrate(booking_url: str | None, payment_url: str | None) -> list[str]:
    """Apply what is missing in the databases that are given; says what was applied, as `app.name`.

    Several may run at once (a one-shot in each of several deployments): they take turns by an advisory lock.
    Raises StartError when a database cannot be reached or a migration fails.
    """
    applied: list[str] = []
    for app, url in (("booking", booking_url), ("payment", payment_url)):
        if url is not None:
            applied += await _migrate_one(app, url)
    return applied


async def _migrate_one(app: str, url: str) -> list[str]:
    applied: list[str] = []

    def note(event: str, label: str, name: str) -> None:
        if event == "apply_done":
            applied.append(f"{label}.{name}")

    try:
        lock = await asyncpg.connect(url, timeout=10)
        try:
            await lock.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
            await lock.execute("SELECT pg_advisory_lock($1)", LOCK)
            async with TortoiseContext():
                await run_migrations(config=tortoise_config(app, url), direction="forward", progress=note)
        finally:
            with suppress(asyncpg.InterfaceError):  # the lock goes with its connection, however that ended
                await lock.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise StartError(f"database {app} cannot be migrated: {error or type(error).__name__}") from error
    return applied
