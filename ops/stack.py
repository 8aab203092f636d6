"""The local stack: embedded servers, the sandbox, and processes of each actor, started and stopped in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import IO

from ops.actor import ActorProcess
from ops.child import HOST, Child, ensure_free, free_port
from ops.environment import environment_of
from ops.errors import StartError
from ops.layout import Ports, Scale, keep_ports, redis_url
from ops.migrate import migrate
from ops.postgres import PASSAGE, Postgres, has_passage
from ops.private import FOLDER, make_private, open_private, private_folder
from ops.redis import RedisServer
from ops.secrets import Secrets, ensure_secrets
from ops.tokens import signing_secret
from payment.stripe_objects import NEEDED_TYPES

LOG_BYTES_MAX = 10_000_000  # a longer log is put aside as .log.1 at the next start
# Changes the environment of the process with this name: tests put proxies between processes that way.
Detour = Callable[[str, dict[str, str]], dict[str, str]]
STRIPE_NEEDS = ("STRIPE_WEBHOOK_SECRETS", "STRIPE_PUBLISHABLE_KEY")


def resolved(ports: Ports) -> Ports:
    """The ports with every 0 replaced by a free port; all of them differ."""
    chosen = dict(vars(ports))
    for name in chosen:
        while chosen[name] == 0:
            if (port := free_port()) not in chosen.values():
                chosen[name] = port
    return Ports(**chosen)


class Stack:
    """Everything that `holdfast up` runs, under `data_dir`.

    `settings` is the environment: REDIS_URL, BOOKING_DATABASE_URL, PAYMENT_DATABASE_URL and STRIPE_SECRET_KEY in
    it replace what would be embedded, and each other setting is passed to the processes that read it. `processes`
    has every child by name (`postgres`, `redis`, `sandbox`, `booking-1`, `payment-1`, `gateway-1`, `booking-2`, …).
    `detour` may change the environments of the actors and the sandbox.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ports: Ports | None = None,
        scale: Scale | None = None,
        settings: Mapping[str, str] | None = None,
        detour: Detour | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.scale = scale or Scale()
        self.ports = resolved(ports or Ports())
        given = os.environ if settings is None else settings
        self.settings = {name: value for name, value in given.items() if value}
        self._detour = detour or _straight
        self.processes: dict[str, Child] = {}
        self.migrated: list[str] = []
        self._secrets: Secrets | None = None
        self._lock: IO[str] | None = None

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.ports.gateway}"

    @property
    def webhook_url(self) -> str:
        return f"http://{HOST}:{self.ports.payment}/payment/webhook"

    @property
    def sandbox_url(self) -> str | None:
        """None if the real Stripe is used."""
        return None if "STRIPE_SECRET_KEY" in self.settings else f"http://{HOST}:{self.ports.sandbox}"

    @property
    def mail_url(self) -> str | None:
        """Where mails can be read; None if a real mail server gets them."""
        return f"{self.sandbox_url}/_sandbox/mail" if self._catches("mail") else None

    @property
    def redis_url(self) -> str:
        """Raises StartError before the first start, which makes the password of the embedded one."""
        return self.settings.get("REDIS_URL") or redis_url(self.ports.redis, self.secrets.redis_password)

    @property
    def booking_database_url(self) -> str:
        return self._database_url("booking")

    @property
    def payment_database_url(self) -> str:
        return self._database_url("payment")

    @property
    def secrets(self) -> Secrets:
        """The secrets that sign tokens and webhooks. Raises StartError before the first start."""
        if self._secrets is None:
            raise StartError("the stack was never started")
        return self._secrets

    @property
    def jwt_secret(self) -> str | None:
        """What signs tokens; None if an identity provider does (AUTH_JWKS_URL)."""
        if "AUTH_JWKS_URL" in self.settings:
            return None
        return signing_secret(self.settings) or self.secrets.auth_jwt_secret

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    async def start(self) -> None:
        """Start everything and wait until it serves. Raises StartError; then nothing is left running."""
        self._take_lock()
        try:
            self._check_settings()
            self._secrets = ensure_secrets(self.data_dir)
            self._rotate_logs()
            self.processes = {child.name: child for child in [*self._servers(), *self._sandbox()]}
            self._check_ports()
            keep_ports(self.data_dir, self.ports)
            # The sandbox needs no other process, so it starts beside the servers.
            await _together(self._start_actors(), *(child.start() for child in self._of_kinds("sandbox")))
        except BaseException:
            await self.stop()
            raise

    async def _start_actors(self) -> None:
        """Start the servers, migrate the databases, then start the actors."""
        await _together(*(child.start() for child in self._of_kinds("postgres", "redis")))
        self.migrated = await self.migrate()
        await self.resize(self.scale)

    async def migrate(self) -> list[str]:
        """Bring both databases up to date; returns what was applied. Raises StartError."""
        return await migrate(self.booking_database_url, self.payment_database_url)

    async def resize(self, scale: Scale) -> None:
        """Start and stop actors until `scale` of them run; the others keep running."""
        self.scale = scale
        wanted = {child.name: child for child in self._actors()}
        known = [*self._of_kinds("gateway"), *self._of_kinds("payment", "booking")]
        await asyncio.gather(*(child.stop() for child in known if child.name not in wanted))
        self.processes |= {name: child for name, child in wanted.items() if name not in self.processes}
        await _together(*(child.start() for name in wanted if not (child := self.processes[name]).running))

    async def stop(self) -> None:
        """Stop everything in reverse order: first what clients call, last what holds the data."""
        for kinds in (("gateway",), ("payment", "booking"), ("sandbox",), ("redis", "postgres")):
            await asyncio.gather(*(child.stop(at_once=True) for child in self._of_kinds(*kinds)))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def kill(self) -> None:
        """End everything at once."""
        await asyncio.gather(*(child.kill() for child in self.processes.values()))

    def _of_kinds(self, *kinds: str) -> list[Child]:
        return [child for name, child in self.processes.items() if name.partition("-")[0] in kinds]

    def _database_url(self, name: str) -> str:
        if given := self.settings.get(f"{name.upper()}_DATABASE_URL"):
            return given
        postgres = self.processes.get("postgres")
        if not isinstance(postgres, Postgres):
            raise StartError("the stack was never started")
        return postgres.url(name)

    def _take_lock(self) -> None:
        try:
            private_folder(self.data_dir, PASSAGE if has_passage(self.data_dir / "postgres") else FOLDER)
            make_private(self.data_dir)
            lock = open(self.data_dir / "lock", "a+", opener=open_private)  # noqa: SIM115  held until the stop
        except OSError as error:
            raise StartError(f"{self.data_dir} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip()
            lock.close()
            raise StartError(f"holdfast is already up in {self.data_dir} (process {pid})") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _check_settings(self) -> None:
        if self.sandbox_url is None:
            missing = [name for name in STRIPE_NEEDS if name not in self.settings]
            if missing:
                raise StartError(f"STRIPE_SECRET_KEY is set, so {' and '.join(missing)} must be set, too")

    def _check_ports(self) -> None:
        for name, port in vars(self.ports).items():
            if name in self.processes or name in ("gateway", "booking", "payment") or self._catches(name):
                ensure_free(port, name, f"{name.upper()}_PORT")

    def _catches(self, name: str) -> bool:
        """Whether `name` is mail, which the sandbox takes: unless it goes to another mail server."""
        return name == "mail" and self.sandbox_url is not None and "SMTP_URL" not in self.settings

    def _rotate_logs(self) -> None:
        private_folder(self.logs)
        make_private(self.logs)
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > LOG_BYTES_MAX:
                log.replace(log.with_suffix(".log.1"))

    def _servers(self) -> Iterable[Child]:
        if not {"BOOKING_DATABASE_URL", "PAYMENT_DATABASE_URL"} <= self.settings.keys():
            yield Postgres(self.data_dir / "postgres", self.ports.postgres, self.logs / "postgres.log")
        if "REDIS_URL" not in self.settings:
            password = self.secrets.redis_password
            yield RedisServer(self.data_dir / "redis", self.ports.redis, self.logs / "redis.log", password=password)

    def _sandbox(self) -> Iterable[Child]:
        if self.sandbox_url is None:
            return
        made = {
            "HOST": HOST,
            "LOG_LEVEL": self.settings.get("LOG_LEVEL", "info").upper(),
            "SANDBOX_LEDGER": str(self.data_dir / "sandbox.sqlite3"),
            "SANDBOX_WEBHOOK_URL": self.webhook_url,
            "SANDBOX_WEBHOOK_EVENTS": ",".join(NEEDED_TYPES),
            "SANDBOX_WEBHOOK_SECRET": self.secrets.webhook_secret,
            "SANDBOX_SECRET_KEY": self.secrets.stripe_secret_key,
            "SANDBOX_PUBLISHABLE_KEY": self.secrets.stripe_publishable_key,
            "SANDBOX_CONTROL_KEY": self.secrets.sandbox_control_key,
        }
        if self._catches("mail"):
            made["SANDBOX_SMTP_PORT"] = str(self.ports.mail)
        yield self._actor("sandbox", "sandbox", self.ports.sandbox, made, "/_sandbox/health")

    def _actors(self) -> Iterable[Child]:
        made = self._made_for_actors()
        for module, count in vars(self.scale).items():
            for number in range(1, count + 1):
                # Clients and Stripe know only one port of the gateway and of payment, so their processes share it.
                shared = module != "booking"
                port = getattr(self.ports, module) if module != "booking" or number == 1 else free_port()
                own = {**made, "REUSE_PORT": str(shared).lower()}
                yield self._actor(f"{module}-{number}", module, port, own, "/health/ready", free_port())

    def _made_for_actors(self) -> dict[str, str]:
        """The settings that follow from what else the stack runs; each process gets those that it reads."""
        made = {
            "HOST": self.settings.get("HOST", HOST),
            "REDIS_URL": self.redis_url,
            "BOOKING_DATABASE_URL": self.booking_database_url,
            "PAYMENT_DATABASE_URL": self.payment_database_url,
        }
        if "TICKET_SIGNING_KEYS" not in self.settings:
            made["TICKET_SIGNING_KEYS"] = self.secrets.ticket_signing_key
        if "AUTH_JWKS_URL" not in self.settings and signing_secret(self.settings) is None:
            made["AUTH_JWT_SECRETS"] = self.secrets.auth_jwt_secret
        if self.sandbox_url is not None:
            made |= {
                "STRIPE_API_BASE": self.sandbox_url,
                "STRIPE_SECRET_KEY": self.secrets.stripe_secret_key,
                "STRIPE_PUBLISHABLE_KEY": self.secrets.stripe_publishable_key,
                "STRIPE_JS_URL": f"{self.sandbox_url}/stripe.js",
                "STRIPE_WEBHOOK_SECRETS": self.secrets.webhook_secret,
            }
        if self._catches("mail"):
            made["SMTP_URL"] = f"smtp://{HOST}:{self.ports.mail}?starttls=no"
            made["MAIL_FROM"] = self.settings.get("MAIL_FROM", "Holdfast <tickets@holdfast.example>")
            made["MAIL_OPERATORS"] = self.settings.get("MAIL_OPERATORS", "operators@holdfast.example")
        return made

    def _actor(
        self,
        name: str,
        module: str,
        port: int,
        made: Mapping[str, str],
        health: str,
        admin_port: int | None = None,
    ) -> ActorProcess:
        environment = self._detour(name, environment_of(module, {**self.settings, **made}))
        return ActorProcess(name, module, port, self.logs / f"{name}.log", environment, health, admin_port)


def _straight(_: str, environment: dict[str, str]) -> dict[str, str]:
    return environment


async def _together(*starts: Coroutine[None, None, None]) -> None:
    """Run `starts` at the same time; if one fails, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
    except* StartError as failures:
        raise StartError(str(failures.exceptions[0])) from None
