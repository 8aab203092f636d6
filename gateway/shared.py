"""Answers that are the same for everybody who asks: their bytes are made once, with an entity tag."""

from __future__ import annotations

import hashlib
import time
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

from common.runtime.health import HEALTH
from common.runtime.web import QuietResponse
from gateway.headers import allowed_origin, finish
from gateway.requests import TAG

DIGEST_BYTES = 8
NOT_MODIFIED = 304


def tagged(body: bytes, terms_version: int | None = None) -> str:
    """The entity tag of these bytes. With an event's `terms_version` in front it is also good for If-Match, where
    only that version counts (see requests.py)."""
    digest = hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest()
    return f'"{"e" if terms_version is None else terms_version}-{digest}"'


JSON = "application/json"
FOR_EVER = "public, max-age=31536000, immutable"  # a year, which is what caches understand by it


def knows(request: web.Request, tag: str) -> bool:
    """Whether the client has what `tag` stands for: by If-None-Match, `*` or tags, compared weakly (RFC 9110,
    section 13.1.2). What is no tag matches nothing."""
    if hdrs.IF_NONE_MATCH not in request.headers:
        return False
    sent = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH)).strip(" \t")
    return sent in ("*", tag) or tag in [each.removeprefix("W/") for each in TAG.findall(sent)]


class SharedAnswer:
    """A body with its tag; it may be cached by anybody for some seconds or, where its address changes with it, for
    ever."""

    __slots__ = ("_caching", "_media_type", "_sent", "body", "tag")

    def __init__(self, body: bytes, tag: str, max_age_s: int | None, media_type: str = JSON) -> None:
        """`max_age_s`: None for ever."""
        self.body = body
        self.tag = tag
        self._caching = FOR_EVER if max_age_s is None else f"public, max-age={max_age_s}"
        self._media_type = media_type
        # What is sent, by status and the origin that may read it (CORS).
        self._sent: dict[tuple[int, str | None], _Sent] = {}

    async def to(self, request: web.Request) -> web.StreamResponse:
        """The answer to this request: 200, or 304 if the client has it already (If-None-Match)."""
        headers = request.headers
        status = NOT_MODIFIED if knows(request, self.tag) else 200
        ordinary = (
            request.version != HttpVersion11
            or request.method != hdrs.METH_GET
            or not request.keep_alive
            or request.body_exists
            or request.app[HEALTH].draining
        )
        if ordinary:
            return self._response(status)
        origin = allowed_origin(request) if hdrs.ORIGIN in headers else None
        if (sent := self._sent.get((status, origin))) is None:
            response = self._response(status)
            await finish(request, response)
            sent = self._sent[status, origin] = _Sent(response)
        return sent

    def _response(self, status: int) -> web.Response:
        headers = {hdrs.ETAG: self.tag, hdrs.CACHE_CONTROL: self._caching}
        if status == NOT_MODIFIED:
            return web.Response(status=status, headers=headers)
        return web.Response(body=self.body, status=status, content_type=self._media_type, headers=headers)


class _Sent(QuietResponse):
    """A response whose head and body are sent by one write, for any number of requests over HTTP/1.1.

    aiohttp would put the head together again for each. It keeps nothing of a request, so that one object can be
    sent many times; the connection stays open after it.
    """

    def __init__(self, response: web.Response) -> None:
        """`response` has all headers but Date and Content-Length."""
        super().__init__(status=response.status)
        self._keep_alive = True
        body = response.body if isinstance(response.body, bytes) else b""
        lines = [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status != NOT_MODIFIED:
            lines.append(f"Content-Length: {len(body)}")
        self._first = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\nDate: ".encode()
        self._rest = "\r\n".join(["", *lines, "", ""]).encode() + body
        # The whole of it, and the second in which it was dated.
        self._bytes, self._second = b"", 0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if (now := int(time.time())) != self._second:
            self._bytes = self._first + formatdate(now, usegmt=True).encode() + self._rest
            self._second = now
        if (transport := request.transport) is None:
            raise ConnectionResetError
        transport.write(self._bytes)
        await request.writer.drain()  # a client that does not read gets no further answers
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass
