"""CreatePaymentIntent: one live intent for each booking, whatever Stripe and the network do."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.payment.stage import Stage, booking
from tests.payment.wire import Call, Fault

CREATE = "/v1/payment_intents"


async def test_an_intent_is_made_and_reported(stage: Stage) -> None:
    """With the secret by which the customer pays, and the booking's id in its metadata."""
    wanted = booking()
    (report,) = await stage.do(wanted.create)

    assert report.type == "payment.intent_created"
    assert (report.booking_id, report.payment.version, report.payment.status) == (
        wanted.id,
        1,
        "requires_payment_method",
    )
    assert (report.payment.amount, report.payment.currency) == (wanted.amount, wanted.currency)
    assert report.payment.client_secret is not None
    intent = await stage.call("GET", f"{CREATE}/{report.payment.intent_id}")
    assert intent["metadata"] == {
        "booking_id": str(wanted.id),
        "event_id": str(wanted.event_id),
        "holdfast_installation": str(await stage.store.installation()),
    }


async def test_the_intents_of_a_batch_are_made_concurrently(stage: Stage) -> None:
    """All calls of the batch are under way at once."""
    together = asyncio.Barrier(20)

    async def wait(_: Call) -> None:
        await together.wait()

    stage.wire.before = wait
    reports = await stage.do(*(booking().create for _ in range(20)))

    assert len({report.payment.intent_id for report in reports}) == 20


async def test_a_repeated_message_makes_no_stripe_call(stage: Stage) -> None:
    """It is answered with the same report."""
    wanted = booking()
    first = await stage.do(wanted.create, wanted.create)
    second = await stage.do(wanted.create)

    assert first == second
    assert len(stage.wire.made(CREATE)) == 1


async def test_the_same_message_in_two_processes_makes_one_intent(stage: Stage) -> None:
    """Both ask under the same key."""
    wanted = booking()
    reports = await asyncio.gather(*(stage.do(wanted.create) for _ in range(4)))

    assert {report.payment.intent_id for each in reports for report in each} == {
        (await stage.row(wanted))["intent_id"]
    }
    assert len(await stage.live_intents(wanted)) == 1


async def test_a_payment_that_stripe_refuses_is_rejected(stage: Stage) -> None:
    """To ask again would not help, so it is not done."""
    wanted = booking(amount=1)
    (report,) = await stage.do(wanted.create)

    assert report.type == "payment.intent_rejected"
    assert report.payment.last_error is not None
    assert report.payment.last_error.code == "amount_too_small"
    assert await stage.do(wanted.create) == [report]
    assert len(stage.wire.made(CREATE)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(CREATE, status=500), id="500 after the work"),
        pytest.param(Fault(CREATE, status=500, passed_on=False), id="500 instead of the work"),
        pytest.param(Fault(CREATE, status=500, sticks=True), id="500 after the work, again for the same key"),
        pytest.param(Fault(CREATE, status=503, passed_on=False), id="503"),
        pytest.param(Fault(CREATE, status=409, passed_on=False), id="409"),
        pytest.param(Fault(CREATE, status=None), id="timeout after the work"),
        pytest.param(Fault(CREATE, status=None, passed_on=False), id="timeout instead of the work"),
        pytest.param(Fault(CREATE, status=429, passed_on=False, headers={"Retry-After": "0.1"}), id="429"),
    ],
)
async def test_a_request_with_unknown_outcome_is_retried(stage: Stage, fault: Fault) -> None:
    """The payment never fails by it, and in the end there is one intent."""
    wanted = booking()
    stage.wire.faults.append(fault)
    (report,) = await stage.do(wanted.create)

    assert report.type == "payment.intent_created"
    assert [intent["id"] for intent in await stage.live_intents(wanted)] == [report.payment.intent_id]


async def test_an_error_that_sticks_to_a_key_without_work_gets_a_new_key(stage: Stage) -> None:
    """Stripe's list shows no intent for the booking, so the next request has another key."""
    wanted = booking()
    stage.wire.faults.append(Fault(CREATE, status=500, passed_on=False, sticks=True))

    assert await stage.do(wanted.create) == []
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_created"
    assert {call.key for call in stage.wire.made(CREATE)} == {str(wanted.id), f"{wanted.id}-2"}
    assert len(await stage.live_intents(wanted)) == 1


async def test_a_long_list_of_intents_is_walked_through_in_parts(stage: Stage) -> None:
    """In a rush there are more than one message has time to read: the next message continues."""
    wanted = booking()
    stage.wire.faults.append(Fault(CREATE, status=500, sticks=True))
    pages = 0

    async def so_many_pages(call: Call) -> None:
        nonlocal pages
        if (call.method, call.path) == ("GET", CREATE):
            pages -= 1
            gone = [Fault(CREATE, method="GET", status=503, passed_on=False)] if pages < 0 else []
            stage.wire.faults[:] = gone

    stage.wire.before = so_many_pages
    assert await stage.do(wanted.create) == []
    for _ in range(110):
        await stage.call("POST", CREATE, amount=1000, currency="eur")
    pages = 1
    assert await stage.do(wanted.create) == []
    pages = 1
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_created"
    assert {call.key for call in stage.wire.made(CREATE)} == {str(wanted.id)}, "another one was made"


async def test_while_stripe_is_unavailable_the_payment_waits(stage: Stage) -> None:
    """The message is finished; the reconciler repeats the request until Stripe answers."""
    wanted = booking()
    outage = Fault(CREATE, status=503, passed_on=False, times=100)
    stage.wire.faults.append(outage)
    assert await stage.do(wanted.create) == []
    assert (await stage.row(wanted))["status"] == "creating"

    outage.times = 0
    stage.clock.ahead = timedelta(minutes=1)
    (payment,) = await stage.due("retry_at")
    assert payment.booking_id == wanted.id
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_created"
    assert (await stage.row(wanted))["drive_after"] is None


async def test_a_spent_key_makes_no_second_intent(stage: Stage) -> None:
    """Stripe forgets keys after a day: then payment looks for the intent before it makes another one."""
    wanted = booking()
    stage.wire.faults.append(Fault(CREATE, status=None, times=100))
    assert await stage.do(wanted.create) == []
    made = len(stage.wire.made(CREATE))

    stage.clock.ahead = timedelta(hours=25)
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_created"
    assert len(stage.wire.made(CREATE)) == made
    assert [intent["id"] for intent in await stage.live_intents(wanted)] == [report.payment.intent_id]


async def test_a_kill_between_insert_and_stripe_call_is_repaired(stage: Stage) -> None:
    """The row is written first, and the reconciler continues from it."""
    wanted = booking()

    async def killed(_: Call) -> None:
        raise asyncio.CancelledError

    stage.wire.before = killed
    running = asyncio.create_task(stage.do(wanted.create))
    await stage.wire.until(1, CREATE)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    stage.wire.before = None

    row = await stage.row(wanted)
    assert (row["status"], row["version"]) == ("creating", 0)
    assert row["drive_after"] is not None
    (report,) = await stage.do(wanted.create)
    assert report.type == "payment.intent_created"


async def test_a_wrong_key_is_logged_and_no_payment_fails(stage: Stage) -> None:
    """The actor is not ready, and payments wait."""
    wanted = booking()
    stage.wire.faults.append(Fault(CREATE, status=401, passed_on=False))

    assert await stage.do(wanted.create) == []
    assert stage.gate.reason is not None
    assert (await stage.row(wanted))["status"] == "creating"
    # Until the next probe is due, Stripe is not asked again.
    assert await stage.do(wanted.create) == []
    assert len(stage.wire.made(CREATE)) == 1


async def test_a_cancel_without_a_payment_saves_a_canceled_one(stage: Stage) -> None:
    """A later request for the intent changes nothing."""
    wanted = booking()
    (canceled,) = await stage.do(wanted.cancel)
    (again,) = await stage.do(wanted.create)

    assert canceled.type == "payment.canceled"
    assert again == canceled
    assert stage.wire.calls == []


async def test_a_cancel_while_the_intent_is_being_made_leaves_no_live_intent(stage: Stage) -> None:
    """It is canceled as soon as it exists."""
    wanted = booking()
    canceled: list[object] = []

    async def cancel(call: Call) -> None:
        if call.path == CREATE:
            canceled.extend(await stage.do(wanted.cancel))

    stage.wire.before = cancel
    reports = await stage.do(wanted.create)

    assert canceled == []
    assert reports[-1].type == "payment.canceled"
    assert await stage.live_intents(wanted) == []


async def test_a_live_intent_is_canceled(stage: Stage) -> None:
    """Stripe's answer is reported; a repeated cancel reports the same."""
    wanted = booking()
    await stage.do(wanted.create)
    first = await stage.do(wanted.cancel)
    second = await stage.do(wanted.cancel)

    assert [report.type for report in first] == ["payment.canceled"]
    assert first == second
    assert len([call for call in stage.wire.calls if call.path.endswith("/cancel")]) == 1


async def test_money_that_came_before_the_cancel_wins(stage: Stage) -> None:
    """Stripe refuses to cancel and returns the intent as it is; no webhook is needed."""
    wanted = booking()
    (made,) = await stage.do(wanted.create)
    await stage.pay(made.payment.intent_id)
    (report,) = await stage.do(wanted.cancel)

    assert report.type == "payment.succeeded"
    assert report.payment.amount_captured == wanted.amount


async def test_an_unanswered_cancel_is_retried(stage: Stage) -> None:
    """That the intent is to be canceled is in the database before Stripe is asked."""
    wanted = booking()
    (made,) = await stage.do(wanted.create)
    path = f"{CREATE}/{made.payment.intent_id}/cancel"
    stage.wire.faults.append(Fault(path, status=500, passed_on=False, times=4))
    assert await stage.do(wanted.cancel) == []

    stage.clock.ahead = timedelta(minutes=1)
    (due,) = await stage.due("retry_at")
    assert due.must_be_canceled
    (report,) = await stage.do(wanted.cancel)
    assert report.type == "payment.canceled"


async def test_while_stripe_is_unavailable_calls_fail_without_waiting(stage: Stage) -> None:
    """After some unanswered requests, one request a second finds out when Stripe is back."""
    outage = Fault(CREATE, status=None, passed_on=False, times=1000)
    stage.wire.faults.append(outage)
    assert await stage.do(*(booking().create for _ in range(30))) == []
    asked = len(stage.wire.made(CREATE))
    assert await stage.do(*(booking().create for _ in range(100))) == []
    assert len(stage.wire.made(CREATE)) <= asked + 1  # the others failed without a call, so they did not wait

    outage.times = 0
    stage.stripe._breaker._next_probe = 0.0
    (probe,) = await stage.do(booking().create)
    assert probe.type == "payment.intent_created"
    assert len(await stage.do(*(booking().create for _ in range(10)))) == 10
