"""The desk in a real browser: what operators do, over a whole running stack."""

from __future__ import annotations

import asyncio
import io
import re
from itertools import count
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import FilePayload, Page, expect

from common.contracts.attention import AttentionKind
from common.contracts.scopes import OPERATOR
from ops.up import desk_address
from tests.acceptance.customers import Customer
from tests.acceptance.holdfast import STARTS_AT, Holdfast
from tests.acceptance.stripe_side import REFUND_FAILS, VISA
from tests.pages.conftest import NewVisitor
from tests.pages.keyboard import enter, fill
from tests.pages.visitor import DESKTOP, Visitor

pytestmark = pytest.mark.timeout(120)
_numbers = count(1)


async def operator(
    shop: Holdfast, visit: NewVisitor, path: str = "/desk", *, scope: str = OPERATOR, name: str = "ann", **more: Any
) -> Visitor:
    """An operator who has opened a page of the desk by an address with a token."""
    visitor = await visit(**{"viewport": DESKTOP, **more})
    token = shop.client(name, scopes=[scope]).token
    await visitor.page.goto(f"{path}#token={token}")
    return visitor


async def bought(shop: Holdfast, event: dict[str, Any], quantity: int = 1, card: str = VISA) -> Customer:
    client = shop.client()
    who = {"name": "Ada Lovelace", "email": f"ada{next(_numbers)}@example.org", "locale": "en"}
    answer = await client.book(event, quantity, prefer="wait=30", customer=who)
    customer = Customer(shop, client, answer.ok(201))
    await customer.pays(card)
    await customer.receives("confirmed")
    return customer


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


async def test_an_event_from_its_draft_to_the_export(shop: Holdfast, visit: NewVisitor) -> None:
    visitor = await operator(shop, visit, "/desk/events")
    page = visitor.page
    await visitor.sees("Events")
    assert "token" not in page.url
    await page.get_by_role("link", name="New event").click()
    await visitor.sees("New event")
    await button(page, "Save as a draft").click()
    await expect(page.get_by_label("Name", exact=True)).to_be_focused()
    await visitor.look("desk-new-event")
    await page.get_by_label("Name", exact=True).fill("An evening at the pier")
    await page.get_by_label("Description").fill("By the **water**")
    await button(page, "Preview").click()
    await expect(page.locator(".prose strong")).to_have_text("water")
    await page.get_by_label("Description").fill("<b>By the water</b>")
    await button(page, "Preview").click()
    await expect(page.get_by_label("Description")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Description").fill("By the **water**")
    await page.get_by_label("Start", exact=True).fill("2090-05-01T20:00")
    await page.get_by_label("Time zone of the venue").fill("Europe/Berlin")
    await page.get_by_role("textbox", name="Ticket type").fill("Stalls")
    await page.get_by_label("Price").fill("45,00")
    await page.get_by_label("Seats", exact=True).fill("40")
    await page.get_by_label("Venue", exact=True).fill("Pier 9")
    await page.get_by_label("City").fill("Berlin")
    image = io.BytesIO()
    Image.new("RGB", (160, 90), "navy").save(image, "PNG")
    file: FilePayload = {"name": "pier.png", "mimeType": "image/png", "buffer": image.getvalue()}
    await page.get_by_label("Image", exact=True).set_input_files(file)
    await button(page, "Save as a draft").click()
    await visitor.sees("An evening at the pier")
    await expect(page.get_by_text("Draft", exact=True)).to_be_visible()
    await expect(page.get_by_text("1 May 2090 at 20:00").first).to_be_visible()
    await page.get_by_role("link", name="Edit").click()
    await expect(page.get_by_text("The event has an image of 160 × 90 pixels.")).to_be_visible()
    await page.get_by_role("link", name="Back").click()
    await page.get_by_role("link", name="Preview").click()
    await expect(page.locator(".prose strong")).to_have_text("water")
    await expect(page.locator("img.picture")).to_have_js_property("naturalWidth", 160)
    await visitor.look("desk-preview")
    await page.go_back()
    await button(page, "Publish").click()
    await expect(page.get_by_text("Published", exact=True)).to_be_visible()
    await page.get_by_role("link", name="Sell seats").click()
    await visitor.sees("Box office")
    await page.get_by_label("Stalls").fill("2")
    await expect(page.locator(".total")).to_have_text("€90.00")
    await page.get_by_label("Paid by").select_option("Complimentary")
    await visitor.look("desk-box-office")
    await button(page, "Sell seats").click()
    await expect(page.get_by_text("Sold at the box office")).to_be_visible()
    await page.get_by_role("link", name="An evening at the pier").click()
    await expect(page.get_by_role("cell", name="38", exact=True)).to_be_visible()
    await visitor.look("desk-event")
    async with page.expect_download() as download:
        await button(page, "Export bookings").click()
    table = (await asyncio.to_thread((await (await download.value).path()).read_bytes)).decode("utf-8-sig")
    assert [line.split(",")[3] for line in table.splitlines()] == ["event", "An evening at the pier"]
    await page.get_by_role("link", name="Duplicate").click()
    await expect(page.get_by_label("Name", exact=True)).to_have_value("Copy of An evening at the pier")
    await expect(page.get_by_label("Price")).to_have_value("45.00")


async def test_a_booking_is_found_and_refunded_in_three_ways(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    customer = await bought(shop, event, 3)
    visitor = await operator(shop, visit, "/desk/bookings")
    page = visitor.page
    await page.get_by_label("Search").fill(customer.booking["customer"]["email"])
    await page.get_by_label("Search").press("Enter")
    await visitor.sees(customer.booking["reference"])  # it is the only one
    await expect(page.locator(".timeline")).to_contain_text("The payment succeeded")
    await button(page, "Refund").click()
    await page.get_by_label("Single tickets").check()
    await button(page, "Refund").last.click()
    await expect(visitor.notice("Choose at least one ticket.")).to_be_visible()
    await page.get_by_label("Row 1 2").check()
    await visitor.look("desk-refund")
    await button(page, "Refund €45.00").click()
    await expect(page.locator(".timeline")).to_contain_text("€45.00 went back")
    await button(page, "Refund").click()
    await page.get_by_label("A part of the amount").check()
    await page.get_by_label("Amount", exact=True).fill("1000")
    await button(page, "Refund €1,000.00").click()
    await expect(visitor.notice("more than is left")).to_be_visible()
    await page.get_by_label("Amount", exact=True).fill("10")
    await button(page, "Refund €10.00").click()
    await expect(page.locator(".timeline")).to_contain_text("€10.00 went back")
    await visitor.look("desk-booking")
    await button(page, "Cancel booking").click()
    await expect(page.get_by_role("dialog")).to_contain_text("€80.00 go back to the customer.")
    await button(page, "Cancel the booking").click()
    await expect(page.locator(".timeline")).to_contain_text("€80.00 went back")
    await expect(page.locator(".timeline")).to_contain_text("By ann")
    await expect(page.locator(".head")).to_contain_text("Refunded")
    await button(page, "Send a mail").click()
    await page.get_by_label("About").select_option("Refund")
    await button(page, "Send a mail").last.click()
    await expect(page.locator(".timeline li", has_text="By ann").filter(has_text="Mail")).to_have_count(1)


async def test_a_refund_that_failed_needs_a_person_and_is_made_again(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    customer = await bought(shop, event, card=REFUND_FAILS)
    visitor = await operator(shop, visit, f"/desk/bookings/{customer.id}")
    page = visitor.page
    await button(page, "Refund").click()
    await button(page, "Refund €45.00").click()
    await expect(page.locator(".timeline")).to_contain_text("The refund of €45.00 failed")
    await page.get_by_role("link", name="Overview").click()
    await expect(page.get_by_text("has failed")).to_be_visible()
    await visitor.look("desk-overview")
    await page.get_by_role("link", name=customer.booking["reference"]).click()
    await button(page, "Refund").click()
    await button(page, "Refund €45.00").click()
    await expect(page.locator(".timeline li", has_text=re.compile("Refund of €45"))).to_have_count(2)


async def test_all_that_needs_a_person_is_listed_with_what_to_do(shop: Holdfast, visit: NewVisitor) -> None:
    item = {"count": 2, "since": "2030-05-01T12:00:00Z", "to_do": "Look at it"}
    money = {"id": "pi_1", "amount": 4500, "currency": "eur", "since": "2030-05-01T12:00:00Z", "text": "an orphan"}
    kinds = [{**item, "kind": f"{kind}", "examples": [money]} for kind in [*AttentionKind, "new_kind"]]
    answers = [{"at": "2030-05-01T12:00:00Z", "items": kinds, "missing": ["payment"]}]
    answers.append({**answers[0], "items": [], "missing": []})
    visitor = await visit(viewport=DESKTOP)
    page = visitor.page
    await page.route("**/admin/attention", lambda route: route.fulfill(json=answers.pop(0)))
    await page.goto(desk_address(shop.stack))
    await expect(visitor.notice("Not everything is known")).to_contain_text("payment did not answer")
    needs = page.get_by_role("region", name="What needs you")
    await expect(needs.get_by_role("heading", level=3)).to_have_count(len(kinds))
    await expect(needs).to_contain_text("2 payments belong to no booking")
    await expect(needs).to_contain_text("2 new kind")
    await expect(needs).to_contain_text("Look at it")
    await expect(needs.get_by_role("link", name="Show all").first).to_have_attribute(
        "href", re.compile("refund_failed")
    )
    await visitor.look("desk-attention")
    await page.reload()
    await expect(visitor.notice("Nothing needs you")).to_be_visible()


async def test_two_who_edit_one_event_overwrite_nothing(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40), category="Jazz")
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}/edit")
    page = visitor.page
    await visitor.sees(event["name"])
    change = {"name": "Another name", "category": "Rock"}
    ben = shop.client("ben", operator=True)
    (await ben.request("PATCH", f"/admin/events/{event['id']}", json=change)).ok()
    await page.get_by_label("Category").fill("Blues")
    await page.get_by_label("Seats", exact=True).fill("50")
    await button(page, "Save").click()
    await expect(visitor.notice("Somebody else has changed this event")).to_contain_text("ben: ")
    await expect(page.get_by_label("Name", exact=True)).to_have_value("Another name")
    await expect(page.get_by_label("Category")).to_have_value("Blues")
    await expect(page.get_by_text("Meanwhile it became: Rock")).to_be_visible()
    await visitor.look("desk-conflict")
    assert (await shop.event_now(event))["category"] == "Rock"
    await button(page, "Save").click()
    await visitor.sees("Another name")
    now = await shop.event_now(event)
    assert (now["category"], now["ticket_types"][0]["capacity"]) == ("Blues", 50)
    await button(page, "Close sales").click()
    await expect(page.get_by_text("Sale closed")).to_be_visible()
    await expect(page.locator(".timeline")).to_contain_text("ben")


async def test_a_sale_that_begins_later_is_not_called_open(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40), sales_start="2090-04-01T10:00:00Z")
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}")
    await visitor.sees(event["name"])
    await expect(visitor.page.get_by_text("Sale not begun")).to_be_visible()


async def test_what_the_api_refuses_is_shown_at_its_field(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}/edit")
    page = visitor.page
    await page.get_by_label("Venue", exact=True).fill("Pier 9")
    await page.get_by_label("Country").fill("de")
    await page.get_by_label("Price").fill("12.345")
    await button(page, "Save").click()
    await expect(page.get_by_text("Please enter an amount such as 12.00.")).to_be_visible()
    await page.get_by_label("Price").fill("12.34")
    await button(page, "Save").click()
    await expect(page.get_by_label("Country")).to_be_focused()
    await expect(page.get_by_label("Country")).to_have_attribute("aria-invalid", "true")


async def test_an_event_is_cancelled_and_its_progress_is_seen(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    await bought(shop, event, 2)
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}")
    page = visitor.page
    await button(page, "Cancel event").click()
    await expect(page.get_by_role("dialog")).to_contain_text("2 sold and 0 held seats")
    await visitor.look("desk-cancel-event")
    await button(page, "Back").click()
    assert (await shop.event_now(event))["called_off_at"] is None
    await button(page, "Cancel event").click()
    await button(page, "Cancel the event").click()
    await expect(page.get_by_role("heading", name="The event is cancelled")).to_be_visible()
    await expect(page.get_by_text("1 of 1 bookings are cancelled.")).to_be_visible()
    await expect(button(page, "Cancel event")).to_have_count(0)
    await visitor.look("desk-cancelled")


async def test_seats_that_are_sold_meanwhile_are_seen(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((0, 40))
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}")
    page = visitor.page
    await expect(page.get_by_text("0 sold · 0 held · 40 free of 40")).to_be_visible()
    (await shop.client().book(event, 3)).ok(201)
    await expect(page.get_by_text("3 sold · 0 held · 37 free of 40")).to_be_visible()


async def test_a_promo_code_is_made_and_stopped(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}")
    page = visitor.page
    await page.get_by_role("link", name="Promo codes").click()
    await button(page, "New code").click()
    await page.get_by_label("Code", exact=True).fill("SPRING")
    await page.get_by_label("Percent off each ticket").fill("120")
    await button(page, "Save").click()
    await expect(page.get_by_label("Percent off each ticket")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Percent off each ticket").fill("50")
    await visitor.look("desk-new-code")
    await button(page, "Save").click()
    await expect(page.get_by_role("cell", name="50 % off")).to_be_visible()
    customer = shop.client()
    assert (await customer.book(event, 1, code="spring")).ok(201)["amount"] == 2250
    await button(page, "Stop: SPRING").click()
    await expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    await visitor.look("desk-codes")
    assert (await customer.book(event, 1, code="spring")).status == 404


async def test_who_waits_is_listed(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 1))
    (await shop.client().book(event, 1)).ok(201)
    ada = {"name": "Ada Lovelace", "email": "ada@example.org", "locale": "en"}
    wish = {"event_id": event["id"], "quantity": 1, "customer": ada}
    key = {"Idempotency-Key": event["id"]}
    (await shop.client().request("POST", "/waiting-list", json=wish, headers=key)).ok(201)
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}")
    await visitor.page.get_by_role("link", name="Waiting list").click()
    await expect(visitor.page.get_by_role("row", name="Ada Lovelace")).to_contain_text("Waiting")
    await visitor.look("desk-waiting")


async def test_an_endpoint_of_webhooks_is_made_disabled_and_deleted(shop: Holdfast, visit: NewVisitor) -> None:
    visitor = await operator(shop, visit, "/desk/webhooks")
    page = visitor.page
    await button(page, "New endpoint").click()
    await page.get_by_label("URL").fill("ftp://hooks.example")
    await button(page, "Save").click()
    await expect(page.get_by_label("URL")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("URL").fill("https://hooks.example/holdfast")
    await page.get_by_label("event.cancelled").check()
    await button(page, "Save").click()
    await expect(page.locator(".recovery-code")).to_contain_text("whsec_")
    await button(page, "Back").last.click()
    await expect(page.get_by_text("Enabled", exact=True)).to_be_visible()
    await button(page, "Disable").click()
    await expect(page.get_by_text("By an operator")).to_be_visible()
    await button(page, "Deliveries").click()
    await expect(page.get_by_text("It was sent nothing yet.")).to_be_visible()
    await visitor.look("desk-webhooks")
    await button(page, "Delete").click()
    await button(page, "Delete").last.click()
    await expect(page.get_by_text("No endpoint gets webhooks.")).to_be_visible()


async def test_who_lacks_a_scope_sees_no_button_for_it(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    customer = await bought(shop, event)
    visitor = await operator(shop, visit, f"/desk/events/{event['id']}", scope="holdfast:read")
    page = visitor.page
    await visitor.sees(event["name"])
    await expect(page.locator(".head").get_by_role("button")).to_have_count(0)
    await expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    await expect(page.get_by_role("link", name="Box office")).to_have_count(0)
    await page.goto(f"/desk/bookings/{customer.id}")
    await visitor.sees(customer.booking["reference"])
    await expect(page.locator(".head").get_by_role("button")).to_have_count(0)
    await page.goto("/desk/sell")
    await expect(visitor.notice("does not allow you to sell")).to_be_visible()


async def test_signing_in_says_what_is_wrong_and_ends_with_signing_out(shop: Holdfast, visit: NewVisitor) -> None:
    visitor = await visit(viewport=DESKTOP)
    page = visitor.page
    await page.goto("/desk")
    await visitor.sees("Sign in to the desk")
    await page.get_by_label("Token").fill("nonsense")
    await button(page, "Sign in").click()
    await expect(page.get_by_text("This is no token.")).to_be_visible()
    good = shop.client("ann", scopes=["holdfast:finance"]).token or ""
    await page.get_by_label("Token").fill(shop.client("ann", scopes=["holdfast:door"]).token or "")
    await button(page, "Sign in").click()
    await expect(page.get_by_text("does not allow you to read")).to_be_visible()
    await page.get_by_label("Token").fill(f"{good[:-4]}AAAA")
    await button(page, "Sign in").click()
    await expect(page.get_by_text("This token is not valid")).to_be_visible()
    await visitor.look("desk-sign-in")
    await page.get_by_label("Token").fill(good)
    await button(page, "Sign in").click()
    await visitor.sees("Overview")
    await button(page, "Sign out").click()
    await visitor.sees("Sign in to the desk")
    await page.reload()
    await visitor.sees("Sign in to the desk")
    await page.goto("about:blank")
    await page.goto(desk_address(shop.stack))
    await visitor.sees("Overview")


async def test_an_event_is_made_in_german_by_keyboard_alone(shop: Holdfast, visit: NewVisitor) -> None:
    visitor = await operator(shop, visit, "/desk", locale="de-DE")
    page = visitor.page
    await visitor.sees("Überblick")
    await enter(page, "Veranstaltungen")
    await visitor.sees("Veranstaltungen")
    await enter(page, "Neue Veranstaltung")
    await visitor.sees("Neue Veranstaltung")
    await fill(page, {"Name": "Abend am Hafen", "Ticketart": "Parkett", "Preis": "45,50", "Plätze": "40"})
    await page.keyboard.press("Enter")
    await visitor.sees("Abend am Hafen")
    await expect(page.get_by_text("Entwurf", exact=True)).to_be_visible()
    await expect(page.get_by_text("45,50 €")).to_be_visible()
    await visitor.look("desk-event-german")
    drafts = await shop.client(operator=True).request("GET", "/admin/events?status=draft&from=1970-01-01T00:00:00Z")
    assert STARTS_AT not in [each["starts_at"] for each in drafts.ok()["items"] if each["name"] == "Abend am Hafen"]
