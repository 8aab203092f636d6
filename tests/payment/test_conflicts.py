"""A retry that cannot succeed ends: a conflict is over once Stripe's own object has been read."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from common.contracts.messages import PAYMENT_COMMANDS, PaymentReport, SyncPayment
from payment import domain
from payment.state import SUCCEEDED
from payment.stripe_objects import without_spent_secret
from tests.payment.rows import Json, bank
from tests.payment.stage import Booking, Stage, booking, received
from tests.payment.test_domain import NOW, payment
from tests.payment.test_reconciler import run_reconciler, sent
from tests.payment.wire import Fault

CAPTURED = 3000


async def captured_in_part(stage: Stage) -> str:
    """3000 of 5000; Stripe reports the rest as a refund, as it does on accounts with an older API version."""
    of = booking()
    (made,) = await stage.do(of.create)
    assert made.payment.intent_id is not None
    form = {"payment_method": "pm_card_visa", "return_url": "https://shop.example/", "capture_method": "manual"}
    await stage.call("POST", f"/v1/payment_intents/{made.payment.intent_id}/confirm", **form)
    await bank(stage, f"payment_intents/{made.payment.intent_id}/capture", amount=CAPTURED, rest_as_refund=True)
    return made.payment.intent_id


async def of_intent(stage: Stage, intent: str) -> list[Json]:
    """Every Stripe event of the intent, its charge included."""
    charge = (await stage.call("GET", f"/v1/payment_intents/{intent}"))["latest_charge"]
    listed = (await stage.call("GET", "/v1/events", limit=100))["data"]
    objects = ((event, event["data"]["object"]) for event in reversed(listed))
    return [event for event, obj in objects if {intent, charge} & {obj["id"], obj.get("payment_intent")}]


async def in_conflict(stage: Stage) -> list[Any]:
    return list(await stage.rows("SELECT booking_id FROM payments WHERE look_after IS NOT NULL"))


async def test_a_capture_of_a_part_is_fetched_once(stage: Stage, redis: Redis) -> None:
    """No refund will ever explain its `charge.refunded`: it is enough that Stripe's own object has been read."""
    intent = await captured_in_part(stage)
    events = await of_intent(stage, intent)
    assert {"charge.captured", "charge.refunded"} <= {event["type"] for event in events}
    reports = await stage.webhooks(*events)

    assert reports[-1].type == "payment.succeeded"
    assert (reports[-1].payment.amount_captured, reports[-1].payment.amount_refunded) == (CAPTURED, 0)
    assert await in_conflict(stage) == []
    fetches = len(stage.wire.made(f"/v1/payment_intents/{intent}", "GET"))
    for _ in range(3):
        assert await stage.webhooks(*events) == []
        await run_reconciler(stage)
        assert await sent(redis, PAYMENT_COMMANDS) == []
    assert len(stage.wire.made(f"/v1/payment_intents/{intent}", "GET")) == fetches == 1


def charge_refunded(intent: str | None, event: Json, amount: int) -> Json:
    charge = {"id": "ch_1", "object": "charge", "payment_intent": intent, "amount_refunded": amount}
    return {**event, "id": f"evt_{amount}", "type": "charge.refunded", "data": {"object": charge}}


async def test_refunds_over_the_captured_amount_are_fetched_once(stage: Stage) -> None:
    """The event cannot be true, or Stripe shows nothing of it: reading Stripe's object once ends the conflict."""
    of = booking()
    paid = await stage.paid(of)
    (event,) = await stage.events("payment_intent.succeeded", of=paid.payment.intent_id)
    refund = {
        "id": "re_1",
        "object": "refund",
        "amount": 9999,
        "status": "succeeded",
        "payment_intent": paid.payment.intent_id,
    }
    too_much = {**event, "id": "evt_re", "type": "refund.created", "data": {"object": refund}}
    for odd in (charge_refunded(paid.payment.intent_id, event, 777), too_much):
        assert await stage.webhooks(odd) == [paid]
        assert await in_conflict(stage) == []


@pytest.mark.parametrize("answered", [404, 503])
async def test_a_check_ends_when_stripe_refuses_and_is_retried_without_an_answer(
    stage: Stage, redis: Redis, answered: int
) -> None:
    """What Stripe does not have cannot be found later; what it has not answered may be."""
    of = booking()
    paid = await stage.paid(of)
    (event,) = await stage.events("payment_intent.succeeded", of=paid.payment.intent_id)
    path = f"/v1/payment_intents/{paid.payment.intent_id}"
    body = {"type": "invalid_request_error", "code": "resource_missing"} if answered == 404 else {}
    stage.wire.faults.append(Fault(path, "GET", passed_on=False, status=answered, body=body, times=4))
    await stage.webhooks(charge_refunded(paid.payment.intent_id, event, 777))

    stage.wire.faults.clear()
    await run_reconciler(stage)
    retried = [each for each in await sent(redis, PAYMENT_COMMANDS) if isinstance(each, SyncPayment)]
    assert retried == ([] if answered == 404 else [of.sync])
    for message in retried:
        await stage.do(message)
    assert await in_conflict(stage) == []


async def test_a_conflict_that_came_after_the_fetch_began_stays(stage: Stage) -> None:
    """The fetched object may be older than the event."""
    of = booking()
    paid = await stage.paid(of)
    (event,) = await stage.events("payment_intent.succeeded", of=paid.payment.intent_id)
    await stage.give(received(charge_refunded(paid.payment.intent_id, event, 777)))
    late = charge_refunded(paid.payment.intent_id, event, 778)

    async def meanwhile(*_: object) -> None:
        stage.wire.after = None
        await stage.give(received(late))

    stage.wire.after = meanwhile
    await stage.do(of.sync)
    assert len(await in_conflict(stage)) == 1
    await stage.do(of.sync)
    assert await in_conflict(stage) == []


@pytest.mark.parametrize("asked_with", [0, 1, 2])
@pytest.mark.parametrize("conflicts", [0, 1, 2])
def test_a_check_ends_the_conflicts_from_before_the_fetch(conflicts: int, asked_with: int) -> None:
    old = payment(SUCCEEDED)
    for _ in range(conflicts):
        old = domain.conflicting(old, NOW)
    over = domain.checked(old, asked_with).check_at is None
    assert over is (conflicts in (0, asked_with))
    assert old.version == payment(SUCCEEDED).version  # nothing that the booking sees


# --- client secrets -----------------------------------------------------------------------------------------


async def ended(stage: Stage, how: str) -> tuple[Booking, PaymentReport]:
    of = booking()
    if how == "succeeded":
        return of, await stage.paid(of)
    await stage.do(of.create)
    (canceled,) = await stage.do(of.cancel)
    return of, canceled


@pytest.mark.parametrize("how", ["succeeded", "canceled"])
async def test_a_client_secret_is_deleted_when_its_payment_ends(stage: Stage, how: str) -> None:
    """From the row and from reports; also when the intent is fetched again, or an old process writes the secret."""
    of, report = await ended(stage, how)
    assert (report.payment.status, report.payment.client_secret) == (how, None)
    for again in (await stage.do(of.sync), await stage.do(of.create)):
        assert [each.payment.client_secret for each in again] == [None]
    await stage.rows("UPDATE payments SET client_secret = 'pi_1_secret_1' WHERE booking_id = $1", of.id)
    assert (await stage.row(of))["client_secret"] is None


async def test_a_client_secret_stays_while_something_can_be_paid(stage: Stage) -> None:
    """After a decline, too."""
    of = booking()
    (made,) = await stage.do(of.create)
    await stage.pay(made.payment.intent_id, "pm_card_chargeDeclined")
    (declined,) = await stage.webhooks(
        *await stage.events("payment_intent.payment_failed", of=made.payment.intent_id)
    )
    assert declined.payment.client_secret == made.payment.client_secret is not None
    assert (await stage.row(of))["client_secret"] == made.payment.client_secret


@pytest.mark.parametrize(
    ("obj", "kept"),
    [
        ({"status": "succeeded", "client_secret": "s"}, {"status": "succeeded"}),
        ({"status": "canceled", "client_secret": "s"}, {"status": "canceled"}),
        ({"status": "requires_action", "client_secret": "s"}, {"status": "requires_action", "client_secret": "s"}),
        ({"status": ["odd"], "client_secret": "s"}, {"status": ["odd"], "client_secret": "s"}),
        ({"status": "succeeded"}, {"status": "succeeded"}),
        (None, None),
        (["client_secret"], ["client_secret"]),
    ],
)
def test_an_event_of_an_ended_payment_is_stored_without_its_secret(obj: Any, kept: Any) -> None:
    """It may become a dead letter, which is kept longer than the payment lives."""
    event = {"id": "evt_1", "data": {"object": obj, "previous_attributes": {}}}
    assert without_spent_secret(event) == {"id": "evt_1", "data": {"object": kept, "previous_attributes": {}}}
    assert without_spent_secret({"data": 7}) == {"data": 7}
