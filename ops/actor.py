"""One of Holdfast's own processes as a child: `python -m gateway` and the like."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import psutil

from common.runtime.settings import ProcessSettings
from ops.child import HOST, Child, Launch, can_bind, free_port

CHECKOUT = Path(__file__).resolve().parent.parent


class ActorProcess(Child):
    """`module` on `port`; ready when it listens and `health` answers 200.

    With an `admin_port` it serves its metrics and the detailed readiness there, and is asked there.
    """

    at_once_signal = signal.SIGINT  # the process stops without draining

    def __init__(
        self,
        name: str,
        module: str,
        port: int,
        log: Path,
        environment: Mapping[str, str],
        health: str,
        admin_port: int | None = None,
    ) -> None:
        super().__init__(name, log)
        self.port = port
        self.admin_port = admin_port
        self.environment = environment
        # The folder of its code; another one for a process of another release.
        self.checkout = CHECKOUT
        self._module = module
        self._health = health
        # It drains, then finishes its work; it is killed if that takes 5 seconds longer than the settings allow.
        drain, shutdown = (
            environment.get(name.upper(), ProcessSettings.model_fields[name].default)
            for name in ("drain_seconds", "shutdown_seconds")
        )
        self.stop_seconds = float(drain) + float(shutdown) + 5

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where operators see more of it; where they see the same as everybody, without a port for them."""
        return self.url if self.admin_port is None else f"http://{HOST}:{self.admin_port}"

    @property
    def health_url(self) -> str:
        return self.admin_url + self._health

    async def start(self) -> None:
        if self.admin_port is not None and not can_bind(self.admin_port):
            self.admin_port = free_port()  # nobody has to know it beforehand, so another program may have taken it
        await super().start()

    def launch(self) -> Launch:
        environment = {**self.environment, "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        if self.admin_port is not None:
            environment["ADMIN_PORT"] = str(self.admin_port)
        # `-m` also looks in the working folder, so that an install that is not editable works, too.
        return Launch([sys.executable, "-m", self._module], environment, self.checkout)

    async def problem(self) -> str | None:
        try:
            async with aiohttp.ClientSession() as session, session.get(self.health_url) as answer:
                if answer.status != 200:
                    return f"{answer.status}: {(await answer.text())[:200]}"
        except (OSError, aiohttp.ClientError) as error:
            return str(error)
        # Only an admin port is never shared: elsewhere the answer can be another's, and this one must listen
        # itself. This is checked last, as the system lists all connections of the machine for it.
        return None if self.admin_port is not None or self._listens() else "it does not listen yet"

    def _listens(self) -> bool:
        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in connections)
