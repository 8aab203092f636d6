"""A poison entry in a mailbox becomes a dead letter, and harms no other entry."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES, PAYMENT_DEFERRED, PAYMENT_INTENTS
from common.messaging.streams import dead_letters
from common.messaging.unknown import unknown_messages
from tests.acceptance.client import Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.poison import Fields, entry, letters, put, undecodable, unknown
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(120)


async def assert_sells(holdfast: Holdfast) -> None:
    """The next booking is made, paid and confirmed."""
    client, event = holdfast.client(), await holdfast.event((1500, 5))
    async with client.live() as live:
        booking = (await client.book(event, 1)).ok(201)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")


@pytest.mark.parametrize("mailbox", MAILBOXES)
async def test_an_undecodable_entry_is_dead_lettered(battered: Holdfast, mailbox: str) -> None:
    async with Redis.from_url(battered.stack.redis_url) as redis:
        poison = undecodable(mailbox)
        ids = {await put(redis, mailbox, fields): name for name, fields in poison.items()}
        await assert_sells(battered)
        dead = await eventually(lambda: letters(redis, mailbox), lambda found: ids.keys() <= found.keys())
        for id, name in ids.items():
            assert dead[id][b"dead_error"].startswith(b"undecodable"), name
            for field, value in poison[name].items():
                assert dead[id][field.encode()] == (value.encode() if isinstance(value, str) else value), name
        await redis.delete(dead_letters(mailbox))
    await assert_clean(battered)


async def set_aside(redis: Redis, mailbox: str) -> list[Fields]:
    found = cast(Any, await redis.xrange(unknown_messages(mailbox)))
    return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in found]


@pytest.mark.parametrize("mailbox", MAILBOXES)
async def test_entry_of_an_unknown_type_is_set_aside(battered: Holdfast, mailbox: str) -> None:
    async with Redis.from_url(battered.stack.redis_url) as redis:
        sent = list(unknown(mailbox).values())
        for fields in sent:
            await put(redis, mailbox, fields)
        found = await eventually(lambda: set_aside(redis, mailbox), lambda found: len(found) == len(sent))
        assert sorted(found, key=str) == sorted(sent, key=str)
        assert await letters(redis, mailbox) == {}
        await redis.delete(unknown_messages(mailbox))


def report(version: int) -> Json:
    return {
        "booking_id": str(uuid4()),
        "version": version,
        "status": "succeeded",
        "amount": 1,
        "currency": "eur",
    }


HUGE = 2**70

# Entries that decode, but are about rows that do not exist, or have values that no database accepts. A request for
# an intent is always valid to payment, except with another amount than its row has.
INVALID: dict[str, list[Fields]] = {
    "booking.commands": [
        entry("booking.request_payment", {"booking_id": str(uuid4()), "owner": "nobody"}),
        entry(
            "booking.create",
            {
                "booking_id": str(uuid4()),
                "owner": "a\0b",
                "event_id": str(uuid4()),
                "items": [{"quantity": 1}],
            },
        ),
    ],
    "booking.queries": [
        entry("booking.get", {"booking_id": str(uuid4()), "owner": None}),
        entry("booking.list", {"owner": "a\0b", "limit": 1}),
    ],
    "booking.door": [
        entry("ticket.check_in", {"by": "a\0b", "entries": [{"id": str(uuid4()), "code": "no code"}]}),
        entry("ticket.undo_check_in", {"by": "somebody", "check_in_id": str(uuid4())}),
        entry("ticket.door", {"event_id": str(uuid4()), "since": ["a\0b", HUGE, HUGE], "limit": 1}),
    ],
    "booking.payments": [
        entry("payment.succeeded", report(1)),
        entry("payment.succeeded", report(HUGE)),
    ],
    "payment.commands": [
        entry("payment.sync", {"booking_id": str(uuid4())}),
        entry("payment.report_applied", {"booking_id": str(uuid4()), "version": HUGE}),
    ],
    "payment.queries": [
        entry("payment.get_attention", {}),
        entry("payment.get_attention", {"unknown": "field"}),
    ],
    "payment.webhooks": [
        entry("stripe.event_received", {"payload": "no JSON"}),
        entry("stripe.event_received", {"payload": '{"id": "evt_1", "type": "charge.refunded", "data": 7}'}),
    ],
}


@pytest.mark.parametrize("mailbox", MAILBOXES)
async def test_an_invalid_message_does_not_stay_in_its_mailbox(battered: Holdfast, mailbox: str) -> None:
    """It is handled without effect, or becomes a dead letter; the mailbox becomes empty, and sales continue."""
    client, event = battered.client(), await battered.event((1500, 5))
    booking = (await client.book(event, 1)).ok(201)
    other = {"booking_id": booking["id"], "event_id": event["id"], "amount": 1, "currency": "usd"}
    invalid = INVALID.get(mailbox, [entry("payment.create_intent", other)])
    async with Redis.from_url(battered.stack.redis_url) as redis:
        await asyncio.gather(*(put(redis, mailbox, fields) for fields in invalid))
        await assert_sells(battered)
        await eventually(lambda: redis.xlen(mailbox), lambda left: left == 0)
        for letter in (await letters(redis, mailbox)).values():
            assert letter[b"dead_error"]
        await redis.delete(dead_letters(mailbox))
    await assert_clean(battered)
    assert await client.booking(booking["id"]) == booking


async def test_valid_entries_of_a_batch_with_an_invalid_one_are_handled(battered: Holdfast) -> None:
    """All entries of a batch are handled, except the poison ones in it."""
    client, event = battered.client(), await battered.event((1500, 50))
    poison = INVALID["booking.commands"][1]
    async with Redis.from_url(battered.stack.redis_url) as redis:
        bookings = [client.book(event, 1, key=f"neighbour-{number}") for number in range(30)]
        answers, _ = await asyncio.gather(
            asyncio.gather(*bookings), asyncio.gather(*(put(redis, "booking.commands", poison) for _ in range(5)))
        )
        assert [answer.status for answer in answers] == [201] * 30
        await redis.delete(dead_letters("booking.commands"))


def test_every_mailbox_has_invalid_messages() -> None:
    assert {*INVALID, PAYMENT_INTENTS, PAYMENT_DEFERRED} == set(MAILBOXES)
