"""Lists, pages, and what `expand` adds to answers."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.stand import Stand

INTENTS = "/v1/payment_intents"


async def test_cursors_lead_through_all_pages(stand: Stand) -> None:
    """Newest first, each object once, also with the SDK's own paging."""
    made = [(await stand.intent()).id for _ in range(5)]
    first = await stand.stripe.v1.payment_intents.list_async({"limit": 2})
    ids = [intent.id for intent in first.data]
    assert (first.has_more, first.url, ids) == (True, INTENTS, made[:2:-1])

    paged = [intent.id async for intent in first.auto_paging_iter()]
    assert paged == made[::-1]
    last = await stand.stripe.v1.payment_intents.list_async({"limit": 2, "starting_after": made[1]})
    assert ([intent.id for intent in last.data], last.has_more) == ([made[0]], False)
    before = await stand.stripe.v1.payment_intents.list_async({"limit": 2, "ending_before": made[1]})
    assert ([intent.id for intent in before.data], before.has_more) == ([made[3], made[2]], True)


async def test_a_page_has_ten_objects_by_default(stand: Stand) -> None:
    """And at most a hundred."""
    for _ in range(11):
        await stand.intent()
    page = await stand.stripe.v1.payment_intents.list_async()
    assert (len(page.data), page.has_more) == (10, True)
    for limit in ("0", "101"):
        assert (await stand.refused("GET", INTENTS, {"limit": limit})).error["param"] == "limit"


async def test_a_wrong_cursor_is_refused(stand: Stand) -> None:
    """Only one cursor is allowed."""
    made = await stand.intent()
    unknown = await stand.refused("GET", INTENTS, {"starting_after": "pi_1"})
    assert (unknown.status, unknown.error["code"]) == (400, "resource_missing")
    both = {"starting_after": made.id, "ending_before": made.id}
    assert (await stand.refused("GET", INTENTS, both)).status == 400


async def test_lists_can_be_filtered_by_time(stand: Stand) -> None:
    """By bounds, or by one second."""
    made = await stand.intent()
    now = made.created

    async def found(created: Any) -> int:
        return len((await stand.stripe.v1.payment_intents.list_async({"created": created})).data)

    assert [await found({"gte": now}), await found({"lt": now}), await found({"gt": now - 1, "lte": now})] == [
        1,
        0,
        1,
    ]
    assert [await found(now), await found(now - 1)] == [1, 0]


async def test_charges_and_refunds_are_listed_by_payment(stand: Stand) -> None:
    """Those of another payment are not listed."""
    mine, other = await stand.paid(), await stand.paid()
    for paid in (mine, other):
        await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id})
    charges = await stand.stripe.v1.charges.list_async({"payment_intent": mine.id})
    refunds = await stand.stripe.v1.refunds.list_async({"charge": str(mine.latest_charge)})
    assert [charge.id for charge in charges.data] == [mine.latest_charge]
    assert [refund.payment_intent for refund in refunds.data] == [mine.id]


async def test_ids_are_expanded_in_place(stand: Stand) -> None:
    """Several levels deep, and in lists; the stored object keeps the id."""
    paid = await stand.paid(5000)
    await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id, "amount": 1000})
    paths = ["latest_charge.balance_transaction", "latest_charge.refunds", "payment_method"]
    read = await stand.stripe.v1.payment_intents.retrieve_async(paid.id, {"expand": paths})
    charge = read.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    assert isinstance(read.payment_method, stripe.PaymentMethod)
    assert charge.refunds is not None
    assert [refund.amount for refund in charge.refunds.data] == [1000]

    listed = await stand.stripe.v1.refunds.list_async({"expand": ["data.charge.payment_intent"]})
    expanded = listed.data[0].charge
    assert isinstance(expanded, stripe.Charge)
    assert isinstance(expanded.payment_intent, stripe.PaymentIntent)
    plain = await stand.stripe.v1.payment_intents.retrieve_async(paid.id)
    assert plain.latest_charge == charge.id


async def test_a_null_field_is_not_expanded(stand: Stand) -> None:
    """Null stays null."""
    made = await stand.intent()
    read = await stand.stripe.v1.payment_intents.retrieve_async(made.id, {"expand": ["latest_charge", "customer"]})
    assert (read.latest_charge, read.customer) == (None, None)


@pytest.mark.parametrize(
    ("path", "expand"),
    [
        (INTENTS, "latest_charge"),
        (INTENTS, "data.amount"),
        (INTENTS, "data.latest_charge.amount"),
        ("/v1/refunds", "data.charge.payment_intent.latest_charge.balance_transaction.source"),
    ],
)
async def test_a_field_that_cannot_be_expanded_is_refused(stand: Stand, path: str, expand: str) -> None:
    """Also when the list is empty, so that a mistake is found by the first test."""
    refused = await stand.refused("GET", path, {"expand[]": expand})
    assert (refused.status, refused.error["param"]) == (400, "expand")


async def test_a_request_with_a_wrong_expansion_changes_nothing(stand: Stand) -> None:
    """It is refused before any work."""
    form = {"amount": "2000", "currency": "usd", "expand[]": "colour"}
    await stand.refused("POST", INTENTS, form)
    assert (await stand.stripe.v1.payment_intents.list_async()).data == []


async def test_events_are_listed_by_type_and_time(stand: Stand) -> None:
    """By one type, several, or all of a kind."""
    paid = await stand.paid()
    await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id})

    async def types(**params: Any) -> list[str]:
        listed = await stand.stripe.v1.events.list_async(params)  # type: ignore[arg-type]
        return [event.type for event in listed.data]

    assert await types(type="refund.created") == ["refund.created"]
    assert await types(types=["charge.refunded", "payment_intent.succeeded"]) == [
        "charge.refunded",
        "payment_intent.succeeded",
    ]
    assert await types(type="charge.*") == ["charge.refunded", "charge.updated", "charge.succeeded"]
    assert await types(created={"lt": paid.created}) == []
    assert len(await types(created={"gte": paid.created}, limit=100)) == 6
    both = {"type": "refund.created", "types[]": "charge.refunded"}
    assert (await stand.refused("GET", "/v1/events", both)).status == 400


async def test_an_event_is_a_snapshot(stand: Stand) -> None:
    """It shows the object as it was then, with the request that caused the event."""
    made = await stand.call(
        "POST", INTENTS, {"amount": "2000", "currency": "usd", "confirm": "false"}, Idempotency_Key="k"
    )
    await stand.confirm(made.body["id"])
    (listed,) = (await stand.stripe.v1.events.list_async({"type": "payment_intent.created"})).data
    event = await stand.stripe.v1.events.retrieve_async(listed.id)

    assert event.data.object["status"] == "requires_payment_method"
    assert event.request is not None
    assert (event.request.id, event.request.idempotency_key) == (made.headers["Request-Id"], "k")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.events.retrieve_async("evt_1")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
