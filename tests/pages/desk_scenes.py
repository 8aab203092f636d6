"""What operators do at the desk, as `make pictures` shows it."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from tests.pages.house import House, at, broken
from tests.pages.season import Season
from tests.pages.visitor import DESKTOP


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).last.click()


async def empty(house: House) -> None:
    """Before there is anything."""
    visitor = await house.visitor(viewport=DESKTOP)
    await visitor.page.goto("/desk")
    await house.take(visitor, "desk-sign-in", german=True)
    await visitor.page.get_by_label("Token").fill("nonsense")
    await press(visitor.page, "Sign in")
    await expect(visitor.page.get_by_text("This is no token.")).to_be_visible()
    await house.take(visitor, "desk-sign-in-wrong")
    visitor = await house.clerk()
    for path, name in (
        ("/desk", "desk-empty"), ("/desk/events", "desk-events-empty"), ("/desk/webhooks", "desk-webhooks-empty"),
        ("/desk/bookings", "desk-bookings-none"),
    ):  # fmt: skip
        await visitor.page.goto(path, wait_until="networkidle")
        await house.take(visitor, name, german=True)


async def overview(house: House, season: Season) -> None:
    failing = await house.buys(season.jazz, 0, 1)
    (await house.asks(f"/admin/bookings/{failing.id}/refund", {})).ok(202)
    await failing.receives_payment("refunded")
    (refund, *_) = await house.shop.stripe.all("refunds")
    await house.shop.stripe.control(f"/refunds/{refund['id']}/fail")
    await failing.receives_payment("refund_failed")
    visitor = await house.clerk("/desk")
    page = visitor.page
    await expect(page.get_by_text("has failed")).to_be_visible()
    await house.take(visitor, "desk", german=True)
    for path, name in (
        ("/desk/events", "desk-events"),
        (f"/desk/events/{season.night['id']}", "desk-event"),
        (f"/desk/events/{season.organ['id']}", "desk-event-cancelled"),
        (f"/desk/events/{season.night['id']}/preview", "desk-preview"),
        (f"/desk/events/{season.night['id']}/edit", "desk-edit"),
        (f"/desk/events/{season.jazz['id']}/codes", "desk-codes-empty"),
        (f"/desk/events/{season.jazz['id']}/waiting", "desk-waiting-empty"),
        ("/desk/bookings", "desk-bookings"),
    ):
        await page.goto(path, wait_until="networkidle")
        await house.take(visitor, name, german=True)
    await page.route(re.compile(r"/admin/events(\?|$)"), broken)
    await page.goto("/desk")
    await house.take(visitor, "desk-error")


async def editing(house: House, season: Season) -> None:
    visitor = await house.clerk("/desk/events/new")
    page = visitor.page
    await visitor.sees("New event")
    await house.take(visitor, "desk-new-event", german=True)
    await press(page, "Save as a draft")
    await expect(page.get_by_label("Name", exact=True)).to_be_focused()
    await house.take(visitor, "desk-new-event-incomplete")
    draft = await house.event("Spring Opening", ("Seat", 2500, 80), status="draft", starts_at=at(120))
    await page.goto(f"/desk/events/{draft['id']}", wait_until="networkidle")
    await house.take(visitor, "desk-event-draft")
    await page.goto(f"/desk/events/{season.jazz['id']}", wait_until="networkidle")
    await press(page, "Cancel event")
    await house.take(visitor, "desk-event-cancel")
    await page.goto(f"/desk/events/{draft['id']}/edit", wait_until="networkidle")
    await house.changes(draft, name="Spring Opening Night", category="Classical")
    await page.get_by_label("Category").fill("Chamber music")
    await press(page, "Save")
    await expect(visitor.notice("Somebody else has changed this event")).to_be_visible()
    await house.take(visitor, "desk-edit-conflict")


async def codes_and_lines(house: House, season: Season) -> None:
    path = f"/admin/events/{season.night['id']}/codes"
    for code in (
        {"code": "MEMBERS", "amount_off": 500, "ticket_types": [season.night["ticket_types"][0]["id"]]},
        {"code": "SOMMER", "percent_off": 25, "valid_until": at(10), "active": False},
    ):
        (await house.operator.request("POST", path, json=code)).ok(201)
    visitor = await house.clerk(f"/desk/events/{season.night['id']}/codes")
    await house.take(visitor, "desk-codes", german=True)
    await press(visitor.page, "New code")
    await house.take(visitor, "desk-code-new")
    full = await house.event("A Dinner at the Pier", ("Seat at the long table", 0, 2), starts_at=at(50))
    await house.buys(full, 2)
    for quantity in (2, 1, 4):
        await house.waits(full, quantity=quantity)
    await visitor.page.goto(f"/desk/events/{full['id']}/waiting", wait_until="networkidle")
    await house.take(visitor, "desk-waiting", german=True)


async def bookings(house: House, season: Season) -> None:
    customer = await house.buys(season.night, 3, 1)
    (await house.asks(f"/admin/bookings/{customer.id}/refund", {"amount": 1000})).ok(202)
    await customer.receives_payment("partially_refunded")
    visitor = await house.clerk(f"/desk/bookings/{customer.id}")
    page = visitor.page
    await expect(page.locator(".timeline")).to_contain_text("went back")
    await house.take(visitor, "desk-booking", german=True)
    for opener, name in (
        ("Refund", "desk-refund"), ("Change customer", "desk-customer"), ("Send a mail", "desk-mail"),
        ("Cancel booking", "desk-cancel"),
    ):  # fmt: skip
        await page.get_by_role("button", name=opener, exact=True).first.click()
        if name == "desk-refund":
            await page.get_by_label("Single tickets").check()
        await house.take(visitor, name)
        await press(page, "Back")
    _, held = await house.books(season.night, 1)
    await page.goto(f"/desk/bookings/{held['id']}", wait_until="networkidle")
    await house.take(visitor, "desk-booking-pending")


async def selling(house: House, season: Season) -> None:
    visitor = await house.clerk(f"/desk/sell?event={season.night['id']}")
    page = visitor.page
    await page.get_by_label("Stalls").fill("2")
    await page.get_by_label("Under 26").fill("1")
    await expect(page.locator(".total")).to_have_text("€105.00")
    await house.take(visitor, "desk-sell", german=True)
    await page.goto("/desk/sell", wait_until="networkidle")
    await press(page, "Sell seats")
    await house.take(visitor, "desk-sell-incomplete")


async def webhooks(house: House, _: Season) -> None:
    visitor = await house.clerk("/desk/webhooks")
    page = visitor.page
    await press(page, "New endpoint")
    await house.take(visitor, "desk-webhook-new")
    await page.get_by_label("URL").fill("https://crm.pier9.example/hooks/tickets")
    await page.get_by_label("What it is for").fill("Our customer database")
    await page.get_by_label("booking.confirmed").check()
    await page.get_by_label("booking.cancelled").check()
    await press(page, "Save")
    await expect(page.locator(".recovery-code")).to_be_visible()
    await house.take(visitor, "desk-webhook-secret")
    await press(page, "Back")
    await expect(page.get_by_text("Enabled", exact=True)).to_be_visible()
    await house.take(visitor, "desk-webhooks", german=True)
    await press(page, "Deliveries")
    await expect(page.get_by_text("It was sent nothing yet.")).to_be_visible()
    await house.take(visitor, "desk-webhook-deliveries")


SCENES = (overview, editing, codes_and_lines, bookings, selling, webhooks)
