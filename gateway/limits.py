"""Limits: load shedding by the mailboxes' lengths, slots for requests under way, and rate limits of clients."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Network, ip_address
from weakref import WeakValueDictionary

from aiohttp import web

from common.contracts.errors import HoldfastError, TooManyRequests, Unavailable
from common.contracts.messages import BOOKING_COMMANDS, BOOKING_QUERIES, PAYMENT_INTENTS
from common.messaging.publisher import Publisher
from common.runtime.background import repeat
from common.runtime.health import Gate
from gateway.auth import Identity
from gateway.settings import GatewaySettings

WATCHED = (BOOKING_COMMANDS, BOOKING_QUERIES, PAYMENT_INTENTS)
# The longest pause before an unreachable Redis is tried again: requests are refused meanwhile.
RESAMPLE_MAX_SECONDS = 1.0
# Retry-After of a refused request is drawn from this range, in seconds, so that clients do not all return at once.
RETRY_AFTER_SECONDS = (1, 5)
# Subjects and addresses whose requests are counted; beyond it the one longest without a request is forgotten.
BUCKETS_MAX = 100_000  # of a few hundred bytes each
# A client may send at once what its rate allows in this many seconds, as a page does when it opens.
BURST_SECONDS = 2.0
# All guests of one address together have the rate of this many: a household, an office, a café.
GUESTS_PER_ADDRESS = 20


def overloaded() -> HoldfastError:
    """The error for a request that finds too many others waiting."""
    return Unavailable("Too many requests are waiting already", retry_after=random.randint(*RETRY_AFTER_SECONDS))


class LoadShedder:
    """Refuses requests while Redis is unavailable or a mailbox is over its limit."""

    def __init__(
        self, bus: Publisher, listening: Gate, sampling: Gate, awaited: Mapping[str, int], settings: GatewaySettings
    ) -> None:
        """`listening` is open while this process receives replies, `sampling` while the mailboxes' lengths are
        known. `awaited`: this process' own calls without a reply, by mailbox; no sample is needed for them."""
        self.listening = listening
        self._bus = bus
        self._sampling = sampling
        self._awaited = awaited
        self._limit = settings.mailbox_limit
        self._sample_seconds = settings.mailbox_sample_ms / 1000
        self._lengths: Mapping[str, int] = {}

    def check(self, mailboxes: Sequence[str], share: float = 1.0) -> None:
        """Raises Unavailable, with Retry-After, unless a request may add to `mailboxes` now. `share`: the part of
        the limit up to which this kind of client may fill them."""
        if self.listening.reason is not None or self._sampling.reason is not None:
            raise Unavailable("The message bus cannot be reached")
        for mailbox in mailboxes:
            if max(self._lengths.get(mailbox, 0), self._awaited.get(mailbox, 0)) > self._limit * share:
                raise overloaded()

    async def run(self) -> None:
        """Sample the mailboxes' lengths until cancelled."""
        await repeat(self.sample, self._sampling, first_s=self._sample_seconds, most_s=RESAMPLE_MAX_SECONDS)

    async def sample(self) -> float:
        lengths = await self._bus.enqueue([("XLEN", mailbox) for mailbox in WATCHED])
        self._lengths = dict(zip(WATCHED, lengths, strict=True))
        return self._sample_seconds


class RequestSlots:
    """At most `most` requests are under way at once; the others wait for a slot in the order in which they came.

    Without slots all of them would be late: in a rush each would wait for the work of the others, be published a
    second time, and then time out. A request that waits here costs almost nothing.
    """

    def __init__(self, most: int, max_wait_seconds: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._max_wait_seconds = max_wait_seconds
        self.waiting = 0  # requests without a slot

    async def __aenter__(self) -> None:
        """Raises Unavailable, with Retry-After, when no slot is free within `max_wait_seconds`."""
        if not self._free.locked():
            await self._free.acquire()
            return
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise overloaded() from None
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


class SubjectSlots:
    """RequestSlots of which one subject has at most `each`.

    When thousands of sockets come back at once, only some read their snapshots at a time, and the sockets of one
    client do not keep those of another waiting.
    """

    def __init__(self, most: int, each: int, max_wait_seconds: float) -> None:
        self._all = RequestSlots(most, max_wait_seconds)
        self._each = each
        self._max_wait_seconds = max_wait_seconds
        # The slots of each subject that has a request under way or waiting.
        self._subjects: WeakValueDictionary[str, RequestSlots] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, subject: str) -> AsyncIterator[None]:
        """Raises Unavailable, with Retry-After, when no slot is free within `max_wait_seconds`."""
        own = self._subjects.setdefault(subject, RequestSlots(self._each, self._max_wait_seconds))
        async with own, self._all:
            yield


class RateLimiter:
    """A token bucket for each subject or address, in this process alone: each gateway of a fleet has its own."""

    def __init__(self, per_second: float) -> None:
        self.limits = per_second > 0
        self._rate = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def charge(self, identity: Identity, address: str) -> None:
        """Count one request of `identity`. Raises TooManyRequests. Guests of one address also share a bucket, as a
        client could otherwise get a new rate with each new guest token."""
        self.take(identity.subject)
        if identity.guest:
            self.take(f"guests {address}", GUESTS_PER_ADDRESS)

    def take(self, key: str, times: float = 1.0) -> None:
        """Raises TooManyRequests, with Retry-After. `times`: the multiple of the rate that a shared bucket has."""
        if not self.limits:
            return
        now = time.monotonic()
        burst, rate = self._burst * times, self._rate * times
        tokens, at = self._buckets.get(key, (burst, now))
        tokens = min(burst, tokens + (now - at) * rate)
        # A refused request uses no token: a client that waits for Retry-After is let in.
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise TooManyRequests(retry_after=max(1, round((1 - tokens) / rate)))


def client_address(request: web.Request, trusted_proxies: int) -> str:
    """The client's address: X-Forwarded-For is believed as far as our own `trusted_proxies` proxies wrote it."""
    if trusted_proxies and "X-Forwarded-For" in request.headers:
        hops = ",".join(request.headers.getall("X-Forwarded-For")).split(",")
        return _network(hops[-min(trusted_proxies, len(hops))].strip())
    return _network(request.remote or "unknown")


def _without_port(address: str) -> str:
    """Some proxies write `1.2.3.4:5678`, and `[2001:db8::1]:5678` or `[2001:db8::1]`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.partition(":")
    return host if port.isascii() and port.isdigit() else address


def _network(address: str) -> str:
    """What one client has: an IPv4 address, or an IPv6 /64 network (https://www.rfc-editor.org/rfc/rfc6177)."""
    try:
        found = ip_address(_without_port(address))
    except ValueError:
        return address
    v4 = found if isinstance(found, IPv4Address) else found.ipv4_mapped
    return str(v4 or IPv6Network((found.packed[:8] + bytes(8), 64)))


BOOKING_SLOTS = web.AppKey("booking_slots", RequestSlots)
SNAPSHOT_SLOTS = web.AppKey("snapshot_slots", SubjectSlots)
LOAD_SHEDDER = web.AppKey("load_shedder", LoadShedder)
RATE_LIMITER = web.AppKey("rate_limiter", RateLimiter)
