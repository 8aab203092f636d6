"""What operators do to events: create, change, cancel, retry refunds."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from booking import contents, events
from booking.availability import Availability
from booking.event_rows import TicketTypeIdTaken
from booking.operator_requests import check_version
from booking.presenters import shown_event
from booking.promo_code_handlers import PromoCodeChanges
from booking.repository import Store, Transaction
from booking.state import Content, Event, TicketType
from common.contracts.errors import Conflict, EventNotFound, HoldfastError, IdempotencyKeyReused
from common.contracts.messages import (
    CancelEvent,
    CreateEvent,
    CreatePromoCodes,
    EventWithdrawn,
    OperatorCommand,
    RetryRefunds,
    SetEventImage,
    UpdateEvent,
    UpdatePromoCode,
)
from common.contracts.resources import RefundRetry, Resource
from common.contracts.statuses import EventStatus
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer, envelope_for

# What a message does to an event, in the transaction that has locked it.
Do = Callable[[Transaction, Any, Any], Awaitable[Resource | None]]
# The fields of a new event that CreateEvent has, without its ticket types.
TERMS = [name for name in Event._fields if name in CreateEvent.model_fields and name != "ticket_types"]


class EventHandlers:
    """The handlers of events. Their messages are rare: each has a transaction of its own."""

    def __init__(self, store: Store, availability: Availability, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._availability = availability
        self._clock = clock
        codes = PromoCodeChanges(clock)
        # CancelEvent ends the sales at once; the reconciler then cancels the event's bookings, some at a time. It
        # retries failed refunds in the same way.
        self.commands: Handlers = {
            CreateEvent: partial(self._each, self._create),
            UpdateEvent: partial(self._each, self._update),
            SetEventImage: partial(self._each, self._set_image),
            CancelEvent: partial(self._each, self._cancel),
            RetryRefunds: partial(self._each, self._retry_refunds),
            CreatePromoCodes: partial(self._each, codes.create),
            UpdatePromoCode: partial(self._each, codes.update),
        }

    async def _each(self, do: Do, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """`do` each in a transaction of its own, and answer with what it returns or raises."""
        replies: list[Envelope] = []
        for delivery in deliveries:
            try:
                async with self._store.transaction() as rows:
                    result = await self._once(do, rows, delivery)
            except HoldfastError as refused:
                replies += answer(delivery, refused)
            else:
                self._availability.touched([delivery.message.event_id])
                replies += answer(delivery, result)
                if _is_withdrawn(delivery.message):
                    withdrawn = EventWithdrawn(event_id=delivery.message.event_id, version=_version(result))
                    replies.append(envelope_for(withdrawn, withdrawn.event_id, cause=delivery))
        return replies

    async def _once(self, do: Do, rows: Transaction, delivery: Delivery) -> Any:
        """`do` something to an event that exists (unless it is to be created) and is locked; a repeated request
        gets the answer of the first one. Raises the error that refuses it."""
        message: OperatorCommand = delivery.message
        event = await rows.events.lock(delivery.message.event_id, sales=_changes_terms(message))
        if event is None and not isinstance(message, CreateEvent):
            raise EventNotFound
        await rows.requests.open([delivery], self._clock())
        if (answered := rows.requests.answer_to(delivery)) is not None:
            return answered
        if event is not None and not isinstance(message, CreateEvent):
            check_version(message, event.version)
        result = await do(rows, event, message)
        if result is None:  # another transaction has created the event meanwhile, and has committed now
            return await self._once(do, rows, delivery)
        rows.requests.keep(delivery, result)
        await rows.requests.save()
        return result

    async def _create(self, rows: Transaction, known: Event | None, message: CreateEvent) -> Resource | None:
        """None if another transaction has created the event in the meantime."""
        # Hashed as before there were rows of requests: gateways of such a release set all fields that they know.
        sent = message.model_dump_json(exclude={"request", "if_match"}, exclude_unset=True)
        content_hash = hashlib.sha256(sent.encode()).hexdigest()
        ticket_types = {each.id: TicketType(**each.model_dump()) for each in message.ticket_types}
        values = {name: getattr(message, name) for name in TERMS}
        event, now = Event(id=message.event_id, ticket_types=ticket_types, **values), self._clock()
        content = Content(**{name: getattr(message, name) for name in contents.FIELDS})
        if content != Content():
            event = event._replace(content_version=event.version)
        if len(ticket_types) < len(message.ticket_types):
            raise Conflict("Two ticket types have one id")
        # An event that exists is not checked again: it may have begun since.
        if known is None:
            events.check_new(event, now)
            contents.check(content._asdict())
            try:
                if not await rows.events.create(event, content, content_hash, now, message.requester):
                    return None
            except TicketTypeIdTaken as taken:
                raise Conflict(f"There is a ticket type {taken.id} already") from None
            if event.content_version:
                await rows.contents.save(event.id, content)
        elif not await rows.events.created_with(event.id, content_hash):
            raise IdempotencyKeyReused
        return await _shown(rows, (await rows.events.find([event.id]))[event.id])

    async def _update(self, rows: Transaction, event: Event, message: UpdateEvent) -> Resource:
        changes, now = message.changes, self._clock()
        values = {name: getattr(changes, name) for name in changes.model_fields_set}
        of_content = {name: values.pop(name) for name in contents.FIELDS if name in values}
        changed = event
        if values or message.ticket_types or not of_content:
            changed = events.change(event, values, message.ticket_types, now)
        if changed.status is EventStatus.DRAFT is not event.status and await rows.events.has_bookings(event.id):
            raise Conflict("An event with bookings cannot become a draft again")
        contents.check(of_content)
        before = await rows.contents.of(event)
        after = before._replace(**of_content)
        if after != before:
            changed = events.with_content_version(event, changed)
            await rows.contents.save(event.id, after)
        if changed is not event:
            try:
                await rows.events.save(event, changed, now, message.requester, contents=(before, after))
            except TicketTypeIdTaken as taken:
                raise events.no_such_ticket_type(taken.id) from None
        return shown_event(changed, after, None)

    async def _set_image(self, rows: Transaction, event: Event, message: SetEventImage) -> Resource:
        image, data = contents.image_of(message)
        before = await rows.contents.of(event)
        after = before._replace(image=image)
        if after != before:
            changed = events.with_content_version(event, event)
            await rows.events.save(event, changed, self._clock(), message.requester, contents=(before, after))
            await rows.contents.save_image(event.id, image, data)
            event = changed
        return shown_event(event, after, None)

    async def _cancel(self, rows: Transaction, event: Event, message: CancelEvent) -> Resource:
        now = self._clock()
        cancelled = events.cancelled(event, now)
        if cancelled is not event:
            await rows.events.save(event, cancelled, now, message.requester, retry_at=now)
        return await _shown(rows, cancelled)

    async def _retry_refunds(self, rows: Transaction, event: Event, message: RetryRefunds) -> Resource:
        """Answer with how far the retry has come. While one is under way, a request starts no second one."""
        if (known := await rows.cancellations.retry(event.id, message.retry_id)) is not None:
            return known
        id, now, by = message.retry_id, self._clock(), message.requester
        count = await rows.cancellations.add_retry(id, event.id, now, by)
        begun = {"refunds": count, "remaining": count, "under_way": 0, "succeeded": 0, "failed": 0}
        return RefundRetry(id=id, event_id=event.id, asked_at=now, by=by, finished=not count, **begun)


async def _shown(rows: Transaction, event: Event) -> Resource:
    return shown_event(event, (await rows.contents.find([event]))[event.id], None)


def _changes_terms(message: OperatorCommand) -> bool:
    """Whether this may change more than the event's content, so that it must not be sold meanwhile."""
    if isinstance(message, UpdateEvent):
        return bool(message.ticket_types) or not message.changes.model_fields_set <= set(contents.FIELDS)
    return not isinstance(message, SetEventImage | CreatePromoCodes | UpdatePromoCode)


def _version(result: Any) -> int:
    """The event's version in an answer that was made now, or is kept of an earlier request."""
    version: int = result["terms_version"] if isinstance(result, dict) else result.terms_version
    return version


def _is_withdrawn(message: OperatorCommand) -> bool:
    """Whether this change, which was made, has hidden an event that others knew."""
    return isinstance(message, UpdateEvent) and message.changes.status is EventStatus.DRAFT
