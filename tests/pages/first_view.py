"""`python -m tests.pages.first_view`: how soon the shop can be used on a slow phone with nothing in its cache.

The browser's processor is slowed down four times. Its network has the figures that Lighthouse calls slow 4G: 150 ms
until an answer begins, 1.6 Mbit/s down, 750 kbit/s up
(https://github.com/GoogleChrome/lighthouse/blob/main/docs/throttling.md). Connecting costs nothing here. Answers
come through the proxy of deploy/nginx.conf, by HTTP/2, as in production, and from the gateway, by HTTP/1.1."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from playwright.async_api import Browser, async_playwright
from yarl import URL

from ops.child import free_port
from tests.acceptance.holdfast import Holdfast, running
from tests.gateway.test_proxy import NGINX, SHOP, certificate, here, nginx
from tests.pages.visitor import PHONE

LOADS = 5
# The proxy's name is this machine, and its certificate nobody's.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--ignore-certificate-errors",
    f"--host-resolver-rules=MAP {SHOP} 127.0.0.1",
)
CPU_SLOWDOWN = 4
NETWORK = {"offline": False, "latency": 150, "downloadThroughput": 1_600_000 / 8, "uploadThroughput": 750_000 / 8}
# Both in milliseconds since the visit began: what matches is there, and the browser has come round to drawing it.
WHEN_USABLE = """selector => {
  globalThis.usable = new Promise(resolve => {
    const look = () => document.querySelector(selector) && requestAnimationFrame(() => setTimeout(() => {
      resolve(performance.now());
    }));
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  });
}"""
FIRST_PAINT = """new Promise(resolve => new PerformanceObserver(list => {
  const [found] = list.getEntriesByName("first-contentful-paint");
  if (found) resolve(found.startTime);
}).observe({ type: "paint", buffered: true }))"""


async def load(browser: Browser, address: str, usable: str) -> tuple[float, float]:
    """When what matches `usable` can be used, and the first contentful paint; in milliseconds."""
    context = await browser.new_context(viewport=PHONE, locale="en-GB", is_mobile=True)
    page = await context.new_page()
    devtools: Any = await context.new_cdp_session(page)
    await devtools.send("Network.enable")
    await devtools.send("Network.emulateNetworkConditions", NETWORK)
    await devtools.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
    await page.add_init_script(f"({WHEN_USABLE})({usable!r})")
    await page.goto(address)
    found = await page.evaluate("globalThis.usable"), await page.evaluate(FIRST_PAINT)
    await context.close()
    return found


async def measure(holdfast: Holdfast, browser: Browser, proxy: str) -> None:
    event = await holdfast.event((4500, 40))
    page = await browser.new_page()
    await page.goto(holdfast.url)
    link = await page.get_by_role("link", name=event["name"]).get_attribute("href")
    await page.close()
    for path, usable in (("/", "main a"), (link or "", "main button:enabled")):
        for way, url in (("HTTP/2", proxy), ("HTTP/1.1", holdfast.url)):
            loads = [await load(browser, url + path, usable) for _ in range(LOADS)]
            use, paint = (median(each) for each in zip(*loads, strict=True))
            sys.stdout.write(
                f"{path} by {way}: first contentful paint {paint:.0f} ms, usable {use:.0f} ms, medians of {LOADS}\n"
            )


@asynccontextmanager
async def proxied(holdfast: Holdfast, folder: Path) -> AsyncIterator[str]:
    """The address of the shop behind the proxy."""
    certificate(folder, SHOP)
    gateway, https = URL(holdfast.url).port or 0, free_port()
    text = here(folder, {"gateway": gateway, "payment": free_port(), "http": free_port(), "https": https})
    async with nginx(folder, text):
        yield f"https://{SHOP}:{https}"


async def main() -> None:
    chromium = shutil.which("chromium") or sys.exit("there is no `chromium` (apt-get install chromium)")
    if NGINX is None:
        sys.exit("there is no `nginx` (apt-get install nginx-light)")
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running(Path(folder)) as holdfast,
            proxied(holdfast, Path(folder)) as proxy,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            await measure(holdfast, browser, proxy)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
