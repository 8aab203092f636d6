"""Which rows must not change, and that the system comes to rest, whatever is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES, PAYMENT_WEBHOOKS
from common.messaging.streams import dead_letters
from tests.acceptance.customers import customer
from tests.acceptance.database_rows import snapshot, unannounced, unfinished_work
from tests.acceptance.holdfast import complaints
from tests.acceptance.mailboxes import mailbox_lengths
from tests.acceptance.polling import eventually
from tests.fuzz.harness import Harness
from tests.fuzz.tally import Tally

# Signed Stripe events are genuine to payment: it stores their ids, and when an intent was seen last. That time also
# changes by itself, because payment reads an open intent every few minutes.
NOTED = "payment.stripe_events"
SEEN_AT = "seen_at"
# How many seconds a mailbox full of signed nonsense may need to become empty: all of it becomes dead letters.
DRAIN_S = 120.0

Rows = dict[str, list[str]]
Kept = Callable[[Harness, Rows], Rows]


def everything(_: Harness, rows: Rows) -> Rows:
    return {table: [_unseen(line) for line in lines] for table, lines in rows.items()}


def nothing(_: Harness, rows: Rows) -> Rows:
    """An operator may do anything."""
    return {}


def of_victims(harness: Harness, rows: Rows) -> Rows:
    """All rows about the victims' bookings, in any table."""
    ids = [victim.booking["id"] for victim in harness.victims]
    return {
        table: [_unseen(line) for line in lines if any(id in line for id in ids)]
        for table, lines in rows.items()
        if table != NOTED
    }


def _unseen(line: str) -> str:
    return json.dumps({name: value for name, value in json.loads(line).items() if name != SEEN_AT}, sort_keys=True)


@asynccontextmanager
async def unchanged(harness: Harness, part: str, kept: Kept, tally: Tally) -> AsyncIterator[None]:
    """The rows that `kept` selects in both databases must be the same after the block, with empty mailboxes."""
    await eventually(lambda: unannounced(harness.holdfast.stack), lambda left: not left)
    before = kept(harness, await snapshot(harness.holdfast.stack))
    yield
    await eventually(
        lambda: mailbox_lengths(harness.holdfast), lambda left: not any(left.values()), seconds=DRAIN_S
    )
    after = kept(harness, await snapshot(harness.holdfast.stack))
    for table in before.keys() | after.keys():
        new, old = set(after[table]) - set(before[table]), set(before[table]) - set(after[table])
        if new or old:
            rows = "\n".join(
                [*(f"- {line}" for line in sorted(old)[:3]), *(f"+ {line}" for line in sorted(new)[:3])]
            )
            tally.wrong(part, f"{table} has changed", rows)


async def at_rest(harness: Harness, tally: Tally) -> None:
    """No work is left, only webhooks are dead letters, no process logged an error, and seats are still sold."""
    part = "at the end"
    async with Redis.from_url(harness.holdfast.stack.redis_url) as redis:
        for mailbox in MAILBOXES:
            if mailbox != PAYMENT_WEBHOOKS and (count := await redis.xlen(dead_letters(mailbox))):
                tally.wrong(part, f"{count} dead letters in {mailbox}", "XRANGE dead:… - + tells why")
    try:
        await (await customer(harness.holdfast, await harness.holdfast.event((1500, 5)))).buys()
        await eventually(
            lambda: unfinished_work(harness.holdfast, dead_letters=False),
            lambda found: not found,
            seconds=DRAIN_S,
        )
    except AssertionError as error:
        tally.wrong(part, "nothing can be sold, or work is left", str(error))
    for line in _loud(complaints(harness.holdfast.stack)):
        tally.wrong(part, "an actor logged an error", line[:2000])


def _loud(lines: Iterable[str]) -> list[str]:
    """The lines, without those about a webhook that became a dead letter."""
    return [line for line in lines if f'"mailbox":"{PAYMENT_WEBHOOKS}"' not in line]
