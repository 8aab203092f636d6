"""Who is asking: JSON Web Tokens (RFC 7519), checked against keys and algorithms from the settings alone."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import aiohttp
import jwt
import orjson
import structlog
from aiohttp import web

from common.contracts.errors import Unauthorized, Unavailable
from common.contracts.ids import uuid7
from common.runtime.single_flight import SingleFlight
from gateway.schemas import GuestToken
from gateway.settings import GatewaySettings

OPERATOR_SCOPE = "holdfast:operator"
SUBJECT_MAX = 255
GUEST = "guest_"
# Clocks of an identity provider and ours may differ by so much.
LEEWAY_S = 5
# A token that was verified is believed for so long without another look at its signature.
CACHE_SECONDS = 60.0
CACHE_MAX = 10_000
FETCH_TIMEOUT_S = 5.0
# Key sets are a few kilobytes; whatever sends more is not one.
KEY_SET_MAX_BYTES = 262_144

log = structlog.get_logger()

# PyJWT looks with each token whether the shared secret is a public key: more than a quarter of what a token costs.
_HS256 = jwt.get_algorithm_by_name("HS256")
_HS256.prepare_key = cache(_HS256.prepare_key)  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token stands for. `expires_at` is in Unix seconds."""

    subject: str
    operator: bool
    expires_at: float

    @property
    def guest(self) -> bool:
        """Anybody can be as many of these as they like."""
        return self.subject.startswith(GUEST)

    @property
    def owner(self) -> str | None:
        """Whose bookings this one may see: their own, or anybody's (None) for an operator."""
        return None if self.operator else self.subject


IDENTITY = web.RequestKey("identity", Identity)


class KeySet:
    """An identity provider's JSON Web Key Set (RFC 7517). An unknown `kid` has it fetched again, not oftener than
    the settings say; while the provider cannot be reached the known keys go on being used."""

    def __init__(self, session: aiohttp.ClientSession, settings: GatewaySettings) -> None:
        self._session = session
        self._settings = settings
        self._url = str(settings.auth_jwks_url)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        # Fetches the set once for all who wait for it.
        self._refresh = SingleFlight(self._refetch)

    async def find(self, token: str) -> jwt.PyJWK:
        """Raises Unauthorized when no key of the set can have signed `token`, Unavailable without a set, and what
        PyJWT raises for what is no token."""
        kid = jwt.get_unverified_header(token).get("kid")
        if self._get(kid) is None or time.monotonic() - self._fetched_at > self._settings.auth_jwks_cache_seconds:
            await self._refresh()
        key = self._get(kid)
        if key is None:
            if not self._keys:
                raise Unavailable("The keys to check tokens with cannot be fetched")
            raise Unauthorized("The token is signed with an unknown key")
        return key

    def _get(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _refetch(self) -> None:
        if time.monotonic() - self._tried_at < self._settings.auth_jwks_interval_seconds:
            return
        try:
            self._keys = await self._fetch()
            self._fetched_at = time.monotonic()
        except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
            log.error("keys not fetched", url=self._url, error=f"{type(error).__name__}: {error}")
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


class Authenticator:
    """Turns bearer tokens into identities."""

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float], keys: KeySet | None = None) -> None:
        """`clock` says the time, in Unix seconds. Without `keys` tokens are signed with the shared secret."""
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    async def authenticate(self, request: web.Request) -> Identity:
        """Raises Unauthorized when there is no valid token in the Authorization header."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized
        return await self.identify(token.strip())

    async def identify(self, token: str) -> Identity:
        """Raises Unauthorized for a token that is not valid now; Away where the time is not known."""
        now = self._clock()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        try:
            key = shared_secret(self._settings) if self._keys is None else await self._keys.find(token)
            claims = self._claims(token, key)
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized("The token is not valid") from error
        check_times(claims, now)
        identity = _identity(claims)
        self._known[digest] = (identity, min(identity.expires_at, now + CACHE_SECONDS))
        self._known.move_to_end(digest)
        if len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)
        return identity

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=list(self._settings.algorithms),
            audience=self._settings.auth_audience,
            issuer=self._settings.auth_issuer,
            # By PyJWT these would be compared with this process' own clock; see check_times.
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )


AUTHENTICATOR = web.AppKey("authenticator", Authenticator)


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raises Unauthorized unless `now`, Unix seconds, is within the token's time:
    https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4."""
    if _seconds(claims["exp"]) <= now - LEEWAY_S:
        raise Unauthorized("The token has expired")
    for claim in ("nbf", "iat"):
        if claim in claims and _seconds(claims[claim]) > now + LEEWAY_S:
            raise Unauthorized("The token is not valid yet")


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise Unauthorized("The token's times must be numbers of seconds")
    return seconds


def _identity(claims: dict[str, Any]) -> Identity:
    subject = claims["sub"]
    # Printable also means: no NUL, which Postgres cannot store, and no half of a surrogate pair.
    if not (0 < len(subject) <= SUBJECT_MAX and subject.isprintable()):
        raise Unauthorized(f"The token's subject must be 1 to {SUBJECT_MAX} printable characters")
    scope = claims.get("scope")
    # By spaces alone: https://www.rfc-editor.org/rfc/rfc6749#section-3.3.
    scopes = scope.split(" ") if isinstance(scope, str) else ()
    return Identity(subject, OPERATOR_SCOPE in scopes, _seconds(claims["exp"]))


def shared_secret(settings: GatewaySettings) -> str:
    assert settings.auth_jwt_secret is not None
    return settings.auth_jwt_secret.get_secret_value()


def issue_guest(settings: GatewaySettings, now: float) -> GuestToken:
    """A token for a new subject without any scope, signed with the shared secret. `now` is in Unix seconds."""
    issued = int(now)
    expires = issued + settings.auth_token_seconds
    subject = f"{GUEST}{uuid7().hex}"
    claims = {
        "sub": subject,
        "iss": settings.auth_issuer,
        "aud": settings.auth_audience,
        "iat": issued,
        "exp": expires,
    }
    token = jwt.encode(claims, shared_secret(settings), algorithm="HS256")
    return GuestToken(token=token, subject=subject, expires_at=datetime.fromtimestamp(expires, UTC))
