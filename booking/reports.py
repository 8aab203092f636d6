"""The payment actor's report, read."""

from __future__ import annotations

from booking.state import Decline, Dispute, Payment
from common.contracts.messages import PaymentReport


def payment_of(message: PaymentReport) -> Payment:
    error = message.last_error
    return Payment(
        version=message.version,
        status=message.status,
        amount=message.amount,
        currency=message.currency,
        intent_id=message.intent_id,
        client_secret=message.client_secret,
        amount_captured=message.amount_captured,
        amount_refunded=message.amount_refunded,
        refund_ids=message.refund_ids,
        refund_pending=message.refund_pending,
        refund_failed=message.refund_failed,
        refund_waiting=message.refund_waiting,
        refund_error=message.refund_error,
        refund_failed_amount=message.refund_failed_amount,
        refund_failed_whole=message.refund_failed_whole,
        disputed=message.disputed,
        disputes=None
        if message.disputes is None
        else tuple(Dispute(**dispute.model_dump()) for dispute in message.disputes),
        attempts=message.attempts,
        last_attempt_at=message.last_attempt_at,
        last_error=Decline(error.code, error.decline_code, error.message) if error else None,
    )
