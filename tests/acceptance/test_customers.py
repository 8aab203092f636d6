"""Whom bookings are for: shown to those who may see it, sent to Stripe, found, and erased from everywhere else."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from common.messaging.redis import connect
from tests.acceptance.client import Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(120)

TEXTS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type IN ('character varying', 'text', 'jsonb')
"""


def customer(name: str) -> Json:
    return {"name": f"{name} Lovelace", "email": f"{name}@example.com", "locale": "en", "phone": "+442079460000"}


async def columns_with(url: str, text: str) -> list[str]:
    """The columns of a database that have this text anywhere in them."""
    connection = await asyncpg.connect(url)
    try:
        found = []
        for table, column in await connection.fetch(TEXTS):
            query = f"SELECT count(*) FROM {table} WHERE position($1 IN {column}::text) > 0"  # names of ours
            if await connection.fetchval(query, text):
                found.append(f"{table}.{column}")
        return found
    finally:
        await connection.close()


async def streams_with(redis: Redis, text: str) -> list[str]:
    """The streams of Redis that have this text in an entry."""
    found = []
    async for key in redis.scan_iter(_type="stream"):
        entries: Any = await redis.xrange(key)
        if any(text.encode() in b"".join(fields.values()) for _, fields in entries):
            found.append(key.decode())
    return found


async def test_a_customer_is_seen_by_its_owner_and_by_operators_alone(holdfast: Holdfast) -> None:
    owner, stranger, operator = holdfast.client(), holdfast.client(), holdfast.client(operator=True)
    event, ada = await holdfast.event((900, 5)), customer("ada")
    async with owner.live() as live, stranger.live() as other, operator.live() as watching:
        booking = (await owner.book(event, 1, customer=ada)).ok(201)
        assert booking["customer"] == ada
        assert (await watching.snapshot(booking_id=booking["id"]))["booking"]["customer"] == ada
        await other.snapshot(event_id=event["id"])
        grace = customer("grace")
        path = f"/bookings/{booking['id']}/customer"
        assert (await stranger.request("PUT", path, json=grace)).code == "not_found"
        assert (await owner.request("PUT", path, json=grace)).ok()["customer"] == grace
        for socket in (live, watching):
            await socket.until(booking["id"], lambda now: now["customer"] == grace)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    assert (await owner.booking(booking["id"]))["customer"] == grace
    assert "example.com" not in str(other.received)
    intent = await holdfast.stripe.intent(booking["payment"]["intent_id"])
    assert (intent["receipt_email"], intent["description"]) == (
        ada["email"],
        f"{booking['reference']}: {event['name']}, 1 × Row 1",
    )


async def test_the_same_request_with_another_customer_is_refused(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await holdfast.event((900, 5))
    first = await client.book(event, 1, key="k", customer=customer("ada"))
    again = await client.book(event, 1, key="k", customer=customer("ada"))
    other = await client.book(event, 1, key="k", customer=customer("grace"))
    none = await client.book(event, 1, key="k")
    assert (first.status, again.status, again.body["id"]) == (201, 200, first.body["id"])
    assert [other.code, none.code] == ["idempotency_key_reused"] * 2


async def test_operators_find_a_booking_by_what_its_customer_says(holdfast: Holdfast) -> None:
    client, operator = holdfast.client(), holdfast.client(operator=True)
    booking = (await client.book(await holdfast.event((900, 5)), 1, customer=customer("zenobia"))).ok(201)
    reference, intent = booking["reference"], booking["payment"]["intent_id"]
    for query in (
        {"reference": reference},
        {"reference": reference.lower().replace("-", "")},
        {"name": "zeno"},
        {"name": "lovelace ZENOBIA"},
        {"email": "Zenobia@Example.com"},
        {"intent": intent},
        {"intent": intent, "reference": reference, "status": "pending", "event_id": booking["event_id"]},
    ):
        found = (await operator.request("GET", "/admin/bookings", params=query)).ok()["items"]
        assert [each["id"] for each in found] == [booking["id"]], query
    nobody = await operator.request("GET", "/admin/bookings", params={"name": "zeno", "status": "confirmed"})
    assert nobody.ok()["items"] == []


async def test_who_asks_to_be_forgotten_is_erased_from_databases_and_redis(holdfast: Holdfast) -> None:
    """The records of the money stay, and so does what Stripe was sent."""
    client, operator = holdfast.client(), holdfast.client("dpo", operator=True)
    event, ada = await holdfast.event((900, 5)), customer("forgotten")
    (paid, open_) = [(await client.book(event, 1, customer=ada)).ok(201) for _ in range(2)]
    await holdfast.stripe.pay(paid)
    await eventually(lambda: client.booking(paid["id"]), lambda now: now["status"] == "confirmed")
    cancelled = await operator.request("POST", f"/bookings/{open_['id']}/cancel")
    assert cancelled.body["customer"] == ada
    booking_url, payment_url = holdfast.stack.booking_database_url, holdfast.stack.payment_database_url
    # From when its mail is being sent, that has the address, too.
    known = ["bookings.customer", "mails.recipient"]
    await eventually(lambda: columns_with(booking_url, ada["email"]), lambda found: found == known)
    assert await columns_with(payment_url, ada["email"]) == []

    path, body = "/admin/customers/erase", {"email": ada["email"].upper()}
    refused = await holdfast.client(scopes=["holdfast:box-office"]).request("POST", path, json=body)
    assert (refused.status, refused.body["scope"]) == (403, "holdfast:admin")
    assert (await operator.request("POST", path, json=body)).ok(202)["bookings"] == 2

    async def left() -> list[str]:
        return [each for word in (ada["email"], ada["name"]) for each in await columns_with(booking_url, word)]

    assert await eventually(left, lambda found: not found) == []
    seen = await client.booking(paid["id"])
    assert (seen["customer"], seen["status"], seen["payment"]["amount_captured"]) == (None, "confirmed", 900)
    assert (await client.history(paid["id"]))[-1]["to_status"] == "confirmed"
    assert (await operator.history(paid["id"]))[-1]["by"] == "dpo"
    intent = await holdfast.stripe.intent(paid["payment"]["intent_id"])
    assert intent["receipt_email"] == ada["email"]
    redis = connect(holdfast.stack.redis_url)
    try:
        # An inbox keeps the last message that its gateway has read until the next one comes. For a minute all are
        # kept for gateways of the release before.
        await client.request("GET", "/bookings")
        await eventually(lambda: streams_with(redis, ada["email"]), lambda found: {*found} <= {"notifications"})
    finally:
        await redis.aclose()
    await assert_clean(holdfast)
