"""What can happen to a booking, each with what it carries."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from booking.state import HoldPolicy
from common.contracts.values import PaymentState


class Trigger(Enum):
    """By its name in `docs/states.md`."""

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
    EXPIRED = "past expires_at"
    GRACE_OVER = "past the grace time"


class Report(NamedTuple):
    """How the payment stands, as it is taken in now. `seats_free`: there are seats for a booking that has given
    its own back. `failed_at`: when an attempt to pay failed, at Stripe, that is newer than all applied before."""

    payment: PaymentState
    now: datetime
    policy: HoldPolicy
    seats_free: bool = False
    failed_at: datetime | None = None


class Cancel(NamedTuple):
    """Somebody wants it cancelled; `allowed` says whether the event's policy lets them."""

    reason: str
    allowed: bool = True


class Refund(NamedTuple):
    """An operator gives money back: all that is left, or `amount` of it. `id` makes it once only."""

    id: UUID
    amount: int | None = None


class RetryRefunds(NamedTuple):
    """An operator wants the event's failed refunds tried again; once for each `id`."""

    id: UUID


# A trigger alone where nothing but time has passed: it says what is over.
Happening = Cancel | Refund | RetryRefunds | Trigger
