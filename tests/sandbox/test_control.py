"""What the sandbox has besides Stripe's API: health, the summary of the ledger, receipts."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from tests.sandbox.receiver import Receiver
from tests.sandbox.stand import CONTROL, PUBLISHABLE_KEY, Stand, standing


async def test_health_is_ok_once_the_sandbox_serves(stand: Stand) -> None:
    """No key is needed."""
    answer = await stand.send("GET", "/_sandbox/health")
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_the_ledger_has_captured_and_refunded_amounts(stand: Stand) -> None:
    """Payment by payment, for the audit."""
    paid = await stand.paid(5000, metadata={"booking_id": "b-1"})
    for amount in (1000, 500):
        await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id, "amount": amount})
    failing = await stand.paid(3000, card="pm_card_refundFail")
    refund = await stand.stripe.v1.refunds.create_async({"payment_intent": failing.id})
    await stand.receiver.until(1, "refund.failed", of=refund.id)
    unpaid = await stand.intent(700, "eur")
    shown = await stand.control("GET", "/ledger")

    rows = {row["id"]: row for row in shown["payment_intents"]}
    assert list(rows) == [paid.id, failing.id, unpaid.id]
    assert rows[paid.id] == {
        "id": paid.id,
        "status": "succeeded",
        "amount": 5000,
        "currency": "usd",
        "amount_received": 5000,
        "amount_captured": 5000,
        "amount_refunded": 1500,
        "charges": 1,
        "refunds": {"succeeded": 2},
        "disputed": False,
        "metadata": {"booking_id": "b-1"},
    }
    assert (rows[failing.id]["amount_refunded"], rows[failing.id]["refunds"]) == (0, {"failed": 1})
    assert (rows[unpaid.id]["amount_received"], rows[unpaid.id]["charges"]) == (0, 0)
    assert shown["totals"] == {
        "usd": {"payment_intents": 2, "amount_received": 8000, "amount_refunded": 1500},
        "eur": {"payment_intents": 1, "amount_received": 0, "amount_refunded": 0},
    }


async def test_a_receipt_shows_the_payment(stand: Stand) -> None:
    """At the address in the charge."""
    paid = await stand.paid(5000)
    await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id, "amount": 1000})
    charge = await stand.stripe.v1.charges.retrieve_async(str(paid.latest_charge))
    assert charge.receipt_url is not None
    page = await stand.send("GET", charge.receipt_url.removeprefix(stand.url))
    assert page.status == 200
    assert "$50.00 USD" in page.body
    assert "$10.00 USD" in page.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/payment_intents/pi_1/succeed"),
        ("POST", "/payment_intents/pi_1/dispute"),
        ("POST", "/refunds/re_1/fail"),
        ("POST", "/disputes/dp_1/won"),
        ("GET", "/receipts/ch_1"),
    ],
)
async def test_unknown_objects_and_paths_are_not_found(stand: Stand, method: str, path: str) -> None:
    """404, as in the API."""
    answer = await stand.try_control(method, path)
    assert (answer.status, answer.error["code"]) == (404, "resource_missing")


OTHER_SITE = {"Sec-Fetch-Site": "cross-site"}
FROM_ELSEWHERE = {"Origin": "https://attacker.example"}


@pytest.mark.parametrize("sent", [None, "Bearer wrong", "Bearer ", "Basic Y29udHJvbC1rZXktb2YtdGhlLXRlc3RzOg=="])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/faults"), ("GET", "/faults"), ("GET", "/ledger"), ("POST", "/webhooks/pause")]
)
async def test_the_control_needs_its_key(stand: Stand, sent: str | None, method: str, path: str) -> None:
    headers = {} if sent is None else {"Authorization": sent}
    answer = await stand.send(method, f"/_sandbox{path}", headers=headers, json={"latency_ms": 1})
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="sandbox"')
    assert (await stand.control("GET", "/faults"))["switches"]["latency_ms"] == 0
    assert not (await stand.control("GET", "/webhooks"))["paused"]


async def test_stripes_secret_key_is_no_key_of_the_control(stand: Stand) -> None:
    assert (await stand.call("GET", "/_sandbox/ledger")).status == 401


async def test_without_a_key_there_is_no_control(session: ClientSession, receiver: Receiver) -> None:
    async with standing(session, receiver, sandbox_control_key="") as stand:
        for headers in ({}, {"Authorization": "Bearer "}, CONTROL):
            assert (await stand.send("GET", "/_sandbox/ledger", headers=headers)).status == 403
        assert (await stand.send("GET", "/_sandbox/health")).status == 200
        assert (await stand.intent()).status == "requires_payment_method"


@pytest.mark.parametrize(
    "browser", [OTHER_SITE, {"Sec-Fetch-Site": "same-site"}, FROM_ELSEWHERE, {"Origin": "null"}]
)
async def test_pages_of_other_sites_cannot_use_the_control(stand: Stand, browser: dict[str, str]) -> None:
    """Not even with the key, and no preflight allows it."""
    answer = await stand.send("POST", "/_sandbox/webhooks/pause", headers={**CONTROL, **browser})
    assert answer.status == 403
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = await stand.send("OPTIONS", "/_sandbox/webhooks/pause", headers={**asked, **browser})
    assert preflight.status >= 400
    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert not (await stand.control("GET", "/webhooks"))["paused"]


@pytest.mark.parametrize("browser", [OTHER_SITE, FROM_ELSEWHERE])
async def test_no_other_site_answers_a_customers_challenge(stand: Stand, browser: dict[str, str]) -> None:
    intent = await stand.confirm((await stand.intent()).id, "pm_card_threeDSecure2Required")
    path = f"/_sandbox/challenges/{intent.id}?client_secret={intent.client_secret}"
    refused = await stand.send("POST", path, data={"outcome": "passed"}, headers=browser)
    assert refused.status == 403
    own = {"Sec-Fetch-Site": "same-origin", "Origin": stand.url}
    passed = await stand.send("POST", path, data={"outcome": "passed"}, headers=own)
    assert (passed.status, passed.body["status"]) == (200, "succeeded")


async def test_stripe_js_opens_the_challenge_in_a_frame_which_says_when_it_is_over(stand: Stand) -> None:
    script = await stand.send("GET", "/stripe.js")
    assert (script.status, script.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    browser = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    # The card is declined once the customer has passed: the page is over all the same.
    for method in ("pm_card_threeDSecure2Required", "pm_card_threeDSecureRequiredChargeDeclined"):
        intent = await stand.confirm((await stand.intent()).id, method)
        path = f"/_sandbox/challenges/{intent.id}?client_secret={intent.client_secret}&embedded=1"
        async with stand.session.post(stand.url + path, data={"outcome": "passed"}, headers=browser) as page:
            assert page.status == 200
            assert 'parent.postMessage("challenge over", "*")' in await page.text()


async def test_the_api_stays_open_to_the_shops_pages(stand: Stand) -> None:
    """By CORS, as Stripe's: the script of a page calls it with the publishable key."""
    intent = await stand.intent()
    form = {"client_secret": str(intent.client_secret), "payment_method": "pm_card_visa", "use_stripe_sdk": "true"}
    browser = {"Sec_Fetch_Site": "cross-site", "Origin": "https://shop.example"}
    answer = await stand.call(
        "POST", f"/v1/payment_intents/{intent.id}/confirm", form, key=PUBLISHABLE_KEY, **browser
    )
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
