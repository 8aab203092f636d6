"""`holdfast migrate` as a deployment runs it: a process of its own, possibly several at once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from ops.postgres import DATABASES, Postgres, embedded_postgres

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[Postgres]:
    async with embedded_postgres() as server:
        yield server


async def migrate(**urls: str) -> tuple[int, list[str], str]:
    """Exit code, the lines of stdout, and stderr."""
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ops", "migrate"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **urls},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await command.communicate()
    assert command.returncode is not None
    return command.returncode, out.decode().splitlines(), err.decode()


def urls(postgres: Postgres) -> dict[str, str]:
    return {f"{name.upper()}_DATABASE_URL": postgres.url(name) for name in DATABASES}


async def test_deployments_that_migrate_at_once_take_turns(postgres: Postgres) -> None:
    runs = await asyncio.gather(*(migrate(**urls(postgres)) for _ in range(3)))
    assert [code for code, _, _ in runs] == [0, 0, 0]
    applied = [line for _, lines, _ in runs for line in lines if line.startswith("applied ")]
    written = [
        f"applied {name}.{file.stem}"
        for name in DATABASES
        for file in (ROOT / name / "migrations").glob("[0-9]*.py")
    ]
    assert sorted(applied) == sorted(written)
    assert await migrate(**urls(postgres)) == (0, ["nothing to apply"], "")


@pytest.mark.parametrize("name", DATABASES)
async def test_one_database_can_be_migrated_alone(postgres: Postgres, name: str) -> None:
    code, _, said = await migrate(**{f"{name.upper()}_DATABASE_URL": postgres.url(name)})
    assert (code, said) == (0, "")
    connection = await asyncpg.connect(postgres.url(name))
    try:
        assert await connection.fetchval("SELECT count(*) FROM tortoise_migrations") > 0
    finally:
        await connection.close()


async def test_database_that_is_away_is_said_in_one_line() -> None:
    code, _, said = await migrate(PAYMENT_DATABASE_URL="postgresql://holdfast:secret@127.0.0.1:1/payment")
    assert code == 1
    assert len(said.splitlines()) == 1
    assert said.startswith("holdfast: database payment cannot be migrated")
    assert "secret" not in said
