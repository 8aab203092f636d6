"""The report of a payment to booking: always all of it, whatever has changed."""

from __future__ import annotations

from collections.abc import Sequence

from common.contracts.messages import PaymentReport
from common.contracts.values import PaymentState
from common.messaging.envelope import Envelope, envelope_for
from payment.refunds import DO_NOT_FIT, OPEN, Refund, RefundStatus, left
from payment.state import CREATING, Payment


def report(payment: Payment, traceparent: str = "") -> list[Envelope]:
    """The message with the state of `payment`; none before Stripe has answered the request for its intent."""
    if payment.status is CREATING:
        return []
    message = PaymentReport(booking_id=payment.booking_id, payment=_state(payment))
    return [envelope_for(message, payment.booking_id, traceparent=traceparent)]


def _state(payment: Payment) -> PaymentState:
    refunds = payment.refunds
    failed = failures(payment.amount_captured, refunds)
    return PaymentState(
        version=payment.version,
        status=payment.status,
        amount=payment.amount,
        currency=payment.currency,
        intent_id=payment.intent_id,
        client_secret=payment.client_secret,
        amount_captured=payment.amount_captured,
        amount_refunded=payment.amount_refunded,
        refund_ids=tuple(refund.id for refund in refunds),
        refund_pending=any(refund.status in OPEN for refund in refunds),
        refund_failed=bool(failed),
        refund_waiting=next((refund.pending_reason for refund in refunds if refund.pending_reason), None),
        refund_error=failed[-1].reason or "unknown" if failed else None,
        refund_failed_amount=to_give_again(payment.amount_captured, refunds),
        refund_failed_whole=any(refund.whole for refund in failed),
        disputed=payment.disputed,
        disputes=tuple(dispute.shown for dispute in payment.disputes),
        last_error=payment.last_error,
        attempts=payment.failed_attempts,
        last_attempt_at=payment.last_attempt_at,
        refunds=tuple(refund.shown for refund in refunds),
        rejection=payment.rejection,
    )


def failures(captured: int, refunds: Sequence[Refund]) -> tuple[Refund, ...]:
    """The failed refunds that no later refund replaces, oldest first; none when nothing is left to refund.

    One that the bank or Stripe failed is replaced by a later one of at least its amount; a part that did not fit,
    by any later one. A whole refund that found nothing left does not count: other refunds returned the money.
    """
    if not refunds or left(captured, refunds) <= 0:
        return ()
    return tuple(
        failed
        for failed in refunds
        if failed.status is RefundStatus.FAILED
        and not (failed.whole and failed.reason in DO_NOT_FIT)
        and not any(_makes_good(later, failed) for later in refunds)
    )


def _makes_good(later: Refund, failed: Refund) -> bool:
    if later.status is RefundStatus.FAILED or later.created_at <= failed.updated_at:
        return False
    return failed.reason in DO_NOT_FIT or later.amount >= failed.amount


def to_give_again(captured: int, refunds: Sequence[Refund]) -> int:
    """The amount of the failed refunds that can be tried again: all that is left when a whole one failed; nothing
    for a part that did not fit, because it would not fit again."""
    rest = left(captured, refunds)
    again = [refund for refund in failures(captured, refunds) if refund.reason not in DO_NOT_FIT]
    if any(refund.whole for refund in again):
        return rest
    return min(rest, sum(refund.amount for refund in again))
