"""Stripe's SDK at less cost: requests are built from the SDK's own parts, and each is sent once. Their contents,
and what an error means, are the SDK's. The reasons are in `docs/decisions/`, 0047."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp
import orjson
import stripe
import stripe._encode

# The version of Stripe's API whose objects `stripe_objects.py` reads.
STRIPE_VERSION: Final = "2026-10-28.endive"
REAL_STRIPE: Final = "https://api.stripe.com"
# Encoded parameters that are cached: more than those that repeat. Ids, each used once or twice, do not stay long.
PARAMETERS_MAX = 2048


@asynccontextmanager
async def open_client(key: str, base: str | None, *, concurrency: int) -> AsyncIterator[Client]:
    """Stripe's client with its own session, which keeps up to `concurrency` connections open. A request has no
    timeout of its own: the caller sets one."""
    stripe.enable_telemetry = False  # a header that costs more than the rest of the call, for Stripe's statistics
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=60, ssl=_authorities()),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Client(key, (base or REAL_STRIPE).rstrip("/"), session)


@cache
def _authorities() -> ssl.SSLContext:
    """Those that the SDK trusts. Reading them takes longer than all else that a client needs."""
    return ssl.create_default_context(cafile=stripe.ca_bundle_path)


class Response(NamedTuple):
    """A successful answer, with the same fields as the SDK's."""

    data: Any
    code: int
    headers: Mapping[str, str]


class Client(stripe.StripeClient):
    """Stripe's client, whose raw requests do only the necessary work."""

    def __init__(self, key: str, base: str, session: aiohttp.ClientSession) -> None:
        # Retries are ours: they keep to the rate limit, and repeat only what is safe to repeat.
        super().__init__(
            key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": base},
            max_network_retries=0,
            http_client=stripe.AIOHTTPClient(session=session),
        )
        self._base, self._session = base, session
        requestor: Any = self._requestor
        self._interpret = requestor._interpret_response
        # All requests have the same secret key and version.
        self._headers: dict[str, dict[str, str]] = {}
        for method in ("get", "post"):
            self._headers[method] = requestor.request_headers(method, "V1", requestor._options.to_dict())
            self._headers[method].pop("Idempotency-Key", None)  # the SDK has generated one

    async def raw_request_async(self, method_: str, url_: str, **params: Any) -> Any:
        """Returns a Response; raises stripe.StripeError. `params` are the request's, and its `idempotency_key`."""
        headers = self._headers[method_]
        if (key := params.pop("idempotency_key", None)) is not None:
            headers = {**headers, "Idempotency-Key": key}
        url, sent = f"{self._base}{url_}", form(params)
        if method_ == "get" and sent:
            url = f"{url}?{sent}"
        data = sent.encode() if method_ == "post" else None
        try:
            async with self._session.request(method_, url, headers=headers, data=data) as response:
                body, code = await response.read(), response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure: Any = stripe.APIConnectionError
            raise failure(f"{type(error).__name__}: {error}") from error
        if 200 <= code < 300:
            with suppress(ValueError):
                return Response(orjson.loads(body), code, response.headers)
        return self._interpret(body, code, response.headers, "V1")  # raises the error


def form(params: Mapping[str, Any]) -> str:
    """The parameters (texts, numbers, tuples, dictionaries of these) encoded as the SDK encodes them."""
    parts: list[str] = []
    for name, value in params.items():
        if isinstance(value, dict):
            parts += [_parameter(f"{name}[{key}]", each) for key, each in value.items()]
        else:
            parts.append(_parameter(name, value))
    return "&".join(filter(None, parts))


@lru_cache(maxsize=PARAMETERS_MAX, typed=True)
def _parameter(name: str, value: Any) -> str:
    pairs: Any = stripe._encode._api_encode
    return urlencode([*pairs({name: value})]).replace("%5B", "[").replace("%5D", "]")
