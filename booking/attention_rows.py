"""The SQL of what needs a person: the few rows among all, each kind by an index of its own."""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from common.contracts.attention import AttentionKind
from common.contracts.webhooks import DisabledReason
from common.postgres.attention import Watched

_BOOKING = "id::text AS id, id AS booking_id, event_id, currency, updated_at AS since"
WATCHED = {
    AttentionKind.REFUND_FAILED: Watched(
        f"""
SELECT {_BOOKING}, refund_failed_amount AS amount, coalesce(refund_error, 'no reason is known') AS text
FROM bookings WHERE payment = 'refund_failed' ORDER BY updated_at, bookings.id
""",
        "List them with GET /admin/bookings?payment=refund_failed. Correct the cause that `refund_error` names, "
        "then POST /admin/events/{id}/refunds/retry, or /admin/bookings/{id}/refund for one; or pay the customer "
        "another way: docs/operations.md, Refunds that wait, or failed",
    ),
    AttentionKind.REFUND_BY_HAND: Watched(
        f"""
SELECT {_BOOKING}, amount_captured - amount_refunded AS amount, 'it was paid by ' || (box_office->>'method') AS text
FROM bookings WHERE payment = 'refund_pending' AND box_office IS NOT NULL ORDER BY updated_at, bookings.id
""",
        "Give the money back, then note it with POST /admin/bookings/{id}/refund: docs/operations.md, Selling at "
        "the box office",
    ),
    AttentionKind.BALANCE_TOO_LOW: Watched(
        f"""
SELECT {_BOOKING}, refund_waiting AS text
FROM bookings WHERE payment = 'refund_pending' AND refund_waiting IN
    ('insufficient_funds', 'insufficient_balance_for_refund', 'balance_insufficient')
ORDER BY updated_at, bookings.id
""",
        "Pay in at Stripe, or wait for sales: the refunds are then made without you, those that Stripe has refused "
        "within an hour, for 7 days: docs/operations.md, Refunds that wait, or failed",
    ),
    AttentionKind.PAYMENT_MISMATCH: Watched(
        f"""
SELECT {_BOOKING}, nullif(amount_captured, 0) AS amount, format('the booking costs %s', amount) AS text
FROM bookings WHERE reason = 'payment_mismatch' AND updated_at > $1 ORDER BY updated_at, bookings.id
""",
        "Find out at Stripe who has changed the intent's amount: Holdfast does not. The money goes back by itself: "
        "see `payment` at GET /bookings/{id}",
    ),
    # Who was written to again since needs nobody.
    AttentionKind.MAIL_NOT_SENT: Watched(
        """
SELECT m.id::text AS id, m.booking_id, m.ended_at AS since,
    m.kind || CASE m.status WHEN 'refused' THEN ', refused by the mail server' ELSE ', given up' END AS text
FROM mails m WHERE m.status IN ('refused', 'given_up') AND m.ended_at > $1 AND NOT EXISTS (
    SELECT FROM mails later WHERE later.booking_id = m.booking_id AND later.kind = m.kind
    AND later.made_at > m.made_at AND later.status IN ('owed', 'sent')
) ORDER BY m.ended_at, m.id
""",
        "Read the mail server's answer with GET /admin/bookings/{id}/mails. Correct the address with PUT "
        "/bookings/{id}/customer, which sends a confirmation again, or send the mail again with POST "
        "/admin/bookings/{id}/mails when the server is well",
    ),
    # All endpoints are read: there are never many.
    AttentionKind.ENDPOINT_DISABLED: Watched(
        f"""
SELECT id::text AS id, disabled_at AS since, CASE disabled_reason
    WHEN '{DisabledReason.GONE}' THEN 'it has answered 410 Gone' ELSE 'it has failed for days' END AS text
FROM webhook_endpoints
WHERE disabled_reason IN ('{DisabledReason.FAILING}', '{DisabledReason.GONE}') AND deleted_at IS NULL
ORDER BY disabled_at, webhook_endpoints.id
""",
        "Correct its receiver or its URL, and enable it with PATCH /admin/webhook-endpoints/{id}, which sends what "
        "has waited; then POST /admin/webhook-endpoints/{id}/repeat for what has failed. Or delete it",
    ),
}
