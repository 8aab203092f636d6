"""The keys of an identity provider: a JSON Web Key Set (RFC 7517), fetched, cached and followed as it rotates."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import jwt
import orjson
import structlog

from common.contracts.errors import Unauthorized, Unavailable

FETCH_TIMEOUT_S = 5.0
# Key sets are a few kilobytes; whatever sends more is not one.
KEY_SET_MAX_BYTES = 262_144

log = structlog.get_logger()


class KeySet:
    """Finds the key for a token by its `kid`.

    An unknown `kid` has the set fetched again, not oftener than every `interval_s` seconds. While the provider
    cannot be reached the keys that are known go on being used.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, *, cache_s: float, interval_s: float) -> None:
        self._session = session
        self._url = url
        self._cache_s = cache_s
        self._interval_s = interval_s
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def find(self, token: str) -> jwt.PyJWK:
        """Raises Unauthorized when no key of the set can have signed `token`, Unavailable without a set."""
        kid = self._kid(token)
        if self._get(kid) is None or time.monotonic() - self._fetched_at > self._cache_s:
            await self._refresh()
        key = self._get(kid)
        if key is None:
            if not self._keys:
                raise Unavailable("The keys to check tokens with cannot be fetched")
            raise Unauthorized("The token is signed with an unknown key")
        return key

    @staticmethod
    def _kid(token: str) -> str | None:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized("The token is not valid") from error
        return kid if isinstance(kid, str) else None

    def _get(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        """Fetch the set once for all who wait for it."""
        asked_at = time.monotonic()
        async with self._fetching:
            if self._tried_at >= asked_at or time.monotonic() - self._tried_at < self._interval_s:
                return
            try:
                keys = await self._fetch()
            except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                log.error("keys not fetched", url=self._url, error=f"{type(error).__name__}: {error}")
            else:
                self._keys = keys
                self._fetched_at = time.monotonic()
            finally:
                self._tried_at = time.monotonic()

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        async with self._session.get(self._url, timeout=timeout) as response:
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.content.iter_chunked(16_384):
                body += chunk
                if len(body) > KEY_SET_MAX_BYTES:
                    raise ValueError("too long for a key set")
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise ValueError("not a key set")
        found = jwt.PyJWKSet.from_dict(document)
        return {key.key_id: key for key in found if key.public_key_use in (None, "sig")}
