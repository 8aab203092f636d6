"""`python -m tests.pages`: pictures of every page and state, of a stack of its own; and the documents' pictures."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import async_playwright

from tests.acceptance.holdfast import SLOW_BANKS, running
from tests.pages import desk_scenes, door_scenes, shop_scenes
from tests.pages.camera import Camera
from tests.pages.chromium import MISSING, launched
from tests.pages.gallery import PAGE_OF, Gallery
from tests.pages.house import SETTINGS, House
from tests.pages.season import Season, prepared

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "pictures"
SHOWN = ROOT / "docs" / "pictures"
STACK = {**SETTINGS, **SLOW_BANKS}
Scene = Callable[[House, Season], Awaitable[None]]
SCENES: tuple[Scene, ...] = (*shop_scenes.SCENES, *door_scenes.SCENES, *desk_scenes.SCENES)


async def taken(wanted: list[str], folder: Path) -> list[str]:
    """Plays the scenes. Returns what went wrong, and what axe and we found wrong on the pages."""
    gallery = Gallery(PICTURES)
    async with async_playwright() as playwright, running(folder / "stack", settings=STACK) as shop:
        camera = Camera(folder / "seen.y4m")
        async with launched(playwright, camera) as browser:
            house = House(shop, browser, camera, gallery)
            if not wanted:
                await _played(house, "empty", _empty(house))
            season = await prepared(house)
            for scene in SCENES:
                if not wanted or scene.__name__ in wanted:
                    await _played(house, scene.__name__, scene(house, season))
            made = await gallery.mount(browser, SHOWN)
    for path in made:
        sys.stdout.write(f"written: {path.relative_to(ROOT)}, {path.stat().st_size:,} bytes\n")
    if not wanted:
        gallery.complaints += [f"{name} was not taken" for name in PAGE_OF if name not in gallery.taken]
    return gallery.complaints


async def _empty(house: House) -> None:
    await shop_scenes.empty(house)
    await desk_scenes.empty(house)


async def _played(house: House, name: str, scene: Awaitable[None]) -> None:
    """One scene that fails does not keep the others from being played."""
    sys.stdout.write(f"{name} …\n")
    sys.stdout.flush()
    try:
        await scene
    except Exception as error:
        traceback.print_exc()
        house.gallery.complaints.append(f"the scene {name} failed: {error}")
    await house.close()


def main() -> int:
    """The exit code: 0 when all pictures are taken, and nothing was found wrong on them."""
    parser = argparse.ArgumentParser(prog="python -m tests.pages", description=__doc__)
    parser.add_argument("scene", nargs="*", choices=[[], *(scene.__name__ for scene in SCENES)], help="only these")
    wanted = parser.parse_args().scene
    if shutil.which("chromium") is None:
        sys.stderr.write(f"no pictures: {MISSING}\n")
        return 1
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-pictures-") as folder:
        complaints = asyncio.run(taken(wanted, Path(folder)))
    sys.stdout.write(f"{PICTURES.relative_to(ROOT)}/ has {len(list(PICTURES.glob('*.png')))} pictures\n")
    for complaint in complaints:
        sys.stderr.write(f"{complaint}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
