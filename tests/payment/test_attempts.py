"""Failed attempts to pay: each counts once and gives its time, in whatever order payment receives them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from common.contracts.messages import SyncPayment
from common.contracts.statuses import IntentStatus
from payment.domain import apply_snapshot
from payment.state import Attempt, IntentSnapshot, Payment, SnapshotConflict, Source
from tests.payment.stage import Stage
from tests.payment.test_domain import DECLINE, NOW, payment, snapshot
from tests.payment.test_events import made

WAITING, ACTION = IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.REQUIRES_ACTION
SECOND = timedelta(seconds=1)
LIVE = payment(WAITING)


def declined(number: int, age: int, source: Source = Source.EVENT) -> IntentSnapshot:
    at = NOW + age * SECOND
    return snapshot(WAITING, source, age, last_error=DECLINE, attempt=Attempt(f"ch_{number}", DECLINE, at))


def shown(of: Payment) -> tuple[int, int, datetime | None]:
    return of.version, of.failed_attempts, of.last_attempt_at


@pytest.mark.parametrize("apart", [0, 1, 60])
def test_two_equal_declines_count_as_two(apart: int) -> None:
    """Also within one second: each makes a new version, and the second gives its time, too."""
    first = apply_snapshot(LIVE, declined(1, 1), NOW)[0]
    second, conflict = apply_snapshot(first, declined(2, 1 + apart), NOW)

    assert shown(first) == (4, 1, NOW + SECOND)
    assert shown(second) == (5, 2, NOW + (1 + apart) * SECOND)
    assert conflict is None
    assert second.report_retry_at is not None


@pytest.mark.parametrize(
    "known", [apply_snapshot(LIVE, declined(2, 9), NOW)[0], payment(ACTION, seen_at=NOW + 9 * SECOND)]
)
def test_a_late_attempt_counts_and_gives_no_time(known: Payment) -> None:
    """It failed before a newer attempt, or before the known status; both stay."""
    late = apply_snapshot(known, declined(1, 5), NOW)[0]

    assert shown(late) == (known.version + 1, known.failed_attempts + 1, known.last_attempt_at)
    assert (late.status, late.seen_at) == (known.status, known.seen_at)


@pytest.mark.parametrize("status", [IntentStatus.SUCCEEDED, IntentStatus.CANCELED])
def test_an_attempt_counts_after_a_terminal_status(status: IntentStatus) -> None:
    end = payment(status)
    late = apply_snapshot(end, declined(1, 5), NOW)[0]
    assert (late.status, shown(late)[:2]) == (status, (4, 1))


def test_the_attempt_of_a_conflicting_snapshot_is_counted() -> None:
    """Only Stripe's own object can say which status is the newer one."""
    known = payment(ACTION, seen_at=NOW + SECOND)
    after, conflict = apply_snapshot(known, declined(1, 1), NOW)
    assert conflict is SnapshotConflict.AMBIGUOUS
    assert after.status is ACTION
    assert shown(after) == (4, 1, NOW + SECOND)


def test_a_fetched_intent_shows_its_newest_attempt() -> None:
    """The attempt failed after the known status, whenever its charge was made; if that time is not known, it gives
    no time. A fetched intent that an event has overtaken changes nothing."""
    processing = payment(IntentStatus.PROCESSING, seen_at=NOW + 9 * SECOND)
    fetched = declined(1, 5, source=Source.FETCHED)
    assert shown(apply_snapshot(processing, fetched, NOW)[0]) == (4, 1, NOW + 9 * SECOND)
    undated = fetched._replace(attempt=Attempt("ch_1", DECLINE, None))
    assert shown(apply_snapshot(processing, undated, NOW)[0]) == (4, 1, None)
    assert apply_snapshot(processing, fetched._replace(of_version=2), NOW)[0] == processing


def test_attempts_count_alike_in_every_order() -> None:
    snapshots = [declined(1, 1), declined(2, 2), snapshot(ACTION, age=3), declined(3, 4)]
    for order in permutations(snapshots):
        known = LIVE
        for each in order:
            known = apply_snapshot(known, each, NOW)[0]
        assert (known.failed_attempts, known.last_attempt_at) == (3, NOW + 4 * SECOND)


# --- Over real rows -----------------------------------------------------------------------------------------


async def attempts(stage: Stage) -> list[str]:
    return [row["id"] for row in await stage.rows("SELECT id FROM payment_attempts ORDER BY id")]


async def test_each_of_equal_declines_is_reported_and_stored_once(stage: Stage) -> None:
    """However often they come, alone or in one batch."""
    of, report = await made(stage)
    for _ in range(3):
        await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    first, *rest = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)

    (counted,) = await stage.webhooks(first, first)
    assert counted.type == "payment.declined"
    assert counted.payment.attempts == 1
    (last,) = await stage.webhooks(*rest, first)
    assert (last.payment.attempts, last.payment.version > counted.payment.version) == (3, True)
    assert last.payment.last_attempt_at is not None
    assert last.payment.last_error == counted.payment.last_error
    assert await stage.webhooks(first, *rest) == []
    assert len(await attempts(stage)) == 3
    assert (await stage.row(of))["failed_attempts"] == 3


async def test_an_attempt_without_a_charge_has_its_events_id(stage: Stage) -> None:
    """3-D Secure fails twice: the Stripe event's id stands for the charge."""
    _, report = await made(stage)
    for _ in range(2):
        await stage.pay(report.payment.intent_id, "pm_card_authenticationRequired")
        intent = await stage.call("GET", f"/v1/payment_intents/{report.payment.intent_id}")
        challenge = f"/_sandbox/challenges/{intent['id']}?client_secret={intent['client_secret']}"
        await stage.call("POST", challenge, outcome="failed")
    events = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)
    reports = [each for event in events for each in await stage.webhooks(event)]
    assert [each.payment.attempts for each in reports] == [1, 2]
    assert await attempts(stage) == sorted(event["id"] for event in events)


async def test_a_fetched_intent_reports_the_attempt_of_a_missing_event(stage: Stage) -> None:
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


async def test_a_late_decline_counts_after_a_newer_status(stage: Stage) -> None:
    """The status stays, and the attempt gives no time."""
    _, report = await made(stage)
    await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    await stage.pay(report.payment.intent_id, "pm_card_authenticationRequired")
    failed, action = await stage.events(
        "payment_intent.payment_failed", "payment_intent.requires_action", of=report.payment.intent_id
    )
    action["created"] = failed["created"] + 5
    (newer,) = await stage.webhooks(action)
    (late,) = await stage.webhooks(failed)
    assert late.type == "payment.action_required"
    assert (newer.payment.attempts, late.payment.attempts, late.payment.last_attempt_at) == (0, 1, None)
