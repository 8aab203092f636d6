"""Our requests to Stripe, its answers and its errors are the same as with the SDK's own client."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from aiohttp import ClientSession

from payment.methods import INSTANT
from payment.sdk import STRIPE_VERSION, Client, form
from tests.payment.wire import Fault, Wire

BASE = "https://stripe.example"
PARAMS: list[dict[str, Any]] = [
    {"amount": 2500, "metadata": {"name": "Zwölf Stühle & 1 Tisch = 12+1 ~/%[]", "none": None}, "none": None},
    {"allowed_payment_method_types": INSTANT, "automatic_payment_methods": {"enabled": True}},
    {"limit": 1, "expand": ("latest_charge",), "created": {"gte": 1, "lte": 2}, "empty": ""},
    {"limit": True},
    {},
]


@pytest.fixture
def requestor() -> Any:
    """The requestor of the SDK's own client."""
    client = stripe.StripeClient("sk_test_123", stripe_version=STRIPE_VERSION, http_client=stripe.AIOHTTPClient())
    return client._requestor


def of_sdk(requestor: Any, method: str, params: dict[str, Any], **options: Any) -> tuple[str, dict[str, str], Any]:
    """The URL, headers and body that the SDK would send."""
    _, url, headers, body, *_ = requestor._args_for_request_with_retries(
        method, "/v1/objects", params, options, base_address="api", api_mode="V1"
    )
    return url, headers, body


@pytest.mark.parametrize("params", PARAMS)
def test_forms_equal_the_sdks(requestor: Any, params: dict[str, Any]) -> None:
    """Also the second time, when the parameters come from the cache."""
    sent = of_sdk(requestor, "post", params)[2]
    assert [form(params), form(params)] == [sent, sent]


class Sent:
    """A session that keeps the request, and then fails as if Stripe could not be reached."""

    async def __aenter__(self) -> None:
        raise OSError("unreachable")

    async def __aexit__(self, *_: object) -> None:
        """Never entered."""

    def request(self, *call: str, **more: Any) -> Sent:
        self.call, self.headers, self.data = call, more["headers"], more["data"]
        return self


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("params", [PARAMS[2], {}])
@pytest.mark.parametrize("key", [None, "key_1"])
async def test_requests_equal_the_sdks(
    requestor: Any, method: str, params: dict[str, Any], key: str | None
) -> None:
    """Except for the idempotency key that the SDK adds to each POST without one."""
    session: Any = Sent()
    client = Client("sk_test_123", stripe.DEFAULT_API_BASE, session)
    options = {} if key is None else {"idempotency_key": key}
    url, headers, body = of_sdk(requestor, method, params, **options)
    if key is None:
        headers.pop("Idempotency-Key", None)
    for _ in range(2):
        with pytest.raises(stripe.APIConnectionError, match="OSError: unreachable"):
            await client.raw_request_async(method, "/v1/objects", **params, **options)
        assert session.call == (method, url)
        assert session.headers == headers
        assert (session.data or b"").decode() == (body or "")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, stripe.InvalidRequestError), (401, stripe.AuthenticationError), (500, stripe.APIError)],
)
async def test_errors_equal_the_sdks(
    wire: Wire, wire_url: str, status: int, kind: type[stripe.StripeError]
) -> None:
    error = {"type": "invalid_request_error", "code": "made_up"}
    wire.faults.append(Fault("/v1/events", "GET", passed_on=False, status=status, body=error))
    async with ClientSession() as session:
        client = Client("sk_test_123", wire_url, session)
        with pytest.raises(kind) as raised:
            await client.raw_request_async("get", "/v1/events")
    assert raised.value.http_status == status


class Page:
    """An answer that is not JSON: a proxy's page, or an answer that was cut off."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.headers: dict[str, str] = {}

    async def read(self) -> bytes:
        return self._body

    async def __aenter__(self) -> Page:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to end."""

    def request(self, *_: str, **__: Any) -> Page:
        return self


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": '])
async def test_a_body_that_is_no_json_raises_the_sdks_error(body: bytes) -> None:
    session: Any = Page(body)
    with pytest.raises(stripe.APIError, match="Invalid response body"):
        await Client("sk_test_123", BASE, session).raw_request_async("get", "/v1/events")
