"""Debian's Chromium, which may have a camera that a test holds things before."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Playwright

from tests.pages.camera import Camera

CHROMIUM = shutil.which("chromium")
# The same browser without windows, which takes half of the CPU and has no camera.
HEADLESS = shutil.which("chromium-headless-shell") or CHROMIUM
MISSING = "there is no `chromium` (apt-get install chromium)"
# Of the fonts that are installed those that look most like the ones of phones.
FONTS = Path(__file__).parent / "fonts.conf"


@asynccontextmanager
async def launched(playwright: Playwright, camera: Camera | None = None) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(
        executable_path=HEADLESS if camera is None else CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *(camera.arguments if camera else ())],
        env={**os.environ, "FONTCONFIG_FILE": str(FONTS)},
    )
    try:
        yield browser
    finally:
        await browser.close()
