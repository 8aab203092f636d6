"""Webhooks that come twice, in the wrong order, late, never, or not from Stripe."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator

import orjson
import pytest

from payment.stripe_objects import NEEDED_TYPES
from tests.acceptance.client import Answer, Client, Json, send
from tests.acceptance.database_rows import assert_clean, snapshot
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.stripe_side import DECLINED

pytestmark = pytest.mark.timeout(120)


def signature(payload: bytes, secret: str, at: int | None = None) -> str:
    """https://docs.stripe.com/webhooks#verify-manually"""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def deliver(holdfast: Holdfast, payload: bytes, header: str | None) -> Answer:
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"Stripe-Signature": header})
    return await send(holdfast.session, "POST", holdfast.stack.webhook_url, data=payload, headers=headers)


@pytest.fixture
async def harm(holdfast: Holdfast) -> AsyncIterator[Holdfast]:
    """A test may give the sandbox faults; afterwards it has none."""
    yield holdfast
    await holdfast.stripe.faults()
    await holdfast.stripe.control("/webhooks/resume")


async def pending(holdfast: Holdfast) -> tuple[Client, Json]:
    client = holdfast.client()
    return client, (await client.book(await holdfast.event((1500, 5)), 1)).ok(201)


async def pay_and_receive(holdfast: Holdfast, client: Client, booking: Json) -> list[int]:
    """Pay. Returns the versions that the socket showed until `confirmed`."""
    async with client.live() as live:
        await live.snapshot(booking_id=booking["id"])
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
        return live.versions(booking["id"])


async def events_about(holdfast: Holdfast, booking: Json) -> list[Json]:
    """The Stripe events about the booking's intent that Stripe sends, newest first."""
    intent_id = booking["payment"]["intent_id"]
    events = [event for event in await holdfast.stripe.all("events") if event["type"] in NEEDED_TYPES]
    return [event for event in events if event["data"]["object"].get("id") == intent_id]


def forged_success(booking: Json) -> Json:
    return {
        "id": "evt_forged",
        "object": "event",
        "api_version": "2025-01-01",
        "created": int(time.time()),
        "livemode": False,
        "type": "payment_intent.succeeded",
        "data": {
            "object": {
                "id": booking["payment"]["intent_id"],
                "object": "payment_intent",
                "status": "succeeded",
                "amount": booking["amount"],
                "amount_received": booking["amount"],
                "currency": booking["currency"],
                "metadata": {"booking_id": booking["id"]},
            }
        },
    }


async def test_forged_and_stale_webhooks_change_nothing(holdfast: Holdfast) -> None:
    client, booking = await pending(holdfast)
    await assert_clean(holdfast)
    before = await snapshot(holdfast.stack)
    secret = holdfast.stack.secrets.webhook_secret
    payload = orjson.dumps(forged_success(booking))
    other = orjson.dumps(forged_success(booking) | {"id": "evt_other"})
    headers = {
        "no signature": None,
        "an empty one": "",
        "no signature at all": "nonsense",
        "another secret": signature(payload, "whsec_of_somebody_else"),
        "of another body": signature(other, secret),
        "an hour old": signature(payload, secret, int(time.time()) - 3600),
        "without a time": signature(payload, secret).partition(",")[2],
    }
    for name, header in headers.items():
        answer = await deliver(holdfast, payload, header)
        assert (answer.status, answer.code) == (400, "invalid_signature"), name
    for broken in (b"", b"{", b"[]", b'{"object": "event"}', b"\xff\xfe"):
        assert (await deliver(holdfast, broken, signature(broken, secret))).status == 400
    huge = b" " * (600 * 1024)
    assert (await deliver(holdfast, huge, signature(huge, secret))).status == 400

    await assert_clean(holdfast)
    assert await snapshot(holdfast.stack) == before
    assert await client.booking(booking["id"]) == booking


async def test_webhook_that_comes_again_changes_nothing(holdfast: Holdfast) -> None:
    """All Stripe events of a finished booking come again, newest first, and then once more."""
    client, booking = await pending(holdfast)
    assert (await holdfast.stripe.confirm(booking["payment"], DECLINED)).status == 402
    await pay_and_receive(holdfast, client, booking)
    await assert_clean(holdfast)
    before = await snapshot(holdfast.stack)
    secret = holdfast.stack.secrets.webhook_secret
    events = await events_about(holdfast, booking)
    assert "payment_intent.succeeded" in {event["type"] for event in events}
    for event in [*events, *events]:
        payload = orjson.dumps(event)
        (await deliver(holdfast, payload, signature(payload, secret))).ok()
    await assert_clean(holdfast)
    assert await snapshot(holdfast.stack) == before


async def test_doubled_webhooks_count_once(harm: Holdfast) -> None:
    await harm.stripe.faults(webhooks={"double": 1.0})
    client, booking = await pending(harm)
    versions = await pay_and_receive(harm, client, booking)
    assert versions == sorted(set(versions))
    changes = await client.history(booking["id"])
    assert [change["to_status"] for change in changes].count("confirmed") == 1
    assert (await harm.stripe.struck())["webhooks.double"] > 0
    await assert_clean(harm)


async def test_reordered_webhooks_end_alike(harm: Holdfast) -> None:
    """A decline that arrives after the success which followed it does not undo the success."""
    client, booking = await pending(harm)
    secret = harm.stack.secrets.webhook_secret
    async with client.live() as live:
        await live.snapshot(booking_id=booking["id"])
        await harm.stripe.control("/webhooks/pause")
        assert (await harm.stripe.confirm(booking["payment"], DECLINED)).status == 402
        await harm.stripe.pay(booking)
        types = []
        for event in await events_about(harm, booking):
            payload = orjson.dumps(event)
            (await deliver(harm, payload, signature(payload, secret))).ok()
            types.append(event["type"])
        await harm.stripe.control("/webhooks/resume")
        await live.until(booking["id"], "confirmed")
    assert types.index("payment_intent.succeeded") < types.index("payment_intent.payment_failed")
    await assert_clean(harm)
    assert (await client.booking(booking["id"]))["status"] == "confirmed"
    assert [change["to_status"] for change in await client.history(booking["id"])][-1] == "confirmed"


async def test_many_payments_with_webhooks_in_disorder(harm: Holdfast) -> None:
    """Webhooks are lost, doubled, late and out of order, for many bookings at once."""
    chances = {"drop": 0.5, "double": 0.3, "reorder": 0.7, "reorder_window_ms": 500}
    await harm.stripe.faults(seed=7, webhooks=chances)
    bookings = [await pending(harm) for _ in range(20)]
    await asyncio.gather(*(pay_and_receive(harm, client, booking) for client, booking in bookings))
    struck = await harm.stripe.struck()
    assert {"webhooks.drop", "webhooks.double", "webhooks.reorder"} <= struck.keys()
    await assert_clean(harm)
