"""What happens to bookings: one transaction for each request and for each webhook, by the ORM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import stripe
from tortoise.expressions import F
from tortoise.transactions import in_transaction

from booking.models import Booking, BookingTransition, Event, TicketType
from common.contracts import errors, resources
from common.contracts.ids import uuid7
from common.contracts.statuses import BookingStatus, IntentStatus, PaymentStatus
from common.contracts.values import PaymentError
from gateway.schemas import NewBooking, NewEvent
from payment.models import Payment
from payment.models import StripeEvent as StoredEvent
from payment.state import IntentSnapshot
from payment.stripe_objects import Json, StripeEvent, read_event

# The SDK's own retries, with the same key: also of a request while another one with that key is under way.
NETWORK_RETRIES = 3

Wanted = Sequence[tuple[TicketType, int]]


def _now() -> datetime:
    return datetime.now(UTC)


async def make_event(body: NewEvent) -> resources.Event:
    """A new event with its ticket types."""
    async with in_transaction():
        event = await Event.create(
            id=uuid7(),
            content_hash="",
            created_at=_now(),
            **body.model_dump(exclude={"ticket_types"}),
        )
        types = [
            await TicketType.create(id=uuid7(), event=event, position=position, **each.model_dump())
            for position, each in enumerate(body.ticket_types)
        ]
    shown = tuple(
        resources.TicketType(
            id=each.id,
            name=each.name,
            unit_amount=each.unit_amount,
            capacity=each.capacity,
            available=each.capacity,
        )
        for each in types
    )
    return resources.Event(id=event.id, ticket_types=shown, **body.model_dump(exclude={"ticket_types"}))


async def find(booking_id: UUID, owner: str) -> Booking:
    """Raises NotFound, also for another owner's booking."""
    booking = await Booking.get_or_none(id=booking_id, owner=owner)
    if booking is None:
        raise errors.NotFound
    return booking


async def hold(booking_id: UUID, owner: str, body: NewBooking, hold_seconds: int) -> tuple[Booking, bool]:
    """The booking with its seats, and whether it is new. Raises the error that the client gets."""
    event = await Event.get_or_none(id=body.event_id)
    if event is None:
        raise errors.EventNotFound
    wanted = _wanted(event, await TicketType.filter(event_id=event.id), body)
    # A client that comes too late is refused without a lock.
    if all(_fits(each, quantity) for each, quantity in wanted):
        booking, created = await _hold(booking_id, owner, event, wanted, hold_seconds)
    else:
        known = await Booking.get_or_none(id=booking_id)
        if known is None:
            raise errors.SoldOut
        booking, created = known, False
    ordered = [(each.id, quantity) for each, quantity in wanted]
    held = [(item.ticket_type_id, item.quantity) for item in items_of(booking)]
    if (booking.owner, booking.event_id, held) != (owner, event.id, ordered):
        raise errors.IdempotencyKeyReused
    return booking, created


async def _hold(
    booking_id: UUID, owner: str, event: Event, wanted: Wanted, hold_seconds: int
) -> tuple[Booking, bool]:
    quantities = {each.id: quantity for each, quantity in wanted}
    async with in_transaction():
        locked = await TicketType.filter(id__in=list(quantities)).order_by("id").select_for_update()
        # The same request may have come twice: the second has waited for the lock.
        known = await Booking.get_or_none(id=booking_id)
        if known is not None:
            return known, False
        for each in locked:
            if not _fits(each, quantities[each.id]):
                raise errors.SoldOut
            each.held += quantities[each.id]
            each.version += 1
            await each.save(update_fields=["held", "version"])
        now = _now()
        expires_at = now + timedelta(seconds=hold_seconds)
        booking = await Booking.create(
            id=booking_id,
            owner=owner,
            event_id=event.id,
            items=[
                {"ticket_type_id": str(each.id), "quantity": quantity, "unit_amount": each.unit_amount}
                for each, quantity in wanted
            ],
            amount=sum(each.unit_amount * quantity for each, quantity in wanted),
            currency=event.currency,
            status=BookingStatus.PENDING,
            payment=PaymentStatus.CREATING,
            expires_at=expires_at,
            settle_after=expires_at,
            created_at=now,
            updated_at=now,
            version=1,
        )
        await _record(booking, None, "POST /bookings", "")
        await Payment.create(
            booking_id=booking_id,
            event_id=event.id,
            amount=booking.amount,
            currency=booking.currency,
            status=IntentStatus.CREATING,
            asked_at=now,
            created_at=now,
            updated_at=now,
        )
    return booking, True


def _fits(ticket_type: TicketType, quantity: int) -> bool:
    return ticket_type.held + ticket_type.sold + quantity <= ticket_type.capacity


async def make_payable(booking: Booking, client: stripe.StripeClient) -> Booking:
    """Get the intent from Stripe, then save it. Raises Unavailable if Stripe does not answer well: the same request
    may be sent again, and finds the intent by its key."""
    try:
        # With the SDK's retries, which Holdfast's client leaves out.
        response = await stripe.StripeClient.raw_request_async(
            client,
            "post",
            "/v1/payment_intents",
            amount=booking.amount,
            currency=booking.currency,
            automatic_payment_methods={"enabled": True},
            metadata={"booking_id": str(booking.id), "event_id": str(booking.event_id)},
            idempotency_key=str(booking.id),
            max_network_retries=NETWORK_RETRIES,
        )
    except (stripe.StripeError, OSError, TimeoutError) as error:
        raise errors.Unavailable("Stripe does not answer") from error
    intent: Json = response.data
    async with in_transaction():
        booking = await Booking.select_for_update().get(id=booking.id)
        if (booking.status, booking.payment) != (BookingStatus.PENDING, PaymentStatus.CREATING):
            return booking
        booking.payment = PaymentStatus.AWAITING
        booking.intent_id, booking.client_secret = intent["id"], intent["client_secret"]
        await _save(booking, "payment", "intent_id", "client_secret")
        await _record(booking, BookingStatus.PENDING, "PaymentIntent", intent["id"])
        await Payment.filter(booking_id=booking.id).update(
            status=intent["status"],
            intent_id=intent["id"],
            client_secret=intent["client_secret"],
            updated_at=booking.updated_at,
        )
    return booking


async def take_event(payload: Json) -> Booking | None:
    """Apply a webhook; returns the booking that it is about. A repeated one changes nothing."""
    event = read_event(payload)
    if event.booking_id is None or not isinstance(event.snapshot, IntentSnapshot):
        return None
    async with in_transaction():
        booking = await Booking.select_for_update().get_or_none(id=event.booking_id)
        if booking is None or await StoredEvent.exists(id=event.id):
            return booking
        await StoredEvent.create(
            id=event.id,
            type=event.type,
            created=event.created,
            received_at=_now(),
            object_id=event.object_id,
            booking_id=event.booking_id,
        )
        await _apply(booking, event, event.snapshot)
    return booking


async def _apply(booking: Booking, event: StripeEvent, seen: IntentSnapshot) -> None:
    error = None if seen.last_error is None else {"code": seen.last_error.code, "message": seen.last_error.message}
    await Payment.filter(booking_id=booking.id).update(
        status=seen.status,
        charge_id=seen.charge_id,
        amount_captured=seen.amount_captured,
        last_error=error,
        seen_at=seen.at,
        updated_at=_now(),
    )
    if booking.status != BookingStatus.PENDING:
        return
    booking.amount_captured = seen.amount_captured
    if seen.status is IntentStatus.SUCCEEDED and seen.amount_captured == booking.amount:
        booking.status, booking.payment = BookingStatus.CONFIRMED, PaymentStatus.PAID
        booking.client_secret = booking.expires_at = booking.settle_after = None
        for item in items_of(booking):
            await TicketType.filter(id=item.ticket_type_id).update(
                held=F("held") - item.quantity, sold=F("sold") + item.quantity, version=F("version") + 1
            )
    else:
        booking.last_error = error
    changed = ("status", "payment", "client_secret", "expires_at", "settle_after", "amount_captured", "last_error")
    await _save(booking, *changed)
    await _record(booking, BookingStatus.PENDING, event.type, event.id)


async def _save(booking: Booking, *fields: str) -> None:
    booking.version += 1
    booking.updated_at = _now()
    await booking.save(update_fields=[*fields, "version", "updated_at"])


async def _record(booking: Booking, before: BookingStatus | None, cause: str, cause_id: str) -> None:
    await BookingTransition.create(
        booking_id=booking.id,
        version=booking.version,
        from_status=before,
        to_status=booking.status,
        payment_status=booking.payment,
        cause_type=cause,
        cause_id=cause_id,
        at=booking.updated_at,
    )


def _wanted(event: Event, ticket_types: Sequence[TicketType], body: NewBooking) -> Wanted:
    """Raises the error that says what is wrong with the request."""
    types = {each.id: each for each in ticket_types}
    if not event.on_sale:
        raise errors.NotOnSale
    if body.items is None:
        if len(types) != 1:
            raise errors.TicketTypeRequired
        assert body.quantity is not None
        ordered: Iterable[tuple[UUID, int]] = [(next(iter(types)), body.quantity)]
    else:
        ordered = [(item.ticket_type_id, item.quantity) for item in body.items]
    if sum(quantity for _, quantity in ordered) > event.max_per_booking:
        raise errors.QuantityOverLimit
    if any(id not in types for id, _ in ordered):
        raise errors.TicketTypeNotFound
    return [(types[id], quantity) for id, quantity in ordered]


def items_of(booking: Booking) -> tuple[resources.Item, ...]:
    items = booking.items
    assert isinstance(items, list)
    return tuple(resources.Item.model_validate(item) for item in items)


def shown(booking: Booking) -> resources.Booking:
    """As its owner sees it."""
    error = booking.last_error
    return resources.Booking(
        id=booking.id,
        event_id=booking.event_id,
        items=items_of(booking),
        amount=booking.amount,
        currency=booking.currency,
        status=BookingStatus(booking.status),
        reason=booking.reason,
        payment=resources.PaymentSummary(
            status=PaymentStatus(booking.payment),
            intent_id=booking.intent_id,
            client_secret=booking.client_secret,
            last_error=None if error is None else PaymentError(**cast("dict[str, str]", error)),
        ),
        version=booking.version,
        expires_at=booking.expires_at,
        created_at=booking.created_at,
        updated_at=booking.updated_at,
    )
