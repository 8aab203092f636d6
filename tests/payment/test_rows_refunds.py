"""Each row of the refund's table through the real handlers, Postgres and the sandbox: doubled and out of order."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import pytest

from common.contracts.messages import PaymentReport
from payment.refunds import BY_HAND, Refund, RefundStatus, request
from payment.stripe_calls import create_refund
from tests.payment.rows import NUMBERS, Json, bank
from tests.payment.stage import Booking, Stage, booking
from tests.payment.wire import Call, Fault

REFUNDS = "/v1/refunds"
PART = 2000
# In the order in which a refund reaches them.
STATUSES = ("requested", "pending", "succeeded", "failed")
SHOWN = STATUSES[1:]


def ours(of: Booking) -> UUID:
    """The id of the refund with which a test begins. It is also a key at Stripe, so each test has its own."""
    return uuid5(of.id, "ours")


def other(of: Booking) -> UUID:
    return uuid5(of.id, "other")


async def refunds(stage: Stage, of: Booking) -> list[Any]:
    return list(await stage.rows("SELECT * FROM refunds WHERE booking_id = $1 ORDER BY created_at, id", of.id))


async def statuses(stage: Stage, of: Booking) -> list[str]:
    return [refund["status"] for refund in await refunds(stage, of)]


def shows(stage: Stage, as_status: str) -> None:
    """Let Stripe show every refund in this status, in all its answers."""

    async def after(call: Call, answer: Json) -> None:
        if call.path == REFUNDS:
            for refund in answer.get("data", [answer]):
                refund["status"] = as_status

    stage.wire.after = after


async def at_stripe(stage: Stage, of: Booking) -> list[Json]:
    intent = (await stage.row(of))["intent_id"]
    listed: list[Json] = (await stage.call("GET", REFUNDS, payment_intent=intent))["data"]
    return listed


def event(refund: Json, as_status: str) -> Json:
    """A webhook that shows the refund in this status."""
    return {
        "id": f"evt_made_up_{next(NUMBERS)}",
        "object": "event",
        "type": "refund.failed" if as_status == "failed" else "refund.updated",
        "created": refund["created"],
        "livemode": False,
        "data": {"object": {**refund, "status": as_status}},
    }


async def requested(stage: Stage, of: Booking, amount: int = PART) -> None:
    """The row exists, and the process was killed before it asked Stripe."""
    now = stage.clock()
    old = await stage.load(of)
    row = request(ours(of), of.id, amount, of.amount, old.refunds, now)
    async with stage.store.transaction() as transaction:
        await transaction.save([(old, old._replace(refunds=(*old.refunds, row)))])


async def known(stage: Stage, of: Booking) -> tuple[Refund, ...]:
    async with stage.store.reading() as rows:
        payments = await rows.load([of.id])
    return payments[of.id].refunds if payments else ()


async def begin(stage: Stage, start: str) -> Booking:
    """A paid booking with a refund of ours in that status; Stripe has made the refund."""
    of = booking()
    await stage.paid(of)
    if start == "requested":
        await requested(stage, of)
        payment = await stage.load(of)
        await create_refund(
            stage.stripe, payment, payment.refunds[0], await stage.store.installation(), deadline=float("inf")
        )
    elif start == "failed":
        await stage.do(of.refund(PART, ours(of)))
        (refund,) = await at_stripe(stage, of)
        await bank(stage, f"refunds/{refund['id']}/fail")
        await stage.webhooks(*await stage.events("refund.failed", of=refund["id"]))
    else:
        shows(stage, start)
        await stage.do(of.refund(PART, ours(of)))
        stage.wire.after = None
    assert await statuses(stage, of) == [start]
    return of


def check(report: PaymentReport, *rows: Any) -> None:
    """Check that a report has all refunds."""
    assert set(report.payment.refund_ids) == {row["id"] for row in rows}
    assert report.payment.amount_refunded == sum(row["amount"] for row in rows if row["status"] == "succeeded")
    assert report.payment.refund_pending is any(row["status"] in ("requested", "pending") for row in rows)


SOURCES = ("event", "fetched")


async def see(stage: Stage, of: Booking, shown: str, source: str) -> list[PaymentReport]:
    """Stripe shows the booking's refunds in this status, by an event or when they are fetched."""
    if source == "event":
        return await stage.webhooks(*(event(refund, shown) for refund in await at_stripe(stage, of)))
    shows(stage, shown)
    reports = await stage.do(of.sync)
    stage.wire.after = None
    return reports


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("start", STATUSES)
async def test_every_status_against_every_snapshot(stage: Stage, start: str, shown: str, source: str) -> None:
    """A later status is applied, an earlier one is not; a repeated one changes nothing."""
    of = await begin(stage, start)
    reports = await see(stage, of, shown, source)
    (row,) = await refunds(stage, of)
    expected = max(start, shown, key=STATUSES.index)
    assert (row["status"], row["amount"]) == (expected, PART)
    assert (row["drive_after"] is None, row["stripe_refund_id"] is None) == (True, False)
    assert len(reports) == (start != expected or source == "fetched")
    for report in reports:
        check(report, row)
        assert report.payment.refund_failed is (expected == "failed")

    for again in (shown, *SHOWN[: SHOWN.index(expected)]):
        await see(stage, of, again, source)
        assert await refunds(stage, of) == [row]


@pytest.mark.parametrize("shown", SHOWN)
async def test_a_requested_refund_gets_the_status_that_stripe_answers(stage: Stage, shown: str) -> None:
    """It is made once, though several processes ask for it at once and again later."""
    of = booking()
    await stage.paid(of)
    shows(stage, shown)
    reports = await asyncio.gather(
        *(stage.do(of.refund(PART, ours(of)), of.refund(PART, ours(of))) for _ in range(3))
    )

    (row,) = await refunds(stage, of)
    assert row["status"] == shown
    check(max((each[0] for each in reports), key=lambda report: report.payment.version), row)
    (again,) = await stage.do(of.refund(PART, ours(of)))
    check(again, row)
    assert [refund["amount"] for refund in await at_stripe(stage, of)] == [PART]


@pytest.mark.parametrize("amount", [PART, None, 5001])
@pytest.mark.parametrize("start", SHOWN)
async def test_a_repeated_request_with_the_same_id_changes_nothing(
    stage: Stage, start: str, amount: int | None
) -> None:
    """Whatever amount it names: the refund is reported again, and Stripe is not asked."""
    of = await begin(stage, start)
    before, asked = await refunds(stage, of), len(stage.wire.calls)
    first = await stage.do(of.refund(amount, ours(of)), of.refund(amount, ours(of)))
    second = await stage.do(of.refund(amount, ours(of)))

    assert len(first) == 1
    assert first == second
    check(first[0], *before)
    assert (await refunds(stage, of), len(stage.wire.calls)) == (before, asked)


async def test_a_repeated_request_finds_the_refund_of_a_killed_process(stage: Stage) -> None:
    """Stripe finds it by its key: there is one refund."""
    of = await begin(stage, "requested")
    (report,) = await stage.do(of.refund(PART, ours(of)))

    check(report, *await refunds(stage, of))
    assert report.payment.amount_refunded == PART
    assert [refund["amount"] for refund in await at_stripe(stage, of)] == [PART]


@pytest.mark.parametrize(
    ("amount", "fits", "fits_if_failed"),
    [(3000, 3000, 3000), (3001, None, 3001), (5001, None, None), (None, 3000, 5000)],
)
@pytest.mark.parametrize("start", STATUSES)
async def test_another_refund_is_limited_to_what_is_left(
    stage: Stage, start: str, amount: int | None, fits: int | None, fits_if_failed: int | None
) -> None:
    """Its row exists before Stripe is asked; a refund over what is left fails at once, without asking Stripe."""
    of = await begin(stage, start)
    expected = fits_if_failed if start == "failed" else fits
    seen: list[str] = []

    async def check_row(call: Call) -> None:
        if call.path == REFUNDS and call.method == "POST" and call.key == str(other(of)):
            seen.extend(row["status"] for row in await refunds(stage, of) if row["id"] == other(of))

    stage.wire.before = check_row
    message = of.refund(amount, other(of))
    reports = await stage.do(message, message)
    (row,) = [each for each in await refunds(stage, of) if each["id"] == other(of)]

    assert (row["status"], row["amount"]) == (("succeeded", expected) if expected else ("failed", amount))
    assert seen == (["requested"] if expected else [])
    check(reports[-1], *await refunds(stage, of))
    before = await refunds(stage, of)
    await stage.do(message)
    assert await refunds(stage, of) == before


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shown", SHOWN)
async def test_a_refund_that_is_not_ours_is_stored_as_made_by_hand(stage: Stage, shown: str, source: str) -> None:
    """It is saved as Stripe shows it, under an id made from Stripe's id, however often and in whatever way
    it is shown."""
    of = booking()
    paid = await stage.paid(of)
    made = await stage.call("POST", REFUNDS, payment_intent=paid.payment.intent_id, amount=PART)
    (report,) = await see(stage, of, shown, source)
    (row,) = await refunds(stage, of)

    assert (row["id"], row["by_hand"]) == (uuid5(BY_HAND, made["id"]), True)
    assert (row["status"], row["amount"], row["stripe_refund_id"]) == (shown, PART, made["id"])
    check(report, row)
    for each in SOURCES:
        await see(stage, of, shown, each)
        assert await refunds(stage, of) == [row]


async def test_a_refund_that_stripe_refuses_has_failed(stage: Stage) -> None:
    """It is not asked for again under this id."""
    of = booking()
    await stage.paid(of)
    refusal = {"type": "invalid_request_error", "code": "charge_disputed"}
    stage.wire.faults.append(Fault(REFUNDS, passed_on=False, status=400, body=refusal))
    reports = await stage.do(of.refund(PART, ours(of)))
    (row,) = await refunds(stage, of)

    assert (row["status"], row["reason"], row["drive_after"]) == ("failed", "charge_disputed", None)
    assert reports[-1].payment.refund_failed
    await stage.do(of.refund(PART, ours(of)))
    assert (await refunds(stage, of), await at_stripe(stage, of)) == ([row], [])


@pytest.mark.parametrize("source", SOURCES)
async def test_a_requested_refund_gives_way_to_one_made_by_hand(stage: Stage, source: str) -> None:
    """It comes back when Stripe shows that it was made after all, and the other one was not."""
    of = booking()
    paid = await stage.paid(of)
    await requested(stage, of, 4000)
    by_hand = await stage.call("POST", REFUNDS, payment_intent=paid.payment.intent_id, amount=PART)
    await see(stage, of, "succeeded", source)
    assert sorted(await statuses(stage, of)) == ["failed", "succeeded"]
    (mine,) = [row for row in await refunds(stage, of) if row["id"] == ours(of)]
    assert (mine["status"], mine["reason"]) == ("failed", "amount_too_large")

    made = {**by_hand, "id": "re_ours", "amount": 4000, "metadata": {"refund_id": str(ours(of))}}
    reports = await stage.webhooks(event(by_hand, "failed"), event(made, "succeeded"))
    assert sorted(await statuses(stage, of)) == ["failed", "succeeded"]
    assert reports[-1].payment.amount_refunded == 4000


INSERT = """
INSERT INTO refunds (id, booking_id, amount, status, asked_at, created_at, updated_at)
VALUES (gen_random_uuid(), $1, $2, $3, now(), now(), now())
"""
# With a refund of 2000 of 5000 captured, in each status: whether another row, or a change, is allowed.
STATEMENTS = [
    ("pending", INSERT, (3000, "requested"), True),
    ("pending", INSERT, (3001, "requested"), False),
    ("succeeded", INSERT, (3001, "pending"), False),
    ("requested", INSERT, (3001, "succeeded"), False),
    ("succeeded", INSERT, (9000, "failed"), True),
    ("failed", INSERT, (5000, "requested"), True),
    ("failed", INSERT, (5001, "requested"), False),
    ("succeeded", "UPDATE refunds SET amount = $2 WHERE booking_id = $1", (5001,), False),
    ("failed", "UPDATE refunds SET status = $2, amount = $3 WHERE booking_id = $1", ("succeeded", 5001), False),
    # A part keeps its amount; only a refund of all that is left may change its amount.
    ("succeeded", "UPDATE refunds SET amount = $2 WHERE booking_id = $1", (1999,), False),
    ("succeeded", "UPDATE refunds SET whole = true, amount = $2 WHERE booking_id = $1", (1999,), False),
]


@pytest.mark.parametrize(("start", "statement", "values", "allowed"), STATEMENTS)
async def test_the_database_refuses_more_than_was_captured(
    stage: Stage, start: str, statement: str, values: tuple[Any, ...], allowed: bool
) -> None:
    """Postgres refuses it by itself, whatever the code does."""
    of = await begin(stage, start)
    before = await refunds(stage, of)
    if allowed:
        await stage.rows(statement, of.id, *values)
        return
    with pytest.raises(asyncpg.CheckViolationError, match=r"captured|is a part"):
        await stage.rows(statement, of.id, *values)
    assert await refunds(stage, of) == before


def test_no_status_is_left_out() -> None:
    """The tests begin from each status."""
    assert tuple(status.value for status in RefundStatus) == STATUSES


async def test_a_refund_of_another_booking_is_never_overwritten(stage: Stage) -> None:
    """An id belongs to one booking: saving it for another booking fails, and changes nothing."""
    first, other = await begin(stage, "succeeded"), booking()
    await stage.paid(other)
    row = request(ours(first), other.id, PART, other.amount, (), stage.clock())
    old = await stage.load(other)
    with pytest.raises(RuntimeError):
        async with stage.store.transaction() as transaction:
            await transaction.save([(old, old._replace(refunds=(row,)))])
    assert (await statuses(stage, first), await statuses(stage, other)) == (["succeeded"], [])
