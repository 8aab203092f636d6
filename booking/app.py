"""The booking process put together: the only wiring."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial

from aiohttp import web

from booking.availability import Availability
from booking.box_office import BoxOffice
from booking.door_handlers import DoorHandlers
from booking.erasure_handlers import ErasureHandlers
from booking.event_handlers import EventHandlers
from booking.fair_share import FairShare
from booking.guest_handlers import GuestHandlers
from booking.handlers import BookingHandlers
from booking.query_handlers import QueryHandlers
from booking.queue import Queue
from booking.reconciler import BookingReconciler
from booking.repository import Store
from booking.revocation_handlers import RevocationHandlers
from booking.settings import BookingSettings
from booking.ticket_codes import TicketCodes
from booking.ticket_handlers import TicketHandlers
from booking.unit_of_work import UnitOfWork
from booking.waiting_handlers import WaitingHandlers
from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_PAYMENTS,
    BOOKING_QUERIES,
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
)
from common.messaging.consumer import Subscription
from common.runtime.background import background
from common.runtime.telemetry import METRICS
from common.runtime.web import new_app
from common.wiring import (
    CLOCK,
    DATABASE,
    PUBLISHER,
    REDIS,
    SUBSCRIPTIONS,
    Context,
    clock_context,
    consumers_context,
    database_context,
    redis_context,
)

READS = (BOOKING_PAYMENTS, BOOKING_COMMANDS, BOOKING_QUERIES, BOOKING_DOOR)
ADDS = (PAYMENT_INTENTS, PAYMENT_COMMANDS, PAYMENT_DEFERRED)
RECONCILER = web.AppKey("reconciler", BookingReconciler)


def build_app(settings: BookingSettings, own_clock: Callable[[], float] = time.time) -> web.Application:
    """The application for `settings`; it opens nothing before it starts, and only watches `own_clock`."""
    app = new_app()
    app.cleanup_ctx.extend(
        (
            redis_context("booking", settings, reads=READS, adds=ADDS),
            database_context("booking", settings, settings.booking_database_url, settings.database_pool_size),
            clock_context(settings, own_clock),
            booking_context(settings),
            consumers_context("booking", settings),
        )
    )
    return app


def booking_context(settings: BookingSettings) -> Context:
    """Sets SUBSCRIPTIONS and RECONCILER, and runs the loops of availability, of the queue and of the reconciler."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        bus, redis, metrics, now = app[PUBLISHER], app[REDIS], app[METRICS], app[CLOCK]
        holder, policy = settings.instance, settings.hold_policy
        store = Store(app[DATABASE], settings.memory_max, metrics, settings.buyer_policy)
        availability = Availability(
            store, bus, redis, holder, settings.availability_ms, settings.availability_max_ms
        )
        queue = Queue(store, bus, redis, holder, settings.queue_ms)
        share = FairShare(redis, settings.share)
        unit = partial(UnitOfWork, store, availability, queue, share)
        kept = timedelta(days=settings.operator_key_days), timedelta(days=settings.address_days)
        reconciler = app[RECONCILER] = BookingReconciler(store, unit, availability, bus, redis, now, policy, *kept)
        metrics.samplers.append(reconciler.offers.sample)
        bookings = BookingHandlers(store, unit, metrics, now, policy)
        events, tokens = EventHandlers(store, availability, now), RevocationHandlers(store, now)
        guests = GuestHandlers(store, now, timedelta(days=settings.recovery_code_days))
        codes = TicketCodes(settings.ticket_signing_keys)
        tickets, door = TicketHandlers(store, codes), DoorHandlers(store, codes, now)
        erasures, box_office = ErasureHandlers(store, now), BoxOffice(store, unit, now)
        waiting = WaitingHandlers(store, availability, now, policy)
        commands = {
            **bookings.commands,
            **events.commands,
            **tokens.commands,
            **guests.commands,
            **waiting.commands,
        }
        app[SUBSCRIPTIONS] = (
            Subscription(BOOKING_PAYMENTS, bookings.payments),
            Subscription(BOOKING_COMMANDS, {**commands, **erasures.commands, **box_office.commands}),
            Subscription(
                BOOKING_QUERIES,
                {**QueryHandlers(store, now).queries, **tokens.queries, **tickets.queries, **waiting.queries},
            ),
            Subscription(BOOKING_DOOR, door.door),
        )
        shutdown_s = settings.shutdown_seconds
        async with (
            background(app, "availability", availability.run),
            background(app, "queue", queue.run),
            background(app, "fair share", share.run),
            background(app, "reconciler", reconciler.run, stop=reconciler.stop, shutdown_s=shutdown_s),
        ):
            yield

    return context
