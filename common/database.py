"""One Postgres database of an actor: Tortoise for its models, asyncpg connections of the same pool for SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.context import TortoiseContext

# Longer than any statement of ours takes; a lock that is not had by then is given up and tried again.
STATEMENT_TIMEOUT_MS = 8000
CONNECT_TIMEOUT_S = 5

# Postgres cannot serve now, though the statement was right: wait and ask again.
DATABASE_AWAY: tuple[type[BaseException], ...] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
)


def tortoise_url(dsn: str) -> str:
    """Tortoise's form of a `postgresql://` URL."""
    scheme, _, rest = dsn.partition("://")
    return f"asyncpg://{rest}" if scheme in ("postgres", "postgresql", "asyncpg") else dsn


def tortoise_config(app: str, dsn: str, pool_size: int = 5) -> dict[str, Any]:
    """Tortoise's configuration of the one database that `app` (booking or payment) owns."""
    parts = urlsplit(dsn)
    separator = "&" if parts.query else "?"
    return {
        "connections": {"default": f"{tortoise_url(dsn)}{separator}minsize=1&maxsize={pool_size}"},
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


class Database:
    """The pool. `connection` and `transaction` give an asyncpg connection; `client` serves Tortoise queries."""

    def __init__(self, context: TortoiseContext) -> None:
        self._context = context
        self.client = cast(AsyncpgDBClient, context.connections.get("default"))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """One connection in autocommit. Raises what is in DATABASE_AWAY when there is none to be had."""
        async with self.client.acquire_connection() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction, read committed: committed at the end of the block, rolled back by an error."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def ping(self) -> None:
        async with self.connection() as connection:
            await connection.execute("SELECT 1")


@asynccontextmanager
async def open_database(app: str, dsn: str, pool_size: int) -> AsyncIterator[Database]:
    """Connect, and close at the end. Postgres may be away: the pool connects when it is first needed."""
    context = TortoiseContext()
    with context:  # models are bound to the context that is current
        await context.init(config=tortoise_config(app, dsn, pool_size))
    try:
        yield Database(context)
    finally:
        await context.connections.close_all()
