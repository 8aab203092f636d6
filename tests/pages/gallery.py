"""Pictures of the pages: each state on a phone and a desktop, light and dark, judged by axe and for what is cut."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, expect
from yarl import URL

from tests.pages.visitor import DESKTOP, PHONE, SCHEMES, Visitor

# The states that are shown, by the address of their page.
STATES = {
    "/": "home home-empty home-search home-nothing-found home-error",
    "/e/{slug}": """
        event event-incomplete event-promo-code-wrong event-promo-code event-changed event-price-changed event-few
        event-offline event-free event-soon event-closed event-cancelled event-none event-sold-out
        event-waiting-list event-waiting event-offer
    """,
    "/b/{reference}": """
        booking-queue booking-pay booking-not-loaded booking-declined booking-3d-secure booking-confirming
        booking-processing booking-tickets booking-cancel booking-refunded booking-expired booking-event-cancelled
        booking-used booking-elsewhere booking-link-not-good
    """,
    "/my": "my my-empty my-recovery-code my-recovery-code-wrong",
    "/door": """
        door-sign-in door-events door door-camera door-in door-used door-unknown door-invalid door-wrong-event
        door-cancelled door-offline door-in-offline door-met door-lookup door-sign-out door-second-tab
    """,
    "/desk": "desk-sign-in desk-sign-in-wrong desk-empty desk desk-error",
    "/desk/events": "desk-events desk-events-empty",
    "/desk/events/new": "desk-new-event desk-new-event-incomplete",
    "/desk/events/{id}": "desk-event desk-event-draft desk-event-cancel desk-event-cancelled",
    "/desk/events/{id}/edit": "desk-edit desk-edit-conflict",
    "/desk/events/{id}/preview": "desk-preview",
    "/desk/events/{id}/codes": "desk-codes desk-codes-empty desk-code-new",
    "/desk/events/{id}/waiting": "desk-waiting desk-waiting-empty",
    "/desk/bookings": "desk-bookings desk-bookings-none",
    "/desk/bookings/{id}": "desk-booking desk-booking-pending desk-refund desk-cancel desk-mail desk-customer",
    "/desk/sell": "desk-sell desk-sell-incomplete",
    "/desk/webhooks": """
        desk-webhooks desk-webhooks-empty desk-webhook-new desk-webhook-secret desk-webhook-deliveries
    """,
}
PAGE_OF = {name: path for path, names in STATES.items() for name in names.split()}
DEVICES = {"phone": PHONE, "desktop": DESKTOP}


class Mount(NamedTuple):
    """States that README and docs show side by side. `width`: of the whole, in pixels; `frame`: of each, as CSS."""

    states: tuple[str, ...]
    window: ViewportSize
    width: int
    frame: str


HANDHELD = "border-radius: 44px; border-width: 9px"
MOUNTED = {
    "shop": Mount(("event", "booking-pay", "booking-tickets"), PHONE, 1200, HANDHELD),
    "door": Mount(("door-camera", "door-in", "door-used"), PHONE, 1200, HANDHELD),
    "desk": Mount(("desk-event",), {"width": 1280, "height": 1130}, 1400, "border-radius: 18px"),
}
WINDOW_OF = {state: mount.window for mount in MOUNTED.values() for state in mount.states}
BYTES_MAX = 60_000

# What is wider than its place, and by how many pixels: it is cut off, or lies over what is beside it.
CUT = """() => [...document.querySelectorAll("body *")].flatMap((each) => {
  const style = getComputedStyle(each);
  if (!each.checkVisibility({ visibilityProperty: true })) return [];
  if (each.closest(".hidden-visually, .skip, svg")) return [];
  const scrolls = ["auto", "scroll"].includes(style.overflowX) && !each.matches("input");
  const over = each.clientWidth ? each.scrollWidth - each.clientWidth : 0;
  const { right } = each.getBoundingClientRect();
  const beyond = each.closest(".table-box, nav.desk") ? 0 : right - document.documentElement.clientWidth;
  const most = Math.round(Math.max(scrolls ? 0 : over, beyond));
  return most > 1 ? [`${most} px: ${each.outerHTML.slice(0, 120)}`] : [];
})"""
# Images that wait until they are scrolled to, and one more frame for all that follows a change of colours.
READY = """async () => {
  for (const each of document.images) each.loading = "eager";
  await Promise.all([...document.images].map((each) => each.decode().catch(() => {})));
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
PAGE = """<!doctype html><style>
body {{ margin: 0; display: flex; gap: 48px; padding: 24px; width: max-content; }}
img {{ width: {width}px; box-shadow: 0 12px 32px rgb(0 0 0 / 25%); border: 3px solid #17181c; {frame}; }}
</style>{images}"""


class Gallery:
    """A folder of pictures. `complaints`: what axe and we found wrong; `taken`: the states that are in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.complaints: list[str] = []
        self.taken: set[str] = set()

    async def take(self, visitor: Visitor, name: str, *, german: bool = False) -> None:
        """The page as it is. `german`: also in German, where the state survives that the page is loaded again."""
        await self._take(visitor, name)
        if name in WINDOW_OF:
            await self._keep(visitor.page, name)
        if german:
            await self._load(visitor.page, "de")
            await self._take(visitor, name, "-de")
            await self._load(visitor.page, "en")
        self.taken.add(name)

    async def _load(self, page: Page, language: str) -> None:
        url = URL(page.url).update_query(lang=language)
        await page.goto(str(url), wait_until="networkidle")
        await expect(page.locator("main h1").first).to_be_visible()

    async def _take(self, visitor: Visitor, name: str, language: str = "") -> None:
        page = visitor.page
        address = page.url.removeprefix(visitor.site).partition("?")[0]
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", PAGE_OF[name]), address), f"{name} is taken at {address}"
        await expect(page.locator("h1").first).to_be_visible()
        await expect(page.locator("div.waiting:visible")).to_have_count(0)
        for device, size in DEVICES.items():
            await page.set_viewport_size(size)
            if await page.locator(".bar-below").count():  # it sticks to the end of the window, not of the picture
                height = await page.evaluate("document.documentElement.scrollHeight")
                await page.set_viewport_size({**size, "height": height})
            for scheme, rules in SCHEMES.items():
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                await page.evaluate(READY)
                picture = f"{name}{language}-{device}-{scheme}"
                path = self._folder / f"{picture}.png"
                over_all = await page.locator("dialog[open]").count() > 0
                await page.screenshot(path=path, full_page=not over_all, scale="css")
                self.complaints += [f"{picture}: {each}" for each in await visitor.faults(rules)]
            self.complaints += [f"{name}{language}-{device}: cut by {each}" for each in await page.evaluate(CUT)]
        await page.set_viewport_size(PHONE)

    async def _keep(self, page: Page, name: str) -> None:
        """For `mount`: what is seen first, as sharp as on a phone."""
        await page.set_viewport_size(WINDOW_OF[name])
        await page.emulate_media(color_scheme="light", reduced_motion="reduce")
        await page.evaluate("scrollTo(0, 0)")
        await page.evaluate(READY)
        await page.screenshot(path=self._folder / f"{name}@2x.png")
        await page.set_viewport_size(PHONE)

    async def mount(self, browser: Browser, folder: Path) -> list[Path]:
        """What README and docs show, of the states that were taken: as small as it has to be."""
        page = await browser.new_page(device_scale_factor=2)
        made = []
        for name, (states, window, width, frame) in MOUNTED.items():
            if not self.taken.issuperset(states):
                continue
            images = "".join(f'<img src="{state}@2x.png">' for state in states)
            file = self._folder / f"{name}.html"  # a page may load files only where it is one
            file.write_text(PAGE.format(width=window["width"], frame=frame, images=images))
            await page.goto(file.as_uri(), wait_until="networkidle")
            file.unlink()
            picture = await page.locator("body").screenshot(omit_background=True)
            made.append(folder / f"{name}.webp")
            await asyncio.to_thread(_save, picture, made[-1], width)
        await page.close()
        return made


def _save(picture: bytes, path: Path, width: int) -> None:
    taken = Image.open(io.BytesIO(picture))
    image = taken.resize((width, round(taken.height * width / taken.width)), Image.Resampling.LANCZOS)
    for quality in range(90, 30, -5):
        image.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size < BYTES_MAX:
            return
    raise AssertionError(f"{path} is larger than {BYTES_MAX} bytes")
