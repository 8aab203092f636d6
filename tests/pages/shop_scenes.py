"""What customers meet, one state after the other, as `make pictures` shows it."""

from __future__ import annotations

import re
from contextlib import suppress

from playwright.async_api import Page, Route, expect

from tests.acceptance.polling import eventually
from tests.acceptance.stripe_side import BANK_DEBIT
from tests.pages.house import House, at, broken
from tests.pages.network import Socket
from tests.pages.season import Season
from tests.pages.test_shop import short_holds
from tests.pages.visitor import NO_MONEY, SECURE, Visitor


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).first.click()


async def chooses(visitor: Visitor, quantity: int, name: str) -> None:
    for _ in range(quantity):
        await press(visitor.page, f"One more: {name}")


async def fills_in(visitor: Visitor) -> None:
    await visitor.page.get_by_role("textbox", name="Name", exact=True).fill("Ada Lovelace")
    await visitor.page.get_by_role("textbox", name="Email", exact=True).fill("ada@example.org")


async def holds(visitor: Visitor, event: dict[str, object], name: str, quantity: int = 2) -> None:
    await visitor.opens(event)
    await chooses(visitor, quantity, name)
    await fills_in(visitor)
    await press(visitor.page, "Hold seats and go to payment")
    await visitor.sees("Pay for your tickets")
    await expect(visitor.page.get_by_label("Card number")).to_be_visible()


async def empty(house: House) -> None:
    """Before there is anything."""
    visitor = await house.visitor()
    await visitor.page.goto("/")
    await house.take(visitor, "home-empty", german=True)
    await visitor.page.goto("/my")
    await house.take(visitor, "my-empty", german=True)
    await visitor.page.goto("/e/nothing")
    await house.take(visitor, "event-none", german=True)


async def lists(house: House, _: Season) -> None:
    visitor = await house.visitor()
    page = visitor.page
    await page.goto("/", wait_until="networkidle")
    await house.take(visitor, "home", german=True)
    await page.get_by_label("Search events").fill("wolf")
    await page.keyboard.press("Enter")
    await visitor.page.wait_for_url("**/?q=wolf")
    await house.take(visitor, "home-search")
    await page.get_by_label("Search events").fill("opera")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing found")).to_be_visible()
    await house.take(visitor, "home-nothing-found")
    await page.route(re.compile(r"/events(\?|$)"), broken)
    await page.goto("/")
    await house.take(visitor, "home-error")


async def choosing(house: House, season: Season) -> None:
    visitor = await house.visitor()
    page, night = visitor.page, season.night
    await visitor.opens(night)
    await house.take(visitor, "event", german=True)
    await press(page, "Hold seats and go to payment")
    await expect(page.get_by_text("Please enter a name.")).to_be_visible()
    await house.take(visitor, "event-incomplete")
    await chooses(visitor, 2, "Stalls")
    await page.get_by_text("Do you have a promo code?").click()
    await page.get_by_label("Promo code").fill("FIENDS")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("There is no such promo code")).to_be_visible()
    await house.take(visitor, "event-promo-code-wrong")
    await page.get_by_label("Promo code").fill("FRIENDS-10")
    await page.keyboard.press("Enter")
    await expect(page.locator(".total")).to_have_text("€81.00")
    await house.take(visitor, "event-promo-code")
    for event, name in (
        (season.jazz, "event-few"), (season.wolf, "event-free"), (season.snow, "event-soon"),
        (season.tango, "event-closed"), (season.organ, "event-cancelled"),
    ):  # fmt: skip
        await visitor.opens(event)
        await house.take(visitor, name, german=name in ("event-free", "event-soon", "event-cancelled"))


async def changing(house: House, _: Season) -> None:
    """Prices and seats are others than a moment ago."""
    event = await house.event("Late Set: Trio Sørensen", ("Table", 2800, 12), ("Bar", 1800, 20), poster="jazz")
    visitor = await house.visitor()
    await visitor.opens(event)
    await chooses(visitor, 8, "Table")
    await house.sells(event, 1, 7)
    await expect(visitor.notice("What you chose has just changed.")).to_be_visible()
    await house.take(visitor, "event-changed")
    other = await house.visitor()
    await other.page.route_web_socket("**/ws", lambda _: None)  # no news arrive
    await other.opens(event)
    await chooses(other, 2, "Bar")
    await fills_in(other)
    await house.changes(event, ticket_types=[{"id": event["ticket_types"][1]["id"], "unit_amount": 2000}])
    await press(other.page, "Hold seats and go to payment")
    await expect(other.notice("The price has just changed")).to_be_visible()
    await expect(other.page.locator(".total")).to_have_text("€40.00")
    await house.take(other, "event-price-changed")


async def connection(house: House, season: Season) -> None:
    visitor = await house.visitor()
    page = visitor.page
    socket = await Socket.of(page)
    await visitor.opens(season.night)
    await expect(page.locator(".type")).to_have_count(3)
    await eventually(socket.opened, bool)
    await socket.cut()
    await house.take(visitor, "event-offline")
    socket.mend()
    await holds(visitor, season.night, "Balcony", 1)
    await socket.cut()
    await visitor.pays()
    await visitor.sees("Confirming your booking")
    await house.take(visitor, "booking-confirming")


async def waiting(house: House, season: Season) -> None:
    visitor = await house.visitor()
    page, event = visitor.page, season.comedy
    await visitor.opens(event)
    await house.take(visitor, "event-sold-out", german=True)
    seat = event["ticket_types"][0]
    await press(page, f"Join the waiting list: {seat['name']}")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await house.take(visitor, "event-waiting-list")
    await dialog.get_by_label("Name").fill("Ada Lovelace")
    await dialog.get_by_label("Email").fill("ada@example.org")
    await dialog.get_by_role("button", name="Join the waiting list").click()
    waits = visitor.notice("You are on the waiting list")
    await expect(waits).to_be_visible()
    await house.take(visitor, "event-waiting", german=True)
    await expect(waits).to_be_visible()  # the page has been loaded again, and follows it
    await house.changes(event, ticket_types=[{"id": seat["id"], "capacity": seat["capacity"] + 1}])
    await expect(visitor.notice("Seats are held for you").get_by_role("timer")).to_be_visible()
    await house.take(visitor, "event-offer", german=True)


async def paying(house: House, season: Season) -> None:
    visitor = await house.visitor()
    page = visitor.page
    await visitor.opens(season.night)
    await chooses(visitor, 2, "Stalls")
    await fills_in(visitor)
    await house.shop.stripe.faults(paths=["/v1/payment_intents"], latency_ms=20_000)
    try:
        await press(page, "Hold seats and go to payment")
        await visitor.sees("You are in the queue")
        await house.take(visitor, "booking-queue")
    finally:
        await house.shop.stripe.faults()
    await visitor.sees("Pay for your tickets")
    await expect(page.get_by_label("Card number")).to_be_visible()
    await house.take(visitor, "booking-pay", german=True)
    await visitor.pays(NO_MONEY)
    await expect(visitor.notice("not enough money on this card")).to_be_visible()
    await house.take(visitor, "booking-declined", german=True)
    await visitor.pays(SECURE)
    bank = page.frame_locator("dialog iframe")
    await expect(bank.get_by_role("button", name="Complete authentication")).to_be_visible()
    await house.take(visitor, "booking-3d-secure")
    await bank.get_by_role("button", name="Complete authentication").click()
    await visitor.sees("Your tickets")
    await expect(page.locator(".code img")).to_have_count(2)
    await house.take(visitor, "booking-tickets", german=True)
    address = page.url
    await page.goto("/my", wait_until="networkidle")
    await house.take(visitor, "my", german=True)
    await press(page, "Get a recovery code")
    await expect(page.locator(".recovery-code")).to_be_visible()
    await house.take(visitor, "my-recovery-code")
    await page.goto(address)
    await press(page, "Cancel this booking")
    await house.take(visitor, "booking-cancel")
    await press(page, "Cancel the booking")
    await visitor.sees("You have cancelled this booking")
    await expect(visitor.notice("were refunded")).to_be_visible(timeout=60_000)
    await house.take(visitor, "booking-refunded", german=True)
    stranger = await house.visitor()
    await stranger.page.goto(address.partition("?")[0])
    await house.take(stranger, "booking-elsewhere", german=True)
    other = await house.visitor()
    await other.page.goto(f"{address.partition('?')[0]}#link=nonsense")
    await other.sees("This link is not good, or not any more.")
    await house.take(other, "booking-link-not-good")
    await stranger.page.goto("/my")
    await stranger.page.get_by_label("Recovery code").fill("HFR-NOBODY")
    await press(stranger.page, "Show my bookings")
    await expect(stranger.page.get_by_text("This code is not good.")).to_be_visible()
    await house.take(stranger, "my-recovery-code-wrong")


async def not_loaded(house: House, season: Season) -> None:
    """A blocker keeps Stripe's script away."""
    visitor = await house.visitor()

    async def refuse(route: Route) -> None:
        with suppress(Exception):
            await route.abort()

    await visitor.page.route("**/stripe.js", refuse)
    await visitor.opens(season.night)
    await chooses(visitor, 1, "Balcony")
    await fills_in(visitor)
    await press(visitor.page, "Hold seats and go to payment")
    await expect(visitor.notice("could not be loaded")).to_be_visible()
    await house.take(visitor, "booking-not-loaded")


async def endings(house: House, season: Season) -> None:
    slow = await house.event("Tide and Time, a Lecture", ("Seat", 900, 80), starts_at=at(60), payment_methods="all")
    client, booking = await house.books(slow, 2)
    (await house.shop.stripe.confirm(booking["payment"], BANK_DEBIT)).ok()
    visitor = await house.visitor()
    await house.becomes(visitor, client)
    await visitor.page.goto(f"/b/{booking['reference']}")
    await visitor.sees("Your payment is on its way")
    await house.take(visitor, "booking-processing", german=True)

    client, booking = season.of_organ
    visitor = await house.visitor()
    await house.becomes(visitor, client)
    await visitor.page.goto(f"/b/{booking['reference']}")
    await visitor.sees("The event is cancelled")
    await house.take(visitor, "booking-event-cancelled", german=True)

    client, booking = season.of_wolf
    await house.becomes(visitor, client)
    await visitor.page.goto(f"/b/{booking['reference']}")
    await visitor.sees("Your tickets")
    await expect(visitor.page.get_by_text("Used", exact=True)).to_be_visible()
    await house.take(visitor, "booking-used", german=True)

    visitor = await house.visitor()
    await visitor.opens(season.night)
    await chooses(visitor, 1, "Balcony")
    await fills_in(visitor)
    async with short_holds(house.shop):
        await press(visitor.page, "Hold seats and go to payment")
        await visitor.sees("Your time to pay is over")
    await house.take(visitor, "booking-expired", german=True)


SCENES = (lists, choosing, changing, connection, waiting, paying, not_loaded, endings)
