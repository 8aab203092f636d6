"""What stewards at the door meet, as `make pictures` shows it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.acceptance.client import Json
from tests.acceptance.scanner import Scanner, tickets
from tests.pages.house import House, at, broken
from tests.pages.season import Season
from tests.pages.test_door import KEPT, Steward, forged


async def steward_of(house: House, event: Json, scope: str = "holdfast:door") -> Steward:
    steward = Steward(house.shop, await house.visitor(permissions=["camera"]))
    await steward.opens(event, scope)
    await expect(steward.status).to_contain_text("Online")
    return steward


async def evening(house: House) -> tuple[Json, list[Json]]:
    """An event that begins in an hour, a part of whose guests is in, and tickets of which nobody has used one."""
    event = await house.event(
        "Harbour Lights: First Night", ("Stalls", 0, 120), ("Balcony", 0, 60), ("Under 26", 0, 30), starts_at=at(1)
    )
    first = await house.buys(event, 6, 3, 1)
    other = Scanner(house.shop, event)
    for each in (await tickets(first.client, first.booking))[:7]:
        (await other.check_in(each, gate="South")).ok()
    await house.sells(event, 9, 4, 2, 1, method="complimentary")
    second = await house.buys(event, 4, 2)
    return event, await tickets(second.client, second.booking)


async def at_the_door(house: House, season: Season) -> None:
    event, (one, two, three, *_) = await evening(house)
    visitor = await house.visitor(permissions=["camera"])
    page = visitor.page
    await page.goto("/door")
    await visitor.sees("The door")
    await house.take(visitor, "door-sign-in", german=True)
    await page.get_by_label("Token").fill(house.shop.client(scopes=["holdfast:door"]).token or "")
    await page.get_by_role("button", name="Sign in").click()
    await visitor.sees("Which event?")
    await page.get_by_label("Gate").fill("North")
    await house.take(visitor, "door-events")
    await page.get_by_role("button", name=event["name"]).click()
    await visitor.sees(event["name"])
    await house.take(visitor, "door", german=True)
    steward = Steward(house.shop, visitor)
    second = await visitor.context.new_page()
    await second.goto("/door")
    await expect(second.get_by_text("The door is open in another tab")).to_be_visible()
    steward.visitor.page, first = second, steward.visitor.page
    await house.take(visitor, "door-second-tab")
    steward.visitor.page = first
    await second.close()
    house.camera.shows(one["code"])
    await page.get_by_role("button", name="Start the camera").click()
    await steward.sees("Let in", one["ticket_type"])
    await expect(steward.answer).to_have_count(0)
    await house.take(visitor, "door-camera")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Sign out").click()
    await house.take(visitor, "door-sign-out")
    await page.get_by_role("button", name="Stay").click()
    await steward.types(two["code"])
    await steward.sees("Let in")
    await house.take(visitor, "door-in")
    await steward.next()
    await steward.types(one["code"])
    await steward.sees("Used already", "North")
    await house.take(visitor, "door-used")
    await steward.next()
    await answers(house, season, steward, event, three)


async def answers(house: House, season: Season, steward: Steward, event: Json, ticket: Json) -> None:
    elsewhere = await tickets(*season.of_wolf)
    cancelled = await house.buys(event, 1)
    (kept,) = await tickets(cancelled.client, cancelled.booking)
    (await house.operator.request("POST", f"/bookings/{cancelled.id}/cancel")).ok()
    for code, word, name in (
        (elsewhere[1]["code"], "Wrong event", "door-wrong-event"),
        (forged(ticket["code"]), "Not valid", "door-invalid"),
        (kept["code"], "Cancelled", "door-cancelled"),
    ):
        await steward.types(code)
        await steward.sees(word)
        await house.take(steward.visitor, name)
        await steward.next()

    await steward.page.route("**/admin/tickets/check-in", broken)
    await steward.types(ticket["code"])
    await steward.sees("Cannot tell")
    await house.take(steward.visitor, "door-unknown")


async def without_network(house: House, season: Season) -> None:
    event, (one, *_) = await evening(house)
    steward = await steward_of(house, event)
    other, visitor = Scanner(house.shop, event), steward.visitor
    await steward.page.evaluate(KEPT)
    await visitor.context.set_offline(True)
    await expect(steward.status).to_contain_text("Offline: checking by the list of")
    await steward.types(one["code"])
    await steward.sees("Let in", "Checked offline, list of")
    await house.take(visitor, "door-in-offline")
    await steward.next()
    await house.take(visitor, "door-offline")
    (await other.check_in(one, gate="South")).ok()  # somebody else comes with the same ticket
    await visitor.context.set_offline(False)
    await expect(visitor.notice("1 check-in made offline does not count")).to_be_visible()
    await house.take(visitor, "door-met", german=True)
    office = await steward_of(house, event, "holdfast:box-office")
    reference = await house.buys(event, 2, 1)
    await office.types(reference.booking["reference"])
    await expect(office.page.get_by_role("button", name="Let in").first).to_be_visible()
    await house.take(office.visitor, "door-lookup")


SCENES = (at_the_door, without_network)
