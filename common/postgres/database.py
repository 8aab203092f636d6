"""One Postgres database of an actor: asyncpg connections of one pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from common.runtime.clock import Bounds
from common.runtime.outages import DatabaseAway, database_away, said
from common.runtime.urls import postgres_options

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
# How long connections may take to end at a stop.
CLOSE_TIMEOUT_S = 10

# What asyncpg raises, by its own classes: outages.py says what it means.
_DRIVER_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """Comes back to the pool as it is: an open transaction is still rolled back, but nothing of ours changes a
    session (SET, LISTEN, advisory locks, cursors WITH HOLD), and undoing that costs a round trip each time."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """Connections of `pool`, and what their errors mean."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # The one that was used last is kept: the pool's way to hand one out and take it back costs as much as a
        # statement. Something is asked every few seconds, so that this one does not grow old; all others may.
        self._kept: asyncpg.Connection | None = None
        # How many wait for one of the pool's.
        self._waiting = 0

    async def _acquire(self) -> asyncpg.Connection:
        kept, self._kept = self._kept, None
        if kept is not None:
            if not _is_closed(kept):
                return kept
            await self._put_back(kept)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=CONNECT_TIMEOUT_S)
        finally:
            self._waiting -= 1

    async def _put_back(self, connection: asyncpg.Connection) -> None:
        # Whatever was done is done: a connection that cannot be reset is closed, and no more than that.
        with suppress(*_DRIVER_ERRORS):
            await self._pool.release(connection, timeout=RESET_TIMEOUT_S)

    async def close(self) -> None:
        """Wait a while for connections to come back, and end all."""
        self._waiting += 1  # none is kept from now on
        if self._kept is not None:
            await self._put_back(self._kept)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """One connection in autocommit. Raises DatabaseAway when there is none to be had, or it breaks."""
        connection: asyncpg.Connection | None = None
        well = False
        try:
            connection = await self._acquire()
            yield connection
            well = not (self._waiting or self._kept or _is_closed(connection) or connection.is_in_transaction())
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
                _end(connection)
            raise away from (None if away is error else error)
        finally:
            if well:
                self._kept = connection
            elif connection is not None:
                await self._put_back(connection)

    # For one statement that writes: it is committed when it returns.
    statement = connection

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


def _is_closed(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # it has ended, and the pool has taken it back
        return True


def _end(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it is back in the pool, as a lost one
        connection.terminate()


async def _roll_back(connection: asyncpg.Connection, transaction: Any) -> None:
    """Roll back. A server that doesn't answer does it by itself once the connection is gone: what matters to
    the caller is the error that led here, and that it doesn't wait for long."""
    try:
        async with asyncio.timeout(RESET_TIMEOUT_S):
            await transaction.rollback()
    except _DRIVER_ERRORS:
        _end(connection)


@asynccontextmanager
async def open_database(
    dsn: str, pool_size: int, *, handler_timeout_ms: int = IDLE_IN_TRANSACTION_MS
) -> AsyncIterator[Database]:
    """Postgres may be away: the pool connects when a connection is first needed, and keeps none for its own sake.
    Raises ValueError for a wrong URL (see urls.py)."""
    options = postgres_options(dsn)
    settings = {
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(min(IDLE_IN_TRANSACTION_MS, handler_timeout_ms)),
        **PLANS,
        **options.pop("server_settings", {}),
    }
    pool = await asyncpg.create_pool(
        **options,
        min_size=0,
        max_size=pool_size,
        connection_class=_Connection,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_TIMEOUT_S,
        server_settings=settings,
    )
    database = Database(pool)
    try:
        yield database
    finally:
        await database.close()
