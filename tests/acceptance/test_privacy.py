"""Only its owner and operators can see a booking or change it, and only its owner can pay for it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.acceptance.holdfast import Holdfast

pytestmark = pytest.mark.timeout(120)


async def test_another_owners_booking_is_answered_like_a_missing_one(holdfast: Holdfast) -> None:
    owner, stranger = holdfast.client(), holdfast.client()
    booking = (await owner.book(await holdfast.event((900, 5)), 1)).ok(201)
    for path in ("/bookings/{}", "/bookings/{}/history"):
        foreign = await stranger.request("GET", path.format(booking["id"]))
        missing = await stranger.request("GET", path.format(uuid4()))
        assert (foreign.status, foreign.code) == (missing.status, missing.code) == (404, "not_found")
    assert (await stranger.intent(booking["id"])).code == "not_found"
    assert (await stranger.request("GET", "/bookings")).ok()["items"] == []
    assert await owner.booking(booking["id"]) == booking


async def test_a_socket_gets_only_its_owners_bookings(holdfast: Holdfast) -> None:
    owner, stranger = holdfast.client(), holdfast.client()
    event = await holdfast.event((900, 5))
    async with owner.live() as live, stranger.live() as other:
        booking = (await owner.book(event, 1)).ok(201)
        refused = await other.snapshot(booking_id=booking["id"])
        assert (refused["type"], refused["code"]) == ("error", "not_found")
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
        # Notifications come in order: one of the owner's booking would come before those of the stranger's own.
        own = (await stranger.book(event, 1)).ok(201)
        await other.until(own["id"], lambda now: now["payment"]["status"] == "awaiting")
    assert other.versions(booking["id"]) == []
    assert own["id"] not in {message["booking"]["id"] for message in live.received if "booking" in message}


async def test_only_the_owner_gets_the_client_secret(holdfast: Holdfast) -> None:
    """Operators see every booking, without its client secret."""
    owner, operator = holdfast.client(), holdfast.client(operator=True)
    async with operator.live() as live:
        booking = (await owner.book(await holdfast.event((900, 5)), 1)).ok(201)
        secret = booking["payment"]["client_secret"]
        assert secret
        shown = await live.snapshot(booking_id=booking["id"])
        assert shown["booking"]["payment"]["client_secret"] is None
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    seen = await operator.booking(booking["id"])
    assert seen["payment"]["client_secret"] is None
    assert secret not in str(live.received)


async def test_the_client_secret_is_gone_when_nothing_is_to_be_paid(holdfast: Holdfast) -> None:
    owner = holdfast.client()
    async with owner.live() as live:
        booking = (await owner.book(await holdfast.event((900, 5)), 1)).ok(201)
        await holdfast.stripe.pay(booking)
        confirmed = await live.until(booking["id"], "confirmed")
    assert confirmed["payment"]["client_secret"] is None
    assert (await owner.booking(booking["id"]))["payment"]["client_secret"] is None


@pytest.mark.parametrize(("method", "path"), [("POST", "/admin/events"), ("GET", "/admin/bookings")])
async def test_operators_paths_are_closed_to_others(holdfast: Holdfast, method: str, path: str) -> None:
    refused = await holdfast.client().request(method, path, json={} if method == "POST" else None)
    assert (refused.status, refused.code) == (403, "forbidden")
