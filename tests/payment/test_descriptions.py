"""What Stripe is asked for an intent with is fixed when one is first wanted. An address is soon forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from redis.asyncio import Redis

from common.contracts.messages import CreatePaymentIntent
from common.contracts.statuses import PaymentMethods
from tests.payment.rows import STARTS, begin
from tests.payment.stage import Booking, Stage, booking
from tests.payment.wire import Fault

CREATE = "/v1/payment_intents"
DESCRIPTION, EMAIL = "HF-7K3M-9Q2T: Opening night, 2 × Stalls", "ada@example.com"
# What a later message for the same booking may have: the event was renamed, the customer changed or erased.
LATER: dict[str, dict[str, Any]] = {
    "other values": {"description": "HF-7K3M-9Q2T: Matinee, 2 × Stalls", "receipt_email": "grace@example.org"},
    "none, from a process of the release before": {"description": None, "receipt_email": None},
    "other payment methods": {"payment_methods": PaymentMethods.INSTANT},
}


@dataclass
class Described(Booking):
    @property
    def create(self) -> CreatePaymentIntent:
        values = {"description": DESCRIPTION, "receipt_email": EMAIL}
        return super().create.model_copy(update=values)


def described() -> Described:
    made = booking()
    return Described(made.id, made.event_id)


def bodies(stage: Stage) -> list[bytes]:
    """What Stripe was sent to make intents."""
    return [call.body for call in stage.wire.made(CREATE)]


async def test_stripe_shows_description_and_receipt_address(stage: Stage) -> None:
    (report,) = await stage.do(described().create)
    intent = await stage.call("GET", f"{CREATE}/{report.payment.intent_id}")
    assert (intent["description"], intent["receipt_email"]) == (DESCRIPTION, EMAIL)


async def test_a_payment_of_the_release_before_is_asked_for_without_them(stage: Stage) -> None:
    """As that release has asked for it under this key."""
    await stage.do(booking().create)
    (body,) = bodies(stage)
    assert not {"description", "receipt_email"} & dict(parse_qsl(body.decode())).keys()


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("memory_max", [100, 0])
async def test_a_repeated_request_sends_the_same_bytes(
    stage: Stage, redis: Redis, later: str, memory_max: int
) -> None:
    """Whatever a later message says, and by the reconciler alone."""
    stage.store.payments.entries_max = memory_max
    wanted = described()
    stage.wire.faults.append(Fault(CREATE, status=503, passed_on=False, times=100))
    assert await stage.do(wanted.create) == []
    assert await stage.do(wanted.create.model_copy(update=LATER[later])) == []
    stage.clock.ahead = timedelta(minutes=1)
    await stage.reconciler.run_once()
    entries: Any = await redis.xrange("payment.intents")
    again = CreatePaymentIntent.model_validate_json(entries[-1][1][b"data"])
    assert again == wanted.create.model_copy(update={"payment_methods": again.payment_methods})
    stage.wire.faults.clear()
    (report,) = await stage.do(again)
    sent = {(call.key, call.body) for call in stage.wire.made(CREATE)}
    assert len(stage.wire.made(CREATE)) > 2
    assert len(sent) == 1
    assert (await stage.call("GET", f"{CREATE}/{report.payment.intent_id}"))["receipt_email"] == EMAIL


@pytest.mark.parametrize("start", STARTS)
async def test_an_address_is_kept_until_stripe_has_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setattr("tests.payment.rows.booking", described)
    (of,) = await begin(stage, start, 1)
    row = await stage.row(of)
    assert row["receipt_email"] == (EMAIL if row["status"] == "creating" else None)


async def test_a_booking_does_not_fail_because_of_the_address_for_its_receipt(stage: Stage) -> None:
    """Stripe refuses it: the intent is made without, under another key, and the address is kept nowhere."""
    wanted = described()
    refusal = {"type": "invalid_request_error", "code": "email_invalid", "param": "receipt_email"}
    stage.wire.faults.append(Fault(CREATE, status=400, body=refusal, passed_on=False))
    assert await stage.do(wanted.create) == []
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_created"
    first, second = stage.wire.made(CREATE)
    assert (first.key, second.key) == (str(wanted.id), f"{wanted.id}-2")
    left, right = (dict(parse_qsl(each.body.decode())) for each in (first, second))
    assert left == right | {"receipt_email": EMAIL}
    row = await stage.row(wanted)
    assert (row["receipt_email"], row["rejection"], row["description"]) == (None, None, DESCRIPTION)


async def test_another_refusal_is_still_final(stage: Stage) -> None:
    wanted = described()
    refusal = {"type": "invalid_request_error", "code": "parameter_invalid_string", "param": "description"}
    stage.wire.faults.append(Fault(CREATE, status=400, body=refusal, passed_on=False))
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_rejected"
    assert (await stage.row(wanted))["receipt_email"] is None
