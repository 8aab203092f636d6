"""Who may come in now: nobody's work is taken on that the actors cannot keep up with."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from ipaddress import IPv4Address, IPv6Network, ip_address

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from redis.asyncio import Redis

from common.contracts.errors import TooManyRequests, Unavailable
from common.contracts.messages import BOOKING_COMMANDS, BOOKING_QUERIES, PAYMENT_INTENTS
from common.messaging.streams import lengths
from common.runtime.background import repeat
from common.runtime.health import Gate

WATCHED = (BOOKING_COMMANDS, BOOKING_QUERIES, PAYMENT_INTENTS)
# The longest that Redis is left alone before it is asked again whether it is back.
RESAMPLE_MAX_S = 1.0
# A rush that is turned away comes back spread over so many seconds.
RETRY_AFTER_S = (1, 5)
# Subjects and addresses whose requests are counted; past it the one longest silent is forgotten.
BUCKETS_MAX = 100_000
# A client may save up so many seconds' worth of requests.
BURST_S = 2.0


class Door:
    """Turns requests away while Redis is away or a mailbox is over its limit."""

    def __init__(
        self,
        redis: Redis,
        listening: Gate,
        watching: Gate,
        awaited: Mapping[str, int],
        *,
        limit: int,
        sample_ms: int,
    ) -> None:
        """`listening` is open while answers come in; `watching` while the mailboxes' lengths are known. `awaited`:
        this process' own questions without an answer, by mailbox, which are known before the next sample."""
        self._redis = redis
        self._awaited = awaited
        self.listening = listening
        self._watching = watching
        self._limit = limit
        self._sample_s = sample_ms / 1000
        self._lengths: Mapping[str, int] = {}

    def enter(self, mailboxes: Sequence[str], share: float = 1.0) -> None:
        """Raises Unavailable, with when to come back, for a request that would add to `mailboxes`. `share`: the
        part of the limit up to which this kind of client may fill them."""
        if self.listening.reason is not None or self._watching.reason is not None:
            raise Unavailable("The message bus cannot be reached")
        for mailbox in mailboxes:
            if max(self._lengths.get(mailbox, 0), self._awaited.get(mailbox, 0)) > self._limit * share:
                raise crowded()

    async def watch(self) -> None:
        """Look at the mailboxes again and again, until cancelled."""

        async def step() -> float:
            await self.sample()
            return self._sample_s

        await repeat(step, self._watching, first_s=self._sample_s, most_s=RESAMPLE_MAX_S)

    async def sample(self) -> None:
        self._lengths = await lengths(self._redis, WATCHED)


class Turns:
    """At most `most` requests are worked on at once, in the order in which they came.

    All at once would make all of them late: in a rush each would wait for the others' work, until it is published a
    second time and then given up. Who waits here costs next to nothing.
    """

    def __init__(self, most: int, patience_s: float, registry: CollectorRegistry) -> None:
        self._room = asyncio.Semaphore(most)
        self._patience_s = patience_s
        self._waiting = Gauge(
            "holdfast_waiting_turns", "POST /bookings that wait for their turn", registry=registry
        )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """A turn, which is over at the end or as soon as what it gives is called. Raises Unavailable when none
        comes in time."""
        try:
            with self._waiting.track_inprogress():
                async with asyncio.timeout(self._patience_s):
                    await self._room.acquire()
        except TimeoutError:
            raise crowded() from None
        with ExitStack() as held:
            held.callback(self._room.release)
            yield held.close


class Snapshots:
    """At most `most` questions of sockets are under way at once, of one subject `each`; the others wait in order.

    Thousands of sockets that come back at once ask a few at a time, and no client's sockets keep another's waiting.
    """

    def __init__(self, most: int, each: int, patience_s: float) -> None:
        self._room = asyncio.Semaphore(most)
        self._each = each
        self._patience_s = patience_s
        # Of each subject that asks or waits: its own room, and how many of its sockets use it.
        self._subjects: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, subject: str) -> AsyncIterator[None]:
        """Raises Unavailable, with when to come back, when there is no room in time."""
        own, users = self._subjects.get(subject) or (asyncio.Semaphore(self._each), 0)
        self._subjects[subject] = (own, users + 1)
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(self._patience_s):
                        await held.enter_async_context(own)
                        await held.enter_async_context(self._room)
                except TimeoutError:
                    raise crowded() from None
                yield
        finally:
            own, users = self._subjects.pop(subject)
            if users > 1:
                self._subjects[subject] = (own, users - 1)


def crowded() -> Unavailable:
    """Too much is waiting; those who are turned away come back spread over a few seconds."""
    return Unavailable("Too many requests are waiting already", retry_after=random.randint(*RETRY_AFTER_S))


class Limiter:
    """A token bucket for each subject or address, in this process alone: a bound, not an accounting."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = max(1.0, per_second * BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, times: float = 1.0) -> None:
        """Raises TooManyRequests, with when to come back. `times`: of the rate, for a bucket that many share."""
        if not self._rate:
            return
        now = time.monotonic()
        burst, rate = self._burst * times, self._rate * times
        tokens, at = self._buckets.get(key, (burst, now))
        tokens = min(burst, tokens + (now - at) * rate)
        # A request that is turned away costs nothing: who waits as told is let in.
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise TooManyRequests(retry_after=max(1, round((1 - tokens) / rate)))


def client_address(request: web.Request, trusted_proxies: int) -> str:
    """The client's address: from X-Forwarded-For as far as our own proxies wrote it."""
    if trusted_proxies:
        hops = [
            hop.strip() for header in request.headers.getall("X-Forwarded-For", []) for hop in header.split(",")
        ]
        if hops:
            return _network(hops[-min(trusted_proxies, len(hops))])
    return _network(request.remote or "unknown")


def _without_port(address: str) -> str:
    """Some proxies write `1.2.3.4:5678`, and `[2001:db8::1]:5678` or `[2001:db8::1]`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.partition(":")
    return host if port.isascii() and port.isdigit() else address


def _network(address: str) -> str:
    """What one client has: an IPv4 address, of IPv6 a network of 2**64 (https://www.rfc-editor.org/rfc/rfc6177)."""
    try:
        found = ip_address(_without_port(address))
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found.packed[:8] + bytes(8), 64)))


DOOR = web.AppKey("door", Door)
TURNS = web.AppKey("turns", Turns)
LIMITER = web.AppKey("limiter", Limiter)
SNAPSHOTS = web.AppKey("snapshots", Snapshots)
