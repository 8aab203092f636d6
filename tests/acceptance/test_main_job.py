"""The main job as a client sees it: book, pay, and be notified."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.client import MAX_WAIT_SECONDS, Client, Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.stripe_side import AUTHENTICATED, DECLINED, VISA

pytestmark = pytest.mark.timeout(120)


async def event_with_two(holdfast: Holdfast) -> Json:
    return await holdfast.event((4500, 10), (2900, 10))


async def intents_of(holdfast: Holdfast, booking_id: str) -> list[Json]:
    intents = await holdfast.stripe.all("payment_intents")
    return [intent for intent in intents if intent["metadata"].get("booking_id") == booking_id]


def available(message: Json) -> int:
    free: int = message["event"]["ticket_types"][0]["available"]
    return free


async def changes_of(client: Client, booking_id: str) -> list[tuple[str | None, str, str]]:
    """(from, to, payment) of each change; asserts that versions count from 1."""
    history = await client.history(booking_id)
    assert [change["version"] for change in history] == list(range(1, len(history) + 1))
    return [(change["from_status"], change["to_status"], change["payment_status"]) for change in history]


async def test_booking_is_paid_and_confirmed_live(holdfast: Holdfast) -> None:
    """A guest gets a token, lists events, books and pays at Stripe, and the socket shows `confirmed`."""
    guest = await holdfast.guest()
    made = await event_with_two(holdfast)
    events = (await guest.request("GET", "/events", params={"limit": 200})).ok()["items"]
    (event,) = [event for event in events if event["id"] == made["id"]]

    async with guest.live() as live:
        answer = await guest.book(event, 2, 1)
        booking = answer.ok(201)
        assert answer.headers["Location"] == f"/bookings/{booking['id']}"
        assert (booking["status"], booking["payment"]["status"]) == ("pending", "awaiting")
        assert (booking["amount"], booking["currency"]) == (2 * 4500 + 2900, "eur")
        assert booking["payment"]["client_secret"].startswith(booking["payment"]["intent_id"])

        await holdfast.stripe.pay(booking)
        confirmed = await live.until(booking["id"], "confirmed")

    versions = live.versions(booking["id"])
    assert versions == sorted(set(versions))
    assert (confirmed["payment"]["status"], confirmed["payment"]["client_secret"]) == ("paid", None)
    assert await guest.booking(booking["id"]) == confirmed
    assert [one["id"] for one in (await guest.request("GET", "/bookings")).ok()["items"]] == [booking["id"]]
    assert await changes_of(guest, booking["id"]) == [
        (None, "pending", "creating"),
        ("pending", "pending", "awaiting"),
        ("pending", "confirmed", "paid"),
    ]
    now = await holdfast.event_now(event)
    assert [ticket_type["available"] for ticket_type in now["ticket_types"]] == [8, 9]


async def test_repeated_key_gives_the_same_booking(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await event_with_two(holdfast)
    first = (await client.book(event, 1, 1, key="once")).ok(201)
    again = (await client.book(event, 1, 1, key="once")).ok(200)
    assert again == first
    assert len(await intents_of(holdfast, first["id"])) == 1

    other = await client.book(event, 2, key="once")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert await client.booking(first["id"]) == first


async def test_same_key_of_two_clients_makes_two_bookings(holdfast: Holdfast) -> None:
    event = await event_with_two(holdfast)
    bookings = [(await holdfast.client().book(event, 1, key="mine")).ok(201)["id"] for _ in range(2)]
    assert len(set(bookings)) == 2


async def test_one_ticket_type_need_not_be_named(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await holdfast.event((1000, 5))
    body = {"event_id": event["id"], "quantity": 2}
    booking = (await client.request("POST", "/bookings", json=body, headers={"Idempotency-Key": "two"})).ok(201)
    (item,) = booking["items"]
    assert (item["ticket_type_id"], item["quantity"]) == (event["ticket_types"][0]["id"], 2)


async def test_payment_intent_is_the_same_each_time(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await event_with_two(holdfast)
    booking = (await client.book(event, 1)).ok(201)
    asked = [(await client.intent(booking["id"], amount=4500, currency="eur")).ok() for _ in range(3)]
    assert asked[0] == asked[1] == asked[2]
    assert asked[0]["payment_intent_id"] == booking["payment"]["intent_id"]
    assert asked[0]["publishable_key"] == holdfast.stack.secrets.stripe_publishable_key

    for wrong in ({"amount": 4499}, {"currency": "usd"}):
        refused = await client.intent(booking["id"], **wrong)
        assert (refused.status, refused.code) == (422, "amount_mismatch")

    async with client.live() as live:
        (await holdfast.stripe.confirm(asked[0], VISA)).ok()
        await live.until(booking["id"], "confirmed")
    over = await client.intent(booking["id"])
    assert (over.status, over.code) == (409, "nothing_to_pay")
    assert len(await intents_of(holdfast, booking["id"])) == 1


async def test_free_booking_is_confirmed_at_once(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await holdfast.event((0, 5))
    booking = (await client.book(event, 2)).ok(201)
    assert (booking["status"], booking["payment"]["status"], booking["amount"]) == ("confirmed", "none", 0)
    assert await intents_of(holdfast, booking["id"]) == []
    assert (await client.intent(booking["id"])).code == "nothing_to_pay"
    assert await changes_of(client, booking["id"]) == [(None, "confirmed", "none")]


async def test_declined_card_can_be_replaced_by_another(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await event_with_two(holdfast)
    async with client.live() as live:
        booking = (await client.book(event, 1)).ok(201)
        declined = await holdfast.stripe.confirm(booking["payment"], DECLINED)
        assert (declined.status, declined.code) == (402, "card_declined")
        shown = await live.until(booking["id"], lambda now: now["payment"]["last_error"] is not None)
        assert (shown["status"], shown["payment"]["status"]) == ("pending", "awaiting")
        assert shown["payment"]["last_error"]["code"] == "card_declined"
        assert shown["payment"]["client_secret"] == booking["payment"]["client_secret"]

        await holdfast.stripe.pay(booking)
        confirmed = await live.until(booking["id"], "confirmed")
    assert confirmed["payment"]["last_error"] is None


async def test_card_that_asks_for_authentication(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await event_with_two(holdfast)
    async with client.live(in_message=False) as live:
        booking = (await client.book(event, 1)).ok(201)
        intent = (await holdfast.stripe.confirm(booking["payment"], AUTHENTICATED)).ok()
        assert intent["status"] == "requires_action"
        await live.until(booking["id"], lambda now: now["payment"]["status"] == "action_required")

        (await holdfast.stripe.authenticate(intent)).ok()
        await live.until(booking["id"], "confirmed")


async def test_sold_out_is_answered_and_no_money_is_taken(holdfast: Holdfast) -> None:
    client, event = holdfast.client(), await holdfast.event((1000, 2))
    (await client.book(event, 2)).ok(201)
    late = await client.book(event, 1, key="late")
    assert (late.status, late.code) == (409, "sold_out")
    again = await client.book(event, 1, key="late")
    assert (again.status, again.body) == (409, late.body)
    failed = await client.booking(late.body["booking_id"])
    assert (failed["status"], failed["reason"]) == ("failed", "sold_out")
    assert await intents_of(holdfast, failed["id"]) == []


async def test_availability_is_published_to_subscribers(holdfast: Holdfast) -> None:
    event, watcher = await holdfast.event((1000, 7)), holdfast.client()
    async with watcher.live() as live:
        shown = await live.snapshot(event_id=event["id"])
        assert available(shown) == 7
        (await holdfast.client().book(event, 3)).ok(201)
        # The notification of the event's creation may still be on its way.
        async with asyncio.timeout(MAX_WAIT_SECONDS):
            while (message := await live.next())["type"] != "event" or available(message) == 7:
                pass
    assert available(message) == 4


async def test_reconnecting_client_is_brought_up_to_date(holdfast: Holdfast) -> None:
    """The snapshot has what happened while the client had no socket."""
    client, event = holdfast.client(), await event_with_two(holdfast)
    async with client.live() as first:
        booking = (await client.book(event, 1)).ok(201)
        before = (await first.snapshot(booking_id=booking["id"]))["booking"]
    async with holdfast.client(operator=True).live() as witness:
        await witness.snapshot(booking_id=booking["id"])
        await holdfast.stripe.pay(booking)
        await witness.until(booking["id"], "confirmed")
    async with client.live() as second:
        after = (await second.snapshot(booking_id=booking["id"]))["booking"]
    assert (before["status"], after["status"]) == ("pending", "confirmed")
    assert after["version"] > before["version"]


async def test_the_audit_is_clean(holdfast: Holdfast) -> None:
    """The audit of both databases, Stripe's ledger and the mailboxes is clean after all tests before."""
    await assert_clean(holdfast)


async def test_who_waits_is_offered_what_another_cancels_and_pays(holdfast: Holdfast) -> None:
    """From the sold-out seat to the confirmed booking of who waited; nobody else can buy it in between."""
    first, second, racer = holdfast.client(), holdfast.client(), holdfast.client()
    event = await holdfast.event((4500, 1))
    booking = (await first.book(event, 1)).ok(201)
    wish = {"event_id": event["id"], "quantity": 1}
    answer = await second.request("POST", "/waiting-list", json=wish, headers={"Idempotency-Key": "wait"})
    entry = answer.ok(201)
    assert (entry["status"], entry["position"]) == ("waiting", 1)

    async with second.live() as live:
        (await first.request("POST", f"/bookings/{booking['id']}/cancel")).ok(202)
        seen = (await live.next()).get("waiting_entry", entry)
        while seen["status"] == "waiting":
            seen = (await live.next()).get("waiting_entry", seen)
        assert (seen["id"], seen["status"]) == (entry["id"], "offered")
        assert (await racer.book(event, 1)).code == "sold_out"
        offer = await live.until(seen["booking_id"], lambda booking: bool(booking["payment"]["client_secret"]))
        await holdfast.stripe.pay(offer)
        await live.until(offer["id"], "confirmed")
    last = (await second.request("GET", f"/waiting-list/{entry['id']}")).ok()
    assert (last["status"], last["version"] > seen["version"]) == ("accepted", True)
