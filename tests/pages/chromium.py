"""Debian's Chromium, with a camera that a test holds things before."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Playwright

from tests.pages.camera import Camera

CHROMIUM = shutil.which("chromium")
MISSING = "there is no `chromium` (apt-get install chromium)"
# Of the fonts that are installed those that look most like the ones of phones.
FONTS = Path(__file__).parent / "fonts.conf"


@asynccontextmanager
async def launched(playwright: Playwright, camera: Camera) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *camera.arguments],
        env={**os.environ, "FONTCONFIG_FILE": str(FONTS)},
    )
    try:
        yield browser
    finally:
        await browser.close()
