"""The stack as a library, on which other acceptance tests and the benchmark build."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from ops.actor import ActorProcess
from ops.errors import StartError
from ops.layout import HOST, Ports, Scale
from ops.postgres import Postgres, has_passage
from ops.redis import embedded_redis
from ops.stack import Stack
from tests.release.test_compose import SERVICES

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
async def servers(migrated_database: Callable[..., Awaitable[str]]) -> AsyncIterator[dict[str, str]]:
    """Settings with the addresses of a PostgreSQL and a Redis that the stack does not start."""
    async with embedded_redis() as redis:
        yield {
            "REDIS_URL": redis.url,
            "BOOKING_DATABASE_URL": await migrated_database("booking", "stack_booking"),
            "PAYMENT_DATABASE_URL": await migrated_database("payment", "stack_payment"),
        }


def settings(**more: str) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | more


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Every account can pass through it, as through the data folder of an earlier release."""
    with TemporaryDirectory(prefix="holdfast-open-") as made:
        for folder in (Path(made), Path(made, "postgres")):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
        yield Path(made)


def files(folder: Path) -> dict[str, int]:
    """The mode of each file in it."""
    return {path.name: mode(path) for path in folder.iterdir() if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_given_servers_replace_the_embedded_ones(tmp_path: Path, servers: dict[str, str]) -> None:
    stack = Stack(tmp_path, ports=Ports.free(), settings=settings(**servers))
    await stack.start()
    try:
        assert list(stack.processes) == ["sandbox", "gateway-1", "booking-1", "payment-1"]
        assert stack.redis_url == servers["REDIS_URL"]
        assert stack.booking_database_url == servers["BOOKING_DATABASE_URL"]
    finally:
        await stack.stop()


async def test_processes_can_be_killed_and_started_one_by_one(tmp_path: Path, servers: dict[str, str]) -> None:
    stack = Stack(tmp_path, ports=Ports.free(), scale=Scale(gateway=2), settings=settings(**servers))
    await stack.start()
    try:
        for name in ("booking-1", "payment-1", "gateway-2"):
            process = stack.processes[name]
            before = process.pid
            await process.kill()
            assert (process.running, process.exit_code) == (False, -9)
            await process.start()
            assert process.pid != before
            assert await process.problem() is None
        pids = [process.pid for process in stack.processes.values()]
    finally:
        await stack.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_process_that_cannot_start_takes_the_others_down(tmp_path: Path, servers: dict[str, str]) -> None:
    stack = Stack(tmp_path, ports=Ports.free(), settings=settings(**servers, AUTH_JWT_SECRETS="short"))
    with pytest.raises(StartError, match=r"^gateway-1 ended with 2: .*AUTH_JWT_SECRETS"):
        await stack.start()
    assert not any(process.running for process in stack.processes.values())


async def test_what_the_stack_keeps_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Also what an earlier release has left open to others."""
    data = tmp_path / "data"
    (data / "logs").mkdir(parents=True)
    for old in (data / "sandbox.sqlite3", data / "logs" / "booking-1.log"):
        old.touch(mode=0o644)
    stack = Stack(data, ports=Ports.free(), settings=settings(LOG_LEVEL="info"))
    await stack.start()
    try:
        assert mode(data) == 0o700
        found = {path: path.lstat() for path in data.rglob("*") if not path.is_symlink()}
        assert {path.name for path in found} >= {
            "secrets.json",
            "ports.json",
            "redis.conf",
            "gateway-1.log",
            "lock",
        }
        assert [path for path, entry in found.items() if entry.st_mode & 0o077] == []
        async with Redis.from_url(f"redis://{HOST}:{stack.ports.redis}/0") as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
        for child in stack.processes.values():
            shown = " ".join(psutil.Process(child.pid).cmdline())
            assert not [value for value in vars(stack.secrets).values() if value in shown], child.name
    finally:
        await stack.stop()
        postgres = stack.processes["postgres"]
        assert isinstance(postgres, Postgres)
        postgres.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres runs under another account")
async def test_a_cluster_that_root_has_made_in_an_open_folder_stays_reachable(
    servers: dict[str, str], open_folder: Path, quick_processes: type[Postgres]
) -> None:
    """As an earlier release has left it; nobody else can read what is beside it."""
    server = quick_processes(open_folder / "postgres")
    await server.start()
    await server.stop()
    stack = Stack(open_folder, ports=Ports.free(), settings=settings(REDIS_URL=servers["REDIS_URL"]))
    await stack.start()
    try:
        assert has_passage(open_folder / "postgres")
        assert mode(open_folder) == 0o711
        assert set(files(open_folder).values()) == {0o600}
    finally:
        await stack.stop()


async def test_processes_get_their_own_settings_and_no_others(tmp_path: Path, servers: dict[str, str]) -> None:
    """As in compose; what a shell has beside them stays there."""
    given = settings(**servers, AWS_SECRET_ACCESS_KEY="of the shell", STRIPE_TIMEOUT_MS="4000", ADMIN_PORT="1")
    stack = Stack(tmp_path, ports=Ports.free(), scale=Scale(gateway=2), settings=given)
    await stack.start()
    try:
        actors = {name: child for name, child in stack.processes.items() if isinstance(child, ActorProcess)}
        environments = {name: child.launch().environment for name, child in actors.items()}
        of_compose = {name: SERVICES[name.partition("-")[0]]["environment"].keys() for name in actors}
        for name, environment in environments.items():
            settings_of_others = {one for names in of_compose.values() for one in names} - of_compose[name]
            assert not environment.keys() & settings_of_others, name
            assert "AWS_SECRET_ACCESS_KEY" not in environment
        assert environments["payment-1"]["STRIPE_TIMEOUT_MS"] == "4000"
        assert "AUTH_JWT_SECRETS" in environments["gateway-1"]
        ports = [child.admin_port for child in actors.values() if child.admin_port]
        assert len(set(ports)) == len(ports) == 4
        async with ClientSession() as session:
            for child in actors.values():
                if child.admin_port:
                    async with session.get(f"{child.admin_url}/metrics") as answer:
                        assert answer.status == 200
                    async with session.get(f"{child.url}/metrics") as answer:
                        assert answer.status == 404
    finally:
        await stack.stop()


async def test_two_stacks_cannot_share_a_folder(tmp_path: Path, servers: dict[str, str]) -> None:
    first, second = (Stack(tmp_path, ports=Ports.free(), settings=settings(**servers)) for _ in range(2))
    await first.start()
    try:
        with pytest.raises(StartError, match="already up"):
            await second.start()
        assert all(process.running for process in first.processes.values())
    finally:
        await first.stop()
