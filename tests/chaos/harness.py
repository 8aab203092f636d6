"""A running Holdfast with wires between all its parts, and the tools that the monkey uses on it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES
from ops.layout import Scale
from ops.stack import Stack
from tests.acceptance.holdfast import SHORT_TIMES, Holdfast, running
from tests.acceptance.poison import letters, put, undecodable
from tests.chaos.judge import Judge
from tests.chaos.notified import DOMAIN, Notified, open_notified
from tests.chaos.plan import wires
from tests.chaos.wire import Wire

# The server to which the address in a setting leads.
WAYS = {
    "REDIS_URL": "redis",
    "BOOKING_DATABASE_URL": "postgres",
    "PAYMENT_DATABASE_URL": "postgres",
    "STRIPE_API_BASE": "stripe",
    "SMTP_URL": "mail",
}
CLIENTS, WEBHOOKS, RECEIVER = "clients to gateway", "stripe to webhooks", "booking to receiver"

# Holds and grace times short enough to end within a run; as many calls to Stripe a second as with a live key.
SETTINGS = SHORT_TIMES | {
    "ANSWER_SECONDS": "5",
    "HOLD_SECONDS": "20",
    "HOLD_EXTENSION_SECONDS": "10",
    "OFFER_SECONDS": "20",
    "GRACE_SECONDS": "15",
    "STRIPE_REQUESTS_PER_SECOND": "100",
    "STRIPE_EVENTS_CATCH_UP_SECONDS": "2",
    "MAIL_FROM": f"Holdfast <tickets@{DOMAIN}>",
    **dict.fromkeys(("WEBHOOKS", "WEBHOOK_HTTP", "WEBHOOK_PRIVATE_ADDRESSES"), "true"),
    # A mail server or receiver that is silent has an end before the fault has.
    "SMTP_TIMEOUT_SECONDS": "3",
    "WEBHOOK_TIMEOUT_SECONDS": "3",
}


class Switchboard:
    """Sets the sandbox's faults. The sandbox takes one set at a time, which has all faults that are on now."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._stripe = holdfast.stripe
        self._on: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()
        self.struck: Counter[str] = Counter()

    @asynccontextmanager
    async def on(self, switches: dict[str, Any]) -> AsyncIterator[None]:
        self._on.append(switches)
        await self._set()
        try:
            yield
        finally:
            self._on.remove(switches)
            await self._set()

    async def count(self, name: str) -> int:
        """How often the fault of that name has struck in the whole run."""
        async with self._lock:
            return self.struck[name] + (await self._stripe.struck()).get(name, 0)

    async def _set(self) -> None:
        async with self._lock:
            # The sandbox counts from 0 after each setting.
            self.struck.update(await self._stripe.struck())
            together: dict[str, Any] = {"webhooks": {}}
            for switches in self._on:
                together["webhooks"] |= switches.get("webhooks", {})
                together |= {name: value for name, value in switches.items() if name != "webhooks"}
            await self._stripe.faults(**together)


class Poison:
    """The poison put in since Redis last lost its data: all of it, and no other entry, must become dead letters."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self.put: dict[str, str] = {}
        self.in_all = 0

    async def poison(self, mailbox: str) -> int:
        """Put in one entry of each kind that cannot be decoded. Returns how many."""
        kinds = undecodable(mailbox)
        async with Redis.from_url(self._url) as redis:
            for fields in kinds.values():
                mark = str(uuid4())
                self.put[mark] = mailbox
                await put(redis, mailbox, {**fields, "poison": mark})
        self.in_all += len(kinds)
        return len(kinds)

    async def dead_letters(self) -> tuple[set[str], list[str]]:
        """The marks of the poison among the dead letters, and the dead letters that are no poison."""
        marks: set[str] = set()
        others: list[str] = []
        async with Redis.from_url(self._url) as redis:
            for mailbox in MAILBOXES:
                for letter in (await letters(redis, mailbox)).values():
                    mark = letter.get(b"poison", b"").decode()
                    marks |= {mark} & self.put.keys()
                    if mark not in self.put:
                        others.append(f"{mailbox}: {letter}")
        return marks, others

    def lost(self) -> None:
        self.put.clear()


@dataclass
class Harness:
    """A running Holdfast. `notified`: who gets its mails and webhooks; `locks`, by name: only one fault at a time
    may harm a process, a wire or a server."""

    holdfast: Holdfast
    scale: Scale
    judge: Judge
    wires: dict[str, Wire]
    stripe: Switchboard
    poison: Poison
    notified: Notified
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))


@asynccontextmanager
async def open_harness(
    folder: Path, scale: Scale, judge: Judge, more: Mapping[str, str], kind: Callable[..., Stack] = Stack
) -> AsyncIterator[Harness]:
    """Start Holdfast under `folder`, with wires between its parts and without faults."""
    between = {name: Wire(name) for name in wires(scale)}

    def detour(name: str, environment: dict[str, str]) -> dict[str, str]:
        if name == "sandbox":
            return environment | {
                "SANDBOX_WEBHOOK_URL": between[WEBHOOKS].lead_to(environment["SANDBOX_WEBHOOK_URL"])
            }
        ways = {variable: between.get(f"{name} to {there}") for variable, there in WAYS.items()}
        return environment | {
            variable: wire.lead_to(environment[variable])
            for variable, wire in ways.items()
            if wire is not None and variable in environment
        }

    async with AsyncExitStack() as stack:
        for wire in between.values():
            await wire.open()
            stack.push_async_callback(wire.close)
        notified = await stack.enter_async_context(open_notified(judge))
        settings = {**SETTINGS, "SMTP_URL": notified.mails.url, **more}
        holdfast = await stack.enter_async_context(
            running(folder, scale=scale, settings=settings, detour=detour, kind=kind)
        )
        holdfast.url = between[CLIENTS].lead_to(holdfast.url)
        notified.receiver.url = between[RECEIVER].lead_to(notified.receiver.url)
        poison = Poison(holdfast.stack.redis_url)
        yield Harness(holdfast, scale, judge, between, Switchboard(holdfast), poison, notified)
