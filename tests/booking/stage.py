"""The booking actor's handlers over real Postgres and Redis, without its loops; payment's messages are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

from redis.asyncio import Redis

from booking.announcer import Announce, Announcer
from booking.availability import Availability
from booking.box_office import BoxOffice
from booking.buyers import NO_LIMITS, BuyerPolicy
from booking.door_handlers import DoorHandlers
from booking.erasure_handlers import ErasureHandlers
from booking.event_handlers import EventHandlers
from booking.fair_share import FairShare, Share
from booking.guest_handlers import GuestHandlers
from booking.handlers import BookingHandlers
from booking.links import Links
from booking.mail_handlers import MailHandlers
from booking.promo_code_rows import counts_as
from booking.query_handlers import QueryHandlers
from booking.queue import Queue
from booking.reconciler import BookingReconciler
from booking.repository import Store
from booking.revocation_handlers import RevocationHandlers
from booking.state import HoldPolicy
from booking.ticket_codes import TicketCodes
from booking.ticket_handlers import TicketHandlers
from booking.unit_of_work import UnitOfWork
from booking.waiting_handlers import WaitingHandlers
from booking.webhook_handlers import WebhookHandlers
from booking.webhooks import Policy, WebhookTerms
from common.attention import AttentionHandlers
from common.contracts.ids import uuid7
from common.contracts.messages import (
    MAILBOXES,
    BookingChanged,
    CancelBooking,
    CreateBooking,
    CreateEvent,
    GetAttention,
    ItemRequest,
    Message,
    NewTicketType,
    PaymentReport,
    Reply,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.contracts.values import PaymentState
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, envelope_for
from common.messaging.publisher import Publisher
from common.messaging.streams import Entry
from common.postgres.database import Database
from common.runtime.telemetry import Metrics
from ops.audit.databases import BUYERS, PROMO_CODES, SEATS

TABLES = (
    "events, ticket_types, event_changes, bookings, booking_transitions, operator_requests, refund_retries, "
    "buyers, promo_codes, promo_code_owners, revoked_tokens, recovery_codes, check_ins, door_changes, erasures, "
    "event_contents, event_images, waiting_entries, mails, webhook_endpoints, webhook_deliveries"
)
ENTRIES = count(1)
TERMS = HoldPolicy(hold=timedelta(minutes=15), extension=timedelta(minutes=10), grace=timedelta(minutes=5))
CODES_LAST = timedelta(days=30)
LINKS = Links(["a-secret-of-the-links-of-32-bytes"], "https://tickets.example", timedelta(days=30))
SIGNING_KEY = "a-private-key-of-the-tests-of-32-bytes-abcd"
# Tests receive webhooks on the loopback interface, without TLS.
LOCAL = Policy(http=True, private=True)
WEBHOOK_TERMS = WebhookTerms(on=True, policy=LOCAL, retried_for=timedelta(days=3))
# Owners may ask of Stripe what they want.
NO_LIMIT = Share(calls=0)
M = TypeVar("M", bound=Message)


class Clock:
    """The time; a test may advance it."""

    def __init__(self, stopped_at: datetime | None = None) -> None:
        self.ahead = timedelta()
        self._stopped_at = stopped_at

    def __call__(self) -> datetime:
        return (self._stopped_at or datetime.now(UTC)) + self.ahead


def delivery(message: Message) -> Delivery:
    """`message` as it is read from its mailbox; its sender waits for the reply."""
    subject = getattr(message, "booking_id", None) or getattr(message, "event_id", "any")
    envelope = envelope_for(message, subject)
    asked = Envelope(
        message,
        envelope.stream,
        envelope.subject,
        envelope.id,
        envelope.traceparent,
        envelope.time,
        "replies:t",
        "c",
    )
    return Delivery(Entry(f"{next(ENTRIES)}-0".encode(), {}), asked)


@dataclass(frozen=True)
class Show:
    """An event of the test; it has one ticket type unless the test asks for more."""

    id: UUID
    types: tuple[UUID, ...]

    def order(
        self, quantity: int = 1, *, owner: str = "alice", id: UUID | None = None, type: UUID | None = None
    ) -> CreateBooking:
        items = (ItemRequest(ticket_type_id=type or self.types[0], quantity=quantity),)
        return CreateBooking(booking_id=id or uuid4(), owner=owner, event_id=self.id, items=items)


def new_event(*capacities: int, unit_amount: int = 2500, **values: Any) -> CreateEvent:
    fields: dict[str, Any] = {
        "event_id": uuid7(),
        "name": "Concert",
        "starts_at": datetime(2031, 1, 1, 20, tzinfo=UTC),
        "currency": "eur",
        "on_sale": True,
        "max_per_booking": 10,
        "cancel_until": None,
        "ticket_types": tuple(
            NewTicketType(id=uuid7(), name=f"Type {number}", unit_amount=unit_amount, capacity=capacity)
            for number, capacity in enumerate(capacities)
        ),
    }
    return CreateEvent(**(fields | values))


def report(
    booking: Booking,
    status: IntentStatus,
    version: int,
    **values: Any,
) -> PaymentReport:
    """A report of the payment of `booking`, as the payment actor publishes it."""
    captured = booking.amount if status is IntentStatus.SUCCEEDED else 0
    fields: dict[str, Any] = {
        "version": version,
        "status": status,
        "intent_id": f"pi_{booking.id.hex}",
        "client_secret": f"pi_{booking.id.hex}_secret_x",
        "amount": booking.amount,
        "currency": booking.currency,
        "amount_captured": captured,
    }
    return PaymentReport(booking_id=booking.id, payment=PaymentState(**(fields | values)))


@dataclass
class Stage:
    database: Database
    redis: Redis
    bus: Publisher
    store: Store
    availability: Availability
    queue: Queue
    handlers: BookingHandlers
    event_handlers: EventHandlers
    box_office: BoxOffice
    attention_handlers: AttentionHandlers
    erasure_handlers: ErasureHandlers
    guest_handlers: GuestHandlers
    mail_handlers: MailHandlers
    query_handlers: QueryHandlers
    revocation_handlers: RevocationHandlers
    ticket_handlers: TicketHandlers
    door_handlers: DoorHandlers
    waiting_handlers: WaitingHandlers
    webhook_handlers: WebhookHandlers
    reconciler: BookingReconciler
    announcer: Announcer
    share: FairShare
    unit: Callable[[], UnitOfWork]
    metrics: Metrics
    clock: Clock

    @classmethod
    def build(
        cls,
        database: Database,
        redis: Redis,
        memory_max: int = 100,
        clock: Clock | None = None,
        buyers: BuyerPolicy = NO_LIMITS,
        share: Share = NO_LIMIT,
        announce: Sequence[Announce] = (),
    ) -> Stage:
        clock, metrics = clock or Clock(), Metrics()
        bus = Publisher(redis, source="/booking/test")
        store = Store(database, memory_max, metrics, buyers)
        availability = Availability(store, bus, redis, "test", 0, 0)
        queue = Queue(store, bus, redis, "test", 60_000)
        fair_share = FairShare(redis, share, lambda: clock().timestamp())
        codes = TicketCodes([SIGNING_KEY])
        unit = partial(UnitOfWork, store, availability, queue, fair_share, lambda: bool(announce))
        return cls(
            database=database,
            redis=redis,
            bus=bus,
            store=store,
            availability=availability,
            queue=queue,
            handlers=BookingHandlers(store, unit, metrics, clock, TERMS),
            event_handlers=EventHandlers(store, availability, clock),
            box_office=BoxOffice(store, unit, clock),
            attention_handlers=AttentionHandlers(store.reading, redis, MAILBOXES, clock),
            erasure_handlers=ErasureHandlers(store, clock),
            guest_handlers=GuestHandlers(store, clock, CODES_LAST, LINKS),
            mail_handlers=MailHandlers(store, clock, on=bool(announce)),
            query_handlers=QueryHandlers(store, clock),
            revocation_handlers=RevocationHandlers(store, clock),
            ticket_handlers=TicketHandlers(store, codes),
            door_handlers=DoorHandlers(store, codes, clock),
            waiting_handlers=WaitingHandlers(store, availability, clock, TERMS),
            webhook_handlers=WebhookHandlers(store, clock, WEBHOOK_TERMS),
            reconciler=BookingReconciler(store, unit, availability, bus, redis, clock, TERMS),
            announcer=Announcer(database, announce, clock, metrics),
            share=fair_share,
            unit=unit,
            metrics=metrics,
            clock=clock,
        )

    async def give(self, *messages: Message) -> list[Envelope]:
        """Hand messages of one type to their handler as one batch; returns what the handler publishes."""
        table: Handlers = {
            **self.handlers.commands,
            **self.handlers.payments,
            **self.event_handlers.commands,
            **self.box_office.commands,
            GetAttention: self.attention_handlers.get_attention,
            **self.erasure_handlers.commands,
            **self.guest_handlers.commands,
            **self.guest_handlers.queries,
            **self.mail_handlers.commands,
            **self.mail_handlers.queries,
            **self.query_handlers.queries,
            **self.revocation_handlers.commands,
            **self.revocation_handlers.queries,
            **self.ticket_handlers.queries,
            **self.door_handlers.door,
            **self.waiting_handlers.commands,
            **self.waiting_handlers.queries,
            **self.webhook_handlers.commands,
            **self.webhook_handlers.queries,
        }
        return list(await table[type(messages[0])]([delivery(message) for message in messages]))

    async def call(self, *messages: Message) -> list[Reply]:
        return of(await self.give(*messages), Reply)

    async def show(self, *capacities: int, **values: Any) -> Show:
        """An event on sale, with a ticket type for each capacity."""
        message = new_event(*(capacities or (10,)), **values)
        (reply,) = await self.call(message)
        assert reply.error is None, reply
        return Show(message.event_id, tuple(each.id for each in message.ticket_types))

    async def book(self, *orders: CreateBooking) -> list[Booking]:
        """The bookings that these requests make, in the order of the requests."""
        replies = await self.call(*orders)
        assert all(reply.error is None for reply in replies), replies
        return [Booking.model_validate(reply.result["booking"]) for reply in replies]

    async def pending(self, show: Show, quantity: int = 1) -> Booking:
        """A booking that its customer can pay."""
        (booking,) = await self.book(show.order(quantity))
        (changed,) = await self.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
        return changed

    async def confirmed(self, show: Show, quantity: int = 1) -> Booking:
        """A paid booking: its payment is at version 2."""
        booking = await self.pending(show, quantity)
        (changed,) = await self.apply(report(booking, IntentStatus.SUCCEEDED, 2))
        return changed

    async def apply(self, *reports: PaymentReport) -> list[Booking]:
        """The bookings that change when these reports arrive."""
        return [changed.booking for changed in of(await self.give(*reports), BookingChanged)]

    async def cancel(self, booking: Booking, reason: CancelReason = CancelReason.BY_CUSTOMER) -> list[Envelope]:
        owner = "alice" if reason is CancelReason.BY_CUSTOMER else None
        return await self.give(CancelBooking(booking_id=booking.id, owner=owner, reason=reason))

    async def rows(self, query: str, *args: Any) -> Sequence[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query, *args))

    async def row(self, booking: Booking) -> Any:
        (row,) = await self.rows("SELECT * FROM bookings WHERE id = $1", booking.id)
        return row

    async def seats(self, show: Show) -> list[tuple[int, int]]:
        """(held, sold) of each ticket type, after a check that the bookings add up to them."""
        await self.audit()
        rows = await self.rows("SELECT held, sold FROM ticket_types WHERE event_id = $1 ORDER BY position", show.id)
        return [(row["held"], row["sold"]) for row in rows]

    async def audit(self) -> None:
        """Check that the counters are sums over the bookings, and that each version has its transition."""
        for query in (BUYERS_WRONG, PROMO_CODES_WRONG, CODES_MISCOUNTED):
            miscounted = await self.rows(query)
            assert not miscounted, [dict(row) for row in miscounted]
        wrong = await self.rows(SEATS_WRONG)
        assert not wrong, [dict(row) for row in wrong]
        unexplained = await self.rows(UNEXPLAINED)
        assert not unexplained, [dict(row) for row in unexplained]

    async def until_somebody_waits_for_a_lock(self) -> None:
        """Postgres notifies nobody when a transaction waits for a lock: only here a test has to poll."""
        async with asyncio.timeout(10):
            while not await self.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def due_at(self, booking: Booking) -> datetime | None:
        return (await self.row(booking))["settle_after"]  # type: ignore[no-any-return]

    async def reconcile(self, after: timedelta) -> None:
        """Advance the time by `after` and let the reconciler handle what is due."""
        self.clock.ahead += after
        await self.reconciler.run_once()

    async def reconcile_now(self) -> None:
        await self.reconcile(timedelta(milliseconds=1))

    async def listen(self, *shows: Show, gateways: int = 1) -> None:
        """From now on `gateways` gateways listen for these events."""
        for gateway in range(gateways):
            await self.redis.set(f"listening:{gateway}", "here")
            for show in shows:
                await cast(Any, self.redis.sadd(f"listeners:event:{show.id}", gateway))

    async def published(self, stream: str) -> list[tuple[str, str]]:
        """(type, subject) of each message in a stream, which is then emptied."""
        entries: Any = await self.redis.xrange(stream)
        await self.redis.delete(stream)
        return [(fields[b"type"].decode(), fields[b"subject"].decode()) for _, fields in entries]


SEATS_WRONG = f"""
SELECT * FROM ({SEATS.format(part="true")}) each
WHERE (held - reserved, sold, waiting) <> (booked_held, booked_sold, wanted)
    OR reserved <> least(waiting, capacity - booked_held - booked_sold)
"""
# Buyers whose rows are not the sums over the bookings that are counted.
BUYERS_WRONG = f"""
SELECT * FROM ({BUYERS.format(part="true")}) each WHERE (seats, holds) <> (booked_seats, booked_holds)
"""
# Promo codes that are not used as often as their bookings say, and bookings that are not counted as they are.
PROMO_CODES_WRONG = f"""
SELECT * FROM ({PROMO_CODES.format(part="true")}) each
WHERE (held, used) <> (booked_held, booked_used) OR held + used > uses_max
"""
CODES_MISCOUNTED = f"""
SELECT id, status, code_counted FROM bookings WHERE code_counted IS DISTINCT FROM {counts_as("code_id", "status")}
"""
UNEXPLAINED = """
SELECT b.id, b.version, count(t.id) AS transitions FROM bookings b
LEFT JOIN booking_transitions t ON t.booking_id = b.id GROUP BY b.id HAVING count(t.id) <> b.version
"""


def of(envelopes: Sequence[Envelope], kind: type[M]) -> list[M]:
    """The messages of this type, in order, as a receiver reads them."""
    found = [each.message for each in envelopes if isinstance(each.message, kind)]
    return [kind.model_validate_json(message.model_dump_json(exclude_unset=True)) for message in found]


def asked(envelopes: Sequence[Envelope]) -> list[str]:
    """The types of the messages to the payment actor."""
    return [each.message.type for each in envelopes if each.stream.startswith("payment.")]
