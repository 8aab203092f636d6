"""The shop in a real browser, over a whole running stack and the sandbox's stripe.js."""

from __future__ import annotations

import io

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import expect

from tests.acceptance.customers import CANCELLABLE
from tests.acceptance.holdfast import Holdfast
from tests.pages.visitor import Visitor

pytestmark = pytest.mark.timeout(120)


async def test_somebody_buys_and_gets_tickets_that_a_scanner_reads(holdfast: Holdfast, visitor: Visitor) -> None:
    event = await holdfast.event(
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
    await expect(page.get_by_role("timer")).to_have_text("14:", use_inner_text=True)
    await visitor.look("pay")
    await visitor.pays()
    await visitor.sees("Your tickets")
    codes = page.locator(".code img")
    await expect(codes).to_have_count(2)
    await visitor.look("tickets")
    read = zxingcpp.read_barcodes(Image.open(io.BytesIO(await codes.first.screenshot())))
    scanner = holdfast.client(scopes=["holdfast:door"])
    answer = await scanner.request("POST", "/admin/tickets/check-in", json={"code": read[0].text})
    assert answer.status == 200
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Add to calendar").click()
    assert (await download.value).suggested_filename.endswith(".ics")
    await page.get_by_role("link", name="My bookings").click()
    await expect(page.get_by_role("link", name=event["name"])).to_contain_text("Confirmed")
    await visitor.look("my")
