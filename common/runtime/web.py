"""What the HTTP of all processes has in common: one log line and one metric per request, errors as problem+json."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from logging import DEBUG, INFO
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web

from common.contracts import errors
from common.contracts.errors import HoldfastError
from common.contracts.ids import new_traceparent
from common.runtime import health
from common.runtime.health import HEALTH, Health
from common.runtime.logs import logs
from common.runtime.outages import Outage
from common.runtime.supervisor import SUPERVISOR, Supervisor
from common.runtime.telemetry import METRICS, Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBLEM_JSON = "application/problem+json"
TRACEPARENT = web.RequestKey("traceparent", str)
BODY_SECONDS = web.AppKey("body_seconds", float)
# version-traceid-parentid-flags, neither id all zeros: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile("(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})

# The statuses by which aiohttp itself refuses a request; any other means that the request cannot be read.
_OF_STATUS = {404: errors.NotFound, 405: errors.MethodNotAllowed, 413: errors.PayloadTooLarge}

log = structlog.get_logger()

json_response = partial(web.json_bytes_response, dumps=orjson.dumps)


def problem(error: HoldfastError, headers: dict[str, str] | None = None) -> web.Response:
    """RFC 9457: `type` is a stable URN made of `code`, `detail` says what is wrong here."""
    body: dict[str, Any] = {
        **error.extra,
        "type": f"urn:holdfast:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    response = json_response(body, status=error.status, content_type=PROBLEM_JSON, headers=headers)
    if error.retryable and "Retry-After" not in response.headers:
        response.headers["Retry-After"] = str(error.extra.get("retry_after", 1))
    if "etag" in error.extra:
        response.headers["ETag"] = error.extra["etag"]
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="holdfast"'
    if error.status == 415:
        response.headers["Accept-Encoding"] = "identity"  # RFC 9110, section 15.5.16
    if error.status == 408:
        response.force_close()  # the rest of the body would be read as the next request
    return response


class QuietResponse(web.Response):
    """An answer from memory that reached nobody else and is given very often. Its log line would cost as much as
    itself: it is counted like every other, and logged at level debug only."""


def refuse_encodings(request: web.Request) -> None:
    """Raises UnsupportedMediaType for an encoded body: decompressed, it could be a thousand times as large."""
    if hdrs.CONTENT_ENCODING not in request.headers:
        return
    for header in request.headers.getall(hdrs.CONTENT_ENCODING):
        if any(coding.strip().lower() not in ("", "identity") for coding in header.split(",")):
            raise errors.UnsupportedMediaType("The body must come without a Content-Encoding, or with identity")


async def read_body(request: web.Request) -> bytes:
    """The whole body. Raises RequestTimeout, MalformedRequest, or aiohttp's HTTPRequestEntityTooLarge."""
    try:
        if request.content.is_eof():  # the body arrived with the headers, as mostly: no timer is needed
            return await request.read()
        async with asyncio.timeout(request.app[BODY_SECONDS]):
            return await request.read()
    except TimeoutError:
        raise errors.RequestTimeout from None
    except web.RequestPayloadError:
        request.content.feed_eof()  # or aiohttp still reads the rest, and logs a traceback for the broken body
        raise errors.MalformedRequest("The body is not encoded as its headers say") from None


def translate(error: web.HTTPException) -> web.Response:
    """An error of aiohttp as a problem document."""
    allow = ", ".join(sorted(error.allowed_methods)) if isinstance(error, web.HTTPMethodNotAllowed) else ""
    return problem(_OF_STATUS.get(error.status, errors.MalformedRequest)(), {"Allow": allow} if allow else None)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer, count and log one request; every error leaves as a problem document."""
    started = time.perf_counter()
    sent = request.headers.get("traceparent")
    request[TRACEPARENT] = sent if sent and _TRACEPARENT.fullmatch(sent) else new_traceparent()
    failure: dict[str, Any] = {}
    try:
        refuse_encodings(request)
        response = await handler(request)
    except HoldfastError as error:
        failure = {"code": error.code}
        response = problem(error)
    except web.HTTPException as error:
        # Statuses below 400, such as redirects, are answers and no errors.
        response = error if error.status < 400 else translate(error)
    except (ConnectionResetError, TimeoutError, Outage) as error:
        failure = {"code": type(error).__name__}
        response = problem(errors.Unavailable())
    except Exception:
        log.exception("request failed", path=request.path)
        response = problem(HoldfastError("The error was logged"))
    elapsed = time.perf_counter() - started
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    request.app[METRICS].requests.count(request.method, route, response.status, elapsed)
    quiet = isinstance(response, QuietResponse)
    if logs(DEBUG if quiet else INFO) and route not in QUIET:
        log.log(
            DEBUG if quiet else INFO,
            "request",
            method=request.method,
            route=route,
            status=response.status,
            ms=round(elapsed * 1000, 2),
            trace=request[TRACEPARENT][3:35],
            **failure,
        )
    if isinstance(response, web.HTTPException):
        raise response
    return response


async def end_connection(request: web.Request, response: web.StreamResponse) -> None:
    """Make the client, or a proxy for many, send its next request over another connection if this one ends: a
    process that stops reads no more requests, and after a broken body the next request cannot be found."""
    stopping = request.app[HEALTH].draining and not getattr(request.protocol, "more", False)
    if (stopping or request.content.exception() is not None) and response.status != 101:
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def new_app(middlewares: tuple[Any, ...] = (), *, body_seconds: float = 30.0, **kwargs: Any) -> web.Application:
    """An application with health, metrics, logs and problem+json: the base of every process. Operators see more of
    it on a port of their own (see admin.py)."""
    app = web.Application(middlewares=[observe, *middlewares], **kwargs)
    app[BODY_SECONDS] = body_seconds
    app[HEALTH] = Health()
    app[METRICS] = Metrics()
    app[SUPERVISOR] = Supervisor()
    app.on_response_prepare.append(end_connection)
    app.router.add_get("/health/live", health.live)
    app.router.add_get("/health/ready", health.ready)
    return app
