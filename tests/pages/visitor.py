"""A visitor of the shop: a page in a real browser, what it must not do, and what is looked at on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    ViewportSize,
    WebError,
    expect,
)

from tests.acceptance.holdfast import Holdfast

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
VISA, NO_MONEY, SECURE = "4242424242424242", "4000000000009995", "4000000000003220"
# What the first page that somebody opens weighs at most, with its headers, in bytes as they are sent.
FIRST_VIEW_MAX = 60_000
AXE = Axe().axe_script
# After a frame: what follows the colour scheme by a script has then followed it.
VIOLATIONS = """async (runOnly) => {
  await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
  return (await axe.run({ runOnly, resultTypes: ["violations"] })).violations;
}"""
# Other processes want these cores, too.
expect.set_options(timeout=20_000)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# By which of axe's rules a page is looked at in each scheme: both differ in their colours alone.
SCHEMES: dict[Literal["light", "dark"], list[str]] = {
    "light": RULES,
    "dark": ["color-contrast", "link-in-text-block"],
}


class Visitor:
    """One browser profile with one page; `complaints` has what the browser found wrong."""

    def __init__(self, holdfast: Holdfast, context: BrowserContext, page: Page, site: str) -> None:
        """`site`: where its pages are, of which another front end than the gateway's may be one."""
        assert holdfast.stack.sandbox_url is not None
        self.site = site
        self._allowed = (site, holdfast.url, holdfast.stack.sandbox_url, "blob:", "data:")
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        context.on("request", self._on_request)
        context.on("console", self._on_console)
        context.on("weberror", self._on_web_error)

    @classmethod
    async def new(cls, holdfast: Holdfast, browser: Browser, **options: Any) -> Visitor:
        usual = {"base_url": holdfast.url, "locale": "en-GB", "timezone_id": "Europe/Berlin", "viewport": PHONE}
        options = usual | options
        context = await browser.new_context(reduced_motion="reduce", **options)
        context.set_default_timeout(20_000)
        return cls(holdfast, context, await context.new_page(), options["base_url"])

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(self._allowed):
            self.complaints.append(f"a request to {request.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        # The status of an answer is no error of the page's.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def _on_web_error(self, error: WebError) -> None:
        self.complaints.append(f"{error.error}")

    # --- what visitors do

    async def opens(self, event: dict[str, Any]) -> None:
        """The page of an event, from the list."""
        await self.page.goto("/")
        await self.page.get_by_role("link", name=event["name"]).click()
        await self.sees(event["name"])

    async def sees(self, heading: str) -> None:
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    async def chooses(self, quantity: int, name: str = "Row 1") -> None:
        for _ in range(quantity):
            await self.page.get_by_role("button", name=f"One more: {name}").click()

    async def fills_in(self) -> None:
        await self.page.get_by_label("Name").fill("Ada Lovelace")
        await self.page.get_by_label("Email").fill("ada@example.org")

    async def holds(self, event: dict[str, Any], quantity: int = 1) -> None:
        """Seats, from the event's page to the form in which they are paid."""
        await self.opens(event)
        await self.chooses(quantity)
        await self.fills_in()
        await self.page.get_by_role("button", name="Hold seats").click()
        await self.sees("Pay for your tickets")

    async def pays(self, card: str = VISA) -> None:
        await self.page.get_by_label("Card number").fill(card)
        await self.page.get_by_label("Expiry").fill("1234")
        await self.page.get_by_label("Security code").fill("123")
        await self.page.get_by_role("button", name="Order and pay").click()

    def notice(self, text: str) -> Locator:
        return self.page.locator(".notice", has_text=text)

    # --- how it is looked at

    async def look(self, name: str) -> None:
        """By axe, light and dark, on a phone."""
        for scheme, rules in SCHEMES.items():
            await self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.complaints += [f"{name}, {scheme}: {each}" for each in await self.faults(rules)]
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "too wide for a phone"
        )

    async def faults(self, rules: Sequence[str] = RULES) -> list[str]:
        """What axe finds on the page as it is."""
        # A document keeps axe, which is half a megabyte, until it is left.
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE)
        violations = await self.page.evaluate(VIOLATIONS, list(rules))
        return [
            f"{each['id']}: {node['html']} {node.get('failureSummary', '')}"
            for each in violations
            for node in each["nodes"]
        ]
