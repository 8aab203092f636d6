"""The servers of a fleet, on which a test reads rows and lets time pass, without the actors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import asyncpg
from aiohttp import ClientSession
from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES
from common.messaging.redis import connect
from common.messaging.streams import dead_letters, lengths
from ops.audit.sources import Sources

CHECK_S = 0.02
# Seconds between two times at which all retry times are made due: then a message that a killed actor has not sent
# is sent again.
TIME_PASSES_S = 0.5
# Longer than any claim's idle time.
LONG_MS = 3_600_000

# The seats of one event at one time, by its counters and as sums over its bookings.
SEATS = """
SELECT t.id, t.capacity, t.held, t.sold, coalesce(sums.held, 0) AS held_is, coalesce(sums.sold, 0) AS sold_is
FROM ticket_types t LEFT JOIN (
    SELECT (item ->> 'ticket_type_id')::uuid AS id,
        sum((item ->> 'quantity')::int) FILTER (WHERE status = 'pending') AS held,
        sum((item ->> 'quantity')::int) FILTER (WHERE status = 'confirmed') AS sold
    FROM bookings, jsonb_array_elements(items) AS item WHERE event_id = $1 GROUP BY 1
) sums ON sums.id = t.id WHERE t.event_id = $1 ORDER BY t.position
"""
BOOKINGS = "SELECT * FROM bookings WHERE event_id = $1"
# Bookings whose version is not the number of their transitions.
UNEXPLAINED = """
SELECT b.id FROM bookings b LEFT JOIN booking_transitions t ON t.booking_id = b.id
WHERE b.event_id = $1 GROUP BY b.id HAVING count(t.id) <> b.version
"""
# Make later retry times due now. Rows that an actor has locked are left out, so that no actor waits for this.
_SOONER = """
UPDATE {table} SET {column} = now() WHERE {key} IN (
    SELECT {key} FROM {table} WHERE {column} > now() AND {of} FOR UPDATE SKIP LOCKED
)
"""
BOOKING_SOONER = (_SOONER.format(table="bookings", key="id", column="settle_after", of="event_id = $1"),)
_PAID = "booking_id IN (SELECT booking_id FROM payments WHERE event_id = $1)"
PAYMENT_SOONER = (
    _SOONER.format(table="payments", key="booking_id", column="drive_after", of="event_id = $1"),
    _SOONER.format(table="payments", key="booking_id", column="report_after", of="event_id = $1"),
    _SOONER.format(table="refunds", key="id", column="drive_after", of=_PAID),
)
# The rows are locked in the order in which the actors lock them; another order could deadlock.
EXPIRE = """
WITH held AS MATERIALIZED (
    SELECT id FROM bookings
    WHERE event_id = $1 AND ($2::uuid IS NULL OR id = $2) AND status = 'pending' AND closing IS NULL
    ORDER BY id FOR UPDATE
)
UPDATE bookings SET expires_at = now(), settle_after = now() FROM held WHERE bookings.id = held.id
"""
BOOKING_WAITS = """
SELECT id, status, payment, closing FROM bookings WHERE event_id = $1 AND settle_after IS NOT NULL
AND NOT ($2 AND status = 'pending' AND payment = 'awaiting' AND closing IS NULL)
"""
PAYMENT_WAITS = f"""
SELECT booking_id, status, version, reported_version FROM payments
WHERE event_id = $1 AND (drive_after IS NOT NULL OR report_after IS NOT NULL)
UNION ALL SELECT booking_id, status, 0, 0 FROM refunds WHERE drive_after IS NOT NULL AND {_PAID}
"""
# For consumers whose names contain none of the given texts, their pending entries are made to look long idle.
_ABANDON = """
local aged = 0
for _, mailbox in ipairs(KEYS) do
  local group = string.match(mailbox, '^%a+')
  local known = redis.call('EXISTS', mailbox) == 1 and redis.call('XINFO', 'GROUPS', mailbox) or {}
  for _, fields in ipairs(#known > 0 and redis.call('XINFO', 'CONSUMERS', mailbox, group) or {}) do
    local gone = fields[4] > 0
    for number = 2, #ARGV do gone = gone and not string.find(fields[2], ARGV[number], 1, true) end
    for _, each in ipairs(gone and redis.call('XPENDING', mailbox, group, '-', '+', 1000, fields[2]) or {}) do
      if each[3] < tonumber(ARGV[1]) then
        redis.call('XCLAIM', mailbox, group, fields[2], 0, each[1], 'IDLE', ARGV[1], 'JUSTID')
        aged = aged + 1
      end
    end
  end
end
return aged
"""


@dataclass(frozen=True)
class Harness:
    """The servers of one fleet, with the test's own connections."""

    where: Sources
    redis: Redis
    booking: asyncpg.Pool
    payment: asyncpg.Pool
    session: ClientSession
    # Opens the sandbox's control.
    control: dict[str, str]

    async def let_time_pass(self, event_id: UUID) -> None:
        """Make all retry times of this event's rows due now."""
        for statement in BOOKING_SOONER:
            await self.booking.execute(statement, event_id)
        for statement in PAYMENT_SOONER:
            await self.payment.execute(statement, event_id)

    async def until(self, event_id: UUID, condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
        """Wait until `condition` holds, and let time pass for the event in between. Not at every check, because
        then every message would be sent again before it is handled."""
        clock = asyncio.get_running_loop().time
        passes = clock() + TIME_PASSES_S
        async with asyncio.timeout(seconds):
            while not await condition():
                if clock() > passes:
                    await self.let_time_pass(event_id)
                    passes = clock() + TIME_PASSES_S
                await asyncio.sleep(CHECK_S)

    async def at_rest(self, event_id: UUID, seconds: float = 30.0) -> None:
        """Wait until no work is left, except that customers pay."""

        async def rests() -> bool:
            return not await self.waits(event_id, holds=True)

        await self.until(event_id, rests, seconds)

    async def end_holds(self, event_id: UUID, booking_id: UUID | None = None) -> None:
        """Make holds expire now: that of one booking, or all of the event."""
        await self.booking.execute(EXPIRE, event_id, booking_id)

    async def abandon(self, alive: Iterable[str]) -> int:
        """Make the pending entries of consumers whose names have none of `alive` claimable. Returns how many."""
        return int(await cast(Any, self.redis.eval(_ABANDON, len(MAILBOXES), *MAILBOXES, LONG_MS, *alive)))

    async def waits(self, event_id: UUID, *, holds: bool = False) -> list[str]:
        """The work that is left in the event's rows, in the mailboxes and in Stripe's webhooks. With `holds`,
        bookings that can be paid do not count."""
        left = [dict(row) for row in await self.booking.fetch(BOOKING_WAITS, event_id, holds)]
        left += [dict(row) for row in await self.payment.fetch(PAYMENT_WAITS, event_id)]
        streams = await lengths(self.redis, (*MAILBOXES, *map(dead_letters, MAILBOXES)))
        url = f"{self.where.stripe_base}/_sandbox/webhooks"
        async with self.session.get(url, headers=self.control) as answer:
            webhooks = (await answer.json())["deliveries"].get("pending", 0)
        texts = [str(row) for row in left] + [f"{name}: {length}" for name, length in streams.items() if length]
        return [*texts, *([f"webhooks: {webhooks}"] if webhooks else [])]

    async def confirm(self, intent_id: str, card: str = "pm_card_visa") -> bool:
        """Pay at Stripe as a customer. Returns whether the payment succeeded."""
        url = f"{self.where.stripe_base}/v1/payment_intents/{intent_id}/confirm"
        form = {"payment_method": card, "return_url": "https://shop.example/"}
        auth = {"Authorization": f"Bearer {self.where.stripe_key}"}
        async with self.session.post(url, data=form, headers=auth) as answer:
            body = await answer.json()
        return bool(body.get("status") == "succeeded")


@asynccontextmanager
async def open_harness(where: Sources, control_key: str) -> AsyncIterator[Harness]:
    assert where.redis_url is not None
    redis = connect(where.redis_url)
    async with (
        asyncpg.create_pool(where.booking_url, min_size=0, max_size=4) as booking,
        asyncpg.create_pool(where.payment_url, min_size=0, max_size=4) as payment,
        ClientSession() as session,
    ):
        yield Harness(where, redis, booking, payment, session, {"Authorization": f"Bearer {control_key}"})
    await redis.aclose()
