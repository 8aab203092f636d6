"""Failed attempts to pay: each counts once and gives its time, in whatever order payment receives them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from common.contracts.messages import SyncPayment
from common.contracts.statuses import IntentStatus
from payment.domain import take_over
from payment.state import Attempt, Doubt, Payment, Picture, Source
from tests.payment.stage import Stage
from tests.payment.test_domain import DECLINE, NOW, payment, picture
from tests.payment.test_events import made

WAITING, ACTION = IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.REQUIRES_ACTION
SECOND = timedelta(seconds=1)
LIVE = payment(WAITING)


def declined(number: int, age: int, source: Source = Source.EVENT) -> Picture:
    at = NOW + age * SECOND
    return picture(WAITING, source, age, last_error=DECLINE, attempt=Attempt(f"ch_{number}", DECLINE, at))


def shown(of: Payment) -> tuple[int, int, datetime | None]:
    return of.version, of.failed_attempts, of.last_attempt_at


@pytest.mark.parametrize("apart", [0, 1, 60])
def test_equal_declines_are_two(apart: int) -> None:
    """Also within one second: each makes a new version, and the second gives its time, too."""
    first = take_over(LIVE, declined(1, 1), NOW)[0]
    second, doubt = take_over(first, declined(2, 1 + apart), NOW)

    assert shown(first) == (4, 1, NOW + SECOND)
    assert shown(second) == (5, 2, NOW + (1 + apart) * SECOND)
    assert doubt is None
    assert second.report_after is not None


@pytest.mark.parametrize(
    "known", [take_over(LIVE, declined(2, 9), NOW)[0], payment(ACTION, seen_at=NOW + 9 * SECOND)]
)
def test_a_late_attempt_counts_and_gives_no_time(known: Payment) -> None:
    """It failed before a newer attempt, or before the known status; both stay."""
    late = take_over(known, declined(1, 5), NOW)[0]

    assert shown(late) == (known.version + 1, known.failed_attempts + 1, known.last_attempt_at)
    assert (late.status, late.seen_at) == (known.status, known.seen_at)


@pytest.mark.parametrize("status", [IntentStatus.SUCCEEDED, IntentStatus.CANCELED])
def test_it_counts_after_the_end_as_well(status: IntentStatus) -> None:
    end = payment(status)
    late = take_over(end, declined(1, 5), NOW)[0]
    assert (late.status, shown(late)[:2]) == (status, (4, 1))


def test_a_doubtful_picture_still_tells_of_its_attempt() -> None:
    """Only Stripe's own object can say which status is the newer one."""
    known = payment(ACTION, seen_at=NOW + SECOND)
    after, doubt = take_over(known, declined(1, 1), NOW)
    assert doubt is Doubt.AMBIGUOUS
    assert after.status is ACTION
    assert shown(after) == (4, 1, NOW + SECOND)


def test_what_is_fetched_shows_its_newest_attempt() -> None:
    """The attempt failed after the known status, whenever its charge was made; if that time is not known, it gives
    no time. A fetched intent that an event has overtaken changes nothing."""
    processing = payment(IntentStatus.PROCESSING, seen_at=NOW + 9 * SECOND)
    fetched = declined(1, 5, source=Source.FETCHED)
    assert shown(take_over(processing, fetched, NOW)[0]) == (4, 1, NOW + 9 * SECOND)
    undated = fetched._replace(attempt=Attempt("ch_1", DECLINE, None))
    assert shown(take_over(processing, undated, NOW)[0]) == (4, 1, None)
    assert take_over(processing, fetched._replace(of_version=2), NOW)[0] == processing


def test_every_order_counts_alike() -> None:
    pictures = [declined(1, 1), declined(2, 2), picture(ACTION, age=3), declined(3, 4)]
    for order in permutations(pictures):
        known = LIVE
        for each in order:
            known = take_over(known, each, NOW)[0]
        assert (known.failed_attempts, known.last_attempt_at) == (3, NOW + 4 * SECOND)


# --- Over real rows -----------------------------------------------------------------------------------------


async def attempts(stage: Stage) -> list[str]:
    return [row["id"] for row in await stage.rows("SELECT id FROM payment_attempts ORDER BY id")]


async def test_equal_declines_are_told_and_kept_once_each(stage: Stage) -> None:
    """However often they come, alone or in one batch."""
    of, report = await made(stage)
    for _ in range(3):
        await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    first, *rest = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)

    (told,) = await stage.webhooks(first, first)
    assert told.type == "payment.declined"
    assert told.payment.attempts == 1
    (last,) = await stage.webhooks(*rest, first)
    assert (last.payment.attempts, last.payment.version > told.payment.version) == (3, True)
    assert last.payment.last_attempt_at is not None
    assert last.payment.last_error == told.payment.last_error
    assert await stage.webhooks(first, *rest) == []
    assert len(await attempts(stage)) == 3
    assert (await stage.row(of))["failed_attempts"] == 3


async def test_an_attempt_without_a_charge_is_its_events(stage: Stage) -> None:
    """3-D Secure fails twice: the Stripe event's id stands for the charge."""
    _, report = await made(stage)
    for _ in range(2):
        await stage.pay(report.payment.intent_id, "pm_card_authenticationRequired")
        intent = await stage.call("GET", f"/v1/payment_intents/{report.payment.intent_id}")
        challenge = f"/_sandbox/challenges/{intent['id']}?client_secret={intent['client_secret']}"
        await stage.call("POST", challenge, outcome="failed")
    events = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)
    told = [each for event in events for each in await stage.webhooks(event)]
    assert [each.payment.attempts for each in told] == [1, 2]
    assert await attempts(stage) == sorted(event["id"] for event in events)


async def test_a_fetched_intent_tells_of_the_attempt_that_no_event_told_of(stage: Stage) -> None:
    """Once, though its event comes later."""
    of, report = await made(stage)
    await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    (found,) = await stage.do(SyncPayment(booking_id=of.id))
    assert found.type == "payment.declined"
    assert found.payment.attempts == 1
    assert found.payment.last_attempt_at is not None
    events = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)
    assert await stage.webhooks(*events) == []
    assert (await stage.row(of))["failed_attempts"] == 1


async def test_a_late_decline_counts_behind_a_newer_state(stage: Stage) -> None:
    """The status stays, and the attempt gives no time."""
    _, report = await made(stage)
    await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    await stage.pay(report.payment.intent_id, "pm_card_authenticationRequired")
    failed, action = await stage.events(
        "payment_intent.payment_failed", "payment_intent.requires_action", of=report.payment.intent_id
    )
    action["created"] = failed["created"] + 5
    (told,) = await stage.webhooks(action)
    (late,) = await stage.webhooks(failed)
    assert late.type == "payment.action_required"
    assert (told.payment.attempts, late.payment.attempts, late.payment.last_attempt_at) == (0, 1, None)
