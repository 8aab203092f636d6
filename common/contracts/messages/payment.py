"""What payment receives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from common.contracts.messages.base import PAYMENT_COMMANDS, PAYMENT_INTENTS, PAYMENT_WEBHOOKS, Message, OfBooking
from common.contracts.resources import Amount, Currency
from common.contracts.statuses import PaymentMethods


class CreatePaymentIntent(OfBooking, type="payment.create_intent", stream=PAYMENT_INTENTS):
    """An intent is wanted. The payment that is noted first keeps all of it: each request for it is the same."""

    event_id: UUID
    amount: Amount
    currency: Currency
    payment_methods: PaymentMethods = PaymentMethods.ALL


class PaymentCommand(OfBooking, stream=PAYMENT_COMMANDS):
    """Something about the payment of a booking. The booking says by which intent it is paid, where it knows of one,
    and what it costs: payment finds that intent at Stripe when it has lost its row."""

    intent_id: str | None = None
    booking_amount: int | None = None
    booking_currency: str | None = None


class CancelPaymentIntent(PaymentCommand, type="payment.cancel_intent"):
    """No money shall come by it any more."""


class SyncPayment(PaymentCommand, type="payment.sync"):
    """Compare the payment with Stripe's own object. `decided`: an operator says that what is found there and
    belongs to no booking goes back, now and however much there is of it."""

    decided: bool = False


class RefundPayment(PaymentCommand, type="payment.refund"):
    """Give back all that is left (`whole`; `amount` is what the sender knows of it) or a part of `amount`, never in
    another amount. `refund_id` makes it once only. Of a sender that does not say whether it is `whole`, it is when
    `amount` is None or all that is left."""

    refund_id: UUID
    amount: int | None = None
    whole: bool | None = None


class PaymentReportApplied(OfBooking, type="payment.report_applied", stream=PAYMENT_COMMANDS, patient=True):
    """The booking holds the payment's `version`: it has taken it in, or a higher one before. `conflict`: what it
    holds under that version is another report. Payment has lost rows when it is not above these, and goes above."""

    version: int
    conflict: bool = False

    @classmethod
    def together(cls, messages: Sequence[Message]) -> Sequence[Message]:
        reports = cast("tuple[PaymentReportApplied, ...]", tuple(messages))
        return messages if len(messages) == 1 else [PaymentReportsApplied(reports=reports)]


class PaymentReportsApplied(Message, type="payment.reports_applied", stream=PAYMENT_COMMANDS):
    """The same of many bookings."""

    reports: tuple[PaymentReportApplied, ...]


class BookingUnknown(OfBooking, type="booking.unknown", stream=PAYMENT_COMMANDS):
    """There is no such booking as was reported of: the payment as it was reported."""

    version: int
    intent_id: str | None
    amount: int
    currency: str
    amount_captured: int


class CloseStrayIntent(OfBooking, type="payment.close_stray_intent", stream=PAYMENT_COMMANDS):
    """An intent of ours by which its booking is not paid: cancel it, or give back what it has brought."""

    intent_id: str


class StripeEventReceived(Message, type="stripe.event_received", stream=PAYMENT_WEBHOOKS):
    """A verified event, raw as Stripe sent it: https://docs.stripe.com/api/events/object."""

    payload: str
