"""Tokens: the gateway accepts only those that the settings trust."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from common.contracts.errors import Unauthorized
from common.contracts.messages import ListBookings
from common.runtime.health import HEALTH
from common.runtime.settings import load
from gateway.auth import Authenticator
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Gateway
from tests.gateway.stage import SECRET, Client, RedisServer, ScriptedBooking, bearer, serving, token

EMPTY: dict[str, Any] = {"items": [], "next": None}


async def status(gateway: Client, headers: dict[str, str]) -> int:
    response = await gateway.get("/bookings", headers=headers)
    if response.status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await response.json())["code"] == "unauthorized"
    return response.status


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def encoded(part: Any) -> str:
    return base64url(json.dumps(part).encode())


def by_hand(claims: Any) -> str:
    """A correctly signed token with claims that a library would refuse to write."""
    signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims)}"
    return f"{signed}.{base64url(hmac.digest(SECRET.encode(), signed.encode(), 'sha256'))}"


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", algorithm="none")


# When the tests are collected, up to a quarter of an hour before they run: "in the future" means a day ahead.
NOW = int(time.time())
DAY = 86_400
CLAIMS = {"sub": "alice", "iss": "holdfast", "aud": "holdfast", "exp": NOW + 2 * DAY}

REFUSED = {
    "no token": {},
    "another scheme": {"Authorization": "Basic YWxpY2U6"},
    "empty": {"Authorization": "Bearer "},
    "nonsense": {"Authorization": "Bearer a.b.c"},
    "alg none": {"Authorization": f"Bearer {unsigned(CLAIMS)}"},
    "wrong key": bearer(secret="another-secret-of-at-least-32-bytes-in-all"),
    "another algorithm": {"Authorization": f"Bearer {jwt.encode(CLAIMS, SECRET * 2, 'HS512')}"},
    "expired": bearer(exp=NOW - 60),
    "no expiry": bearer(exp=None),
    "expiry that is no number": bearer(exp="soon"),
    "expiry beyond all numbers": bearer(exp=float("inf")),
    "expiry of 400 digits": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'exp': 10**400})}"},
    "begins in 400 digits": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'nbf': 10**400})}"},
    "issued in 400 digits": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'iat': 10**400})}"},
    "issued before all time": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'iat': float('-inf')})}"},
    "expiry that is a list": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'exp': [NOW + 60]})}"},
    "issued in the future": bearer(iat=NOW + DAY),
    "not yet valid": bearer(nbf=NOW + DAY),
    "wrong audience": bearer(aud="elsewhere"),
    "no audience": bearer(aud=None),
    "wrong issuer": bearer(iss="elsewhere"),
    "no issuer": bearer(iss=None),
    "no subject": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'sub': None})}"},
    "empty subject": bearer(""),
    "long subject": bearer("x" * 256),
    "subject with NUL": bearer("a\0b"),
    "subject with a line break": bearer("a\nb"),
    "half a surrogate pair": bearer("\ud800"),
    "subject that is no text": {"Authorization": f"Bearer {by_hand({**CLAIMS, 'sub': 5})}"},
    "claims that are no object": {"Authorization": f"Bearer {by_hand(['alice'])}"},
}


@pytest.fixture(scope="module")
async def open_gateway(redis_server: RedisServer) -> AsyncIterator[Client]:
    async with serving(redis_server.url) as client:
        yield client


@pytest.mark.parametrize("case", REFUSED)
async def test_a_token_that_is_not_valid_is_refused(open_gateway: Client, case: str) -> None:
    assert await status(open_gateway, REFUSED[case]) == 401


async def test_a_changed_token_is_refused(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, EMPTY)
    good = token("alice")
    header, _, signature = good.split(".")
    body = encoded({**CLAIMS, "sub": "bob"})
    assert await status(gateway, {"Authorization": f"Bearer {good}"}) == 200
    assert await status(gateway, {"Authorization": f"Bearer {header}.{body}.{signature}"}) == 401
    assert [query.owner for query in actor.messages(ListBookings)] == ["alice"]


@pytest.mark.parametrize("ahead_s", [1200.0, -1200.0])
async def test_tokens_are_checked_and_issued_by_the_time_of_redis(
    redis_server: RedisServer, ahead_s: float
) -> None:
    """Not by the process' own clock, which is wrong here."""
    now = time.time()
    async with serving(redis_server.url, ahead_s=ahead_s) as client:
        cases: tuple[tuple[dict[str, Any], bool], ...] = (
            ({"exp": now + 60}, False),
            ({"exp": now - 60}, True),
            ({"nbf": now - 60, "iat": now - 60}, False),
            ({"nbf": now + 60}, True),
            ({"iat": now + 60}, True),
        )
        for claims, refused in cases:
            answer = await client.get("/bookings/nothing", headers=bearer(**claims))
            assert (answer.status == 401) == refused, claims
        issued = await (await client.post("/auth/guest")).json()
        claims = jwt.decode(issued["token"], options={"verify_signature": False})
        assert abs(claims["iat"] - now) < 30
        socket = await client.ws_connect("/ws", headers=bearer(exp=now + 1.5))
        message = await asyncio.wait_for(socket.receive(), 20)
        assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 4401)
        assert time.time() >= now + 1.5
        _, notices = await client.app[HEALTH].examine()
        assert "1200.0 s" in notices["clock"]


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were checked."""
    tokens: list[str] = []
    decode = jwt.decode

    def noting(token: str, *args: Any, **kwargs: Any) -> Any:
        tokens.append(token)
        return decode(token, *args, **kwargs)

    monkeypatch.setattr("gateway.auth.jwt.decode", noting)
    return tokens


async def test_a_verified_token_is_cached_until_it_expires(verified: list[str]) -> None:
    at = now = time.time()
    authenticator = Authenticator(load(GatewaySettings, auth_jwt_secrets=SECRET), lambda: at, lambda _: None)
    expiring = token(exp=now + 30)
    for at, checks in ((now, 1), (now + 29, 1), (now + 31, 2), (now + 31, 3)):  # noqa: B007  the clock's
        assert (await authenticator.identify(expiring)).subject == "alice"
        assert len(verified) == checks


async def test_each_secret_is_accepted_and_the_first_signs(start: Gateway, actor: ScriptedBooking) -> None:
    """A rotation: the new secret is added behind the old one, then goes before it, then stays alone."""
    actor.on(ListBookings, EMPTY)
    new, old = "a-new-secret-of-at-least-32-bytes-in-all", SECRET
    stages = [await start(auth_jwt_secrets=each) for each in ((old,), (old, new), (new, old), (new,))]
    guests = [(await (await gateway.post("/auth/guest")).json())["token"] for gateway in stages]
    signed = [old, old, new, new]
    for guest, secret in zip(guests, signed, strict=True):
        jwt.decode(guest, secret, algorithms=["HS256"], audience="holdfast")
    accepted = [
        [await status(gateway, {"Authorization": f"Bearer {guest}"}) == 200 for gateway in stages]
        for guest in guests
    ]
    by_old, by_new = [True, True, True, False], [False, True, True, True]
    assert accepted == [by_old, by_old, by_new, by_new]
    assert await status(stages[1], bearer(secret="a-third-secret-of-at-least-32-bytes-in-all")) == 401


async def test_a_token_of_the_first_secret_is_checked_once(verified: list[str]) -> None:
    others = ("a-second-secret-of-at-least-32-bytes-in-all", "a-third-secret-of-at-least-32-bytes-in-all")
    authenticator = Authenticator(
        load(GatewaySettings, auth_jwt_secrets=(SECRET, *others)), time.time, lambda _: None
    )
    for secret, checks in ((SECRET, 1), (others[0], 2), (others[1], 3)):
        signed = token(secret=secret)
        for _ in range(2):  # the second time it is known
            assert (await authenticator.identify(signed)).subject == "alice"
        assert verified == [signed] * checks
        verified.clear()


async def test_a_claim_that_is_wrong_is_refused_whichever_secret_has_signed(verified: list[str]) -> None:
    second = "a-second-secret-of-at-least-32-bytes-in-all"
    authenticator = Authenticator(
        load(GatewaySettings, auth_jwt_secrets=(SECRET, second)), time.time, lambda _: None
    )
    for secret in (SECRET, second):
        with pytest.raises(Unauthorized):
            await authenticator.identify(token(secret=secret, aud="elsewhere"))
    assert len(verified) == 3  # the signature of the first was right: no other secret was tried


async def test_the_token_cache_is_bounded(monkeypatch: pytest.MonkeyPatch, verified: list[str]) -> None:
    monkeypatch.setattr("gateway.auth.CACHE_MAX", 2)
    authenticator = Authenticator(load(GatewaySettings, auth_jwt_secrets=SECRET), time.time, lambda _: None)
    for subject in ("a", "b", "c", "c", "b", "a"):
        await authenticator.identify(token(subject))
    assert len(verified) == 4


# --- guests -----------------------------------------------------------------------------------------------


async def test_a_guest_gets_a_token_that_works_and_is_no_operator(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, EMPTY)
    response = await gateway.post("/auth/guest")
    guest = await response.json()
    assert (response.status, set(guest)) == (201, {"token", "subject", "expires_at"})
    headers = {"Authorization": f"Bearer {guest['token']}"}
    assert await status(gateway, headers) == 200
    assert [query.owner for query in actor.messages(ListBookings)] == [guest["subject"]]
    assert (await gateway.get("/admin/bookings", headers=headers)).status == 403
    other = await (await gateway.post("/auth/guest")).json()
    assert other["subject"] != guest["subject"]
    ids = [jwt.decode(each["token"], options={"verify_signature": False})["jti"] for each in (guest, other)]
    assert ids[0] != ids[1]


async def test_guests_can_be_switched_off(start: Gateway) -> None:
    gateway = await start(auth_guests=False)
    assert (await gateway.post("/auth/guest")).status == 404


# --- an identity provider's keys --------------------------------------------------------------------------


class Provider:
    """An identity provider that publishes its keys, and counts how often they are fetched."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.fetched = 0
        self.broken = False
        app = web.Application()
        app.router.add_get("/jwks", self._serve)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/jwks"))

    async def _serve(self, _: web.Request) -> web.Response:
        self.fetched += 1
        if self.broken:
            return web.Response(status=500)
        return web.json_response({"keys": [self._public(kid, key) for kid, key in self.keys.items()]})

    @staticmethod
    def _public(kid: str, key: Any) -> dict[str, Any]:
        kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
        return {**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig"}

    def sign(self, kid: str, algorithm: str | None = None) -> dict[str, str]:
        key = self.keys[kid]
        algorithm = algorithm or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
        signed = jwt.encode({**CLAIMS, "jti": kid}, key, algorithm, headers={"kid": kid})
        return {"Authorization": f"Bearer {signed}"}


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
async def provider(actor: ScriptedBooking) -> AsyncIterator[Provider]:
    actor.on(ListBookings, EMPTY)
    provider = Provider()
    provider.keys = {"rsa": RSA, "ec": EC}
    async with provider.server:
        yield provider


def jwks(provider: Provider, **more: Any) -> dict[str, Any]:
    settings = {"auth_jwt_secrets": (), "auth_jwks_url": provider.url, "auth_jwks_interval_seconds": 0}
    return settings | more


async def test_tokens_signed_with_a_providers_keys_are_accepted(start: Gateway, provider: Provider) -> None:
    gateway = await start(**jwks(provider))
    for kid in ("rsa", "ec", "rsa"):
        assert await status(gateway, provider.sign(kid)) == 200
    assert provider.fetched == 1
    assert (await gateway.post("/auth/guest")).status == 404


async def test_a_rotated_key_is_fetched_and_the_old_one_is_refused(start: Gateway, provider: Provider) -> None:
    gateway = await start(**jwks(provider))
    old = provider.sign("rsa")
    assert await status(gateway, old) == 200
    provider.keys = {"new": ec.generate_private_key(ec.SECP256R1())}
    assert await status(gateway, provider.sign("new")) == 200
    other = await start(**jwks(provider))
    assert await status(other, old) == 401
    assert provider.fetched == 3


async def test_made_up_key_ids_do_not_make_the_gateway_fetch_keys_each_time(
    start: Gateway, provider: Provider
) -> None:
    gateway = await start(**jwks(provider, auth_jwks_interval_seconds=3600))
    assert await status(gateway, provider.sign("rsa")) == 200
    for number in range(5):
        forged = jwt.encode(CLAIMS, RSA, "RS256", headers={"kid": f"made-up-{number}"})
        assert await status(gateway, {"Authorization": f"Bearer {forged}"}) == 401
    assert provider.fetched == 1


async def test_a_token_signed_with_the_public_key_as_secret_is_refused(start: Gateway, provider: Provider) -> None:
    """The well-known attack: HS256 with the public key as the secret."""
    gateway = await start(**jwks(provider))
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    signed = f"{encoded(header)}.{encoded(CLAIMS)}"
    signature = base64url(hmac.digest(pem, signed.encode(), "sha256"))
    assert await status(gateway, {"Authorization": f"Bearer {signed}.{signature}"}) == 401
    assert await status(gateway, bearer()) == 401


async def test_an_algorithm_that_the_settings_leave_out_is_refused(start: Gateway, provider: Provider) -> None:
    gateway = await start(**jwks(provider, auth_algorithms="ES256"))
    assert await status(gateway, provider.sign("ec")) == 200
    assert await status(gateway, provider.sign("rsa")) == 401
    assert await status(gateway, provider.sign("rsa", "PS256")) == 401


async def test_known_keys_remain_in_use_while_the_provider_fails(start: Gateway, provider: Provider) -> None:
    gateway = await start(**jwks(provider, auth_jwks_cache_seconds=0.000001))
    assert await status(gateway, provider.sign("rsa")) == 200
    provider.broken = True
    assert await status(gateway, provider.sign("ec")) == 200


async def test_without_any_keys_requests_get_503_until_keys_are_fetched(start: Gateway, provider: Provider) -> None:
    provider.broken = True
    gateway = await start(**jwks(provider))
    response = await gateway.get("/bookings", headers=provider.sign("rsa"))
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    provider.broken = False
    assert await status(gateway, provider.sign("rsa")) == 200
