"""New bookings get seats in stream order: by one statement from memory or, if that does not fit, under locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from booking.admission import NO_CODES, Seats, admit, asked_for
from booking.buyers import Buyers, keys_of
from booking.promo_codes import PromoCodes, owner_keys
from booking.repository import Store, Transaction
from booking.state import Booking, Event, HoldPolicy
from booking.unit_of_work import UnitOfWork
from common.contracts.errors import BUYER_REFUSED, IdempotencyKeyReused
from common.contracts.messages import CreateBooking, CreateBookingWithCode
from common.messaging.envelope import Delivery, Envelope, answer, answers

# After memory was wrong about an event, the event is sold under locks for this long: where many processes sell the
# last seats, memory would mostly be wrong again, and each such try costs one round trip more.
UNDER_LOCK = timedelta(seconds=1)
# A buyer that was refused takes the locked path for this long: as long as a client that retries may wait.
REFUSED = timedelta(seconds=30)


class Creation:
    """The handler of CreateBooking, by a promo code or without. It counts no queue positions, which would slow down
    a rush of new bookings: the gateway adds them."""

    def __init__(
        self, store: Store, unit: Callable[[], UnitOfWork], clock: Callable[[], datetime], policy: HoldPolicy
    ) -> None:
        self._store = store
        self._unit = unit
        self._clock = clock
        self._policy = policy
        # By event: until when it is sold under locks.
        self._under_lock_until: dict[UUID, datetime] = {}
        # By buyer that was refused: until when its requests take the locked path. Memory does not know what a buyer
        # has: one statement for all would fail because of it.
        self._refused_until: dict[str, datetime] = {}

    async def create(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Create the bookings. Requests that memory refuses, or whose bookings exist, take the locked path."""
        now = self._clock()
        unit, made = await self._from_memory(deliveries, now)
        left = [each for each in deliveries if made.get(each.message.booking_id) is not each]
        replies = (reply for id, each in made.items() for reply in answer(each, _new(unit, id)))
        return chain(unit.envelopes(), replies, await self._under_lock(left, now) if left else ())

    async def _from_memory(
        self, deliveries: Sequence[Delivery], now: datetime
    ) -> tuple[UnitOfWork, dict[UUID, Delivery]]:
        """The bookings that one statement has made, and the deliveries that asked for them. A repeated request is
        left out, if memory knows its booking: the statement would make none of the others."""
        unit = self._unit()
        events = await self._events({each.message.event_id for each in deliveries}, now)
        seats, buyers = seats_of(events), Buyers(self._store.buyers)
        codes = await self._codes(deliveries) if events else NO_CODES
        made: dict[UUID, Delivery] = {}
        for delivery in deliveries:
            request: CreateBooking = delivery.message
            event = events.get(request.event_id)
            repeated = request.booking_id in made or request.booking_id in self._store.bookings
            if event is not None and not repeated and not self._refused(request, now):
                admitted = admit(request, event, seats, buyers, now, self._policy, codes)
                if isinstance(admitted, Booking):
                    unit.add(admitted, delivery)
                    made[admitted.id] = delivery
        tokens = {id: each.terms_token for event in events.values() for id, each in event.ticket_types.items()}
        unit.buyers, unit.codes = buyers.bounds, codes.bounds
        await unit.save(seats.bounds(tokens))
        if made and not unit.written:
            self._store.events.drop(events)
            self._under_lock_until |= dict.fromkeys(events, now + UNDER_LOCK)
        return unit, {id: each for id, each in made.items() if id in unit.written}

    def _refused(self, request: CreateBooking, now: datetime) -> bool:
        """Whether a buyer of this request was refused a short time ago."""
        if self._refused_until:
            self._refused_until = {key: until for key, until in self._refused_until.items() if until > now}
        return bool(self._refused_until) and not keys_of([request]).isdisjoint(self._refused_until)

    async def _events(self, event_ids: Collection[UUID], now: datetime) -> dict[UUID, Event]:
        """These events, without those that are sold under locks now; none if memory is off."""
        self._under_lock_until = {id: until for id, until in self._under_lock_until.items() if until > now}

        async def read(rows: Transaction, missing: list[UUID]) -> dict[UUID, Event]:
            self._store.events.keep(events := await rows.events.find(missing))
            return events

        return await self._store.find(self._store.events, set(event_ids) - self._under_lock_until.keys(), read)

    async def _codes(self, deliveries: Sequence[Delivery]) -> PromoCodes:
        """The promo codes that these name, as they are now, and how often their owners have used them."""
        wanted = [each.message for each in deliveries if isinstance(each.message, CreateBookingWithCode)]
        if not wanted:
            return NO_CODES
        async with self._store.reading() as rows:
            found = await rows.codes.find({(each.event_id, each.code) for each in wanted})
            return PromoCodes(found.values(), await rows.codes.uses(owner_keys(found.values(), wanted)))

    async def _under_lock(self, deliveries: Sequence[Delivery], now: datetime) -> list[Envelope]:
        """The locked path: decide by the events as they are, under the locks of their ticket types."""
        unit = self._unit()
        async with unit.locked() as rows:
            sales = await rows.events.lock_sales(sorted({each.message.event_id for each in deliveries}))
            self._store.events.keep(sales)
            unit.take(existing := await rows.bookings.load([each.message.booking_id for each in deliveries]))
            sold = [each.message for each in deliveries if each.message.event_id in sales]
            codes = await self._locked_codes(rows, sold)
            taken = await rows.buyers.lock(keys_of(sold))
            seats, buyers = seats_of(sales), Buyers(self._store.buyers, taken)
            results = [
                (each, self._one(unit, each, sales.get(each.message.event_id), seats, buyers, codes, now))
                for each in deliveries
            ]
            unit.buyers, unit.codes = buyers.bounds, codes.bounds
        if existing or any(isinstance(result, BUYER_REFUSED) for _, result in results):
            # If memory failed in this batch, a repeated request or a buyer was the cause, and not what it knows of
            # the events: others' bookings go on from memory.
            for id in sales:
                self._under_lock_until.pop(id, None)
        return [*unit.envelopes(), *answers(results)]

    async def _locked_codes(self, rows: Transaction, requests: Sequence[CreateBooking]) -> PromoCodes:
        """The promo codes that these name, locked until the transaction ends."""
        wanted = [each for each in requests if isinstance(each, CreateBookingWithCode)]
        if not wanted:
            return NO_CODES
        found = await rows.codes.find({(each.event_id, each.code) for each in wanted})
        codes, uses = await rows.codes.lock(found, owner_keys(found.values(), wanted))
        return PromoCodes(codes.values(), uses)

    def _one(
        self,
        unit: UnitOfWork,
        delivery: Delivery,
        event: Event | None,
        seats: Seats,
        buyers: Buyers,
        codes: PromoCodes,
        now: datetime,
    ) -> Any:
        """The answer: the booking and whether it is new, or an error."""
        request: CreateBooking = delivery.message
        booking = unit.bookings.get(request.booking_id)
        if booking is None:
            admitted = admit(request, event, seats, buyers, now, self._policy, codes)
            if not isinstance(admitted, Booking):
                if isinstance(admitted, BUYER_REFUSED):
                    self._refused_until |= dict.fromkeys(keys_of([request]), now + REFUSED)
                return admitted
            unit.add(admitted, delivery)
            return _new(unit, admitted.id)
        if not asked_for(booking, request):
            return IdempotencyKeyReused()
        unit.notify_again(booking.id, delivery)
        return _new(unit, booking.id) | {"created": False}


def _new(unit: UnitOfWork, id: UUID) -> dict[str, Any]:
    return {"booking": unit.shown(id), "created": True}


def seats_of(events: Mapping[UUID, Event]) -> Seats:
    """The free seats of all ticket types of these events."""
    return Seats({id: each.free for event in events.values() for id, each in event.ticket_types.items()})
