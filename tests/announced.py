"""What others must have been notified of by mail and webhook, by the history in booking's database at rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid5

import asyncpg

UNANNOUNCED = "SELECT id FROM bookings WHERE announce_from IS NOT NULL"
MAILS = "SELECT id, booking_id, kind, status, version, amount, attempts, error FROM mails"
# A booking that was offered to somebody who waited, and that is not confirmed at once because it costs nothing.
OFFERED = """t.version = 1 AND t.to_status = 'pending'
    AND EXISTS (SELECT FROM waiting_entries w WHERE w.booking_id = t.booking_id)"""
# Whose customer has never changed, with what became of them: by these alone it is known who was owed a mail.
KNOWN = f"""
SELECT b.id, t.version, t.from_status, t.to_status, coalesce(t.amount_refunded, 0) AS amount_refunded,
    {OFFERED} AS offered
FROM bookings b JOIN booking_transitions t ON t.booking_id = b.id
WHERE b.customer IS NOT NULL AND NOT EXISTS (
    SELECT FROM booking_transitions c WHERE c.booking_id = b.id AND c.cause_type = 'booking.set_customer'
) ORDER BY b.id, t.version
"""
# What a receiver must learn: a booking that was offered, or has begun or ended to be sold, money that went back,
# and each change of an event.
EXPECTED = f"""
SELECT 'booking.' || to_status, booking_id, version FROM booking_transitions
WHERE to_status <> 'pending' AND from_status IS DISTINCT FROM to_status
    AND NOT (from_status IS NULL AND to_status = 'failed')
UNION ALL SELECT 'booking.refunded', booking_id, version FROM (
    SELECT booking_id, version, to_status, coalesce(amount_refunded, 0) AS refunded,
        lag(coalesce(amount_refunded, 0), 1, 0) OVER (PARTITION BY booking_id ORDER BY version) AS before
    FROM booking_transitions
) t WHERE refunded > before AND to_status <> 'pending'
UNION ALL SELECT 'waiting_list.offered', booking_id, version FROM booking_transitions t WHERE {OFFERED}
UNION ALL SELECT 'event.' || what, event_id, version FROM event_changes
"""
# Of which all are expected that there are.
EXPECTED_TYPES = (
    "booking.confirmed",
    "booking.cancelled",
    "booking.failed",
    "booking.refunded",
    "waiting_list.offered",
    "event.created",
    "event.changed",
    "event.cancelled",
)

# A change, by what is said of it: its type, the booking or event, and the version.
Key = tuple[str, UUID, int]


async def mail_findings(
    raw: asyncpg.Connection, taken: Mapping[str, Sequence[EmailMessage]], domain: str
) -> list[str]:
    """What is wrong with the mails that a server has `taken`, by their Message-IDs at `domain`."""
    return [
        *(f"{row['id']}: not announced" for row in await raw.fetch(UNANNOUNCED)),
        *judge_mails(await raw.fetch(MAILS), await raw.fetch(KNOWN), taken, domain),
    ]


async def webhook_findings(raw: asyncpg.Connection, received: Mapping[Key, Collection[str]]) -> list[str]:
    """What is wrong with the webhooks that were `received`, each with the ids under which it came."""
    expected = {(row[0], row[1], row[2]) for row in await raw.fetch(EXPECTED)}
    return list(judge_webhooks(expected, received))


def judge_mails(
    mails: Sequence[Mapping[str, Any]],
    changes: Sequence[Mapping[str, Any]],
    taken: Mapping[str, Sequence[EmailMessage]],
    domain: str,
) -> Iterator[str]:
    """Every mail that is owed was sent, under one id, and nothing is sent that nobody is owed."""
    there = {f"<{row['id']}@{domain}>": row for row in mails}
    for message_id, row in there.items():
        copies = len(taken.get(message_id, ()))
        if row["status"] not in ("sent", "dropped") or (row["status"] == "sent" and not copies):
            yield f"{row['id']}, {row['kind']} of {row['booking_id']}: {row['status']}, sent {copies} times"
        if copies > row["attempts"]:
            yield f"{row['id']}: sent {copies} times by {row['attempts']} attempts"
    for message_id in taken.keys() - there.keys():
        yield f"{message_id} was sent, and nobody knows of it"
    ids = {row["id"] for row in mails}
    for row in changes:
        became = row["to_status"] if row["to_status"] != row["from_status"] else None
        owed = became == "confirmed" or (became == "cancelled" and row["from_status"] == "confirmed")
        what = "waiting_list.offered" if row["offered"] else f"booking.{became}"
        if (owed or row["offered"]) and uuid5(row["id"], f"{row['version']}/{what}") not in ids:
            yield f"{row['id']} v{row['version']}: no mail is owed"
    refunded: dict[Any, int] = defaultdict(int)
    for row in mails:
        refunded[row["booking_id"]] += row["amount"] or 0
    # A refund that was made can fail later: what went back is then less than before.
    went_back: dict[Any, int] = defaultdict(int)
    before: dict[Any, int] = {}
    for row in changes:
        went_back[row["id"]] += max(0, row["amount_refunded"] - before.get(row["id"], 0))
        before[row["id"]] = row["amount_refunded"]
    for id, amount in went_back.items():
        if refunded[id] != amount:
            yield f"{id}: {amount} went back, and mails say {refunded[id]}"


def judge_webhooks(expected: Collection[Key], received: Mapping[Key, Collection[str]]) -> Iterator[str]:
    """Each change was received, under one id however often, and none that never was."""
    for type, id, version in expected:
        if (type, id, version) not in received:
            yield f"{type} of {id} v{version} was not received"
    for (type, id, version), ids in received.items():
        if len(ids) > 1:
            yield f"{type} of {id} v{version} was received under {len(ids)} ids"
        if type in EXPECTED_TYPES and (type, id, version) not in expected:
            yield f"{type} of {id} v{version} was received, and never happened"
