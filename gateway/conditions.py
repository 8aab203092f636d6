"""Which version a request is meant for: `ETag` and `If-Match`, https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import hdrs, web

from common.contracts.errors import MalformedRequest
from common.contracts.resources import entity_tag

# Section 8.8.3 of the RFC; bytes over 0x7F arrive as whatever they decode to.
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"')
# The tags that are given out here: of any other one no version can be the present one.
_OWN = re.compile(r'"(0|[1-9]\d{0,9})"')


def if_match(request: web.Request) -> tuple[int, ...] | None:
    """The versions that If-Match allows; None for any, also for `*`. Raises MalformedRequest.

    The comparison is a strong one, so that a weak tag matches nothing (section 8.8.3.2).
    """
    lines = request.headers.getall(hdrs.IF_MATCH, [])
    if not lines:
        return None
    text = ",".join(lines).strip(" \t")
    if text == "*":
        return None
    tags = _tags(text)
    return tuple(int(own[1]) for tag in tags if (own := _OWN.fullmatch(tag)))


def _tags(text: str) -> list[str]:
    """The entity tags of a list, in which a comma may also be part of one and empty elements are allowed."""
    tags = []
    place = 0
    while place < len(text):
        if text[place] in ", \t":
            place += 1
            continue
        found = _TAG.match(text, place)
        if found is None or (found.end() < len(text) and text[found.end()] not in ", \t"):
            break
        tags.append(found[0])
        place = found.end()
    if place < len(text) or not tags:
        raise MalformedRequest('If-Match must be * or a list of entity tags such as "7"')
    return tags


def etag(version: Any) -> dict[str, str]:
    """The header with the entity tag of `version`; none where the booking process did not say it."""
    return {} if version is None else {hdrs.ETAG: entity_tag(version)}
