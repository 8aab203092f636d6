"""What is wanted of a payment's intent, and the message that asks for it again. Pure."""

from __future__ import annotations

from datetime import datetime

from common.contracts.messages import PAYMENT_DEFERRED, CancelPaymentIntent, CreatePaymentIntent
from common.messaging.envelope import Delivery, Envelope, envelope_for
from payment.refunds import RETRY_FIRST
from payment.state import CREATING, Payment


def wanted(message: CreatePaymentIntent, now: datetime, *, deferred: bool = False) -> Payment:
    """A payment whose intent is wanted, before Stripe is asked for it."""
    return Payment(
        message.booking_id,
        message.event_id,
        message.amount,
        message.currency,
        CREATING,
        asked_at=now,
        created_at=now,
        updated_at=now,
        payment_methods=message.payment_methods,
        description=message.description,
        receipt_email=message.receipt_email,
        deferred=deferred,
        retry_at=now + RETRY_FIRST,
    )


def retry_command(payment: Payment, cause: Delivery | None = None) -> Envelope:
    """The message that repeats the request to Stripe which `payment` waits for, in the mailbox that it came by."""
    id, message = payment.booking_id, _message(payment)
    envelope = envelope_for(message, id, cause=cause)
    return envelope._replace(stream=PAYMENT_DEFERRED) if payment.deferred else envelope


def _message(payment: Payment) -> CancelPaymentIntent | CreatePaymentIntent:
    if payment.status is not CREATING or payment.event_id is None:
        return CancelPaymentIntent(booking_id=payment.booking_id)
    return CreatePaymentIntent(
        booking_id=payment.booking_id,
        event_id=payment.event_id,
        amount=payment.amount,
        currency=payment.currency,
        payment_methods=payment.payment_methods,
        description=payment.description,
        receipt_email=payment.receipt_email,
    )
