"""The shop in a real browser, over a whole running stack and the sandbox's stripe.js."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Response, expect

from ops.actor import ActorProcess
from tests.acceptance.customers import CANCELLABLE
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.test_mail import mails_to
from tests.pages.conftest import NewVisitor
from tests.pages.keyboard import enter, fill
from tests.pages.network import Socket
from tests.pages.visitor import FIRST_VIEW_MAX, NO_MONEY, SECURE, VISA, Visitor

pytestmark = pytest.mark.timeout(120)


async def test_somebody_buys_and_gets_tickets_that_a_scanner_reads(shop: Holdfast, visitor: Visitor) -> None:
    event = await shop.event(
        (4500, 40), (2900, 9), time_zone="Europe/Berlin", **CANCELLABLE, venue={"name": "Pier 9", "city": "Berlin"},
        description="An evening by the **water**.",
    )  # fmt: skip
    page = visitor.page
    await visitor.opens(event)
    await visitor.look("event")
    await visitor.chooses(2)
    await expect(page.locator(".total")).to_have_text("€90.00")
    await page.get_by_role("button", name="Hold seats").click()
    await expect(page.get_by_label("Name")).to_be_focused()
    await expect(page.get_by_text("Please enter a name.")).to_be_visible()
    await visitor.look("event-incomplete")
    await visitor.fills_in()
    await page.get_by_role("button", name="Hold seats").click()
    await visitor.sees("Pay for your tickets")
    await expect(page.get_by_role("timer")).to_contain_text("14:")
    await visitor.look("pay")
    await visitor.pays()
    await visitor.sees("Your tickets")
    codes = page.locator(".code img")
    await expect(codes).to_have_count(2)
    await visitor.look("tickets")
    read = zxingcpp.read_barcodes(Image.open(io.BytesIO(await codes.first.screenshot())))
    scanner = shop.client(scopes=["holdfast:door"])
    answer = await scanner.request("POST", "/admin/tickets/check-in", json={"code": read[0].text})
    assert answer.status == 200
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Add to calendar").click()
    assert (await download.value).suggested_filename.endswith(".ics")
    await page.get_by_role("link", name="My bookings").click()
    await expect(page.get_by_role("link", name=event["name"])).to_contain_text("Confirmed")
    await visitor.look("my")


async def test_the_first_view_is_light_also_of_an_event(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40))
    first, other = await visit(), await visit()
    assert 20_000 < await sent_to(first, "/", "Events") < FIRST_VIEW_MAX
    await first.look("home")
    link = await first.page.get_by_role("link", name=event["name"]).get_attribute("href") or ""
    assert 20_000 < await sent_to(other, link, event["name"]) < FIRST_VIEW_MAX


async def sent_to(visitor: Visitor, path: str, heading: str) -> int:
    """How many bytes come for this page until it is still; the visitor has nothing in its cache."""
    answers: list[Response] = []
    visitor.page.on("response", lambda answer: answers.append(answer))
    await visitor.page.goto(path, wait_until="networkidle")
    await visitor.sees(heading)
    sizes = [await answer.request.sizes() for answer in answers]
    sent = sum(each["responseBodySize"] + each["responseHeadersSize"] for each in sizes)
    print(f"the first view of {path}: {sent} bytes in {len(sizes)} answers")  # noqa: T201
    return sent


async def test_a_decline_says_what_to_do_and_another_card_works(shop: Holdfast, visitor: Visitor) -> None:
    await visitor.holds(await shop.event((4500, 40)))
    await visitor.pays(NO_MONEY)
    await expect(visitor.notice("not enough money on this card")).to_contain_text("your seats are still held")
    await visitor.look("declined")
    await visitor.page.reload()  # the reason is still there
    await expect(visitor.notice("not enough money on this card")).to_be_visible()
    await visitor.pays()
    await visitor.sees("Your tickets")


async def test_the_bank_asks_by_3d_secure(shop: Holdfast, visitor: Visitor) -> None:
    await visitor.holds(await shop.event((4500, 40)))
    bank = visitor.page.frame_locator("dialog iframe")
    await visitor.pays(SECURE)
    await bank.get_by_role("button", name="Fail authentication").click()
    await expect(visitor.notice("Your bank could not confirm that it is you")).to_be_visible()
    await visitor.pays(SECURE)
    await bank.get_by_role("button", name="Complete authentication").click()
    await visitor.sees("Your tickets")


async def test_what_is_left_is_counted_down_until_it_is_sold_out(shop: Holdfast, visitor: Visitor) -> None:
    event = await shop.event((0, 12))
    await visitor.opens(event)
    await expect(visitor.page.get_by_text("12 available")).to_be_visible()
    await visitor.chooses(10)
    await visitor.fills_in()
    others = shop.client()
    (await others.book(event, 10)).ok(201)
    await expect(visitor.page.get_by_text("Only 2 left")).to_be_visible()
    await expect(visitor.page.locator(".stepper input")).to_have_value("2")
    (await others.book(event, 2)).ok(201)
    await expect(visitor.page.locator(".state")).to_have_text("Sold out")
    await visitor.look("sold-out")
    await visitor.page.get_by_role("button", name="Join the waiting list").click()
    dialog = visitor.page.get_by_role("dialog")
    await expect(dialog.get_by_label("Name")).to_have_value("Ada Lovelace")  # who wants to wait is known


async def test_a_promo_code_unlocks_seats_and_takes_off_what_is_shown(shop: Holdfast, visitor: Visitor) -> None:
    event = await shop.event((4500, 40), (3000, 40))
    operator, path = shop.client(operator=True), f"/admin/events/{event['id']}"
    hidden = event["ticket_types"][1]["id"]
    (await operator.request("PATCH", path, json={"ticket_types": [{"id": hidden, "hidden": True}]})).ok()
    code = {"code": "FRIENDS-10", "percent_off": 10, "unlocks": [hidden]}
    (await operator.request("POST", f"{path}/codes", json=code)).ok(201)
    page = visitor.page
    await visitor.opens(event)
    await expect(page.locator(".type")).to_have_count(1)
    await visitor.chooses(1)
    await page.get_by_text("Do you have a promo code?").click()
    entered = page.get_by_label("Promo code")
    await entered.fill("FIENDS")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("There is no such promo code")).to_be_visible()
    await expect(page.locator(".total")).to_have_text("€45.00")
    await visitor.look("promo-code-wrong")
    await entered.fill("friends 10")
    await page.keyboard.press("Enter")
    await expect(page.locator(".total")).to_have_text("€40.50")
    await expect(page.locator(".promo")).to_contain_text("friends 10 applies.")
    await entered.fill("FIENDS")
    await page.keyboard.press("Enter")
    await expect(page.locator(".promo")).to_contain_text("There is no such promo code")
    await expect(page.locator(".promo")).to_contain_text("friends 10 still applies.")
    await page.get_by_role("button", name="Remove").click()
    await expect(page.locator(".total")).to_have_text("€45.00")
    await expect(page.locator(".type")).to_have_count(1)
    await entered.fill("friends 10")
    await page.keyboard.press("Enter")
    await expect(page.locator(".total")).to_have_text("€40.50")
    await visitor.chooses(1, "Row 2")
    await expect(page.locator(".total")).to_have_text("€67.50")
    await expect(page.locator(".summary")).to_contain_text("-€7.50")
    await visitor.look("promo-code")
    await visitor.fills_in()
    await page.get_by_role("button", name="Hold seats").click()
    await visitor.sees("Pay for your tickets")
    await expect(page.locator(".summary-card")).to_contain_text("-€7.50")
    await expect(page.locator(".summary-card")).to_contain_text("€67.50")


async def test_who_waits_for_a_sold_out_ticket_type_sees_the_offer_at_once(
    shop: Holdfast, visitor: Visitor
) -> None:
    event = await shop.event((4500, 1), (2900, 40))
    sold_out = event["ticket_types"][0]["id"]
    (await shop.client().book(event, 1)).ok(201)
    page, dialog = visitor.page, visitor.page.get_by_role("dialog")
    waits, offer = visitor.notice("You are on the waiting list"), visitor.notice("Seats are held for you")
    await visitor.opens(event)
    join = page.get_by_role("button", name="Join the waiting list: Row 1")
    await join.click()
    await dialog.get_by_role("button", name="Join the waiting list").click()
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await visitor.look("waiting-list")
    await dialog.get_by_label("Name").fill("Ada Lovelace")
    await dialog.get_by_label("Email").fill("ada@example.org")
    await dialog.get_by_role("button", name="Join the waiting list").click()
    await expect(waits).to_contain_text("1 × Row 1. You are next.")
    await visitor.look("waiting")
    second = await visitor.context.new_page()
    await second.goto(page.url)
    await second.get_by_role("button", name="Leave the waiting list").click()
    await expect(second.get_by_role("button", name="Join the waiting list: Row 1")).to_be_focused()
    await expect(waits).to_have_count(0)  # it has heard of it, too
    await join.click()
    await dialog.get_by_label("Name").fill("Ada Lovelace")
    await dialog.get_by_label("Email").fill("ada@example.org")
    await dialog.get_by_role("button", name="Join the waiting list").click()
    await expect(waits).to_be_visible()
    operator, path = shop.client(operator=True), f"/admin/events/{event['id']}"
    more = {"ticket_types": [{"id": sold_out, "capacity": 2}]}
    (await operator.request("PATCH", path, json=more)).ok()
    await expect(offer.get_by_role("timer")).to_contain_text("29:")
    await visitor.look("offer")
    more["ticket_types"][0]["capacity"] = 9
    (await operator.request("PATCH", path, json=more)).ok()
    await expect(page.get_by_role("button", name="One more: Row 1")).to_be_visible()  # others can buy again
    await page.reload()
    await expect(offer.get_by_role("timer")).to_be_visible()
    await offer.get_by_role("link", name="Go to payment").click()
    await visitor.sees("Pay for your tickets")


async def test_another_price_is_shown_and_nothing_is_booked_at_it_unseen(shop: Holdfast, visitor: Visitor) -> None:
    event = await shop.event((4500, 40))
    await visitor.page.route_web_socket("**/ws", lambda _: None)  # no news arrive
    await visitor.opens(event)
    await visitor.chooses(2)
    await visitor.fills_in()
    change = {"ticket_types": [{"id": event["ticket_types"][0]["id"], "unit_amount": 5000}]}
    (await shop.client(operator=True).request("PATCH", f"/admin/events/{event['id']}", json=change)).ok()
    await visitor.page.get_by_role("button", name="Hold seats").click()
    await expect(visitor.notice("The price has just changed")).to_be_visible()
    await expect(visitor.page.locator(".total")).to_have_text("€100.00")
    await visitor.look("price-changed")
    await visitor.page.get_by_role("button", name="Hold seats").click()
    await visitor.sees("Pay for your tickets")
    await expect(visitor.page.locator(".sum").first).to_contain_text("€100.00")


async def test_a_second_tab_follows_and_nobody_pays_twice(shop: Holdfast, visitor: Visitor) -> None:
    await visitor.holds(await shop.event((4500, 40)))
    second = await visitor.context.new_page()
    await second.goto(visitor.page.url)
    await expect(second.get_by_role("heading", level=1)).to_have_text("Pay for your tickets")
    await visitor.pays()
    await visitor.sees("Your tickets")
    await expect(second.get_by_role("heading", level=1)).to_have_text("Your tickets")


async def test_a_page_without_a_network_says_so_and_is_right_afterwards(shop: Holdfast, visitor: Visitor) -> None:
    socket = await Socket.of(visitor.page)
    await visitor.holds(await shop.event((4500, 40), **CANCELLABLE))
    await socket.cut()
    await visitor.pays()
    await visitor.sees("Confirming your booking")
    socket.mend()
    await visitor.page.evaluate("dispatchEvent(new Event('online'))")
    await visitor.sees("Your tickets")
    await expect(visitor.page.get_by_text("No connection.")).to_be_hidden()


async def test_a_paid_booking_is_cancelled_and_the_refund_is_seen(shop: Holdfast, visitor: Visitor) -> None:
    await visitor.holds(await shop.event((4500, 40), **CANCELLABLE))
    await visitor.pays()
    await visitor.sees("Your tickets")
    await visitor.page.get_by_role("button", name="Cancel this booking").click()
    await visitor.look("cancel")
    await visitor.page.get_by_role("button", name="Cancel the booking").click()
    await visitor.sees("You have cancelled this booking")
    await expect(visitor.notice("€45.00 were refunded")).to_be_visible()
    await visitor.look("refunded")


async def test_bookings_are_taken_to_another_device(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((0, 40))
    here, there = await visit(), await visit()
    await here.opens(event)
    await here.chooses(1)
    await here.fills_in()
    await here.page.get_by_role("button", name="Book for free").click()
    await here.sees("Your tickets")
    await there.page.goto(here.page.url)
    await there.sees(f"Booking {here.page.url.rpartition('/')[2]} is not on this device")
    await there.look("other-device")
    await here.page.goto("/my")
    await here.page.get_by_role("button", name="Get a recovery code").click()
    code = await here.page.locator(".recovery-code").inner_text()
    await here.look("recovery-code")
    await there.page.get_by_label("Recovery code").fill("wrong")
    await there.page.get_by_role("button", name="Show my bookings").click()
    await expect(there.page.get_by_text("This code is not good.")).to_be_visible()
    await there.page.get_by_label("Recovery code").fill(code.lower())
    await there.page.get_by_role("button", name="Show my bookings").click()
    await there.sees("Your tickets")


async def test_the_link_in_a_mail_opens_its_booking_and_changes_nobodys_guest(
    shop: Holdfast, visit: NewVisitor
) -> None:
    event, address = await shop.event((0, 40)), f"{uuid4().hex}@example.org"
    here, there = await visit(), await visit()
    for visitor, email in ((here, address), (there, "babbage@example.org")):
        await visitor.opens(event)
        await visitor.chooses(1)
        await visitor.fills_in()
        await visitor.page.get_by_label("Email").fill(email)
        await visitor.page.get_by_role("button", name="Book for free").click()
        await visitor.sees("Your tickets")
    (mail,) = await eventually(lambda: mails_to(shop, address), lambda found: len(found) == 1)
    link = re.search(r"http\S+#link=\S+", mail["text"])
    assert link is not None
    await there.page.goto(f"{link[0]}x")
    await there.sees("This link is not good, or not any more.")
    await there.page.goto(link[0])  # only what follows `#` is another
    await there.sees("Your tickets")
    assert "#" not in there.page.url
    await there.page.reload()  # the tab knows the guest
    await expect(there.page.locator(".code img")).to_have_count(1)
    await there.page.goto("/my")
    await expect(there.page.locator(".booking-row")).to_have_count(1)
    await expect(there.page.get_by_text(here.page.url.rpartition("/")[2])).to_have_count(0)


async def test_somebody_buys_in_german_by_keyboard_alone(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((4500, 40), time_zone="Europe/Berlin", cancel_until="2090-04-30T10:00:00Z")
    visitor = await visit(locale="de-DE")
    page = visitor.page
    await page.goto("/")
    await visitor.sees("Veranstaltungen")
    await enter(page, event["name"])
    await visitor.sees(event["name"])
    await enter(page, "Eins mehr: Row 1")
    await fill(page, {"Name": "Ada Lovelace", "E-Mail": "ada@example.org"})
    await page.keyboard.press("Enter")
    await visitor.sees("Tickets bezahlen")
    await visitor.look("pay-german")
    await fill(page, {"Kartennummer": VISA, "Gültig bis (MM / JJ)": "1234", "Prüfziffer": "123"})
    await enter(page, "Zahlungspflichtig bestellen")
    await visitor.sees("Ihre Tickets")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.get_by_text("Montag, 1. Mai 2090")).to_have_count(2)


async def test_in_a_rush_the_place_in_the_queue_is_shown(shop: Holdfast, visitor: Visitor) -> None:
    event = await shop.event((4500, 40))
    await visitor.opens(event)
    await visitor.chooses(1)
    await visitor.fills_in()
    await shop.stripe.faults(paths=["/v1/payment_intents"], latency_ms=4000)
    try:
        await visitor.page.get_by_role("button", name="Hold seats").click()
        await visitor.sees("You are in the queue")
        await visitor.look("queue")
    finally:
        await shop.stripe.faults()
    await visitor.sees("Pay for your tickets")


async def test_an_address_that_leads_nowhere_says_so(visitor: Visitor) -> None:
    await visitor.page.goto("/e/nothing")
    await visitor.sees("There is no such event")
    await visitor.look("no-event")
    await visitor.page.goto("/my")
    await expect(visitor.page.get_by_text("You have no bookings on this device.")).to_be_visible()
    await visitor.look("no-bookings")
    await visitor.page.get_by_role("link", name="DE Deutsch").click()
    await visitor.sees("Meine Buchungen")


async def test_a_hold_that_ends_leads_back_to_the_event(shop: Holdfast, visitor: Visitor) -> None:
    event = await shop.event((4500, 40))
    await visitor.opens(event)
    await visitor.chooses(1)
    await visitor.fills_in()
    async with short_holds(shop):
        await visitor.page.get_by_role("button", name="Hold seats").click()
        await visitor.sees("Your time to pay is over")
    await visitor.look("expired")
    await visitor.page.get_by_role("link", name="Choose tickets again").click()
    await visitor.sees(event["name"])


@asynccontextmanager
async def short_holds(shop: Holdfast) -> AsyncIterator[None]:
    """The booking actor started anew, with holds of a few seconds."""
    booking = shop.stack.processes["booking-1"]
    assert isinstance(booking, ActorProcess)
    usual = booking.environment
    for environment in ({**usual, "HOLD_SECONDS": "3"}, usual):
        await booking.stop(at_once=True)
        booking.environment = environment
        await booking.start()
        await shop.ready()
        if environment is not usual:
            yield
