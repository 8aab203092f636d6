"""Clients and operators: what they request, and what they were shown."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from common.contracts.ids import booking_id
from common.contracts.messages import (
    BookingChanged,
    CancelBooking,
    CancelEvent,
    CodeTerms,
    CreateBooking,
    CreateBookingWithCode,
    CreateEvent,
    CreatePromoCodes,
    EraseCustomers,
    EventChanges,
    GetBooking,
    ItemRequest,
    Message,
    NewPromoCode,
    NewTicketType,
    OperatorRequest,
    RefundBooking,
    Reply,
    RequestPayment,
    RetryRefunds,
    SellSeats,
    SetCustomer,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import BoxOfficeMethod, CancelReason, PaymentMethods
from common.contracts.values import BoxOfficeSale, Customer
from common.messaging.envelope import Envelope, envelope_for
from tests.simulation.clockwork import EPOCH
from tests.simulation.faults import Fault
from tests.simulation.gates import Gates
from tests.simulation.redis import SimulatedRedis, encoded
from tests.simulation.story import Story

OWNERS = ("ann", "ben", "cas", "dee")
# Two of them are guests of one address.
ADDRESSES = {"ann": "an address", "ben": "an address"}
# Some owners say whom their bookings are for, and later that it is somebody else.
CUSTOMERS = {name: Customer(name.title(), f"{name}@example.com", "en") for name in ("ann", "cas")}
OTHERS = [Customer(f"Other {number}", f"other{number}@example.com", "fr", "+331") for number in range(2)]
# An owner that books and cancels in a loop: how often, how often at once, and how many bookings it keeps.
LOOPING, LOOPS, ROUNDS, KEPT = "eve", 4, 4, 2
# Of so many schedules one has a box office.
BOX_OFFICES = 8
# A promo code, and which share of the bookings is made by it where there are any.
CODE, BY_CODE = "FRIENDS", 0.8
# The subject of the operators. None of their requests has an Idempotency-Key: each is a new one.
OPERATOR = "operator"
BY_OPERATOR = OperatorRequest(subject=OPERATOR, operation="any", content_hash="")
# Stripe refuses this amount as too small. Only Stripe knows the limit in this currency, so booking accepts it.
TOO_LITTLE, CONVERTED = 20, "sar"
# Free, less than Stripe accepts, and two prices that it accepts.
PRICES = (0, TOO_LITTLE, 1000, 2500)
BOOKINGS_MAX = (3, 5, 8)
# When events begin.
SOON, LATER = timedelta(minutes=10), timedelta(days=30)
# From each status, those that a client may be shown next, however many versions it has missed.
ONWARD = {
    "pending": {"pending", "confirmed", "cancelled", "failed"},
    "confirmed": {"confirmed", "cancelled"},
    "cancelled": {"cancelled"},
    "failed": {"failed"},
}


@dataclass
class Wish:
    """A booking that a client requested, and the newest version of it that the client was shown."""

    request: CreateBooking
    seen: Booking | None = None

    @property
    def id(self) -> UUID:
        return self.request.booking_id

    @property
    def version(self) -> int:
        return self.seen.version if self.seen is not None else 0


@dataclass(frozen=True)
class Request:
    """A request, and the version of the booking that its client knew then."""

    id: str
    message: Message
    wish: Wish | None
    version: int


@dataclass
class Show:
    """An event that is on sale."""

    id: UUID
    types: list[UUID] = field(default_factory=list)


class People:
    def __init__(
        self,
        chance: random.Random,
        gates: Gates,
        story: Story,
        begins_soon: int,
        apart: random.Random,
        loops: float,
        codes: random.Random,
        by_code: float,
    ) -> None:
        """`apart` draws what few schedules have: in this share of them, an owner that books in a loop. `codes`
        draws which bookings are made by promo codes, in the share `by_code` of the schedules."""
        self._codes = codes if codes.random() < by_code else None
        # How many loops are left, their event, and the bookings that they keep and that they made.
        self.loops = LOOPS if apart.random() < loops else 0
        self._arena = Show(
            UUID(int=apart.getrandbits(128), version=4), [UUID(int=apart.getrandbits(128), version=4)]
        )
        # In few schedules operators sell at the box office, too: which, follows from what was drawn apart.
        self.sells = self._arena.id.int % BOX_OFFICES == 0
        self.sales: list[UUID] = []
        self._kept: list[Wish] = []
        self._looped = 0
        self._begins_soon = begins_soon
        self._chance = chance
        self._gates = gates
        self._story = story
        self.redis: SimulatedRedis
        self.shows: list[Show] = []
        self.wishes: dict[UUID, Wish] = {}
        self.requests: dict[str, Request] = {}
        self.answered: set[str] = set()
        # Status and payment status of each version that a client was shown.
        self.shown: dict[tuple[UUID, int], tuple[str, str]] = {}
        self._bookings_max = chance.choice(BOOKINGS_MAX)
        # A database has lost what they were shown: a version may come again with another content.
        self.shown_is_lost = False
        # The newest version of each booking that open sockets were sent. All were last opened anew at `opened_at`.
        self.sent: dict[UUID, int] = {}
        self.opened_at = EPOCH
        # Intents whose client secret a client was given.
        self.payable: list[str] = []
        # Hears what is answered to scanners.
        self.at_the_door: Callable[[Message, Any], None] = lambda *_: None

    # --- what they request

    def send(self, message: Message, subject: UUID, who: str, wish: Wish | None = None) -> None:
        correlation = f"request-{len(self.requests) + 1}"
        envelope = envelope_for(message, subject)._replace(replyto="replies:gateway", correlationid=correlation)
        request = Request(envelope.id, message, wish, wish.version if wish is not None else 0)
        self.requests[correlation] = request
        self._story.note(f"requests {message.type} {subject}", who)
        if Fault.REDIS_OUTAGE in self._gates.outages:
            # The gateway answers 503.
            self.answered.add(envelope.id)
            return
        self.redis.add(message.stream, encoded(envelope.fields("/gateway")))

    def set_up(self) -> None:
        """One or two events, with so few seats that clients compete for them."""
        for _ in range(self._chance.choice((1, 1, 2))):
            show = Show(self._id())
            self._story.name(show.id, "E")
            types = []
            currency = "eur"
            for _ in range(self._chance.choice((1, 1, 2))):
                show.types.append(self._id())
                price = self._chance.choices(PRICES, (1, 1, 9, 9))[0]
                if price == TOO_LITTLE:
                    currency = CONVERTED
                capacity = self._chance.choice((2, 4, 8, 20, 20))
                types.append(NewTicketType(id=show.types[-1], name="Seats", unit_amount=price, capacity=capacity))
                self._story.name(show.types[-1], "T")
            until = self._chance.choice((None, timedelta(minutes=5), timedelta(days=1)))
            soon = show.id.int % self._begins_soon == 0
            if soon and until is not None:
                until = min(until, SOON)
            self.shows.append(show)
            message = CreateEvent(
                event_id=show.id,
                name="Concert",
                starts_at=EPOCH + (SOON if soon else LATER),
                currency=currency,
                on_sale=True,
                max_per_booking=4,
                cancel_until=None if until is None else EPOCH + until,
                payment_methods=PaymentMethods.ALL,
                ticket_types=tuple(types),
                request=BY_OPERATOR,
            )
            self.send(message, show.id, OPERATOR)
            if self._codes is not None:
                self._make_code(show, self._codes)

        if self.loops:
            seats = NewTicketType(id=self._arena.types[0], name="Seats", unit_amount=1000, capacity=100)
            message = CreateEvent(
                event_id=self._arena.id,
                name="Arena",
                starts_at=EPOCH + LATER,
                currency="eur",
                on_sale=True,
                max_per_booking=4,
                cancel_until=None,
                ticket_types=(seats,),
                request=BY_OPERATOR,
            )
            self.send(message, self._arena.id, OPERATOR)

    def _make_code(self, show: Show, chance: random.Random) -> None:
        """A code with so few uses that clients compete for them."""
        message = CreatePromoCodes(
            event_id=show.id,
            codes=(NewPromoCode(id=UUID(int=chance.getrandbits(128), version=4), code=CODE),),
            terms=CodeTerms(
                percent_off=chance.choice((10, 100)),
                uses_max=chance.choice((1, 2)),
                uses_per_owner=chance.choice((None, 1)),
            ),
            request=BY_OPERATOR,
        )
        self._story.name(message.codes[0].id, "C")
        self.send(message, show.id, OPERATOR)

    def loop(self) -> None:
        """One owner books and cancels in a loop, some rounds at once."""
        self.loops -= 1
        for _ in range(ROUNDS):
            self._looped += 1
            request = CreateBooking(
                booking_id=booking_id(LOOPING, f"key {self._looped}"),
                owner=LOOPING,
                event_id=self._arena.id,
                items=(ItemRequest(quantity=1),),
            )
            wish = self.wishes[request.booking_id] = Wish(request)
            self._story.name(request.booking_id, "B")
            self.send(request, wish.id, LOOPING, wish)
            self._kept.append(wish)
            if len(self._kept) > KEPT:
                old = self._kept.pop(0)
                message = CancelBooking(booking_id=old.id, owner=LOOPING, reason=CancelReason.BY_CUSTOMER)
                self.send(message, old.id, LOOPING, old)

    def _id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)

    @property
    def eager(self) -> float:
        """How likely a new booking is: 1 at first, 0 when there are as many as this schedule may have."""
        left = self._bookings_max - len(self.wishes) + self._looped
        return left / self._bookings_max

    def seen(self, status: str) -> list[Wish]:
        """The bookings whose clients were last shown this status."""
        return [each for each in self.wishes.values() if each.seen is not None and each.seen.status == status]

    def book(self) -> None:
        owner = self._chance.choice(OWNERS)
        show = self._chance.choice(self.shows)
        types = self._chance.sample(show.types, self._chance.randint(1, len(show.types)))
        request = CreateBooking(
            booking_id=booking_id(owner, f"key {len(self.wishes) - self._looped}"),
            owner=owner,
            event_id=show.id,
            items=tuple(ItemRequest(ticket_type_id=id, quantity=self._chance.randint(1, 2)) for id in types),
            address=ADDRESSES.get(owner),
            customer=CUSTOMERS.get(owner),
        )
        if self._codes is not None and self._codes.random() < BY_CODE:
            request = CreateBookingWithCode(**dict(request), code=CODE)
        wish = self.wishes[request.booking_id] = Wish(request)
        self._story.name(request.booking_id, "B")
        self.send(request, request.booking_id, owner, wish)

    def book_again(self) -> None:
        """The same request with the same key, or, by mistake, another one with it."""
        wish = self._wish()
        request = wish.request
        if self._chance.random() < 0.1:
            request = request.model_copy(update={"items": (ItemRequest(quantity=3),)})
        self.send(request, wish.id, request.owner, wish)

    def cancel(self) -> None:
        wish = self._wish()
        message = CancelBooking(booking_id=wish.id, owner=wish.request.owner, reason=CancelReason.BY_CUSTOMER)
        self.send(message, wish.id, wish.request.owner, wish)

    def get_booking(self) -> None:
        wish = self._wish()
        self.send(GetBooking(booking_id=wish.id, owner=wish.request.owner), wish.id, wish.request.owner, wish)

    def request_payment(self) -> None:
        wish = self._wish()
        self.send(RequestPayment(booking_id=wish.id, owner=wish.request.owner), wish.id, wish.request.owner, wish)

    def set_customer(self) -> None:
        wish = self._wish()
        customer, owner = self._chance.choice(OTHERS), wish.request.owner
        self.send(SetCustomer(booking_id=wish.id, owner=owner, customer=customer), wish.id, owner, wish)

    def operator_erases(self) -> None:
        email = self._chance.choice([*CUSTOMERS.values(), *OTHERS]).email
        message = EraseCustomers(erasure_id=self._id(), email=email, request=BY_OPERATOR)
        self.send(message, message.erasure_id, OPERATOR)

    def operator_sells(self) -> None:
        show = self._chance.choice(self.shows)
        free = self._chance.random() < 0.3
        method = BoxOfficeMethod.COMPLIMENTARY if free else BoxOfficeMethod.CASH
        message = SellSeats(
            booking_id=self._id(),
            owner="box-office",
            event_id=show.id,
            items=(ItemRequest(ticket_type_id=self._chance.choice(show.types), quantity=1),),
            sale=BoxOfficeSale(method),
            request=BY_OPERATOR,
        )
        self.sales.append(message.booking_id)
        self._story.name(message.booking_id, "S")
        self.send(message, message.booking_id, OPERATOR)

    def operator_ends_sale(self) -> None:
        id = self._chance.choice(self.sales)
        message: Message = CancelBooking(
            booking_id=id, owner=None, reason=CancelReason.BY_OPERATOR, request=BY_OPERATOR
        )
        if self._chance.random() < 0.6:
            amount = self._chance.choice((None, 500))
            message = RefundBooking(booking_id=id, refund_id=self._id(), amount=amount, request=BY_OPERATOR)
        self.send(message, id, OPERATOR)

    def operator_cancels_booking(self) -> None:
        wish = self._wish("confirmed")
        reason = CancelReason.BY_OPERATOR
        message = CancelBooking(booking_id=wish.id, owner=None, reason=reason, request=BY_OPERATOR)
        self.send(message, wish.id, OPERATOR, wish)

    def operator_refunds(self) -> None:
        wish = self._wish("confirmed")
        amount = self._chance.choice((None, 500, 500, 1000))
        message = RefundBooking(booking_id=wish.id, refund_id=self._id(), amount=amount, request=BY_OPERATOR)
        self._story.name(message.refund_id, "R")
        self.send(message, wish.id, OPERATOR, wish)

    def operator_cancels_event(self) -> None:
        show = self._chance.choice(self.shows)
        self.send(CancelEvent(event_id=show.id, request=BY_OPERATOR), show.id, OPERATOR)

    @property
    def sees_failed_refunds(self) -> bool:
        seen = [wish.seen for wish in self.wishes.values() if wish.seen is not None]
        return any(booking.payment.status == "refund_failed" for booking in seen)

    def operator_retries_refunds(self) -> None:
        show = self._chance.choice(self.shows)
        message = RetryRefunds(event_id=show.id, retry_id=self._id(), request=BY_OPERATOR)
        self.send(message, show.id, OPERATOR)

    def operator_changes_event(self) -> None:
        show = self._chance.choice(self.shows)
        change = TicketTypeChange(id=self._chance.choice(show.types), capacity=self._chance.randint(1, 6))
        changes = EventChanges(on_sale=self._chance.random() < 0.7, name=f"Concert {len(self.requests)}")
        message = UpdateEvent(event_id=show.id, changes=changes, ticket_types=(change,), request=BY_OPERATOR)
        self.send(message, show.id, OPERATOR)

    def _wish(self, likely: str = "") -> Wish:
        of_them = self.seen(likely) if self._chance.random() < 0.7 else []
        return self._chance.choice(of_them or list(self.wishes.values()))

    # --- what they are shown

    def receive(self, envelope: Envelope) -> None:
        """A reply to one client, or a notification for all."""
        message = envelope.message
        if isinstance(message, BookingChanged):
            self.sent[message.booking.id] = max(self.sent.get(message.booking.id, 0), message.booking.version)
            self._see(message.booking, 0)
        elif isinstance(message, Reply) and envelope.correlationid in self.requests:
            request = self.requests[envelope.correlationid]
            self.answered.add(request.id)
            self._story.note(f"answers {request.message.type}: {message.error or 'done'}")
            if message.error is None and request.wish is not None:
                result = message.result.get("booking", message.result)
                self._see(Booking.model_validate(result), request.version)
            elif message.error is None:
                self.at_the_door(request.message, message.result)

    def _see(self, booking: Booking, known: int) -> None:
        self._story.note(
            f"shows {booking.id} v{booking.version} {booking.status} {booking.reason or ''} "
            f"payment {booking.payment.status} {booking.closing or ''}"
        )
        self._note_payable(booking)
        if booking.id in self.sales:
            return
        wish = self.wishes[booking.id]
        if self.shown_is_lost:
            wish.seen = booking
            return
        key, name = (booking.id, booking.version), f"{booking.id} v{booking.version}"
        state = (booking.status.value, booking.payment.status.value)
        if self.shown.setdefault(key, state) != state:
            self._story.violate("4 never backwards", f"{name}: {self.shown[key]}, {state}")
        if booking.version < known:
            self._story.violate("4 never backwards", f"{name} after v{known} was known")
        if booking.version <= wish.version:
            return  # a gateway shows no older version
        if wish.seen is not None:
            before = wish.seen
            back_again = before.reason == "hold_expired" and booking.status == "confirmed"
            if booking.status not in ONWARD[before.status] and not back_again:
                self._story.violate(
                    "4 never backwards",
                    f"{booking.id}: {before.status} {before.reason} v{before.version}, then "
                    f"{booking.status} {booking.reason} v{booking.version}",
                )
        wish.seen = booking

    def _note_payable(self, booking: Booking) -> None:
        intent_id = booking.payment.intent_id
        if intent_id is None:
            return
        self._story.name(intent_id, "I")
        if booking.payment.client_secret is not None and intent_id not in self.payable:
            self.payable.append(intent_id)
