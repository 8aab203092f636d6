"""Headers of every response, also of errors, and CORS: https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

from aiohttp import hdrs, web

from common.runtime.web import Handler
from gateway.settings import SETTINGS

ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, traceparent"
EXPOSED_HEADERS = "ETag, Location, Preference-Applied, Retry-After"
# Browsers repeat a preflight after this many seconds: https://fetch.spec.whatwg.org/#http-access-control-max-age.
PREFLIGHT_SECONDS = "600"


async def finish(request: web.Request, response: web.StreamResponse) -> None:
    """Adds the headers to an answer before it is sent."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    headers.setdefault("Referrer-Policy", "no-referrer")
    if not request.app[SETTINGS].cors_origins:
        return
    headers.add(hdrs.VARY, hdrs.ORIGIN)
    if (allowed := allowed_origin(request)) is not None:
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS


def allowed_origin(request: web.Request) -> str | None:
    origin, origins = request.headers.get(hdrs.ORIGIN), request.app[SETTINGS].cors_origins
    if origin is None:
        return None
    if "*" in origins:
        return "*"
    return origin if origin in origins else None


@web.middleware
async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers a browser that asks whether it may send a request. No cookies are allowed: tokens are in a header."""
    is_preflight = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if not (is_preflight and allowed_origin(request)):
        return await handler(request)
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ALLOWED_METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_SECONDS,
    }
    return web.Response(status=204, headers=headers)
