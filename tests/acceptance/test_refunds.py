"""Refunds, and what customers, banks and people in Stripe's dashboard do meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.client import Json
from tests.acceptance.customers import CANCELLABLE, Customer, customers, operator_cancels, operator_refunds, seats
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.stripe_side import REFUND_FAILS

SEATS = 10

pytestmark = pytest.mark.timeout(60)


async def refunds_of(holdfast: Holdfast, who: Customer) -> list[Json]:
    return [one for one in await holdfast.stripe.all("refunds") if one["payment_intent"] == who.intent_id]


# --- Customers cancel ---------------------------------------------------------------------------------------


async def test_customer_cancels_before_paying(battered: Holdfast) -> None:
    """Stripe cancels the intent, and the seat is free again."""
    event = await battered.event((1500, SEATS))
    (who,) = await customers(battered, event, 1)
    assert (await who.cancels()).status == 202
    booking = await who.receives("cancelled")
    assert (booking["reason"], booking["payment"]["status"]) == ("by_customer", "none")
    assert (await battered.stripe.intent(who.intent_id))["status"] == "canceled"
    assert (await who.cancels()).ok()["status"] == "cancelled"
    await assert_clean(battered)
    assert await seats(battered, event) == SEATS


async def test_customer_cancels_a_paid_booking_in_time(battered: Holdfast) -> None:
    """All of the money is refunded once, however often the customer asks."""
    event = await battered.event((1500, SEATS), **CANCELLABLE)
    (who,) = await customers(battered, event, 1)
    await who.buys()
    answers = await asyncio.gather(*(who.cancels() for _ in range(3)))
    assert {answer.status for answer in answers} <= {200, 202}
    booking = await who.receives_payment("refunded")
    assert (booking["status"], booking["reason"]) == ("cancelled", "by_customer")
    assert [refund["amount"] for refund in await refunds_of(battered, who)] == [1500]
    await assert_clean(battered)
    assert await seats(battered, event) == SEATS


@pytest.mark.parametrize("policy", [{}, {"cancel_until": "2020-01-01T00:00:00Z"}], ids=["never", "too late"])
async def test_only_an_operator_cancels_outside_the_policy(battered: Holdfast, policy: dict[str, str]) -> None:
    event = await battered.event((1500, SEATS), **policy)
    (who,) = await customers(battered, event, 1)
    confirmed = await who.buys()
    refused = await who.cancels()
    assert (refused.status, refused.code) == (409, "cancellation_closed")
    assert await who.sees() == confirmed
    assert (await operator_cancels(battered, who)).status == 202
    booking = await who.receives_payment("refunded")
    assert (booking["status"], booking["reason"]) == ("cancelled", "by_operator")
    await assert_clean(battered)
    assert await seats(battered, event) == SEATS


# --- Operators give back ------------------------------------------------------------------------------------


async def test_an_operator_refunds_a_part_and_then_the_rest(battered: Holdfast) -> None:
    """A partial refund leaves the booking confirmed; the rest ends it. A repeated key refunds nothing twice."""
    event = await battered.event((1500, SEATS))
    (who,) = await customers(battered, event, 1)
    await who.buys()
    for _ in range(2):
        assert (await operator_refunds(battered, who, "part", 400)).status in (200, 202)
    assert (await who.receives_payment("partially_refunded"))["status"] == "confirmed"
    too_much = await operator_refunds(battered, who, "more", 1101)
    assert (too_much.status, too_much.code) == (422, "amount_over_left")
    assert (await operator_refunds(battered, who, "rest")).status in (200, 202)
    booking = await who.receives_payment("refunded")
    booking = await who.receives("cancelled")
    assert booking["reason"] == "refunded"
    assert sorted(refund["amount"] for refund in await refunds_of(battered, who)) == [400, 1100]
    await assert_clean(battered)
    assert await seats(battered, event) == SEATS


async def test_refund_that_fails_later_is_tried_again_by_an_operator(battered: Holdfast) -> None:
    """The booking shows `refund_failed` until an operator refunds again, under a new id."""
    event = await battered.event((1500, SEATS))
    (who,) = await customers(battered, event, 1)
    await who.pays(REFUND_FAILS)
    await who.receives("confirmed")
    assert (await operator_cancels(battered, who)).status == 202
    assert (await who.receives_payment("refunded"))["status"] == "cancelled"
    (failed,) = await refunds_of(battered, who)
    await battered.stripe.control(f"/refunds/{failed['id']}/fail")
    assert (await who.receives_payment("refund_failed"))["status"] == "cancelled"

    assert (await operator_refunds(battered, who, "again")).status == 202
    await who.receives_payment("refunded")
    found = await refunds_of(battered, who)
    assert sorted(refund["status"] for refund in found) == ["failed", "succeeded"]
    assert len({refund["metadata"]["refund_id"] for refund in found}) == 2
    await assert_clean(battered)
    assert await seats(battered, event) == SEATS


# --- At the same moment -------------------------------------------------------------------------------------

TIMES = 10


async def test_a_part_is_refunded_by_hand_while_an_operator_cancels(battered: Holdfast) -> None:
    """Ten times of ten the rest goes back without an operator, and no failure is shown. When the operator's cancel
    has refunded all of it first, nothing is left to refund by hand."""
    event, stripe = await battered.event((4500, TIMES)), battered.stripe
    sold = await customers(battered, event, TIMES)
    await asyncio.gather(*(who.buys() for who in sold))

    async def both(who: Customer) -> list[int]:
        """The amounts that have to go back."""
        by_hand = stripe.tries_control(f"/payment_intents/{who.intent_id}/refund", amount=1500)
        given, cancelled = await asyncio.gather(by_hand, operator_cancels(battered, who))
        assert cancelled.status in (200, 202)
        if given.status == 200:
            return [1500, 3000]
        assert given.code == "charge_already_refunded"
        return [4500]

    due = [await both(who) for who in sold]
    assert [1500, 3000] in due
    for who, amounts in zip(sold, due, strict=True):
        booking = await who.receives_payment("refunded")
        assert (booking["status"], booking["reason"]) == ("cancelled", "by_operator")
        assert sorted(refund["amount"] for refund in await refunds_of(battered, who)) == amounts
    await assert_clean(battered)


async def test_refunds_without_balance_wait_and_failed_ones_are_tried_again(battered: Holdfast) -> None:
    """Operators see what a refund waits for; one request retries all failed refunds of an event."""
    event, stripe = await battered.event((1500, SEATS)), battered.stripe
    sold = await customers(battered, event, 3)
    await asyncio.gather(*(who.buys() for who in sold))
    operator = battered.client(operator=True)
    await stripe.control("/faults", refund_pending=1)
    try:
        (await operator.request("POST", f"/admin/events/{event['id']}/cancel")).ok(202)
        now = await eventually(
            lambda: operator.request("GET", f"/admin/events/{event['id']}"),
            lambda answer: answer.ok()["progress"]["refunds"]["waiting"] == 3,
        )
    finally:
        await stripe.control("/faults")
    assert now.ok()["progress"]["finished"] is False
    booking = (await operator.request("GET", f"/bookings/{sold[0].id}")).ok()
    assert booking["payment"]["refund_waiting"] == "insufficient_funds"
    assert (await sold[0].sees())["payment"]["refund_waiting"] is None

    for who in sold:
        (refund,) = await refunds_of(battered, who)
        await stripe.control(f"/refunds/{refund['id']}/fail")
        await who.receives_payment("refund_failed")
    path, key = f"/admin/events/{event['id']}/refunds/retry", {"Idempotency-Key": "again"}
    answers = [(await operator.request("POST", path, headers=key)).ok(202) for _ in range(2)]
    assert [answer["refunds"] for answer in answers] == [3, 3]
    for who in sold:
        await who.receives_payment("refunded")
        assert sorted(refund["status"] for refund in await refunds_of(battered, who)) == ["failed", "succeeded"]
    done = (await operator.request("GET", f"/admin/events/{event['id']}")).ok()["refund_retry"]
    assert (done["refunds"], done["succeeded"], done["failed"], done["finished"]) == (3, 3, 0, True)
    await assert_clean(battered)


# --- By hand, and by banks ----------------------------------------------------------------------------------


async def test_changes_by_hand_at_stripe_are_recorded(battered: Holdfast) -> None:
    """A cancel, a partial and a full refund, a dispute that is lost and one that is won."""
    event, stripe = await battered.event((1500, SEATS)), battered.stripe
    canceled, part, full, lost, won = await customers(battered, event, 5)
    await asyncio.gather(*(who.buys() for who in (part, full, lost, won)))
    await stripe.cancel(canceled.intent_id)
    await stripe.control(f"/payment_intents/{part.intent_id}/refund", amount=500)
    await stripe.control(f"/payment_intents/{full.intent_id}/refund")
    opened = [await stripe.control(f"/payment_intents/{who.intent_id}/dispute") for who in (lost, won)]
    assert (await canceled.receives("cancelled"))["reason"] == "payment_canceled"
    assert (await part.receives_payment("partially_refunded"))["status"] == "confirmed"
    assert (await full.receives("cancelled"))["reason"] == "refunded"
    for who in (lost, won):
        assert (await who.receives_payment("disputed"))["status"] == "confirmed"
    await stripe.control(f"/disputes/{opened[0]['id']}/lost")
    await stripe.control(f"/disputes/{opened[1]['id']}/won")
    await won.receives_payment("paid")
    await assert_clean(battered)
    assert (await lost.sees())["payment"]["status"] == "disputed"
    assert await seats(battered, event) == SEATS - 3
