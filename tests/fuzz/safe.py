"""What must stay as it is, and what must come to rest, whatever is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES, PAYMENT_WEBHOOKS
from common.messaging.streams import dead_letters
from tests.acceptance.books import snapshot, unrest
from tests.acceptance.customers import customer
from tests.acceptance.holdfast import complaints
from tests.acceptance.mailboxes import waiting
from tests.acceptance.waiting import eventually
from tests.fuzz.place import Place
from tests.fuzz.tally import Tally

# Signed events are Stripe's word: they are noted, and with them how old what we know of an intent is. That also
# changes by itself: an open intent is looked at every few minutes.
NOTED = "payment.stripe_events"
SEEN_AT = "seen_at"
# Signed nonsense is buried: a mailbox may take long to get through much of it.
BURYING_S = 120.0

Rows = dict[str, list[str]]
Kept = Callable[[Place, Rows], Rows]


def everything(_: Place, rows: Rows) -> Rows:
    return {table: [_unseen(line) for line in lines] for table, lines in rows.items()}


def nothing(_: Place, rows: Rows) -> Rows:
    """An operator may do anything."""
    return {}


def of_victims(place: Place, rows: Rows) -> Rows:
    """What there is of the victims' bookings, wherever it is."""
    ids = [victim.booking["id"] for victim in place.victims]
    return {
        table: [_unseen(line) for line in lines if any(id in line for id in ids)]
        for table, lines in rows.items()
        if table != NOTED
    }


def _unseen(line: str) -> str:
    return json.dumps({name: value for name, value in json.loads(line).items() if name != SEEN_AT}, sort_keys=True)


@asynccontextmanager
async def unchanged(place: Place, part: str, kept: Kept, tally: Tally) -> AsyncIterator[None]:
    """What is `kept` of both databases is the same before and after, and the system at rest both times."""
    before = kept(place, await snapshot(place.holdfast.stack))
    yield
    await eventually(lambda: waiting(place.holdfast), lambda left: not any(left.values()), seconds=BURYING_S)
    after = kept(place, await snapshot(place.holdfast.stack))
    for table in before.keys() | after.keys():
        new, old = set(after[table]) - set(before[table]), set(before[table]) - set(after[table])
        if new or old:
            rows = "\n".join(
                [*(f"- {line}" for line in sorted(old)[:3]), *(f"+ {line}" for line in sorted(new)[:3])]
            )
            tally.wrong(part, f"{table} has changed", rows)


async def at_rest(place: Place, tally: Tally) -> None:
    """Nothing is left to do, nothing buried but webhooks, nothing logged as an error, and seats still sell."""
    part = "at the end"
    async with Redis.from_url(place.holdfast.stack.redis_url) as redis:
        for mailbox in MAILBOXES:
            if mailbox != PAYMENT_WEBHOOKS and (buried := await redis.xlen(dead_letters(mailbox))):
                tally.wrong(part, f"{buried} dead letters in {mailbox}", "XRANGE dead:… - + tells why")
    try:
        await (await customer(place.holdfast, await place.holdfast.event((1500, 5)))).buys()
        await eventually(
            lambda: unrest(place.holdfast, dead_letters=False), lambda found: not found, seconds=BURYING_S
        )
    except AssertionError as error:
        tally.wrong(part, "nothing can be sold, or the books do not come to rest", str(error))
    for line in _loud(complaints(place.holdfast.stack)):
        tally.wrong(part, "an actor logged an error", line[:2000])


def _loud(lines: Iterable[str]) -> list[str]:
    """All but what is said of a webhook that is buried."""
    return [line for line in lines if f'"mailbox":"{PAYMENT_WEBHOOKS}"' not in line]
