"""The booking and the payment process, put together as their `app.py` does, over the simulated world."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from pydantic import HttpUrl, SecretStr
from redis.asyncio import Redis

from booking.announcer import Announcer
from booking.availability import Availability
from booking.box_office import BoxOffice
from booking.door_handlers import DoorHandlers
from booking.erasure_handlers import ErasureHandlers
from booking.event_handlers import EventHandlers
from booking.fair_share import FairShare
from booking.handlers import BookingHandlers
from booking.mail_sender import MailSender, announces_mail
from booking.mail_texts import MailTexts
from booking.mails import MailPolicy
from booking.query_handlers import QueryHandlers
from booking.queue import Queue
from booking.reconciler import BookingReconciler
from booking.repository import Store
from booking.settings import BookingSettings
from booking.unit_of_work import UnitOfWork
from booking.webhook_announcer import EventAnnouncer, announced_by_webhook
from booking.webhook_sender import WebhookSender
from booking.webhooks import SenderTerms
from common.contracts.errors import HoldfastError
from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_PAYMENTS,
    BOOKING_QUERIES,
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
    PAYMENT_WEBHOOKS,
)
from common.messaging.batch import Handlers
from common.messaging.connection import Connection
from common.messaging.consumer import Consumer, Subscription
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.runtime.clock import Bounds, Clock
from common.runtime.health import Gate
from common.runtime.outages import Outage
from common.runtime.reconciler import Reconciler
from common.runtime.settings import ActorSettings
from common.runtime.web import TRACEPARENT
from payment.catch_up import CatchUp
from payment.handlers import PaymentHandlers
from payment.lost import LostRows
from payment.rate_limiter import Priority, StripeRateLimiter
from payment.reconciler import PaymentReconciler
from payment.repository import Store as PaymentStore
from payment.settings import PaymentSettings
from payment.strays import Strays
from payment.stripe_api import StripeApi
from payment.stripe_errors import OutcomeUnknown, Refused
from payment.webhook import Webhook
from payment.webhook_batches import WebhookBatches
from tests.simulation.door import CODES
from tests.simulation.mail import DOMAIN
from tests.simulation.postgres import GatedDatabase
from tests.simulation.process import Process
from tests.simulation.receivers import RETRIED_FOR
from tests.simulation.redis import SimulatedConnection, SimulatedMailbox
from tests.simulation.stripe_side import SECRET_KEY, WEBHOOK_SECRET
from tests.simulation.world import World

# With limits that a schedule's clients reach.
BOOKING_SETTINGS = BookingSettings(
    booking_database_url="postgresql://simulated/booking",
    _env_file=None,
    seats_per_owner=16,
    holds_per_owner=8,
    holds_per_address=5,
    seats_per_address=16,
    # So little that an owner who books and cancels in a loop asks for more.
    owner_stripe_calls=3,
    owner_stripe_call_seconds=20.0,
)
PAYMENT_SETTINGS = PaymentSettings(
    payment_database_url="postgresql://simulated/payment",
    stripe_secret_key=SecretStr(SECRET_KEY),
    stripe_webhook_secrets=(WEBHOOK_SECRET,),
    stripe_api_base=HttpUrl("http://stripe.simulation"),
)

OPERATORS = f"operators@{DOMAIN}"
# Without the limit of a recipient, which has tests of its own: a schedule's customers are few.
MAIL_POLICY = MailPolicy(per_recipient=0, operators=OPERATORS, connections=1)
CATCH_UP_PAUSES = (Outage, OutcomeUnknown, Refused)


class NoQueue(StripeRateLimiter):
    """Every call to Stripe may start at once: pacing has tests of its own."""

    def __init__(self) -> None:
        """Without Redis."""

    async def acquire(self, priority: Priority, deadline: float = 0.0) -> None:
        return

    async def slow_down(self, seconds: float) -> None:
        return


class ActorProcess(Process, ABC):
    """Its consumers run by themselves; the scheduler starts each pass of its reconciler."""

    def __init__(
        self, world: World, name: str, own_ahead: timedelta, settings: ActorSettings, database: GatedDatabase
    ) -> None:
        super().__init__(name)
        self.world = world

        async def read(_: Callable[[], float]) -> Bounds:
            return world.measured_time()

        self.now = Clock(
            "postgres",
            read,
            skew_max_s=settings.clock_skew_max_seconds,
            offset=world.lasting.metrics.clock_offset,
            own=lambda: (world.clock.now() + own_ahead).timestamp(),
            monotonic=world.monotonic,
        )
        self.now.apply(world.measured_time())
        self._settings = settings
        self._database = database
        self.redis = cast(Redis, world.redis)
        self.bus = Publisher(self.redis, source=f"/{name}")
        self.bus._connection = cast(Connection, SimulatedConnection(world.redis))
        self.reconciling = False
        # The one message type that this process does not know, if it is of the release before.
        self.lacks: str | None = None
        self._consumers: list[Consumer] = []

    @property
    @abstractmethod
    def loops(self) -> tuple[Reconciler, ...]:
        """Those that handle what is due."""

    async def next_due(self) -> datetime | None:
        """When the first of its loops has something to do."""
        due = [await loop.next_due() for loop in self.loops]
        return min((each for each in due if each is not None), default=None)

    @abstractmethod
    def reads(self) -> Mapping[str, tuple[Handlers, int | None]]:
        """The mailboxes, with their handlers and how many entries may be handled at once."""

    def start(self) -> None:
        older = "" if self.lacks is None else f", of the release before, without {self.lacks}"
        self.world.story.note(f"starts{older}", self.name)
        for stream, (every, concurrency) in self.reads().items():
            handlers = {kind: handler for kind, handler in every.items() if self.lacks not in kind.types}
            world = self.world
            mailbox = SimulatedMailbox(world.redis, world.story, stream, self)
            consumer = Consumer(
                Subscription(stream, handlers, concurrency),
                cast(Mailbox, mailbox),
                self.bus,
                self._settings,
                world.lasting.metrics,
                Gate(stream),
                reachable=self._reachable,
            )
            self._consumers.append(consumer)
            self.spawn(consumer.run())

    def types(self) -> list[str]:
        """All message types that its mailboxes may bring."""
        return sorted({name for handlers, _ in self.reads().values() for kind in handlers for name in kind.types})

    def put_back(self) -> None:
        """What its consumers do once a minute outside the simulation: put back unknown messages that they know."""

        async def work() -> None:
            for consumer in self._consumers:
                await consumer._put_back()

        self._pass("unknown messages", work, (Outage,))

    async def _reachable(self) -> None:
        self.world.redis.check()
        await self._database.ping()

    def reconcile(self) -> None:
        """Measure the time again, and run one pass of each loop."""

        async def work() -> None:
            self.reconciling = True
            try:
                await self.now.measure()
                for loop in self.loops:
                    await loop.run_once()
            finally:
                self.reconciling = False

        self._pass("reconciler", work, (Outage,))

    def _pass(
        self, name: str, work: Callable[[], Awaitable[object]], outages: tuple[type[BaseException], ...]
    ) -> None:
        async def run() -> None:
            self.world.story.note(f"{name}: a pass")
            try:
                await work()
            except outages as error:
                self.world.story.note(f"{name}: paused, {type(error).__name__}: {error}")

        self.spawn(run())


class BookingProcess(ActorProcess):
    """The booking actor."""

    def __init__(self, world: World, name: str, own_ahead: timedelta) -> None:
        super().__init__(world, name, own_ahead, BOOKING_SETTINGS, world.lasting.booking)
        policy = BOOKING_SETTINGS.hold_policy
        metrics = world.lasting.metrics
        self.repository = Store(world.lasting.booking, world.memory_max, metrics, BOOKING_SETTINGS.buyer_policy)
        self.availability = Availability(self.repository, self.bus, self.redis, name, 250, 250)
        queue = Queue(self.repository, self.bus, self.redis, name, 1000)
        share = FairShare(self.redis, BOOKING_SETTINGS.share, world.monotonic)
        share._read_until = math.inf  # all payment processes read the deferred mailbox
        world.booking_processes += 1
        unit = partial(UnitOfWork, self.repository, self.availability, queue, share, lambda: True)
        self._bookings = BookingHandlers(self.repository, unit, metrics, self.now, policy)
        self._event_handlers = EventHandlers(self.repository, self.availability, self.now)
        self._erasure_handlers = ErasureHandlers(self.repository, self.now)
        self._box_office = BoxOffice(self.repository, unit, self.now)
        self._query_handlers = QueryHandlers(self.repository, self.now)
        self._door_handlers = DoorHandlers(self.repository, CODES, self.now)
        self._reconciler = BookingReconciler(
            self.repository, unit, self.availability, self.bus, self.redis, self.now, policy
        )
        database, texts = world.lasting.booking, MailTexts(f"Tickets <tickets@{DOMAIN}>")
        announce = announces_mail(OPERATORS), announced_by_webhook(RETRIED_FOR)
        self._announcer = Announcer(database, announce, self.now, metrics)
        self._mail = MailSender(database, world.mail, texts, MAIL_POLICY, self.now, metrics)
        self._event_announcer = EventAnnouncer(database, self.now, RETRIED_FOR)
        terms = SenderTerms(retried_for=RETRIED_FOR)
        self._webhooks = WebhookSender(
            database, world.receivers.post, self.now, world.lasting.webhook_metrics, terms
        )

    @property
    def loops(self) -> tuple[Reconciler, ...]:
        return self._reconciler, self._announcer, self._event_announcer, self._mail, self._webhooks

    async def next_due(self) -> datetime | None:
        """Also what has become of webhooks is still to be written: their loop does so at its next pass."""
        if self._webhooks._sends or self._webhooks._finished:
            return self.now()
        return await super().next_due()

    def reads(self) -> Mapping[str, tuple[Handlers, int | None]]:
        door = {BOOKING_DOOR: (self._door_handlers.door, None)} if self.world.door.opens else {}
        others = {
            **self._event_handlers.commands,
            **self._erasure_handlers.commands,
            **self._box_office.commands,
        }
        return {
            BOOKING_PAYMENTS: (self._bookings.payments, None),
            BOOKING_COMMANDS: ({**self._bookings.commands, **others}, None),
            BOOKING_QUERIES: (self._query_handlers.queries, None),
            **door,
        }


class PaymentProcess(ActorProcess):
    """The payment actor, its webhook endpoint and its catch-up."""

    def __init__(self, world: World, name: str, own_ahead: timedelta) -> None:
        super().__init__(world, name, own_ahead, PAYMENT_SETTINGS, world.lasting.payment)
        settings = PAYMENT_SETTINGS
        gate = Gate("stripe")
        gate.open()
        timeout_s = settings.stripe_timeout_ms / 1000
        self.api = StripeApi(
            world.stripe.client, NoQueue(), world.lasting.stripe_metrics, gate, timeout_s, self.now
        )
        self.repository = PaymentStore(world.lasting.payment, world.memory_max, world.lasting.metrics)
        call_seconds, found = settings.command_calls_seconds, world.lasting.metrics.orphans
        strays = Strays(self.repository, self.api, self.now, found, settings.orphan_terms, call_seconds)
        self._handlers = PaymentHandlers(
            self.repository,
            self.api,
            self.now,
            LostRows(strays),
            intent_calls_seconds=settings.intent_calls_seconds,
            command_calls_seconds=call_seconds,
            deferred_calls_seconds=settings.deferred_calls_seconds,
        )
        self._reconciler = PaymentReconciler(self.repository, self.bus, self.now)
        batches = WebhookBatches(self._handlers.events.apply, self.bus, world.lasting.metrics, settings.batch_max)
        self._webhook = Webhook(
            batches.apply,
            clock=self.api.clock.now,
            secrets=settings.stripe_webhook_secrets,
            tolerance_s=settings.webhook_tolerance_seconds,
            livemode=settings.livemode,
        )
        self._catch_up = CatchUp(
            self.repository, self.api, batches.apply, self.now, settings.stripe_events_catch_up_seconds
        )
        self.catching_up = False

    @property
    def loops(self) -> tuple[Reconciler, ...]:
        return (self._reconciler,)

    def reads(self) -> Mapping[str, tuple[Handlers, int | None]]:
        slots = PAYMENT_SETTINGS.stripe_slots
        return {
            PAYMENT_WEBHOOKS: (self._handlers.webhooks, None),
            PAYMENT_COMMANDS: (self._handlers.commands, slots),
            PAYMENT_INTENTS: (self._handlers.intents, slots),
            PAYMENT_DEFERRED: (self._handlers.deferred, PAYMENT_SETTINGS.deferred_slots),
        }

    def catch_up(self) -> None:
        """One pass over Stripe's event list, if one is due."""

        async def work() -> None:
            self.catching_up = True
            try:
                await self._catch_up.scan()
            finally:
                self.catching_up = False

        self._pass("catch-up", work, CATCH_UP_PAUSES)

    def receive(self, body: str, signature: str | None, answered: Callable[[int], None]) -> None:
        """`POST /payment/webhook`; `answered` gets the status, unless the process dies before."""

        async def work() -> None:
            try:
                response = await self._webhook.receive(cast(web.Request, _Request(body, signature)))
                answered(response.status)
            except HoldfastError as error:
                answered(error.status)

        self.spawn(work())


class _Timeouts(dict[object, float]):
    """Stands in for the application: each of its times is 30 seconds, longer than a webhook takes."""

    def __missing__(self, key: object) -> float:
        return 30.0


class _Request(SimpleNamespace):
    """The parts of a request that the webhook's handler reads."""

    def __init__(self, body: str, signature: str | None) -> None:
        headers: dict[str, Any] = {} if signature is None else {"Stripe-Signature": signature}
        content = SimpleNamespace(is_eof=lambda: True)
        super().__init__(headers=headers, body=body.encode(), content=content, app=_Timeouts())

    async def read(self) -> bytes:
        return cast(bytes, self.body)

    def __getitem__(self, key: object) -> str:
        assert key == TRACEPARENT
        return ""
