"""Does what a plan says: sends the payment actor commands, few at a time so that its work goes on; counts seats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from common.contracts.messages import PAYMENT_COMMANDS, SyncPayment
from common.messaging.envelope import tell
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.messaging.streams import lengths
from common.runtime.outages import Away
from ops.errors import StartError
from ops.repair.plan import Act, Kind

# Commands published at once. The next ones follow when no more than WAITING_MAX wait, however slow Stripe is.
CHUNK = 50
WAITING_MAX = 100
LOOK_S = 0.25
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


def message_of(act: Act) -> SyncPayment:
    """The command for `act`. It is `decided`, as a person has seen the plan and said yes."""
    values: dict[str, Any] = {"booking_id": UUID(act.id), "decided": True}
    if act.intent_id is not None:
        values["intent_id"] = act.intent_id
    if act.amount is not None:
        values |= {"booking_amount": act.amount, "booking_currency": act.currency}
    return SyncPayment(**values)


async def ask_payment(redis_url: str, acts: Sequence[Act], done: Callable[[int], None]) -> None:
    """Publish the commands for payment, CHUNK at a time, and call `done` with the number of each. Raises StartError
    when Redis is away, or when no payment process reads."""
    redis = connect(redis_url)
    bus = Publisher(redis, source="/holdfast/repair")
    try:
        for start in range(0, len(acts), CHUNK):
            part = acts[start : start + CHUNK]
            await bus.publish([tell(message_of(act), act.id) for act in part])
            done(len(part))
            await _room(redis)
    except Away as away:
        raise StartError(f"Redis does not answer: {away}") from away
    finally:
        await redis.aclose()


async def _room(redis: Redis) -> None:
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
        await asyncio.sleep(LOOK_S)


async def count_seats(connection: asyncpg.Connection, acts: Sequence[Act]) -> list[str]:
    """Set the counters of ticket types to the sums over their bookings; returns which ones the database refuses."""
    refused = []
    for act in acts:
        if act.kind is not Kind.SEATS:
            continue
        try:
            async with connection.transaction():
                await connection.execute(LOCK_SEATS, UUID(act.id))
                await connection.execute(COUNT_SEATS, UUID(act.id))
        except asyncpg.CheckViolationError:
            refused.append(f"ticket type {act.id}: more seats are given than there are; a person must free some")
    return refused
