"""Which tokens are revoked: known to this gateway before it accepts any, and then as soon as it is notified.

A revocation is never taken back. So what is known here only grows, until the tokens have ended: an outage, a lost
notification or a page that changed while it was read can delay a revocation, and undo none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from common.contracts.errors import Unauthorized, Unavailable
from common.contracts.messages import REVOCATIONS_TOPIC, ListRevocations, Message
from common.contracts.resources import Revocation
from common.messaging.calls import Calls
from common.messaging.registry import Registry
from common.runtime.health import Gate
from gateway.auth import LEEWAY_S, Identity
from gateway.bookings import Json
from gateway.hub import Hub
from gateway.reads import PAGE, PAGE_PAUSE_SECONDS, pages, read_again
from gateway.settings import GatewaySettings


class RevokedTokens:
    """The revocations that this gateway knows."""

    def __init__(self, known: Gate) -> None:
        """`known` is opened when all that there are have been read."""
        self.known = known
        # In Unix seconds: until when a token's id is kept; and, of a subject, until when its tokens must have been
        # issued to be revoked, and until when it is kept.
        self._ids: dict[str, float] = {}
        self._subjects: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._ids) + len(self._subjects)

    def check(self, identity: Identity) -> None:
        """Raises Unauthorized for a token that is revoked, and Unavailable while it is not known which are."""
        if self.known.reason is not None:
            raise Unavailable("Which tokens are revoked is not known yet")
        if self.has(identity):
            raise Unauthorized("The token was revoked")

    def has(self, identity: Identity) -> bool:
        if identity.token_id in self._ids:
            return True
        issued_until, _ = self._subjects.get(identity.subject, (None, None))
        return issued_until is not None and identity.issued_at <= issued_until

    def add(self, revocation: Revocation) -> bool:
        """Refuse these tokens from now on; returns whether any of them was accepted before."""
        ends = revocation.expires_at.timestamp() + LEEWAY_S
        if revocation.jti is not None:
            new = revocation.jti not in self._ids
            self._ids[revocation.jti] = max(ends, self._ids.get(revocation.jti, ends))
        elif revocation.subject is not None:
            # The clock of who issued a token may be ahead of the database's.
            issued_until = revocation.revoked_at.timestamp() + LEEWAY_S
            known = self._subjects.get(revocation.subject, (issued_until, ends))
            new = revocation.subject not in self._subjects or issued_until > known[0]
            self._subjects[revocation.subject] = max(issued_until, known[0]), max(ends, known[1])
        else:  # by another claim, of a later release
            new = False
        return new

    def forget(self, now: float) -> None:
        """Forget the tokens that have ended at `now`, in Unix seconds."""
        self._ids = {id: ends for id, ends in self._ids.items() if ends > now}
        self._subjects = {subject: each for subject, each in self._subjects.items() if each[1] > now}


REVOKED = web.AppKey("revoked", RevokedTokens)


class RevocationReader:
    """Brings the revocations to this process, and closes the sockets of tokens that are revoked."""

    def __init__(
        self,
        revoked: RevokedTokens,
        registry: Registry,
        calls: Calls,
        listening: Gate,
        hub: Hub,
        clock: Callable[[], datetime],
        settings: GatewaySettings,
    ) -> None:
        """`listening` is open while this process receives notifications. `clock` raises Outage while it does not
        know the time."""
        self._revoked = revoked
        self._registry = registry
        self._calls = calls
        self._listening = listening
        self._hub = hub
        self._clock = clock
        self._settings = settings
        self._sooner = asyncio.Event()

    def show_in(self, metrics: CollectorRegistry) -> None:
        gauge = Gauge("holdfast_revocations", "Revocations of tokens that this process knows", registry=metrics)
        gauge.set_function(lambda: len(self._revoked))

    def receive(self, revocations: Iterable[Revocation]) -> None:
        """Refuse these tokens from now on, and close their sockets."""
        new = [self._revoked.add(each) for each in revocations]
        if any(new):
            self._hub.close_revoked(self._revoked.has)

    def on_missed(self, topics: Collection[str] | None) -> None:
        """Read all again: the notifications of these topics, or of all, may have been missed."""
        if topics is None or REVOCATIONS_TOPIC in topics:
            self._sooner.set()

    async def run(self) -> None:
        """Read until cancelled. What is known meanwhile stays in force."""
        if not self._settings.revocations_read_seconds:
            self._revoked.known.open()
            return
        self._registry.add(REVOCATIONS_TOPIC)
        await read_again("revocations", self._read, self._sooner)

    async def _read(self) -> float:
        """Read all; returns after how many seconds to read again."""
        await self._listening.opened.wait()
        self._revoked.forget(self._clock().timestamp())
        count = 0
        async for answer in pages(self._call, lambda position: ListRevocations(before=position, limit=PAGE)):
            self.receive([Revocation.model_validate(each) for each in answer["items"]])
            count += 1
        if not self._sooner.is_set():  # else a notification of one that this read did not find may be missing
            self._revoked.known.open()
        return max(self._settings.revocations_read_seconds, count * PAGE_PAUSE_SECONDS)

    async def _call(self, message: Message) -> Json:
        answer: Json = await self._calls.call(message, "tokens", timeout_s=self._settings.answer_seconds)
        return answer


REVOCATIONS = web.AppKey("revocations", RevocationReader)
