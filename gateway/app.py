"""The gateway put together: `build_app` is the only wiring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from functools import cache

import aiohttp
import orjson
from aiohttp import web
from prometheus_client import Gauge

from common.messaging.calls import Calls
from common.messaging.listener import Listener
from common.messaging.registry import Registry
from common.runtime.background import repeat
from common.runtime.health import HEALTH, Gate
from common.runtime.outages import RedisOutage
from common.runtime.server import ADMITS
from common.runtime.supervisor import SUPERVISOR, cancel, wait_at_most
from common.runtime.telemetry import METRICS
from common.runtime.web import new_app
from common.wiring import CLOCK, PUBLISHER, REDIS, clock_context, redis_context
from gateway import asyncapi, openapi
from gateway.addresses import ADDRESS_HASHES, AddressHashes
from gateway.auth import AUTHENTICATOR, Authenticator, KeySet
from gateway.catalogue_reader import CATALOGUE, CatalogueReader
from gateway.dispatcher import Dispatcher
from gateway.docs import DOCUMENTS
from gateway.event_contents import CONTENTS, EventContents
from gateway.exports import EXPORT_SLOTS, EXPORTS_MAX
from gateway.guests import proofs
from gateway.headers import finish, preflight
from gateway.hub import HUB, Hub
from gateway.image_views import IMAGE_SLOTS
from gateway.limiter import LIMITER, SHARE_SECONDS, Limiter, limit_address
from gateway.limits import (
    BOOKING_SLOTS,
    LOAD_SHEDDER,
    SNAPSHOT_SLOTS,
    WATCHED,
    LoadShedder,
    RequestSlots,
    SubjectSlots,
)
from gateway.page_views import add_pages
from gateway.queue_positions import QUEUE_POSITIONS, QueuePositions
from gateway.revocations import REVOCATIONS, REVOKED, RevocationReader, RevokedTokens
from gateway.routes import GUESTS, PROCESS, ROUTES, guarded
from gateway.settings import SETTINGS, GatewaySettings
from gateway.tickets import PUBLIC_KEYS, PublicKeys
from gateway.waiters import CALLS, WAITERS, Waiters

# How many snapshots the sockets of one subject may read at once: a tenth of what all may (WS_SNAPSHOTS_MAX).
SNAPSHOTS_EACH = 10
# The process accepts connections once it receives replies, and knows which tokens are revoked. While Redis or the
# booking actor is unavailable, it accepts them after this time for each all the same: clients are answered with
# Retry-After, and /health/ready names the reason.
LISTENING_SECONDS = 1.0


async def _authenticator(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    async with aiohttp.ClientSession() as session:
        keys = KeySet(session, settings) if settings.auth_jwks_url is not None else None
        app[AUTHENTICATOR] = Authenticator(settings, app[CLOCK].timestamp, app[REVOKED].check, keys)
        yield


async def _addresses(app: web.Application) -> AsyncIterator[None]:
    """The hashes of guests' networks. Until the key is read, and as long as Redis is unavailable from the start on,
    bookings are made without them."""
    hashes = app[ADDRESS_HASHES] = AddressHashes(app[REDIS])
    read = asyncio.Event()

    async def step() -> float:
        pause = await hashes.read()
        read.set()
        return pause

    task = app[SUPERVISOR].spawn("address key", repeat(step, Gate("address key")))
    await wait_at_most(read, LISTENING_SECONDS)
    yield
    await cancel(task)


async def _sharing_counts(app: web.Application) -> AsyncIterator[None]:
    """Shares counts of the rate limits with other gateways. While that cannot be done this one limits alone: it
    closes no gate of the process."""
    limiter, redis = app[LIMITER], app[REDIS]
    if not limiter.limits:
        yield
        return
    work = repeat(
        lambda: limiter.share_counts(redis), Gate("rate limits"), first_s=SHARE_SECONDS, most_s=SHARE_SECONDS
    )
    task = app[SUPERVISOR].spawn("rate limits", work)
    yield
    await cancel(task)


async def _listening(app: web.Application) -> AsyncIterator[None]:
    """Receives replies and notifications, and samples the mailboxes' lengths for the load shedder."""
    settings, redis, bus, health = app[SETTINGS], app[REDIS], app[PUBLISHER], app[HEALTH]
    gate = health.gate("notifications")
    calls = app[CALLS] = Calls(bus, settings.instance)
    registry = Registry(redis, bus, settings.instance)
    registry.add("queue")
    waiters = app[WAITERS] = Waiters(registry, calls)
    shedder = app[LOAD_SHEDDER] = LoadShedder(bus, gate, health.gate("mailboxes"), calls.awaited, settings)
    app[PUBLIC_KEYS] = PublicKeys(calls, shedder, settings)
    hub = app[HUB] = Hub(settings, app[METRICS].registry, registry, app[CLOCK].timestamp)
    queue = app[QUEUE_POSITIONS] = QueuePositions(hub)
    catalogue = app[CATALOGUE] = CatalogueReader(registry, calls, gate, app[CLOCK], settings)
    catalogue.show_in(app[METRICS].registry)
    app[CONTENTS] = EventContents(calls, catalogue, shedder, settings)
    revocations = app[REVOCATIONS] = RevocationReader(
        app[REVOKED], registry, calls, gate, hub, app[CLOCK], settings
    )
    revocations.show_in(app[METRICS].registry)
    dispatcher = Dispatcher(hub, waiters, queue, catalogue, revocations)

    def on_missed(topics: Collection[str] | None) -> None:
        hub.renew(topics)
        waiters.refetch(topics)
        catalogue.on_missed(topics)
        revocations.on_missed(topics)

    in_hand_s = settings.claim_idle_ms / 1000
    listener = Listener(redis, settings.instance, registry, calls, dispatcher, on_missed, in_hand_s)
    tasks = [
        app[SUPERVISOR].spawn("listen", listener.run(gate, block_ms=settings.block_ms)),
        app[SUPERVISOR].spawn("mailbox lengths", shedder.run()),
        app[SUPERVISOR].spawn("queue", queue.run()),
        app[SUPERVISOR].spawn("sockets", hub.watch()),
        app[SUPERVISOR].spawn("event catalogue", catalogue.run()),
        app[SUPERVISOR].spawn("revocations", revocations.run()),
    ]
    for needed in (gate, app[REVOKED].known):
        await wait_at_most(needed.opened, LISTENING_SECONDS)
    yield
    for task in tasks:
        await cancel(task)
    with suppress(RedisOutage):
        await registry.leave()


async def _stop(app: web.Application) -> None:
    app[LIMITER].stop()
    await app[HUB].stop()


def build_app(settings: GatewaySettings, own_clock: Callable[[], float] = time.time) -> web.Application:
    """The application of `settings`; nothing is opened before it starts. `own_clock` is only watched: see Clock."""
    app = new_app(
        (limit_address, preflight) if settings.cors_origins else (limit_address,),
        body_seconds=settings.body_seconds,
        client_max_size=settings.body_max_bytes,
    )
    routes = (*GUESTS, *ROUTES) if settings.guests else ROUTES
    app[SETTINGS] = settings
    slots = app[BOOKING_SLOTS] = RequestSlots(settings.booking_slots, settings.booking_slot_wait_seconds)
    Gauge(
        "holdfast_booking_slots_waiting", "POST /bookings that wait for a slot", registry=app[METRICS].registry
    ).set_function(lambda: slots.waiting)
    app[IMAGE_SLOTS] = RequestSlots(1, settings.answer_seconds)
    app[EXPORT_SLOTS] = RequestSlots(EXPORTS_MAX, settings.answer_seconds)
    app[SNAPSHOT_SLOTS] = SubjectSlots(settings.ws_snapshots_max, SNAPSHOTS_EACH, settings.answer_seconds)
    limiter = app[LIMITER] = Limiter(settings, app[METRICS].registry)
    app[ADMITS] = limiter.admits
    app[HEALTH].notice("proxies", limiter.complaint)
    documents: dict[str, Callable[[], bytes]] = {
        "openapi": cache(lambda: orjson.dumps(openapi.document((*routes, *PROCESS)))),
        "asyncapi": cache(lambda: orjson.dumps(asyncapi.document())),
    }
    app[DOCUMENTS] = documents
    app[REVOKED] = RevokedTokens(app[HEALTH].gate("revocations"))
    app.cleanup_ctx.extend(
        (
            redis_context("gateway", settings, adds=WATCHED),
            clock_context(settings, own_clock),
            _authenticator,
            proofs,
            _addresses,
            _sharing_counts,
            _listening,
        )
    )
    app.on_response_prepare.append(finish)
    app.on_shutdown.append(_stop)
    add_pages(app, settings)
    for route in routes:
        if route.method == "GET":
            app.router.add_get(route.path, guarded(route), allow_head=route.tag != "live")
        else:
            app.router.add_route(route.method, route.path, guarded(route))
    return app
