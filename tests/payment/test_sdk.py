"""Stripe's SDK sends, reads and logs the same, at less cost."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe
import stripe._util

from payment.sdk import form, keep_headers, spare
from tests.payment.stage import Stage

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
    spare()
    assert sent() == before


@pytest.mark.parametrize("body", BODIES)
def test_sdk_reads_the_same_answers(client: stripe.StripeClient, body: str) -> None:
    before = client._requestor._interpret_response(body.encode(), 200, {}, "V1").data
    spare()
    assert client._requestor._interpret_response(body.encode(), 200, {}, "V1").data == before


@pytest.mark.parametrize("body", ["", "<html>", '{"id": '])
def test_what_is_no_json_is_the_sdks_own_error(client: stripe.StripeClient, body: str) -> None:
    """A proxy's page, or an answer that was cut off: with the quick reader, too."""
    for _ in range(2):
        with pytest.raises(stripe.APIError, match="Invalid response body"):
            client._requestor._interpret_response(body.encode(), 200, {}, "V1")
        spare()


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("key", [None, "key_1"])
def test_sdk_sends_the_same_headers(client: stripe.StripeClient, method: str, key: str | None) -> None:
    """Each key once, also one that the SDK makes up."""
    requestor: Any = client._requestor

    def built(key: str | None) -> dict[str, str]:
        headers: dict[str, str] = requestor.request_headers(method, "V1", {"api_key": "sk_test_1", **named(key)})
        return headers

    def named(key: str | None) -> dict[str, str]:
        return {} if key is None else {"idempotency_key": key}

    before = built(key)
    keep_headers(client)
    again = [built(key), built("key_2"), built(key)]
    keys = [headers.pop("Idempotency-Key", None) for headers in (before, *again)]
    if method == "post" and key is None:
        assert len(set(keys)) == 4
    else:
        assert keys == [key, key, "key_2", key]
    assert again == [before] * 3


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines that the SDK formats."""
    lines: list[str] = []
    logfmt: Any = stripe._util.logfmt

    def note(props: dict[str, object]) -> str:
        line: str = logfmt(props)
        lines.append(line)
        return line

    monkeypatch.setattr(stripe._util, "logfmt", note)
    logger = logging.getLogger("stripe")
    level = logger.level
    logger.setLevel(logging.WARNING)
    yield lines
    logger.setLevel(level)


async def call(stage: Stage) -> None:
    await stage.stripe.list_page("/v1/events", None, deadline=float("inf"), limit=1)


async def test_a_line_that_nobody_reads_is_not_formatted(stage: Stage, formatted: list[str]) -> None:
    await call(stage)
    assert formatted == []


@pytest.mark.parametrize(("level", "body"), [(logging.INFO, False), (logging.DEBUG, True)])
async def test_who_sets_the_level_reads_the_lines(
    stage: Stage, formatted: list[str], caplog: pytest.LogCaptureFixture, level: int, body: bool
) -> None:
    with caplog.at_level(level, "stripe"):
        await call(stage)
    assert any("Request to Stripe api" in line for line in formatted)
    assert any("API response body" in line for line in formatted) is body
    assert len([record for record in caplog.records if record.name == "stripe"]) == len(formatted)


async def test_the_console_still_has_them(
    stage: Stage, formatted: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stripe, "log", "info")
    await call(stage)
    assert "Request to Stripe api" in capsys.readouterr().err
