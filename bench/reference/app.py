"""The reference put together: its requests, its socket, and the consumers that run beside them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
import stripe
from aiohttp import web
from tortoise import Tortoise

from bench.reference import orders
from bench.reference.settings import ReferenceSettings
from bench.reference.streams import Streams
from booking.models import Booking
from common.contracts.errors import Forbidden, Unavailable
from common.contracts.ids import booking_id
from common.messaging.redis import connect
from common.runtime.health import HEALTH
from common.runtime.outages import RedisOutage
from common.runtime.supervisor import SUPERVISOR, cancel
from common.runtime.web import new_app, read_body
from gateway.auth import AUTHENTICATOR, Authenticator
from gateway.requests import path_id, read, required_key
from gateway.schemas import NewBooking, NewEvent
from ops.migrate import tortoise_config
from payment.models import Payment
from payment.sdk import open_client
from payment.webhook import verify

SETTINGS = web.AppKey("settings", ReferenceSettings)
STREAMS = web.AppKey("streams", Streams)
STRIPE = web.AppKey("stripe", stripe.StripeClient)
SOCKETS = web.AppKey("sockets", defaultdict[str, set[web.WebSocketResponse]])


async def create_booking(request: web.Request) -> web.Response:
    identity = await request.app[AUTHENTICATOR].authenticate(request)
    body = await read(request, NewBooking)
    id = booking_id(identity.subject, required_key(request))
    booking, created = await orders.hold(id, identity.subject, body, request.app[SETTINGS].hold_seconds)
    if orders.shown(booking).queued:
        booking = await orders.make_payable(booking, request.app[STRIPE])
        await _notify(request.app, booking)
    return _json(orders.shown(booking).model_dump_json(), 201 if created else 200)


async def get_booking(request: web.Request) -> web.Response:
    identity = await request.app[AUTHENTICATOR].authenticate(request)
    booking = await orders.find(path_id(request), identity.subject)
    return _json(orders.shown(booking).model_dump_json(), 200)


async def create_event(request: web.Request) -> web.Response:
    if not (await request.app[AUTHENTICATOR].authenticate(request)).operator:
        raise Forbidden
    event = await orders.make_event(await read(request, NewEvent))
    return _json(event.model_dump_json(), 201)


async def receive_webhook(request: web.Request) -> web.Response:
    """Stripe gets its answer as soon as the Stripe event is on its stream."""
    settings = request.app[SETTINGS]
    header = request.headers.get("Stripe-Signature")
    not_before = time.time() - settings.webhook_tolerance_seconds
    payload = verify(await read_body(request), header, [settings.stripe_webhook_secrets], not_before)
    try:
        await request.app[STREAMS].put_webhook(payload)
    except RedisOutage as error:
        raise Unavailable from error
    return _json('{"received":true}', 200)


async def websocket(request: web.Request) -> web.StreamResponse:
    identity = await request.app[AUTHENTICATOR].authenticate(request)
    socket = web.WebSocketResponse(heartbeat=request.app[SETTINGS].ws_ping_seconds, compress=False)
    await socket.prepare(request)
    sockets = request.app[SOCKETS]
    sockets[identity.subject].add(socket)
    try:
        async for _ in socket:
            """No message of a client has a meaning here."""
    finally:
        sockets[identity.subject].discard(socket)
        if not sockets[identity.subject]:
            del sockets[identity.subject]
    return socket


def _json(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")


async def _notify(app: web.Application, booking: Booking) -> None:
    """The client gets its answer even if Redis is unavailable."""
    text = orders.shown(booking).model_dump_json()
    with suppress(RedisOutage):
        await app[STREAMS].put_notification(booking.owner, f'{{"type":"booking","booking":{text}}}')


async def _database(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    config, payments = (
        tortoise_config(name, settings.database_url, settings.database_pool_size) for name in ("booking", "payment")
    )
    config["apps"] |= payments["apps"]
    # Requests are handled in tasks that do not come from this one: they need the global connections.
    await Tortoise.init(config=config, _enable_global_fallback=True)
    app[HEALTH].check("database", lambda: Payment.exists(intent_id=""))
    yield
    await Tortoise.close_connections()


async def _stripe(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    async with open_client(
        settings.stripe_secret_key.get_secret_value(),
        settings.stripe_api_base,
        concurrency=settings.stripe_concurrency,
    ) as app[STRIPE]:
        yield


async def _consumers(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    redis = connect(settings.redis_url)
    streams = app[STREAMS] = Streams(redis, settings.instance)
    await streams.open()
    app[HEALTH].check("redis", redis.ping)

    async def handle(payload: bytes) -> None:
        booking = await orders.take_event(orjson.loads(payload))
        if booking is not None:
            await _notify(app, booking)

    async def notify(owner: str, text: str) -> None:
        for socket in tuple(app[SOCKETS].get(owner, ())):
            with suppress(ConnectionError):
                await socket.send_str(text)

    spawn = app[SUPERVISOR].spawn
    tasks = [spawn(f"consumer {number}", streams.work(number, handle)) for number in range(settings.consumers)]
    tasks += [spawn("take over", streams.take_over(handle)), spawn("listen", streams.listen(notify))]
    yield
    for task in tasks:
        await cancel(task)
    await redis.aclose()


async def _close_sockets(app: web.Application) -> None:
    for sockets in tuple(app[SOCKETS].values()):
        for socket in tuple(sockets):
            await socket.close()


def build_app(settings: ReferenceSettings) -> web.Application:
    app = new_app(body_seconds=settings.body_seconds, client_max_size=settings.body_max_bytes)
    app[SETTINGS] = settings
    app[SOCKETS] = defaultdict[str, set[web.WebSocketResponse]](set)
    app[AUTHENTICATOR] = Authenticator(settings, time.time, lambda _: None)
    app.router.add_post("/bookings", create_booking)
    app.router.add_get("/bookings/{id}", get_booking)
    app.router.add_post("/admin/events", create_event)
    app.router.add_post("/payment/webhook", receive_webhook)
    app.router.add_get("/ws", websocket)
    app.cleanup_ctx.extend((_database, _stripe, _consumers))
    app.on_shutdown.append(_close_sockets)
    return app
