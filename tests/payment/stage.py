"""A payment actor for a test: its handlers over real Postgres and Redis, and the sandbox behind a `Wire`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import orjson
import stripe
from aiohttp import ClientSession

from common.contracts.messages import (
    CancelPaymentIntent,
    CreatePaymentIntent,
    Message,
    PaymentReport,
    RefundPayment,
    StripeEventReceived,
    SyncPayment,
)
from common.messaging.envelope import Delivery, Envelope, envelope_for
from common.messaging.publisher import Publisher
from common.messaging.streams import Entry
from common.postgres.database import Database
from common.runtime.health import Gate
from common.runtime.telemetry import Metrics
from payment import intent_commands
from payment.domain import is_due
from payment.handlers import PaymentHandlers
from payment.lost import LostRows
from payment.orphans import Stray
from payment.reconciler import PaymentReconciler
from payment.repository import Store
from payment.state import Payment
from payment.stripe_api import StripeApi
from payment.stripe_objects import Json
from tests.payment.wire import Wire

KEY = "sk_test_payment"
SECRETS = ("whsec_first", "whsec_second")
TABLES = "payments, payment_attempts, refunds, disputes, stripe_events, event_cursor, stray_intents"
ENTRIES = count(1)


class Clock:
    """The time; a test may advance it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def delivery(message: Message) -> Delivery:
    """`message` as it is read from its mailbox."""
    subject = getattr(message, "booking_id", "event")
    return Delivery(Entry(f"{next(ENTRIES)}-0".encode(), {}), envelope_for(message, subject))


def received(event: Json) -> StripeEventReceived:
    """The message that the webhook endpoint makes of `event`."""
    return StripeEventReceived(payload=orjson.dumps(event).decode())


def sign(payload: str, secret: str = SECRETS[0], at: float | None = None) -> str:
    """The header with Stripe's signature of `payload`."""
    header: str = stripe.WebhookSignature.generate_signature_header(payload, secret, int(at or time.time()))
    return header


@dataclass
class Booking:
    id: UUID
    event_id: UUID
    amount: int = 5000
    currency: str = "eur"

    @property
    def create(self) -> CreatePaymentIntent:
        return CreatePaymentIntent(
            booking_id=self.id, event_id=self.event_id, amount=self.amount, currency=self.currency
        )

    @property
    def cancel(self) -> CancelPaymentIntent:
        return CancelPaymentIntent(booking_id=self.id)

    @property
    def sync(self) -> SyncPayment:
        return SyncPayment(booking_id=self.id)

    def refund(self, amount: int | None = None, id: UUID | None = None) -> RefundPayment:
        return RefundPayment(booking_id=self.id, refund_id=id or uuid4(), amount=amount)


def seconds_for_calls(seconds: float) -> dict[str, float]:
    """How long handlers wait for Stripe's answers."""
    kinds = ("intent", "command", "deferred")
    return {f"{kind}_calls_seconds": seconds for kind in kinds}


def wanted(of: Booking, now: datetime) -> Payment:
    return intent_commands.wanted(of.create, now)


def booking(amount: int = 5000) -> Booking:
    return Booking(uuid4(), uuid4(), amount)


@dataclass
class Stage:
    database: Database
    bus: Publisher
    store: Store
    handlers: PaymentHandlers
    stripe: StripeApi
    reconciler: PaymentReconciler
    clock: Clock
    wire: Wire
    stripe_url: str
    session: ClientSession
    gate: Gate
    metrics: Metrics
    lost: LostRows

    async def record(self, *of: Booking) -> dict[UUID, str]:
        """Insert payments whose intents are wanted; returns the revisions of those that are new."""
        async with self.store.statement() as rows:
            return await rows.insert([wanted(each, self.clock()) for each in of])

    async def load(self, of: Booking) -> Payment:
        async with self.store.reading() as rows:
            return (await rows.load([of.id]))[of.id]

    async def due(self, field: str, after: timedelta = timedelta()) -> list[Payment]:
        """Payments whose time in this field has come, now or `after` from now."""
        now = self.clock() + after
        async with self.store.reading() as rows:
            return [each for each in await rows.take_due(now, 10) if is_due(getattr(each, field), now)]

    async def due_refunds(self) -> list[UUID]:
        """The ids of the refunds that are due."""
        async with self.store.reading() as rows:
            due = await rows.take_due(self.clock(), 10)
        return [each.id for payment in due for each in payment.refunds if is_due(each.retry_at, self.clock())]

    async def due_strays(self, after: timedelta = timedelta()) -> list[Stray]:
        async with self.store.reading() as rows:
            return await rows.strays.take_due(self.clock() + after, 10)

    async def give(self, *messages: Message) -> list[Envelope]:
        """Hand messages of one type to their handler as one batch; returns what the handler publishes."""
        table = {**self.handlers.intents, **self.handlers.commands, **self.handlers.webhooks}
        return list(await table[type(messages[0])]([delivery(message) for message in messages]))

    async def follow(self, envelopes: Iterable[Envelope]) -> list[PaymentReport]:
        """Hand what handlers publish to payment itself back to them, until only reports are left."""
        reports: list[PaymentReport] = []
        for envelope in envelopes:
            if isinstance(envelope.message, PaymentReport):
                reports.append(envelope.message)
            else:
                reports += await self.follow(await self.give(envelope.message))
        return reports

    async def do(self, *messages: Message) -> list[PaymentReport]:
        return await self.follow(await self.give(*messages))

    async def call(self, method: str, path: str, **form: Any) -> dict[str, Any]:
        """A call to Stripe by somebody else: the customer, or a person in the dashboard."""
        auth = {"Authorization": f"Bearer {KEY}"}
        fields = {"params": form} if method == "GET" else {"data": form}
        async with self.session.request(method, f"{self.stripe_url}{path}", headers=auth, **fields) as answer:  # type: ignore[arg-type]
            body: dict[str, Any] = await answer.json()
            return body

    async def pay(self, intent_id: str | None, card: str = "pm_card_visa") -> dict[str, Any]:
        """The customer confirms the intent with one of Stripe's test cards."""
        form = {"payment_method": card, "return_url": "https://shop.example/"}
        return await self.call("POST", f"/v1/payment_intents/{intent_id}/confirm", **form)

    async def events(self, *types: str, of: str | None = None) -> list[dict[str, Any]]:
        """Stripe events, oldest first: of these types, about this intent."""
        listed = (await self.call("GET", "/v1/events", limit=100))["data"]
        return [
            event
            for event in reversed(listed)
            if (not types or event["type"] in types)
            and (of is None or of in (event["data"]["object"]["id"], event["data"]["object"].get("payment_intent")))
        ]

    async def webhooks(self, *events: dict[str, Any]) -> list[PaymentReport]:
        """Apply Stripe events as one batch, as if their webhooks had arrived."""
        return await self.do(*map(received, events))

    async def paid(self, of: Booking) -> PaymentReport:
        """Have the booking paid, and apply the webhook of it."""
        (made,) = await self.do(of.create)
        await self.pay(made.payment.intent_id)
        (report,) = await self.webhooks(*await self.events("payment_intent.succeeded", of=made.payment.intent_id))
        return report

    async def rows(self, query: str, *args: Any) -> Sequence[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query, *args))

    async def row(self, of: Booking) -> Any:
        (row,) = await self.rows("SELECT * FROM payments WHERE booking_id = $1", of.id)
        return row

    async def live_intents(self, of: Booking) -> list[dict[str, Any]]:
        """The booking's intents at Stripe that are not canceled: money can come by them, or has come."""
        listed = (await self.call("GET", "/v1/payment_intents", limit=100))["data"]
        mine = [intent for intent in listed if intent["metadata"].get("booking_id") == str(of.id)]
        return [intent for intent in mine if intent["status"] != "canceled"]
