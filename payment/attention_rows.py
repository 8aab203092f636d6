"""The SQL of what needs a person: the few rows among all, each kind by indexes of its own."""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from common.contracts.attention import COUNT_MAX, AttentionKind
from common.postgres.attention import Watched

# In each, as in an index, those are at the front that are there longest.
_ORPHANS = f"""
SELECT intent_id AS id, booking_id, event_id, amount_captured - amount_refunded AS amount, currency,
    orphaned_at AS since, CASE
        WHEN return_after IS NOT NULL AND return_decided THEN 'no booking: it goes back by a decision'
        WHEN return_after IS NOT NULL THEN 'no booking: it goes back after a grace time, unless there are too many'
        ELSE 'no booking: its refund is under way, or has failed' END AS text
FROM payments WHERE orphaned_at IS NOT NULL AND (return_after IS NOT NULL OR amount_captured > amount_refunded)
ORDER BY orphaned_at LIMIT {COUNT_MAX}
"""
_STRAYS = f"""
SELECT intent_id AS id, booking_id, NULL::uuid AS event_id, nullif(amount_received, 0) AS amount,
    NULL::varchar AS currency, found_at AS since, CASE
        WHEN drive_after IS NULL THEN 'a second intent of the booking: its refund has failed'
        ELSE 'a second intent of the booking: it is canceled, or its money goes back' END AS text
FROM stray_intents WHERE CASE WHEN drive_after IS NULL THEN refund_status = 'failed' ELSE true END
ORDER BY found_at LIMIT {COUNT_MAX}
"""
WATCHED = {
    AttentionKind.DISPUTE: Watched(
        """
SELECT id, booking_id, amount, currency, coalesce(opened_at, seen_at) AS since,
    concat_ws(', ', status, reason, 'answer by ' || to_char(respond_by AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI"Z"'))
    AS text
FROM disputes WHERE status IN ('needs_response', 'warning_needs_response')
ORDER BY coalesce(opened_at, seen_at), disputes.id
""",
        "Answer it at Stripe before the time that it names, or accept it there",
    ),
    AttentionKind.MONEY_WITHOUT_BOOKING: Watched(
        f"SELECT * FROM (({_ORPHANS}) UNION ALL ({_STRAYS})) both_kinds ORDER BY since, id",
        "Find out why a row is missing: was a database restored? docs/operations.md, Restoring. `holdfast repair` "
        "decides at once; money whose refund failed has to go back at Stripe by hand",
    ),
}
