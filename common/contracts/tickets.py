"""What clients see of tickets and of the door: docs/tickets.md."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from common.contracts.open_enums import CheckInOutcome, TicketState
from common.contracts.resources import Resource
from common.contracts.statuses import BookingStatus
from common.contracts.values import Venue

LOCAL = "When it starts by the venue's clock, with its offset from UTC, as `2030-05-01T21:30:00+02:00`"


class CheckIn(Resource):
    """Somebody was let in by a ticket."""

    id: UUID = Field(description="Its id, by which it can be undone")
    ticket_id: UUID = Field(description="The ticket")
    booking_id: UUID = Field(description="The ticket's booking")
    event_id: UUID = Field(description="The event")
    ticket_type_id: UUID = Field(description="The ticket type")
    number: int = Field(description="Which seat of this ticket type in the booking, counted from 1")
    at: datetime = Field(description="When, by the scanner's clock where it has told it, and never in the future")
    gate: str | None = Field(default=None, description="Where: as the scanner told it")
    device: str | None = Field(default=None, description="By which scanner: as it told it")
    by: str = Field(description="The subject of the operator's token")
    undone_at: datetime | None = Field(default=None, description="When it was undone; null: it counts")
    undone_by: str | None = Field(default=None, description="The subject of the operator who undid it")


class Ticket(Resource):
    """One seat of a booking that is, or was, confirmed."""

    id: UUID = Field(description="Its id")
    ticket_type_id: UUID = Field(description="The ticket type")
    ticket_type: str = Field(description="The title of the ticket type")
    number: int = Field(description="Which seat of this ticket type in the booking, counted from 1")
    state: TicketState
    code: str | None = Field(
        description="What the QR code says, signed: who shows it is let in. Null where the booking has ended, and "
        "on an installation without a signing key"
    )
    used_at: datetime | None = Field(default=None, description="When somebody was let in by it; null: nobody was")
    check_in: CheckIn | None = Field(default=None, description="Only for operators: the check-in that counts")


class DoorEvent(Resource):
    """What scanners are told of the event."""

    id: UUID = Field(description="The event's id")
    name: str = Field(description="Its title")
    starts_at: datetime = Field(description="When it starts")
    starts_at_local: str = Field(description=LOCAL)
    time_zone: str = Field(description="The venue's, by its IANA name")
    called_off_at: datetime | None = Field(default=None, description="Since when it is cancelled, for good")
    version: int = Field(description="Grows with each change of the event's terms")


class TicketEvent(DoorEvent):
    """What a ticket says of its event."""

    venue: Venue | None = Field(default=None, description="Where it is; null if the event does not show it")


class TicketSeats(Resource):
    """How many seats of one ticket type the booking has."""

    ticket_type_id: UUID = Field(description="The ticket type")
    name: str = Field(description="Its title")
    quantity: int = Field(description="How many seats")


class BookingTickets(Resource):
    """The tickets of a booking, with all that a page to print them needs."""

    booking_id: UUID = Field(description="The booking")
    reference: str = Field(description="What people say, read and type for it")
    holder: str | None = Field(
        default=None, description="The name of whom it is for; null where it was not given, or is erased"
    )
    status: BookingStatus
    event: TicketEvent
    seats: tuple[TicketSeats, ...] = Field(description="All seats of the booking")
    items: tuple[Ticket, ...] = Field(
        description="The tickets on this page, in the order of `seats`; none while the booking is not confirmed"
    )
    next_cursor: str | None = Field(default=None, description="Where the next page begins; null on the last one")


class SigningKey(Resource):
    """A public key that checks codes: RFC 8037."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"
    kid: str = Field(description="The key's id in codes, as 8 hexadecimal digits")
    x: str = Field(description="The key, 32 bytes in base64url")


class SigningKeys(Resource):
    """A JSON Web Key Set (RFC 7517): the keys that check codes, the one that signs first."""

    keys: tuple[SigningKey, ...] = Field(description="None on an installation without a signing key")


class CheckInResult(Resource):
    """What one check-in of a list has met."""

    id: UUID = Field(description="The id that the scanner gave it")
    outcome: CheckInOutcome
    ticket_id: UUID | None = Field(default=None, description="The ticket; null where there is none")
    check_in: CheckIn | None = Field(
        default=None, description="This check-in where it counts; with `used` the one that came first"
    )


class CheckInResults(Resource):
    """What each check-in of a list has met."""

    items: tuple[CheckInResult, ...] = Field(description="In the order of the list")


class DoorTicketType(Resource):
    """How many people a ticket type brings."""

    id: UUID = Field(description="The ticket type")
    name: str = Field(description="Its title")
    sold: int = Field(description="Seats of confirmed bookings")
    checked_in: int = Field(description="How many tickets were used")


class DoorTicket(Resource):
    """A ticket that is not, or was not, simply valid."""

    ticket_id: UUID = Field(description="The ticket")
    state: TicketState
    used_at: datetime | None = Field(default=None, description="When somebody was let in by it")
    gate: str | None = Field(default=None, description="Where that was")


class Door(Resource):
    """What a scanner needs to work, also while it has no network."""

    event: DoorEvent
    keys: tuple[SigningKey, ...] = Field(description="The public keys that check codes")
    ticket_types: tuple[DoorTicketType, ...] = Field(description="The event's, in their order")
    reset: bool = Field(
        description="Forget every state known before: the mark is not known here any more, as after a restart of "
        "the database, and the changes begin anew"
    )
    items: tuple[DoorTicket, ...] = Field(
        description="Tickets whose state has changed since the mark, as they are now, in the order of the changes. "
        "A ticket may come again"
    )
    mark: str = Field(description="Where these changes end: `since` of the next request")
    more: bool = Field(description="More changes are there already: ask again at once")
