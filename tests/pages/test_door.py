"""The door in a real browser: its camera, what tickets meet, and a network that fails."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.acceptance.client import Json
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.scanner import Scanner, tickets
from tests.pages.camera import Camera
from tests.pages.conftest import NewVisitor
from tests.pages.visitor import Visitor

pytestmark = pytest.mark.timeout(120)

# Until its files are kept, the page cannot open without a network.
KEPT = "navigator.serviceWorker.ready.then(() => {})"


async def sold(shop: Holdfast, quantity: int, **more: Any) -> tuple[Json, Json, list[Json]]:
    """An event, and a booking of it with its tickets."""
    event = await shop.event((0, 40), time_zone="Europe/Berlin", **more)
    customer = shop.client()
    booking = (await customer.book(event, quantity)).ok(201)
    return event, booking, await tickets(customer, booking)


class Steward:
    """Stands at the door with a phone."""

    def __init__(self, shop: Holdfast, visitor: Visitor) -> None:
        self._shop = shop
        self.visitor = visitor
        self.page = visitor.page
        self.answer: Locator = self.page.locator("dialog.answer")
        self.status: Locator = self.page.locator(".door-status")

    async def opens(self, event: Json, scope: str = "holdfast:door") -> None:
        await self.page.goto(f"/door?event={event['id']}#token={self._shop.client(scopes=[scope]).token}")
        await self.visitor.sees(event["name"])
        assert "token" not in self.page.url

    async def types(self, text: str) -> None:
        await self.page.get_by_role("textbox", name="Code").fill(text)
        await self.page.keyboard.press("Enter")

    async def sees(self, word: str, *texts: str) -> None:
        await expect(self.answer.locator(".answer-word")).to_have_text(word)
        for text in texts:
            await expect(self.answer).to_contain_text(text)

    async def next(self) -> None:
        await self.answer.get_by_role("button").last.click()
        await expect(self.answer).to_have_count(0)


def forged(code: str) -> str:
    return code[:-9] + ("A" if code[-9] != "A" else "B") + code[-8:]


async def test_the_camera_lets_a_ticket_in_once(
    shop: Holdfast, browser_with_camera: Browser, camera: Camera, visit: NewVisitor
) -> None:
    event, _, (ticket, _) = await sold(shop, 2)
    first = Steward(shop, await visit(browser=browser_with_camera, permissions=["camera"]))
    page = first.page
    await page.goto("/door")
    await first.visitor.sees("The door")
    await first.visitor.look("door-sign-in")
    await page.get_by_label("Token").fill(shop.client(scopes=["holdfast:door"]).token or "")
    await page.get_by_role("button", name="Sign in").click()
    await first.visitor.sees("Which event?")
    await page.get_by_label("Gate").fill("North")
    await first.visitor.look("door-events")
    await page.get_by_role("button", name=event["name"]).click()
    await first.visitor.sees(event["name"])
    await expect(page.get_by_text("0 of 2")).to_be_visible()
    await first.visitor.look("door")

    camera.shows(ticket["code"])
    await page.get_by_role("button", name="Start the camera").click()
    await first.sees("Let in", "Row 1 · no. 1")
    await expect(first.answer).to_have_count(0)  # it makes way for the next ticket
    await expect(page.get_by_text("1 of 2")).to_be_visible()
    await first.visitor.look("door-camera")

    second = Steward(shop, await visit(browser=browser_with_camera, permissions=["camera"]))
    await second.opens(event)
    await second.page.get_by_role("button", name="Start the camera").click()
    await second.sees("Used already", "Let in at", "North")
    await second.visitor.look("door-used")

    # It stays before both cameras, which do not read it again.
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_text("0 of 2")).to_be_visible()
    await second.next()
    await second.types(ticket["code"])
    await second.sees("Let in")
    await expect(second.page.locator(".recent li")).to_have_count(2)
    await expect(page.locator(".recent li")).to_have_count(1)
    await second.visitor.look("door-in")


async def test_what_else_tickets_meet_in_german_by_keyboard_alone(shop: Holdfast, visit: NewVisitor) -> None:
    event, booking, (ticket, *_) = await sold(shop, 1)
    _, _, (elsewhere,) = await sold(shop, 1)
    (await shop.client(operator=True).request("POST", f"/bookings/{booking['id']}/cancel")).ok()
    steward = Steward(shop, await visit(locale="de-DE"))
    await steward.opens(event)
    keyboard = steward.page.keyboard
    await steward.page.get_by_role("textbox", name="Code").focus()
    for code, word in (
        (ticket["code"], "Storniert"),
        (elsewhere["code"], "Falsche Veranstaltung"),
        (forged(elsewhere["code"]), "Ungültig"),
        ("https://example.org/", "Ungültig"),
    ):
        # As a hand scanner does: the next code is typed while the answer before is shown.
        await keyboard.type(code)
        await keyboard.press("Enter")
        await steward.sees(word)
    await steward.visitor.look("door-invalid-german")
    await keyboard.press("Enter")
    await expect(steward.answer).to_have_count(0)
    await expect(steward.page.locator(".recent li")).to_have_count(4)
    await steward.visitor.look("door-german")


async def test_without_a_network_the_list_decides_and_all_is_sent_later(shop: Holdfast, visit: NewVisitor) -> None:
    event, _, (one, two, three) = await sold(shop, 3)
    other = Scanner(shop, event)
    (await other.check_in(one, gate="south")).ok()
    steward = Steward(shop, await visit())
    page, context = steward.page, steward.visitor.context
    await steward.opens(event)
    await expect(steward.status).to_contain_text("Online")
    await page.evaluate(KEPT)

    await context.set_offline(True)
    await expect(steward.status).to_contain_text("Offline: checking by the list of")
    await steward.visitor.look("door-offline")
    await steward.types(one["code"])
    await steward.sees("Used already", "south", "Checked offline, list of")
    await steward.next()
    await steward.types(forged(two["code"]))
    await steward.sees("Not valid")
    await steward.next()
    await steward.types(two["code"])
    await steward.sees("Let in", "Checked offline, list of")
    await steward.visitor.look("door-in-offline")
    await steward.next()
    await steward.types(three["code"])
    await steward.sees("Let in")
    await steward.answer.get_by_role("button", name="Undo").click()
    await expect(page.get_by_text("2 of 3")).to_be_visible()

    await page.reload()
    await steward.visitor.sees(event["name"])
    await expect(steward.status).to_contain_text("1 to send")  # what was undone here is forgotten
    await steward.types(two["code"])
    await steward.sees("Used already")
    await steward.next()
    (await other.check_in(two, gate="south")).ok()  # somebody else comes with the same ticket

    await context.set_offline(False)
    await expect(steward.status).to_have_text("Online")
    met = steward.visitor.notice("1 check-in made offline does not count")
    await expect(met).to_contain_text("Row 1, let in here at")
    await expect(met).to_contain_text("south")
    await steward.visitor.look("door-met")
    await met.get_by_role("button", name="Seen").click()
    await expect(met).to_have_count(0)
    await other.follow()
    assert other.known.states == {one["id"]: "used", two["id"]: "used"}


async def test_a_check_in_whose_answer_was_lost_counts_once_and_is_undone_later(
    shop: Holdfast, visit: NewVisitor
) -> None:
    event, _, (ticket,) = await sold(shop, 1)
    steward = Steward(shop, await visit())
    page, other = steward.page, Scanner(shop, event)
    await steward.opens(event)
    await expect(steward.status).to_contain_text("Online")

    async def lose(route: Any) -> None:
        await route.fetch()  # it arrives, and nothing comes back
        await steward.visitor.context.set_offline(True)
        await route.abort()

    await page.route("**/admin/tickets/check-in", lose)
    await steward.types(ticket["code"])
    await steward.sees("Let in", "Checked offline")
    await other.follow()
    assert other.known.states == {ticket["id"]: "used"}
    await steward.answer.get_by_role("button", name="Undo").click()
    await page.unroute("**/admin/tickets/check-in")
    await steward.visitor.context.set_offline(False)
    await expect(steward.status).to_have_text("Online")

    async def state() -> str:
        await other.follow()
        return other.known.states[ticket["id"]]

    await eventually(state, lambda found: found == "valid")


async def test_the_box_office_finds_a_booking_whose_customer_has_no_code(shop: Holdfast, visit: NewVisitor) -> None:
    event = await shop.event((0, 40))
    customer = shop.client()
    booking = (
        await customer.book(event, 2, customer={"name": "Ada Lovelace", "email": "ada@example.org", "locale": "en"})
    ).ok(201)
    steward = Steward(shop, await visit())
    await steward.opens(event, "holdfast:box-office")
    await steward.types("HF-2222-2222")
    await expect(steward.page.get_by_text("There is no booking")).to_be_visible()
    await steward.types(booking["reference"])
    await expect(steward.page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    await steward.visitor.look("door-lookup")
    await steward.page.get_by_role("button", name="Let in").first.click()
    await steward.sees("Let in", "Row 1", "Ada Lovelace")


async def test_a_token_that_opens_no_door_says_so_and_so_does_a_second_tab(
    shop: Holdfast, visit: NewVisitor
) -> None:
    event = await shop.event((0, 40))
    page = (await visit()).page
    for token, problem in (
        (shop.client().token, "needs the scope holdfast:door"),
        ("wrong", "This token is not valid"),
    ):
        await page.goto(f"/door?event={event['id']}#token={token}")
        await expect(page.get_by_text(problem)).to_be_visible()
    second = await page.context.new_page()
    await second.goto("/door")
    await expect(second.get_by_text("The door is open in another tab")).to_be_visible()
