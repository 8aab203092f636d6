"""`holdfast migrate` as a deployment runs it: in a process of its own, possibly several at once."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from tortoise.context import TortoiseContext
from tortoise.migrations.autodetector import MigrationAutodetector

from ops import migrate as migrations
from ops.child import free_port
from ops.postgres import DATABASES, ROLE, Postgres, embedded_postgres
from tests.forked import holdfast

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[Postgres]:
    async with embedded_postgres() as server:
        yield server


async def migrate(**urls: str) -> tuple[int, list[str], str]:
    """(exit code, lines of stdout, stderr)."""
    printed = await holdfast("migrate", environment=urls)
    return printed.code, printed.out.splitlines(), printed.error


def urls(postgres: Postgres) -> dict[str, str]:
    return {f"{name.upper()}_DATABASE_URL": postgres.url(name) for name in DATABASES}


@pytest.mark.parametrize("app", DATABASES)
async def test_migrations_have_everything_of_the_models(app: str) -> None:
    """Also each model's first line, which Tortoise keeps as the table's description."""
    config = migrations.tortoise_config(app, "postgresql://127.0.0.1/nowhere")
    async with TortoiseContext() as context:
        await context.init(config=config, init_connections=False)
        assert context.apps is not None
        changes = await MigrationAutodetector(context.apps, config["apps"]).changes()
    assert [each.operations for each in changes] == []


async def test_deployments_that_migrate_at_once_run_one_by_one(postgres: Postgres) -> None:
    runs = await asyncio.gather(*(migrate(**urls(postgres)) for _ in range(3)))
    assert [code for code, _, _ in runs] == [0, 0, 0]
    applied = [line for _, lines, _ in runs for line in lines if line.startswith("applied ")]
    written = [
        f"applied {name}.{file.stem}"
        for name in DATABASES
        for file in (ROOT / name / "migrations").glob("[0-9]*.py")
    ]
    made = [line for line in applied if ".installation " in line]
    assert sorted(line for line in applied if line not in made) == sorted(written)
    assert sorted(line.split()[1] for line in made) == ["booking.installation", "payment.installation"]
    assert len({line.split()[2] for line in made}) == 1, "one id, made once, in both"
    assert await migrate(**urls(postgres)) == (0, ["nothing to apply"], "")


@pytest.mark.parametrize("name", DATABASES)
async def test_one_database_can_be_migrated_alone(postgres: Postgres, name: str) -> None:
    code, _, printed = await migrate(**{f"{name.upper()}_DATABASE_URL": postgres.url(name)})
    assert (code, printed) == (0, "")
    connection = await asyncpg.connect(postgres.url(name))
    try:
        assert await connection.fetchval("SELECT count(*) FROM tortoise_migrations") > 0
    finally:
        await connection.close()


@pytest.mark.parametrize("app", DATABASES)
async def test_the_database_has_all_checks_that_its_models_declare(postgres: Postgres, app: str) -> None:
    assert (await migrate(**urls(postgres)))[0] == 0
    config = migrations.tortoise_config(app, "postgresql://127.0.0.1/nowhere")
    async with TortoiseContext() as context:
        await context.init(config=config, init_connections=False)
        assert context.apps is not None
        declared = {
            (model._meta.db_table, check.name)
            for model in context.apps[app].values()
            for check in model._meta.constraints
        }
    connection = await asyncpg.connect(postgres.url(app))
    try:
        rows = await connection.fetch(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c'"
        )
    finally:
        await connection.close()
    assert declared
    assert declared - set(map(tuple, rows)) == set()


SETTINGS = """\
[databases]
{databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = transaction
"""
POOLER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@asynccontextmanager
async def pooled(postgres: Postgres) -> AsyncIterator[dict[str, str]]:
    """The databases behind PgBouncer, which may run each transaction in another connection."""
    assert POOLER is not None
    port = free_port()
    direct = {name: urlsplit(postgres.url(name)) for name in DATABASES}
    with tempfile.TemporaryDirectory(prefix="holdfast-pooler-") as made:
        folder = Path(made)
        os.chmod(folder, 0o755)  # started by root, PgBouncer runs as nobody
        (folder / "users").write_text(f'"{ROLE}" "{direct["booking"].password}"\n')
        (folder / "pgbouncer.ini").write_text(
            SETTINGS.format(
                databases="\n".join(
                    f"{name} = host={url.hostname} port={url.port} dbname={name}" for name, url in direct.items()
                ),
                port=port,
                users=folder / "users",
            )
        )
        account = ["-u", "nobody"] if os.geteuid() == 0 else []
        pooler = await asyncio.create_subprocess_exec(
            POOLER, *account, str(folder / "pgbouncer.ini"), stderr=asyncio.subprocess.PIPE
        )
        try:
            assert pooler.stderr is not None
            async with asyncio.timeout(10):
                while b"process up" not in (line := await pooler.stderr.readline()):
                    assert line, "the pooler ended"
            yield {
                f"{name.upper()}_DATABASE_URL": f"postgresql://{ROLE}:{url.password}@127.0.0.1:{port}/{name}"
                for name, url in direct.items()
            }
        finally:
            pooler.terminate()
            await pooler.wait()


@pytest.mark.skipif(POOLER is None, reason="PgBouncer is not installed: apt-get install pgbouncer")
async def test_deployments_that_migrate_at_once_through_a_pooler_run_one_by_one() -> None:
    async with embedded_postgres() as postgres, pooled(postgres) as urls:
        runs = await asyncio.gather(*(migrate(**urls) for _ in range(3)))
        assert [(code, printed) for code, _, printed in runs] == [(0, "")] * 3
        applied = [line for _, lines, _ in runs for line in lines if line.startswith("applied ")]
        assert len(applied) == len(set(applied)) > len(DATABASES)
        assert await migrate(**urls) == (0, ["nothing to apply"], "")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@127.0.0.1/payment",
        "postgresql://u:secret@127.0.0.1:none/payment",
        "postgresql://u:secret@127.0.0.1/payment?sslcert=/nowhere",
    ],
)
async def test_a_database_url_of_a_wrong_form_is_reported_in_one_line(url: str) -> None:
    code, _, printed = await migrate(PAYMENT_DATABASE_URL=url)
    assert code == 2
    assert len(printed.splitlines()) == 1
    assert printed.startswith("holdfast: PAYMENT_DATABASE_URL ")
    assert "secret" not in printed


async def test_database_that_does_not_answer_is_reported_in_one_line() -> None:
    code, _, printed = await migrate(PAYMENT_DATABASE_URL="postgresql://holdfast:secret@127.0.0.1:1/payment")
    assert code == 1
    assert len(printed.splitlines()) == 1
    assert printed.startswith("holdfast: database payment cannot be migrated")
    assert "secret" not in printed
