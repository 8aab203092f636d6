"""Bookings and events as clients and operators see them, and what a booking asks of the payment actor."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from booking.admission import Priced, amount_of
from booking.cancellation_rows import EventCancellation
from booking.promo_codes import PromoCode
from booking.state import Booking, Content, Event, FollowUp
from common.contracts import resources
from common.contracts.codes import reference_of
from common.contracts.currencies import exponent_of
from common.contracts.messages import (
    PAYMENT_DEFERRED,
    BookingChanged,
    CancelPaymentIntent,
    CreatePaymentIntent,
    EventChanged,
    Message,
    RefundPayment,
    SyncPayment,
)
from common.contracts.resources import is_payable
from common.contracts.statuses import BookingStatus
from common.contracts.tickets import BookingTickets, DoorEvent, Ticket, TicketEvent, TicketSeats
from common.contracts.values import Refund
from common.messaging.envelope import Delivery, Envelope, envelope_for

# The fields of a booking's payment that only operators see.
FOR_OPERATORS = ("refund_waiting", "refund_error", "disputes", "refunds", "rejection")
NOT_SHOWN: dict[str, Any] = dict.fromkeys((*FOR_OPERATORS, "note"))
# The status of a refund that payment has not taken up yet.
OWED = "owed"
# The fields of a booking, and of an event, that are shown as they are.
FIELDS = [name for name in resources.Booking.model_fields if name in Booking._fields]
TERMS = [name for name in Event._fields if name in resources.Event.model_fields]
_as_it_is = attrgetter(*FIELDS)
# The message that asks payment for each of these, once there is an intent.
COMMANDS: dict[FollowUp, type[Message]] = {
    FollowUp.CANCEL_INTENT: CancelPaymentIntent,
    FollowUp.SYNC: SyncPayment,
    FollowUp.REFUND: RefundPayment,
}


def shown(booking: Booking) -> resources.Booking:
    """The booking as its owner may see it: with the client secret while there is something to pay."""
    payable = is_payable(booking.status, booking.payment, booking.closing)
    values: dict[str, Any] = dict(zip(FIELDS, _as_it_is(booking), strict=True))
    values["currency_exponent"] = exponent_of(booking.currency)
    values["items"] = tuple([item._asdict() for item in booking.items])
    values["discount"] = 0 if booking.code_id is None else booking.discount
    values["payment"] = NOT_SHOWN | {
        "status": booking.payment,
        "intent_id": booking.intent_id,
        "client_secret": booking.client_secret if payable else None,
        "last_error": booking.last_error,
        "queue_position": None,
        "deferred": booking.deferred,
        "attempts": booking.attempts,
        "amount_captured": booking.amount_captured,
        "amount_refunded": booking.amount_refunded,
        "method": None if booking.box_office is None else booking.box_office.method,
    }
    if booking.status is not BookingStatus.PENDING:
        values["hold_until"] = None
    return resources.Booking.model_validate(values)


def booking_changed(booking: Booking, cause: Delivery | None, seen: resources.Booking | None = None) -> Envelope:
    """The notification of it; `seen`: the booking as shown, if it has been made already."""
    return envelope_for(
        BookingChanged(owner=booking.owner, booking=seen or shown(booking)), booking.id, cause=cause
    )


def for_operators(seen: resources.Booking, booking: Booking) -> resources.Booking:
    """The booking as operators see it: no client secret, but its disputes, its refunds and why one waits or has
    failed, why Stripe refused to make its intent, and what was noted when it was sold at the box office."""
    note = None if booking.box_office is None else booking.box_office.note
    values = {name: getattr(booking, name) for name in FOR_OPERATORS} | {"refunds": _refunds(booking), "note": note}
    return seen.redacted().with_payment(**values)


def _refunds(booking: Booking) -> tuple[Refund, ...]:
    """All refunds, as payment has reported them, and then the one that is owed."""
    if booking.refund_id is None or booking.refund_amount is None:
        return booking.refunds
    return *booking.refunds, Refund(booking.refund_id, booking.refund_amount, OWED, by=booking.refund_by)


def version_of(event: Event) -> int:
    """The version that clients see: it also counts the ticket types' changes, while these are not hidden."""
    return event.version + sum(each.public_version for each in event.ticket_types.values())


def shown_event(
    event: Event, content: Content | None = None, unlocked: Collection[UUID] | None = ()
) -> resources.Event:
    """The event with its free seats, and with its content where that is at hand, but not its description. Of two
    snapshots the one with the higher version is the newer one. `unlocked`: the hidden ticket types that are shown,
    which have no part in the version; None: all."""
    values: dict[str, Any] = {name: getattr(event, name) for name in TERMS}
    values |= {
        "currency_exponent": exponent_of(event.currency),
        "sales_end": event.sales_end_at,
        "ticket_types": tuple(
            {**each._asdict(), "available": each.free}
            for each in event.ticket_types.values()
            if not each.hidden or unlocked is None or each.id in unlocked
        ),
        "version": version_of(event),
        "terms_version": event.version,
    }
    if content is not None:
        values |= {"category": content.category, "venue": content.venue, "image": content.image}
    return resources.Event.model_validate(values)


def shown_code(code: PromoCode) -> resources.PromoCode:
    """The promo code as operators see it."""
    return resources.PromoCode.model_validate(code._asdict())


def shown_quote(priced: Priced) -> resources.Quote:
    event, items, code = priced
    subtotal, amount = sum(item.quantity * item.unit_amount for item in items), amount_of(items)
    return resources.Quote(
        event_id=event.id,
        items=tuple(
            resources.QuotedItem(**item._asdict(), name=event.ticket_types[item.ticket_type_id].name)
            for item in items
        ),
        subtotal=subtotal,
        discount=subtotal - amount,
        amount=amount,
        currency=event.currency,
        currency_exponent=exponent_of(event.currency),
        code=None if code is None else code.code,
    )


def door_event(event: Event) -> DoorEvent:
    """The event as scanners see it, also by the venue's clock."""
    return DoorEvent(
        id=event.id,
        name=event.name,
        starts_at=event.starts_at,
        starts_at_local=event.starts_at.astimezone(ZoneInfo(event.time_zone)).isoformat(),
        time_zone=event.time_zone,
        called_off_at=event.called_off_at,
        version=event.version,
    )


def booking_tickets(
    booking: Booking, event: Event, content: Content, items: Iterable[Ticket] = ()
) -> BookingTickets:
    """The booking as its tickets show it, with these of them."""
    seats = (
        TicketSeats(ticket_type_id=type_id, name=event.ticket_types[type_id].name, quantity=quantity)
        for type_id, quantity, _, _ in booking.items_left
        if quantity
    )
    return BookingTickets(
        booking_id=booking.id,
        reference=reference_of(booking.id),
        holder=None if booking.customer is None else booking.customer.name,
        status=booking.status,
        event=TicketEvent(**door_event(event).__dict__, venue=content.venue),
        seats=tuple(seats),
        items=tuple(items),
    )


def operators_event(
    event: Event,
    cancellation: EventCancellation | None = None,
    refund_retry: resources.RefundRetry | None = None,
    content: Content | None = None,
) -> resources.OperatorsEvent:
    """The event as operators see it. The version counts the changes of hidden ticket types, too, and with the
    progress of its cancellation those of the bookings: of two snapshots the one with the higher is newer."""
    seen, (progress, changes) = shown_event(event, content, None), cancellation or (None, 0)
    changes += sum(each.version - each.public_version for each in event.ticket_types.values())
    counted = zip(seen.ticket_types, event.ticket_types.values(), strict=True)
    values = seen.model_dump(exclude_unset=True) | {
        "ticket_types": tuple({**each.model_dump(), "held": row.held, "sold": row.sold} for each, row in counted),
        "progress": progress,
        "refund_retry": refund_retry,
        "version": seen.version + changes,
    }
    return resources.OperatorsEvent.model_validate(values)


def with_description(
    seen: resources.Event | resources.OperatorsEvent, content: Content
) -> resources.EventDetails | resources.OperatorsEventDetails:
    """The event as it is shown where it is read by itself. Its gateway adds the description as HTML."""
    operators = isinstance(seen, resources.OperatorsEvent)
    kind = resources.OperatorsEventDetails if operators else resources.EventDetails
    return kind.model_validate(seen.model_dump(exclude_unset=True) | {"description": content.description})


def event_changed(event: Event, cancellation: EventCancellation | None = None) -> Envelope:
    return envelope_for(
        EventChanged(event=shown_event(event), operators=operators_event(event, cancellation)), event.id
    )


def webhook_body(
    type: str, happened_at: datetime, version: int, seen: resources.Booking | resources.OperatorsEvent
) -> bytes:
    """What an endpoint is sent about a change that gave the booking or event this version: all of it as operators
    see it, as it is now."""
    data = seen.__dict__
    if isinstance(seen, resources.Booking):
        data = data | {"kind": "booking", "reference": reference_of(seen.id)}
    message = {"type": type, "timestamp": happened_at, "version": version, "data": data}
    return orjson.dumps(message, resources.plain, orjson.OPT_UTC_Z)


def command_for(
    booking: Booking, follow_up: FollowUp, cause: Delivery | None = None, *, deferred: bool = False
) -> Envelope:
    """The message by which `booking` asks the payment actor for `follow_up`."""
    asked = envelope_for(_command(booking, follow_up), booking.id, cause=cause)
    return asked._replace(stream=PAYMENT_DEFERRED) if deferred else asked


def _command(booking: Booking, follow_up: FollowUp) -> Message:
    if follow_up is FollowUp.CREATE_INTENT:
        return CreatePaymentIntent(
            booking_id=booking.id,
            event_id=booking.event_id,
            amount=booking.amount,
            currency=booking.currency,
            payment_methods=booking.payment_methods,
            description=booking.description,
            receipt_email=None if booking.customer is None else booking.customer.email,
        )
    values: dict[str, Any] = {"booking_id": booking.id}
    if booking.intent_id is not None:  # by these payment finds the intent again if its row is lost
        values |= {
            "intent_id": booking.intent_id,
            "booking_amount": booking.amount,
            "booking_currency": booking.currency,
        }
    if follow_up is FollowUp.REFUND:
        values |= {
            "refund_id": booking.refund_id,
            "amount": booking.refund_amount,
            "whole": booking.refund_whole,
            "by": booking.refund_by,
        }
    return COMMANDS[follow_up](**values)
