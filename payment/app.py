"""The wiring of the payment process, all of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from common.attention import AttentionHandlers
from common.contracts.messages import (
    BOOKING_PAYMENTS,
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
    PAYMENT_QUERIES,
    PAYMENT_WEBHOOKS,
    GetPaymentAttention,
)
from common.messaging.consumer import Subscription
from common.runtime.background import background
from common.runtime.health import HEALTH
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
from payment.catch_up import CatchUp
from payment.handlers import PaymentHandlers
from payment.lost import LostRows
from payment.rate_limiter import StripeRateLimiter
from payment.reconciler import PaymentReconciler
from payment.repository import Store
from payment.sdk import open_client
from payment.settings import PaymentSettings
from payment.strays import Strays
from payment.stripe_api import StripeApi, StripeMetrics
from payment.webhook import WEBHOOK, Webhook, receive
from payment.webhook_batches import WebhookBatches

READS = (PAYMENT_WEBHOOKS, PAYMENT_COMMANDS, PAYMENT_INTENTS, PAYMENT_DEFERRED, PAYMENT_QUERIES)
STORE = web.AppKey("store", Store)
STRIPE = web.AppKey("stripe", StripeApi)


def build_app(settings: PaymentSettings, own_clock: Callable[[], float] = time.time) -> web.Application:
    """The application with `settings`; it opens nothing before it starts. `own_clock` is only watched."""
    app = new_app(body_seconds=settings.body_seconds, client_max_size=settings.webhook_body_max_bytes)

    app.router.add_post("/payment/webhook", receive)
    app.cleanup_ctx.extend(
        (
            redis_context("payment", settings, reads=READS, adds=(BOOKING_PAYMENTS,)),
            database_context("payment", settings, settings.payment_database_url, settings.database_pool_size),
            clock_context(settings, own_clock),
            stripe_context(settings),
            payment_context(settings),
            consumers_context("payment", settings),
        )
    )
    return app


def stripe_context(settings: PaymentSettings) -> Context:
    """Provides STORE, and STRIPE: rate-limited calls of Stripe's API."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        app[STORE] = Store(app[DATABASE], settings.memory_max, app[METRICS])
        mode = "live" if settings.livemode else "test"
        rate_limiter = StripeRateLimiter(
            app[REDIS], key=f"stripe:turns:{mode}", per_second=settings.requests_per_second
        )
        base = str(settings.stripe_api_base) if settings.stripe_api_base else None
        timeout_s = settings.stripe_timeout_ms / 1000
        gate = app[HEALTH].gate("stripe")
        gate.open()  # until Stripe refuses the key
        async with open_client(
            settings.stripe_secret_key.get_secret_value(),
            base,
            # The calls of the three mailboxes, and one of the catch-up.
            concurrency=3 * settings.stripe_concurrency + 1,
        ) as client:
            metrics = StripeMetrics(app[METRICS].registry)
            app[STRIPE] = StripeApi(
                client, rate_limiter, metrics, gate, timeout_s, app[CLOCK], app[STORE].keep_account
            )
            yield
            await rate_limiter.close()

    return context


def payment_context(settings: PaymentSettings) -> Context:
    """Provides SUBSCRIPTIONS and WEBHOOK; runs the reconciler and the catch-up."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        store, stripe, metrics, now = app[STORE], app[STRIPE], app[METRICS], app[CLOCK]
        calls_seconds = settings.command_calls_seconds
        lost = LostRows(Strays(store, stripe, now, metrics.orphans, settings.orphan_terms, calls_seconds))
        app[HEALTH].notice("orphans", lost.held_back)
        handlers = PaymentHandlers(
            store,
            stripe,
            now,
            lost,
            intent_calls_seconds=settings.intent_calls_seconds,
            command_calls_seconds=calls_seconds,
            deferred_calls_seconds=settings.deferred_calls_seconds,
        )
        attention = AttentionHandlers(store.reading, app[REDIS], READS, now)
        # Mailboxes whose messages need Stripe calls handle batches concurrently.
        app[SUBSCRIPTIONS] = (
            Subscription(PAYMENT_WEBHOOKS, handlers.webhooks),
            Subscription(PAYMENT_COMMANDS, handlers.commands, settings.stripe_slots),
            Subscription(PAYMENT_INTENTS, handlers.intents, settings.stripe_slots),
            Subscription(PAYMENT_DEFERRED, handlers.deferred, settings.deferred_slots),
            Subscription(PAYMENT_QUERIES, {GetPaymentAttention: attention.get_attention}),
        )
        batches = WebhookBatches(handlers.events.apply, app[PUBLISHER], metrics, settings.batch_max)
        app[WEBHOOK] = Webhook(
            batches.apply,
            # Signatures have Stripe's time, which may differ from Postgres' by minutes.
            clock=stripe.clock.now,
            secrets=settings.stripe_webhook_secrets,
            tolerance_s=settings.webhook_tolerance_seconds,
            livemode=settings.livemode,
        )
        reconciler = PaymentReconciler(store, app[PUBLISHER], now)
        catch_up = CatchUp(store, stripe, batches.apply, now, settings.stripe_events_catch_up_seconds)
        async with (
            background(
                app, "reconciler", reconciler.run, stop=reconciler.stop, shutdown_s=settings.shutdown_seconds
            ),
            background(app, "catch-up", catch_up.run),
        ):
            yield
        await batches.close()

    return context
