"""`/openapi.json`, and `/docs`: the same as a page, shown by the Swagger UI in `assets/`, without the internet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path

from aiohttp import web

from common.contracts.errors import NotFound

ASSETS = Path(__file__).parent / "assets"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# The page may load what `assets/` has, and nothing from elsewhere; it has no script or style within it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHE = "public, max-age=300"

# Makes the document, as JSON: with the first request, in a thread, as it takes a tenth of a second.
DOCUMENT: web.AppKey[Callable[[], bytes]] = web.AppKey("document")


@cache
def assets() -> dict[str, tuple[bytes, str]]:
    """The content and the media type of each file, by its name."""
    found = (path for path in ASSETS.iterdir() if path.suffix in MEDIA_TYPES)
    return {path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in found}


async def openapi_json(request: web.Request) -> web.Response:
    body = await asyncio.to_thread(request.app[DOCUMENT])
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": CACHE})


async def docs_page(_: web.Request) -> web.Response:
    return _asset("docs.html")


async def asset(request: web.Request) -> web.Response:
    return _asset(request.match_info["name"])


def _asset(name: str) -> web.Response:
    if name not in assets():
        raise NotFound
    body, kind = assets()[name]
    headers = {"Cache-Control": CACHE, "Content-Security-Policy": PAGE_POLICY}
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)
