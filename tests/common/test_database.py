"""The database: transactions, time limits, and outages."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.postgres import database as module
from common.postgres.database import Database, open_database
from common.runtime.outages import DatabaseOutage
from common.runtime.urls import postgres_options
from ops.child import free_port
from ops.migrate import tortoise_config
from ops.postgres import Postgres
from tests.common.stage import until

ROOT = Path(__file__).parent.parent.parent


async def value(database: Database, query: str, *args: Any) -> Any:
    async with database.connection() as connection:
        return await connection.fetchval(query, *args)


async def test_the_operations_page_lists_all_settings_of_a_session(database: Database) -> None:
    """PgBouncer refuses a connection that sets a parameter which it is not configured to ignore."""
    operations = (ROOT / "docs/operations.md").read_text()
    (listed,) = re.findall(r"ignore_startup_parameters =([^`]*)`", operations)
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT name FROM pg_settings WHERE source = 'client'")
    # Every pooler knows these; asyncpg sets the first.
    always = {"client_encoding", "DateStyle", "TimeZone", "application_name"}
    assert {row["name"] for row in rows} - always == set(listed.replace("\n", " ").replace(" ", "").split(","))


@pytest.fixture
async def things(database: Database) -> AsyncIterator[None]:
    async with database.connection() as connection:
        await connection.execute("DROP TABLE IF EXISTS things")
        await connection.execute("CREATE TABLE things (id bigint PRIMARY KEY, note text)")
    yield
    async with database.connection() as connection:
        await connection.execute("DROP TABLE things")


async def test_a_transaction_is_committed_at_its_end(database: Database, things: None) -> None:
    async with database.transaction() as transaction:
        await transaction.execute("INSERT INTO things VALUES (1)")
        assert await value(database, "SELECT count(*) FROM things") == 0
    assert await value(database, "SELECT count(*) FROM things") == 1


async def insert(database: Database, number: int, then: Callable[[asyncpg.Connection], Awaitable[Any]]) -> None:
    """Insert in a transaction, then call `then`, which fails."""
    async with database.transaction() as transaction:
        await transaction.execute("INSERT INTO things VALUES ($1)", number)
        await then(transaction)


async def test_an_error_rolls_the_transaction_back(database: Database, things: None) -> None:
    async def fail(_: asyncpg.Connection) -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await insert(database, 1, fail)
    assert await value(database, "SELECT count(*) FROM things") == 0


async def test_a_cancelled_transaction_is_rolled_back_and_its_connection_is_used_again(
    database: Database, things: None
) -> None:
    for number in range(5):  # more often than there are connections
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await insert(database, number, lambda transaction: transaction.execute("SELECT pg_sleep(60)"))
    assert await value(database, "SELECT count(*) FROM things") == 0


async def test_a_statement_over_its_time_limit_is_cancelled(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATEMENT_TIMEOUT_MS", 100)
    async with open_database(database_url, 1) as database:
        with pytest.raises(DatabaseOutage) as raised:
            await value(database, "SELECT pg_sleep(60)")
        assert raised.value.slow  # it may be the fault of the statement
        await database.ping()


async def test_a_transaction_that_does_nothing_does_not_keep_its_locks(database_url: str, things: None) -> None:
    async def sleep(transaction: asyncpg.Connection) -> None:
        await until(transaction.is_closed)
        await transaction.execute("SELECT 1")

    async with open_database(database_url, 1, handler_timeout_ms=100) as database:
        with pytest.raises(DatabaseOutage):
            await insert(database, 1, sleep)
        assert await value(database, "SELECT count(*) FROM things") == 0


async def test_a_table_that_is_nearly_empty_is_read_by_its_index(database: Database, things: None) -> None:
    """The plan stays the same when the table has grown."""
    async with database.connection() as connection:
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN SELECT * FROM things WHERE id = 1"))
    assert "Index Scan" in plan, plan
    assert "Seq Scan" not in plan, plan


def test_migrations_may_take_long() -> None:
    credentials = tortoise_config("payment", "postgresql://u@h/d")["connections"]["default"]["credentials"]
    assert not {"server_settings", "command_timeout"} & set(credentials)


async def test_of_two_in_a_deadlock_one_retries(database: Database, things: None) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO things VALUES (1), (2)")
    both = asyncio.Barrier(2)

    async def update(first: int, second: int) -> None:
        async with database.transaction() as transaction:
            await transaction.execute("UPDATE things SET note = 'x' WHERE id = $1", first)
            await both.wait()
            await transaction.execute("UPDATE things SET note = 'y' WHERE id = $1", second)

    results = await asyncio.gather(update(1, 2), update(2, 1), return_exceptions=True)
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, DatabaseOutage)
    assert isinstance(error.__cause__, asyncpg.DeadlockDetectedError)


async def test_a_statement_that_a_migration_made_stale_is_retried(database: Database, things: None) -> None:
    async def read() -> int:
        async with database.transaction() as transaction:
            return len(await transaction.fetch("SELECT * FROM things"))

    async with database.connection() as connection:
        await connection.fetch("SELECT * FROM things")
        await connection.execute("ALTER TABLE things ADD COLUMN another int")
    with pytest.raises(DatabaseOutage) as raised:
        await read()
    assert isinstance(raised.value.__cause__, asyncpg.InvalidCachedStatementError)
    assert await read() == 0


@pytest.mark.parametrize(
    ("query", "argument"),
    [("SELECT $1::bigint", 2**70), ("SELECT $1::bigint", "seven"), ("SELECT $1::uuid", "no uuid")],
)
async def test_a_wrong_argument_is_no_outage(database: Database, query: str, argument: Any) -> None:
    """asyncpg refuses it before it asks Postgres; a poison entry must not look like a lost connection."""
    with pytest.raises(asyncpg.DataError, match="invalid input") as raised:
        await value(database, query, argument)
    assert not isinstance(raised.value, DatabaseOutage)


async def test_a_wrong_statement_is_no_outage(database: Database) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError) as raised:
        await value(database, "SELEKT")
    assert not isinstance(raised.value, DatabaseOutage)


@pytest.mark.parametrize("query", ["SELECT * FROM nowhere", "SELECT nothing FROM things"])
async def test_a_schema_that_is_not_migrated_yet_is_an_outage_that_needs_an_operator(
    database: Database, things: None, query: str
) -> None:
    """No message is at fault, and none may become a dead letter for it."""
    with pytest.raises(DatabaseOutage) as raised:
        await value(database, query)
    assert raised.value.reported
    assert raised.value.needs_operator


async def test_a_database_that_accepts_no_writes_is_an_outage(database: Database, database_url: str) -> None:
    await database.ping()
    async with database.connection() as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        async with open_database(database_url, 1) as reading:
            with pytest.raises(DatabaseOutage, match="no writes"):
                await reading.ping()
            with pytest.raises(DatabaseOutage):
                await value(reading, "CREATE TABLE more ()")
    finally:
        async with database.connection() as connection:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    await database.ping()


async def test_the_connection_that_was_used_last_is_used_next(database: Database) -> None:
    first = await value(database, "SELECT pg_backend_pid()")
    assert [await value(database, "SELECT pg_backend_pid()") for _ in range(3)] == [first] * 3
    async with database.connection():
        others = await asyncio.gather(*(value(database, "SELECT pg_backend_pid()") for _ in range(5)))
    assert first not in others


async def test_idle_connections_that_end_are_replaced(own_postgres: Postgres, own_database: Database) -> None:
    other = await asyncpg.connect(own_postgres.url("payment"))
    for _ in range(4):  # more often than there are connections
        id = await value(own_database, "SELECT pg_backend_pid()")
        await other.execute("SELECT pg_terminate_backend($1, 5000)", id)
        with suppress(DatabaseOutage):  # when the connection does not know of its end yet
            await own_database.ping()
    await other.close()
    await asyncio.gather(*(own_database.ping() for _ in range(3)))


async def test_a_caller_that_gets_no_connection_does_not_wait_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.connection(), database.connection(), database.connection():
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_SECONDS", 0.05)
        with pytest.raises(DatabaseOutage) as raised:
            await database.ping()
        assert not raised.value.slow  # no statement was sent, so none was too slow
        monkeypatch.undo()
    await database.ping()


async def test_a_server_that_does_not_answer_a_connect_is_an_outage_that_no_request_causes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_SECONDS", 0.05)
    connected = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_database(f"postgresql://u:p@127.0.0.1:{port}/payment", 1) as database:
            with pytest.raises(DatabaseOutage) as raised:
                await database.ping()
    assert connected.is_set()
    assert not raised.value.slow


async def test_a_process_starts_during_an_outage_of_its_database() -> None:
    async with open_database(f"postgresql://u:p@127.0.0.1:{free_port()}/payment", 1) as database:
        with pytest.raises(DatabaseOutage):
            await database.ping()


async def test_after_a_restart_it_serves_again(own_postgres: Postgres, own_database: Database) -> None:
    await asyncio.gather(*(own_database.ping() for _ in range(3)))
    await own_postgres.stop()
    for _ in range(4):
        with pytest.raises(DatabaseOutage):
            await own_database.ping()
    await own_postgres.start()
    await asyncio.gather(*(value(own_database, "SELECT 1") for _ in range(3)))


@asynccontextmanager
async def lost(database: Database, statement: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction whose connection Postgres has ended."""
    async with database.transaction() as transaction:
        id = await transaction.fetchval("SELECT pg_backend_pid()")
        await value(database, statement, id)
        yield transaction


async def test_a_connection_that_postgres_ends_is_an_outage(
    own_database: Database,
) -> None:
    for _ in range(4):  # more often than there are connections
        with pytest.raises(DatabaseOutage):
            async with lost(own_database, "SELECT pg_terminate_backend($1, 5000)") as transaction:
                await transaction.execute("SELECT 1")
    await own_database.ping()


async def test_a_connection_that_is_about_to_end_is_an_outage(database: Database) -> None:
    """While nobody used it, Postgres announced on it that it shuts down, and has not ended it yet."""
    async with database.connection() as connection:
        protocol = connection._con._protocol
    notice = b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
    protocol.data_received(b"E" + (len(notice) + 4).to_bytes(4, "big") + notice)
    with pytest.raises(DatabaseOutage):
        await value(database, "SELECT 1")
    assert await value(database, "SELECT 1") == 1


async def test_a_commit_on_a_lost_connection_is_an_outage(own_database: Database) -> None:
    with pytest.raises(DatabaseOutage):
        async with lost(own_database, "SELECT pg_terminate_backend($1, 5000)"):
            pass


async def test_the_error_that_ended_a_transaction_is_the_one_that_is_raised(own_database: Database) -> None:
    with pytest.raises(KeyError):
        async with lost(own_database, "SELECT pg_terminate_backend($1, 5000)"):
            raise KeyError("ours")


async def freeze(postgres: Postgres, database: Database) -> None:
    async with database.transaction() as transaction:
        postgres.pause()
        await transaction.execute("SELECT 1")


async def test_an_error_while_the_server_is_frozen_is_raised_soon(
    own_postgres: Postgres, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        async with own_database.transaction():
            own_postgres.pause()
            raise KeyError("ours")

    monkeypatch.setattr(module, "RESET_TIMEOUT_SECONDS", 0.1)
    await own_database.ping()
    try:
        started = time.monotonic()
        with pytest.raises(KeyError, match="ours"):
            await fail()
        assert time.monotonic() - started < 3
    finally:
        own_postgres.resume()


async def test_a_caller_cancelled_before_its_transaction_begins_leaves_none_open(
    own_postgres: Postgres, own_database: Database
) -> None:
    """Once the server answers, the pool would complain about a connection that comes back with a transaction."""
    complaints: list[dict[str, Any]] = []
    await own_database.ping()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    waking = loop.call_later(0.4, own_postgres.resume)
    try:
        own_postgres.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), own_database.transaction():
                raise AssertionError("it began while the server was frozen")
    finally:
        waking.cancel()
        own_postgres.resume()
        loop.set_exception_handler(None)
    assert complaints == []
    await own_database.ping()


async def test_a_frozen_server_delays_no_caller_for_long(
    own_postgres: Postgres, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESET_TIMEOUT_SECONDS", 0.1)
    # All connections are open, and none of them answers.
    await asyncio.gather(*(value(own_database, "SELECT pg_sleep(0.05)") for _ in range(3)))
    try:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await freeze(own_postgres, own_database)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await own_database.ping()
        assert time.monotonic() - started < 3
    finally:
        own_postgres.resume()
    await own_database.ping()


@pytest.mark.parametrize(
    ("dsn", "parts"),
    [
        (
            "postgresql://holdfast:p%40ss%2Bw+rd@db:6543/booking",
            {"host": "db", "port": 6543, "user": "holdfast", "password": "p@ss+w+rd", "database": "booking"},
        ),
        ("postgres://u@h/d", {"port": 5432, "user": "u", "password": None, "database": "d"}),
        ("postgresql://u@h/d?sslmode=require", {"ssl": "require"}),
        (
            "postgresql://u@h/d?application_name=one&target_session_attrs=primary",
            {"server_settings": {"application_name": "one"}, "target_session_attrs": "primary"},
        ),
        ("postgresql://u@/d?host=/run/postgresql", {"host": "/run/postgresql"}),
    ],
)
def test_a_url_is_read_as_postgres_reads_it(dsn: str, parts: dict[str, Any]) -> None:
    options = postgres_options(dsn)
    assert options.items() >= parts.items()
    assert "sslmode" not in options


@pytest.mark.parametrize(("mode", "checked"), [("verify-full", True), ("verify-ca", False)])
def test_the_certificate_authority_can_be_given(mode: str, checked: bool) -> None:
    root = ssl.get_default_verify_paths().cafile or ssl.get_default_verify_paths().openssl_cafile
    context = postgres_options(f"postgresql://u@h/d?sslmode={mode}&sslrootcert={root}")["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, context.verify_mode) == (checked, ssl.CERT_REQUIRED)


async def test_an_error_does_not_quote_the_row_that_was_refused(database: Database, things: None) -> None:
    """The row's secrets would reach logs and dead letters."""
    with pytest.raises(asyncpg.NotNullViolationError) as refused:
        await value(database, "INSERT INTO things VALUES (NULL, 'client secret') RETURNING id")
    assert "client secret" not in f"{refused.value} {refused.value.as_dict()}"
