"""What has happened to bookings and events, as clients see it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from common.contracts.open_enums import BookingReason, EventChangeKind, TransitionCause
from common.contracts.resources import Resource
from common.contracts.statuses import BookingStatus, PaymentStatus

# What a field of an event has as its value in JSON.
FieldValue = str | int | bool | None


class Transition(Resource):
    """One change of a booking, and what caused it."""

    version: int = Field(description="The booking's version from then on")
    from_status: BookingStatus | None = Field(description="Null for the first change, which made the booking")
    to_status: BookingStatus
    reason: BookingReason | None = Field(description="Why it is not, or no longer, confirmed")
    payment_status: PaymentStatus
    cause_type: TransitionCause
    cause_id: str = Field(description="The id of the message that caused it; empty where time alone did")
    by: str | None = Field(
        default=None,
        description="Only for operators: the subject of the token by which somebody asked for it; null: nobody did",
    )
    at: datetime = Field(description="When it happened")


class FieldChange(Resource):
    """One value of an event, or of one of its ticket types or promo codes, that has changed."""

    field: str = Field(description="Its name, as in the event or the ticket type, or such as `venue.city`")
    ticket_type_id: UUID | None = Field(default=None, description="The ticket type; null: the event itself")
    code: str | None = Field(
        default=None, description="The promo code that has it, or the first of those that were made together"
    )
    old: FieldValue = Field(
        description="The value before: of a long description the beginning, of an image the hash. Null also where "
        "there was none"
    )
    new: FieldValue = Field(description="The value since")


class EventChange(Resource):
    """One change of an event."""

    version: int = Field(description="The event's `terms_version` from then on")
    what: EventChangeKind
    changes: tuple[FieldChange, ...] | None = Field(
        description="What has another value since. Null where that is not known: a process of an earlier release "
        "made the change, or somebody did by hand"
    )
    by: str | None = Field(description="The subject of the operator's token; null where that is not known")
    at: datetime = Field(description="When it happened")
