"""Headers that every answer carries, errors too, and CORS: https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from common.runtime.web import Handler

ALLOWED_METHODS = "GET, HEAD, POST, PATCH, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, Prefer, traceparent"
EXPOSED_HEADERS = "ETag, Location, Preference-Applied, Retry-After"
# Browsers ask again after this: https://fetch.spec.whatwg.org/#http-access-control-max-age caps it anyway.
PREFLIGHT_SECONDS = "600"


def finishing(origins: tuple[str, ...]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Adds the headers to every answer, before it leaves."""

    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        headers.setdefault("Referrer-Policy", "no-referrer")
        if not origins:
            return
        headers.add(hdrs.VARY, hdrs.ORIGIN)
        if (allowed := allowed_origin(request, origins)) is not None:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS

    return finish


def allowed_origin(request: web.Request, origins: tuple[str, ...]) -> str | None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return None
    if "*" in origins:
        return "*"
    return origin if origin in origins else None


def preflight(origins: tuple[str, ...]) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """Answers a browser's question whether it may send a request; tokens go in a header, so no credentials."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if not (asked and allowed_origin(request, origins)):
            return await handler(request)
        return web.Response(
            status=204,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: ALLOWED_METHODS,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
                hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_SECONDS,
            },
        )

    return middleware
