"""The statuses that messages carry and clients see. Standard library only: `domain.py` uses them."""

from __future__ import annotations

from enum import StrEnum


class BookingStatus(StrEnum):
    """Where a booking is in its life: seats are held while it is pending, and sold once it is confirmed."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class PaymentStatus(StrEnum):
    """How the money of a booking stands."""

    NONE = "none"
    CREATING = "creating"
    AWAITING = "awaiting"
    ACTION_REQUIRED = "action_required"
    PROCESSING = "processing"
    PAID = "paid"
    REFUND_PENDING = "refund_pending"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    DISPUTED = "disputed"


class IntentStatus(StrEnum):
    """Stripe's PaymentIntent statuses (https://docs.stripe.com/payments/paymentintents/lifecycle), with `creating`
    before there is an intent and `rejected` where Stripe refused to create one."""

    CREATING = "creating"
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    REJECTED = "rejected"


class PaymentMethods(StrEnum):
    """Which of Stripe's payment methods are offered: those that answer at once, or also those that take days."""

    INSTANT = "instant"
    ALL = "all"


class EventStatus(StrEnum):
    """Who may see an event. A draft is for operators alone, and a published event for everybody. An archived one is
    in no list and is not sold, but can still be read by its id."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class BoxOfficeMethod(StrEnum):
    """How seats were paid that operators sold without Stripe; complimentary ones cost nothing."""

    COMPLIMENTARY = "complimentary"
    CASH = "cash"
    CARD_TERMINAL = "card_terminal"


class CancelReason(StrEnum):
    BY_CUSTOMER = "by_customer"
    BY_OPERATOR = "by_operator"
    EVENT_CANCELLED = "event_cancelled"


class ChangeKind(StrEnum):
    """What was done to an event."""

    CREATED = "created"
    CHANGED = "changed"
    CANCELLED = "cancelled"


class AnnouncementKind(StrEnum):
    """What a change of a booking means to those outside who are told of it by mail or webhook."""

    CONFIRMED = "booking.confirmed"
    CANCELLED = "booking.cancelled"
    FAILED = "booking.failed"
    REFUNDED = "booking.refunded"
    REFUND_FAILED = "booking.refund_failed"
    DISPUTED = "booking.disputed"
    CUSTOMER_CHANGED = "booking.customer_changed"


class MailKind(StrEnum):
    """What a mail is about; `attention` goes to operators, the others to customers."""

    CONFIRMATION = "confirmation"
    CANCELLATION = "cancellation"
    REFUND = "refund"
    ATTENTION = "attention"


class MailStatus(StrEnum):
    """Where a mail is: `owed` until a mail server has taken it (`sent`), or refuses it for good (`refused`), or has
    not taken it for days (`given_up`), or there is nobody to write to any more, or nothing to write (`dropped`)."""

    OWED = "owed"
    SENT = "sent"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


class Reason(StrEnum):
    """Why a booking is not, or no longer, confirmed."""

    SOLD_OUT = "sold_out"
    HOLD_EXPIRED = "hold_expired"
    PAYMENT_REJECTED = "payment_rejected"
    PAYMENT_MISMATCH = "payment_mismatch"
    PAYMENT_CANCELED = "payment_canceled"
    REFUNDED = "refunded"
    BY_CUSTOMER = CancelReason.BY_CUSTOMER.value
    BY_OPERATOR = CancelReason.BY_OPERATOR.value
    EVENT_CANCELLED = CancelReason.EVENT_CANCELLED.value


class TicketState(StrEnum):
    """Whether a ticket lets somebody in."""

    VALID = "valid"
    USED = "used"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class CheckInOutcome(StrEnum):
    """What a check-in met."""

    OK = "ok"
    USED = "used"
    CANCELLED = "cancelled"
    OTHER_EVENT = "other_event"
    INVALID = "invalid"
    UNDONE = "undone"
