"""The booking process put together: the only wiring."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from aiohttp import web

from booking.announcer import Announce, Announcer
from booking.availability import Availability
from booking.box_office import BoxOffice
from booking.door_handlers import DoorHandlers
from booking.erasure_handlers import ErasureHandlers
from booking.event_handlers import EventHandlers
from booking.fair_share import FairShare
from booking.guest_handlers import GuestHandlers
from booking.handlers import BookingHandlers
from booking.mail_attachments import Tickets, calendar_entry
from booking.mail_handlers import MailHandlers
from booking.mail_sender import MailSender, announces_mail
from booking.mail_texts import MailTexts
from booking.query_handlers import QueryHandlers
from booking.queue import Queue
from booking.reconciler import BookingReconciler
from booking.repository import Store
from booking.revocation_handlers import RevocationHandlers
from booking.settings import BookingSettings, Tasks
from booking.smtp import MailServer
from booking.ticket_codes import TicketCodes
from booking.ticket_handlers import TicketHandlers
from booking.unit_of_work import UnitOfWork
from booking.waiting_handlers import WaitingHandlers
from booking.webhook_announcer import EventAnnouncer, announced_by_webhook
from booking.webhook_client import open_client
from booking.webhook_handlers import ENDPOINTS_MAX, WebhookHandlers
from booking.webhook_sender import WebhookMetrics, WebhookSender
from common.attention import AttentionHandlers
from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_PAYMENTS,
    BOOKING_QUERIES,
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
    GetAttention,
)
from common.messaging.consumer import Subscription
from common.postgres.database import Database, open_database
from common.runtime.background import background
from common.runtime.health import HEALTH
from common.runtime.reconciler import Reconciler
from common.runtime.telemetry import METRICS
from common.runtime.urls import smtp_options
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
ANNOUNCER = web.AppKey("announcer", Announcer)


def build_app(settings: BookingSettings, own_clock: Callable[[], float] = time.time) -> web.Application:
    """The application for `settings`; it opens nothing before it starts, and only watches `own_clock`."""
    app = new_app()
    app.cleanup_ctx.extend(
        (
            redis_context("booking", settings, reads=READS, adds=ADDS),
            database_context("booking", settings, settings.booking_database_url, settings.database_pool_size),
            clock_context(settings, own_clock),
        )
    )
    if settings.booking_tasks is not Tasks.SENDING:
        app.cleanup_ctx.extend((booking_context(settings), consumers_context("booking", settings)))
    if settings.booking_tasks is not Tasks.BOOKINGS and (announce := announced_by(settings)):
        app.cleanup_ctx.append(sending_context(settings, announce))
    return app


def announced_by(settings: BookingSettings) -> tuple[Announce, ...]:
    """What makes rows of what is owed for announcements: one for each way of sending that is switched on."""
    found: list[Announce] = []
    if settings.smtp_url is not None:
        found.append(announces_mail(settings.mail_operators))
    if settings.webhooks:
        found.append(announced_by_webhook(settings.webhook_terms.retried_for))
    return tuple(found)


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
        announces = bool(announced_by(settings))
        unit = partial(UnitOfWork, store, availability, queue, share, lambda: announces)
        kept = timedelta(days=settings.operator_key_days), timedelta(days=settings.address_days)
        reconciler = app[RECONCILER] = BookingReconciler(store, unit, availability, bus, redis, now, policy, *kept)
        metrics.samplers.append(reconciler.offers.sample)
        bookings = BookingHandlers(store, unit, metrics, now, policy)
        events, tokens = EventHandlers(store, availability, now), RevocationHandlers(store, now)
        guests = GuestHandlers(store, now, timedelta(days=settings.recovery_code_days), settings.links)
        codes = TicketCodes(settings.ticket_signing_keys)
        tickets, door = TicketHandlers(store, codes), DoorHandlers(store, codes, now)
        erasures, box_office = ErasureHandlers(store, now), BoxOffice(store, unit, now)
        waiting = WaitingHandlers(store, availability, now, policy)
        mails = MailHandlers(store, now, on=settings.smtp_url is not None)
        webhooks = WebhookHandlers(store, now, settings.webhook_terms)
        queries = {**QueryHandlers(store, now).queries, **tokens.queries, **tickets.queries}
        attention = AttentionHandlers(store.reading, redis, READS, now)
        queries |= {**guests.queries, **waiting.queries, **mails.queries, **webhooks.queries}
        queries |= {GetAttention: attention.get_attention}
        commands = {**bookings.commands, **events.commands, **tokens.commands, **guests.commands}
        commands |= {
            **waiting.commands,
            **erasures.commands,
            **box_office.commands,
            **mails.commands,
            **webhooks.commands,
        }
        app[SUBSCRIPTIONS] = (
            Subscription(BOOKING_PAYMENTS, bookings.payments),
            Subscription(BOOKING_COMMANDS, commands),
            Subscription(BOOKING_QUERIES, queries),
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


def sending_context(settings: BookingSettings, announce: Sequence[Announce]) -> Context:
    """Sets ANNOUNCER, and runs the loops that announce and send, over connections of their own."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        url, size, shutdown_s = settings.booking_database_url, settings.sending_pool_size, settings.shutdown_seconds
        timeout_ms = settings.handler_timeout_ms
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(open_database(url, size, handler_timeout_ms=timeout_ms))
            announcer = app[ANNOUNCER] = Announcer(database, announce, app[CLOCK], app[METRICS])
            loops: dict[str, Reconciler] = {"announcer": announcer}
            if settings.smtp_url is not None:
                server = MailServer(smtp_options(settings.smtp_url), settings.smtp_timeout_seconds)
                attach = Tickets(TicketCodes(settings.ticket_signing_keys)), calendar_entry
                texts = MailTexts(settings.mail_from, settings.mail_templates, attach, settings.links)
                sender = MailSender(database, server, texts, settings.mail_policy, app[CLOCK], app[METRICS])
                app[HEALTH].notice("mail", sender.problem)
                loops["mail"] = sender
            if settings.webhooks:
                loops |= await stack.enter_async_context(webhook_loops(app, settings, database))
            for name, loop in loops.items():
                running = background(app, name, loop.run, stop=loop.stop, shutdown_s=shutdown_s)
                await stack.enter_async_context(running)
            yield

    return context


@asynccontextmanager
async def webhook_loops(
    app: web.Application, settings: BookingSettings, database: Database
) -> AsyncIterator[dict[str, Reconciler]]:
    """The loops that announce changes of events, and send webhooks. Adds the sender's metrics and its notice."""
    terms, policy = settings.sender_terms, settings.webhook_terms.policy
    async with open_client(policy, endpoints=ENDPOINTS_MAX, timeout_s=settings.webhook_timeout_seconds) as client:
        metrics = WebhookMetrics(app[METRICS].registry)
        sender = WebhookSender(database, client.post, app[CLOCK], metrics, terms)
        app[METRICS].samplers.append(sender.sample)
        app[HEALTH].notice("webhooks", sender.problem)
        yield {"event announcer": EventAnnouncer(database, app[CLOCK], terms.retried_for), "webhooks": sender}
