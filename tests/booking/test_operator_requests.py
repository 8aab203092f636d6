"""An operator's request is done once: its row answers it when it is repeated, and refuses another content."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CreateEvent,
    EraseCustomers,
    EventChanges,
    OperatorCommand,
    OperatorRequest,
    RefundBooking,
    RefundPayment,
    Reply,
    RetryRefunds,
    RevokeTokens,
    SetCustomer,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.statuses import CancelReason, IntentStatus
from tests.booking.samples import CUSTOMER
from tests.booking.stage import Show, Stage, delivery, new_event, of, report


def by(
    operation: object, content: object = "", *, subject: str = "root", key: str | None = "k-1"
) -> OperatorRequest:
    """A request as the gateway describes it in its message."""
    digest = hashlib.sha256(str(content).encode()).hexdigest()
    return OperatorRequest(subject=subject, operation=str(operation), key=key, content_hash=digest)


def adding(show: Show, name: str, **values: Any) -> UpdateEvent:
    """PATCH that adds a ticket type, whose id is made from all of the request except its content."""
    request = by(f"PATCH {show.id}", name, **values)
    made = hashlib.sha256(f"{request.subject} {request.operation} {request.key or uuid4()}".encode()).digest()[:16]
    change = TicketTypeChange(id=UUID(bytes=made), new=True, name=name, unit_amount=100, capacity=5)
    return UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,), request=request)


def refunding(booking_id: UUID, amount: int | None, **values: Any) -> RefundBooking:
    request = by(f"refund {booking_id}", amount, **values)
    return RefundBooking(booking_id=booking_id, refund_id=uuid4(), amount=amount, request=request)


async def rows(stage: Stage) -> list[tuple[str, str, str]]:
    found = await stage.rows("SELECT subject, operation, key FROM operator_requests ORDER BY id")
    return [tuple(row) for row in found]


async def one(stage: Stage, message: OperatorCommand) -> Reply:
    (reply,) = await stage.call(message)
    return reply


# --- the same again, and another one under its key ------------------------------------------------------------


async def test_the_second_of_two_patches_under_one_key_is_refused(stage: Stage) -> None:
    """Each adds a ticket type: the second is refused, and the first is not written over."""
    show = await stage.show(10)
    first = await one(stage, adding(show, "Box"))
    second = await one(stage, adding(show, "Balcony"))
    assert (first.error, second.error) == (None, "idempotency_key_reused")
    named = await stage.rows("SELECT name FROM ticket_types WHERE event_id = $1 ORDER BY position", show.id)
    assert [row["name"] for row in named] == ["Type 0", "Box"]


async def test_the_second_of_two_refunds_under_one_key_is_refused(stage: Stage) -> None:
    """5.00, and 20.00 under the same key: the second is refused, also after the first refund has been made."""
    booking = await stage.confirmed(await stage.show(10))
    first = refunding(booking.id, 500)
    made = of(await stage.give(first), RefundPayment)
    assert [each.amount for each in made] == [500]
    done = report(booking, IntentStatus.SUCCEEDED, 3, refund_ids=(first.refund_id,), amount_refunded=500)
    await stage.apply(done)
    before = await stage.row(booking)
    other = await stage.give(refunding(booking.id, 2000))
    assert [(reply.error, of(other, RefundPayment)) for reply in of(other, Reply)] == [
        ("idempotency_key_reused", [])
    ]
    assert await stage.row(booking) == before


async def test_a_repeated_request_is_answered_as_it_was_and_does_nothing(stage: Stage) -> None:
    """The answer comes from the row, however the event has changed since."""
    show = await stage.show(10)
    first = await one(stage, adding(show, "Box"))
    await one(stage, UpdateEvent(event_id=show.id, changes=EventChanges(name="Opera")))
    again = await one(stage, adding(show, "Box"))
    assert again == first
    (row,) = await stage.rows("SELECT name, version FROM events")
    assert (row["name"], row["version"]) == ("Opera", 3)


Make = Callable[[Stage], Any]


async def _create(_: Stage) -> OperatorCommand:
    event = new_event(10)
    return event.model_copy(update={"request": by("POST /admin/events")})


async def _update(stage: Stage) -> OperatorCommand:
    return adding(await stage.show(10), "Box")


async def _cancel_event(stage: Stage) -> OperatorCommand:
    show = await stage.show(10)
    return CancelEvent(event_id=show.id, request=by(f"cancel {show.id}"))


async def _cancel(stage: Stage) -> OperatorCommand:
    booking = await stage.confirmed(await stage.show(10))
    request = by(f"cancel {booking.id}")
    return CancelBooking(booking_id=booking.id, owner=None, reason=CancelReason.BY_OPERATOR, request=request)


async def _refund(stage: Stage) -> OperatorCommand:
    booking = await stage.confirmed(await stage.show(10))
    return refunding(booking.id, 500)


async def _retry(stage: Stage) -> OperatorCommand:
    show = await stage.show(10)
    await stage.confirmed(show)
    await stage.rows("UPDATE bookings SET payment = 'refund_failed'")
    return RetryRefunds(event_id=show.id, retry_id=uuid4(), request=by(f"retry {show.id}"))


async def _revoke(stage: Stage) -> OperatorCommand:
    end = stage.clock() + timedelta(days=1)
    return RevokeTokens(claim="sub", value="mallory", expires_at=end, request=by("POST /admin/tokens/revoke"))


async def _set_customer(stage: Stage) -> OperatorCommand:
    booking = await stage.confirmed(await stage.show(10))
    request = by(f"PUT /bookings/{booking.id}/customer")
    return SetCustomer(booking_id=booking.id, owner=None, customer=CUSTOMER, request=request)


async def _erase(stage: Stage) -> OperatorCommand:
    await stage.book((await stage.show(10)).order().model_copy(update={"customer": CUSTOMER}))
    return EraseCustomers(erasure_id=uuid4(), email=CUSTOMER.email, request=by("POST /admin/customers/erase"))


EVERY = pytest.mark.parametrize(
    "make",
    [_create, _update, _cancel_event, _cancel, _refund, _retry, _revoke, _set_customer, _erase],
)


async def state(stage: Stage) -> list[Any]:
    """All rows that a request can change."""
    return [
        await stage.rows(f"SELECT * FROM {table} ORDER BY id")
        for table in (
            "events",
            "ticket_types",
            "bookings",
            "booking_transitions",
            "refund_retries",
            "revoked_tokens",
            "erasures",
            "operator_requests",
        )
    ]


@EVERY
async def test_every_request_leaves_a_row_and_is_carried_out_once(stage: Stage, make: Make) -> None:
    """Also when its message is delivered again. Another content under its key is refused."""
    message = await make(stage)
    await stage.rows("DELETE FROM operator_requests")
    first = await one(stage, message)
    assert first.error is None, first
    request = message.request
    assert await rows(stage) == [(request.subject, request.operation, request.key)]
    before = await state(stage)
    assert await one(stage, message) == first
    other = message.model_copy(update={"request": request.model_copy(update={"content_hash": "0" * 64})})
    assert (await one(stage, other)).error == "idempotency_key_reused"
    assert await state(stage) == before


@EVERY
async def test_a_message_delivered_twice_is_one_request(stage: Stage, make: Make) -> None:
    """Without a key, and from a gateway of the release before, the request is known by its message's id."""
    message = await make(stage)
    await stage.rows("DELETE FROM operator_requests")
    if isinstance(message, RefundBooking):
        message = message.model_copy(update={"request": None})
    else:
        message = message.model_copy(update={"request": message.request.model_copy(update={"key": None})})
    come = delivery(message)
    handlers = (stage.handlers, stage.event_handlers, stage.revocation_handlers, stage.erasure_handlers)
    table = {kind: handler for each in handlers for kind, handler in each.commands.items()}
    (first,) = of(list(await table[type(message)]([come])), Reply)
    before = await state(stage)
    (again,) = of(list(await table[type(message)]([come])), Reply)
    assert (again, again.error) == (first, None)
    assert await state(stage) == before
    ((_, _, key),) = await rows(stage)
    assert key == f"message {come.envelope.id}"


@EVERY
async def test_concurrent_equal_requests_are_carried_out_once_with_one_answer(stage: Stage, make: Make) -> None:
    """The second waits for the first one's row in Postgres, and finds its answer there."""
    message = await make(stage)
    await stage.rows("DELETE FROM operator_requests")
    envelopes = await asyncio.gather(*(stage.give(message) for _ in range(6)))
    replies = [reply for each in envelopes for reply in of(each, Reply)]
    assert replies == [replies[0]] * 6
    assert replies[0].error is None
    assert len(await rows(stage)) == 1
    assert sum(len(of(each, RefundPayment)) for each in envelopes) == int(
        isinstance(message, CancelBooking | RefundBooking)
    )


async def test_only_one_of_many_concurrent_contents_under_a_key_is_carried_out(stage: Stage) -> None:
    show = await stage.show(10)
    replies = await asyncio.gather(*(one(stage, adding(show, f"Box {number}")) for number in range(6)))
    assert sorted(str(reply.error) for reply in replies) == ["None", *["idempotency_key_reused"] * 5]
    assert len(await stage.rows("SELECT id FROM ticket_types WHERE event_id = $1", show.id)) == 2


async def test_a_request_twice_in_one_batch_is_carried_out_once(stage: Stage) -> None:
    """A batch is one transaction: the answers that it has given itself count, too."""
    booking = await stage.confirmed(await stage.show(10))
    same, other = refunding(booking.id, 500), refunding(booking.id, 2000)
    envelopes = await stage.give(same, same, other, refunding(booking.id, 500, key="k-2"))
    first, again, refused, late = of(envelopes, Reply)
    assert (again, first.error, refused.error, late.error) == (first, None, "idempotency_key_reused", "conflict")
    assert [each.refund_id for each in of(envelopes, RefundPayment)] == [same.refund_id]


# --- the scope of a key ---------------------------------------------------------------------------------------


async def test_a_key_belongs_to_one_subject_and_one_operation(stage: Stage) -> None:
    """Two operators use the same key, and one uses it for two events and two operations: each request is done."""
    show, second = await stage.show(10), await stage.show(10)
    replies = [
        await one(stage, adding(show, "Box")),
        await one(stage, adding(show, "Balcony", subject="second")),
        await one(stage, adding(second, "Stalls")),
        await one(stage, CancelEvent(event_id=show.id, request=by(f"cancel {show.id}"))),
    ]
    assert [reply.error for reply in replies] == [None] * 4
    named = await stage.rows("SELECT name FROM ticket_types WHERE event_id = $1 ORDER BY position", show.id)
    assert [row["name"] for row in named] == ["Type 0", "Box", "Balcony"]


async def test_without_a_key_each_request_is_a_new_one(stage: Stage) -> None:
    show = await stage.show(10)
    for _ in range(2):
        assert (await one(stage, adding(show, "Box", key=None))).error is None
    assert len(await stage.rows("SELECT id FROM ticket_types WHERE event_id = $1", show.id)) == 3


async def test_a_refusal_is_not_kept(stage: Stage) -> None:
    """Nothing was done: the same key is decided again, also with another content."""
    booking = await stage.confirmed(await stage.show(10))
    before = await rows(stage)
    assert (await one(stage, refunding(booking.id, 2501))).error == "amount_over_left"
    assert await rows(stage) == before
    assert (await one(stage, refunding(booking.id, 2500))).error is None
    (row,) = await stage.rows("SELECT refund_amount FROM bookings")
    assert row["refund_amount"] == 2500


async def test_answers_to_operators_hold_no_client_secret(stage: Stage) -> None:
    """Neither does the request's row."""
    booking = await stage.pending(await stage.show(10))
    cancel = CancelBooking(
        booking_id=booking.id, owner=None, reason=CancelReason.BY_OPERATOR, request=by(f"cancel {booking.id}")
    )
    reply = await one(stage, cancel)
    assert reply.result["payment"]["client_secret"] is None
    (row,) = await stage.rows("SELECT answer FROM operator_requests WHERE operation LIKE 'cancel %'")
    assert "secret_x" not in row["answer"]


async def test_customers_leave_no_rows(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    before = await rows(stage)
    await stage.cancel(booking)
    assert await rows(stage) == before


async def test_an_event_from_a_gateway_of_the_release_before_is_known_by_its_content(stage: Stage) -> None:
    """Its message has no request: the id is made from the key, and booking compares the content of the event."""
    message = new_event(10)
    first = await one(stage, message)
    assert (await one(stage, message)).result["id"] == first.result["id"]
    other: CreateEvent = message.model_copy(update={"name": "Opera"})
    assert (await one(stage, other)).error == "idempotency_key_reused"
    # A newer gateway does not create it a second time, either.
    keyed = message.model_copy(update={"request": by("POST /admin/events")})
    assert (await one(stage, keyed)).result["id"] == first.result["id"]
    assert len(await stage.rows("SELECT id FROM events")) == 1


# --- how long a key is kept -----------------------------------------------------------------------------------


async def test_rows_are_deleted_after_their_time_and_in_parts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("booking.reconciler.FORGET_MAX", 2)
    show = await stage.show(10)
    for number in range(4):
        await one(stage, adding(show, "Box", key=f"k-{number}"))
    await stage.reconcile(timedelta(days=29, hours=23))
    assert len(await rows(stage)) == 5
    await one(stage, adding(show, "Box", key="young"))
    left = []
    await stage.reconcile(timedelta(hours=2))
    for _ in range(3):
        left.append(len(await rows(stage)))
        await stage.reconcile_now()
    assert left == [4, 2, 1]
    assert [key for _, _, key in await rows(stage)] == ["young"]
    # A key that is no longer kept makes a new request.
    assert (await one(stage, adding(show, "Box", key="young"))).error is None
    await stage.reconcile(timedelta(days=31))
    assert await rows(stage) == []
