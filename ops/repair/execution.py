"""Does what a plan says: sends the payment actor commands, few at a time so that its work goes on; counts seats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from common.contracts.messages import PAYMENT_COMMANDS, SyncPayment
from common.messaging.envelope import envelope_for
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.messaging.streams import lengths
from common.runtime.outages import Outage
from ops.audit.databases import BUYERS, PROMO_CODES
from ops.errors import StartError
from ops.repair.plan import Action, Kind

# Commands published at once. The next ones follow when no more than WAITING_MAX wait, however slow Stripe is.
CHUNK = 50
WAITING_MAX = 100
POLL_S = 0.25
# If the mailbox has not become shorter for this long, no payment process reads it.
IDLE_MAX_S = 60.0

LOCK_SEATS = "SELECT id FROM ticket_types WHERE id = $1 FOR NO KEY UPDATE"
# A statement of its own, so that it sees what was committed while LOCK_SEATS waited for the lock.
COUNT_SEATS = """
UPDATE ticket_types t SET held = b.held, sold = b.sold, version = t.version + 1
FROM (
    SELECT coalesce(sum((item->>'quantity')::int) FILTER (WHERE status = 'pending'), 0) AS held,
        coalesce(sum((item->>'quantity')::int) FILTER (WHERE status = 'confirmed'), 0) AS sold
    FROM bookings, jsonb_array_elements(items) AS item
    WHERE event_id = (SELECT event_id FROM ticket_types WHERE id = $1)
        AND (item->>'ticket_type_id')::uuid = $1 AND status IN ('pending', 'confirmed')
) b WHERE t.id = $1
"""


LOCK_BUYER = "SELECT key FROM buyers WHERE key = $1 FOR NO KEY UPDATE"
COUNT_BUYER = f"""
INSERT INTO buyers AS b (key, event_id, seats, holds, updated_at)
SELECT key, split_part(key, ':', 1)::uuid, booked_seats, booked_holds, now()
FROM ({BUYERS.format(part="event_id = split_part($1, ':', 1)::uuid")}) found WHERE key = $1
ON CONFLICT (key) DO UPDATE SET seats = excluded.seats, holds = excluded.holds,
    seats_max = greatest(b.seats_max, excluded.seats), holds_max = greatest(b.holds_max, excluded.holds)
"""


# A promo code, or an owner of its uses.
LOCK_PROMO_CODE = "SELECT id FROM promo_codes WHERE id = split_part($1, ':', 1)::uuid FOR NO KEY UPDATE"
OF_PROMO_CODE = PROMO_CODES.replace(
    "WHERE code_id IS NOT NULL", "WHERE code_id = split_part($1, ':', 1)::uuid"
).format(part="true")
COUNT_PROMO_CODE = f"""
WITH found AS (SELECT * FROM ({OF_PROMO_CODE}) each WHERE key = $1), code AS (
    UPDATE promo_codes c SET held = found.booked_held, used = found.booked_used,
        uses_max = CASE WHEN c.uses_max IS NULL THEN NULL
            ELSE greatest(c.uses_max, found.booked_held + found.booked_used) END
    FROM found WHERE c.id::text = found.key
)
INSERT INTO promo_code_owners AS o (key, code_id, uses, uses_max)
SELECT key, split_part(key, ':', 1)::uuid, booked_used, booked_used FROM found WHERE key LIKE '%:%'
ON CONFLICT (key) DO UPDATE SET uses = excluded.uses, uses_max = greatest(o.uses_max, excluded.uses)
"""


def message_of(action: Action, by: str) -> SyncPayment:
    """The command for `action`. It is `decided`, as a person, `by`, has seen the plan and said yes."""
    values: dict[str, Any] = {"booking_id": UUID(action.id), "decided": True, "by": by}
    if action.intent_id is not None:
        values["intent_id"] = action.intent_id
    if action.amount is not None:
        values |= {"booking_amount": action.amount, "booking_currency": action.currency}
    return SyncPayment(**values)


async def send_commands(redis_url: str, actions: Sequence[Action], by: str, done: Callable[[int], None]) -> None:
    """Publish the commands of `by` for payment, CHUNK at a time, and call `done` with the number of each. Raises
    StartError when Redis is unavailable, or when no payment process reads."""
    redis = connect(redis_url)
    bus = Publisher(redis, source="/holdfast/repair")
    try:
        for start in range(0, len(actions), CHUNK):
            part = actions[start : start + CHUNK]
            await bus.publish([envelope_for(message_of(action, by), action.id) for action in part])
            done(len(part))
            await _until_short(redis)
    except Outage as error:
        raise StartError(f"Redis does not answer: {error}") from error
    finally:
        await redis.aclose()


async def _until_short(redis: Redis) -> None:
    loop = asyncio.get_running_loop()
    least, since = None, loop.time()
    while True:
        waiting = (await lengths(redis, (PAYMENT_COMMANDS,)))[PAYMENT_COMMANDS]
        if waiting <= WAITING_MAX:
            return
        if least is None or waiting < least:
            least, since = waiting, loop.time()
        if loop.time() - since > IDLE_MAX_S:
            raise StartError(f"{waiting} entries wait in {PAYMENT_COMMANDS}: does payment run?")
        await asyncio.sleep(POLL_S)


async def count_anew(connection: asyncpg.Connection, actions: Sequence[Action]) -> list[str]:
    """Set the counters of ticket types, buyers and promo codes to the sums over their bookings; returns which ones
    the database refuses."""
    refused = []
    for action in actions:
        if action.kind is Kind.BUYER:
            async with connection.transaction():
                await connection.execute(LOCK_BUYER, action.id)
                await connection.execute(COUNT_BUYER, action.id)
        if action.kind is Kind.PROMO_CODE:
            async with connection.transaction():
                await connection.execute(LOCK_PROMO_CODE, action.id)
                await connection.execute(COUNT_PROMO_CODE, action.id)
        if action.kind is not Kind.SEATS:
            continue
        try:
            async with connection.transaction():
                await connection.execute(LOCK_SEATS, UUID(action.id))
                await connection.execute(COUNT_SEATS, UUID(action.id))
        except asyncpg.CheckViolationError:
            refused.append(f"ticket type {action.id}: more seats are given than there are; a person must free some")
    return refused
