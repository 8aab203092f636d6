"""Stripe's SDK sends the same forms, at less cost."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
import stripe

from payment.sdk_forms import form, quote_each_text_once

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


def test_sdk_sends_such_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stripe._api_requestor.urlencode", urlencode)
    client = stripe.StripeClient("sk_test_123", http_client=stripe.AIOHTTPClient())

    def sent() -> object:
        params = {"amount": 2500, "metadata": {"name": "Zoë"}, "allowed_payment_method_types": ["card", "link"]}
        return client._requestor._args_for_request_with_retries(
            "post", "/v1/payment_intents", params, {}, base_address="api", api_mode="V1"
        )[3]

    before = sent()
    quote_each_text_once()
    assert sent() == before
