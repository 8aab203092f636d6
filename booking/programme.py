"""What operators do to events: create, change, call off."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from booking import events
from booking.availability import Availability
from booking.event_rows import TicketTypeIdTaken
from booking.events import TicketTypeChange
from booking.notices import shown_event
from booking.repository import Store, Transaction
from booking.requests import check_version
from booking.state import Event, TicketType
from common.contracts.errors import Conflict, EventNotFound, HoldfastError, IdempotencyKeyReused
from common.contracts.messages import CancelEvent, CreateEvent, RetryRefunds, UpdateEvent
from common.contracts.resources import RefundRetry, Resource
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer


class ProgrammeHandlers:
    """The handlers of events. They are few and rare: each has a transaction of its own."""

    def __init__(self, store: Store, availability: Availability, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._availability = availability
        self._clock = clock
        self.commands: Handlers = {
            CreateEvent: self.create,
            UpdateEvent: self.update,
            CancelEvent: self.call_off,
            RetryRefunds: self.retry_refunds,
        }

    async def create(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        return await self._each(deliveries, self._create_once)

    async def update(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        return await self._each(deliveries, self._once(self._update))

    async def call_off(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Stop sales at once; the reconciler then cancels the event's bookings, some at a time."""
        return await self._each(deliveries, self._once(self._call_off))

    async def retry_refunds(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Note that all failed refunds of an event are to be tried again; the reconciler then does, some at a time.
        Answered with how far that has come; asked again while it is under way, nothing is done twice."""
        return await self._each(deliveries, self._once(self._retry_refunds))

    async def _each(
        self, deliveries: Sequence[Delivery], do: Callable[[Transaction, Delivery], Awaitable[Any]]
    ) -> list[Envelope]:
        """`do` each in a transaction of its own, and answer with what it returns or raises."""
        replies: list[Envelope] = []
        for delivery in deliveries:
            try:
                async with self._store.transaction() as rows:
                    result = await do(rows, delivery)
            except HoldfastError as refused:
                replies += answer(delivery, refused)
            else:
                self._availability.touched([delivery.message.event_id])
                replies += answer(delivery, result)
        return replies

    def _once(
        self, do: Callable[[Transaction, Event, Any], Awaitable[Resource]]
    ) -> Callable[[Transaction, Delivery], Awaitable[Any]]:
        """`do` something to an event that is there and locked; what was asked for before is answered as before."""

        async def once(rows: Transaction, delivery: Delivery) -> Any:
            event = await rows.events.lock(delivery.message.event_id)
            if event is None:
                raise EventNotFound
            await rows.requests.open([delivery])
            if (answered := rows.requests.answer_to(delivery)) is not None:
                return answered
            check_version(delivery.message, event.version)
            result = await do(rows, event, delivery.message)
            rows.requests.keep(delivery, result, self._clock())
            await rows.requests.save()
            return result

        return once

    async def _create_once(self, rows: Transaction, delivery: Delivery) -> Any:
        message: CreateEvent = delivery.message
        await rows.requests.open([delivery])
        if (answered := rows.requests.answer_to(delivery)) is not None:
            return answered
        # As before there were rows to compare with: a gateway of that release sets all the fields that it knows.
        content = message.model_dump_json(exclude={"request", "if_match"}, exclude_unset=True)
        content_hash = hashlib.sha256(content.encode()).hexdigest()
        event, now = _new_event(message), self._clock()
        if len(event.ticket_types) < len(message.ticket_types):
            raise Conflict("Two ticket types have one id")
        # What was made once is answered as it was then, also when its start has come since.
        if not await rows.events.find([event.id]) and (refused := events.refusal_of_new(event, now)):
            raise refused
        try:
            created = await rows.events.create(event, content_hash, now)
        except TicketTypeIdTaken as taken:
            raise Conflict(f"There is a ticket type {taken.id} already") from None
        if not created:
            # Who was adding it at the same time has committed now.
            await rows.requests.open([delivery])
            if (answered := rows.requests.answer_to(delivery)) is not None:
                return answered
            if not await rows.events.created_with(message.event_id, content_hash):
                raise IdempotencyKeyReused
        result = shown_event((await rows.events.find([message.event_id]))[message.event_id])
        rows.requests.keep(delivery, result, now)
        await rows.requests.save()
        return result

    async def _update(self, rows: Transaction, event: Event, message: UpdateEvent) -> Resource:
        changes = [
            TicketTypeChange(each.id, each.model_dump(exclude_none=True, exclude={"id", "new"}), each.new)
            for each in message.ticket_types
        ]
        changed = events.change(event, message.changes.model_dump(exclude_unset=True), changes, self._clock())
        if isinstance(changed, HoldfastError):
            raise changed
        if changed is not event:
            try:
                await rows.events.save(event, changed)
            except TicketTypeIdTaken as taken:
                raise events.no_such_ticket_type(taken.id) from None
        return shown_event(changed)

    async def _call_off(self, rows: Transaction, event: Event, _: CancelEvent) -> Resource:
        now = self._clock()
        off = events.call_off(event, now)
        if off is not event:
            await rows.events.save(event, off, settle_after=now)
        return shown_event(off)

    async def _retry_refunds(self, rows: Transaction, event: Event, message: RetryRefunds) -> Resource:
        if (known := await rows.calling_off.retry(event.id, message.retry_id)) is not None:
            return known
        now, count = self._clock(), await rows.calling_off.count_to_retry(event.id)
        if count:
            await rows.calling_off.add_retry(message.retry_id, event.id, now)
        return _new_retry(message, count, now)


def _new_retry(message: RetryRefunds, count: int, now: datetime) -> RefundRetry:
    return RefundRetry(
        id=message.retry_id,
        event_id=message.event_id,
        asked_at=now,
        refunds=count,
        remaining=count,
        under_way=0,
        succeeded=0,
        failed=0,
        finished=not count,
    )


def _new_event(message: CreateEvent) -> Event:
    return Event(
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
        payment_methods=message.payment_methods,
        slow_payments_until=message.slow_payments_until,
        ticket_types={each.id: TicketType(**each.model_dump()) for each in message.ticket_types},
    )
