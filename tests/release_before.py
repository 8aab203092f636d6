"""A stack whose databases and actors are of the release before this one, to be upgraded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ops.actor import ActorProcess
from ops.stack import Stack


class BeforeUpgrade(Stack):
    """The databases and actors of this stack are of the release before, whose checkout is `checkout`. Its actors
    run with the libraries of this release."""

    def __init__(self, *arguments: Any, checkout: Path, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.checkout = checkout

    async def migrate(self) -> list[str]:
        """Run the migrations of that release."""
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
        """Run the migrations of this release, as an operator does before the first process is replaced."""
        return await super().migrate()

    def _actor(self, name: str, *arguments: Any) -> ActorProcess:
        process = super()._actor(name, *arguments)
        if name != "sandbox":
            process.checkout = self.checkout
            process.admin_port = None  # that release has none
        return process
