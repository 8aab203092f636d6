"""Stripe's SDK sends and reads the same, at less cost."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
import stripe

from payment.sdk_bodies import form, write_and_read_quickly

PAIRS = [
    ("amount", 2500),
    ("currency", "eur"),
    ("metadata[booking_id]", "01a225ab-ae83-7016-a094-ef21a34308d7"),
    ("allowed_payment_method_types[0]", "card"),
    ("description", "Zwölf Stühle & 1 Tisch = 12+1 ~/%"),
    ("empty", ""),
]


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:1], []])
def test_form_is_that_of_the_standard_library(pairs: list[tuple[str, object]]) -> None:
    """The second time, too, when the texts are remembered."""
    assert [form(pairs), form(pairs)] == [urlencode(pairs)] * 2


BODIES = [
    '{"id": "pi_1", "amount": 2500, "livemode": false, "error": null, "metadata": {"name": "Zo\\u00eb"}}',
    '{"data": [{"id": "evt_1", "created": 1.5}], "has_more": true}',
    "[]",
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> stripe.StripeClient:
    """As the SDK is by itself."""
    monkeypatch.setattr("stripe._api_requestor.urlencode", urlencode)
    monkeypatch.setattr("stripe._stripe_response.json", json)
    return stripe.StripeClient("sk_test_123", http_client=stripe.AIOHTTPClient())


def test_sdk_sends_the_same_forms(client: stripe.StripeClient) -> None:
    def sent() -> object:
        params = {"amount": 2500, "metadata": {"name": "Zoë"}, "allowed_payment_method_types": ["card", "link"]}
        return client._requestor._args_for_request_with_retries(
            "post", "/v1/payment_intents", params, {}, base_address="api", api_mode="V1"
        )[3]

    before = sent()
    write_and_read_quickly()
    assert sent() == before


@pytest.mark.parametrize("body", BODIES)
def test_sdk_reads_the_same_answers(client: stripe.StripeClient, body: str) -> None:
    before = client._requestor._interpret_response(body.encode(), 200, {}, "V1").data
    write_and_read_quickly()
    assert client._requestor._interpret_response(body.encode(), 200, {}, "V1").data == before


@pytest.mark.parametrize("body", ["", "<html>", '{"id": '])
def test_what_is_no_json_is_the_sdks_own_error(client: stripe.StripeClient, body: str) -> None:
    """A proxy's page, or an answer that was cut off: with the quick reader, too."""
    for _ in range(2):
        with pytest.raises(stripe.APIError, match="Invalid response body"):
            client._requestor._interpret_response(body.encode(), 200, {}, "V1")
        write_and_read_quickly()
