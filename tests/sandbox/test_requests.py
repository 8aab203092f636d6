"""Keys, parameters, headers, limits: what every request needs, and how it is answered without."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe
from aiohttp import ClientSession

from sandbox.objects import API_VERSION
from tests.sandbox.receiver import Receiver
from tests.sandbox.stand import NEXT_YEAR, PUBLISHABLE_KEY, RETURN_URL, Stand, basic, client, standing

INTENTS = "/v1/payment_intents"


def test_the_modelled_version_is_the_sdks() -> None:
    """The shapes belong to the SDK's version."""
    assert stripe.api_version == API_VERSION


async def test_every_answer_names_its_request(stand: Stand) -> None:
    """Errors, too."""
    for answer in (await stand.call("GET", INTENTS), await stand.call("GET", f"{INTENTS}/pi_1")):
        assert answer.headers["Request-Id"].startswith("req_")
        assert answer.headers["Stripe-Version"] == API_VERSION
        assert answer.headers["Content-Type"] == "application/json"
        assert "Date" in answer.headers


async def test_an_error_is_stripes_error_object(stand: Stand) -> None:
    """As documented by Stripe."""
    answer = await stand.refused("GET", f"{INTENTS}/pi_1")
    request_id = answer.headers["Request-Id"]
    url = answer.error.pop("request_log_url")
    assert url.startswith(f"https://dashboard.stripe.com/test/logs/{request_id}")
    assert (answer.status, answer.error) == (
        404,
        {
            "code": "resource_missing",
            "doc_url": "https://stripe.com/docs/error-codes/resource-missing",
            "message": "No such payment_intent: 'pi_1'",
            "param": "intent",
            "type": "invalid_request_error",
        },
    )


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ("sk_test_ours", True),
        ("sk_test_theirs", False),
        ("sk_live_ours", False),
        ("pk_test_theirs", False),
        ("nonsense", False),
        ("", False),
    ],
)
async def test_only_the_configured_api_key_is_accepted(
    session: ClientSession, receiver: Receiver, key: str, accepted: bool
) -> None:
    """The error shows only a part of another key."""
    async with standing(
        session, receiver, sandbox_secret_key="sk_test_ours", sandbox_publishable_key="pk_test_ours"
    ) as stand:
        answer = await stand.call("GET", INTENTS, key=key)
        assert answer.status == (200 if accepted else 401)
        if not accepted:
            assert "theirs" not in answer.error["message"]
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="Stripe"'


async def test_the_sdk_raises_its_error_for_a_wrong_key(stand: Stand, session: ClientSession) -> None:
    """Live keys are refused here."""
    with pytest.raises(stripe.AuthenticationError, match=r"sk_live_\*+mine"):
        await client(stand.url, session, "sk_live_not_mine").v1.payment_intents.list_async()


async def test_an_api_key_may_be_the_basic_auth_user(stand: Stand) -> None:
    """This is how curl sends it; a request without a key is refused."""
    assert (await stand.send("GET", INTENTS, headers=basic("sk_test_x"))).status == 200
    assert (await stand.send("GET", INTENTS)).status == 401
    assert (await stand.send("GET", INTENTS, headers={"Authorization": "Basic %%%"})).status == 401


@pytest.mark.parametrize(
    ("method", "path"), [("POST", INTENTS), ("GET", INTENTS), ("POST", "/v1/refunds"), ("GET", "/v1/events")]
)
async def test_a_publishable_key_cannot_call_server_operations(stand: Stand, method: str, path: str) -> None:
    """It is refused with 403."""
    refused = await stand.call(method, path, {}, key=PUBLISHABLE_KEY)
    assert (refused.status, refused.error["code"]) == (403, "secret_key_required")


@pytest.mark.parametrize("in_form", [True, False])
async def test_a_browser_confirms_with_the_client_secret(stand: Stand, in_form: bool) -> None:
    """Like Stripe.js, with the key as a parameter or as a header; the answer has only what a browser may see."""
    made = await stand.intent(metadata={"booking_id": "b-1"})
    assert made.client_secret is not None
    form = {
        "client_secret": made.client_secret,
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": "4242424242424242",
        "payment_method_data[card][cvc]": "123",
        "payment_method_data[card][exp_month]": "12",
        "payment_method_data[card][exp_year]": NEXT_YEAR,
        "payment_method_data[guid]": "NA",
        "payment_method_data[pasted_fields]": "number",
        "expected_payment_method_type": "card",
        "use_stripe_sdk": "true",
    }
    key = None if in_form else PUBLISHABLE_KEY
    if in_form:
        form["key"] = PUBLISHABLE_KEY
    paid = await stand.call("POST", f"{INTENTS}/{made.id}/confirm", form, key=key)

    assert (paid.status, paid.body["status"]) == (200, "succeeded")
    assert "metadata" not in paid.body
    assert "latest_charge" not in paid.body
    assert paid.headers["Access-Control-Allow-Origin"] == "*"
    query = {"client_secret": made.client_secret}
    seen = await stand.call("GET", f"{INTENTS}/{made.id}", query, key=PUBLISHABLE_KEY)
    assert seen.body == paid.body


@pytest.mark.parametrize("card", ["pm_card_visa_chargeDeclined", "pm_card_visa"])
async def test_an_error_shows_a_browser_only_the_public_fields(stand: Stand, card: str) -> None:
    """For a declined intent, and for a paid one."""
    made = await stand.intent(metadata={"booking_id": "b-1"})
    assert made.client_secret is not None
    form = {"client_secret": made.client_secret, "payment_method": card, "return_url": RETURN_URL}
    if card == "pm_card_visa":
        await stand.confirm(made.id)
    refused = await stand.call("POST", f"{INTENTS}/{made.id}/confirm", form, key=PUBLISHABLE_KEY)
    assert refused.status in (400, 402)
    assert refused.error["payment_intent"]["id"] == made.id
    assert "metadata" not in refused.error["payment_intent"]


@pytest.mark.parametrize("secret", [None, "pi_1_secret_2"])
async def test_a_browser_needs_the_right_client_secret(stand: Stand, secret: str | None) -> None:
    """Otherwise it neither sees nor pays the intent."""
    made = await stand.intent()
    form = {"client_secret": secret} if secret else {}
    path = f"{INTENTS}/{made.id}"
    pay = {**form, "payment_method": "pm_card_visa", "return_url": RETURN_URL}
    assert (await stand.call("GET", path, form, key=PUBLISHABLE_KEY)).status == 400
    assert (await stand.call("POST", f"{path}/confirm", pay, key=PUBLISHABLE_KEY)).status == 400
    assert (await stand.stripe.v1.payment_intents.retrieve_async(made.id)).status == "requires_payment_method"


async def test_cors_allows_every_origin(stand: Stand) -> None:
    """The preflight allows it."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = await stand.send("OPTIONS", f"{INTENTS}/pi_1/confirm", headers=asked)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"automatic_payment_methods[colour]": "red"}, "parameter_unknown", "automatic_payment_methods[colour]"),
        ({"amount": None}, "parameter_missing", "amount"),
        ({"currency": None}, "parameter_missing", "currency"),
        ({"amount": "twenty"}, "parameter_invalid_integer", "amount"),
        ({"amount": "20.5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "-5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "49"}, "amount_too_small", "amount"),
        ({"amount": "100000000"}, "amount_too_large", "amount"),
        ({"amount": "1000000000000", "currency": "idr"}, "amount_too_large", "amount"),
        ({"amount": "10000000000", "currency": "cop"}, "amount_too_large", "amount"),
        ({"amount": "1000000000", "currency": "inr"}, "amount_too_large", "amount"),
        ({"amount": "17499", "currency": "huf"}, "amount_too_small", "amount"),
        ({"amount": "187", "currency": "sar"}, "amount_too_small", "amount"),
        ({"amount": "5124", "currency": "kwd"}, None, "amount"),
        ({"amount": "550", "currency": "isk"}, None, "amount"),
        ({"amount": "101", "currency": "ugx"}, None, "amount"),
        ({"amount": ""}, "parameter_invalid_empty", "amount"),
        ({"currency": "xxx"}, None, "currency"),
        ({"confirm": "maybe"}, None, "confirm"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"metadata[k]": "v" * 501}, None, "metadata[k]"),
        ({"metadata": "text"}, None, "metadata"),
        ({"description[a]": "b"}, None, "description"),
        ({"customer": "cus_1"}, "resource_missing", "customer"),
        ({"payment_method": "pm_unknown"}, "resource_missing", "payment_method"),
        ({"return_url": RETURN_URL}, None, "return_url"),
        (
            {"payment_method_types[0]": "card"},
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
        ({"allowed_payment_method_types[0]": "cheque"}, None, "allowed_payment_method_types[0]"),
        ({"excluded_payment_method_types[0]": "link"}, None, "excluded_payment_method_types[0]"),
        (
            {"allowed_payment_method_types[0]": "card", "automatic_payment_methods[enabled]": "true"},
            None,
            "allowed_payment_method_types",
        ),
        (
            {"allowed_payment_method_types[0]": "card", "excluded_payment_method_types[0]": "oxxo"},
            None,
            "allowed_payment_method_types",
        ),
        ({"allowed_payment_method_types[0]": "ideal"}, None, "allowed_payment_method_types"),
    ],
)
async def test_wrong_parameters_are_refused(
    stand: Stand, change: dict[str, str | None], code: str | None, param: str
) -> None:
    """The error names the parameter, and nothing is made."""
    form = {"amount": "2000", "currency": "usd"} | change
    sent = {name: value for name, value in form.items() if value is not None}
    refused = await stand.refused("POST", INTENTS, sent)
    error = refused.error
    assert (refused.status, error["type"], error.get("code")) == (400, "invalid_request_error", code)
    assert error["param"] == param
    assert (await stand.stripe.v1.payment_intents.list_async()).data == []


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", INTENTS, "transfer_data[destination]"),
        ("POST", INTENTS, "on_behalf_of"),
        ("POST", "/v1/refunds", "reverse_transfer"),
        ("GET", "/v1/charges", "customer"),
    ],
)
async def test_a_parameter_that_is_not_modelled_is_refused(stand: Stand, method: str, path: str, name: str) -> None:
    """Stripe knows these parameters, so a test must not rely on them here."""
    form = {"amount": "2000", "currency": "usd"} if path == INTENTS else {}
    refused = await stand.refused(method, path, {**form, name: "x"})
    assert refused.status == 400
    assert "does not model" in refused.error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/customers"),
        ("DELETE", f"{INTENTS}/pi_1"),
        ("GET", f"{INTENTS}/search"),
        ("POST", "/v1/charges"),
    ],
)
async def test_calls_that_are_not_modelled_are_refused(stand: Stand, method: str, path: str) -> None:
    """404, and the error names the call."""
    refused = await stand.refused(method, path)
    assert refused.status == 404
    assert f"{method}: {path}" in refused.error["message"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"amount": 2000}}, 400),
        ({"data": b"\xff\xfe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"data": {"a[b": "1"}}, 400),
        ({"data": {"metadata": "x", "metadata[a]": "1"}}, 400),
        ({"data": {f"metadata[{number}]": "1" for number in range(1001)}}, 400),
        ({"data": {"description": "x" * (1024**2 + 1)}}, 413),
    ],
)
async def test_a_body_that_is_not_a_form_is_refused(stand: Stand, options: dict[str, Any], status: int) -> None:
    """It must be of a reasonable size."""
    options = dict(options)
    headers = {**basic("sk_test_x"), **options.pop("headers", {})}
    answer = await stand.send("POST", INTENTS, headers=headers, **options)
    assert (answer.status, answer.error["type"]) == (status, "invalid_request_error")


async def test_another_version_or_account_is_refused(stand: Stand) -> None:
    """The sandbox is one account with one API version."""
    old = await stand.call("GET", INTENTS, Stripe_Version="2020-08-27")
    other = await stand.call("GET", INTENTS, Stripe_Account="acct_1")
    assert (old.status, API_VERSION in old.error["message"]) == (400, True)
    assert (other.status, other.error["code"]) == (403, "account_invalid")


async def test_requests_over_the_rate_limit_are_refused(session: ClientSession, receiver: Receiver) -> None:
    """429 with `rate_limit`, which the SDK recognises, before anything is done."""
    async with standing(session, receiver, sandbox_rate_limit=2) as stand:
        results = await asyncio.gather(*(stand.intent() for _ in range(20)), return_exceptions=True)
        limited = [result for result in results if isinstance(result, stripe.RateLimitError)]
        made = [result for result in results if isinstance(result, stripe.PaymentIntent)]

        assert len(limited) + len(made) == 20
        assert len(made) >= 2
        assert {error.error.code for error in limited if error.error is not None} == {"rate_limit"}
        assert limited[0].headers is not None
        assert limited[0].headers["Stripe-Rate-Limited-Reason"] == "global-rate"
        shown = await stand.control("GET", "/ledger")
        assert len(shown["payment_intents"]) == len(made)


async def test_the_account_describes_itself(stand: Stand) -> None:
    """Holdfast uses this call to check its key."""
    account = await stand.stripe.v1.accounts.retrieve_current_async()
    assert (account.object, account.charges_enabled) == ("account", True)
