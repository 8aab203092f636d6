"""Each row of the state table through the real handlers, Postgres and Redis: once, doubled, and overtaken.

The expected results are those of `test_domain.py`; here messages and time alone bring a booking to its state.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from booking.triggers import Trigger
from common.contracts.messages import RefundPayment
from common.contracts.resources import Booking
from common.contracts.statuses import BookingStatus
from tests.booking.rows import (
    HAPPENINGS,
    STORIES,
    Published,
    Scene,
    happen,
    published,
    reported,
    rows_met,
    rows_of_table,
    scene,
    scenes,
)
from tests.booking.samples import CONFIRMED, PENDING, STATES, applied, report
from tests.booking.stage import TERMS, Stage
from tests.booking.test_domain import EXPECTED, WHAT_HAPPENS, Expected, answered
from tests.booking.test_domain_refunds import BY_HAND, BY_HAND_ROWS

TIME = ("expired", "grace over")
# While a payment is processing, time changes nothing: the reconciler only asks payment about it.
RETRIED = {
    "processing": "sync",
    "expiring, processing": "cancel_intent",
    "cancelling, processing": "cancel_intent",
}
# No message leads here: a pending booking may always be cancelled.
NEVER_ASKED = {(BookingStatus.PENDING, Trigger.CANCEL, "closed")}
# Tested in test_refund_retries.py, test_domain_reports.py, test_customers.py and test_box_office.py.
BY_THEMSELVES = ("retry_refund", "not_for_this", "set_customer", "note_refund")
SEATS = {"pending": (2, 0), "confirmed": (0, 2), "cancelled": (0, 0), "failed": (0, 0)}
# What may change where a cell says "unchanged": clients do not see it.
UNSEEN = (
    "intent_id",
    "payment_version",
    "payment_digest",
    "version",
    "updated_at",
    "settle_after",
    "settle_attempts",
    "intent_to_cancel",
)


def possible(state: str, happening: str) -> bool:
    """Whether messages and time can bring this about."""
    if happening == "cancel too late":
        return state in CONFIRMED
    if happening == "paid, seats free":
        return state in ("hold expired", "released")
    if happening == "grace over":
        return state in PENDING and STATES[state].closing is not None
    return happening != "expired" or state in PENDING


CELLS = [(state, happening) for state in STATES for happening in HAPPENINGS if possible(state, happening)]


def is_report(happening: str) -> bool:
    return happening not in TIME and WHAT_HAPPENS[happening][0] not in (Trigger.CANCEL, Trigger.REFUND)


def seen(row: Any) -> dict[str, Any]:
    return {name: value for name, value in dict(row).items() if name not in UNSEEN}


def end_of_hold(before: Any, after: Any, happening: str) -> Any:
    """It counts from the first report of the intent; a decline leaves time; a closing booking gets no more."""
    if after["status"] != "pending":
        return None
    if after["closing"] is not None or happening not in ("intent", "declined", "action", "processing"):
        return before["expires_at"]
    anew = after["updated_at"] + TERMS.hold
    end = anew if before["payment"] == "creating" else before["expires_at"]
    return max(end, after["updated_at"] + TERMS.extension) if happening == "declined" else end


def check(expected: Expected, made: Scene, before: Any, published: Published, happening: str) -> None:
    """The booking is as expected, and what had to be published was published."""
    after = made.row
    if expected.status is None:
        assert seen(after) == seen(before)
    else:
        payment = expected.payment or before["payment"]
        assert (after["status"], after["reason"], after["payment"]) == (expected.status, expected.reason, payment)
        assert (after["closing"], after["refund_amount"]) == (expected.closing, expected.owed)
    assert after["expires_at"] == end_of_hold(before, after, happening)
    assert after["intent_to_cancel"] == expected.to_cancel
    waits = after["status"] == "pending" or after["refund_amount"] is not None or expected.to_cancel
    assert (after["settle_after"] is not None) is waits

    assert published.asked_for == {each for each in [expected.follow_up] if each}
    for asked in published.asked:
        if isinstance(asked, RefundPayment):
            assert (asked.refund_id, asked.amount) == (after["refund_id"], after["refund_amount"])
    changed = after["version"] - before["version"]
    assert changed in (0, 1)
    reports = [each.version for each in published.changes]
    assert reports == [after["version"]] or (reports == [] and not changed)
    assert all(answer == expected.refusal for answer in published.answers)
    shown = [Booking.model_validate(reply.result) for reply in published.replies if reply.error is None]
    assert all((each.version, each.status) == (after["version"], after["status"]) for each in shown)


async def check_change(made: Scene, before: Any) -> None:
    """A change has one transition, with the statuses before and after."""
    row = made.row
    if row["version"] > before["version"]:
        change = await made.transition()
        assert (change["from_status"], change["to_status"]) == (before["status"], row["status"])
        assert (change["reason"], change["payment_status"]) == (row["reason"], row["payment"])


async def check_seats(made: Sequence[Scene]) -> None:
    """A pending booking holds its seats, a confirmed one has sold them; the counters are sums over all bookings."""
    ours = [SEATS[each.row["status"]] for each in made]
    (bob,) = await made[0].stage.rows(BOBS_SEATS)
    (seats,) = await made[0].stage.seats(made[0].show)
    assert seats == (sum(held for held, _ in ours) + bob["held"], sum(sold for _, sold in ours))


BOBS_SEATS = """
SELECT coalesce(sum((items -> 0 ->> 'quantity')::int), 0) AS held FROM bookings WHERE owner = 'bob'
"""


@pytest.mark.parametrize("state", STATES)
async def test_every_row_through_the_handlers(stage: Stage, subtests: pytest.Subtests, state: str) -> None:
    """Then doubled, and then followed by a report that it overtook: acknowledged only, with the same answer."""
    cells = [happening for happening in HAPPENINGS if happening not in TIME and possible(state, happening)]
    cells = [happening for happening in cells if happening != "paid, seats free"]
    made = await scenes(stage, state, len(cells), seats_free=False)
    for each, happening in zip(made, cells, strict=True):
        with subtests.test(happening=happening):
            await once_doubled_overtaken(each, state, happening)
    await check_seats(made)


async def test_late_money_through_the_handlers(stage: Stage) -> None:
    """While its seats are free, the booking gets them back."""
    made = await scene(stage, "hold expired")
    await once_doubled_overtaken(made, "hold expired", "paid, seats free")
    await check_seats([made])


async def once_doubled_overtaken(made: Scene, state: str, happening: str) -> None:
    before, last = made.row, made.version
    expected = EXPECTED[state][happening]
    if is_report(happening):
        made.version += 1  # leaves a lower version for the report that it overtakes
    what = HAPPENINGS[happening](made)
    with rows_met() as met:
        first = await made.happen(what)
    after = made.row
    assert met == rows_of_cell(state, happening)
    check(expected, made, before, first, happening)
    await check_change(made, before)

    again = await made.happen(what)
    assert made.row == after
    assert (again.answers, again.applied) == (first.answers, first.applied)
    # It publishes again, as a process may have been killed before it published.
    assert [each.version for each in again.changes] == [after["version"]] * (expected.refusal is None)
    lost = after["settle_after"] is None  # the reconciler would not ask again for what the first one asked for
    assert again.asked_for == first.asked_for if lost else again.asked_for <= first.asked_for

    newest, made.version = made.version, last if is_report(happening) else last - 2
    if made.version >= 0:
        late = await made.happen(reported("processing")(made))
        assert (made.row, late.applied, late.asked) == (after, [newest], [])
        assert [each.version for each in late.changes] == [after["version"]]


REPORTS = [happening for happening in HAPPENINGS if happening != "paid, seats free" and is_report(happening)]


@pytest.mark.parametrize("state", STATES)
async def test_every_report_in_one_batch(stage: Stage, subtests: pytest.Subtests, state: str) -> None:
    """Each about its own booking, doubled, and with one that it overtook: in any order, each is applied once."""
    made = await scenes(stage, state, len(REPORTS), seats_free=False)
    before = [each.row for each in made]
    overtaken = [reported("processing")(each) for each in made]
    for each in made:
        each.version += 1
    reports = [HAPPENINGS[happening](each) for happening, each in zip(REPORTS, made, strict=True)]
    batch = [*reports, *overtaken, *reports]
    random.Random(state).shuffle(batch)
    await happen(made, batch)
    all_published = await published(stage)

    for happening, each, row in zip(REPORTS, made, before, strict=True):
        with subtests.test(happening=happening):
            of_booking = all_published[str(each.booking.id)]
            check(EXPECTED[state][happening], each, row, of_booking, happening)
            assert of_booking.applied == [each.version]
    await check_seats(made)


COMMANDS = ("cancel", "cancel too late", "refund", "refund of a part", "refund of too much")


@pytest.mark.parametrize("state", STATES)
async def test_every_command_doubled_in_one_batch(stage: Stage, subtests: pytest.Subtests, state: str) -> None:
    """It is done once, and each message has its answer."""
    cells = [happening for happening in COMMANDS if possible(state, happening)]
    made = await scenes(stage, state, len(cells))
    for each, happening in zip(made, cells, strict=True):
        with subtests.test(happening=happening):
            before, what = each.row, HAPPENINGS[happening](each)
            await happen([each], [what, what])
            all_published = await each.published()
            check(EXPECTED[state][happening], each, before, all_published, happening)
            assert all_published.answers == [EXPECTED[state][happening].refusal] * 2
    await check_seats(made)


TIMES = [(state, happening) for state in PENDING for happening in TIME if possible(state, happening)]


@pytest.mark.parametrize(("state", "happening"), TIMES)
@pytest.mark.parametrize("reconcilers", [1, 3])
async def test_every_change_by_time_through_the_reconciler(
    stage: Stage, state: str, happening: str, reconcilers: int
) -> None:
    """However many reconcilers run at once, it is done once; when one runs again, nothing is due."""
    expected = EXPECTED[state][happening]
    if state in RETRIED:
        expected = replace(expected, follow_up=RETRIED[state])
    made = await scene(stage, state)
    before, at = made.row, HAPPENINGS[happening](made)
    await happen([made], [at] * reconcilers)
    after, first = made.row, await made.published()
    check(expected, made, before, first, happening)
    assert len(first.asked) == 1
    await check_change(made, before)
    await check_seats([made])

    assert await made.happen(at) == Published()
    assert made.row == after


@pytest.mark.parametrize(("state", "values", "expected"), BY_HAND_ROWS)
async def test_refunds_made_by_hand_through_the_handlers(
    stage: Stage, state: str, values: dict[str, Any], expected: tuple[str, str, int | None]
) -> None:
    """Once, doubled, and overtaken."""
    made = await scene(stage, state)
    before = made.row
    made.version += 1
    what = reported("succeeded", refund_ids=(BY_HAND,), **values)(made)
    await made.happen(what)
    after = made.row
    assert (after["status"], after["payment"], after["refund_amount"]) == expected
    await check_change(made, before)

    published = await made.happen(what)
    assert (made.row, published.applied) == (after, [made.version])
    assert [each.version for each in published.changes] == [after["version"]]
    newest, made.version = made.version, made.version - 2
    published = await made.happen(reported("succeeded", refund_pending=True)(made))
    assert (made.row, published.applied, published.asked) == (after, [newest], [])


@pytest.mark.parametrize(
    "state", ["awaiting", "confirmed", "hold expired", "cancelled, refunded", "mismatch, owed"]
)
async def test_a_report_of_a_dispute_means_that_the_money_was_captured(stage: Stage, state: str) -> None:
    """Whatever the report's name is; the dispute changes nothing else."""
    plain, other = await scene(stage, state), await scene(stage, state)
    await plain.happen(reported("succeeded")(plain))
    await other.happen(reported("succeeded", disputed=True)(other))

    for column in ("status", "reason", "refund_amount", "amount_captured"):
        assert other.row[column] == plain.row[column]
    assert other.row["payment"] == "disputed"
    assert await stage.seats(other.show) == await stage.seats(plain.show)


def rows_of_cell(state: str, happening: str) -> set[Any]:
    """The rows of the state table that the pure domain applies for this cell."""
    with rows_met() as met:
        answered(STATES[state], happening)
    return met


def test_no_row_is_left_out() -> None:
    """A test above meets each row of the state table, with each of its guards, and begins from each state."""
    with rows_met() as by_hand:
        for state, values, _ in BY_HAND_ROWS:
            applied(STATES[state], report("succeeded", refund_ids=(BY_HAND,), **values))
    met = {row for cell in CELLS for row in rows_of_cell(*cell)} | by_hand

    assert {row for row in rows_of_table() - met if row[2] not in BY_THEMSELVES} == NEVER_ASKED
    assert set(STORIES) == set(STATES)
    assert set(HAPPENINGS) == set(WHAT_HAPPENS)
