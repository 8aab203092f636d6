"""One Postgres database of an actor: Tortoise for its models, asyncpg connections of the same pool for SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from common.runtime.clock import Bounds
from common.runtime.outages import DatabaseAway, database_away, said
from common.runtime.urls import postgres_options

if TYPE_CHECKING:
    from tortoise.backends.asyncpg.client import AsyncpgDBClient
    from tortoise.context import TortoiseContext

# Longer than any statement of ours takes; a lock that is not had by then is given up and tried again.
STATEMENT_TIMEOUT_MS = 8000
# A server that is frozen or cut off cancels nothing: a little later we no longer wait for its answer.
ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_MS / 1000 + 1
# A process of ours that is frozen in the middle of a transaction must not keep everybody from its rows: it ends
# after so long, or after a handler's own time where that is shorter, before what others do has failed too often.
IDLE_IN_TRANSACTION_MS = 15_000
# A statement is planned once for each connection. One planned while its table was nearly empty goes on reading the
# whole table until Postgres has looked at that again: too late for the first sale of a new database. Every
# statement of ours has its index, and none is worth compiling. Nor is any worth planning anew for its parameters,
# as Postgres does where it takes that for cheaper: it was a quarter of Postgres' CPU of a booking.
PLANS = {"enable_seqscan": "off", "jit": "off", "plan_cache_mode": "force_generic_plan"}
CONNECT_TIMEOUT_S = 5
# How long a connection may take to become usable again after an error; then it is thrown away.
RESET_TIMEOUT_S = 1.0

# What asyncpg raises, by its own classes: outages.py says what it means.
_DRIVER_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def tortoise_config(app: str, dsn: str, pool_size: int = 5, **connect: Any) -> dict[str, Any]:
    """Tortoise's configuration of the one database that `app` (booking or payment) owns.

    `connect` are asyncpg's own arguments. Without them no statement is limited in time: a migration may take long.
    Raises ValueError for a wrong URL (see urls.py).
    """
    options = postgres_options(dsn)
    if "server_settings" in options and "server_settings" in connect:
        connect["server_settings"] |= options["server_settings"]
    # No connection is kept for its own sake: while Postgres is away asyncpg would try, and complain, all the time.
    credentials = options | {"minsize": 0, "maxsize": pool_size} | connect
    return {
        "connections": {"default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}},
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


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """Comes back to the pool as it is: an open transaction is still rolled back, but nothing of ours changes a
    session (SET, LISTEN, advisory locks, cursors WITH HOLD), and undoing that costs a round trip each time."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """The pool, of asyncpg connections; Tortoise has it for its models and migrations."""

    def __init__(self, context: TortoiseContext) -> None:
        self._context = context
        self.client = cast("AsyncpgDBClient", context.connections.get("default"))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """One connection in autocommit. Raises DatabaseAway when there is none to be had, or it breaks."""
        connection: asyncpg.Connection | None = None
        try:
            pool = await self._pool()
            connection = await pool.acquire(timeout=CONNECT_TIMEOUT_S)
            yield connection
        except Exception as error:
            if isinstance(error, asyncpg.PostgresError):
                # It quotes the row that was refused, secrets and all: that belongs in no log and no dead letter.
                error.detail = None
            away = database_away(error)
            if connection is None and away is not None and away.slow:
                # Nothing was asked yet: no request of ours is what takes too long.
                away = DatabaseAway(said(error))
            if away is None and connection is None and isinstance(error, asyncpg.PostgresError):
                # Whatever it says, it does not let us in.
                away = DatabaseAway(said(error), stated=True, by_hand=True)
            if away is None:
                raise
            if connection is not None and (away.elsewhere or isinstance(error, asyncpg.InternalClientError)):
                # It can do nothing any more, or leads to a standby: nobody is to get it from the pool again.
                connection.terminate()
            raise away from (None if away is error else error)
        finally:
            if connection is not None:
                # Whatever was done is done: a connection that cannot be reset is closed, and no more than that.
                with suppress(*_DRIVER_ERRORS):
                    await pool.release(connection, timeout=RESET_TIMEOUT_S)

    async def _pool(self) -> asyncpg.Pool:
        if self.client._pool is None:
            # Tortoise makes the pool, once, before the first connection is taken from it.
            wrapper = cast(Any, self.client.acquire_connection())
            await wrapper.ensure_connection()
        return cast(asyncpg.Pool, self.client._pool)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[asyncpg.Connection]:
        """For one statement that writes, in autocommit: it is committed when it returns."""
        async with self.connection() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction, read committed: committed at the end of the block, rolled back by an error."""
        async with self.connection() as connection:
            transaction = connection.transaction()
            try:
                await transaction.start()
                yield connection
            except BaseException:
                await _roll_back(connection, transaction)
                raise
            await transaction.commit()

    async def read_clock(self, monotonic: Callable[[], float]) -> Bounds:
        """How far the server's clock is ahead. Raises DatabaseAway."""
        async with self.connection() as connection:
            sent = monotonic()
            server = (await connection.fetchval("SELECT clock_timestamp()")).timestamp()
            return Bounds(server - monotonic(), server - sent)

    async def ping(self) -> None:
        """Raises DatabaseAway when the database cannot be reached, or takes no writes."""
        async with self.connection() as connection:
            if await connection.fetchval("SHOW transaction_read_only") == "on":
                raise asyncpg.ReadOnlySQLTransactionError("the database takes no writes")


async def _roll_back(connection: asyncpg.Connection, transaction: Any) -> None:
    """Roll back. A server that doesn't answer does it by itself once the connection is gone: what matters to
    the caller is the error that led here, and that it doesn't wait for long."""
    try:
        async with asyncio.timeout(RESET_TIMEOUT_S):
            await transaction.rollback()
    except _DRIVER_ERRORS:
        with suppress(asyncpg.InterfaceError):  # it is back in the pool, as a lost one
            connection.terminate()


@asynccontextmanager
async def open_database(
    app: str, dsn: str, pool_size: int, *, handler_timeout_ms: int = IDLE_IN_TRANSACTION_MS
) -> AsyncIterator[Database]:
    """Connect, and close at the end. Postgres may be away: the pool connects when it is first needed."""
    config = tortoise_config(
        app,
        dsn,
        pool_size,
        connection_class=_Connection,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_TIMEOUT_S,
        server_settings={
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(min(IDLE_IN_TRANSACTION_MS, handler_timeout_ms)),
            **PLANS,
        },
    )
    from tortoise.context import TortoiseContext  # here: the gateway, which has no database, starts sooner

    context = TortoiseContext()
    with context:  # models are bound to the context that is current
        await context.init(config=config)
    try:
        yield Database(context)
    finally:
        await context.connections.close_all()
