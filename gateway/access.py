"""What every route has in common: who may use it, how often, and whether there is room for its work."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from common.contracts.errors import Forbidden, Unauthorized
from common.runtime.web import Handler
from gateway.keys import AUTHENTICATOR, IDENTITY, LOAD_SHEDDER, RATE_LIMITER, SETTINGS
from gateway.limits import client_address


class Who(StrEnum):
    ANYONE = "anyone"
    BEARER = "bearer"
    OPERATOR = "operator"


def guarded(view: Handler, who: Who, mailboxes: tuple[str, ...]) -> Handler:
    """`view`, reached only by those who may, when `mailboxes` (those it adds to) have room."""

    async def handle(request: web.Request) -> web.StreamResponse:
        app = request.app
        limiter = app[RATE_LIMITER]
        address = client_address(request, app[SETTINGS].trusted_proxies) if limiter.limits else ""
        if who is Who.ANYONE:
            limiter.take(address)
        else:
            try:
                identity = request[IDENTITY] = await app[AUTHENTICATOR].authenticate(request)
            except Unauthorized:
                limiter.take(address)  # no subject that could be bounded
                raise
            limiter.charge(identity, address)
            if who is Who.OPERATOR and not identity.operator:
                raise Forbidden("Only operators may do this")
        if mailboxes:
            app[LOAD_SHEDDER].check(mailboxes)
        return await view(request)

    return handle
