"""Makes the tests' Postgres quick, and weakens nothing that the tests show."""

from __future__ import annotations

import asyncio
import fcntl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg

from ops.migrate import migrate
from ops.postgres import DATABASES, OPTIONS, Postgres, embedded_postgres

# The options with which `holdfast up` starts Postgres.
SHIPPED = dict(OPTIONS)

_initialise, _write_password = Postgres._run_initdb, Postgres._write_password


@contextmanager
def without_fsync() -> Iterator[None]:
    """Start clusters without fsync: a killed Postgres loses nothing by that, only a crash of the machine would."""
    with patch.dict(OPTIONS, fsync="off"):
        yield


@contextmanager
def copied_clusters(folder: Path) -> Iterator[type[Postgres]]:
    """A new cluster is a copy of one that `initdb` has made once, a stack's of one that has the tables.

    Without this each cluster takes seconds of CPU. `folder` keeps both originals, for all processes that get it.
    Yields the class whose clusters have the tables.

    A `holdfast up` that a test starts as a real process makes its cluster without this.
    """
    plain, password, migrated = folder / "plain", folder / "password", folder / "migrated"
    folder.mkdir(exist_ok=True)

    class Migrated(Postgres):
        def _run_initdb(self, new: Path, pwfile: Path) -> None:
            with _alone(migrated):
                if not migrated.exists():
                    asyncio.run(_make_migrated(folder / "making", migrated))
            _copy(migrated, new)

    def initialise(self: Postgres, new: Path, pwfile: Path) -> None:
        with _alone(plain):
            if not plain.exists():
                _initialise(self, new, pwfile)
                _copy(new, plain)
                return
        _copy(plain, new)

    def write_password(self: Postgres, path: Path) -> None:
        """Use one password for all clusters: it is stored inside the copied cluster."""
        _write_password(self, path)
        with _alone(password):
            if not password.exists():
                password.write_text(path.read_text())
        for target in (self.data_dir / "password", path):
            target.write_text(password.read_text())

    with (
        patch.object(Postgres, "_run_initdb", initialise),
        patch.object(Postgres, "_write_password", write_password),
        patch("ops.stack.Postgres", Migrated),
    ):
        yield Migrated


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time makes what is to be at `path`."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _make_migrated(place: Path, cluster: Path) -> None:
    server = Postgres(place)
    await server.start()
    try:
        await migrate(server.url("booking"), server.url("payment"))
    finally:
        await server.stop()
    _copy(server._cluster.resolve(), cluster)
    await asyncio.to_thread(server.remove)


def _copy(cluster: Path, new: Path) -> None:
    """Copy with the owner: Postgres refuses a cluster that belongs to another user."""
    subprocess.run(["cp", "-a", f"{cluster}/.", str(new)], check=True)


@asynccontextmanager
async def server_with_tables(migrated: type[Postgres]) -> AsyncIterator[Postgres]:
    """A server whose databases have the tables. `migrated`: what `copied_clusters` yields."""
    async with AsyncExitStack() as stack:
        # What plans the tests see must not depend on when Postgres has looked into the tables.
        with patch("ops.postgres.Postgres", migrated), patch.dict(OPTIONS, autovacuum="off"):
            server = await stack.enter_async_context(embedded_postgres())
        yield server


async def make_templates(server: Postgres) -> None:
    """Make templates from a server that has the tables, so that `make_migrated` need not make the tables again."""
    connection = await asyncpg.connect(server.url())
    try:
        for app in DATABASES:
            await connection.execute(f'CREATE DATABASE "template_{app}" TEMPLATE "{app}"')
    finally:
        await connection.close()


async def make_migrated(server: Postgres, app: str, name: str) -> str:
    """Make a database `name` with the tables of `app` (booking or payment) and return its URL."""
    template = f"template_{app}"
    connection = await asyncpg.connect(server.url())
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", template):
            await connection.execute(f'CREATE DATABASE "{template}"')
            await migrate(**{"booking_url": None, "payment_url": None, f"{app}_url": server.url(template)})
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    return server.url(name)


async def empty(connection: Any, tables: str) -> None:
    """Delete all rows of `tables`, a list in which each table stands after those that it refers to.

    TRUNCATE makes new files for each table and index, which takes a hundred times as long when there are few rows.
    """
    await connection.execute(";".join(f"DELETE FROM {table}" for table in reversed(tables.split(", "))))
