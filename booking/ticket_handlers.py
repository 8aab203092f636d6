"""The tickets of bookings, and the keys that check their codes: read, and never written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from booking.presenters import booking_tickets
from booking.query_handlers import visible
from booking.repository import Store
from booking.state import Booking, Content, Event
from booking.ticket_codes import TicketCodes
from booking.tickets import has_tickets, state_of, tickets_of
from common.contracts.errors import NotFound
from common.contracts.messages import GetSigningKeys, GetTickets
from common.contracts.statuses import TicketState
from common.contracts.tickets import CheckIn
from common.contracts.tickets import Ticket as Shown
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answers


class TicketHandlers:
    def __init__(self, store: Store, codes: TicketCodes) -> None:
        self._store = store
        self._codes = codes
        self.queries: Handlers = {GetTickets: self.get_tickets, GetSigningKeys: self.get_signing_keys}

    async def get_tickets(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with self._store.reading() as rows:
            bookings = await rows.bookings.load([each.message.booking_id for each in deliveries])
            ids = list(bookings)
            events = await rows.events.find({booking.event_id for booking in bookings.values()})
            contents = await rows.contents.find(events.values())
            confirmed, check_ins = await rows.door.were_confirmed(ids), await rows.door.of_bookings(ids)
        replies: list[tuple[Delivery, Any]] = []
        for each in deliveries:
            booking = visible(each.message, bookings)
            if booking is None:
                replies.append((each, NotFound()))
                continue
            there = has_tickets(booking, was_confirmed=booking.id in confirmed)
            event, content = events[booking.event_id], contents[booking.event_id]
            replies.append((each, self._page(each.message, booking, event, content, check_ins, there)))
            await asyncio.sleep(0)  # signing takes 0.1 ms for each ticket: others have their turn
        return answers(replies)

    def _page(
        self,
        wanted: GetTickets,
        booking: Booking,
        event: Event,
        content: Content,
        check_ins: Mapping[UUID, CheckIn],
        there: bool,
    ) -> dict[str, Any]:
        names = {kind.id: kind.name for kind in event.ticket_types.values()}
        tickets = [each for each in tickets_of(booking) if wanted.ticket_id in (None, each.id)] if there else []
        page = list(islice(tickets, wanted.after, wanted.after + wanted.limit))
        end = wanted.after + len(page)
        items = []
        for ticket in page:
            check_in = check_ins.get(ticket.id)
            state = state_of(ticket, booking, event, used=check_in is not None)
            ended = state in (TicketState.CANCELLED, TicketState.REFUNDED)
            items.append(
                Shown(
                    id=ticket.id,
                    ticket_type_id=ticket.ticket_type_id,
                    ticket_type=names[ticket.ticket_type_id],
                    number=ticket.number,
                    state=state,
                    code=None if ended else self._codes.sign(ticket),
                    used_at=None if check_in is None else check_in.at,
                    check_in=check_in if wanted.owner is None else None,
                )
            )
        shown = booking_tickets(booking, event, content, items)
        # What the cursor looks like is the gateway's.
        following = [end] if end < len(tickets) else None
        return {**shown.model_dump(mode="json", exclude={"next_cursor"}), "next": following}

    async def get_signing_keys(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        public = self._codes.public.model_dump(mode="json")
        return answers((each, public) for each in deliveries)
