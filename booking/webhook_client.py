"""How a webhook is sent: one POST to an address that is allowed, without redirects, within time and size."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from booking.webhook_addresses import is_public, read_address
from booking.webhooks import WITH_RETRY_AFTER, Attempt, Outcome, Policy

# Of an answer this much is read, so that its connection can be used again; of a longer one it is closed.
RESPONSE_MAX_BYTES = 64 * 1024
# And this much of it is shown to operators.
RESPONSE_SHOWN = 500
ERROR_SHOWN = 300
USER_AGENT = "Holdfast (+https://www.standardwebhooks.com)"
# Connections are used again within this time.
KEEP_ALIVE_SECONDS = 30.0


class AddressForbidden(OSError):
    """Nothing may be sent to an endpoint's address."""


def url_problem(url: str, policy: Policy) -> str | None:
    """Why nothing may be sent to `url`; None when it may, as far as that is known before its name is resolved."""
    parts = URL(url)
    if parts.scheme != "https" and not policy.http:
        return "must begin with https://"
    address = read_address(parts.host or "")
    if address is not None and not is_public(address) and not policy.private:
        return "must not lead to a private address"
    return None


class WebhookClient:
    """Sends over connections of its own; `open_client` makes one."""

    def __init__(self, session: aiohttp.ClientSession, policy: Policy) -> None:
        self._session = session
        self._policy = policy

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Attempt:
        """Raises nothing but a cancellation: whatever a receiver does is an attempt that has failed."""
        try:
            if problem := url_problem(url, self._policy):
                return Attempt(Outcome.FORBIDDEN, error=problem)
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return await _attempt(response)
        except TimeoutError:
            return Attempt(Outcome.TIMEOUT, error="no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            forbidden = isinstance(getattr(error, "os_error", error), AddressForbidden)
            return Attempt(Outcome.FORBIDDEN if forbidden else Outcome.UNREACHABLE, error=_shown(_text(error)))


async def _attempt(response: aiohttp.ClientResponse) -> Attempt:
    """What the answer says by its status; whatever is wrong with its body."""
    read = bytearray()
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        while len(read) < RESPONSE_MAX_BYTES and (part := await response.content.read(RESPONSE_MAX_BYTES)):
            read += part
    status = response.status
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED, status)
    text = _shown(read[: 4 * RESPONSE_SHOWN].decode(errors="replace"), RESPONSE_SHOWN)
    wanted = response.headers.get(hdrs.RETRY_AFTER, "") if status in WITH_RETRY_AFTER else ""
    retry_after = timedelta(seconds=int(wanted[:9])) if wanted.isascii() and wanted.isdigit() else None
    return Attempt(Outcome.REFUSED, status, text or None, f"answered {status}", retry_after)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _shown(text: str, most: int = ERROR_SHOWN) -> str:
    """One line of it that Postgres can keep."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:most]


class _Resolver(AbstractResolver):
    """Names are resolved in threads of their own: those that nobody answers must not hold up what else waits."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "webhook names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host, host=str(to[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for kind, _, proto, _, to in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def open_client(policy: Policy, *, endpoints: int, timeout_s: float) -> AsyncIterator[WebhookClient]:
    """A client for up to `endpoints` endpoints, a request to which may take `timeout_s` seconds."""

    def checked(info: Any) -> socket.socket:
        """The socket that connects to this very address. Raises AddressForbidden."""
        family, type_, proto, _, to = info
        address = read_address(to[0])
        if not policy.private and (address is None or not is_public(address)):
            raise AddressForbidden(errno.EACCES, "the address is private")
        return socket.socket(family, type_, proto)

    connector = aiohttp.TCPConnector(
        resolver=_Resolver(endpoints),
        socket_factory=checked,
        limit=0,  # the sender's: by endpoint, so that none waits for another
        keepalive_timeout=KEEP_ALIVE_SECONDS,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={hdrs.USER_AGENT: USER_AGENT, hdrs.CONTENT_TYPE: "application/json"},
    ) as session:
        yield WebhookClient(session, policy)
