"""Stripe's SDK, at less cost.

For each request the SDK formats log lines before it asks the logger whether anybody wants them, builds all headers
anew, quotes every name and value (of a new intent some sixty, all but a few of them the same each time), comes by
its own retries, and reads the answer by the standard library, pair by pair. What is sent, what is read and what is
logged for those who want it (https://github.com/stripe/stripe-python#logging) stay the SDK's own.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import orjson
import stripe
import stripe._api_requestor
import stripe._stripe_response
import stripe._util

# The version whose shapes `pictures.py` reads.
STRIPE_VERSION: Final = "2026-10-28.endive"
REAL_STRIPE: Final = "https://api.stripe.com"
# More than there are names and values that repeat; ids, of which each comes once or twice, pass through.
TEXTS_MAX = 2048

_quoted = lru_cache(maxsize=TEXTS_MAX)(quote_plus)
_REQUESTS: Any = stripe._api_requestor
_RESPONSES: Any = stripe._stripe_response
_LOG: Any = stripe._util


@asynccontextmanager
async def open_client(key: str, base: str | None, *, concurrency: int) -> AsyncIterator[stripe.StripeClient]:
    """Stripe's client over a session of its own, with as many kept connections as calls may be under way. A request
    has no time of its own: who makes it bounds it."""
    stripe.enable_telemetry = False  # a header that costs more than the rest of the call, for Stripe's statistics
    spare()
    authorities = ssl.create_default_context(cafile=stripe.ca_bundle_path)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=60, ssl=authorities),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        client = stripe.StripeClient(
            key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": (base or REAL_STRIPE).rstrip("/")},
            # Retries are ours: they are paced, and know what may be asked again.
            max_network_retries=0,
            http_client=OneRequest(session),
        )
        keep_headers(client)
        yield client


class OneRequest(stripe.AIOHTTPClient):
    """Sends a request once, without what the SDK does for a second time."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(session=session)
        self._own_session = session

    async def request_with_retries_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: Any = None,
        max_network_retries: int | None = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[bytes, int, Any]:
        """Raises stripe.APIConnectionError."""
        if max_network_retries:
            return await super().request_with_retries_async(
                method, url, headers, post_data, max_network_retries, _usage=_usage
            )
        try:
            async with self._own_session.request(method, url, headers=headers, data=post_data) as response:
                return await response.read(), response.status, response.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure: Any = stripe.APIConnectionError
            raise failure(f"{type(error).__name__}: {error}") from error


def keep_headers(client: stripe.StripeClient) -> None:
    """Have the headers of `client` built once for each method: all its requests have one secret key and one
    version. Where the SDK is to make an idempotency key up, it builds them itself."""
    requestor: Any = client._requestor
    build, kept = requestor.request_headers, dict[str, dict[str, str]]()

    def request_headers(method: str, api_mode: str, options: Mapping[str, Any]) -> dict[str, str]:
        key = options.get("idempotency_key")
        if (method == "post") != bool(key):
            headers: dict[str, str] = build(method, api_mode, options)
            return headers
        if method not in kept:
            kept[method] = build(method, api_mode, options)
        return {**kept[method], "Idempotency-Key": key} if key else {**kept[method]}

    requestor.request_headers = request_headers


def spare() -> None:
    """Once or more often, for the whole process."""
    _REQUESTS.urlencode = form
    _RESPONSES.json = SimpleNamespace(loads=read)
    _REQUESTS.log_info = _only_if_read(_LOG.log_info, logging.INFO)
    _REQUESTS.log_debug = _only_if_read(_LOG.log_debug, logging.DEBUG)


def form(pairs: Iterable[tuple[str, Any]]) -> str:
    """What `urllib.parse.urlencode` makes of the same pairs."""
    return "&".join([f"{_quoted(name)}={_quoted(str(value))}" for name, value in pairs])


def read(body: str | bytes, object_pairs_hook: object = None) -> Any:
    """What `json.loads` makes of it. Objects are plain dicts, which keep their order, too. Raises ValueError."""
    return orjson.loads(body)


def _only_if_read(write: Callable[..., None], level: int) -> Callable[..., None]:
    def write_if_read(message: str, **params: Any) -> None:
        if _LOG.logger.isEnabledFor(level) or _LOG._console_log_level() is not None:
            write(message, **params)

    return write_if_read
