"""Descriptions of events: the Markdown that they may have, and the safe HTML that is made of it.

What an operator writes ends up in pages that customers see. So HTML in it, images, and links to anything but pages
and mail addresses are refused when it is sent; and whatever the database has, the HTML that is made of it goes
through a sanitiser that lets no more than these tags pass. https://spec.commonmark.org says what Markdown is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from common.contracts.errors import InvalidRequest

SCHEMES = frozenset({"http", "https", "mailto"})
# All that CommonMark makes but images.
TAGS = frozenset(
    {"p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "ul", "ol", "li", "blockquote", "pre"}
    | {"code", "a"}
)
ATTRIBUTES = {"a": frozenset({"href", "title"}), "ol": frozenset({"start"})}
# By the kind of token: the rule that it breaks (stable, part of the API), and the rule in words.
REFUSED = {
    "html_block": ("markdown_html", "must have no HTML: put code between backticks, or write \\< for <"),
    "html_inline": ("markdown_html", "must have no HTML: put code between backticks, or write \\< for <"),
    "image": ("markdown_image", "must have no images: an event has one of its own"),
}
LINK = ("markdown_link", "must have links to http, https and mailto alone, with the whole address")


class _Reader(MarkdownIt):
    """Also finds links that are not rendered."""

    def validateLink(self, url: str) -> bool:
        return True


_READER = _Reader("commonmark", {"html": True})
_RENDERER = MarkdownIt("commonmark", {"html": False})
_SANITISER = nh3.Cleaner(
    tags=TAGS, attributes=ATTRIBUTES, url_schemes=SCHEMES, url_relative="deny", link_rel="noopener noreferrer"
)


async def check(markdown: str | None) -> None:
    """Raises InvalidRequest for Markdown that a description may not have."""
    if markdown is None:
        return
    found = await asyncio.to_thread(faults, markdown)
    if found:
        errors = [{"loc": ["body", "description"], "msg": text, "type": rule} for rule, text in found]
        raise InvalidRequest("; ".join(f"description {text}" for _, text in found), errors=errors)


async def html(markdown: str | None) -> str | None:
    """The HTML of a description; the process goes on with others meanwhile."""
    return None if markdown is None else await asyncio.to_thread(rendered, markdown)


def faults(markdown: str) -> list[tuple[str, str]]:
    """Each rule that it breaks, and the rule in words."""
    found: dict[tuple[str, str], None] = {}
    for token in _all(_READER.parse(markdown)):
        if token.type in REFUSED:
            found[REFUSED[token.type]] = None
        elif token.type == "link_open" and _scheme(str(token.attrGet("href"))) not in SCHEMES:
            found[LINK] = None
    return list(found)


def rendered(markdown: str) -> str:
    return _SANITISER.clean(_RENDERER.render(markdown))


def _all(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def _scheme(href: str) -> str:
    try:
        return urlsplit(href).scheme
    except ValueError:
        return ""
