"""Pictures of the pages: each state on a phone and a desktop, light and dark, judged by axe and for what is cut."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, expect
from yarl import URL

from tests.pages.visitor import DESKTOP, PHONE, Visitor

# The states that are shown, by the address of their page.
STATES = {
    "/": "home home-empty home-search home-nothing-found home-error",
    "/e/{slug}": """
        event event-incomplete event-promo-code-wrong event-promo-code event-changed event-price-changed event-few
        event-offline event-free event-soon event-closed event-cancelled event-none event-sold-out event-waiting
        event-offer
    """,
    "/b/{reference}": """
        booking-queue booking-pay booking-not-loaded booking-declined booking-3d-secure booking-confirming
        booking-processing booking-tickets booking-cancel booking-refunded booking-expired booking-event-cancelled
        booking-used booking-elsewhere
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
# What README and docs show: states side by side, on which device, and how wide in pixels.
MOUNTED = {
    "shop": (("event", "booking-pay", "booking-tickets"), "phone", 1200),
    "door": (("door-camera", "door-in", "door-used"), "phone", 1200),
    "desk": (("desk-event",), "desktop", 1400),
}
DEVICE_OF = {name: device for names, device, _ in MOUNTED.values() for name in names}
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
# Images that wait until they are scrolled to, what sticks to the end of the window at its own place, and one more
# frame for all that follows a change of colours.
READY = """async () => {
  for (const each of document.images) each.loading = "eager";
  await Promise.all([...document.images].map((each) => each.decode().catch(() => {})));
  await document.fonts.ready;
  document.querySelector(".bar-below")?.scrollIntoView({ block: "end" });
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
MOUNT = """<!doctype html><style>
body {{ margin: 0; display: flex; gap: 48px; padding: 24px; width: max-content; }}
img {{ display: block; width: {width}px; border-radius: {radius}px; border: {edge}px solid #17181c;
  box-shadow: 0 12px 32px rgb(0 0 0 / 25%); }}
</style>"""


class Gallery:
    """A folder of pictures. `complaints`: what axe and we found wrong; `taken`: the states that are in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.complaints: list[str] = []
        self.taken: set[str] = set()

    async def take(self, visitor: Visitor, name: str, *, german: bool = False) -> None:
        """The page as it is. `german`: also in German, where the state survives that the page is loaded again."""
        await self._take(visitor, name)
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
        address = page.url.removeprefix(visitor.base_url).partition("?")[0]
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", PAGE_OF[name]), address), f"{name} is taken at {address}"
        await expect(page.locator("div.waiting:visible")).to_have_count(0)
        for device, size in DEVICES.items():
            await page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                await page.evaluate(READY)
                picture = f"{name}{language}-{device}-{scheme}"
                path = self._folder / f"{picture}.png"
                over_all = await page.locator("dialog[open]").count() > 0
                await page.screenshot(path=path, full_page=not over_all, scale="css")
                self.complaints += [f"{picture}: {each}" for each in await visitor.faults()]
            self.complaints += [f"{name}{language}-{device}: cut by {each}" for each in await page.evaluate(CUT)]
            if DEVICE_OF.get(name) == device and not language:
                await page.emulate_media(color_scheme="light", reduced_motion="reduce")
                await page.evaluate("scrollTo(0, 0)")
                await page.evaluate(READY)
                await page.screenshot(path=self._folder / f"{name}@2x.png")
        await page.set_viewport_size(PHONE)

    async def mount(self, browser: Browser, folder: Path) -> list[Path]:
        """What README and docs show, of the states that were taken: as small as it has to be."""
        page = await browser.new_page(device_scale_factor=2)
        made = []
        for shown, (names, device, width) in MOUNTED.items():
            if not self.taken.issuperset(names):
                continue
            phone = device == "phone"
            style = MOUNT.format(width=DEVICES[device]["width"], radius=44 if phone else 18, edge=9 if phone else 3)
            # A page may load files only where it is one.
            mount = self._folder / f"{shown}.html"
            mount.write_text(style + "".join(f'<img src="{name}@2x.png">' for name in names))
            await page.goto(mount.as_uri(), wait_until="networkidle")
            picture = await page.locator("body").screenshot(omit_background=True)
            made.append(folder / f"{shown}.webp")
            await asyncio.to_thread(_save, picture, made[-1], width)
            mount.unlink()
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
