"""The handlers of queries, which read and change nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from booking.admission import NO_CODES, Seats, price
from booking.booking_rows import Position
from booking.presenters import (
    for_operators,
    operators_event,
    shown,
    shown_code,
    shown_event,
    shown_quote,
    version_of,
    with_description,
)
from booking.promo_codes import PromoCodes, owner_key
from booking.queue import with_positions
from booking.repository import Store, Transaction
from booking.state import Booking, Content, Event
from common.contracts import resources
from common.contracts.codes import code_key
from common.contracts.errors import EventNotFound, HoldfastError, NotFound, SoldOut
from common.contracts.history import Transition
from common.contracts.messages import (
    GetBooking,
    GetEvent,
    GetEventHistory,
    GetEventImage,
    GetHistory,
    GetQuote,
    ListBookings,
    ListEvents,
    ListPromoCodes,
)
from common.contracts.resources import Resource
from common.contracts.statuses import EventStatus
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer_each, answers

OPERATORS_BEGIN_EARLIER = timedelta(days=1)
# Before every id: a position with it is before all events that start at its time.
FIRST_ID = UUID(int=0)


class QueryHandlers:
    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self.queries: Handlers = {
            GetBooking: self.get_bookings,
            GetEvent: self.get_events,
            GetEventHistory: self.get_event_histories,
            GetEventImage: self.get_event_images,
            GetHistory: self.get_history,
            GetQuote: self.get_quotes,
            ListBookings: self.list_bookings,
            ListEvents: self.list_events,
            ListPromoCodes: self.list_promo_codes,
        }

    async def get_bookings(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        bookings = await self._load(deliveries)
        found = [(delivery, visible(delivery.message, bookings)) for delivery in deliveries]
        positioned = await with_positions(self._store, [shown(booking) for _, booking in found if booking])
        return answers(
            (delivery, _for_asker(delivery.message, booking, positioned) if booking else NotFound())
            for delivery, booking in found
        )

    async def get_events(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        for_operators = {delivery.message.event_id for delivery in deliveries if delivery.message.operator}
        async with self._store.reading() as rows:
            events = await rows.events.find({delivery.message.event_id for delivery in deliveries})
            details = any(delivery.message.details for delivery in deliveries)
            contents = await rows.contents.find(events.values(), descriptions=details)
            cancelled = (id for id in for_operators & events.keys() if events[id].called_off_at is not None)
            progress = await rows.cancellations.progress(cancelled)
            retries = await rows.cancellations.retries(for_operators)
            codes = await _codes_of(rows, [each.message for each in deliveries])
        now = self._clock()

        def seen(message: GetEvent) -> Resource | HoldfastError:
            event = events.get(message.event_id)
            if event is None or not _may_see(message, event):
                return EventNotFound()
            content, unlocked = contents[event.id], tuple[UUID, ...]()
            if message.code is not None:
                code = codes.find(event.id, message.code, now)
                if isinstance(code, HoldfastError):
                    return code
                unlocked = code.unlocks
            shown: resources.Event = shown_event(event, content, unlocked)
            if message.operator:
                shown = operators_event(event, progress.get(event.id), retries.get(event.id), content)
            return with_description(shown, content) if message.details else shown

        return answers((delivery, seen(delivery.message)) for delivery in deliveries)

    async def get_quotes(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """What a booking would cost, or the error that would refuse it. What its buyer has is not looked at: that
        changes with each booking."""
        messages: list[GetQuote] = [delivery.message for delivery in deliveries]
        async with self._store.reading() as rows:
            events = await rows.events.find({message.event_id for message in messages})
            codes = await _codes_of(rows, messages, by_owner=True)
        now = self._clock()
        return answers(
            (delivery, _quoted(delivery.message, events.get(delivery.message.event_id), codes, now))
            for delivery in deliveries
        )

    async def list_promo_codes(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with self._store.reading() as rows:
            known = await rows.events.find({delivery.message.event_id for delivery in deliveries})

            async def page(delivery: Delivery) -> Any:
                message: ListPromoCodes = delivery.message
                if message.event_id not in known:
                    raise EventNotFound
                after, limit = code_key(message.after or ""), message.limit
                found = await rows.codes.page(message.event_id, after, message.code, limit + 1)
                return page_of(found, limit, shown_code, lambda last: [last.code])

            return await answer_each(deliveries, page)

    async def get_event_images(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with self._store.reading() as rows:
            events = await rows.events.find({delivery.message.event_id for delivery in deliveries})

            async def found(delivery: Delivery) -> Any:
                message: GetEventImage = delivery.message
                event = events.get(message.event_id)
                if event is None or (event.status is EventStatus.DRAFT and not message.operator):
                    raise EventNotFound
                if (image := await rows.contents.image(event.id, message.known)) is None:
                    raise NotFound("The event has no image")
                data = None if image.data is None else base64.b64encode(image.data).decode()
                return {"hash": image.hash, "data": data}

            return await answer_each(deliveries, found)

    async def get_history(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        bookings = await self._load(deliveries)
        async with self._store.reading() as rows:

            async def page(delivery: Delivery) -> Any:
                if (booking := visible(delivery.message, bookings)) is None:
                    raise NotFound
                history = await rows.bookings.history(booking.id)
                show = _as_it_is if delivery.message.owner is None else _without_requester
                return page_of(history, len(history), show, _by_version)

            return await answer_each(deliveries, page)

    async def get_event_histories(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with self._store.reading() as rows:
            known = await rows.events.find({delivery.message.event_id for delivery in deliveries})

            async def page(delivery: Delivery) -> Any:
                message: GetEventHistory = delivery.message
                if message.event_id not in known:
                    raise EventNotFound
                history = await rows.events.history(message.event_id, message.after or 0, message.limit + 1)
                return page_of(history, message.limit, _as_it_is, _by_version)

            return await answer_each(deliveries, page)

    async def list_bookings(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async def page(delivery: Delivery) -> Any:
            message: ListBookings = delivery.message
            async with self._store.reading() as rows:
                found = await rows.bookings.page(message)
            positioned = await with_positions(self._store, [shown(each) for each in found[: message.limit]])
            show = partial(_for_asker, message, positioned=positioned)
            return page_of(found, message.limit, show, by_time("created_at"))

        return await answer_each(deliveries, page)

    async def list_events(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async def page(delivery: Delivery) -> Any:
            message: ListEvents = delivery.message
            status = message.status if message.operator else EventStatus.PUBLISHED
            async with self._store.reading() as rows:
                found = await rows.events.page(_behind(message, self._clock()), message.limit + 1, status)
                contents = await rows.contents.find(() if message.versions_only else found)
            events = page_of(found, message.limit, _shown_in_list(message, contents), by_time("starts_at"))
            # Gateways may keep a catalogue: processes of this release publish each change of an event for it.
            return {**events, "published": True}

        return await answer_each(deliveries, page)

    async def _load(self, deliveries: Sequence[Delivery]) -> dict[UUID, Booking]:
        async with self._store.reading() as rows:
            return await rows.bookings.load([delivery.message.booking_id for delivery in deliveries])


async def _codes_of(
    rows: Transaction, messages: Sequence[GetEvent | GetQuote], *, by_owner: bool = False
) -> PromoCodes:
    """The promo codes that these name; `by_owner`: with how often those who ask have used them."""
    named = [(message, message.code) for message in messages if message.code is not None]
    if not named:
        return NO_CODES
    found = await rows.codes.find({(message.event_id, code) for message, code in named})
    owners = {message.owner for message, _ in named if isinstance(message, GetQuote)} if by_owner else set()
    keys = [owner_key(id, owner) for id in found for owner in owners]
    return PromoCodes(found.values(), await rows.codes.uses(keys) if keys else {})


def _quoted(
    message: GetQuote, event: Event | None, codes: PromoCodes, now: datetime
) -> resources.Quote | HoldfastError:
    priced = price(message, event, now, codes)
    if isinstance(priced, HoldfastError):
        return priced
    free = Seats({id: each.free for id, each in priced.event.ticket_types.items()})
    return shown_quote(priced) if free.have(priced.items) else SoldOut()


def visible(message: GetBooking | GetHistory, bookings: dict[UUID, Booking]) -> Booking | None:
    """The booking, if the one who asks may see it: an operator (no owner) sees all."""
    booking = bookings.get(message.booking_id)
    return booking if booking is not None and message.owner in (None, booking.owner) else None


def _behind(message: ListEvents, now: datetime) -> Position:
    """The position after which the list continues. Without a time or a page the list begins with what is to come;
    for operators it begins a day earlier, so that it has the events that are under way."""
    starts_from = message.starts_from
    if starts_from is None and message.after is None:
        starts_from = now - OPERATORS_BEGIN_EARLIER if message.operator else now
    earliest = None if starts_from is None else (starts_from, FIRST_ID)
    return max(position for position in (message.after, earliest) if position is not None)


class EventVersion(Resource):
    """Enough for a gateway to see which events of its catalogue have changed."""

    id: UUID
    starts_at: datetime
    version: int


def _shown_in_list(message: ListEvents, contents: Mapping[UUID, Content]) -> Callable[[Event], Resource]:
    if message.versions_only:
        return lambda event: EventVersion(id=event.id, starts_at=event.starts_at, version=version_of(event))
    if message.operator:
        return lambda event: operators_event(event, content=contents[event.id])
    return lambda event: shown_event(event, contents[event.id])


def _may_see(message: GetEvent, event: Event) -> bool:
    return message.operator or event.status is not EventStatus.DRAFT


def _for_asker(
    message: GetBooking | ListBookings, booking: Booking, positioned: Mapping[UUID, resources.Booking]
) -> resources.Booking:
    """The booking as the one who asks may see it: an operator sees more, also in a list of one owner's bookings."""
    operator = message.owner is None or (isinstance(message, ListBookings) and message.operator)
    return for_operators(positioned[booking.id], booking) if operator else positioned[booking.id]


def _as_it_is(change: Resource) -> Resource:
    return change


def _without_requester(transition: Transition) -> Resource:
    """As its owner may see it, who is not told which operator has done something."""
    return transition.model_copy(update={"by": None})


def by_time(name: str) -> Callable[[Any], list[str]]:
    """The position in a list that is ordered by the time of this name, and by ids."""
    return lambda last: [getattr(last, name).isoformat(), str(last.id)]


def _by_version(last: Any) -> list[int]:
    return [last.version]


def page_of(
    found: Sequence[Any], limit: int, show: Callable[[Any], Resource], position: Callable[[Any], list[Any]]
) -> dict[str, Any]:
    """At most `limit` of these as they are shown and, if more follow, the position of the last."""
    page = found[:limit]
    following = position(page[-1]) if len(found) > limit else None
    return {"items": [show(each).model_dump(mode="json") for each in page], "next": following}
