"""The embedded PostgreSQL and Redis: real servers that can be stopped, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from ops.child import free_port
from ops.errors import StartError
from ops.postgres import OPTIONS, Postgres, embedded_postgres
from ops.redis import RedisServer, embedded_redis, find_program
from tests.servers import SHIPPED


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[Postgres]:
    """With the options of `holdfast up`, not with those of other tests."""
    with patch.dict(OPTIONS, SHIPPED):
        async with embedded_postgres() as server:
            yield server


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with embedded_redis(tmp_path / "with space") as server:
        yield server


async def read(server: Postgres, sql: str) -> object:
    connection = await asyncpg.connect(server.url("booking"))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_both_databases_are_there(postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.url("payment"))
    try:
        names = await connection.fetch("SELECT datname FROM pg_database")
    finally:
        await connection.close()
    assert {"booking", "payment"} <= {row["datname"] for row in names}


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
async def test_durability_is_not_given_up(postgres: Postgres, setting: str) -> None:
    assert await read(postgres, f"SHOW {setting}") == "on"


async def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://holdfast:wrong@127.0.0.1:{postgres.port}/booking")


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_postgres_keeps_its_data(postgres: Postgres, end: str) -> None:
    await read(postgres, f"CREATE TABLE kept_{end} AS SELECT 42 AS answer")
    await getattr(postgres, end)()
    assert not postgres.running
    await postgres.start()
    assert await read(postgres, f"SELECT answer FROM kept_{end}") == 42


async def test_a_stale_pid_file_with_a_living_id_is_no_obstacle(postgres: Postgres) -> None:
    """The id of a killed server can belong to any other program when the server starts again."""
    await postgres.kill()
    pid_file = postgres.data_dir.joinpath("cluster", "postmaster.pid")
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    await postgres.start()
    assert await read(postgres, "SELECT 1") == 1


async def test_a_paused_postgres_does_not_answer_until_it_is_resumed(postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.url("booking"))
    try:
        postgres.pause()
        answer = asyncio.ensure_future(connection.fetchval("SELECT 1"))
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done
        postgres.resume()
        assert await answer == 1
    finally:
        postgres.resume()
        await connection.close()


async def test_an_unreachable_folder_is_no_obstacle(tmp_path: Path) -> None:
    """Started by root, the server runs under another account, which cannot enter a folder that is only root's."""
    closed = tmp_path / "only mine"
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "data")
    try:
        await server.start()
        await read(server, "CREATE TABLE kept AS SELECT 1 AS one")
        await server.stop()
        again = Postgres(closed / "data", server.port)
        await again.start()
        try:
            assert await read(again, "SELECT one FROM kept") == 1
        finally:
            await again.stop()
    finally:
        await server.stop()
        server.remove()


@pytest.mark.parametrize("kind", [Postgres, RedisServer])
async def test_a_busy_port_is_reported_in_one_line(kind: type[Postgres | RedisServer], tmp_path: Path) -> None:
    port = free_port()
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    server = kind(tmp_path / "data", port)
    try:
        with pytest.raises(StartError, match=rf"^port {port} for \w+ is in use: .*_PORT[^\n]*$"):
            await server.start()
    finally:
        listener.close()
        await listener.wait_closed()
        if isinstance(server, Postgres):
            server.remove()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_redis_keeps_what_the_append_only_file_has(redis: RedisServer, end: str) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.set("kept", end)
        # The file is synced once a second; a killed process loses nothing that the kernel has accepted.
        await getattr(redis, end)()
    await redis.start()
    async with Redis.from_url(redis.url, decode_responses=True) as client:
        assert await client.get("kept") == end


async def test_its_address_is_one_for_redis_cli_too(redis: RedisServer) -> None:
    program = find_program().with_name("redis-cli")
    asked = await asyncio.create_subprocess_exec(
        str(program), "--no-auth-warning", "-u", redis.url, "PING", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asked.communicate()
    assert output == b"PONG\n"


async def test_redis_never_evicts(redis: RedisServer) -> None:
    async with Redis.from_url(redis.url, decode_responses=True) as client:
        config = await client.config_get()
    assert (config["maxmemory-policy"], config["appendfsync"]) == ("noeviction", "everysec")


async def test_redis_without_persistence_forgets(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path, persist=False) as server:
        async with Redis.from_url(server.url) as client:
            await client.set("kept", "no")
        await server.stop()
        await server.start()
        async with Redis.from_url(server.url) as client:
            assert await client.get("kept") is None


if sys.platform == "linux":  # elsewhere no call notifies a child of its parent's end

    def test_killed_parents_leave_no_server_behind(tmp_path: Path) -> None:
        script = (
            "import asyncio, sys\nfrom pathlib import Path\nfrom ops.redis import embedded_redis\n"
            "async def main():\n"
            "    async with embedded_redis(Path(sys.argv[1])) as server:\n"
            "        print(server.pid, flush=True)\n"
            "        await asyncio.Event().wait()\n"
            "asyncio.run(main())\n"
        )
        parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
        server.wait(10)
