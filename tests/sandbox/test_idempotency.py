"""Idempotency keys: one request has one result, even if its answer is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe

from tests.sandbox.stand import Answer, Stand

INTENTS = "/v1/payment_intents"
FORM = {"amount": "2000", "currency": "usd", "metadata[a]": "1"}


async def create(stand: Stand, key: str, **form: str) -> Answer:
    return await stand.call("POST", INTENTS, {**FORM, **form}, Idempotency_Key=key)


async def intents(stand: Stand) -> list[Any]:
    return list((await stand.stripe.v1.payment_intents.list_async()).data)


async def test_the_same_request_gets_the_first_answer(stand: Stand) -> None:
    """Word for word, and nothing is done again."""
    first, again = await create(stand, "k"), await create(stand, "k")

    assert (again.status, again.body) == (first.status, first.body)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Request-Id"] != first.headers["Request-Id"]
    assert again.headers["Idempotency-Key"] == "k"
    assert len(await intents(stand)) == 1
    assert len((await stand.stripe.v1.events.list_async()).data) == 1


async def test_a_repeated_request_gets_the_first_answer_even_if_the_object_has_changed(stand: Stand) -> None:
    """The sandbox keeps the answer, not a reference to the object."""
    first = await create(stand, "k")
    await stand.stripe.v1.payment_intents.cancel_async(first.body["id"])
    assert (await create(stand, "k")).body["status"] == "requires_payment_method"


async def test_the_order_of_parameters_does_not_matter(stand: Stand) -> None:
    """Parameters are compared by their meaning."""
    first = await create(stand, "k")
    turned = dict(reversed(FORM.items()))
    again = await stand.call("POST", INTENTS, turned, Idempotency_Key="k")
    assert again.body == first.body


@pytest.mark.parametrize(
    "change", [{"amount": "2001"}, {"metadata[a]": "2"}, {"metadata[b]": "1"}, {"expand[]": "payment_method"}]
)
async def test_a_key_with_other_parameters_is_refused(stand: Stand, change: dict[str, str]) -> None:
    """The first answer is still kept."""
    first = await create(stand, "k")
    other = await create(stand, "k", **change)
    assert (other.status, other.error["type"]) == (400, "idempotency_error")
    assert "same parameters" in other.error["message"]
    assert (await create(stand, "k")).body == first.body


async def test_a_key_at_another_endpoint_is_refused(stand: Stand) -> None:
    """The SDK raises its own error for that."""
    first = await create(stand, "k")
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await stand.stripe.v1.payment_intents.cancel_async(first.body["id"], {}, {"idempotency_key": "k"})


async def test_the_answer_of_a_decline_is_stored(stand: Stand) -> None:
    """The card is tried once."""
    made = await stand.intent()
    form = {"payment_method": "pm_card_visa_chargeDeclined", "return_url": "https://shop.example"}
    path = f"{INTENTS}/{made.id}/confirm"
    first = await stand.call("POST", path, form, Idempotency_Key="k")
    again = await stand.call("POST", path, form, Idempotency_Key="k")
    assert (first.status, again.status, again.body) == (402, 402, first.body)
    assert len((await stand.stripe.v1.charges.list_async({"payment_intent": made.id})).data) == 1


async def test_a_request_refused_before_its_work_is_not_stored(stand: Stand) -> None:
    """The key is free for a correct request."""
    assert (await create(stand, "k", amount="0")).status == 400
    assert (await create(stand, "k", colour="red")).status == 400
    assert (await create(stand, "k")).status == 200


async def test_a_key_of_a_request_under_way_is_a_conflict(stand: Stand) -> None:
    """The others are answered 409; the work is done once, and the key then answers."""
    await stand.faults(latency_ms=500)
    answers = await asyncio.gather(*(create(stand, "k") for _ in range(4)))
    refused = [answer for answer in answers if answer.status != 200]

    assert [answer.status for answer in refused] == [409] * 3
    assert {answer.error["code"] for answer in refused} == {"idempotency_key_in_use"}
    assert (await create(stand, "k")).status == 200
    assert len(await intents(stand)) == 1


async def test_keys_of_reads_are_ignored(stand: Stand) -> None:
    """A GET is idempotent by itself."""
    before = await stand.call("GET", INTENTS, Idempotency_Key="k")
    await create(stand, "k")
    after = await stand.call("GET", INTENTS, Idempotency_Key="k")
    assert (len(before.body["data"]), len(after.body["data"])) == (0, 1)


@pytest.mark.parametrize(("key", "status"), [("k" * 255, 200), ("k" * 256, 400), ("", 400)])
async def test_a_key_has_a_maximum_length(stand: Stand, key: str, status: int) -> None:
    """At most 255 characters."""
    assert (await create(stand, key)).status == status
