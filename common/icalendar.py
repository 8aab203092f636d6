"""A booking as a calendar has it: https://www.rfc-editor.org/rfc/rfc5545."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from common.contracts.statuses import BookingStatus
from common.contracts.tickets import BookingTickets
from common.contracts.values import Venue

# Section 3.1: a line has at most so many bytes, its break not counted.
LINE_BYTES = 75
STATUS = {BookingStatus.PENDING: "TENTATIVE", BookingStatus.CONFIRMED: "CONFIRMED"}
CANCELLED = "CANCELLED"
# Section 3.3.11: what has a meaning in a text.
ESCAPED = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": None})


def calendar(tickets: BookingTickets, now: datetime) -> str:
    """The calendar of one entry. The booking's id is its UID, so that a later one replaces it."""
    event = tickets.event
    status = CANCELLED if event.called_off_at is not None else STATUS.get(tickets.status, CANCELLED)
    about = [f"{each.quantity} × {each.name}" for each in tickets.seats]
    about += [each for each in (tickets.holder, tickets.reference) if each]
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Holdfast//Holdfast//EN",
        "BEGIN:VEVENT",
        f"UID:{tickets.booking_id}",
        # It grows with each change of the event, and when the booking ends.
        f"SEQUENCE:{event.version + (status == CANCELLED)}",
        f"DTSTAMP:{_utc(now)}",
        f"DTSTART:{_utc(event.starts_at)}",
        f"SUMMARY:{event.name.translate(ESCAPED)}",
        *([f"LOCATION:{place(event.venue).translate(ESCAPED)}"] if event.venue is not None else ()),
        "DESCRIPTION:" + "\n".join(about).translate(ESCAPED),
        f"STATUS:{status}",
        "END:VEVENT",
        "END:VCALENDAR",
    )
    return "".join(f"{part}\r\n" for line in lines for part in folded(line))


def place(venue: Venue) -> str:
    """In one line, as maps find it."""
    city = " ".join(each for each in (venue.postal_code, venue.city) if each)
    return ", ".join(each for each in (venue.name, venue.address, city, venue.country) if each)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def folded(line: str) -> Iterator[str]:
    """The line in parts of at most LINE_BYTES, all but the first with a space in front; no character is divided."""
    part, size = "", 0
    for character in line:
        more = len(character.encode())
        if size + more > LINE_BYTES:
            yield part
            part, size = " ", 1
        part += character
        size += more
    yield part
