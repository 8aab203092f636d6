"""What operators sell or give away: bookings that are confirmed at once, and whose money is not Stripe's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from booking.admission import Seats, asked_for, sell
from booking.creation import seats_of
from booking.operator_requests import OperatorRequests, with_customer
from booking.presenters import for_operators
from booking.repository import Store
from booking.state import Event
from booking.unit_of_work import UnitOfWork
from common.contracts.errors import HoldfastError, IdempotencyKeyReused
from common.contracts.messages import SellSeats
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answers


class BoxOffice:
    """The handler of SellSeats. It always takes the locked path: people at a box office are slow."""

    def __init__(self, store: Store, unit: Callable[[], UnitOfWork], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._unit = unit
        self._clock = clock
        self.commands: Handlers = {SellSeats: self.sell}

    async def sell(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        unit, now = self._unit(), self._clock()
        results: list[tuple[Delivery, Any]] = []
        async with unit.locked() as rows:
            events = await rows.events.lock_sales(sorted({each.message.event_id for each in deliveries}))
            self._store.events.keep(events)
            unit.take(await rows.bookings.load([each.message.booking_id for each in deliveries]))
            await rows.requests.open(deliveries, now)
            seats = seats_of(events)
            for each in deliveries:
                event = events.get(each.message.event_id)
                try:
                    results.append((each, self._one(unit, rows.requests, each, event, seats, now)))
                except HoldfastError as refused:
                    results.append((each, refused))
            await rows.requests.save()
        return [*unit.envelopes(), *answers(results)]

    def _one(
        self,
        unit: UnitOfWork,
        requests: OperatorRequests,
        delivery: Delivery,
        event: Event | None,
        seats: Seats,
        now: datetime,
    ) -> Any:
        """The answer, which is kept: a repeated request sells nothing. Raises the error that refuses it."""
        message: SellSeats = delivery.message
        known = unit.bookings.get(message.booking_id)
        if (answered := requests.answer_to(delivery)) is not None:
            if known is None:
                return answered
            unit.notify_again(known.id, delivery)
            return with_customer(answered, known)
        if known is not None:
            # Its request's answer is kept for days only.
            if not asked_for(known, message):
                raise IdempotencyKeyReused
            unit.notify_again(known.id, delivery)
            return for_operators(unit.shown(known.id), known)
        sold = sell(message, event, seats, now)
        if isinstance(sold, HoldfastError):
            raise sold
        unit.add(sold, delivery)
        answer = for_operators(unit.shown(sold.id), sold)
        requests.keep_booking(delivery, answer)
        return answer
