"""Where requests come from: the client's address, its network, and the keyed hash that bookings are counted by."""

from __future__ import annotations

import hmac
import secrets
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

from aiohttp import web
from redis.asyncio import Redis

from common.messaging.redis import Script

# Addresses whose networks are remembered, as reading one takes longer than the whole rate limit: as many as clients
# come within seconds in a rush.
NETWORKS_MAX = 16_384
# Characters of what is no address, which a proxy passed on: the longest address has 45.
ADDRESS_MAX = 64
# The fleet's key is forgotten after 30 days, and with it what the hashes made with it stand for.
KEY_SECONDS = 30 * 86_400
# How often a gateway reads the key: for this long after a new one is made, two gateways may hash differently.
READ_SECONDS = 60.0
# 128 bits, in hexadecimal digits: enough that no two networks share a hash.
HASH_LENGTH = 32

_KEY = Script[bytes](
    """
local found = redis.call('GET', key)
if found then return found end
redis.call('SET', key, proposed, 'EX', lasts_s)
return proposed
""",
    keys="key",
    args="proposed lasts_s",
)
ADDRESS_KEY = "addresses:key"


def client_address(request: web.Request, trusted_proxies: int) -> str:
    """The client's address: X-Forwarded-For is believed as far as our own `trusted_proxies` proxies wrote it."""
    if trusted_proxies and "X-Forwarded-For" in request.headers:
        hops = ",".join(request.headers.getall("X-Forwarded-For")).split(",")
        return _without_port(hops[-min(trusted_proxies, len(hops))].strip())
    return request.remote or "unknown"


def _without_port(address: str) -> str:
    """Some proxies write `1.2.3.4:5678`, and `[2001:db8::1]:5678` or `[2001:db8::1]`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.partition(":")
    return host if port.isascii() and port.isdigit() else address


@lru_cache(NETWORKS_MAX)
def network(address: str) -> str:
    """What one client has: an IPv4 address, or an IPv6 /64 network (https://www.rfc-editor.org/rfc/rfc6177)."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:ADDRESS_MAX]
    v4 = found if isinstance(found, IPv4Address) else found.ipv4_mapped
    return str(v4 or IPv6Network((found.packed[:8] + bytes(8), 64)))


class AddressHashes:
    """Hashes of networks under a key that all gateways share, which is made at random and kept in Redis alone:
    without it nobody learns the networks from the hashes, not even by trying all that there are."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key: bytes | None = None

    async def read(self) -> float:
        """Read the key, or make it. Returns after how many seconds to read it again. Raises RedisOutage."""
        self._key = await _KEY(self._redis, key=ADDRESS_KEY, proposed=secrets.token_bytes(32), lasts_s=KEY_SECONDS)
        return READ_SECONDS

    def hashed(self, network: str) -> str | None:
        """None as long as the key could not be read."""
        if self._key is None:
            return None
        return hmac.digest(self._key, network.encode("utf-8", "surrogatepass"), "sha256").hex()[:HASH_LENGTH]


ADDRESS_HASHES = web.AppKey("address_hashes", AddressHashes)
# The network that a request comes from, as `network` tells it.
NETWORK = web.RequestKey("network", str)
