"""The payment's state machine as a table: every status against every snapshot, doubled and out of order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.statuses import IntentStatus
from common.contracts.values import PaymentError, Rejection
from payment import domain
from payment.domain import RETRY_PAUSES, apply_snapshot
from payment.reports import report
from payment.state import TERMINAL, IntentSnapshot, Payment, SnapshotConflict, Source

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
BOOKING = UUID(int=7)
DECLINE = PaymentError("card_declined", "insufficient_funds", "Your card has insufficient funds.")
SHOWN = [status for status in IntentStatus if status not in (IntentStatus.CREATING, IntentStatus.REJECTED)]
LIVE = [status for status in SHOWN if status not in TERMINAL]


def payment(status: IntentStatus, **values: object) -> Payment:
    known = status not in (IntentStatus.CREATING, IntentStatus.REJECTED)
    made = Payment(
        BOOKING,
        UUID(int=1),
        1000,
        "eur",
        status,
        asked_at=NOW,
        created_at=NOW,
        updated_at=NOW,
        intent_id="pi_1" if known else None,
        client_secret="pi_1_secret" if known and status not in TERMINAL else None,
        amount_captured=1000 if status is IntentStatus.SUCCEEDED else 0,
        seen_at=NOW if known else None,
        version=3 if known else 0,
    )
    return made._replace(**values)  # type: ignore[arg-type]


def snapshot(status: IntentStatus, source: Source = Source.EVENT, age: int = 1, **values: object) -> IntentSnapshot:
    shown = IntentSnapshot(
        "pi_1",
        status,
        source,
        NOW + timedelta(seconds=age),
        client_secret="pi_1_secret",
        amount_captured=1000 if status is IntentStatus.SUCCEEDED else 0,
    )
    return shown._replace(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", list(Source))
@pytest.mark.parametrize("shown", SHOWN)
def test_a_payment_being_created_applies_any_snapshot(shown: IntentStatus, source: Source) -> None:
    """A webhook may overtake the answer to the request that made the intent."""
    after = apply_snapshot(payment(IntentStatus.CREATING), snapshot(shown, source), NOW)[0]

    assert (after.status, after.intent_id, after.version) == (shown, "pi_1", 1)
    assert after.report_retry_at is not None
    assert after.retry_at is None


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("terminal", sorted(TERMINAL))
def test_a_terminal_status_never_changes(terminal: IntentStatus, shown: IntentStatus) -> None:
    """For no snapshot, whatever its source or age."""
    before = payment(terminal)
    for source, age in product(Source, (-10, 0, 10)):
        after = apply_snapshot(before, snapshot(shown, source, age), NOW)[0]

        assert after.status is terminal, (source, age)
        assert after.version == before.version, (source, age)


@pytest.mark.parametrize("age", [-10, 0, 10])
@pytest.mark.parametrize("terminal", [IntentStatus.SUCCEEDED, IntentStatus.CANCELED])
@pytest.mark.parametrize("before", LIVE)
def test_a_terminal_snapshot_always_wins(before: IntentStatus, terminal: IntentStatus, age: int) -> None:
    """However late it comes: at Stripe, too, such a status is final."""
    after = apply_snapshot(payment(before), snapshot(terminal, age=age), NOW)[0]

    assert (after.status, after.version) == (terminal, 4)


@pytest.mark.parametrize("shown", LIVE)
@pytest.mark.parametrize("before", LIVE)
def test_a_younger_event_wins_over_an_older_one(before: IntentStatus, shown: IntentStatus) -> None:
    """By Stripe's own time, whichever arrived first."""
    younger = apply_snapshot(payment(before), snapshot(shown, age=1), NOW)
    older = apply_snapshot(payment(before), snapshot(shown, age=-1), NOW)

    assert younger[0].status is shown
    assert older[0] == payment(before)
    assert (younger[1], older[1]) == (None, None)


@pytest.mark.parametrize("shown", LIVE)
@pytest.mark.parametrize("before", LIVE)
def test_two_different_events_of_one_second_are_a_conflict(before: IntentStatus, shown: IntentStatus) -> None:
    """Stripe's times are whole seconds, so Stripe's own object has to be fetched."""
    result = apply_snapshot(payment(before), snapshot(shown, age=0), NOW)

    assert result[0] == payment(before)
    assert result[1] is (None if shown is before else SnapshotConflict.AMBIGUOUS)


@pytest.mark.parametrize("shown", LIVE)
@pytest.mark.parametrize("before", LIVE)
def test_stripes_own_object_wins_over_events(before: IntentStatus, shown: IntentStatus) -> None:
    """A fetched object is the present state, unless an event arrived while it was being fetched."""
    fetched = snapshot(shown, Source.FETCHED, age=-5, of_version=3)

    assert apply_snapshot(payment(before), fetched, NOW)[0].status is shown
    assert apply_snapshot(payment(before, version=4), fetched, NOW)[0].status is before


@pytest.mark.parametrize("before", SHOWN)
def test_a_snapshot_of_the_creation_reverts_nothing(before: IntentStatus) -> None:
    """Stripe answers a repeated idempotency key with its first answer, and `created` events come late."""
    first = snapshot(IntentStatus.REQUIRES_PAYMENT_METHOD, Source.CREATED, age=100)

    assert apply_snapshot(payment(before), first, NOW)[0] == payment(before)


def test_an_event_in_the_second_of_the_creation_is_newer() -> None:
    """The first snapshot counts as the oldest, so there is no conflict."""
    made = apply_snapshot(
        payment(IntentStatus.CREATING), snapshot(IntentStatus.REQUIRES_PAYMENT_METHOD, Source.CREATED, age=0), NOW
    )[0]
    after = apply_snapshot(made, snapshot(IntentStatus.REQUIRES_ACTION, age=0), NOW)

    assert (after[0].status, after[1]) == (IntentStatus.REQUIRES_ACTION, None)


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("before", SHOWN)
def test_another_intent_is_a_stray(before: IntentStatus, shown: IntentStatus) -> None:
    """One booking has one intent; another one changes nothing and is returned as a stray."""
    result = apply_snapshot(payment(before), snapshot(shown, intent_id="pi_2"), NOW)

    assert result == (payment(before), SnapshotConflict.STRAY)


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("before", list(IntentStatus))
def test_a_repeated_snapshot_changes_nothing(before: IntentStatus, shown: IntentStatus) -> None:
    """The second time there is no new version and nothing to report."""
    once = apply_snapshot(payment(before), snapshot(shown), NOW)[0]
    twice = apply_snapshot(once, snapshot(shown), NOW + timedelta(seconds=9))

    assert twice[0] == once


def story() -> list[IntentSnapshot]:
    """What Stripe shows of a payment that is declined, authenticated, and then succeeds."""
    return [
        snapshot(IntentStatus.REQUIRES_PAYMENT_METHOD, Source.CREATED, 0),
        snapshot(IntentStatus.REQUIRES_PAYMENT_METHOD, age=1, last_error=DECLINE),
        snapshot(IntentStatus.REQUIRES_ACTION, age=2),
        snapshot(IntentStatus.PROCESSING, age=3),
        snapshot(IntentStatus.SUCCEEDED, age=4),
    ]


def test_every_order_of_events_ends_alike() -> None:
    """The order of webhooks is never trusted."""
    for order in permutations(range(5)):
        after = payment(IntentStatus.CREATING)
        for number in order:
            after = apply_snapshot(after, story()[number], NOW)[0]

        end = (after.status, after.amount_captured, after.last_error)
        assert end == (IntentStatus.SUCCEEDED, 1000, None), order


@given(
    st.lists(
        st.builds(
            snapshot, st.sampled_from(SHOWN), st.sampled_from(list(Source)), st.integers(min_value=-3, max_value=3)
        ),
        max_size=12,
    )
)
def test_versions_only_grow_by_one_with_each_change(snapshots: list[IntentSnapshot]) -> None:
    """Whatever comes, in whatever order."""
    before = payment(IntentStatus.CREATING)
    for shown in snapshots:
        after = apply_snapshot(before, shown, NOW)[0]
        assert after.version - before.version in (0, 1)
        assert not before.terminal or after.status is before.status
        before = after


@pytest.mark.parametrize("before", list(IntentStatus))
def test_a_cancel_request_is_kept_until_stripe_has_answered(before: IntentStatus) -> None:
    """Also while an intent is being made: it is then canceled as soon as it exists."""
    after = domain.cancel(payment(before), NOW)

    assert after.cancel_requested is (before not in TERMINAL)
    assert (after.retry_at is not None) is (before not in TERMINAL)
    assert domain.cancel(after, NOW + timedelta(seconds=1)) == after
    made = apply_snapshot(after, snapshot(IntentStatus.REQUIRES_PAYMENT_METHOD, Source.CREATED), NOW)[0]
    assert made.must_be_canceled is (before not in TERMINAL)
    assert apply_snapshot(made, snapshot(IntentStatus.CANCELED), NOW)[0].retry_at is None


def test_a_payment_whose_intent_was_never_requested_is_canceled_at_once() -> None:
    """The booking was cancelled before its intent was wanted. A later request for the intent changes nothing."""
    nothing = domain.never_wanted(BOOKING, NOW)

    assert (nothing.status, nothing.version, nothing.retry_at) == (IntentStatus.CANCELED, 1, None)
    assert [each.message.type for each in report(nothing)] == ["payment.canceled"]


@pytest.mark.parametrize("before", list(IntentStatus))
def test_an_unanswered_request_never_counts_as_failed(before: IntentStatus) -> None:
    """The request is only repeated, after a longer pause each time, and only while the intent is being made."""
    once = domain.unanswered(payment(before), NOW, RETRY_PAUSES.pause(0, 0.5))
    twice = domain.unanswered(once, NOW, RETRY_PAUSES.pause(once.retry_count, 0.5))

    assert once.status is before
    if before is IntentStatus.CREATING:
        assert once.retry_at is not None
        assert twice.retry_at is not None
        assert NOW < once.retry_at < twice.retry_at
    else:
        assert once == payment(before)


@pytest.mark.parametrize("before", list(IntentStatus))
def test_a_refusal_rejects_only_a_payment_being_created(before: IntentStatus) -> None:
    """A refusal to make an intent does not undo one that exists."""
    after = domain.refused(payment(before), Rejection("amount_too_small"), NOW)
    made = before is IntentStatus.CREATING

    assert after.status is (IntentStatus.REJECTED if made else before)
    assert after.version == payment(before).version + made
