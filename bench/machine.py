"""What the figures were measured on: enough to compare them, nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench.stage import Stage

LIBRARIES = ("aiohttp", "uvloop", "asyncpg", "redis", "hiredis", "pydantic", "stripe", "tortoise-orm")


async def described(stage: Stage) -> dict[str, Any]:
    connection = await asyncpg.connect(stage.stack.booking_database_url)
    try:
        postgres = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    server = await stage.redis.info("server")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgres": str(postgres).split()[0],
        "redis": server["redis_version"],
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.processor() or "unknown")
