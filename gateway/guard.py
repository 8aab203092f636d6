"""What every route has in common: who may use it, how often, and whether there is room for its work."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from common.contracts.errors import Forbidden, Unauthorized
from common.runtime.web import Handler
from gateway.auth import AUTHENTICATOR, Identity
from gateway.door import DOOR, LIMITER, Limiter, client_address
from gateway.settings import GatewaySettings

SETTINGS = web.AppKey("settings", GatewaySettings)
IDENTITY = web.RequestKey("identity", Identity)
# The rates of this many may be used by all guests of one address: a household, an office, a café.
GUESTS_PER_ADDRESS = 20


class Who(StrEnum):
    ANYONE = "anyone"
    BEARER = "bearer"
    OPERATOR = "operator"


def charge(limiter: Limiter, identity: Identity, address: str) -> None:
    """Take one request of `identity`'s. Raises TooManyRequests. Guests of one address also have a bound together: a
    new guest costs one request, and would else bring a whole rate of its own."""
    limiter.take(identity.subject)
    if identity.guest:
        limiter.take(f"guests {address}", GUESTS_PER_ADDRESS)


def guarded(view: Handler, who: Who, mailboxes: tuple[str, ...]) -> Handler:
    """`view`, reached only by those who may, when `mailboxes` (those it adds to) have room."""

    async def handle(request: web.Request) -> web.StreamResponse:
        app = request.app
        address = client_address(request, app[SETTINGS].trusted_proxies)
        if who is Who.ANYONE:
            app[LIMITER].take(address)
        else:
            try:
                identity = request[IDENTITY] = await app[AUTHENTICATOR].authenticate(request)
            except Unauthorized:
                app[LIMITER].take(address)  # no subject that could be bounded
                raise
            charge(app[LIMITER], identity, address)
            if who is Who.OPERATOR and not identity.operator:
                raise Forbidden("Only operators may do this")
        if mailboxes:
            app[DOOR].enter(mailboxes)
        return await view(request)

    return handle
