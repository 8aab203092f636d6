"""Each row of the payment's table through the real handlers, Postgres and the sandbox, once and doubled.

Every status against every status that Stripe may show: by an event, fetched, or as the first answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from common.contracts.messages import PaymentReport
from common.contracts.statuses import IntentStatus
from tests.payment.rows import (
    INTENTS,
    SHOWN,
    STARTS,
    TERMINAL,
    WITHOUT_INTENT,
    Json,
    begin,
    by_hand,
    event,
    intents_of,
    shown_as,
)
from tests.payment.stage import Booking, Stage, booking
from tests.payment.wire import Call

AGES = {"older": -10, "same second": 0, "younger": 10}


def after_event(start: str, shown: str, age: str) -> str:
    """The table of `docs/states.md`, from top to bottom."""
    status = start.partition(",")[0]
    if start in WITHOUT_INTENT or status in TERMINAL:
        return status
    if status == "creating" or shown in TERMINAL or age == "younger":
        return shown
    return status  # in the same second Stripe's own object decides, and it has not changed


def possible(start: str, age: str) -> bool:
    """Every event is younger than the first answer, and a payment without a snapshot has none to be older than."""
    return age == "younger" or start not in ("creating", "requires_payment_method", *WITHOUT_INTENT)


async def rows(stage: Stage, of: Sequence[Booking]) -> list[Any]:
    return [dict(await stage.row(each)) for each in of]


def check_reports(
    reports: Sequence[PaymentReport], before: Any, after: Any, asked: bool, *, reported_before: bool = False
) -> None:
    """A change that the booking can see is a new version and is reported once. A request is always answered, also
    if the version was reported just before (`reported_before`)."""
    changed = after["version"] - before["version"]
    assert changed in (0, 1)
    assert (after["status"] != before["status"]) <= bool(changed)
    assert [(report.payment.version, report.payment.status) for report in reports] == [
        (after["version"], after["status"])
    ] * ((1 if changed or asked else 0) + reported_before)
    assert (after["report_after"] is not None) >= bool(changed)


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("start", STARTS)
async def test_every_status_against_every_event(stage: Stage, start: str, age: str) -> None:
    """Each counts once, in the same batch and in a later one."""
    if not possible(start, age):
        return
    of = await begin(stage, start, len(SHOWN))
    intents = await (by_hand if start in WITHOUT_INTENT else intents_of)(stage, of)
    before = await rows(stage, of)
    events = [
        event(intents[each.id], shown, row["seen_at"], AGES[age])
        for each, shown, row in zip(of, SHOWN, before, strict=True)
    ]
    fetched = len([call for call in stage.wire.calls if call.method == "GET"])
    reports = await stage.webhooks(*events, *events)
    after = await rows(stage, of)

    fetches = 0
    status_of = {row["booking_id"]: row["status"] for row in after}
    for each, shown, old, new in zip(of, SHOWN, before, after, strict=True):
        assert new["status"] == after_event(start, shown, age), shown
        conflict = age == "same second" and not {shown, old["status"]} & set(TERMINAL) and shown != old["status"]
        # A dispute's events name no booking: those of this payment may have come before its row had its intent.
        new_money = old["intent_id"] is None and new["amount_captured"] > 0
        fetches += conflict or new_money
        of_it = [report for report in reports if report.booking_id == each.id]
        check_reports(of_it, old, new, conflict, reported_before=new_money)
    assert len([call for call in stage.wire.calls if call.method == "GET"]) - fetched == fetches
    again = await stage.webhooks(*reversed(events))
    assert all(report.payment.status == status_of[report.booking_id] for report in again)
    assert len(again) <= fetches  # in the same second as Stripe's answer: Stripe may have to be asked once more
    assert [row["status"] for row in await rows(stage, of)] == [row["status"] for row in after]


def show(stage: Stage, statuses: dict[str, str], method: str) -> None:
    """Let Stripe's answers show these bookings' intents in these statuses."""

    async def after(call: Call, answer: Json) -> None:
        for intent in answer.get("data", [answer]):
            name = intent.get("metadata", {}).get("booking_id")
            if call.method == method and name in statuses:
                intent.update(shown_as(intent, statuses[name]))

    stage.wire.after = after


@pytest.mark.parametrize("start", STARTS)
async def test_every_status_against_every_fetched_status(stage: Stage, start: str) -> None:
    """Stripe's own object wins over events; a terminal status stays; a payment without an intent asks nothing."""
    of = await begin(stage, start, len(SHOWN))
    before = await rows(stage, of)
    show(stage, {str(each.id): shown for each, shown in zip(of, SHOWN, strict=True)}, "GET")
    status = start.partition(",")[0]
    if status == "creating":
        stage.clock.ahead = timedelta(hours=25)  # the keys have expired: payment searches for the intents
    reports = await stage.do(*(each.sync for each in of))
    after = await rows(stage, of)

    for each, shown, old, new in zip(of, SHOWN, before, after, strict=True):
        assert new["status"] == (status if status in (*TERMINAL, "rejected") else shown)
        check_reports([report for report in reports if report.booking_id == each.id], old, new, asked=True)
    if status in ("canceled", "rejected"):
        assert not [call for call in stage.wire.calls if call.method == "GET"]
    again = await stage.do(*(each.sync for each in of))
    assert {report.booking_id: report.payment.version for report in again} == {
        each.id: new["version"] for each, new in zip(of, after, strict=True)
    }
    assert [new["status"] for new in await rows(stage, of)] == [new["status"] for new in after]


async def test_the_first_answer_sets_any_status(stage: Stage) -> None:
    """For a payment that is being created; a repeated request does not ask Stripe again."""
    of = await begin(stage, "creating", len(SHOWN))
    show(stage, {str(each.id): shown for each, shown in zip(of, SHOWN, strict=True)}, "POST")
    reports = await stage.do(*(each.create for each in of))

    assert {report.booking_id: report.payment.status for report in reports} == {
        each.id: shown for each, shown in zip(of, SHOWN, strict=True)
    }
    asked = len(stage.wire.calls)
    assert sorted(await stage.do(*(each.create for each in of)), key=by_booking) == sorted(reports, key=by_booking)
    assert len(stage.wire.calls) == asked


def by_booking(report: PaymentReport) -> str:
    return str(report.booking_id)


async def test_the_first_answer_reverts_no_later_status(stage: Stage) -> None:
    """Webhooks have overtaken it, whatever they show."""
    of = [booking() for _ in SHOWN]
    shown = {str(each.id): status for each, status in zip(of, SHOWN, strict=True)}
    early: list[PaymentReport] = []

    async def overtake(call: Call, answer: Json) -> None:
        if call.path == INTENTS and call.method == "POST":
            status = shown[answer["metadata"]["booking_id"]]
            early.extend(await stage.webhooks(event(answer, status, None, 1)))

    stage.wire.after = overtake
    await stage.do(*(each.create for each in of))

    # A slow machine gives up some calls after their webhooks were handled: then nobody is left to be told of these.
    assert {str(report.booking_id): report.payment.status for report in early}.items() <= shown.items()
    assert [(row["status"], row["version"]) for row in await rows(stage, of)] == [(status, 1) for status in SHOWN]


@pytest.mark.parametrize("meanwhile", ["requires_action", "processing", "succeeded", "canceled"])
async def test_a_change_during_a_fetch_is_not_reverted(stage: Stage, meanwhile: str) -> None:
    """The fetched object is older than an event that was applied meanwhile, unless it is terminal."""
    of = await begin(stage, "requires_payment_method", len(SHOWN))
    shown = {str(each.id): status for each, status in zip(of, SHOWN, strict=True)}

    async def overtake(call: Call, answer: Json) -> None:
        if call.method == "GET" and call.path.startswith(INTENTS):
            await stage.webhooks(event(answer, meanwhile, None, 1))
            answer.update(shown_as(answer, shown[answer["metadata"]["booking_id"]]))

    stage.wire.after = overtake
    await stage.do(*(each.sync for each in of))

    ended = meanwhile in TERMINAL
    expected = [status if status in TERMINAL and not ended else meanwhile for status in SHOWN]
    assert [row["status"] for row in await rows(stage, of)] == expected


@pytest.mark.parametrize("start", STARTS)
async def test_another_intent_of_the_booking_changes_nothing(stage: Stage, start: str) -> None:
    """Whatever status its events show, and whatever their age is."""
    of = await begin(stage, start, 1)
    if start == "creating":
        await stage.do(of[0].create)
    before = await rows(stage, of)
    stray = (await by_hand(stage, of))[of[0].id]
    assert stray["id"] != before[0]["intent_id"]

    for age in AGES.values():
        assert await stage.webhooks(*(event(stray, shown, before[0]["seen_at"], age) for shown in SHOWN)) == []
    assert await rows(stage, of) == before


def test_no_status_is_left_out() -> None:
    """The tests begin from each status, and show each status that Stripe has."""
    assert {start.partition(",")[0] for start in STARTS} == set(IntentStatus)
    assert set(SHOWN) == set(IntentStatus) - {IntentStatus.CREATING, IntentStatus.REJECTED}
