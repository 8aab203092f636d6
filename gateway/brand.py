"""The organiser's colour on the pages: a stylesheet in which texts of that colour, and on it, can be read."""

from __future__ import annotations

from typing import NamedTuple

# https://www.w3.org/TR/WCAG22/#contrast-minimum: for text of ordinary size.
CONTRAST = 4.5
# What texts in the organiser's colour stand on in `pages.css`: the surfaces of light and dark that are the hardest.
LIGHT, DARK = "#f4f3f0", "#23242b"
WHITE, BLACK = "#ffffff", "#111111"
# How many steps lead from a colour to black or to white.
STEPS = 20


class Colour(NamedTuple):
    """Red, green and blue, each from 0 to 255."""

    red: int
    green: int
    blue: int

    @classmethod
    def of(cls, text: str) -> Colour:
        """`text`: as `#3d3bd9`."""
        return cls(*bytes.fromhex(text[1:]))

    @property
    def text(self) -> str:
        return f"#{bytes(self).hex()}"

    @property
    def luminance(self) -> float:
        """From 0 (black) to 1 (white): https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
        shares = [each / 255 for each in self]
        red, green, blue = (
            share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """From 1 (the same) to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    darker, lighter = sorted((one.luminance, other.luminance))
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: Colour, ground: Colour) -> Colour:
    """`colour`, as much darker or lighter as a text on `ground` needs."""
    goal = max((Colour.of(BLACK), Colour.of(WHITE)), key=lambda each: contrast(each, ground))
    for step in range(STEPS):
        found = Colour(*(a + (b - a) * step // STEPS for a, b in zip(colour, goal, strict=True)))
        if contrast(found, ground) >= CONTRAST:
            return found
    return goal


def stylesheet(text: str) -> str:
    """The colour tokens that `pages.css` uses, for the organiser's colour."""
    brand = Colour.of(text)
    on_brand = max((Colour.of(BLACK), Colour.of(WHITE)), key=lambda each: contrast(each, brand))
    light, dark = (readable(brand, Colour.of(ground)).text for ground in (LIGHT, DARK))
    return (
        f":root {{ --brand: {brand.text}; --on-brand: {on_brand.text}; --brand-text: {light}; }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ --brand-text: {dark}; }} }}\n"
    )
