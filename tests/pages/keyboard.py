"""What somebody does on a page who has a keyboard alone."""

from __future__ import annotations

from collections.abc import Mapping

from playwright.async_api import Page

# More keys than any page of ours has places to stop at.
KEYS_MAX = 60
# The name of what has the focus, also within a component's own tree.
FOCUSED = """() => {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  const label = at?.labels?.[0]?.firstChild ?? at?.closest("label")?.firstChild;
  const heading = at?.querySelector("h2");
  return (at?.ariaLabel ?? label?.textContent ?? heading?.textContent ?? at?.textContent ?? "").trim();
}"""


async def reach(page: Page, name: str) -> None:
    """Press Tab until what has this name has the focus."""
    for _ in range(KEYS_MAX):
        await page.keyboard.press("Tab")
        if await page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"no key leads to {name}")


async def enter(page: Page, name: str) -> None:
    """Follow a link, or press a button."""
    await reach(page, name)
    await page.keyboard.press("Enter")


async def fill(page: Page, fields: Mapping[str, str]) -> None:
    """Fill in fields, in the order in which they stand."""
    for name, text in fields.items():
        await reach(page, name)
        await page.keyboard.type(text)
