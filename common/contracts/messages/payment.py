"""What payment receives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from pydantic import Field

from common.contracts.messages.base import (
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
    PAYMENT_QUERIES,
    PAYMENT_WEBHOOKS,
    Message,
    OfBooking,
)
from common.contracts.resources import Amount, Currency
from common.contracts.statuses import PaymentMethods
from common.contracts.values import EMAIL_MAX, INTENT_DESCRIPTION_MAX


class CreatePaymentIntent(OfBooking, type="payment.create_intent", stream=PAYMENT_INTENTS, also=PAYMENT_DEFERRED):
    """An intent is wanted. The payment that is saved first keeps these values, whatever a later message has: all
    requests of Stripe under one idempotency key are the same."""

    event_id: UUID
    amount: Amount
    currency: Currency
    payment_methods: PaymentMethods = PaymentMethods.ALL
    description: str | None = Field(default=None, max_length=INTENT_DESCRIPTION_MAX)
    receipt_email: str | None = Field(default=None, max_length=EMAIL_MAX)


class PaymentCommand(OfBooking, stream=PAYMENT_COMMANDS):
    """A command about the payment of a booking. It carries the booking's intent, where booking knows one, and
    price: by these payment finds the intent at Stripe when it has lost its row."""

    intent_id: str | None = None
    booking_amount: int | None = None
    booking_currency: str | None = None


class CancelPaymentIntent(PaymentCommand, type="payment.cancel_intent", also=PAYMENT_DEFERRED):
    """The intent must bring no more money."""


class SyncPayment(PaymentCommand, type="payment.sync"):
    """Compare the payment with Stripe's own object. `decided`: an operator decides that money found there which
    belongs to no booking is refunded, now and whatever the amount."""

    decided: bool = False
    by: str | None = Field(default=None, max_length=255)

    @property
    def requester(self) -> str | None:
        return self.by


class RefundPayment(PaymentCommand, type="payment.refund"):
    """Refund all that is left (`whole`; `amount` is what the sender knows of it), or a part of exactly `amount`.
    `refund_id` makes that happen once only. Where the sender does not set `whole`, the refund is whole when
    `amount` is None or equals all that is left. `by`: the subject that asked for it; None: the system owes it."""

    refund_id: UUID
    amount: int | None = None
    whole: bool | None = None
    by: str | None = Field(default=None, max_length=255)

    @property
    def requester(self) -> str | None:
        return self.by


class PaymentReportApplied(OfBooking, type="payment.report_applied", stream=PAYMENT_COMMANDS, deferrable=True):
    """The booking has applied the payment's `version`, or a higher one before. `conflict`: it has applied another
    report under that version. A payment whose own version is not above it has lost rows, and continues above it."""

    version: int
    conflict: bool = False

    @classmethod
    def combined(cls, messages: Sequence[Message]) -> Sequence[Message]:
        reports = cast("tuple[PaymentReportApplied, ...]", tuple(messages))
        return messages if len(messages) == 1 else [PaymentReportsApplied(reports=reports)]


class PaymentReportsApplied(Message, type="payment.reports_applied", stream=PAYMENT_COMMANDS):
    """The same for many bookings."""

    reports: tuple[PaymentReportApplied, ...]


class BookingUnknown(OfBooking, type="booking.unknown", stream=PAYMENT_COMMANDS):
    """No booking exists for a report: the payment as it was reported."""

    version: int
    intent_id: str | None
    amount: int
    currency: str
    amount_captured: int


class CloseStrayIntent(OfBooking, type="payment.close_stray_intent", stream=PAYMENT_COMMANDS):
    """An intent with our metadata that its booking does not know: cancel it, or refund what it has brought."""

    intent_id: str


class StripeEventReceived(Message, type="stripe.event_received", stream=PAYMENT_WEBHOOKS):
    """A verified Stripe event, raw as Stripe sent it: https://docs.stripe.com/api/events/object."""

    payload: str


class GetPaymentAttention(Message, type="payment.get_attention", stream=PAYMENT_QUERIES):
    """What needs a person now, as far as payment knows it."""
