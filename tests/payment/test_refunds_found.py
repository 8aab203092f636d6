"""Short forms of what the simulation has found in refunds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from common.contracts.messages import SyncPayment
from payment.refunds import Refund, RefundStatus
from payment.reports import failures
from tests.payment.stage import Stage, booking, received
from tests.sandbox.stand import CONTROL

NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("older_snapshot", [True, False])
async def test_a_failed_refund_that_comes_before_its_payment_does_not_count_as_made(
    stage: Stage, older_snapshot: bool
) -> None:
    """Its older snapshot comes later together with the payment, or never: all of them must be applied."""
    of = booking()
    (made,) = await stage.do(of.create)
    await stage.pay(made.payment.intent_id)
    refund = await stage.call("POST", "/v1/refunds", payment_intent=made.payment.intent_id)
    async with stage.session.post(
        f"{stage.stripe_url}/_sandbox/refunds/{refund['id']}/fail", headers=CONTROL
    ) as answer:
        assert answer.status == 200
    (failed,) = await stage.events("refund.failed", of=made.payment.intent_id)
    (created,) = await stage.events("refund.created", of=made.payment.intent_id)
    (paid,) = await stage.events("payment_intent.succeeded", of=made.payment.intent_id)
    # Payment does not fetch it yet: as if the message that asks for it was lost.
    await stage.give(received(failed))
    await stage.webhooks(paid, *([created] if older_snapshot else []))
    (due,) = await stage.due("check_at", timedelta(minutes=1))
    await stage.do(SyncPayment(booking_id=due.booking_id))
    (row,) = await stage.rows("SELECT status FROM refunds WHERE booking_id = $1", of.id)
    assert row["status"] == "failed"
    assert (await stage.row(of))["amount_refunded"] == 0


def test_a_failed_refund_is_not_replaced_by_one_made_before_it_failed() -> None:
    """Otherwise the rest is owed again, and once more when the bank refuses that, without end."""
    of = uuid4()
    first = refund(of, RefundStatus.FAILED, made=0, changed=60)
    second = refund(of, RefundStatus.SUCCEEDED, made=10, changed=10)
    again = refund(of, RefundStatus.PENDING, made=70, changed=70)
    assert failures(1000, (first, second))
    assert not failures(2000, (first, second, again))


def refund(of: UUID, status: RefundStatus, *, made: int, changed: int) -> Refund:
    """A refund of 500, made and changed these minutes after noon."""
    at, then = NOON + timedelta(minutes=made), NOON + timedelta(minutes=changed)
    return Refund(uuid4(), of, 500, status, asked_at=at, created_at=at, updated_at=then)
