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
    RefundPicture,
    RefundStatus,
    a_refund_failed,
    left,
    refunded,
    request,
    take_in,
)

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
BOOKING = UUID(int=7)
CAPTURED = 1000
REQUESTED, PENDING = RefundStatus.REQUESTED, RefundStatus.PENDING
SUCCEEDED, FAILED = RefundStatus.SUCCEEDED, RefundStatus.FAILED


def refund(number: int, amount: int, status: RefundStatus, stripe: bool = True) -> Refund:
    made = NOW + timedelta(seconds=number)
    id = f"re_{number}" if stripe and status is not REQUESTED else None
    return Refund(UUID(int=number), BOOKING, amount, status, made, made, made, stripe_refund_id=id)


def shown(number: int, amount: int, status: RefundStatus, ours: bool = True) -> RefundPicture:
    return RefundPicture(f"re_{number}", amount, status, refund_id=UUID(int=number) if ours else None)


def asked(amount: int | None, *refunds: Refund) -> Refund:
    return request(UUID(int=99), BOOKING, amount, CAPTURED, refunds, NOW, timedelta(seconds=10))


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
    """All that is left where no amount is named; more is noted as failed, so that it is answered for."""
    new = asked(amount, *before)

    assert (new.status, new.amount, new.reason) == (status, expected, reason)
    assert (new.drive_after is None) is (status is FAILED)


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


@pytest.mark.parametrize(("before", "picture", "after"), MOVES)
def test_a_refund_only_moves_forward(before: RefundStatus, picture: RefundStatus, after: RefundStatus) -> None:
    """A picture from behind is an old one; days after it succeeded it can still fail. Doubled, it is the same."""
    once = take_in(BOOKING, CAPTURED, [refund(1, 400, before)], [shown(1, 400, picture)], NOW)
    twice = take_in(BOOKING, CAPTURED, once, [shown(1, 400, picture)], NOW + timedelta(seconds=1))

    assert [each.status for each in once] == [after]
    assert once[0].stripe_refund_id == "re_1"
    assert twice == once


@pytest.mark.parametrize("order", list(permutations([PENDING, SUCCEEDED, FAILED])))
def test_every_order_ends_alike(order: tuple[RefundStatus, ...]) -> None:
    """A failure that is told first stays one."""
    refunds: tuple[Refund, ...] = (refund(1, 400, REQUESTED),)
    for status in order:
        refunds = take_in(BOOKING, CAPTURED, refunds, [shown(1, 400, status)], NOW)

    assert [each.status for each in refunds] == [FAILED]


def test_a_refund_by_hand_is_added_once() -> None:
    """It has no row of ours: its id follows from Stripe's."""
    by_hand = shown(5, 250, SUCCEEDED, ours=False)
    once = take_in(BOOKING, CAPTURED, [], [by_hand], NOW)
    twice = take_in(BOOKING, CAPTURED, once, [by_hand], NOW)

    assert twice == once
    assert [(each.by_hand, each.amount, each.status) for each in once] == [(True, 250, SUCCEEDED)]


def test_what_was_only_requested_gives_way_to_a_refund_by_hand() -> None:
    """Stripe has made the one and cannot make both."""
    refunds = take_in(BOOKING, CAPTURED, [refund(1, 1000, REQUESTED)], [shown(2, 100, SUCCEEDED, ours=False)], NOW)

    assert [(each.status, each.reason) for each in refunds] == [(FAILED, "superseded"), (SUCCEEDED, None)]


def test_what_gave_way_wrongly_comes_back() -> None:
    """Stripe's word is a fact, ours was a guess."""
    before = replace(refund(1, 400, FAILED, stripe=False), reason="superseded")
    refunds = take_in(BOOKING, CAPTURED, [before], [shown(1, 400, SUCCEEDED)], NOW)

    assert [each.status for each in refunds] == [SUCCEEDED]


def test_facts_that_do_not_fit_must_be_seen_together() -> None:
    """A refund failed at Stripe, and another was made by hand: seen one by one they would be too much."""
    before = [refund(1, 1000, SUCCEEDED)]
    by_hand = shown(2, 1000, SUCCEEDED, ours=False)

    with pytest.raises(DoesNotFit):
        take_in(BOOKING, CAPTURED, before, [by_hand], NOW)
    together = take_in(BOOKING, CAPTURED, before, [shown(1, 1000, FAILED), by_hand], NOW)
    assert [each.status for each in together] == [FAILED, SUCCEEDED]


@pytest.mark.parametrize(
    ("refunds", "expected"),
    [
        ([], False),
        ([refund(1, 400, FAILED)], True),
        ([refund(1, 400, FAILED), refund(2, 400, REQUESTED)], False),
        ([refund(1, 400, FAILED), refund(2, 300, SUCCEEDED)], True),
        ([refund(1, 300, SUCCEEDED), refund(2, 300, FAILED)], True),
        ([refund(1, 1000, SUCCEEDED), refund(2, 1000, FAILED)], False),
    ],
)
def test_a_failure_is_loud_until_it_is_made_good(refunds: list[Refund], expected: bool) -> None:
    """By a later refund of at least its amount, or by there being nothing left to give back."""
    assert a_refund_failed(CAPTURED, refunds) is expected


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4), st.integers(1, 600), st.sampled_from([PENDING, SUCCEEDED, FAILED]), st.booleans()
        ),
        max_size=10,
    )
)
def test_no_order_of_pictures_gives_back_too_much(pictures: list[tuple[int, int, RefundStatus, bool]]) -> None:
    """Whatever Stripe shows: what does not fit is refused, and the rest is left as it was."""
    refunds: tuple[Refund, ...] = (asked(600),)
    for number, amount, status, ours in pictures:
        try:
            refunds = take_in(BOOKING, CAPTURED, refunds, [shown(number, amount, status, ours)], NOW)
        except DoesNotFit:
            continue
        assert left(CAPTURED, refunds) >= 0
        assert refunded(refunds) <= CAPTURED
