"""The release before, running: started by its own `holdfast up` on its own ports, and measured from outside."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from bench.baseline.release import Release
from bench.stage import SETTINGS, Stage, opened, temporary_folder
from ops.child import Child, Launch
from ops.layout import read_ports
from ops.postgres import DATABASES, Postgres
from ops.secrets import Secrets, read_secrets
from ops.stack import Stack

# The last line that `holdfast up` prints before it serves.
UP = "Up after"
PORTS = ("GATEWAY", "BOOKING", "PAYMENT", "SANDBOX", "POSTGRES", "REDIS", "MAIL")
# The kinds of the servers' processes by their names; actors are recognized by their module.
SERVERS = {"postgres": "postgres", "redis-server": "redis"}


class Up(Child):
    """`holdfast up` of a release in `data_dir`, which starts and stops all processes of the release."""

    ready_seconds = 90.0
    stop_seconds = 90.0

    def __init__(self, release: Release, data_dir: Path, settings: Mapping[str, str]) -> None:
        super().__init__(f"release {release.commit[:7]}", data_dir / "up.log")
        self._release = release
        self._data_dir = data_dir
        self._settings = settings

    def launch(self) -> Launch:
        command = [str(self._release.python), "-m", "ops", "up", "--data", str(self._data_dir), "--quiet"]
        ports = {f"{name}_PORT": "0" for name in PORTS}
        return Launch(command, {**self._settings, **ports, "PYTHONUNBUFFERED": "1"}, self._release.checkout)

    async def problem(self) -> str | None:
        return None if UP in self.log.read_text(errors="replace") else "it is not up yet"


class _Seen(Stack):
    """The stack that another process runs in `data_dir`: its addresses; it starts and stops nothing."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        ports = read_ports(data_dir)
        postgres = Postgres(data_dir / "postgres", ports.postgres)
        urls = {f"{name.upper()}_DATABASE_URL": postgres.url(name) for name in DATABASES}
        super().__init__(data_dir, ports=ports, settings={**settings, **urls})

    @property
    def secrets(self) -> Secrets:
        return read_secrets(self.data_dir)


class ReleaseStage(Stage):
    """What a benchmark needs of a release that its own `holdfast up` runs."""

    up: Up

    def pids(self, *kinds: str) -> dict[str, int]:
        counted: Counter[str] = Counter()
        found: dict[str, int] = {}
        for process in psutil.Process(self.up.pid).children():
            kind = SERVERS.get(process.name()) or process.cmdline()[2]
            counted[kind] += 1
            if not kinds or kind in kinds:
                found[f"{kind}-{counted[kind]}"] = process.pid
        return found


@asynccontextmanager
async def release_running(release: Release, **settings: str) -> AsyncIterator[ReleaseStage]:
    """With SETTINGS and `settings`; stopped and deleted at the end."""
    folder = temporary_folder()
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**base, **SETTINGS, **settings}
    up = Up(release, folder, environment)
    try:
        await up.start()
        async with opened(_Seen(folder, environment), ReleaseStage) as stage:
            stage.up = up
            yield stage
    finally:
        await up.stop(at_once=True)
        postgres = Postgres(folder / "postgres")
        if postgres.data_dir.exists():
            postgres.remove()
        shutil.rmtree(folder, ignore_errors=True)
