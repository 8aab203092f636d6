"""Stripe's SDK, at less cost: a request is put together from the SDK's own parts and sent once. What is sent, and
what an error means, stays the SDK's own. The reasons are in `docs/decisions/`, 0047."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp
import orjson
import stripe
import stripe._encode

# The version whose shapes `pictures.py` reads.
STRIPE_VERSION: Final = "2026-10-28.endive"
REAL_STRIPE: Final = "https://api.stripe.com"
# More than there are parameters that repeat; ids, of which each comes once or twice, pass through.
PARAMETERS_MAX = 2048


@asynccontextmanager
async def open_client(key: str, base: str | None, *, concurrency: int) -> AsyncIterator[Client]:
    """Stripe's client over a session of its own, with as many kept connections as calls may be under way. A request
    has no time of its own: who makes it bounds it."""
    stripe.enable_telemetry = False  # a header that costs more than the rest of the call, for Stripe's statistics
    authorities = ssl.create_default_context(cafile=stripe.ca_bundle_path)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=60, ssl=authorities),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Client(key, (base or REAL_STRIPE).rstrip("/"), session)


class Response(NamedTuple):
    """An answer that is no error; as the SDK's own."""

    data: Any
    code: int
    headers: Mapping[str, str]


class Client(stripe.StripeClient):
    """Stripe's client, whose raw requests are made of what they need alone."""

    def __init__(self, key: str, base: str, session: aiohttp.ClientSession) -> None:
        # Retries are ours: they are paced, and know what may be asked again.
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
        # All requests have one secret key and one version.
        self._headers: dict[str, dict[str, str]] = {}
        for method in ("get", "post"):
            self._headers[method] = requestor.request_headers(method, "V1", requestor._options.to_dict())
            self._headers[method].pop("Idempotency-Key", None)  # one that the SDK has made up

    async def raw_request_async(self, method_: str, url_: str, **params: Any) -> Any:
        """A Response. Raises stripe.StripeError. `params` are those of the request, and its `idempotency_key`."""
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
        return self._interpret(body, code, response.headers, "V1")  # raises what the error is


def form(params: Mapping[str, Any]) -> str:
    """What the SDK makes of the same parameters: texts, numbers, tuples, and dictionaries of these."""
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
