"""What operators do to events: create, change, call off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from booking import events
from booking.availability import Availability
from booking.events import TicketTypeChange
from booking.notices import shown_event
from booking.repository import Repository, Work
from booking.state import Event, Refusal, TicketType
from common.actor import Handlers
from common.envelope import Delivery, Envelope, answer
from common.errors import EventNotFound, HoldfastError, IdempotencyKeyReused, error_for
from common.messages import CancelEvent, CreateEvent, UpdateEvent


class ProgrammeHandlers:
    """The handlers of events. They are few and rare: each has a transaction of its own."""

    def __init__(self, repository: Repository, availability: Availability, clock: Callable[[], datetime]) -> None:
        self._repository = repository
        self._availability = availability
        self._clock = clock
        self.commands: Handlers = {
            CreateEvent: self.create,
            UpdateEvent: self.update,
            CancelEvent: self.call_off,
        }

    async def create(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        return await self._each(deliveries, self._create)

    async def update(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        return await self._each(deliveries, self._update)

    async def call_off(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Stop sales at once; the settler then cancels the event's bookings, some at a time."""
        return await self._each(deliveries, self._call_off)

    async def _each(self, deliveries: Sequence[Delivery], do: Callable[[Work, Delivery], object]) -> list[Envelope]:
        replies: list[Envelope] = []
        for delivery in deliveries:
            result: Event | HoldfastError
            async with self._repository.work() as work:
                result = await do(work, delivery)  # type: ignore[misc]
            if isinstance(result, HoldfastError):
                replies += answer(delivery, result)
            else:
                self._availability.touched([result.id])
                replies += answer(delivery, shown_event(result))
        return replies

    async def _create(self, work: Work, delivery: Delivery) -> Event | HoldfastError:
        message: CreateEvent = delivery.message
        event = Event(
            id=message.event_id,
            name=message.name,
            starts_at=message.starts_at,
            currency=message.currency,
            on_sale=message.on_sale,
            max_per_booking=message.max_per_booking,
            cancel_until=message.cancel_until,
            time_zone=message.time_zone,
            sales_start=message.sales_start,
            sales_end=message.sales_end,
            sell_after_start=message.sell_after_start,
            cancel_after_start=message.cancel_after_start,
            ticket_types={each.id: TicketType(**each.model_dump()) for each in message.ticket_types},
        )
        now = self._clock()
        # What was made once is answered as it was then, also when its start has come since.
        if not await work.events([event.id]) and (refused := events.refusal_of_new(event, now)):
            return _error(refused)
        content_hash = hashlib.sha256(message.model_dump_json().encode()).hexdigest()
        if not await work.create_event(event, content_hash, now):
            return IdempotencyKeyReused()
        return (await work.events([event.id]))[event.id]

    async def _update(self, work: Work, delivery: Delivery) -> Event | HoldfastError:
        message: UpdateEvent = delivery.message
        event = await work.lock_event(message.event_id)
        if event is None:
            return EventNotFound()
        changes = [
            TicketTypeChange(each.id, each.model_dump(exclude_none=True, exclude={"id"}))
            for each in message.ticket_types
        ]
        changed = events.change(event, message.changes.model_dump(exclude_unset=True), changes, self._clock())
        if isinstance(changed, Refusal):
            return _error(changed)
        if changed is not event:
            await work.save_event(event, changed)
        return changed

    async def _call_off(self, work: Work, delivery: Delivery) -> Event | HoldfastError:
        message: CancelEvent = delivery.message
        event = await work.lock_event(message.event_id)
        if event is None:
            return EventNotFound()
        now = self._clock()
        off = events.call_off(event, now)
        if off is not event:
            await work.save_event(event, off, settle_after=now)
        return off


def _error(refusal: Refusal) -> HoldfastError:
    return error_for(refusal.code, refusal.detail, dict(refusal.extra))
