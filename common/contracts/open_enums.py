"""Texts whose values are known, and to which a later release may add: enumerations that are open.

The code keeps them as texts, so that a value of another release passes through it. What describes them says which
values there are, and accepts any other: `docs/api-stability.md` says what clients do with a value they do not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import WithJsonSchema
from typing_extensions import TypeAliasType

from common.contracts import statuses
from common.contracts.errors import ERRORS
from common.contracts.statuses import ChangeKind, MailKind, Reason

# Time alone, and the messages by which bookings change.
CAUSES = (
    "time",
    "booking.create",
    "booking.create_with_code",
    "booking.cancel",
    "booking.refund",
    "booking.refund_tickets",
    "booking.sell",
    "booking.set_customer",
    "payment.action_required",
    "payment.canceled",
    "payment.declined",
    "payment.dispute_updated",
    "payment.intent_created",
    "payment.intent_rejected",
    "payment.processing",
    "payment.refund_updated",
    "payment.succeeded",
)


def open_enum(values: Iterable[str], meaning: str) -> dict[str, Any]:
    """The JSON schema of a text that is mostly one of these values."""
    known = {"type": "string", "enum": sorted(values)}
    return {"anyOf": [known, {"type": "string"}], "description": f"{meaning} Open: values may be added"}


BookingReason = TypeAliasType(
    "BookingReason",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(Reason, "Why a booking is not, or no longer, confirmed, or what it will be cancelled for.")
        ),
    ],
)
TransitionCause = TypeAliasType(
    "TransitionCause",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(CAUSES, "The type of the message that made a booking change; `time` where time alone did.")
        ),
    ],
)
EventChangeKind = TypeAliasType(
    "EventChangeKind",
    Annotated[str, WithJsonSchema(open_enum(ChangeKind, "What an operator did to an event."))],
)
TicketState = TypeAliasType(
    "TicketState",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(
                statuses.TicketState,
                "Whether the ticket lets somebody in. Only `valid` does; `used`: somebody was let in by it; "
                "`cancelled` and `refunded`: its booking has ended.",
            )
        ),
    ],
)
CheckInOutcome = TypeAliasType(
    "CheckInOutcome",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(
                statuses.CheckInOutcome,
                "What the check-in met. Only `ok` lets somebody in; `used`: somebody was let in by the ticket "
                "before; `cancelled`: its booking has ended; `other_event`: it is for another event; `invalid`: "
                "there is no such ticket; `undone`: this very check-in was undone since.",
            )
        ),
    ],
)
ProblemCode = TypeAliasType(
    "ProblemCode",
    Annotated[str, WithJsonSchema(open_enum(ERRORS, "What went wrong, by a name that stays the same."))],
)
KindOfMail = TypeAliasType(
    "KindOfMail",
    Annotated[
        str,
        WithJsonSchema(open_enum(MailKind, "What a mail is about; `attention` goes to operators.")),
    ],
)
