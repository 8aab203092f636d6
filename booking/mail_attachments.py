"""What a confirmation carries: its tickets' codes as images, and the booking as a calendar entry."""

from __future__ import annotations

import asyncio

from booking.mail_texts import Attachment, Letter
from booking.presenters import booking_tickets
from booking.ticket_codes import TicketCodes
from booking.tickets import tickets_of
from common.contracts.statuses import MailKind
from common.icalendar import calendar
from common.qr_codes import png

# Of a group of more the first ones are attached: each takes about 1 KB, and 2 ms to draw.
TICKETS_MAX = 100


class Tickets:
    """Attaches the image of each ticket's code, which `codes` sign."""

    def __init__(self, codes: TicketCodes) -> None:
        self._codes = codes

    async def __call__(self, letter: Letter) -> list[Attachment]:
        booking, event = letter.booking, letter.event
        if letter.mail.kind is not MailKind.CONFIRMATION or event is None:
            return []
        good = [each for each in tickets_of(booking) if each.seat not in booking.cancelled_seats]
        made = []
        for position, ticket in enumerate(good[:TICKETS_MAX], 1):
            if (code := self._codes.sign(ticket)) is None:
                return []
            caption = f"{event.ticket_types[ticket.ticket_type_id].name} · {ticket.number}"
            made.append(Attachment(f"ticket-{position}.png", "image/png", png(code), caption))
            await asyncio.sleep(0)  # others have their turn
        return made


async def calendar_entry(letter: Letter) -> list[Attachment]:
    """Made from the mail's own time, so that the same mail has the same entry."""
    booking, event = letter.booking, letter.event
    if letter.mail.kind is not MailKind.CONFIRMATION or event is None:
        return []
    text = calendar(booking_tickets(booking, event, letter.content), letter.mail.made_at)
    return [Attachment("booking.ics", "text/calendar", text.encode())]
