"""Which terms operators may give to an event, and what its dates and currency mean to clients who book."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from PIL import Image

from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import STARTS_AT, Holdfast
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(120)


def faults(answer: Answer) -> list[tuple[str, str, Any]]:
    """The value, the rule and the limit of each error."""
    assert (answer.status, answer.code) == (422, "invalid_request"), answer.body
    return [
        (".".join(map(str, each["loc"][1:])), each["type"], each.get("limit")) for each in answer.body["errors"]
    ]


def a_new_event(**changes: Any) -> Json:
    types = [{"name": "Row", "unit_amount": 4500, "capacity": 5}]
    return {"name": "Evening", "starts_at": STARTS_AT, "currency": "eur", "ticket_types": types, **changes}


def priced(unit_amount: int) -> list[Json]:
    return [{"name": "Row", "unit_amount": unit_amount, "capacity": 5}]


REFUSED: list[tuple[Json, tuple[str, str, Any]]] = [
    ({"currency": "eru"}, ("currency", "currency_unknown", None)),
    ({"time_zone": "Mars/Olympus"}, ("time_zone", "time_zone_unknown", None)),
    ({"ticket_types": priced(10)}, ("ticket_types.0.unit_amount", "amount_under_limit", 50)),
    ({"ticket_types": priced(100_000_000)}, ("ticket_types.0.unit_amount", "amount_over_limit", 99_999_999)),
    (
        {"currency": "isk", "ticket_types": priced(150)},
        ("ticket_types.0.unit_amount", "amount_off_step", 100),
    ),
    ({"cancel_until": "2091-05-01T19:30:00Z"}, ("cancel_until", "date_after_start", STARTS_AT)),
    ({"sales_end": "2090-05-01T19:30:01Z"}, ("sales_end", "date_after_start", STARTS_AT)),
    ({"sales_start": STARTS_AT}, ("sales_start", "date_after_end", STARTS_AT)),
]


@pytest.mark.parametrize(("changes", "fault"), REFUSED)
async def test_an_event_with_contradictory_terms_is_refused(
    holdfast: Holdfast, changes: Json, fault: tuple[str, str, Any]
) -> None:
    """The answer names the value, the rule and the limit."""
    operator = holdfast.client(operator=True)
    assert faults(await operator.request("POST", "/admin/events", json=a_new_event(**changes))) == [fault]


async def test_an_event_in_the_past_is_refused(holdfast: Holdfast) -> None:
    answer = await holdfast.client(operator=True).request(
        "POST", "/admin/events", json=a_new_event(starts_at="2024-01-01T00:00:00Z")
    )
    assert [(field, rule) for field, rule, _ in faults(answer)] == [("starts_at", "date_in_past")]


async def test_a_change_is_refused_by_the_same_rules_and_a_moved_event_keeps_its_defaults(
    holdfast: Holdfast,
) -> None:
    operator = holdfast.client(operator=True)
    event = await holdfast.event((4500, 10), time_zone="Europe/Berlin", cancel_until="2090-04-30T00:00:00Z")
    path = f"/admin/events/{event['id']}"
    cheaper = {"ticket_types": [{"id": event["ticket_types"][0]["id"], "unit_amount": 49}]}
    moved = {"starts_at": "2090-04-01T19:30:00Z"}
    assert faults(await operator.request("PATCH", path, json=cheaper)) == [
        ("ticket_types.0.unit_amount", "amount_under_limit", 50)
    ]
    assert faults(await operator.request("PATCH", path, json=moved)) == [
        ("cancel_until", "date_after_start", moved["starts_at"])
    ]
    assert await holdfast.event_now(event) == event

    after = (await operator.request("PATCH", path, json=moved | {"cancel_until": None})).ok()
    assert (event["sales_end"], event["time_zone"], event["currency_exponent"]) == (STARTS_AT, "Europe/Berlin", 2)
    assert (after["sales_end"], after["cancel_until"]) == (moved["starts_at"], None)


async def test_a_hundred_million_in_rupiahs_is_booked_and_paid(holdfast: Holdfast) -> None:
    """A seat costs a million rupiahs, a hundred million in the smallest unit: Stripe's limit for them is higher."""
    client, event = holdfast.client(), await holdfast.event((100_000_000, 10), currency="idr")
    async with client.live() as live:
        booking = (await client.book(event, 3)).ok(201)
        intent = (await client.intent(booking["id"])).ok()
        await holdfast.stripe.pay(booking)
        confirmed = await live.until(booking["id"], "confirmed")

    assert (intent["amount"], intent["currency"], intent["currency_exponent"]) == (300_000_000, "idr", 2)
    assert (confirmed["payment"]["status"], confirmed["currency_exponent"]) == ("paid", 2)
    await assert_clean(holdfast)


async def begun(holdfast: Holdfast, event: Json) -> None:
    """Make the event have begun an hour ago. Only the database allows that."""
    connection = await asyncpg.connect(holdfast.stack.booking_database_url)
    try:
        await connection.execute(
            "UPDATE events SET (starts_at, cancel_until) = (now() - interval '1 h', now() - interval '1 h'),"
            " version = version + 1 WHERE id = $1",
            UUID(event["id"]),
        )
    finally:
        await connection.close()


async def listed(client: Client) -> list[str]:
    """The ids of the events that clients see in the list."""
    items = (await client.request("GET", "/events", params={"limit": 200})).ok()["items"]
    return [each["id"] for each in items]


async def test_an_event_that_has_begun_is_neither_sold_nor_cancelled_nor_listed(holdfast: Holdfast) -> None:
    """Operators still see it and cancel its bookings; clients see it when they ask for past events."""
    client, operator = holdfast.client(), holdfast.client(operator=True)
    event = await holdfast.event((4500, 10), cancel_until=STARTS_AT)
    async with client.live() as live:
        booking = (await client.book(event, 1)).ok(201)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    await begun(holdfast, event)

    late = await client.book(event, 1)
    assert (late.status, late.code) == (409, "sales_ended")
    refused = await client.request("POST", f"/bookings/{booking['id']}/cancel")
    assert (refused.status, refused.code) == (409, "cancellation_closed")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    # Nobody has published the change: the gateway finds it when it reads the events' versions.
    await eventually(lambda: listed(client), lambda found: event["id"] not in found)
    since = (await client.request("GET", "/events", params={"limit": 1, "from": yesterday})).ok()["items"]
    tonight = (await operator.request("GET", "/admin/events", params={"limit": 1})).ok()["items"]
    assert [[each["id"] for each in page] for page in (since, tonight)] == [[event["id"]]] * 2
    (await operator.request("POST", f"/bookings/{booking['id']}/cancel")).ok(202)
    await assert_clean(holdfast)


async def test_an_operators_idempotency_key_makes_one_change_once(holdfast: Holdfast) -> None:
    """The same content gets the same answer and changes nothing; other content is refused and changes nothing."""
    event = await holdfast.event((4500, 10))
    operator, path = holdfast.client(operator=True), f"/admin/events/{event['id']}"
    headers = {"Idempotency-Key": "second-row"}
    row, other = (
        {"ticket_types": [{"name": name, "unit_amount": 900, "capacity": 3}]} for name in ("Balcony", "Box")
    )
    first = (await operator.request("PATCH", path, json=row, headers=headers)).ok()
    assert (await operator.request("PATCH", path, json=row, headers=headers)).ok() == first
    answer = await operator.request("PATCH", path, json=other, headers=headers)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    now = await holdfast.event_now(event)
    assert [each["name"] for each in now["ticket_types"]] == ["Row 1", "Balcony"]
    # From another operator the same text is another key.
    (await holdfast.client(operator=True).request("PATCH", path, json=other, headers=headers)).ok()
    assert len((await holdfast.event_now(event))["ticket_types"]) == 3


async def test_of_two_changes_from_one_version_the_second_is_refused(holdfast: Holdfast) -> None:
    """A booking in between does not change the event's terms, so it refuses nothing."""
    event = await holdfast.event((4500, 10))
    operator, path = holdfast.client(operator=True), f"/admin/events/{event['id']}"
    seen = (await operator.request("GET", path)).headers["ETag"]
    (await holdfast.client().book(event, 2)).ok(201)
    headers = {"If-Match": seen}
    (await operator.request("PATCH", path, json={"name": "Matinee"}, headers=headers)).ok()
    late = await operator.request("PATCH", path, json={"name": "Late show"}, headers=headers)
    assert (late.status, late.code) == (412, "precondition_failed")
    now = await operator.request("GET", path)
    assert now.ok()["name"] == "Matinee"
    (
        await operator.request("PATCH", path, json={"name": "Late show"}, headers={"If-Match": now.headers["ETag"]})
    ).ok()


async def test_what_an_event_shows_is_changed_seen_and_cached_while_it_sells(holdfast: Holdfast) -> None:
    """From the operator to everybody, at every gateway, without a new message on the socket having any of it."""
    operator, anybody, customer = holdfast.client(operator=True), holdfast.anybody, await holdfast.guest()
    event = await holdfast.event((4500, 10))
    path, admin = f"/events/{event['id']}", f"/admin/events/{event['id']}"
    content = {"description": "*Three* acts", "category": "Théâtre", "venue": {"name": "Hall", "city": "Graz"}}
    async with customer.live() as live:
        await live.snapshot(event_id=event["id"])
        before = (await anybody.request("GET", path)).headers["ETag"]
        changed = (await operator.request("PATCH", admin, json=content)).ok()
        image = (
            await operator.request("PUT", admin + "/image", data=png(), headers={"Content-Type": "image/png"})
        ).ok()["image"]

        async def shown() -> bool:
            found = await anybody.request("GET", path)
            return found.ok()["image"] == image and found.headers["ETag"] != before

        await eventually(shown, bool)
        found = (await anybody.request("GET", path)).ok()
        assert found["description_html"] == "<p><em>Three</em> acts</p>\n"
        assert (found["category"], found["venue"]["city"]) == ("Théâtre", "Graz")
        assert found["content_version"] == found["terms_version"] == changed["terms_version"] + 1
        query = {"category": "theatre", "q": event["name"], "limit": 200}
        listed = (await anybody.request("GET", "/events", params=query)).ok()["items"]
        (item,) = (each for each in listed if each["id"] == event["id"])
        assert item["image"] == image
        assert "description" not in item
        served = await anybody.request("GET", image["url"])
        assert (served.status, served.headers["Content-Type"]) == (200, "image/webp")
        assert served.headers["Cache-Control"].endswith("immutable")
        booking = (await customer.book(event, 2)).ok(201)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    assert (await operator.request("DELETE", admin + "/image")).ok()["image"] is None
    await eventually(lambda: gone(anybody, image["url"]), bool)
    history = (await operator.request("GET", admin + "/history")).ok()["items"]
    fields = [[each["field"] for each in change["changes"]] for change in history[1:]]
    assert fields == [["description", "category", "venue.name", "venue.city"], ["image"], ["image"]]


async def test_an_event_is_prepared_published_and_archived(holdfast: Holdfast) -> None:
    operator, anybody, customer = holdfast.client(operator=True), holdfast.anybody, await holdfast.guest()
    new = a_new_event(name="Prepared in secret", status="draft")
    event = (await operator.request("POST", "/admin/events", json=new)).ok(201)
    path, admin = f"/events/{event['id']}", f"/admin/events/{event['id']}"

    async def listed() -> bool:
        found = (await anybody.request("GET", "/events", params={"q": new["name"]})).ok()
        return [each["id"] for each in found["items"]] == [event["id"]]

    async def hidden() -> bool:
        return not await listed()

    assert (await anybody.request("GET", path)).code == "event_not_found"
    assert (await customer.book(event, 1)).code == "event_not_found"
    assert await hidden()
    drafts = (await operator.request("GET", "/admin/events", params={"status": "draft", "from": STARTS_AT})).ok()
    assert event["id"] in [each["id"] for each in drafts["items"]]
    for status in ("published", "draft", "published"):
        (await operator.request("PATCH", admin, json={"status": status})).ok()
        await eventually(listed if status == "published" else hidden, bool)
        assert (await anybody.request("GET", path)).status == (200 if status == "published" else 404)
    (await customer.book(event, 1)).ok(201)
    assert (await operator.request("PATCH", admin, json={"status": "draft"})).code == "conflict"
    (await operator.request("PATCH", admin, json={"status": "archived"})).ok()
    await eventually(hidden, bool)
    assert (await anybody.request("GET", path)).ok()["status"] == "archived"
    assert (await customer.book(event, 1)).code == "not_on_sale"


async def gone(client: Client, path: str) -> bool:
    return (await client.request("GET", path)).status == 404


def png() -> bytes:
    output = BytesIO()
    Image.new("RGB", (64, 36), "teal").save(output, "PNG")
    return output.getvalue()
