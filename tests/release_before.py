"""The release before this one, out of the repository's own history."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

from ops.actor import CHECKOUT, ActorProcess
from ops.stack import Stack

SETTINGS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
RELEASE_BEFORE: str = SETTINGS["tool"]["holdfast"]["release-before"]


class NoHistory(Exception):
    """This checkout has no git history, or one that does not reach back to the release before."""


def unpack(folder: Path) -> Path:
    """The files of the release before, under `folder`. Raises NoHistory."""
    command = ["git", "-C", str(CHECKOUT), "archive", RELEASE_BEFORE]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistory(f"{RELEASE_BEFORE} is not in the history of this checkout: {error}") from None
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


class BeforeUpgrade(Stack):
    """A stack whose databases and actors are of the release before, under `checkout`. Its actors run with the
    libraries of this one."""

    def __init__(self, *arguments: Any, checkout: Path, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.checkout = checkout

    async def migrate(self) -> list[str]:
        """As that release does it."""
        environment = {
            "PATH": os.defpath,
            "BOOKING_DATABASE_URL": self.booking_database_url,
            "PAYMENT_DATABASE_URL": self.payment_database_url,
        }
        command = [sys.executable, "-m", "ops", "migrate"]
        done = subprocess.run(  # noqa: ASYNC221  nothing else runs yet
            command, cwd=self.checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    async def upgrade_databases(self) -> list[str]:
        """As an operator does it, before the first process is replaced."""
        return await super().migrate()

    def _actor(self, name: str, *arguments: Any) -> ActorProcess:
        process = super()._actor(name, *arguments)
        if name != "sandbox":
            process.checkout = self.checkout
        return process
