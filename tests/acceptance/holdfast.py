"""A whole running Holdfast as tests use it: its clients, what is done at Stripe, and what an operator sees."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from common.contracts.resources import Event
from common.contracts.scopes import OPERATOR
from gateway.settings import CLIENT_LIMITS
from ops.actor import ActorProcess
from ops.layout import Ports, Scale
from ops.postgres import Postgres
from ops.stack import Detour, Stack
from ops.tokens import make_token
from tests.acceptance.client import MAX_WAIT_SECONDS, Client, Json, send
from tests.acceptance.polling import eventually
from tests.acceptance.stripe_side import StripeSide

# How many requests all clients of one test may have under way at once.
CONNECTIONS = 100
STARTS_AT = "2090-05-01T19:30:00Z"
# Settings that save time: short pauses before retries, and no limit: all clients have one address.
SETTINGS = {
    "LOG_LEVEL": "warning",
    "BLOCK_MS": "200",
    "STRIPE_REQUESTS_PER_SECOND": "1000",
    "STRIPE_EVENTS_CATCH_UP_SECONDS": "1",
    "SANDBOX_WEBHOOK_RETRY_SECONDS": "0.2",
    "SANDBOX_SETTLE_SECONDS": "0.2",
    **dict.fromkeys(CLIENT_LIMITS, "0"),
    # Counted, and never reached: one client of a test buys what thousands would.
    "SEATS_PER_OWNER": "1000000",
    "HOLDS_PER_OWNER": "1000000",
    "HOLDS_PER_ADDRESS": "1000000",
    "SEATS_PER_ADDRESS": "1000000",
    "HOLD_PAUSE_SECONDS": "0",
}
# Entries of a killed process are claimed soon. The settings refuse less: a handler needs these 6 s for payment's
# calls to Stripe, and the idle time of a claim must be longer than two handlers.
SHORT_TIMES = {"HANDLER_TIMEOUT_MS": "6000", "CLAIM_IDLE_MS": "12100", "ANSWER_SECONDS": "1"}
# One failure of an entry alone makes it a dead letter, so that no test waits for it to be claimed again.
STRICT = {"ATTEMPTS_MAX": "1"}
# Banks decide when a test makes them, and not before: a day is longer than any test.
SLOW_BANKS = {"SANDBOX_SETTLE_SECONDS": "86400"}

_numbers = count(1)


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=2 * MAX_WAIT_SECONDS))


class Holdfast:
    """A running stack as clients reach it. Use it as an async context manager."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        # The address at which clients reach the gateway.
        self.url = stack.gateway_url

    async def __aenter__(self) -> Holdfast:
        self.session, self._control = _session(), _session()
        self.anybody = Client(self.session, self.url, None)
        self.stripe = StripeSide(self.stack, self.session, self._control)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self._control.close()

    async def guest(self) -> Client:
        """A new guest, with a token from the gateway itself."""
        token = (await self.anybody.request("POST", "/auth/guest")).ok(201)["token"]
        return Client(self.session, self.url, token)

    def client(
        self, subject: str | None = None, *, operator: bool = False, scopes: Collection[str] = (), **more: Any
    ) -> Client:
        """A client with a token of an identity provider; with a new subject unless `subject` is given. `operator`:
        with a scope that gateways of the release before know, too."""
        secret = self.stack.jwt_secret
        assert secret is not None
        subject = subject or f"client-{next(_numbers)}"
        allowed = [OPERATOR] if operator else scopes
        token = make_token(secret, self.stack.settings, subject, scopes=allowed, **more)
        return Client(self.session, self.url, token)

    async def event(self, *ticket_types: tuple[int, int], **more: Any) -> Json:
        """A new event, made by an operator, with a ticket type for each (price, capacity)."""
        names = [{"name": f"Row {number}"} for number in range(1, len(ticket_types) + 1)]
        body = {
            "name": f"Evening {next(_numbers)}",
            "starts_at": STARTS_AT,
            "currency": "eur",
            "ticket_types": [
                {**name, "unit_amount": amount, "capacity": capacity}
                for name, (amount, capacity) in zip(names, ticket_types, strict=True)
            ],
            **more,
        }
        return (await self.client(operator=True).request("POST", "/admin/events", json=body)).ok(201)

    async def event_now(self, event: Json) -> Json:
        """The event as clients see it, and as it is now: the gateway's catalogue may be a moment older."""
        answer = await self.client(operator=True).request("GET", f"/admin/events/{event['id']}")
        return Event.model_validate(answer.ok()).model_dump(mode="json")

    async def readiness(self) -> dict[str, int]:
        """The status of each process' own /health/ready; 0 when it does not answer."""
        actors = [child for child in self.stack.processes.values() if isinstance(child, ActorProcess)]
        actors = [child for child in actors if child.name != "sandbox"]
        found = await asyncio.gather(*(self._ready(child.health_url) for child in actors))
        return {child.name: status for child, status in zip(actors, found, strict=True)}

    async def _ready(self, url: str) -> int:
        try:
            return (await send(self.session, "GET", url)).status
        except (aiohttp.ClientError, OSError):
            return 0

    async def ready(self) -> None:
        """Wait until every process is ready."""
        await eventually(self.readiness, lambda found: set(found.values()) == {200})


@asynccontextmanager
async def running(
    folder: Path,
    *,
    scale: Scale | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
    detour: Detour | None = None,
    kind: Callable[..., Stack] = Stack,
) -> AsyncIterator[Holdfast]:
    """A new stack under `folder`. At the end it is stopped and its database is deleted."""
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {**base, **SETTINGS, **settings}
    stack = kind(folder, ports=Ports.free(), scale=scale, settings=settings, detour=detour)
    try:
        await stack.start()
        async with Holdfast(stack) as holdfast:
            yield holdfast
    finally:
        await stack.stop()
        postgres = stack.processes.get("postgres")
        if isinstance(postgres, Postgres):
            await asyncio.to_thread(postgres.remove)
    ended = {name: child.exit_code for name, child in stack.processes.items() if isinstance(child, ActorProcess)}
    assert set(ended.values()) == {0}, f"some had to be killed: {ended}"


def complaints(stack: Stack) -> list[str]:
    """What the processes logged as an error, and what they printed that is no log line, such as a traceback."""
    logs = stack.logs.glob("*-*.log")  # booking-1 and the like, not the servers
    return [line for path in logs for line in path.read_text().splitlines() if _is_loud(line)]


def _is_loud(line: str) -> bool:
    try:
        return json.loads(line)["level"] in ("error", "critical")
    except (ValueError, KeyError, TypeError):
        return True
