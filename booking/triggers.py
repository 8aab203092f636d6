"""What can happen to a booking, each with what it carries."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from booking.state import HoldPolicy
from common.contracts.values import Customer, PaymentState


class Trigger(Enum):
    """Its value is its name in `docs/states.md`."""

    INTENT_CREATED = "PaymentIntentCreated"
    INTENT_REJECTED = "PaymentIntentRejected"
    DECLINED = "PaymentDeclined"
    ACTION_REQUIRED = "PaymentActionRequired"
    PROCESSING = "PaymentProcessing"
    SUCCEEDED = "PaymentSucceeded"
    CANCELED = "PaymentCanceled"
    REFUNDED_IN_FULL = "refunded in full"
    CANCEL = "CancelBooking"
    REFUND = "RefundBooking"
    RETRY_REFUNDS = "RetryRefunds"
    SET_CUSTOMER = "SetCustomer"
    EXPIRED = "past expires_at"
    GRACE_OVER = "past the grace time"


class Report(NamedTuple):
    """How the payment stands, applied now. `seats_free`: seats are free for a booking that has released its own.
    `failed_at`: Stripe's time of a failed attempt that is newer than all attempts applied before."""

    payment: PaymentState
    now: datetime
    policy: HoldPolicy
    seats_free: bool = False
    failed_at: datetime | None = None


class Cancel(NamedTuple):
    """A request to cancel the booking; `allowed`: the event's policy permits it. `by`: who asks, as in the others
    below."""

    reason: str
    allowed: bool = True
    by: str | None = None


class Refund(NamedTuple):
    """An operator refunds all that is left, or `amount` of it; once for each `id`. `at`: when they asked, which is
    when money of the box office went back."""

    id: UUID
    amount: int | None = None
    by: str | None = None
    at: datetime | None = None


class RetryRefunds(NamedTuple):
    """An operator retries an event's failed refunds; once for each `id`."""

    id: UUID
    by: str | None = None


class SetCustomer(NamedTuple):
    """Somebody says whom the booking is for; None: that is erased."""

    customer: Customer | None


# If nothing but time has passed, a trigger alone: it says what is over.
Happening = Cancel | Refund | RetryRefunds | SetCustomer | Trigger
