"""Where the time of a booking goes, hop by hop: the rows themselves say when each actor had it in hand.

Every row has the time at which it was decided on, by the clock of the machine, which is also the driver's. Between
two of these times are the way through a mailbox, the transaction before it, and the wait for a processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from uuid import UUID

import asyncpg

from bench.arrivals import Served

# When the booking was made, when booking had the report of its intent, and when the booking was confirmed.
BOOKED = """
SELECT booking_id, min(at) FILTER (WHERE version = 1) AS held,
    min(at) FILTER (WHERE cause_type = 'payment.intent_created') AS intent,
    min(at) FILTER (WHERE to_status = 'confirmed') AS confirmed
FROM booking_transitions WHERE booking_id = ANY($1::uuid[]) GROUP BY booking_id
"""
# When payment began to ask Stripe, and when it stored the webhook.
PAID = """
SELECT p.booking_id, p.created_at AS called, min(e.received_at) AS webhook
FROM payments p JOIN stripe_events e ON e.booking_id = p.booking_id AND e.type = 'payment_intent.succeeded'
WHERE p.booking_id = ANY($1::uuid[]) GROUP BY p.booking_id
"""
HOPS = (
    "arrival → seats held",
    "seats held → Stripe called",
    "Stripe called → booking has the intent",
    "booking has the intent → 201",
    "paid → webhook recorded",
    "webhook recorded → confirmed",
    "confirmed → notified",
)


async def hops(booking_url: str, payment_url: str, served: Sequence[Served]) -> dict[str, list[float]]:
    """The seconds of each hop, for all customers who were served."""
    ids = [UUID(each.sale.booking_id) for each in served]
    booked, paid = await _rows(booking_url, BOOKED, ids), await _rows(payment_url, PAID, ids)
    found: dict[str, list[float]] = {name: [] for name in HOPS}
    for each, id in zip(served, ids, strict=True):
        if id not in booked or id not in paid:
            continue
        held, intent, confirmed = booked[id]
        called, webhook = paid[id]
        if intent is None:
            continue  # the payment was reported before the intent
        payable = each.due + each.sale.payable
        before = (each.due, *(at.timestamp() for at in (held, called, intent)), payable)
        after = (payable, *(at.timestamp() for at in (webhook, confirmed)), payable + each.sale.notified)
        for name, (begin, end) in zip(HOPS, (*pairwise(before), *pairwise(after)), strict=True):
            found[name].append(end - begin)
    return found


async def _rows(url: str, query: str, ids: Sequence[UUID]) -> dict[UUID, tuple[datetime, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0]: tuple(row)[1:] for row in await connection.fetch(query, ids)}
    finally:
        await connection.close()
