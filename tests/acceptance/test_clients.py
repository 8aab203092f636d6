"""holdfast.js and the Python client buy tickets of a running stack, whatever breaks between it and them."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import jwt
import pytest
from PIL import Image

from tests.acceptance.client import Json
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.chaos.wire import Wire
from tests.clients.buyers import NODE, Refused, Start, is_payable, seats
from tests.clients.node import needs_node
from tests.generators.made import ran

pytestmark = pytest.mark.timeout(120)

DAY = 86_400
CLIENTS = Path(__file__).parents[2] / "clients"
EXAMPLES = {
    "javascript": (*NODE, "js/examples/buy.mjs"),
    "python": ("env", "PYTHONPATH=python", sys.executable, "python/examples/buy.py"),
}


@pytest.fixture
async def wire(holdfast: Holdfast) -> AsyncIterator[tuple[Wire, str]]:
    """A line to the gateway that the test breaks, and the address at its other end."""
    wire = Wire("client")
    await wire.open()
    yield wire, wire.lead_to(holdfast.url)
    await wire.close()


async def bookings_of(holdfast: Holdfast, event: Json) -> list[Json]:
    answer = await holdfast.client(operator=True).request("GET", f"/admin/bookings?event_id={event['id']}")
    items: list[Json] = answer.ok()["items"]
    return items


async def test_a_guest_buys_tickets_and_an_operator_gives_the_money_back(
    holdfast: Holdfast, start_client: Start
) -> None:
    operators_token = holdfast.client(operator=True).token
    assert operators_token is not None
    async with start_client(holdfast.url) as buyer, start_client(holdfast.url, [operators_token]) as operator:
        new = {
            "name": "By a client",
            "starts_at": "2090-05-01T19:30:00Z",
            "currency": "eur",
            "ticket_types": [{"name": "Row", "unit_amount": 4500, "capacity": 10}],
        }
        event = await operator.call("admin.createEvent", new)
        later = await operator.call("admin.updateEvent", event["id"], {"name": "By both clients"})
        assert (await buyer.call("event", event["id"]))["name"] == later["name"] == "By both clients"

        subject = await buyer.call("guest")
        booking = await buyer.call("book", seats(event, 2))
        watching = await buyer.watch(booking["id"])
        payable = await watching.until(is_payable)
        intent = await buyer.call("paymentIntent", booking["id"])
        assert (intent["amount"], intent["client_secret"]) == (9000, payable["payment"]["client_secret"])
        await holdfast.stripe.pay(payable)
        assert (await watching.status("confirmed"))["payment"]["status"] == "paid"
        assert (await buyer.call("booking", booking["id"]))["owner"] == subject

        await operator.call("admin.refund", booking["id"], {"amount": 4500})
        await watching.until(lambda now: bool(now["payment"]["amount_refunded"] == 4500))
        await operator.call("admin.cancelEvent", event["id"])
        await watching.status("cancelled")


async def test_an_operator_sells_shows_exports_and_erases(holdfast: Holdfast, start_client: Start) -> None:
    """At the box office, to a customer whose name the owner of the booking corrects."""
    event = await holdfast.event((1500, 10), category="music")
    operator = holdfast.client(operator=True)
    async with (
        start_client(holdfast.url) as buyer,
        start_client(holdfast.url, [operator.token]) as seller,
    ):
        ada = {"name": "Ada", "email": f"ada@{event['id'][-12:]}.example", "locale": "en"}
        subject = await buyer.call("guest")
        sale = {**seats(event, 2), "method": "cash", "owner": subject, "customer": ada}
        sold = await seller.call("admin.sell", sale)
        assert (sold["status"], sold["payment"]["method"], sold["customer"]["name"]) == ("confirmed", "cash", "Ada")
        corrected = await buyer.call("setCustomer", sold["id"], ada | {"name": "Ada L."})
        found = await seller.call("admin.bookings", {"email": ada["email"], "reference": sold["reference"]})
        assert [(each["id"], each["customer"]) for each in found["items"]] == [(sold["id"], corrected["customer"])]
        rows = csv.DictReader(StringIO(await seller.call("admin.exportBookings", {"event_id": event["id"]})))
        assert [(row["reference"], row["name"]) for row in rows] == [(sold["reference"], "Ada L.")]
        (seat_row,) = csv.DictReader(StringIO(await seller.call("admin.exportSeats", {"event_id": event["id"]})))
        assert seat_row["seats"] == "2"
        (money_row,) = csv.DictReader(StringIO(await seller.call("admin.exportMoney", {"event_id": event["id"]})))
        assert (money_row["kind"], money_row["amount"]) == ("charge", "3000")

        image = BytesIO()
        Image.new("RGB", (4, 3)).save(image, "PNG")
        with_image = await seller.call("admin.setEventImage", event["id"], image.getvalue())
        assert with_image["image"]["width"] == 4

        async def shown() -> Any:
            return (await buyer.call("event", event["id"]))["image"]

        await eventually(shown, bool)
        assert (await buyer.call("eventImage", event["id"])).startswith("RIFF")
        listed = await buyer.call("events", {"category": "music", "q": event["name"], "limit": 200})
        assert event["id"] in [each["id"] for each in listed["items"]]
        assert (await seller.call("admin.deleteEventImage", event["id"]))["image"] is None

        assert (await seller.call("admin.eraseCustomers", {"email": ada["email"]}))["bookings"] == 1


async def test_when_the_seats_are_sold_out_the_error_says_so(holdfast: Holdfast, start_client: Start) -> None:
    event = await holdfast.event((1500, 1))
    async with start_client(holdfast.url) as buyer:
        await buyer.call("guest")
        with pytest.raises(Refused) as refused:
            await buyer.call("book", seats(event, 2))
        assert (refused.value.code, refused.value.status) == ("sold_out", 409)
        assert (await buyer.call("book", seats(event, 1)))["status"] == "pending"


async def test_a_lost_answer_is_one_booking(
    holdfast: Holdfast, start_client: Start, wire: tuple[Wire, str]
) -> None:
    event = await holdfast.event((1500, 10))
    async with start_client(wire[1]) as buyer:
        await buyer.call("guest")
        wire[0].lose_answer()
        booking = await buyer.call("book", seats(event, 1))
        assert wire[0].struck["lost"] == 1
        assert [each["id"] for each in await bookings_of(holdfast, event)] == [booking["id"]]
        another = await buyer.call("book", seats(event, 1))
        assert len({booking["id"], another["id"]}) == len(await bookings_of(holdfast, event)) == 2


async def test_what_happens_while_the_connection_is_cut_is_seen_afterwards(
    holdfast: Holdfast, start_client: Start, wire: tuple[Wire, str]
) -> None:
    event = await holdfast.event((1500, 10))
    async with start_client(wire[1]) as buyer:
        await buyer.call("guest")
        booking = await buyer.call("book", seats(event, 1))
        watching = await buyer.watch(booking["id"])
        payable = await watching.until(is_payable)
        wire[0].cut()
        operator = holdfast.client(operator=True)
        async with operator.live() as live:
            await live.snapshot(booking_id=booking["id"])
            await holdfast.stripe.pay(payable)
            await live.until(booking["id"], "confirmed")
        assert watching.queue.empty()
        wire[0].mend()
        await watching.status("confirmed")
        versions = [state["version"] for state in watching.states]
        assert versions == sorted(versions)


async def test_a_token_that_is_refused_is_replaced(holdfast: Holdfast, start_client: Start) -> None:
    """For requests, and on an open socket, which the gateway closes with 4401 when its token is revoked."""
    event = await holdfast.event((1500, 10))
    expired, revoked, other = (
        holdfast.client("client-with-many-tokens", seconds=seconds).token for seconds in (-60, DAY, DAY)
    )
    assert revoked is not None
    async with start_client(holdfast.url, [expired, revoked, other]) as buyer:
        booking = await buyer.call("book", seats(event, 1))
        watching = await buyer.watch(booking["id"])
        payable = await watching.until(is_payable)
        jti = jwt.decode(revoked, options={"verify_signature": False})["jti"]
        operator = holdfast.client(operator=True)
        (await operator.request("POST", "/admin/tokens/revoke", json={"jti": jti})).ok()
        again = await watching.until(lambda now: now["version"] == payable["version"])  # another snapshot
        await holdfast.stripe.pay(again)
        await watching.status("confirmed")


async def test_a_guests_token_is_renewed_before_it_ends(holdfast: Holdfast, start_client: Start) -> None:
    event = await holdfast.event((1500, 10))
    async with start_client(holdfast.url) as buyer:
        subject, token = await buyer.call("guest"), await buyer.call("token")
        booking = await buyer.call("book", seats(event, 1))
        await buyer.later(0.6 * DAY)

        async def renewed() -> Any:
            while await buyer.call("token") == token:
                await buyer.call("booking", booking["id"])  # beside which it is renewed

        await asyncio.wait_for(renewed(), 30)
        assert await buyer.call("guest") == subject
        assert (await buyer.call("booking", booking["id"]))["owner"] == subject


async def test_a_revoked_guest_has_live_changes_no_more(holdfast: Holdfast, start_client: Start) -> None:
    """The socket is closed with 4401, and no other token is to be had."""
    event = await holdfast.event((1500, 10))
    async with start_client(holdfast.url) as buyer:
        subject = await buyer.call("guest")
        booking = await buyer.call("book", seats(event, 1))
        watching = await buyer.watch(booking["id"])
        await watching.until(is_payable)
        operator = holdfast.client(operator=True)
        (await operator.request("POST", "/admin/tokens/revoke", json={"subject": subject})).ok()
        with pytest.raises(Refused, match="401 unauthorized"):
            await watching.until(lambda now: False)


async def test_a_guest_comes_back_on_another_device(holdfast: Holdfast, start_client: Start) -> None:
    event = await holdfast.event((1500, 10))
    async with start_client(holdfast.url) as buyer, start_client(holdfast.url) as device:
        subject = await buyer.call("guest")
        booking = await buyer.call("book", seats(event, 1))
        code = (await buyer.call("recoveryCode"))["code"]
        assert await device.call("recover", code) == subject
        assert (await device.call("cancel", booking["id"]))["id"] == booking["id"]


@pytest.mark.parametrize("client", EXAMPLES)
async def test_the_example_buys_a_ticket(holdfast: Holdfast, client: str) -> None:
    """Of the event that starts first, as it says."""
    if client == "javascript":
        await needs_node()
    first = datetime.now(UTC) + timedelta(hours=24 - list(EXAMPLES).index(client))
    event = await holdfast.event((1500, 10), starts_at=first.isoformat())
    said = await ran(*EXAMPLES[client], holdfast.url, holdfast.stripe.url, folder=CLIENTS)
    (booking,) = await bookings_of(holdfast, event)
    lines = said.splitlines()
    assert lines[:2] == [f"booked: {booking['id']} 3000 eur", "paid: succeeded"]
    assert lines[-1] == "booking: confirmed paid"
    assert (booking["status"], booking["customer"]["name"]) == ("confirmed", "Ada Lovelace")
