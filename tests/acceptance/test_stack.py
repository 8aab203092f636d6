"""The stack as a library, on which other acceptance tests and the benchmark build."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from ops.errors import StartError
from ops.layout import Ports, Scale
from ops.postgres import embedded_postgres
from ops.redis import embedded_redis
from ops.stack import Stack

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, str]]:
    """Settings with the addresses of a PostgreSQL and a Redis that the stack does not start."""
    async with embedded_postgres() as postgres, embedded_redis() as redis:
        yield {
            "REDIS_URL": redis.url,
            "BOOKING_DATABASE_URL": postgres.url("booking"),
            "PAYMENT_DATABASE_URL": postgres.url("payment"),
        }


def settings(**more: str) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | more


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
    stack = Stack(tmp_path, ports=Ports.free(), settings=settings(**servers, AUTH_JWT_SECRET="short"))
    with pytest.raises(StartError, match=r"^gateway-1 ended with 2: .*AUTH_JWT_SECRET"):
        await stack.start()
    assert not any(process.running for process in stack.processes.values())


async def test_two_stacks_cannot_share_a_folder(tmp_path: Path, servers: dict[str, str]) -> None:
    first, second = (Stack(tmp_path, ports=Ports.free(), settings=settings(**servers)) for _ in range(2))
    await first.start()
    try:
        with pytest.raises(StartError, match="already up"):
            await second.start()
        assert all(process.running for process in first.processes.values())
    finally:
        await first.stop()
