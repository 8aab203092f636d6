"""The refund's state machine: requested → pending → succeeded or failed, never more than was captured."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment.refunds import (
    DoesNotFit,
    Refund,
    RefundSnapshot,
    RefundStatus,
    left,
    refunded,
    refused,
    request,
    updated_refunds,
)
from payment.reports import failures, to_give_again

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
BOOKING = UUID(int=7)
CAPTURED = 1000
REQUESTED, PENDING = RefundStatus.REQUESTED, RefundStatus.PENDING
SUCCEEDED, FAILED = RefundStatus.SUCCEEDED, RefundStatus.FAILED


def refund(number: int, amount: int, status: RefundStatus, stripe: bool = True) -> Refund:
    made = NOW + timedelta(seconds=number)
    id = f"re_{number}" if stripe and status is not REQUESTED else None
    return Refund(UUID(int=number), BOOKING, amount, status, made, made, made, stripe_refund_id=id)


def shown(number: int, amount: int, status: RefundStatus, ours: bool = True) -> RefundSnapshot:
    return RefundSnapshot(f"re_{number}", amount, status, refund_id=UUID(int=number) if ours else None)


def asked(amount: int | None, *refunds: Refund) -> Refund:
    return request(UUID(int=99), BOOKING, amount, CAPTURED, refunds, NOW)


@pytest.mark.parametrize(
    ("amount", "before", "status", "expected", "reason"),
    [
        (None, [], REQUESTED, 1000, None),
        (300, [], REQUESTED, 300, None),
        (None, [refund(1, 400, SUCCEEDED)], REQUESTED, 600, None),
        (None, [refund(1, 400, PENDING)], REQUESTED, 600, None),
        (None, [refund(1, 400, REQUESTED)], REQUESTED, 600, None),
        (None, [refund(1, 400, FAILED)], REQUESTED, 1000, None),
        (700, [refund(1, 400, SUCCEEDED)], FAILED, 700, "amount_too_large"),
        (1001, [], FAILED, 1001, "amount_too_large"),
        (None, [refund(1, 1000, SUCCEEDED)], FAILED, 1000, "nothing_left"),
        (1, [refund(1, 1000, PENDING)], FAILED, 1, "nothing_left"),
    ],
)
def test_a_request_is_for_no_more_than_is_left(
    amount: int | None, before: list[Refund], status: RefundStatus, expected: int, reason: str | None
) -> None:
    """All that is left if no amount is named. A refund over that is saved as failed, so that it is answered."""
    new = asked(amount, *before)

    assert (new.status, new.amount, new.reason) == (status, expected, reason)
    assert (new.retry_at is None) is (status is FAILED)


MOVES = [
    (REQUESTED, PENDING, PENDING),
    (REQUESTED, SUCCEEDED, SUCCEEDED),
    (REQUESTED, FAILED, FAILED),
    (PENDING, PENDING, PENDING),
    (PENDING, SUCCEEDED, SUCCEEDED),
    (PENDING, FAILED, FAILED),
    (SUCCEEDED, PENDING, SUCCEEDED),
    (SUCCEEDED, SUCCEEDED, SUCCEEDED),
    (SUCCEEDED, FAILED, FAILED),
    (FAILED, PENDING, FAILED),
    (FAILED, SUCCEEDED, FAILED),
    (FAILED, FAILED, FAILED),
]


@pytest.mark.parametrize(("before", "seen", "after"), MOVES)
def test_a_refund_only_moves_forward(before: RefundStatus, seen: RefundStatus, after: RefundStatus) -> None:
    """A snapshot of an earlier status is an old one. A refund can fail days after it succeeded. Doubled, it
    is the same."""
    once = updated_refunds(BOOKING, CAPTURED, [refund(1, 400, before)], [shown(1, 400, seen)], NOW)
    twice = updated_refunds(BOOKING, CAPTURED, once, [shown(1, 400, seen)], NOW + timedelta(seconds=1))

    assert [each.status for each in once] == [after]
    assert once[0].stripe_refund_id == "re_1"
    assert twice == once


@pytest.mark.parametrize("order", list(permutations([PENDING, SUCCEEDED, FAILED])))
def test_a_refund_ends_alike_in_every_order_of_snapshots(order: tuple[RefundStatus, ...]) -> None:
    """A failure that arrives first stays a failure."""
    refunds: tuple[Refund, ...] = (refund(1, 400, REQUESTED),)
    for status in order:
        refunds = updated_refunds(BOOKING, CAPTURED, refunds, [shown(1, 400, status)], NOW)

    assert [each.status for each in refunds] == [FAILED]


def test_a_refund_by_hand_is_added_once() -> None:
    """It has no row of ours: its id is made from Stripe's id."""
    by_hand = shown(5, 250, SUCCEEDED, ours=False)
    once = updated_refunds(BOOKING, CAPTURED, [], [by_hand], NOW)
    twice = updated_refunds(BOOKING, CAPTURED, once, [by_hand], NOW)

    assert twice == once
    assert [(each.by_hand, each.amount, each.status) for each in once] == [(True, 250, SUCCEEDED)]


# Captured: 1000. One refund is only requested; another was made by hand, which its requester did not know.
GIVES_WAY = [
    # whole, amount, by hand, status, amount afterwards, reason, key
    (True, 1000, 100, REQUESTED, 900, None, 2),
    (True, 1000, 999, REQUESTED, 1, None, 2),
    (True, 1000, 1000, FAILED, 1000, "nothing_left", 1),
    (True, 900, 100, REQUESTED, 900, None, 1),
    (False, 1000, 100, FAILED, 1000, "amount_too_large", 1),
    (False, 400, 700, FAILED, 400, "amount_too_large", 1),
    (False, 400, 1000, FAILED, 400, "nothing_left", 1),
    (False, 400, 600, REQUESTED, 400, None, 1),
]


@pytest.mark.parametrize(("whole", "amount", "by_hand", "status", "expected", "reason", "key"), GIVES_WAY)
def test_a_requested_refund_gives_way_to_a_refund_by_hand(
    whole: bool, amount: int, by_hand: int, status: RefundStatus, expected: int, reason: str | None, key: int
) -> None:
    """Stripe has made the other one and cannot make both: a whole refund becomes smaller, a part is refused."""
    before = replace(refund(1, amount, REQUESTED), whole=whole)
    made = [shown(2, by_hand, SUCCEEDED, ours=False)]
    once = updated_refunds(BOOKING, CAPTURED, [before], made, NOW, complete=True)
    mine = once[0]

    assert (mine.status, mine.amount, mine.reason, mine.key_number) == (status, expected, reason, key)
    assert updated_refunds(BOOKING, CAPTURED, once, made, NOW, complete=True) == once


@pytest.mark.parametrize("whole", [True, False])
def test_a_single_snapshot_changes_no_other_refund(whole: bool) -> None:
    """A Stripe event does not say what else Stripe has: all refunds are fetched first."""
    before = replace(refund(1, 1000, REQUESTED), whole=whole)

    with pytest.raises(DoesNotFit):
        updated_refunds(BOOKING, CAPTURED, [before], [shown(2, 100, SUCCEEDED, ours=False)], NOW)


def test_of_two_requests_the_newer_gives_way() -> None:
    older, younger = replace(refund(1, 400, REQUESTED), whole=True), replace(refund(2, 600, REQUESTED), whole=True)
    by_hand = shown(3, 500, SUCCEEDED, ours=False)
    after = updated_refunds(BOOKING, CAPTURED, [older, younger], [by_hand], NOW, complete=True)

    assert [(each.amount, each.status) for each in after] == [(400, REQUESTED), (100, REQUESTED), (500, SUCCEEDED)]


def test_a_request_for_more_that_stripe_made_is_applied_in_its_amount() -> None:
    """It had been lowered because of a refund by hand, which then failed at the bank. Stripe's amount is a fact."""
    before = [
        replace(refund(1, 900, REQUESTED), whole=True, key_number=2),
        replace(refund(2, 100, FAILED), by_hand=True),
    ]
    mine, _ = updated_refunds(BOOKING, CAPTURED, before, [shown(1, 1000, SUCCEEDED)], NOW)

    assert (mine.status, mine.amount) == (SUCCEEDED, 1000)


MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
REFUSALS = [
    # code, time since the first refusal, status afterwards
    ("insufficient_balance_for_refund", None, REQUESTED),
    ("InvalidRequestError", None, REQUESTED),
    ("InvalidRequestError", 6 * DAY, REQUESTED),
    ("balance_insufficient", 7 * DAY, FAILED),
    ("charge_already_refunded", None, REQUESTED),
    ("charge_already_refunded", 14 * MINUTE, REQUESTED),
    ("charge_already_refunded", 15 * MINUTE, FAILED),
    ("amount_too_large", 15 * MINUTE, FAILED),
    ("charge_disputed", None, FAILED),
    ("charge_not_refundable", None, FAILED),
]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("code", "since", "status"), REFUSALS)
def test_a_refusal_of_a_refund_that_fits_is_retried_or_fails(
    code: str, since: timedelta | None, status: RefundStatus, whole: bool
) -> None:
    """A refusal that can pass is retried under the next key, for days; any other fails the refund."""
    before = replace(refund(1, 1000, REQUESTED), whole=whole)
    if since is not None:
        before = replace(before, refused_since=NOW - since, pending_reason=code)
    new = refused(before, code, CAPTURED, NOW, MINUTE)

    assert new.status is status
    if status is FAILED:
        assert (new.reason, new.retry_at, new.pending_reason) == (code, None, None)
        return
    assert (new.key_number, new.refusals, new.pending_reason) == (2, 1, code)
    assert new.retry_at == NOW + MINUTE
    assert new.refused_since == (NOW if since is None else NOW - since)


def test_a_refusal_of_another_kind_restarts_the_wait_up_to_a_limit() -> None:
    """After a day without balance, a refusal that contradicts Stripe's own list is still not believed at once."""
    waits = replace(
        refund(1, 1000, REQUESTED),
        refused_since=NOW - DAY,
        pending_reason="balance_insufficient",
        created_at=NOW - DAY,
    )
    new = refused(waits, "charge_already_refunded", CAPTURED, NOW, MINUTE)
    assert (new.status, new.refused_since) == (REQUESTED, NOW)
    old = replace(waits, created_at=NOW - 14 * DAY)
    new = refused(old, "charge_already_refunded", CAPTURED, NOW, MINUTE)
    assert (new.status, new.reason) == (FAILED, "charge_already_refunded")


def test_without_stripes_list_a_retry_keeps_the_key() -> None:
    """Without the list, payment does not know what is left."""
    before = replace(refund(1, 400, REQUESTED), whole=True)
    new = refused(before, "resource_missing", None, NOW, MINUTE)

    assert (new.key_number, new.amount, new.retry_at) == (1, 400, NOW + MINUTE)


@pytest.mark.parametrize(("whole", "amount"), [(True, 1000), (False, 400)])
def test_a_whole_refund_grows_with_what_is_left(whole: bool, amount: int) -> None:
    """A refund by hand has failed meanwhile. A part keeps its amount."""
    before = replace(refund(1, 400, REQUESTED), whole=whole)
    failed = replace(refund(2, 600, FAILED), by_hand=True)
    room = left(CAPTURED, [before, failed]) + before.amount

    assert refused(before, "x", room, NOW, MINUTE).amount == amount


WAITS: list[tuple[str | None, str | None, str | None, str | None]] = [
    # before, what a Stripe event or Stripe's list shows, after the event, after the list
    (None, "insufficient_funds", "insufficient_funds", "insufficient_funds"),
    ("insufficient_funds", "processing", "processing", "processing"),
    ("processing", "insufficient_funds", "processing", "insufficient_funds"),
    ("insufficient_funds", None, "insufficient_funds", None),
]


@pytest.mark.parametrize(("before", "seen", "by_event", "by_list"), WAITS)
def test_the_pending_reason_follows_the_later_snapshot(
    before: str | None, seen: str | None, by_event: str | None, by_list: str | None
) -> None:
    """A Stripe event may be old; the list is the present state."""
    known = replace(refund(1, 400, PENDING), pending_reason=before)
    snapshot = replace(shown(1, 400, PENDING), pending_reason=seen)
    (event,) = updated_refunds(BOOKING, CAPTURED, [known], [snapshot], NOW)
    (listed,) = updated_refunds(BOOKING, CAPTURED, [known], [snapshot], NOW, complete=True)

    assert (event.pending_reason, listed.pending_reason) == (by_event, by_list)


@pytest.mark.parametrize("status", [SUCCEEDED, FAILED])
def test_a_final_status_clears_the_pending_reason(status: RefundStatus) -> None:
    known = replace(refund(1, 400, PENDING), pending_reason="processing")
    (after,) = updated_refunds(BOOKING, CAPTURED, [known], [shown(1, 400, status)], NOW)

    assert after.pending_reason is None


REQUESTS: list[tuple[int | None, bool | None, int, tuple[RefundStatus, int, bool]]] = [
    # amount, whole, what is left, (status, amount, whole)
    (1000, None, 1000, (REQUESTED, 1000, True)),
    (None, None, 1000, (REQUESTED, 1000, True)),
    (400, None, 1000, (REQUESTED, 400, False)),
    (1000, True, 700, (REQUESTED, 700, True)),
    (600, True, 700, (REQUESTED, 700, True)),
    (700, False, 700, (REQUESTED, 700, False)),
    (800, False, 700, (FAILED, 800, False)),
    (800, True, 0, (FAILED, 1000, True)),
]


@pytest.mark.parametrize(("amount", "whole", "rest", "expected"), REQUESTS)
def test_a_request_is_whole_or_a_part(
    amount: int | None, whole: bool | None, rest: int, expected: tuple[RefundStatus, int, bool]
) -> None:
    """An older sender does not say which: an amount of all that is left is then a whole refund."""
    before = [refund(1, CAPTURED - rest, SUCCEEDED)] if rest < CAPTURED else []
    new = request(UUID(int=99), BOOKING, amount, CAPTURED, before, NOW, whole)

    assert (new.status, new.amount, new.whole) == expected


def test_a_refund_that_gave_way_wrongly_is_restored() -> None:
    """What Stripe shows is a fact; that the refund gave way was our assumption."""
    before = replace(refund(1, 400, FAILED, stripe=False), reason="superseded")
    refunds = updated_refunds(BOOKING, CAPTURED, [before], [shown(1, 400, SUCCEEDED)], NOW)

    assert [each.status for each in refunds] == [SUCCEEDED]


def test_snapshots_that_do_not_fit_must_be_applied_together() -> None:
    """One refund failed at Stripe, and another was made by hand: one after the other they would be too much."""
    before = [refund(1, 1000, SUCCEEDED)]
    by_hand = shown(2, 1000, SUCCEEDED, ours=False)

    with pytest.raises(DoesNotFit):
        updated_refunds(BOOKING, CAPTURED, before, [by_hand], NOW)
    together = updated_refunds(BOOKING, CAPTURED, before, [shown(1, 1000, FAILED), by_hand], NOW)
    assert [each.status for each in together] == [FAILED, SUCCEEDED]


@pytest.mark.parametrize(
    ("refunds", "expected"),
    [
        ([], False),
        # A whole refund found nothing left; what had been refunded before has failed since, and counts itself.
        ([replace(refund(1, 400, FAILED), whole=True, reason="nothing_left")], False),
        # Any later refund makes up for a part that did not fit, also a smaller one.
        ([replace(refund(1, 400, FAILED), reason="amount_too_large")], True),
        ([replace(refund(1, 400, FAILED), reason="amount_too_large"), refund(2, 100, SUCCEEDED)], False),
        ([refund(1, 400, FAILED)], True),
        ([refund(1, 400, FAILED), refund(2, 400, REQUESTED)], False),
        ([refund(1, 400, FAILED), refund(2, 300, SUCCEEDED)], True),
        ([refund(1, 300, SUCCEEDED), refund(2, 300, FAILED)], True),
        ([refund(1, 1000, SUCCEEDED), refund(2, 1000, FAILED)], False),
    ],
)
def test_a_failure_counts_until_a_later_refund_replaces_it(refunds: list[Refund], expected: bool) -> None:
    """Until a later refund of at least its amount, or until nothing is left to refund."""
    assert bool(failures(CAPTURED, refunds)) is expected


AGAIN = [
    ([], 0),
    ([refund(1, 400, FAILED)], 400),
    ([refund(1, 400, FAILED), refund(2, 300, FAILED)], 700),
    ([refund(1, 600, FAILED), refund(2, 700, FAILED)], 1000),
    ([replace(refund(1, 400, FAILED), whole=True)], 1000),
    ([replace(refund(1, 400, FAILED), whole=True), refund(2, 300, SUCCEEDED)], 700),
    ([replace(refund(1, 400, FAILED), reason="amount_too_large")], 0),
    ([replace(refund(1, 400, FAILED), reason="nothing_left")], 0),
    ([refund(1, 400, FAILED), refund(2, 400, REQUESTED)], 0),
]


@pytest.mark.parametrize(("refunds", "expected"), AGAIN)
def test_the_amount_that_can_be_refunded_again(refunds: list[Refund], expected: int) -> None:
    """Parts in their own amounts, together at most what is left. What did not fit would not fit again."""
    assert to_give_again(CAPTURED, refunds) == expected


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4), st.integers(1, 600), st.sampled_from([PENDING, SUCCEEDED, FAILED]), st.booleans()
        ),
        max_size=10,
    )
)
def test_no_order_of_snapshots_refunds_too_much(snapshots: list[tuple[int, int, RefundStatus, bool]]) -> None:
    """Whatever Stripe shows: a snapshot that does not fit is refused, and the refunds stay as they were."""
    refunds: tuple[Refund, ...] = (asked(600),)
    for number, amount, status, ours in snapshots:
        try:
            refunds = updated_refunds(BOOKING, CAPTURED, refunds, [shown(number, amount, status, ours)], NOW)
        except DoesNotFit:
            continue
        assert left(CAPTURED, refunds) >= 0
        assert refunded(refunds) <= CAPTURED
