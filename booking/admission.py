"""Which requests get seats: each becomes a new booking or is refused with the reason. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from booking.buyers import UNMARKED, Buyers, Marks
from booking.promo_codes import PromoCode, PromoCodes, applicable
from booking.schedule import WAITS
from booking.state import CONFIRMED, FAILED, PENDING, Booking, Bound, Event, FollowUp, HoldPolicy, Item, TicketType
from common.contracts import errors
from common.contracts.codes import code_key, reference_of
from common.contracts.currencies import LARGEST_AMOUNT, fault_of
from common.contracts.messages import CreateBooking, CreateBookingWithCode, GetQuote, SellSeats
from common.contracts.statuses import BoxOfficeMethod, EventStatus, PaymentStatus, Reason
from common.contracts.values import INTENT_DESCRIPTION_MAX

# The format of times in error texts; they are in UTC.
TIME = "%Y-%m-%dT%H:%M:%SZ"


NO_CODES = PromoCodes()


class Priced(NamedTuple):
    """Seats that can be sold, if they are free: the event, what is wanted at which prices, and by which code."""

    event: Event
    items: tuple[Item, ...]
    code: PromoCode | None


class Seats:
    """The free seats of a batch's ticket types, which its bookings take one after the other."""

    def __init__(self, free: Mapping[UUID, int]) -> None:
        self._first = free
        self._free = dict(free)
        # By ticket type: the fewest seats that, free at first, would have sufficed for a refused booking.
        self._below: dict[UUID, int] = {}

    def have(self, items: Sequence[Item]) -> bool:
        wanted: dict[UUID, int] = {}
        for id, quantity, _, _ in items:
            wanted[id] = wanted.get(id, 0) + quantity
        for id, quantity in wanted.items():
            free = self._free.get(id, 0)
            if free < quantity:
                enough = self._first.get(id, 0) - free + quantity
                self._below[id] = min(enough, self._below.get(id, enough))
                return False
        return True

    def take(self, items: Sequence[Item]) -> None:
        for id, quantity, _, _ in items:
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
    request: CreateBooking,
    event: Event | None,
    seats: Seats,
    buyers: Buyers,
    now: datetime,
    policy: HoldPolicy,
    codes: PromoCodes = NO_CODES,
) -> Booking | errors.HoldfastError:
    """The new booking for `request`, which takes its seats and counts for its buyers and its promo code, or the
    error."""
    priced = price(request, event, now, codes)
    if isinstance(priced, errors.HoldfastError):
        return priced
    event, items, code = priced
    free = seats.have(items)
    marks = buyers.marks(request, event) if free else UNMARKED
    booking = _new_booking(request, event, items, free, now, policy, marks)
    if code is not None:
        booking = _by_code(booking, code, request)
    if not free:
        return booking
    if (refused := buyers.add(booking, event, now)) is not None:
        return refused
    codes.take(booking)
    seats.take(items)
    return booking


def price(
    request: CreateBooking | GetQuote, event: Event | None, now: datetime, codes: PromoCodes = NO_CODES
) -> Priced | errors.HoldfastError:
    """What is asked for, with its prices, where it is sold; or the error that refuses it."""
    if event is None or event.status is EventStatus.DRAFT:
        return errors.EventNotFound()
    if not request.items:
        return errors.InvalidRequest("A booking has at least one seat")
    closed = sale_closed(event, now)
    if closed is not None:
        return closed
    if sum([item.quantity for item in request.items]) > event.max_per_booking:
        return errors.QuantityOverLimit()
    code = None
    if isinstance(request, CreateBookingWithCode | GetQuote) and request.code is not None:
        found = codes.find(event.id, request.code, now, request.owner)
        if isinstance(found, errors.HoldfastError):
            return found
        code = found
    items = _items(request, event, code)
    return items if isinstance(items, errors.HoldfastError) else Priced(event, items, code)


def sell(request: SellSeats, event: Event | None, seats: Seats, now: datetime) -> Booking | errors.HoldfastError:
    """The booking of seats that an operator sells, which takes them, or the error. What limits customers (the dates
    of the sale, seats for each booking and owner, what Stripe can charge) does not limit operators."""
    if event is None:
        return errors.EventNotFound()
    if not event.on_sale or event.called_off_at is not None or event.status is not EventStatus.PUBLISHED:
        return errors.NotOnSale()
    found = _priced(request, event, None)
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


def _items(
    request: CreateBooking | GetQuote, event: Event, code: PromoCode | None
) -> tuple[Item, ...] | errors.HoldfastError:
    """What is booked, with its prices; or the error that refuses it."""
    items = _priced(request, event, () if code is None else code.unlocks)
    if isinstance(items, errors.HoldfastError):
        return items
    if code is not None:
        if not applicable(code, items):
            return errors.CodeNotApplicable()
        items = tuple(_discounted(item, code, event.currency) for item in items)
    amount = amount_of(items)
    if request.expected_amount not in (None, amount):
        return price_changed(request.expected_amount, amount, event.currency)
    fault = fault_of(amount, event.currency) if amount else None
    if fault is not None:
        return errors.ERRORS[fault.code](f"This booking costs {amount}: {fault.text}", limit=fault.limit)
    return items


def _discounted(item: Item, code: PromoCode, currency: str) -> Item:
    return item._replace(unit_discount=code.unit_discount(item.ticket_type_id, item.unit_amount, currency))


def amount_of(items: Sequence[Item]) -> int:
    """What is paid for these items."""
    return sum([quantity * (price - discount) for _, quantity, price, discount in items])


def _priced(
    request: CreateBooking | GetQuote | SellSeats, event: Event, unlocked: Collection[UUID] | None
) -> tuple[Item, ...] | errors.HoldfastError:
    """`unlocked`: the hidden ticket types that are there for who asks; None: all. One that is not there is answered
    like an id that does not exist."""
    items = []
    for wanted in request.items:
        ticket_type = event.ticket_types.get(wanted.ticket_type_id) if wanted.ticket_type_id else None
        if wanted.ticket_type_id is None:
            there = [each for each in event.ticket_types.values() if _is_there(each, unlocked)]
            if len(there) != 1:
                return errors.TicketTypeRequired()
            ticket_type = there[0]
        if ticket_type is None or not _is_there(ticket_type, unlocked):
            return errors.TicketTypeNotFound()
        items.append(Item(ticket_type.id, wanted.quantity, ticket_type.unit_amount))
    return tuple(items)


def _is_there(ticket_type: TicketType, unlocked: Collection[UUID] | None) -> bool:
    return not ticket_type.hidden or unlocked is None or ticket_type.id in unlocked


def _by_code(booking: Booking, code: PromoCode, request: CreateBooking) -> Booking:
    """The new booking with its promo code, as its customer has written it; at Stripe, as an operator has."""
    assert isinstance(request, CreateBookingWithCode)
    description = booking.description and _bounded(f"{booking.description}, {code.code}")
    return booking._replace(code_id=code.id, code=request.code, description=description)


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
    amount = amount_of(items)
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
    seats = ", ".join([f"{quantity} × {event.ticket_types[id].name}" for id, quantity, _, _ in items])
    return _bounded(f"{reference_of(booking_id)}: {event.name}, {seats}")


def _bounded(text: str) -> str:
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
    written = request.code if isinstance(request, CreateBookingWithCode) else None
    if _code_key(written) != _code_key(booking.code):
        return False
    known = (booking.owner, booking.event_id, len(booking.items))
    return known == (request.owner, request.event_id, len(request.items)) and all(
        asked.ticket_type_id in (None, item.ticket_type_id) and asked.quantity == item.quantity
        for item, asked in zip(booking.items, request.items, strict=True)
    )


def _code_key(written: str | None) -> str | None:
    return None if written is None else code_key(written)
