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
from common.contracts.values import PaymentError, Rejection
from payment.disputes import DROPPED, Dispute
from payment.refunds import Refund, left

CREATING, CANCELED = IntentStatus.CREATING, IntentStatus.CANCELED
SUCCEEDED, REJECTED = IntentStatus.SUCCEEDED, IntentStatus.REJECTED
TERMINAL = frozenset({SUCCEEDED, CANCELED, REJECTED})

# ISO 4217's code for "no currency": of a booking that was cancelled before payment received its price.
NO_CURRENCY = "xxx"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to pay that failed. `id` is the id of its charge, or of the Stripe event that showed it where
    there is no charge (the customer did not pass 3-D Secure). `at` is Stripe's time, None where it is not known."""

    id: str
    error: PaymentError
    at: datetime | None


class Payment(NamedTuple):
    """One payment, with its refunds and disputes, each oldest first. Amounts are in the minor unit. `seen_at` is
    Stripe's time of the last snapshot applied; `asked_at` is when Stripe was first asked for an intent under key
    `key_number`. `last_attempt_at` is Stripe's time of the newest of the `failed_attempts` that was later than all
    that was known when it was counted. `revision` is the row's, as it was last read or written."""

    booking_id: UUID
    event_id: UUID | None
    amount: int
    currency: str
    status: IntentStatus
    asked_at: datetime
    created_at: datetime
    updated_at: datetime
    payment_methods: PaymentMethods = PaymentMethods.ALL
    # What Stripe is asked for the intent with, as it was when that was first wanted; None of the release before.
    description: str | None = None
    # Where Stripe sends the receipt; None without a customer, and as soon as Stripe has answered.
    receipt_email: str | None = None
    intent_id: str | None = None
    client_secret: str | None = None
    charge_id: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    last_error: PaymentError | None = None
    # Why Stripe refused to make the intent.
    rejection: Rejection | None = None
    failed_attempts: int = 0
    last_attempt_at: datetime | None = None
    # The status of all its disputes together: `payment.disputes.summary`.
    dispute_status: str | None = None
    cancel_requested: bool = False
    # What Stripe is asked for waits behind others' calls: its owner has asked for more than its share.
    deferred: bool = False
    seen_at: datetime | None = None
    key_number: int = 1
    retry_at: datetime | None = None
    retry_count: int = 0
    # Reasons so far to fetch Stripe's own object; `check_at` is set until it is fetched after the last of them.
    conflicts: int = 0
    check_at: datetime | None = None
    check_count: int = 0
    version: int = 0
    reported_version: int = 0
    report_retry_at: datetime | None = None
    report_retry_count: int = 0
    orphaned_at: datetime | None = None
    return_after: datetime | None = None
    return_decided: bool = False
    return_decided_by: str | None = None
    # The fields above are the row's columns (`columns.py`).
    revision: str = ""
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()

    @property
    def left(self) -> int:
        """The amount that can still be refunded."""
        return left(self.amount_captured, self.refunds)

    def refund(self, id: UUID) -> Refund | None:
        """The refund with this id, or None."""
        return next((refund for refund in self.refunds if refund.id == id), None)

    @property
    def unpaid(self) -> bool:
        """Nothing was captured, so there are neither refunds nor disputes."""
        return self.amount_captured == 0 and self.dispute_status is None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def live(self) -> bool:
        """There is an intent that can still be paid."""
        return self.intent_id is not None and not self.terminal

    @property
    def must_be_canceled(self) -> bool:
        return self.cancel_requested and self.live

    @property
    def idempotency_key(self) -> str:
        return numbered_key(self.booking_id, self.key_number)

    @property
    def disputed(self) -> bool:
        """A bank has taken the money back, or still can."""
        return self.dispute_status is not None and self.dispute_status not in DROPPED


def numbered_key(id: UUID, number: int) -> str:
    """Stripe's idempotency key for the payment or refund with `id`. When a key is spent, `number` grows by one."""
    return str(id) if number == 1 else f"{id}-{number}"


# --- What Stripe shows --------------------------------------------------------------------------------------


class Source(Enum):
    """How a snapshot was received. CREATED shows the intent as it was made, even when it arrives late: Stripe
    answers a repeated idempotency key with the first answer."""

    CREATED = "created"
    EVENT = "event"
    FETCHED = "fetched"


class IntentSnapshot(NamedTuple):
    """A snapshot of a PaymentIntent. `at` is Stripe's time, to the second; `attempt` the one that `last_error` is
    about, where it can be identified; `of_version` the payment's version when the intent was fetched; `amount` what
    the intent asks for. `booking_id`, `event_id` and `installation` are from its metadata."""

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


class SnapshotConflict(Enum):
    """A conflict: why a snapshot was not applied."""

    AMBIGUOUS = "ambiguous"  # of the same second as the row's, and different: Stripe's own object decides
    STRAY = "stray"  # of another intent than the payment's
