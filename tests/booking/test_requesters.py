"""Who asked for it: each change of a booking and each refund names its requester, and only operators see who."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.buyers import BuyerPolicy
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    EraseCustomers,
    GetBooking,
    GetEvent,
    GetHistory,
    ListBookings,
    OperatorRequest,
    PaymentReport,
    RefundBooking,
    RefundPayment,
    Reply,
    RetryRefunds,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.contracts.values import Refund, Rejection
from common.messaging.envelope import Envelope
from tests.booking.stage import Show, Stage, of, report
from tests.subjects import documented, forget, holding

# Customers may cancel what they have paid.
CANCELLABLE = {"cancel_until": datetime(2030, 12, 31, tzinfo=UTC)}
# All transitions of a booking, each with who asked for it.
BY = "SELECT cause_type, by FROM booking_transitions WHERE booking_id = $1 ORDER BY version"


def request(subject: str = "root") -> dict[str, Any]:
    """As the gateway describes an operator's request."""
    return {"request": OperatorRequest(subject=subject, operation=f"POST {uuid4()}", content_hash="")}


def refunding(booking: Booking, amount: int | None = None, subject: str = "root") -> RefundBooking:
    return RefundBooking(booking_id=booking.id, refund_id=uuid4(), amount=amount, **request(subject))


async def requesters(stage: Stage, booking: Booking) -> list[tuple[str, str | None]]:
    return [tuple(row) for row in await stage.rows(BY, booking.id)]


async def failed(stage: Stage, booking: Booking, version: int = 3) -> None:
    """The refund that the booking asked for has failed."""
    ids = ((await stage.row(booking))["refund_id"],)
    values = {"refund_ids": ids, "refund_failed": True, "refund_failed_amount": booking.amount}
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, version, **values))


# --- what makes a booking change, and who asked for it ------------------------------------------------------


async def _customer_cancels(stage: Stage, _: Show, booking: Booking) -> list[Envelope]:
    return await stage.cancel(booking)


async def _operator_cancels(stage: Stage, _: Show, booking: Booking) -> list[Envelope]:
    reason = CancelReason.BY_OPERATOR
    return await stage.give(CancelBooking(booking_id=booking.id, owner=None, reason=reason, **request()))


async def _operator_refunds(stage: Stage, _: Show, booking: Booking) -> list[Envelope]:
    return await stage.give(refunding(booking))


async def _event_cancelled(stage: Stage, show: Show, _: Booking) -> list[Envelope]:
    await stage.give(CancelEvent(event_id=show.id, **request()))
    await stage.reconcile_now()
    return []


async def _refunds_retried(stage: Stage, show: Show, booking: Booking) -> list[Envelope]:
    await stage.give(refunding(booking, subject="first"))
    await failed(stage, booking)
    await stage.give(RetryRefunds(event_id=show.id, retry_id=uuid4(), **request()))
    await stage.reconcile_now()
    return []


Ask = Callable[[Stage, Show, Booking], Awaitable[list[Envelope]]]
# By what happens to a confirmed booking: the last change's cause, and who asked for it and for the refund.
ASKED: dict[str, tuple[Ask, str, str]] = {
    "its customer cancels": (_customer_cancels, "booking.cancel", "alice"),
    "an operator cancels": (_operator_cancels, "booking.cancel", "root"),
    "an operator refunds": (_operator_refunds, "booking.refund", "root"),
    "an operator cancels its event": (_event_cancelled, "time", "root"),
    "an operator retries refunds": (_refunds_retried, "time", "root"),
}


@pytest.mark.parametrize("what", ASKED)
async def test_each_change_and_each_refund_names_who_asked_for_it(stage: Stage, what: str) -> None:
    ask, cause, by = ASKED[what]
    show = await stage.show(10, **CANCELLABLE)
    booking = await stage.confirmed(show)
    await ask(stage, show, booking)
    assert (await requesters(stage, booking))[-1] == (cause, by)
    assert (await stage.row(booking))["refund_by"] == by


async def test_what_payment_and_time_do_nobody_asked_for(stage: Stage) -> None:
    """The booking itself was asked for by its owner."""
    booking = await stage.confirmed(await stage.show(10))
    assert await requesters(stage, booking) == [
        ("booking.create", "alice"),
        ("payment.intent_created", None),
        ("payment.succeeded", None),
    ]
    expired = await stage.pending(await stage.show(10))
    await stage.reconcile(timedelta(hours=1))
    assert (await requesters(stage, expired))[-1] == ("time", None)


async def test_money_that_the_system_owes_back_nobody_asked_for(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2, amount_captured=1))
    assert [each.by for each in of(envelopes, RefundPayment)] == [None]


async def test_each_request_for_a_refund_names_who_wants_it(stage: Stage) -> None:
    """Also by the reconciler, when the first message is lost."""
    booking = await stage.confirmed(await stage.show(10))
    (first,) = of(await stage.give(refunding(booking, 500)), RefundPayment)
    await stage.reconcile(timedelta(minutes=1))
    await stage.bus.flush()
    entries: Any = await stage.redis.xrange("payment.commands")
    again = [RefundPayment.of_json(fields[b"data"]) for _, fields in entries]
    assert [(each.refund_id, each.by) for each in (first, *again)] == [(first.refund_id, "root")] * 2


async def test_a_gateway_of_the_release_before_names_the_operator_as_well(stage: Stage) -> None:
    """Its messages have the subject, by which requests are recognized; older ones name nobody."""
    booking = await stage.confirmed(await stage.show(10))
    await stage.give(RefundBooking(booking_id=booking.id, refund_id=uuid4(), amount=500))
    assert (await requesters(stage, booking))[-1] == ("booking.refund", None)


# --- who sees it --------------------------------------------------------------------------------------------


async def test_operators_see_who_asked_and_owners_do_not(stage: Stage) -> None:
    booking = await stage.confirmed(await stage.show(10))
    await stage.give(refunding(booking, 500))
    queries = [GetHistory(booking_id=booking.id, owner=owner) for owner in (None, "alice")]
    for_operators, for_owner = [reply.result["items"] for reply in await stage.call(*queries)]
    assert [each["by"] for each in for_operators] == ["alice", None, None, "root"]
    assert [each["by"] for each in for_owner] == [None] * 4
    assert [each["version"] for each in for_owner] == [1, 2, 3, 4]


async def test_no_answer_to_an_owner_names_an_operator(stage: Stage) -> None:
    """Nor does any notification, which the gateway passes on as it is."""
    booking = await stage.confirmed(await stage.show(10))
    asked = refunding(booking, 500, "operator-7")
    envelopes = await stage.give(asked)
    refunded = Refund(asked.refund_id, 500, "succeeded", by="operator-7")
    money = {"refund_ids": (asked.refund_id,), "amount_refunded": 500, "refunds": (refunded,)}
    envelopes += await stage.give(report(booking, IntentStatus.SUCCEEDED, 3, **money))
    for query in (
        GetBooking(booking_id=booking.id, owner="alice"),
        GetHistory(booking_id=booking.id, owner="alice"),
        ListBookings(owner="alice", limit=10),
    ):
        envelopes += await stage.give(query)
    to_operators = {RefundPayment, type(asked)}
    shown = [each.message.as_json() for each in envelopes if type(each.message) not in to_operators]
    replies = [text for text in shown if b"operator-7" in text]
    # The answer to the operator itself.
    assert len(replies) == 1
    assert of(envelopes, Reply)[0].result["payment"]["refunds"][0]["by"] == "operator-7"


async def test_every_answer_names_the_owner(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.book(show.order(owner="alice"), show.order(owner="bob"))
    (reply,) = await stage.call(ListBookings(owner="bob", operator=True, limit=10))
    assert [each["owner"] for each in reply.result["items"]] == ["bob"]
    (reply,) = await stage.call(ListBookings(owner=None, operator=True, limit=10))
    assert {each["owner"] for each in reply.result["items"]} == {"alice", "bob"}


async def test_a_retry_of_refunds_names_its_operator(stage: Stage) -> None:
    show = await stage.show(10, **CANCELLABLE)
    booking = await stage.confirmed(show)
    await stage.cancel(booking)
    await failed(stage, booking)
    (begun,) = await stage.call(RetryRefunds(event_id=show.id, retry_id=uuid4(), **request()))
    (seen,) = await stage.call(GetEvent(event_id=show.id, operator=True))
    assert begun.result["by"] == seen.result["refund_retry"]["by"] == "root"


# --- what money came, what went back, and why -----------------------------------------------------------------


async def shown(stage: Stage, id: UUID, owner: str | None) -> dict[str, Any]:
    (reply,) = await stage.call(GetBooking(booking_id=id, owner=owner))
    payment: dict[str, Any] = reply.result["payment"]
    return payment


async def test_operators_see_each_refund_with_its_state_and_reason(stage: Stage) -> None:
    """One that payment has not taken up yet is owed; its owner sees the amounts alone."""
    booking = await stage.confirmed(await stage.show(10))
    (answer,) = of(await stage.give(asked := refunding(booking, 500)), Reply)
    assert answer.result["payment"]["refunds"] == (await shown(stage, booking.id, None))["refunds"]
    (owed,) = answer.result["payment"]["refunds"]
    assert {name: value for name, value in owed.items() if value} == {
        "id": str(asked.refund_id), "amount": 500, "status": "owed", "by": "root",
    }  # fmt: skip

    at = stage.clock()
    by_hand = Refund(uuid4(), 200, "succeeded", by_hand=True, stripe_refund_id="re_1", created_at=at, updated_at=at)
    lost = Refund(asked.refund_id, 500, "failed", "expired_or_canceled_card", by="root", created_at=at)
    money = {"refund_ids": (asked.refund_id,), "amount_refunded": 200, "refunds": (by_hand, lost)}
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, refund_failed=True, **money))
    operators, owners = [await shown(stage, booking.id, owner) for owner in (None, "alice")]
    assert [(each["status"], each["reason"], each["by_hand"]) for each in operators["refunds"]] == [
        ("succeeded", None, True),
        ("failed", "expired_or_canceled_card", False),
    ]
    assert (owners["refunds"], owners["refund_error"]) == (None, None)
    for payment in (operators, owners):
        assert (payment["amount_captured"], payment["amount_refunded"]) == (2500, 200)


async def test_refunds_are_kept_as_they_were_reported(stage: Stage) -> None:
    """In the row and in memory alike, so that a report that comes again changes nothing; one from a process of the
    release before, which does not say them, keeps what is known."""
    booking = await stage.confirmed(await stage.show(10))
    at = stage.clock()
    refunds = (Refund(uuid4(), 500, "succeeded", by="root", created_at=at, updated_at=at),)
    money = {"refund_ids": (refunds[0].id,), "amount_refunded": 500}
    for version, values in ((3, money | {"refunds": refunds}), (3, money | {"refunds": refunds}), (4, money)):
        await stage.apply(report(booking, IntentStatus.SUCCEEDED, version, **values))
        async with stage.store.reading() as rows:
            (known,) = (await rows.bookings.load([booking.id])).values()
        assert known.refunds == refunds
    assert (await stage.row(booking))["version"] == 4


async def test_operators_see_why_stripe_refused_a_payment_and_its_owner_does_not(stage: Stage) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    rejection = Rejection("amount_too_small", "At least …", "amount", "req_1")
    await stage.apply(_rejected(booking, rejection=rejection))
    operators, owners = [await shown(stage, booking.id, owner) for owner in (None, "alice")]
    assert operators["rejection"] == {
        "code": "amount_too_small", "message": "At least …", "param": "amount", "request_id": "req_1",
    }  # fmt: skip
    assert (owners["rejection"], owners["last_error"]) == (None, None)
    (reply,) = await stage.call(GetBooking(booking_id=booking.id, owner="alice"))
    assert (reply.result["status"], reply.result["reason"]) == ("failed", "payment_rejected")


def _rejected(booking: Booking, **values: Any) -> PaymentReport:
    return report(booking, IntentStatus.REJECTED, 1, intent_id=None, client_secret=None, **values)


# --- where it is kept -----------------------------------------------------------------------------------------


async def test_the_operators_page_says_where_subjects_are_and_how_to_forget_them(stage: Stage) -> None:
    """Each column that it names has one here, and no other column has; its statements leave none."""
    customer, operator = "customer-of-this-test", "operator-of-\u00fc"
    show = await stage.show(10)
    refunded, failing = await stage.book(*(show.order(owner=customer) for _ in range(2)))
    limited = Stage.build(stage.database, stage.redis, buyers=BuyerPolicy(owner_holds=5))
    await limited.book(show.order(owner=customer))
    for booking in (refunded, failing):
        await stage.apply(report(booking, IntentStatus.SUCCEEDED, 1))
        await stage.give(asked := refunding(booking, 500, operator))
    refunds = (Refund(asked.refund_id, 500, "failed", by=operator),)
    await failed(stage, refunded, 2)
    ids = {"refund_ids": (asked.refund_id,)}
    await stage.apply(report(failing, IntentStatus.SUCCEEDED, 2, refund_failed=True, refunds=refunds, **ids))
    await stage.give(RetryRefunds(event_id=show.id, retry_id=uuid4(), **request(operator)))
    await stage.give(CancelEvent(event_id=show.id, **request(operator)))
    await stage.reconcile_now()
    await stage.give(EraseCustomers(erasure_id=uuid4(), subject=customer, **request(operator)))
    await stage.rows(
        "INSERT INTO mails (id, booking_id, kind, status, version, made_at, send_after, by) "
        "VALUES (gen_random_uuid(), $1, 'refund', 'owed', 1, now(), now(), $2)",
        refunded.id,
        operator,
    )

    kept = await holding(stage.database, customer) | await holding(stage.database, operator)
    assert kept == documented("booking")
    before = [dict(row) for row in await stage.rows("SELECT * FROM bookings ORDER BY id")]
    for old in (customer, operator):
        await forget(stage.database, "booking", old, f"forgotten {len(old)}")
        assert await holding(stage.database, old) == set()
    after = [dict(row) for row in await stage.rows("SELECT * FROM bookings ORDER BY id")]
    said = ("owner", "refund_by", "refunds")
    assert [{k: v for k, v in row.items() if k not in said} for row in after] == [
        {k: v for k, v in row.items() if k not in said} for row in before
    ]
    await stage.audit()
