"""What the figures were measured on: enough to compare them, and nothing that says whose machine it is."""

from __future__ import annotations

import os
import platform
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from redis.asyncio import Redis

from ops.postgres import embedded_postgres
from ops.redis import embedded_redis

LIBRARIES = ("aiohttp", "uvloop", "asyncpg", "redis", "hiredis", "pydantic", "stripe", "tortoise-orm")


async def described() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "python_optimised_by_profile": profiled(sysconfig.get_config_var("CONFIG_ARGS")),
        "postgres": await _postgres(),
        "redis": await _redis(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def profiled(configure_arguments: str | None) -> bool | None:
    """Whether the interpreter was built with profile-guided optimisation, which is worth some 5 to 15 % of CPU.
    None if it does not say how it was built."""
    return None if not configure_arguments else "--enable-optimizations" in configure_arguments


async def _postgres() -> str:
    async with embedded_postgres() as server:
        connection = await asyncpg.connect(server.url())
        try:
            return str(await connection.fetchval("SHOW server_version")).split()[0]
        finally:
            await connection.close()


async def _redis() -> str:
    async with embedded_redis(persist=False) as server, Redis.from_url(server.url) as redis:
        return str((await redis.info("server"))["redis_version"])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.processor() or "unknown")
