"""Which client asks: JSON Web Tokens (RFC 7519), checked against keys and algorithms from the settings alone."""

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

from common.contracts.errors import Forbidden, Unauthorized, Unavailable
from common.contracts.ids import is_guest, uuid7
from common.contracts.scopes import Scope, allowed_by
from common.runtime.single_flight import SingleFlight
from gateway.schemas import GuestToken
from gateway.settings import GatewaySettings
from gateway.values import SUBJECT_MAX

# An identity provider's clock may differ from ours by this much: more than servers that synchronise theirs differ.
LEEWAY_S = 5
# A verified token is accepted for this long without checking its signature again: not once with each request.
CACHE_SECONDS = 60.0
CACHE_MAX = 10_000  # tokens, of some hundred bytes each
FETCH_TIMEOUT_S = 5.0  # requests wait meanwhile: as long as for an actor's answer (ANSWER_SECONDS)
# Key sets have a few kilobytes; a longer answer is something else.
KEY_SET_MAX_BYTES = 262_144

log = structlog.get_logger()

# PyJWT checks with each token that the secret is no public key: more than a quarter of the CPU time of a token.
_HS256 = jwt.get_algorithm_by_name("HS256")
_HS256.prepare_key = cache(_HS256.prepare_key)  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class Identity:
    """The subject that a token stands for, and what it may do beyond its own. `expires_at` is in Unix seconds."""

    subject: str
    scopes: frozenset[Scope]
    expires_at: float
    # By which its revocation is known: the token's id, if it has one, and when it was issued, if it says so.
    token_id: str | None = None
    issued_at: float = -math.inf

    @property
    def guest(self) -> bool:
        """Anybody can get any number of such subjects (POST /auth/guest)."""
        return is_guest(self.subject)

    @property
    def staff(self) -> bool:
        """Whether it works for the seller, with any scope of ours: no limit of customers is for it."""
        return bool(self.scopes)

    @property
    def operator(self) -> bool:
        """Whether it may read all that operators see: every scope of ours but that of the door allows that."""
        return Scope.READ in self.scopes

    @property
    def owner(self) -> str | None:
        """The owner whose bookings this subject may see: itself; None for an operator, who may see all."""
        return None if self.operator else self.subject

    def require(self, scope: Scope) -> None:
        """Raises Forbidden, which names `scope`, unless the token allows it."""
        if scope not in self.scopes:
            raise Forbidden(f"The token lacks the scope {scope}", scope=scope.value)


IDENTITY = web.RequestKey("identity", Identity)


class KeySet:
    """An identity provider's JSON Web Key Set (RFC 7517). It is fetched again when it is old or a `kid` is unknown,
    at intervals that the settings bound; while the provider cannot be reached the known keys remain in use."""

    def __init__(self, session: aiohttp.ClientSession, settings: GatewaySettings) -> None:
        self._session = session
        self._settings = settings
        self._url = str(settings.auth_jwks_url)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        # One fetch serves all requests that wait for it.
        self._refresh = SingleFlight(self._refetch)

    async def find(self, token: str) -> jwt.PyJWK:
        """The key that `token` names. Raises Unauthorized when the set does not have it, Unavailable without a set,
        and PyJWT's errors when `token` is none."""
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
    """Reads identities from bearer tokens."""

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Callable[[], float],
        check: Callable[[Identity], None],
        keys: KeySet | None = None,
    ) -> None:
        """`clock` returns the time, in Unix seconds. `check` raises the error that refuses a token that is valid,
        or may be. Without `keys` tokens are signed with a shared secret."""
        self.check = check
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
        """Raises Unauthorized for a token that is not valid now, or revoked; Unavailable while that is not known;
        Outage while the time is not known."""
        identity = await self._verified(token)
        self.check(identity)
        return identity

    async def _verified(self, token: str) -> Identity:
        now = self._clock()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        try:
            if self._keys is None:
                claims = self._signed_by_us(token)
            else:
                claims = self._claims(token, await self._keys.find(token))
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized("The token is not valid") from error
        check_times(claims, now)
        identity = _identity(claims)
        self._known[digest] = (identity, min(identity.expires_at, now + CACHE_SECONDS))
        self._known.move_to_end(digest)
        if len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)
        return identity

    def _signed_by_us(self, token: str) -> dict[str, Any]:
        """The claims, whichever of the shared secrets has signed them: nearly always the first has."""
        *others, last = self._settings.auth_jwt_secrets
        for secret in others:
            try:
                return self._claims(token, secret)
            except jwt.InvalidSignatureError:
                continue
        return self._claims(token, last)

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=list(self._settings.algorithms),
            audience=self._settings.auth_audience,
            issuer=self._settings.auth_issuer,
            # PyJWT would compare the times with this process' own clock: check_times does it with `clock`.
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )


AUTHENTICATOR = web.AppKey("authenticator", Authenticator)


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raises Unauthorized unless the token is valid at `now`, in Unix seconds:
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
    # A printable subject has no NUL, which Postgres cannot store, and no half of a surrogate pair.
    if not (0 < len(subject) <= SUBJECT_MAX and subject.isprintable()):
        raise Unauthorized(f"The token's subject must be 1 to {SUBJECT_MAX} printable characters")
    scope = claims.get("scope")
    # Scopes are separated by spaces alone: https://www.rfc-editor.org/rfc/rfc6749#section-3.3.
    scopes = scope.split(" ") if isinstance(scope, str) else ()
    issued_at = _seconds(claims["iat"]) if "iat" in claims else -math.inf
    return Identity(subject, allowed_by(scopes), _seconds(claims["exp"]), claims.get("jti"), issued_at)


def issue_guest(settings: GatewaySettings, subject: str, now: float) -> GuestToken:
    """A token for this guest, with an id of its own and without any scope, signed with the first of the shared
    secrets. `now` is in Unix seconds."""
    issued = int(now)
    expires = issued + settings.auth_token_seconds
    claims = {
        "sub": subject,
        "iss": settings.auth_issuer,
        "aud": settings.auth_audience,
        "iat": issued,
        "exp": expires,
        "jti": str(uuid7()),
    }
    token = jwt.encode(claims, settings.auth_jwt_secrets[0], algorithm="HS256")
    return GuestToken(token=token, subject=subject, expires_at=datetime.fromtimestamp(expires, UTC))
