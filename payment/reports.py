"""A payment as the booking is told of it: the whole of it, whatever the message's name."""

from __future__ import annotations

from collections.abc import Sequence

from common.contracts.messages import (
    DisputeUpdated,
    PaymentActionRequired,
    PaymentCanceled,
    PaymentDeclined,
    PaymentIntentCreated,
    PaymentIntentRejected,
    PaymentProcessing,
    PaymentReport,
    PaymentSucceeded,
    RefundUpdated,
)
from common.contracts.resources import Dispute as DisputeShown
from common.contracts.resources import PaymentError
from common.messaging.envelope import Delivery, Envelope, tell
from payment.disputes import Dispute
from payment.domain import Payment, Report, refunds_shown, report_of
from payment.refunds import Refund

MESSAGES: dict[Report, type[PaymentReport]] = {
    Report.INTENT_CREATED: PaymentIntentCreated,
    Report.INTENT_REJECTED: PaymentIntentRejected,
    Report.PROCESSING: PaymentProcessing,
    Report.ACTION_REQUIRED: PaymentActionRequired,
    Report.DECLINED: PaymentDeclined,
    Report.SUCCEEDED: PaymentSucceeded,
    Report.CANCELED: PaymentCanceled,
    Report.REFUND_UPDATED: RefundUpdated,
    Report.DISPUTE_UPDATED: DisputeUpdated,
}


def report(
    payment: Payment,
    refunds: Sequence[Refund] = (),
    disputes: Sequence[Dispute] = (),
    cause: Delivery | None = None,
) -> list[Envelope]:
    """The message that tells how `payment` stands; none while there is nothing to tell."""
    kind = report_of(payment)
    if kind is None:
        return []
    shown = refunds_shown(payment, refunds)
    error = payment.last_error
    message = MESSAGES[kind](
        booking_id=payment.booking_id,
        version=payment.version,
        status=payment.status,
        intent_id=payment.intent_id,
        client_secret=payment.client_secret,
        amount=payment.amount,
        currency=payment.currency,
        amount_captured=payment.amount_captured,
        amount_refunded=payment.amount_refunded,
        refund_ids=shown.ids,
        refund_pending=shown.pending,
        refund_failed=shown.failed,
        refund_waiting=shown.waiting,
        refund_error=shown.error,
        refund_failed_amount=shown.failed_amount,
        refund_failed_whole=shown.failed_whole,
        disputed=payment.disputed,
        disputes=tuple(_dispute(dispute) for dispute in disputes),
        attempts=payment.failed_attempts,
        last_attempt_at=payment.last_attempt_at,
        last_error=PaymentError(code=error.code, decline_code=error.decline_code, message=error.message)
        if error
        else None,
    )
    return [tell(message, payment.booking_id, cause=cause)]


def _dispute(dispute: Dispute) -> DisputeShown:
    return DisputeShown(
        id=dispute.id,
        status=dispute.status,
        amount=dispute.amount,
        currency=dispute.currency,
        reason=dispute.reason,
        opened_at=dispute.opened_at,
        respond_by=dispute.respond_by,
    )
