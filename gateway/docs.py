"""`/openapi.json`; `/docs`, the same as a page, shown by the Swagger UI in `assets/`, without the internet;
`/asyncapi.json`, which describes the WebSocket; and `/holdfast.js`, a client of both for pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web

from common.contracts.errors import NotFound
from gateway.shared import NOT_MODIFIED, knows, tagged

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


class Asset(NamedTuple):
    """A file that is served."""

    body: bytes
    media_type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """The files by their names."""
    found = {path: path.read_bytes() for path in ASSETS.iterdir() if path.suffix in MEDIA_TYPES}
    return {path.name: Asset(body, MEDIA_TYPES[path.suffix], tagged(body)) for path, body in found.items()}


async def openapi_json(request: web.Request) -> web.Response:
    return await _document(request, "openapi")


async def asyncapi_json(request: web.Request) -> web.Response:
    return await _document(request, "asyncapi")


async def _document(request: web.Request, name: str) -> web.Response:
    body = await asyncio.to_thread(request.app[DOCUMENTS][name])
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": CACHE})


async def docs_page(request: web.Request) -> web.Response:
    return _asset(request, "docs.html")


async def client_module(request: web.Request) -> web.Response:
    return _asset(request, "holdfast.js")


async def asset(request: web.Request) -> web.Response:
    return _asset(request, request.match_info["name"])


def _asset(request: web.Request, name: str) -> web.Response:
    if name not in assets():
        raise NotFound
    body, media_type, tag = assets()[name]
    headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: CACHE, "Content-Security-Policy": PAGE_POLICY}
    if knows(request, tag):
        return web.Response(status=NOT_MODIFIED, headers=headers)
    return web.Response(body=body, content_type=media_type, charset="utf-8", headers=headers)
