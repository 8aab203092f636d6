"""deploy/postgres-init.sql, run by psql as compose's Postgres runs it: each actor has its own database alone."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from ops.migrate import migrate
from ops.postgres import DATABASES, Postgres
from tests.servers import server_with_tables

SCRIPT = Path(__file__).parents[2] / "deploy" / "postgres-init.sql"
OTHER = {"booking": "payment", "payment": "booking"}


@pytest.fixture
async def postgres(quick_processes: type[Postgres]) -> AsyncIterator[Postgres]:
    async with server_with_tables(quick_processes) as server:
        yield server


def url(server: Postgres, role: str, database: str, password: str = "") -> str:
    return f"postgresql://{role}:{password or f'password-of-{role}'}@127.0.0.1:{server.port}/{database}"


def run(server: Postgres, **passwords: str) -> None:
    """As the superuser, with the environment that compose gives to Postgres."""
    chosen = {name: f"password-of-{name}" for name in DATABASES} | passwords
    environment = {f"POSTGRES_{name.upper()}_PASSWORD": value for name, value in chosen.items()}
    done = subprocess.run(
        [str(server._bin / "psql"), "--no-psqlrc", "--file", str(SCRIPT), server.url()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def without_databases(server: Postgres) -> None:
    connection = await asyncpg.connect(server.url())
    for name in DATABASES:
        await connection.execute(f'DROP DATABASE "{name}"')
    await connection.close()


async def test_roles_own_their_databases_and_cannot_open_anothers(postgres: Postgres) -> None:
    await without_databases(postgres)
    run(postgres)
    applied = await migrate(url(postgres, "booking", "booking"), url(postgres, "payment", "payment"))
    assert {name.partition(".")[0] for name in applied} == set(DATABASES)
    for role in DATABASES:
        for database in (OTHER[role], "postgres"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
                await asyncpg.connect(url(postgres, role, database))
        connection = await asyncpg.connect(url(postgres, role, role))
        try:
            for forbidden in (
                f"ALTER ROLE {OTHER[role]} PASSWORD 'mine'",
                "CREATE DATABASE mine",
                "CREATE ROLE mine",
                "COPY installation TO PROGRAM 'true'",
                "SELECT pg_read_file('postgresql.conf')",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(forbidden)
        finally:
            await connection.close()


async def test_what_an_earlier_release_has_made_goes_to_the_roles(postgres: Postgres) -> None:
    """There, one superuser owned everything. Run again, the script changes the passwords and nothing else."""
    run(postgres)
    run(postgres, booking="a-new-one")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url(postgres, "booking", "booking"))
    passwords = {"booking": "a-new-one", "payment": ""}
    assert await migrate(*(url(postgres, name, name, passwords[name]) for name in DATABASES)) == []
    for name in DATABASES:
        connection = await asyncpg.connect(url(postgres, name, name, passwords[name]))
        try:
            # As a migration does, and as the process does.
            await connection.execute("ALTER TABLE installation ADD COLUMN later text")
            await connection.execute("UPDATE installation SET id = id")
            others = await connection.fetch(
                "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> to_regrole($1)",
                name,
            )
            assert others == []
        finally:
            await connection.close()
