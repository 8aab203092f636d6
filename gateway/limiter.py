"""The rate limits of this gateway: by address first, by subject once it is known, for new guests, for those
whose bookings come to nothing again and again, and for those who guess promo codes.

Gateways share what they have let through by one stream in Redis: docs/decisions/0056.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis

from common.contracts.errors import BUYER_REFUSED, CodeNotFound, TooManyRequests
from common.messaging.redis import Script
from common.runtime.supervisor import wait_at_most
from common.runtime.web import Handler
from gateway.addresses import NETWORK, client_address, network
from gateway.auth import Identity
from gateway.rates import RateLimit, Refusal
from gateway.settings import GatewaySettings

# What supervisors and load balancers ask is never refused.
FREE = frozenset({"/health/live", "/health/ready"})
# The stream by which gateways share what they have let through.
COUNTS = "gateways:counts"
SHARE_SECONDS = 1.0
# What was shared longer ago is forgotten, in seconds, and a gateway that has shared nothing since counts no more.
KNOWN_SECONDS = 5
# Of wasted bookings a client may have what the rate allows in so many seconds at once: five of one subject.
WASTED_BURST_SECONDS = 25
# Connections that an address opens: as many a second as this part of its requests, since each carries several; at
# once what that allows in so many seconds, and so many at least. An office of 500 has them at once.
CONNECTIONS_PER_REQUEST, CONNECTIONS_SECONDS, CONNECTIONS_LEAST = 0.2, 25, 50.0
# Refusals that a gateway keeps waiting at a time, of some 10 KB each; further ones are sent at once.
PAUSED_MAX = 5000

# Adds an entry; returns its id, and the entries between `last` and it. None older than `lasts_s` is kept, as it has
# clients' addresses.
_SHARE = Script[tuple[bytes, list[tuple[bytes, list[bytes]]]]](
    """
local oldest = string.format('%.0f', (redis.call('TIME')[1] - lasts_s) * 1000)
local own = redis.call('XADD', stream, 'MINID', oldest, '*', 'gateway', gateway, 'counts', counts)
redis.call('EXPIRE', stream, lasts_s)
if last == '' then last = own end
return {own, redis.call('XRANGE', stream, '(' .. last, own)}
""",
    keys="stream",
    args="gateway counts last lasts_s",
)

log = structlog.get_logger()


class Limiter:
    """What one client may send in a second, and how many guests one address may become in a minute."""

    def __init__(
        self, settings: GatewaySettings, metrics: CollectorRegistry, clock: Callable[[], float] = monotonic
    ) -> None:
        guests = settings.guests_per_address_per_minute
        self.addresses = RateLimit(settings.rate_limit_per_address, clock=clock)
        self.subjects = RateLimit(settings.rate_limit_per_subject, clock=clock)
        connections = settings.rate_limit_per_address * CONNECTIONS_PER_REQUEST
        self._connections = RateLimit(
            connections, max(CONNECTIONS_LEAST, connections * CONNECTIONS_SECONDS), clock=clock
        )
        self.guests = RateLimit(guests / 60, guests, clock=clock)
        self._limits = {
            "address": self.addresses,
            "subject": self.subjects,
            "guests": self.guests,
            "wasted_bookings_per_address": _wasted_bookings(settings.wasted_bookings_per_address, clock),
            "wasted_bookings_per_subject": _wasted_bookings(settings.wasted_bookings_per_subject, clock),
            "wrong_codes_per_address": _wrong_codes(settings.wrong_codes_per_address_per_minute, clock),
            "wrong_codes_per_subject": _wrong_codes(settings.wrong_codes_per_subject_per_minute, clock),
        }
        self._trusted_proxies = settings.trusted_proxies
        self._gateway = settings.instance
        self._clock = clock
        self._paused = 0
        self._stopping = asyncio.Event()
        self._last = b""
        self._others: dict[bytes, float] = {}
        # Whether requests were refused by address that a proxy may have passed on for many clients.
        self._proxied = False
        self._refused = Counter(
            "holdfast_rate_limited", "Requests and messages refused by a rate limit", ("limit",), registry=metrics
        )

    async def address(self, request: web.Request) -> None:
        """Take a token of the request's network, which it is given. Raises TooManyRequests."""
        request[NETWORK] = client = network(client_address(request, self._trusted_proxies))
        if (refusal := self.addresses.take(client)) is not None:
            if not self._trusted_proxies and "X-Forwarded-For" in request.headers and not self._proxied:
                self._proxied = True
                log.warning("rate limited by the address of a proxy", detail=await self.complaint())
            await self._refuse("address", refusal)

    def admits(self, peer: str) -> bool:
        """Whether to accept a connection from this address. From a proxy always, also where TRUSTED_PROXIES omits
        it: its connections are those of many clients."""
        if self._trusted_proxies or self._proxied:
            return True
        client = network(peer)
        admitted = not self.addresses.floods(client) and self._connections.take(client) is None
        if not admitted:
            self._refused.labels("connections").inc()
        return admitted

    async def message(self, identity: Identity, client: str) -> None:
        """Take the tokens for one message on a socket of `identity` from network `client`. Raises
        TooManyRequests."""
        if (refusal := self.addresses.take(client)) is not None:
            await self._refuse("address", refusal)
        await self.subject(identity)

    async def subject(self, identity: Identity) -> None:
        """Take a token of the subject; who has a scope of ours needs none. Raises TooManyRequests."""
        if not identity.staff and (refusal := self.subjects.take(identity.subject)) is not None:
            await self._refuse("subject", refusal)

    async def guest(self, client: str) -> None:
        """Take the token for a new guest from network `client`. Raises TooManyRequests."""
        if (refusal := self.guests.take(client)) is not None:
            await self._refuse("guests", refusal)

    @asynccontextmanager
    async def new_booking(self, identity: Identity, client: str) -> AsyncIterator[None]:
        """A new booking of `identity` from network `client` is asked for within the context. Raises TooManyRequests
        if too many before were wasted; this one is if its buyer has what one may have."""
        await self.check_wasted(identity, client)
        try:
            yield
        except BUYER_REFUSED:
            self.wasted_booking(identity, client)
            raise

    async def check_wasted(self, identity: Identity, client: str) -> None:
        """Raises TooManyRequests if too many bookings of `identity` from network `client` have come to nothing."""
        for name, who in self._wasters(identity, client):
            if (refusal := self._limits[name].check(who)) is not None:
                await self._refuse(name, refusal)

    def wasted_booking(self, identity: Identity, client: str) -> None:
        """A booking of `identity` has come to nothing, though actors and perhaps Stripe had work with it."""
        for name, who in self._wasters(identity, client):
            self._limits[name].spend(who)

    def _wasters(self, identity: Identity, client: str) -> Iterator[tuple[str, str]]:
        """Who is counted, by limit. An address is its guests': other customers have subjects that stay."""
        if not identity.staff:
            yield "wasted_bookings_per_subject", identity.subject
        if identity.guest:
            yield "wasted_bookings_per_address", client

    @asynccontextmanager
    async def promo_code(self, identity: Identity | None, client: str, code: str | None) -> AsyncIterator[None]:
        """A promo code of `identity` (None: of anybody) from network `client` is looked up within the context.
        Raises TooManyRequests if too many before did not exist: who guesses needs many tries."""
        if code is None or (identity is not None and identity.staff):
            yield
            return
        guessers = [] if identity is None else [("wrong_codes_per_subject", identity.subject)]
        # An address is that of its guests and of those who need no token: other customers have subjects that stay.
        if identity is None or identity.guest:
            guessers.append(("wrong_codes_per_address", client))
        for name, who in guessers:
            if (refusal := self._limits[name].check(who)) is not None:
                await self._refuse(name, refusal)
        try:
            yield
        except CodeNotFound:
            for name, who in guessers:
                self._limits[name].spend(who)
            raise

    async def _refuse(self, limit: str, refusal: Refusal) -> None:
        self._refused.labels(limit).inc()
        if refusal.pause_s and self._paused < PAUSED_MAX:
            self._paused += 1
            try:
                await wait_at_most(self._stopping, refusal.pause_s)
            finally:
                self._paused -= 1
        raise TooManyRequests(retry_after=refusal.retry_after, limited_by=limit)

    async def complaint(self) -> str | None:
        """What an operator has to act on, for readiness."""
        if not self._proxied:
            return None
        return (
            "requests with X-Forwarded-For were refused by RATE_LIMIT_PER_ADDRESS while TRUSTED_PROXIES is 0: if a "
            "proxy of yours sent them, its clients share one limit; set TRUSTED_PROXIES"
        )

    def stop(self) -> None:
        """Send all refusals that wait."""
        self._stopping.set()

    # --- between gateways ---------------------------------------------------------------------------------

    @property
    def limits(self) -> bool:
        return any(limit.limits for limit in self._limits.values())

    async def share_counts(self, redis: Redis) -> float:
        """Share with the other gateways what was let through here, and count what they have shared. Returns after
        how many seconds to do it again. Raises RedisOutage: this gateway limits alone meanwhile."""
        counts = {name: limit.to_share() for name, limit in self._limits.items()}
        own, entries = await _SHARE(
            redis,
            stream=COUNTS,
            gateway=self._gateway,
            counts=orjson.dumps(counts),
            last=self._last,
            lasts_s=KNOWN_SECONDS,
        )
        self._last, now = own, self._clock()
        for _, (_, gateway, _, shared) in entries:
            if gateway != self._gateway.encode():
                self._others[gateway] = now
                self._count_others(orjson.loads(shared))
        self._others = {gateway: at for gateway, at in self._others.items() if now - at < KNOWN_SECONDS}
        for limit in self._limits.values():
            limit.divide_unshared(1 + len(self._others))
        return SHARE_SECONDS

    def _count_others(self, shared: dict[str, Any]) -> None:
        for name, counts in shared.items():
            if (limit := self._limits.get(name)) is not None:  # else of a later release
                limit.count_others(counts)


def _wasted_bookings(per_second: float, clock: Callable[[], float]) -> RateLimit:
    return RateLimit(per_second, max(1.0, per_second * WASTED_BURST_SECONDS), clock=clock)


def _wrong_codes(per_minute: float, clock: Callable[[], float]) -> RateLimit:
    return RateLimit(per_minute / 60, max(1.0, per_minute), clock=clock)


LIMITER = web.AppKey("limiter", Limiter)


@web.middleware
async def limit_address(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every request counts for its address, whatever it is for; only the checks of health are free."""
    if request.path not in FREE:
        await request.app[LIMITER].address(request)
    return await handler(request)
