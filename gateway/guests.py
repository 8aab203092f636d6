"""Guests: `POST /auth/guest` gives anybody a token, within the limit of the address and, if needed, for a proof; a
guest renews it before it ends, and comes back on another device by a recovery code or the link of a mail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

import aiohttp
import structlog
from aiohttp import web

from common.contracts.errors import GuestProofRefused, GuestTokenRequired, RecoveryCodeInvalid, Unavailable
from common.contracts.ids import new_guest
from common.contracts.messages import FindGuest, KeepRecoveryCode, UseRecoveryCode
from common.runtime.outages import error_text
from common.runtime.web import json_response
from common.wiring import CLOCK
from gateway.addresses import NETWORK, client_address
from gateway.auth import IDENTITY, issue_guest
from gateway.limiter import LIMITER
from gateway.recovery_codes import code_hash, new_code, request_hash
from gateway.requests import read, required_key
from gateway.schemas import LinkedGuest, NewGuest, RecoveredGuest, RecoveryCode
from gateway.settings import SETTINGS, GatewaySettings
from gateway.waiters import call

# Checks under way at once: in a rush of new guests the others wait, within the time that each check has.
CHECKS_MAX = 100
# What the messages of recovery codes and links are about: not the code nor its guest, as logs show it. Several
# names, so that a batch has one group of each.
NEW_CODES, CODES, LINKS = "new recovery codes", "recovery codes", "links"
# Retry-After, in seconds, when a proof cannot be checked now.
RETRY_AFTER = 5

log = structlog.get_logger()


class Proofs:
    """Asks the operator's own server whether a proof is good: docs/operations.md describes what it is sent."""

    def __init__(self, session: aiohttp.ClientSession, settings: GatewaySettings) -> None:
        self._session = session
        self._url = settings.guest_proof_url
        self._timeout = aiohttp.ClientTimeout(total=settings.guest_proof_timeout_seconds)

    async def check(self, proof: str | None, address: str) -> None:
        """Raises GuestProofRefused, or Unavailable when the server does not say."""
        if self._url is None:
            return
        if proof is None:
            raise GuestProofRefused("Send what the check has given to you as `proof`")
        try:
            status = await self._call(proof, address)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("proof not checked", host=self._url.host, error=error_text(error))
            raise Unavailable("The proof cannot be checked now", retry_after=RETRY_AFTER) from None
        if 200 <= status < 300:
            return
        if 400 <= status < 500:
            raise GuestProofRefused("The proof was refused")
        # A redirect would send the proof and the address to a host that nobody has set.
        log.warning("proof not checked", host=self._url.host, status=status)
        raise Unavailable("The proof cannot be checked now", retry_after=RETRY_AFTER)

    async def _call(self, proof: str, address: str) -> int:
        body = {"proof": proof, "address": address}
        async with self._session.post(
            str(self._url), json=body, timeout=self._timeout, allow_redirects=False
        ) as response:
            return response.status


PROOFS = web.AppKey("proofs", Proofs)


async def proofs(app: web.Application) -> AsyncIterator[None]:
    """PROOFS."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CHECKS_MAX), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        app[PROOFS] = Proofs(session, app[SETTINGS])
        yield


async def create_guest(request: web.Request) -> web.Response:
    app = request.app
    settings = app[SETTINGS]
    await app[LIMITER].guest(request[NETWORK])
    sent = await read(request, NewGuest, empty=b"{}")
    await app[PROOFS].check(sent.proof, client_address(request, settings.trusted_proxies))
    return _token(app, new_guest())


def _token(app: web.Application, subject: str) -> web.Response:
    """A new token for this guest."""
    issued = issue_guest(app[SETTINGS], subject, app[CLOCK].timestamp())
    return json_response(issued.model_dump(mode="json"), status=201)


def _asking(request: web.Request) -> str:
    """The subject of the guest who asks. Raises GuestTokenRequired for operators and customers who sign in: another
    issues their tokens, and says for how long."""
    identity = request[IDENTITY]
    if identity.operator or not identity.guest:
        raise GuestTokenRequired
    return identity.subject


async def renew_guest(request: web.Request) -> web.Response:
    """This makes no new guest, so that only the subject's rate limit counts it. The token before stays valid until
    its end: the answer may be lost."""
    return _token(request.app, _asking(request))


async def create_recovery_code(request: web.Request) -> web.Response:
    """Where the answer is lost the guest asks again: the newest code counts."""
    code = new_code()
    hashed = code_hash(code)
    assert hashed is not None
    message = KeepRecoveryCode(owner=_asking(request), code_hash=hashed, made_at=request.app[CLOCK]())
    kept = await call(request, message, NEW_CODES)
    made = RecoveryCode(code=code, expires_at=kept["expires_at"])
    return json_response(made.model_dump(mode="json"), status=201)


async def recover_guest(request: web.Request) -> web.Response:
    """Each try counts like a new guest. What can be no code is answered like one that is not good."""
    await request.app[LIMITER].guest(request[NETWORK])
    key = required_key(request)
    hashed = code_hash((await read(request, RecoveredGuest)).code)
    if hashed is None:
        raise RecoveryCodeInvalid
    message = UseRecoveryCode(code_hash=hashed, request_hash=request_hash(hashed, key))
    return _token(request.app, (await call(request, message, CODES))["owner"])


async def open_link(request: web.Request) -> web.Response:
    """Each try counts like a new guest. It uses nothing up, so that it needs no key to be sent again. Of the token
    only a hash is sent on, by which nobody is let in."""
    await request.app[LIMITER].guest(request[NETWORK])
    sent = await read(request, LinkedGuest)
    message = FindGuest(reference=sent.reference, link_hash=sha256(sent.token.encode()).hexdigest())
    return _token(request.app, (await call(request, message, LINKS))["owner"])
