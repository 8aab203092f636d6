"""What every route has in common: who may use it, how often, and whether there is room for its work."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from common.errors import Forbidden
from common.web import Handler
from gateway.auth import AUTHENTICATOR, Identity
from gateway.door import DOOR, LIMITER, client_address
from gateway.settings import GatewaySettings

SETTINGS = web.AppKey("settings", GatewaySettings)
IDENTITY = web.RequestKey("identity", Identity)


class Who(StrEnum):
    ANYONE = "anyone"
    BEARER = "bearer"
    OPERATOR = "operator"


def guarded(view: Handler, who: Who, mailboxes: tuple[str, ...]) -> Handler:
    """`view`, reached only by those who may, when `mailboxes` (those it adds to) have room."""

    async def handle(request: web.Request) -> web.StreamResponse:
        app = request.app
        if who is Who.ANYONE:
            app[LIMITER].take(client_address(request, app[SETTINGS].trusted_proxies))
        else:
            identity = request[IDENTITY] = await app[AUTHENTICATOR].authenticate(request)
            app[LIMITER].take(identity.subject)
            if who is Who.OPERATOR and not identity.operator:
                raise Forbidden("Only operators may do this")
        if mailboxes:
            app[DOOR].enter(mailboxes)
        return await view(request)

    return handle
