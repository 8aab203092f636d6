"""The stand-in's wiring: the ledger, the account, the webhooks, and the routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from sandbox import control, mail, pages
from sandbox.account import Account
from sandbox.api import Api, endpoint, preflight
from sandbox.faults import Faults
from sandbox.keys import Keys
from sandbox.ledger import Ledger
from sandbox.moves import make_moves
from sandbox.operations import NOT_MODELLED, OPERATIONS
from sandbox.rate_limit import RateLimit
from sandbox.settings import Settings
from sandbox.webhooks import TIMEOUT_SECONDS, Webhooks
from sandbox.work import Endpoint

SETTINGS = web.AppKey("settings", Settings)
LEDGER = web.AppKey("ledger", Ledger)
WEBHOOKS = web.AppKey("webhooks", Webhooks)
ACCOUNT = web.AppKey("account", Account)
API = web.AppKey("api", Api)
FAULTS = web.AppKey("faults", Faults)
MAILBOX = web.AppKey("mailbox", mail.Mailbox)
"""The parts of the application, for its handlers and for tests."""


def build_app(settings: Settings) -> web.Application:
    """The whole stand-in, not yet started."""
    app = web.Application()
    app[SETTINGS] = settings
    app[FAULTS] = Faults()
    app[MAILBOX] = mail.Mailbox()
    app.cleanup_ctx.extend((_ledger, _webhooks, _account, _mail))
    app.on_shutdown.append(_cut_off)
    for path in NOT_MODELLED:
        app.router.add_route("GET", path, endpoint(None, _api))
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, endpoint(operation, _api))
    app.router.add_route("OPTIONS", "/v1/{path:.*}", preflight)
    app.router.add_route("*", "/v1/{path:.*}", endpoint(None, _api))
    control.add_routes(
        app.router,
        lambda request: control.Control(request.app[ACCOUNT], request.app[FAULTS]),
        settings.sandbox_control_key,
    )
    pages.add_routes(app.router, lambda request: request.app[ACCOUNT])
    mail.add_routes(app.router, lambda request: request.app[MAILBOX])
    return app


def _api(request: web.Request) -> Api:
    return request.app[API]


async def _ledger(app: web.Application) -> AsyncIterator[None]:
    app[LEDGER] = Ledger(app[SETTINGS].sandbox_ledger)
    yield
    app[LEDGER].close()


async def _webhooks(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)  # each endpoint has its own bound
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        webhooks = Webhooks(app[LEDGER], app[FAULTS], session, settings.sandbox_webhook_retry_seconds)
        app[WEBHOOKS] = webhooks
        urls = [url.strip() for url in settings.sandbox_webhook_url.split(",") if url.strip()]
        if urls:
            types = frozenset(each.strip() for each in settings.sandbox_webhook_events.split(","))
            secret = settings.sandbox_webhook_secret
            await webhooks.point([Endpoint(position, url, secret, types) for position, url in enumerate(urls)])
        else:
            webhooks.start()
        yield
        await webhooks.stop()


async def _account(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    account = Account(
        app[LEDGER],
        app[WEBHOOKS],
        app[FAULTS],
        home=f"http://{settings.host}:{settings.port}",
        settle_seconds=settings.sandbox_settle_seconds,
    )
    account.resume()
    app[ACCOUNT] = account
    keys = Keys(settings.sandbox_secret_key, settings.sandbox_publishable_key)
    app[API] = Api(account, keys, RateLimit(settings.sandbox_rate_limit), app[FAULTS])
    moves = asyncio.create_task(make_moves(account), name="moves")
    yield
    moves.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await moves


async def _mail(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    if settings.sandbox_smtp_port is None:
        yield
        return
    async with mail.serving(app[MAILBOX], settings.host, settings.sandbox_smtp_port):
        yield


async def _cut_off(app: web.Application) -> None:
    """Requests that hang on purpose must not delay the shutdown."""
    app[FAULTS].close()
