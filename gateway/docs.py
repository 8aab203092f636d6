"""`/openapi.json`; `/docs`, the same as a page, shown by the Swagger UI in `assets/`, without the internet; and
`/asyncapi.json`, which describes the WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
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

# By name, makes the document as JSON: with the first request, in a thread, as it takes a tenth of a second.
DOCUMENTS: web.AppKey[Mapping[str, Callable[[], bytes]]] = web.AppKey("documents")


@cache
def assets() -> dict[str, tuple[bytes, str]]:
    """The content and the media type of each file, by its name."""
    found = (path for path in ASSETS.iterdir() if path.suffix in MEDIA_TYPES)
    return {path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in found}


async def openapi_json(request: web.Request) -> web.Response:
    return await _document(request, "openapi")


async def asyncapi_json(request: web.Request) -> web.Response:
    return await _document(request, "asyncapi")


async def _document(request: web.Request, name: str) -> web.Response:
    body = await asyncio.to_thread(request.app[DOCUMENTS][name])
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
