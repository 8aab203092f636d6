"""Which requests get seats: each becomes a new booking or is refused with the reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from booking.buyers import UNMARKED, Buyers, Marks
from booking.schedule import WAITS
from booking.state import CONFIRMED, FAILED, PENDING, Booking, Bound, Event, FollowUp, HoldPolicy, Item
from common.contracts import errors
from common.contracts.codes import reference_of
from common.contracts.currencies import LARGEST_AMOUNT, fault_of
from common.contracts.messages import CreateBooking, SellSeats
from common.contracts.statuses import BoxOfficeMethod, EventStatus, PaymentStatus, Reason
from common.contracts.values import INTENT_DESCRIPTION_MAX

# The format of times in error texts; they are in UTC.
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Seats:
    """The free seats of a batch's ticket types, which its bookings take one after the other."""

    def __init__(self, free: Mapping[UUID, int]) -> None:
        self._first = free
        self._free = dict(free)
        # By ticket type: the fewest seats that, free at first, would have sufficed for a refused booking.
        self._below: dict[UUID, int] = {}

    def have(self, items: Sequence[Item]) -> bool:
        wanted: dict[UUID, int] = {}
        for id, quantity, _ in items:
            wanted[id] = wanted.get(id, 0) + quantity
        for id, quantity in wanted.items():
            free = self._free.get(id, 0)
            if free < quantity:
                enough = self._first.get(id, 0) - free + quantity
                self._below[id] = min(enough, self._below.get(id, enough))
                return False
        return True

    def take(self, items: Sequence[Item]) -> None:
        for id, quantity, _ in items:
            self._free[id] -= quantity

    def bounds(self, terms_tokens: Mapping[UUID, UUID]) -> list[Bound]:
        """What all decisions made here depend on, by ticket type: its terms, at least as many seats free at the
        beginning as were taken, and fewer than a refused booking would have needed."""
        needed = {id: first - self._free[id] for id, first in self._first.items()}
        return [
            Bound(id, terms_tokens[id], taken, self._below.get(id))
            for id, taken in needed.items()
            if taken or id in self._below
        ]


def admit(
    request: CreateBooking, event: Event | None, seats: Seats, buyers: Buyers, now: datetime, policy: HoldPolicy
) -> Booking | errors.HoldfastError:
    """The new booking for `request`, which takes its seats and counts for its buyers, or the error."""
    if event is None or event.status is EventStatus.DRAFT:
        return errors.EventNotFound()
    if not request.items:
        return errors.InvalidRequest("A booking has at least one seat")
    closed = sale_closed(event, now)
    if closed is not None:
        return closed
    if sum([item.quantity for item in request.items]) > event.max_per_booking:
        return errors.QuantityOverLimit()
    items = _items(request, event)
    if isinstance(items, errors.HoldfastError):
        return items
    free = seats.have(items)
    marks = buyers.marks(request, event) if free else UNMARKED
    booking = _new_booking(request, event, items, free, now, policy, marks)
    if not free:
        return booking
    if (refused := buyers.add(booking, event, now)) is not None:
        return refused
    seats.take(items)
    return booking


def sell(request: SellSeats, event: Event | None, seats: Seats, now: datetime) -> Booking | errors.HoldfastError:
    """The booking of seats that an operator sells, which takes them, or the error. What limits customers (the dates
    of the sale, seats for each booking and owner, what Stripe can charge) does not limit operators."""
    if event is None:
        return errors.EventNotFound()
    if not event.on_sale or event.called_off_at is not None or event.status is not EventStatus.PUBLISHED:
        return errors.NotOnSale()
    found = _priced(request, event)
    if isinstance(found, errors.HoldfastError):
        return found
    items = tuple(item._replace(unit_amount=0) for item in found) if _is_free(request) else found
    amount = sum(item.quantity * item.unit_amount for item in items)
    if request.expected_amount not in (None, amount):
        return price_changed(request.expected_amount, amount, event.currency)
    if amount > LARGEST_AMOUNT:
        return errors.AmountOverLimit(limit=LARGEST_AMOUNT)
    if not seats.have(items):
        return errors.SoldOut()
    seats.take(items)
    return Booking(
        id=request.booking_id,
        owner=request.owner,
        event_id=event.id,
        items=items,
        amount=amount,
        currency=event.currency,
        status=CONFIRMED,
        payment=PaymentStatus.PAID if amount else PaymentStatus.NONE,
        amount_captured=amount,
        created_at=now,
        updated_at=now,
        customer=request.customer,
        box_office=request.sale,
    )


def _is_free(request: SellSeats) -> bool:
    return request.sale.method is BoxOfficeMethod.COMPLIMENTARY


def _items(request: CreateBooking, event: Event) -> tuple[Item, ...] | errors.HoldfastError:
    """What is booked, with its prices; or the error that refuses it."""
    items = _priced(request, event)
    if isinstance(items, errors.HoldfastError):
        return items
    amount = sum([quantity * price for _, quantity, price in items])
    if request.expected_amount not in (None, amount):
        return price_changed(request.expected_amount, amount, event.currency)
    fault = fault_of(amount, event.currency) if amount else None
    if fault is not None:
        return errors.ERRORS[fault.code](f"This booking costs {amount}: {fault.text}", limit=fault.limit)
    return items


def _priced(request: CreateBooking | SellSeats, event: Event) -> tuple[Item, ...] | errors.HoldfastError:
    items = []
    for wanted in request.items:
        if wanted.ticket_type_id is None and len(event.ticket_types) != 1:
            return errors.TicketTypeRequired()
        ticket_type = event.ticket_types.get(wanted.ticket_type_id or next(iter(event.ticket_types)))
        if ticket_type is None:
            return errors.TicketTypeNotFound()
        items.append(Item(ticket_type.id, wanted.quantity, ticket_type.unit_amount))
    return tuple(items)


def _new_booking(
    request: CreateBooking,
    event: Event,
    items: tuple[Item, ...],
    free: bool,
    now: datetime,
    policy: HoldPolicy,
    marks: Marks,
) -> Booking:
    """The booking of these items, which fails unless there are enough seats `free`; `marks`: of its buyers."""
    amount = sum([quantity * price for _, quantity, price in items])
    status, payment, reason, ends_at, retry_at = CONFIRMED, PaymentStatus.NONE, None, None, None
    description = None
    if not free:
        status, reason = FAILED, Reason.SOLD_OUT
    elif amount:
        status, payment, ends_at = PENDING, PaymentStatus.CREATING, now + policy.hold
        retry_at = min(now + WAITS[FollowUp.CREATE_INTENT].first, ends_at)
        description = _description(request.booking_id, event, items)
    return Booking(
        id=request.booking_id,
        owner=request.owner,
        event_id=event.id,
        items=items,
        amount=amount,
        currency=event.currency,
        status=status,
        payment=payment,
        created_at=now,
        updated_at=now,
        reason=reason,
        payment_methods=event.methods_offered(now),
        expires_at=ends_at,
        retry_at=retry_at,
        customer=request.customer,
        customer_digest=_customer_digest(request),
        description=description,
        address=marks.address,
        counted=marks.counted,
    )


def _description(booking_id: UUID, event: Event, items: Sequence[Item]) -> str:
    """What operators read of a booking at Stripe, and its customer in Stripe's receipt: without words of any
    language."""
    seats = ", ".join([f"{quantity} × {event.ticket_types[id].name}" for id, quantity, _ in items])
    text = f"{reference_of(booking_id)}: {event.name}, {seats}"
    return text if len(text) <= INTENT_DESCRIPTION_MAX else f"{text[: INTENT_DESCRIPTION_MAX - 1]}…"


def _customer_digest(request: CreateBooking | SellSeats) -> str:
    """A hash of the customer in this request, with the booking's id as its salt; "" without one. Rows keep it: what
    it is made of never changes."""
    if (customer := request.customer) is None:
        return ""
    content = "\0".join((customer.name, customer.email, customer.locale, customer.phone or ""))
    return blake2b(content.encode(), digest_size=8, salt=request.booking_id.bytes).hexdigest()


def price_changed(expected: int | None, amount: int, currency: str) -> errors.HoldfastError:
    text = f"The seats cost {amount}, and not {expected} (in the minor unit of {currency})"
    return errors.PriceChanged(text, amount=amount, expected_amount=expected, currency=currency)


def sale_closed(event: Event, now: datetime) -> errors.HoldfastError | None:
    """The error that says why `event` is not sold now; None while it is on sale."""
    if not event.on_sale or event.status is not EventStatus.PUBLISHED:
        return errors.NotOnSale()
    starts, end = event.sales_start, event.sales_end_at
    if starts is not None and now < starts:
        return errors.SalesNotStarted(f"The sale starts at {starts:{TIME}}", sales_start=starts)
    if end is not None and now >= end:
        return errors.SalesEnded(f"The sale ended at {end:{TIME}}", sales_end=end)
    return None


def asked_for(booking: Booking, request: CreateBooking | SellSeats) -> bool:
    """Whether `request` is the one that made `booking`."""
    if booking.customer_digest not in (None, _customer_digest(request)):
        return False
    known = (booking.owner, booking.event_id, len(booking.items))
    return known == (request.owner, request.event_id, len(request.items)) and all(
        asked.ticket_type_id in (None, item.ticket_type_id) and asked.quantity == item.quantity
        for item, asked in zip(booking.items, request.items, strict=True)
    )
