"""The reference design keeps its promises: a wrong one would be no measure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from bench import stage as stages
from bench.audit import problems
from bench.clients import JSON, Client, connected, order
from bench.reference.stage import ReferenceStage, beside
from bench.reference.streams import NOTIFICATIONS
from sandbox.webhooks import signature

SEATS = 5
CLIENTS = 20
WAIT_SECONDS_MAX = 10.0
BOOKING = "SELECT status, payment, version FROM bookings WHERE id = $1::uuid"


@pytest.fixture(scope="module")
async def reference() -> AsyncIterator[ReferenceStage]:
    async with stages.running() as stage, beside(stage) as running:
        yield running


@pytest.fixture(scope="module")
async def clients(reference: ReferenceStage) -> AsyncIterator[list[Client]]:
    async with connected(reference, 4) as buyers:
        yield buyers


async def event_id(stage: ReferenceStage, capacity: int = 100) -> str:
    (event,) = await stage.events(1, capacity, "Evening")
    return str(event["id"])


async def book(stage: ReferenceStage, body: bytes, key: str, token: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, **JSON}
    async with stage.session.post(f"{stage.gateway_url}/bookings", data=body, headers=headers) as response:
        return response.status, orjson.loads(await response.read())


async def deliver(stage: ReferenceStage, payload: bytes, header: str) -> int:
    """Deliver a webhook as Stripe does; when this returns, its work is done, too."""
    url, headers = f"{stage.gateway_url}/payment/webhook", {"Stripe-Signature": header}
    async with stage.session.post(url, data=payload, headers=headers) as response:
        status = response.status
    await stage.wait_until_idle()
    return status


async def last_event(stage: ReferenceStage) -> bytes:
    headers = {"Authorization": f"Bearer {stage.stack.secrets.stripe_secret_key}"}
    url = f"{stage.sandbox_url}/v1/events?type=payment_intent.succeeded&limit=1"
    async with stage.session.get(url, headers=headers) as response:
        return orjson.dumps((await response.json())["data"][0])


async def pay(stage: ReferenceStage, booking: Any, card: str) -> int:
    payment = booking["payment"]
    form = {"payment_method": card, "client_secret": payment["client_secret"], "use_stripe_sdk": "true"}
    headers = {"Authorization": f"Bearer {stage.stack.secrets.stripe_publishable_key}"}
    url = f"{stage.sandbox_url}/v1/payment_intents/{payment['intent_id']}/confirm"
    async with stage.session.post(url, data=form, headers=headers) as response:
        return response.status


async def read(stage: ReferenceStage, booking_id: str, token: str) -> Any:
    url, headers = f"{stage.gateway_url}/bookings/{booking_id}", {"Authorization": f"Bearer {token}"}
    async with stage.session.get(url, headers=headers) as response:
        return await response.json()


async def notified(stage: ReferenceStage, booking_id: str, version: int) -> None:
    """Wait until a notification has that version of the booking."""
    last: Any = "0"
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            found: Any = await stage.redis.xread({NOTIFICATIONS: last}, block=1000)
            for id, fields in found[0][1] if found else ():
                last = id
                booking = orjson.loads(fields[b"text"])["booking"]
                if (booking["id"], booking["version"]) == (booking_id, version):
                    return


async def row(stage: ReferenceStage, booking_id: str) -> tuple[Any, ...]:
    connection = await asyncpg.connect(stage.database_url)
    try:
        return tuple(await connection.fetchrow(BOOKING, booking_id))
    finally:
        await connection.close()


async def test_clients_book_pay_and_are_notified(reference: ReferenceStage, clients: list[Client]) -> None:
    """The benchmark's clients book, pay and get notifications on their sockets; in the end the rows are right."""
    body = order(await event_id(reference))
    sales = await asyncio.gather(*(client.buy(body) for client in clients for _ in range(3)))
    await reference.wait_until_idle()
    assert len({sale.booking_id for sale in sales}) == 12
    assert await problems(reference.database_url, [sale.booking_id for sale in sales], {}) == []


async def test_webhook_counts_once(reference: ReferenceStage, clients: list[Client]) -> None:
    """A repeated webhook changes nothing; one with a wrong signature is refused."""
    sale = await clients[0].buy(order(await event_id(reference)))
    before = await row(reference, sale.booking_id)
    assert before[:2] == ("confirmed", "paid")
    payload, secret = await last_event(reference), reference.stack.secrets.webhook_secret
    assert await deliver(reference, payload, signature(payload, secret, int(time.time()))) == 200
    assert await deliver(reference, payload, signature(payload, "whsec_other", int(time.time()))) == 400
    assert await row(reference, sale.booking_id) == before


async def test_a_declined_payment_can_be_tried_again(reference: ReferenceStage) -> None:
    """A declined payment is shown with its reason, and the booking can still be paid."""
    token = reference.token("declined")
    _, booking = await book(reference, order(await event_id(reference)), "key", token)
    assert await pay(reference, booking, "pm_card_visa_chargeDeclined") == 402
    await notified(reference, booking["id"], 3)
    shown = await read(reference, booking["id"], token)
    assert (shown["status"], shown["payment"]["last_error"]["code"]) == ("pending", "card_declined")
    assert await pay(reference, booking, "pm_card_visa") == 200
    await notified(reference, booking["id"], 4)
    assert (await read(reference, booking["id"], token))["status"] == "confirmed"


async def test_requests_with_one_key_are_one_booking(reference: ReferenceStage) -> None:
    """Requests with one key are one booking, also when they come at once; another request with it is refused."""
    event, token = await event_id(reference), reference.token("twice")
    answers = await asyncio.gather(*(book(reference, order(event), "key", token) for _ in range(5)))
    assert Counter(status for status, _ in answers) == {201: 1, 200: 4}
    assert len({(booking["id"], booking["payment"]["intent_id"]) for _, booking in answers}) == 1
    other = order(await event_id(reference))
    assert (await book(reference, other, "key", token))[0] == 422


async def test_seats_are_never_oversold(reference: ReferenceStage) -> None:
    """Of many requests for few seats at once as many succeed as there are seats; the others are refused."""
    event = await event_id(reference, SEATS)
    tokens = [reference.token(f"rush-{number}") for number in range(CLIENTS)]
    answers = await asyncio.gather(*(book(reference, order(event), "key", token) for token in tokens))
    assert Counter(status for status, _ in answers) == {201: SEATS, 409: CLIENTS - SEATS}
    assert {problem["code"] for status, problem in answers if status == 409} == {"sold_out"}


async def test_a_request_without_a_valid_token_is_refused(reference: ReferenceStage) -> None:
    """Without a valid token nothing is booked."""
    status, problem = await book(reference, order(await event_id(reference)), "key", "no token")
    assert (status, problem["code"]) == (401, "unauthorized")
