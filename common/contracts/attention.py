"""What needs a person now, as operators see it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType

from common.contracts.open_enums import open_enum
from common.contracts.resources import Resource

# The most examples of one kind: as many as somebody reads before they ask for the list of them.
EXAMPLES_MAX = 20
# Up to this number they are counted: so an answer costs no more after a day on which everything failed.
COUNT_MAX = 10_000
# How long somebody is told of what nobody can end: it has happened.
RECENT = timedelta(days=7)


class AttentionKind(StrEnum):
    """Why a person is needed, in the order in which it is listed: money first."""

    REFUND_FAILED = "refund_failed"
    REFUND_BY_HAND = "refund_by_hand"
    BALANCE_TOO_LOW = "balance_too_low"
    DISPUTE = "dispute"
    MONEY_WITHOUT_BOOKING = "money_without_booking"
    PAYMENT_MISMATCH = "payment_mismatch"
    DEAD_LETTERS = "dead_letters"
    MAIL_NOT_SENT = "mail_not_sent"
    ENDPOINT_DISABLED = "endpoint_disabled"


class AttentionPart(StrEnum):
    """The actors that each know a part of it."""

    BOOKING = "booking"
    PAYMENT = "payment"


KindOfAttention = TypeAliasType(
    "KindOfAttention",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(
                AttentionKind,
                "Why a person is needed. `refund_failed`: money of a booking could not go back; `refund_by_hand`: "
                "money of a box-office sale is owed, which Holdfast cannot give back; `balance_too_low`: refunds "
                "wait for your balance at Stripe; `dispute`: a bank wants an answer; "
                "`money_without_booking`: an intent of no booking, or a second one of a booking, "
                "has money that is not all back, or can still bring some; `payment_mismatch`: in the last 7 days a "
                "payment had another amount than its booking; `dead_letters`: messages that a mailbox's consumers "
                "could not handle; `mail_not_sent`: in the last 7 days a mail was refused or given up, and none "
                "was sent instead; `endpoint_disabled`: an endpoint gets no webhooks, as it has failed or is gone.",
            )
        ),
    ],
)
PartOfAttention = TypeAliasType(
    "PartOfAttention",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(
                AttentionPart,
                "An actor that has not answered. Of `payment` are `dispute` and `money_without_booking`, of "
                "`booking` all other kinds; each knows the `dead_letters` of its own mailboxes.",
            )
        ),
    ],
)


class AttentionExample(Resource):
    """One of what needs a person."""

    id: str = Field(
        description="The id of what it is: of the booking, the mail or the endpoint, at Stripe of the dispute or "
        "the intent, or in Redis of the dead letter"
    )
    booking_id: UUID | None = Field(default=None, description="The booking that it is about; null: of none")
    reference: str | None = Field(default=None, description="What customers call that booking")
    event_id: UUID | None = Field(default=None, description="The booking's event, where that is known here")
    amount: int | None = Field(default=None, description="The money in question, in the currency's minor unit")
    currency: str | None = Field(default=None, description="By ISO 4217, in lower case; null where it is not known")
    since: datetime = Field(description="Since when it is so; of a booking, when it changed last")
    text: str = Field(description="More about it in a few words, in English; nothing about a person")


class AttentionItem(Resource):
    """All that needs a person for the same reason."""

    kind: KindOfAttention
    mailbox: str | None = Field(default=None, description="Of dead letters, the mailbox that they came from")
    count: int = Field(description=f"How many there are; {COUNT_MAX} where there are as many or more")
    since: datetime = Field(description="Since when the oldest is there")
    to_do: str = Field(description="What to do next, in English")
    examples: tuple[AttentionExample, ...] = Field(description=f"The oldest, at most {EXAMPLES_MAX}")


class Attention(Resource):
    """What needs a person now: an item for each reason, and none where all is well. Of the parts in `missing`
    there may be items that are not here."""

    at: datetime = Field(description="When it was so, by the server's clock")
    items: tuple[AttentionItem, ...] = Field(description="What needs a person, money first")
    missing: tuple[PartOfAttention, ...] = Field(description="Who has not answered; empty: nothing is missing")


class KnownAttention(Resource):
    """The part of it that one actor knows."""

    items: tuple[AttentionItem, ...]


def in_order(items: Iterable[AttentionItem]) -> tuple[AttentionItem, ...]:
    """The items in the order of their kinds; those of a later release are last."""
    known = [kind.value for kind in AttentionKind]
    return tuple(sorted(items, key=lambda each: known.index(each.kind) if each.kind in known else len(known)))
