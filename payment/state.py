"""What is known of a payment, and what Stripe shows of it. The rules are in `domain.py`.

A payment mirrors Stripe's PaymentIntent (https://docs.stripe.com/payments/paymentintents/lifecycle).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from common.contracts.statuses import IntentStatus, PaymentMethods
from common.contracts.values import PaymentError
from payment.disputes import DROPPED, Dispute
from payment.refunds import Refund, left

CREATING, CANCELED = IntentStatus.CREATING, IntentStatus.CANCELED
SUCCEEDED, REJECTED = IntentStatus.SUCCEEDED, IntentStatus.REJECTED
TERMINAL = frozenset({SUCCEEDED, CANCELED, REJECTED})

# ISO 4217's code for "no currency": of a booking that was cancelled before its price was heard of.
NO_CURRENCY = "xxx"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to pay that failed. `id` is its charge's; of one that made no charge, as where the customer did
    not pass 3-D Secure, that of the Stripe event that told of it. `at`: Stripe's time, where it is known."""

    id: str
    error: PaymentError
    at: datetime | None


class Payment(NamedTuple):
    """One payment, with its refunds and disputes, each oldest first. Amounts in the minor unit. `seen_at` is
    Stripe's time of the picture last taken over; `asked_at` when Stripe was first asked for an intent under key
    `key_number`. `last_attempt_at` is Stripe's time of the newest of the `failed_attempts` that was news when it
    was heard of. `revision` is its row's, as it was read or written last."""

    booking_id: UUID
    event_id: UUID | None
    amount: int
    currency: str
    status: IntentStatus
    asked_at: datetime
    created_at: datetime
    updated_at: datetime
    payment_methods: PaymentMethods = PaymentMethods.ALL
    intent_id: str | None = None
    client_secret: str | None = None
    charge_id: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    last_error: PaymentError | None = None
    failed_attempts: int = 0
    last_attempt_at: datetime | None = None
    # What its disputes come to: `payment.disputes.summary`.
    dispute_status: str | None = None
    cancel_requested: bool = False
    seen_at: datetime | None = None
    key_number: int = 1
    drive_after: datetime | None = None
    drive_attempts: int = 0
    # Events so far that did not say enough; `look_after` while Stripe's own object has not been looked at since.
    doubts: int = 0
    look_after: datetime | None = None
    look_attempts: int = 0
    version: int = 0
    reported_version: int = 0
    report_after: datetime | None = None
    report_attempts: int = 0
    orphaned_at: datetime | None = None
    return_after: datetime | None = None
    return_decided: bool = False
    # So far its row's columns.
    revision: str = ""
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()

    @property
    def left(self) -> int:
        """What may still be given back."""
        return left(self.amount_captured, self.refunds)

    def refund(self, id: UUID) -> Refund | None:
        """The refund of this id, if it has one."""
        return next((refund for refund in self.refunds if refund.id == id), None)

    @property
    def unpaid(self) -> bool:
        """Nothing was captured: it has neither refunds nor disputes."""
        return self.amount_captured == 0 and self.dispute_status is None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def live(self) -> bool:
        """There is an intent, and money can still come by it."""
        return self.intent_id is not None and not self.terminal

    @property
    def must_be_canceled(self) -> bool:
        return self.cancel_requested and self.live

    @property
    def idempotency_key(self) -> str:
        return numbered_key(self.booking_id, self.key_number)

    @property
    def disputed(self) -> bool:
        """A bank has, or may get, the money back."""
        return self.dispute_status is not None and self.dispute_status not in DROPPED


def numbered_key(id: UUID, number: int) -> str:
    """Stripe's idempotency key for what has `id`; another number where the first key is spent."""
    return str(id) if number == 1 else f"{id}-{number}"


# --- What Stripe shows --------------------------------------------------------------------------------------


class Source(Enum):
    """Where a picture is from. CREATED shows an intent as it was made, however late it arrives: Stripe answers
    a repeated idempotency key with the first answer."""

    CREATED = "created"
    EVENT = "event"
    FETCHED = "fetched"


class Picture(NamedTuple):
    """A PaymentIntent as Stripe showed it. `at` is Stripe's time, to the second; `attempt` what `last_error` is
    about, where it can be told from others; `of_version` the payment's version when a fetched one was asked for.
    The last four are what it says of itself: what it is to bring, and the ids in its metadata."""

    intent_id: str
    status: IntentStatus
    source: Source
    at: datetime | None
    client_secret: str | None = None
    charge_id: str | None = None
    amount_captured: int = 0
    last_error: PaymentError | None = None
    attempt: Attempt | None = None
    of_version: int | None = None
    currency: str | None = None
    amount: int = 0
    booking_id: UUID | None = None
    event_id: UUID | None = None
    installation: str | None = None
    # When Stripe made it, by its clock.
    created: datetime | None = None


class Doubt(Enum):
    """Why a picture was not simply taken over."""

    AMBIGUOUS = "ambiguous"  # as old as the one we have, and different: Stripe's own object decides
    STRAY = "stray"  # of another intent than the payment's
