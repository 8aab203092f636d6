"""One Redis server and one Postgres server for all tests of this process, each started when it is first used.

Each package of tests has its own databases in them, so that no package disturbs another: in Redis a numbered
database, emptied with FLUSHDB. A test that stops a server starts one of its own.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest
import structlog
import uvloop
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from common.runtime.process import GC_NEW_OBJECTS
from ops.postgres import Postgres
from ops.redis import RedisServer, embedded_redis
from tests.forked import forked_actors
from tests.servers import copied_clusters, make_migrated, make_templates, server_with_tables, without_fsync
from tests.workers import forked_workers

# How long an example takes says what the machine is doing, and nothing of the code.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")

# Which of Redis' sixteen databases each package of tests uses.
REDIS_DATABASES = {"common": 1, "gateway": 2, "booking": 3, "payment": 4, "acceptance": 5}


# The files that wait longest for real processes, longest first; every other process begins with them.
LONGEST = (
    "chaos/test_chaos.py", "pages/test_shop.py", "acceptance/test_catalogue.py", "acceptance/test_up.py",
    "chaos/test_upgrade.py", "races/", "fuzz/test_fuzz.py", "acceptance/", "bench/", "gateway/test_socket.py",
    "common/test_outages.py", "common/test_exchange.py", "payment/test_intents.py", "ops/test_embedded_servers.py",
)  # fmt: skip
# Files whose tests share a stack, by the name of its fixture: one process runs them all, so that it starts once.
STACKS = {
    "battered": (
        "catalogue", "clients_restart", "door", "healing", "killed", "poison", "refunds", "restored", "revoked",
        "stopped_servers",
    ),
    "holdfast": (
        "audit", "bad_input", "clients", "customers", "events", "generated_clients", "guests", "mail", "main_job",
        "outgoing_webhooks", "privacy", "promo_codes", "rush", "tickets", "webhooks", "who_did_it",
    ),
    "shop": ("desk", "door", "front_end", "shop"),
}  # fmt: skip
FOLDERS = {"battered": "acceptance", "holdfast": "acceptance", "shop": "pages"}
STACK_OF = {f"tests/{FOLDERS[stack]}/test_{name}.py": stack for stack, names in STACKS.items() for name in names}


# Tests not of the product, but of what surrounds it: the benchmark, the documents and their site, what a release is
# made of, what others' tools make of the API's documents, the stand-in for Stripe, whether the proofs find mistakes
# that are planted, and a developer's machine that was switched off. `make tools` runs these, `make test` all
# others.
TOOLS = (
    "acceptance/test_generated_clients.py",
    "acceptance/test_up.py::test_the_next_up_after_a_killed_one_finds_its_data_again", "bench/",
    "clients/test_packages.py",
    "clients/test_javascript.py::test_the_declarations_are_those_of_the_module_and_a_typescript_program_uses_them",
    "documents/", "fuzz/test_checker.py", "generators/", "pages/test_scripts.py", "pictures/",
    "release/test_advisories.py", "release/test_check.py", "release/test_workflows.py",
    "sandbox/", "simulation/test_simulation.py::test_a_mistake_is_found", "website/",
)  # fmt: skip
_TOOLS = tuple(f"tests/{each}" for each in TOOLS)


class Schedule(LoadScopeScheduling):  # type: ignore[misc]
    """Gives all tests of a file to one process, so that what they share is made once.

    Every other process takes its files from the end of the queue: while some wait for what they have started, the
    others compute. The short files, between both ends, come last, so that all processes end at nearly
    the same time.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return STACK_OF.get(file, file)

    def _assign_work_unit(self, node: Any) -> None:
        if self.nodes.index(node) % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    return Schedule(config, log)


def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Where several processes run all tests, they are forked. Some tests alone import little."""
    if config.args == config.getini("testpaths"):
        stack = ExitStack()
        stack.enter_context(forked_workers())
        config.add_cleanup(stack.close)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """The event loop of the real processes."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """What is imported here lives as long as the process: Python's garbage collector need not scan it again. As in
    an actor, it searches seldom."""
    gc.disable()
    yield
    gc.enable()
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, *gc.get_threshold()[1:])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark those of `TOOLS`. Put the longest first; within a file keep the order from before pytest grouped tests
    by their fixtures.

    Raises:
        pytest.UsageError: a test uses a shared stack and its file is not in `STACKS`: each process would start one.
    """
    for item in items:
        if item.nodeid.startswith(_TOOLS):
            item.add_marker("tools")
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
    return next((index for index, path in enumerate(LONGEST) if path in item.nodeid), len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def logging() -> None:
    """Plain Python tracebacks: printing the variables of each frame takes longer than many a test."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture(scope="session", autouse=True)
def quick_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Postgres]]:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder of the run, which its processes share
        folder = folder.parent
    with copied_clusters(folder / "clusters") as migrated, without_fsync(), forked_actors():
        yield migrated


@pytest.fixture(scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    async with embedded_redis(persist=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_database(redis_server: RedisServer) -> Callable[[str], str]:
    """Returns the URL of the Redis database that a package of tests uses."""

    def url(package: str) -> str:
        return f"{redis_server.url.removesuffix('/0')}/{REDIS_DATABASES[package]}"

    return url


@pytest.fixture(scope="session")
async def postgres_server(quick_processes: type[Postgres]) -> AsyncIterator[Postgres]:
    async with server_with_tables(quick_processes) as server:
        await make_templates(server)
        yield server


@pytest.fixture(scope="session")
def empty_database(postgres_server: Postgres) -> Callable[[str], Awaitable[str]]:
    """Makes an empty database of that name and returns its URL."""

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
    """Makes a database with the tables of `app` (booking or payment), by default named `app`; returns its URL."""

    async def make(app: str, name: str = "") -> str:
        return await make_migrated(postgres_server, app, name or app)

    return make
