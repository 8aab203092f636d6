"""Webhooks: signed, retried, to each endpoint the types that it wants. The receiver checks every signature."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import stripe
from aiohttp import ClientSession
from structlog.testing import capture_logs

from sandbox.webhooks import signature
from tests.sandbox.receiver import Receiver
from tests.sandbox.stand import Stand, standing


async def undelivered(stand: Stand) -> list[str]:
    listed = await stand.stripe.v1.events.list_async({"delivery_success": False})
    return [event.type for event in listed.data]


async def test_every_event_is_delivered_as_it_is_listed(stand: Stand) -> None:
    """Each has its signature."""
    paid = await stand.paid()
    received = {event["id"]: event for event in await stand.receiver.until(4, of=paid.id)}
    listed = await stand.stripe.v1.events.list_async()

    assert stand.receiver.forged == 0
    assert {event.id for event in listed.data} == set(received)
    for event in listed.data:
        assert event.to_dict() | {"pending_webhooks": 1} == received[event.id]


def test_a_signature_is_of_its_time_and_payload() -> None:
    """The SDK's own check refuses another secret, another payload, and an old one."""
    now = int(time.time())
    header = signature(b'{"id":"evt_1"}', "whsec_1", now)
    check = stripe.WebhookSignature.verify_header
    assert check('{"id":"evt_1"}', header, "whsec_1", tolerance=300)
    for payload, secret in (('{"id":"evt_2"}', "whsec_1"), ('{"id":"evt_1"}', "whsec_2")):
        with pytest.raises(stripe.SignatureVerificationError):
            check(payload, header, secret)
    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        check('{"id":"evt_1"}', signature(b'{"id":"evt_1"}', "whsec_1", now - 600), "whsec_1", tolerance=300)


async def test_a_webhook_is_retried_until_it_is_accepted(stand: Stand) -> None:
    """Each pause is twice as long as the one before; a redirect counts as a failure."""
    stand.receiver.answers = [500, 404, 307, 503]
    with capture_logs() as logs:
        made = await stand.intent()
        await stand.receiver.until(1, of=made.id)
    failures = [log for log in logs if log["event"] == "webhook not delivered"]

    assert [arrival.status for arrival in stand.receiver.arrivals] == [500, 404, 307, 503, 200]
    assert len({arrival.event["id"] for arrival in stand.receiver.arrivals}) == 1
    assert [log["again_in_seconds"] for log in failures] == [0.01, 0.02, 0.04, 0.08]
    gaps = [after.at - before.at for before, after in pairwise(stand.receiver.arrivals)]
    assert all(gap >= wait for gap, wait in zip(gaps, [0.01, 0.02, 0.04, 0.08], strict=True))


async def test_an_unreachable_endpoint_gets_its_webhooks_once_it_is_back(
    session: ClientSession, receiver: Receiver
) -> None:
    """Other endpoints do not wait for it."""
    unreachable = "http://127.0.0.1:9/hook"
    async with standing(session, receiver, sandbox_webhook_url=f"{unreachable}, {receiver.url}") as stand:
        made = await stand.intent()
        assert await receiver.until(1, of=made.id)
        assert await undelivered(stand) == ["payment_intent.created"]

        receiver.arrivals.clear()
        back = [{"url": receiver.url, "secret": receiver.secret}]
        await stand.control("PUT", "/webhooks/endpoints", back)
        assert await receiver.until(1, of=made.id)


async def test_each_endpoint_gets_only_its_event_types(stand: Stand) -> None:
    """Each is signed with the endpoint's own secret."""
    async with Receiver(secret="whsec_other").listening() as other:
        await stand.control(
            "PUT",
            "/webhooks/endpoints",
            [
                {"url": stand.receiver.url, "secret": stand.receiver.secret},
                {"url": other.url, "secret": other.secret, "enabled_events": ["payment_intent.succeeded"]},
            ],
        )
        paid = await stand.paid()
        await stand.receiver.until(4, of=paid.id)
        await other.until(1, "payment_intent.succeeded", of=paid.id)
        assert [arrival.event["type"] for arrival in other.arrivals] == ["payment_intent.succeeded"]
        assert (stand.receiver.forged, other.forged) == (0, 0)


async def test_webhooks_wait_while_paused(stand: Stand) -> None:
    """They are sent after a resume."""
    assert (await stand.control("POST", "/webhooks/pause"))["paused"]
    paid = await stand.paid()
    shown = await stand.control("GET", "/webhooks")
    assert (shown["deliveries"], stand.receiver.arrivals) == ({"pending": 4}, [])
    assert len(await undelivered(stand)) == 4

    await stand.control("POST", "/webhooks/resume")
    assert len(await stand.receiver.until(4, of=paid.id)) == 4


async def test_an_event_can_be_sent_again(stand: Stand) -> None:
    """By a control request."""
    made = await stand.intent()
    (event,) = await stand.receiver.until(1, of=made.id)
    redelivered = await stand.control("POST", f"/events/{event['id']}/redeliver")
    assert redelivered["deliveries"] == 1
    first, second = await stand.receiver.until(2, of=made.id)
    assert first == second
    assert (await stand.try_control("POST", "/events/evt_1/redeliver")).status == 404


async def test_endpoints_are_checked_before_they_are_used(stand: Stand) -> None:
    """Without an address and a secret nothing changes."""
    for body in ([{"url": "shop", "secret": "s"}], [{"url": stand.receiver.url}], {"url": "x"}):
        assert (await stand.try_control("PUT", "/webhooks/endpoints", json=body)).status == 400
    shown = await stand.control("GET", "/webhooks")
    assert [endpoint["url"] for endpoint in shown["endpoints"]] == [stand.receiver.url]
