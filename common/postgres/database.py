"""One Postgres database of an actor: asyncpg connections of one pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from common.runtime.clock import Bounds
from common.runtime.outages import DatabaseOutage, database_outage, error_text
from common.runtime.urls import postgres_options

# Longer than any statement of ours takes; a lock that is not granted by then is given up, and the work is retried.
STATEMENT_TIMEOUT_MS = 8000
# A server that is frozen or cut off cancels no statement: a second later the client stops waiting for its answer.
ANSWER_TIMEOUT_SECONDS = STATEMENT_TIMEOUT_MS / 1000 + 1
# A process of ours that freezes in a transaction must not block others from its rows: Postgres ends it after this
# time, or a handler's own time limit where that is shorter, before the others' work has failed too often.
IDLE_IN_TRANSACTION_MS = 15_000
# A statement is planned once for each connection. One that was planned while its table was nearly empty continues
# to read the whole table until Postgres has analyzed it again: too late for the first sale of a new database. Every
# statement of ours has its index, and none is worth compiling, or planning again for its parameters, which Postgres
# does where it estimates that to be cheaper: that was a quarter of Postgres' CPU time for a booking.
PLANS = {"enable_seqscan": "off", "jit": "off", "plan_cache_mode": "force_generic_plan"}
CONNECT_TIMEOUT_SECONDS = 5
# How many seconds a connection may take to become usable again after an error; otherwise it is closed.
RESET_TIMEOUT_SECONDS = 1.0
# How many seconds connections may take to end at a stop.
CLOSE_TIMEOUT_SECONDS = 10

# asyncpg's own classes; outages.py says what each means.
_DRIVER_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """Returns to the pool without a reset: an open transaction is still rolled back, but nothing of ours changes a
    session (SET, LISTEN, advisory locks, cursors WITH HOLD), and a reset would cost a round trip each time."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """The connections of `pool`, with their errors translated."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # The connection that was used last: to return it to the pool and acquire it again costs as much as a
        # statement. A query uses it every few seconds, so it is never idle for long; the pool closes idle ones.
        self._kept: asyncpg.Connection | None = None
        # How many tasks wait for a connection of the pool.
        self._waiting = 0

    async def _acquire(self) -> asyncpg.Connection:
        kept, self._kept = self._kept, None
        if kept is not None:
            if not _is_closed(kept):
                return kept
            await self._release(kept)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS)
        finally:
            self._waiting -= 1

    async def _release(self, connection: asyncpg.Connection) -> None:
        # The work is done by now: a connection that cannot be reset is closed, and its error ignored.
        with suppress(*_DRIVER_ERRORS):
            await self._pool.release(connection, timeout=RESET_TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Wait up to CLOSE_TIMEOUT_SECONDS for connections in use, and close all."""
        self._waiting += 1  # so that no connection is kept from now on
        if self._kept is not None:
            await self._release(self._kept)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """One connection in autocommit. Raises DatabaseOutage when none can be had, or when it breaks."""
        connection: asyncpg.Connection | None = None
        well = False
        try:
            connection = await self._acquire()
            yield connection
            well = not (self._waiting or self._kept or _is_closed(connection) or connection.is_in_transaction())
        except Exception as error:
            if isinstance(error, asyncpg.PostgresError):
                # It quotes the refused row with its secrets, which must not reach a log or a dead letter.
                error.detail = None
            outage = database_outage(error)
            if connection is None and outage is not None and outage.slow:
                # No statement was sent yet: no request of ours is what takes too long.
                outage = DatabaseOutage(error_text(error))
            if outage is None and connection is None and isinstance(error, asyncpg.PostgresError):
                # Whatever its code, the server refuses the connection.
                outage = DatabaseOutage(error_text(error), reported=True, needs_operator=True)
            if outage is None:
                raise
            if connection is not None and (outage.primary_moved or isinstance(error, asyncpg.InternalClientError)):
                # It is unusable now, or leads to a standby: the pool must not hand it out again.
                _end(connection)
            raise outage from (None if outage is error else error)
        finally:
            if well:
                self._kept = connection
            elif connection is not None:
                await self._release(connection)

    # For one statement that writes: it is committed when the statement returns.
    statement = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction, READ COMMITTED: committed at the end of the block, rolled back by an error."""
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
        """How many seconds the server's clock is ahead of the monotonic one. Raises DatabaseOutage."""
        async with self.connection() as connection:
            sent = monotonic()
            server = (await connection.fetchval("SELECT clock_timestamp()")).timestamp()
            return Bounds(server - monotonic(), server - sent)

    async def ping(self) -> None:
        """Raises DatabaseOutage when the database cannot be reached, or accepts no writes."""
        async with self.connection() as connection:
            if await connection.fetchval("SHOW transaction_read_only") == "on":
                raise asyncpg.ReadOnlySQLTransactionError("the database takes no writes")


def _is_closed(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the connection has ended, and the pool has it back
        return True


def _end(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # the pool has it back as a lost one
        connection.terminate()


async def _roll_back(connection: asyncpg.Connection, transaction: Any) -> None:
    """Roll back, with a time limit. A server that does not answer rolls back by itself once the connection is
    closed; the caller needs the error that led here, and soon."""
    try:
        async with asyncio.timeout(RESET_TIMEOUT_SECONDS):
            await transaction.rollback()
    except _DRIVER_ERRORS:
        _end(connection)


@asynccontextmanager
async def open_database(
    dsn: str, pool_size: int, *, handler_timeout_ms: int = IDLE_IN_TRANSACTION_MS
) -> AsyncIterator[Database]:
    """Starts also during an outage of Postgres: the pool connects when a connection is first needed. Raises
    ValueError for a wrong URL (see urls.py)."""
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
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=ANSWER_TIMEOUT_SECONDS,
        server_settings=settings,
    )
    database = Database(pool)
    try:
        yield database
    finally:
        await database.close()
