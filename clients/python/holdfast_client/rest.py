"""Requests: one attempt, or several."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp

from holdfast_client.errors import HoldfastError
from holdfast_client.platform import Platform, parsed
from holdfast_client.types import Page

T = TypeVar("T")

# How often a request is sent before its error is raised. With the pauses between them that takes about 30 seconds.
ATTEMPTS = 8
# A longer Retry-After is left to the caller.
RETRY_AFTER_MAX_S = 60.0
# How soon an answer, and each further piece of it, has to come: the gateway waits up to 30 seconds for a booking,
# where it is asked to, and a table is sent while it is read.
ANSWER_S = 45.0

_NO_CONTENT = 204
# aiohttp's own limit is on the whole of an answer.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_RETRYABLE_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Request:
    """`operation`: method and path, as "GET /events/{id}". `path`: the values of the names in braces. `body`: sent
    as JSON, bytes as they are. `wait_s`: how long the gateway waits until a booking can be paid. `if_match`: the
    version that the request is meant for, or an ETag. `raw`: the answer is bytes. `anyone`: no token is sent."""

    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | bytes | None = None
    content_type: str = "application/json"
    key: str | None = None
    wait_s: float | None = None
    if_match: int | str | None = None
    raw: bool = False
    anyone: bool = False

    def url(self, base: str) -> str:
        template = self.operation.partition(" ")[2]
        return base + re.sub(r"\{(\w+)\}", lambda name: quote(self.path[name[1]], safe=""), template)

    def parameters(self) -> dict[str, str]:
        return {name: _as_text(value) for name, value in (self.query or {}).items() if value is not None}

    def content(self) -> bytes | None:
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, default=_as_text).encode()

    def headers(self, token: str | None) -> dict[str, str]:
        match = f'"{self.if_match}"' if isinstance(self.if_match, int) else self.if_match
        prefer = (
            None if self.wait_s is None else f"wait={round(self.wait_s)}" if self.wait_s > 0 else "respond-async"
        )
        found = {
            "Authorization": token and f"Bearer {token}",
            "Content-Type": None if self.body is None else self.content_type,
            "Idempotency-Key": self.key,
            "Prefer": prefer,
            "If-Match": match,
        }
        return {name: value for name, value in found.items() if value is not None}


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Rest:
    """Sends requests to one gateway."""

    def __init__(self, url: str, session: aiohttp.ClientSession, platform: Platform) -> None:
        self._url = url
        self._session = session
        self._platform = platform

    async def repeat(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """What `attempt` returns. It is called again after errors that can pass. Raises HoldfastError."""
        failed = 0
        while True:
            try:
                return await attempt()
            except HoldfastError as error:
                retry_after_s = error.retry_after_s or 0.0
                if not error.retryable or failed + 1 >= ATTEMPTS or retry_after_s > RETRY_AFTER_MAX_S:
                    raise
                pause_s = self._platform.pause_s(failed, retry_after_s)
            await self._platform.sleep(pause_s)
            failed += 1

    async def once(self, request: Request, token: str | None) -> Any:
        """The answer's JSON. Raises HoldfastError."""
        try:
            async with asyncio.timeout(ANSWER_S) as limit:
                response, content = await self._answer(request, token, limit)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HoldfastError("unreachable", f"No answer came: {error!r}", retryable=True) from error
        if response.ok and request.raw:
            return content
        if response.status == _NO_CONTENT:
            return None
        answer = parsed(content) if response.content_type.endswith("json") else None
        if not response.ok or answer is None:
            raise self._error(response, answer)
        if isinstance(answer, dict) and answer.get("kind") == "queued":
            message = "It is not known yet whether there are seats"
            raise HoldfastError("queued", message, status=response.status, retryable=True)
        return answer

    async def _answer(
        self, request: Request, token: str | None, limit: asyncio.Timeout
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        method = request.operation.partition(" ")[0]
        url, content, headers = request.url(self._url), request.content(), request.headers(token)
        async with self._session.request(
            method, url, params=request.parameters(), data=content, headers=headers, timeout=_NO_TIMEOUT
        ) as response:
            pieces = []
            async for piece in response.content.iter_any():
                pieces.append(piece)
                limit.reschedule(asyncio.get_running_loop().time() + ANSWER_S)
            return response, b"".join(pieces)

    def _error(self, response: aiohttp.ClientResponse, answer: Any) -> HoldfastError:
        problem = answer if isinstance(answer, dict) and isinstance(answer.get("code"), str) else None
        return HoldfastError(
            problem["code"] if problem else f"http_{response.status}",
            problem.get("detail", "") if problem else f"The answer was {response.status}, and no JSON",
            status=response.status,
            problem=problem,  # type: ignore[arg-type]  # as the gateway sends it
            retry_after_s=self._retry_after_s(response.headers.get("Retry-After", "")),
            retryable=response.status in _RETRYABLE_STATUSES,
        )

    def _retry_after_s(self, sent: str) -> float | None:
        """Either form of RFC 9110, section 10.2.3."""
        if sent.isdecimal():
            return float(sent)
        try:
            return max(0.0, parsedate_to_datetime(sent).timestamp() - self._platform.now())
        except ValueError:
            return None


class Listing(Generic[T]):
    """A list: `await` gives its first page, `async for` all of its items."""

    def __init__(self, request: Request, send: Callable[[Request], Awaitable[Any]]) -> None:
        self._request = request
        self._send = send

    async def _read(self, cursor: str | None = None) -> Page[T]:
        query = self._request.query if cursor is None else {**(self._request.query or {}), "cursor": cursor}
        page: Page[T] = await self._send(replace(self._request, query=query))
        return page

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._read().__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            page = await self._read(cursor)
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if not cursor:
                return
