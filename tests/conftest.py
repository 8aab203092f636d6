"""One Redis and one Postgres for all tests that run in this process, started when first used.

Each package of tests has databases of its own in them, so that none disturbs another: in Redis by number, emptied
with FLUSHDB. Tests that stop a server start one of their own.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
import structlog
import uvloop
from xdist.scheduler import LoadScopeScheduling

from ops.postgres import Postgres, embedded_postgres
from ops.redis import RedisServer, embedded_redis
from tests.forked import forked_actors
from tests.servers import copied_clusters, make_migrated, make_templates, without_fsync

# Which package of tests has which of Redis' sixteen databases.
REDIS_DATABASES = {"common": 1, "gateway": 2, "booking": 3, "payment": 4, "integration": 5}


# Files that take longest, longest first: begun last, one of them would run on alone on one of the cores.
LONGEST = (
    "chaos/test_chaos.py", "acceptance/test_up.py", "races/test_races.py", "fuzz/test_fuzz.py",
    "acceptance/", "simulation/test_simulation.py", "races/", "common/test_mailbox_model.py", "bench/",
)  # fmt: skip
# Files whose tests share a stack, by its fixture: they run in one process, so that it is started once.
STACKS = {
    "battered": ("healing", "killed", "poison", "refunds", "restored", "servers_away"),
    "holdfast": ("audit", "bad_input", "events", "main_job", "privacy", "rush", "webhooks"),
}
STACK_OF = {f"tests/acceptance/test_{name}.py": stack for stack, names in STACKS.items() for name in names}
# Each of its tests is long and needs nothing of the others.
SPREAD = "tests/simulation/test_simulation.py"


class Schedule(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process all tests of a file, so that what the file's tests share is made once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file == SPREAD else STACK_OF.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    return Schedule(config, log)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """What the processes run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """What is read here lives as long as the process: Python's garbage collector need not look at it again."""
    gc.disable()
    read_tests(session.config)
    yield
    gc.enable()
    gc.freeze()


def read_tests(config: pytest.Config) -> None:
    """Where processes share all tests, each begins to import them at another place: to rewrite their asserts takes
    as long as all else at the start, and what one process has written the others load."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count == 1 or config.args != config.getini("testpaths"):
        return
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    first = len(files) * int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) // count
    for file in files[first:] + files[:first]:
        with suppress(Exception):  # which the collection tells of
            import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Begin with the longest; the order within a file stays as it was before pytest grouped tests by what they use.

    Raises:
        pytest.UsageError: a test uses a shared stack and its file is not in `STACKS`: each process would start one.
    """
    for item in items:
        file = item.nodeid.partition("::")[0]
        used = STACKS.keys() & set(getattr(item, "fixturenames", ()))
        if used - {STACK_OF.get(file)}:
            raise pytest.UsageError(
                f"{file} uses the stack {', '.join(used)}: name it in STACKS in tests/conftest.py"
            )
    written = {item: number for number, item in enumerate(items)}
    yield
    items.sort(key=lambda item: (_place(item), written[item]))


def _place(item: pytest.Item) -> int:
    return next((place for place, path in enumerate(LONGEST) if path in item.nodeid), len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def logging() -> None:
    """Tracebacks as Python writes them: drawing the frames' variables takes longer than many a test."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture(scope="session", autouse=True)
def quick_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Postgres]]:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the run's folder, which its processes share
        folder = folder.parent
    with copied_clusters(folder / "clusters") as migrated, without_fsync(), forked_actors():
        yield migrated


@pytest.fixture(scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    async with embedded_redis(persist=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_database(redis_server: RedisServer) -> Callable[[str], str]:
    """The URL of the Redis database of a package of tests."""

    def url(package: str) -> str:
        return f"{redis_server.url.removesuffix('/0')}/{REDIS_DATABASES[package]}"

    return url


@pytest.fixture(scope="session")
async def postgres_server(quick_processes: type[Postgres]) -> AsyncIterator[Postgres]:
    async with AsyncExitStack() as stack:
        with patch("ops.postgres.Postgres", quick_processes):
            server = await stack.enter_async_context(embedded_postgres())
        await make_templates(server)
        yield server


@pytest.fixture(scope="session")
def empty_database(postgres_server: Postgres) -> Callable[[str], Awaitable[str]]:
    """Makes a database of that name with nothing in it; says its URL."""

    async def make(name: str) -> str:
        connection = await asyncpg.connect(postgres_server.url())
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return postgres_server.url(name)

    return make


@pytest.fixture(scope="session")
def migrated_database(postgres_server: Postgres) -> Callable[..., Awaitable[str]]:
    """Makes a database with the tables of `app` (booking or payment), under that or another name; says its URL."""

    async def make(app: str, name: str = "") -> str:
        return await make_migrated(postgres_server, app, name or app)

    return make
